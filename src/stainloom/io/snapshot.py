"""Snapshots of painted labels: what jobs read, never the store itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stainloom.case.regions import Lesion
from stainloom.errors import LabelError
from stainloom.geometry import Box, Scale, as_scale
from stainloom.io.arrays import read_arrays, write_arrays
from stainloom.io.strokelog import SIDE_MOST_PX, LabelObject, labels_id, lesion_as_list, lesion_from_list

_VERSION = 1
_MOST_BYTES = SIDE_MOST_PX**2 + (512 << 20)


@dataclass(frozen=True, eq=False)
class Labels:
    """What was painted on the reference, as it stood at one stroke.

    Attributes
    ----------
    raster
        (rows, cols) uint8 class ids, 0 not annotated; its outer corner is um (0, 0) of the reference.
    um_per_px
        Of the raster.
    labels_id
        Hash of raster and scale: results name it, and are stale when it changed.
    stroke
        Number of the last stroke.
    objects
        Imported objects whose pixels nobody edited since.
    lesions
        The connected lesions, by id.
    """

    raster: NDArray[np.uint8]
    um_per_px: Scale
    labels_id: str
    stroke: int
    objects: tuple[LabelObject, ...] = ()
    lesions: tuple[Lesion, ...] = ()


def write_labels(path: Path, labels: Labels) -> None:
    """Write a snapshot, whole or not at all; equal labels give equal bytes (on one machine).

    Raises
    ------
    LabelError
        Where the disk is full or read-only.
    """
    facts = {
        "version": _VERSION,
        "labels_id": labels.labels_id,
        "stroke": labels.stroke,
        "um_per_px": list(labels.um_per_px),
        "lesions": [lesion_as_list(lesion) for lesion in labels.lesions],
        "objects": [
            [found.class_id, [found.box.row, found.box.col, found.box.rows, found.box.cols], found.text]
            for found in labels.objects
        ],
    }
    text = json.dumps(facts, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    masks = [np.packbits(found.mask) for found in labels.objects]
    arrays: dict[str, NDArray[Any]] = {
        "raster": labels.raster,
        "facts": np.frombuffer(text.encode(), np.uint8),
        "masks": np.concatenate(masks) if masks else np.zeros(0, np.uint8),
    }
    write_arrays(path, arrays, compress=True, error_type=LabelError)


def read_labels(path: Path) -> Labels:
    """Read a snapshot.

    Raises
    ------
    LabelError
        Where it is missing, damaged, too big, from a newer program, or its raster does not have the id that it names.
    """
    arrays = read_arrays(path, _MOST_BYTES, LabelError)
    try:
        facts = json.loads(arrays["facts"].tobytes())
        if facts["version"] > _VERSION:
            raise LabelError(
                f"{path.name} was written by a newer program",
                slide=path.name,
                expected=f"version {_VERSION} or older",
                found=f"version {facts['version']}",
                next="update this program",
            )
        raster = arrays["raster"]
        if raster.dtype != np.uint8 or raster.ndim != 2 or min(raster.shape) < 1 or max(raster.shape) > SIDE_MOST_PX:
            raise ValueError(f"a raster of {raster.dtype} {raster.shape}")
        scale = as_scale((float(facts["um_per_px"][0]), float(facts["um_per_px"][1])))
        found_id = labels_id(raster, scale)
        if found_id != facts["labels_id"]:
            raise ValueError(f"labels {found_id} under the name {facts['labels_id']}")
        lesions = tuple(lesion for found in facts["lesions"] if (lesion := lesion_from_list(found)) is not None)
        objects = _objects(facts["objects"], arrays["masks"], raster.shape)
        return Labels(raster, scale, found_id, int(facts["stroke"]), objects, lesions)
    except (KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        raise LabelError(
            f"{path.name} cannot be read",
            slide=path.name,
            expected="a snapshot of painted labels",
            found=str(error),
            next="take a new snapshot; what was painted is in labels.sqlite and is not touched",
        ) from error


def holds_paint(path: Path) -> bool:
    """Whether a snapshot holds any paint, told from its facts alone; `LabelError` where it cannot be read."""
    arrays = read_arrays(path, _MOST_BYTES, LabelError, names=("facts",))
    try:
        return bool(json.loads(arrays["facts"].tobytes())["lesions"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise LabelError(f"{path.name} cannot be read", slide=path.name, found=str(error)) from error


def read_labels_id(path: Path) -> str:
    """The id that a snapshot names, told from its facts alone; `LabelError` where it cannot be read."""
    arrays = read_arrays(path, _MOST_BYTES, LabelError, names=("facts",))
    try:
        return str(json.loads(arrays["facts"].tobytes())["labels_id"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise LabelError(f"{path.name} cannot be read", slide=path.name, found=str(error)) from error


def _objects(found: list[Any], masks: NDArray[np.uint8], shape: tuple[int, ...]) -> tuple[LabelObject, ...]:
    result = []
    place = 0
    for class_id, corners, text in found:
        box = Box(*(int(value) for value in corners))
        if min(box.row, box.col, box.rows, box.cols) < 0 or box.row_end > shape[0] or box.col_end > shape[1]:
            raise ValueError(f"an object outside the raster: {box}")
        count = box.rows * box.cols
        bits = masks[place : place + (count + 7) // 8]
        place += (count + 7) // 8
        if place > len(masks):
            raise ValueError("an object without its mask")
        mask = np.unpackbits(bits, count=count).astype(np.bool_).reshape(box.shape)
        result.append(LabelObject(str(text), int(class_id), box, mask))
    return tuple(result)
