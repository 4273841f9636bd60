"""Class map, probabilities and stain weights of a run over a case, as pyramids on disk (OME-Zarr), read by box."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import zarr
from annotated_types import Ge, Gt, Le, Len
from numpy.typing import NDArray
from pydantic import Field

from stainloom import __version__
from stainloom.case.lesions import LesionClass
from stainloom.errors import CaseError
from stainloom.geometry import Box, Scale, Size, whole
from stainloom.io.files import check_name, confine, disk_errors, new_folder, read_json, safe_name, write_json
from stainloom.io.protocol import CLASSES_MOST, STAINS_MOST, Record, Word, checked
from stainloom.io.records import refuse_newer
from stainloom.io.runs import ClassRecord

MAPS_VERSION = 1
NAMES = ("class", "probabilities", "weights")

_FACTS = "maps.json"
_CHUNK_PX = 512
_SMALLEST_PX = 256
_LEVELS_MOST = 16
_SIDE_MOST = 200_000
_READ_BYTES_MOST = 2_000_000_000
_JSON_BYTES_MOST = 4_000_000
_FILES_MOST = 200_000
_AGAIN = "predict again"
_CORNER = Box(0, 0, 0, 0)

_Step = Annotated[float, Gt(0), Le(100_000)]
_Um = Annotated[float, Ge(-1e9), Le(1e9)]


@dataclass(frozen=True)
class MapFacts:
    """What the maps of a run are made of.

    Attributes
    ----------
    run
        Id of the run.
    stains
        In the order of `weights`.
    classes
        In the order of `probabilities`.
    um_per_px, origin_um
        Scale of the maps, and the outer corner of their pixel (0, 0) on the reference.
    warps
        Id of the warp by stain, as it was when predicted.
    simulated
        Whether the slides were made by the program.
    one_patient
        Whether the run was trained and tested on one patient.
    extra
        Anything else worth keeping, JSON: settings, what was predicted over.
    id
        Hash of what the maps hold, where they are saved: tells whether they are still those that somebody looked at.
    """

    run: str
    stains: tuple[str, ...]
    classes: tuple[LesionClass, ...]
    um_per_px: Scale
    origin_um: tuple[float, float]
    warps: Mapping[str, str] = field(default_factory=dict)
    simulated: bool = False
    one_patient: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    id: str = field(default="", compare=False)


class MapsRecord(Record):
    """maps.json."""

    format: Literal["stainloom maps"]
    version: Literal[1]
    program: Annotated[str, Field(max_length=50)]
    run: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    simulated: bool
    one_patient: bool
    rows: Annotated[int, Ge(1), Le(_SIDE_MOST)]
    cols: Annotated[int, Ge(1), Le(_SIDE_MOST)]
    um_per_px: tuple[_Step, _Step]
    origin_um: tuple[_Um, _Um]
    stains: Annotated[list[Word], Len(1, STAINS_MOST)]
    classes: Annotated[list[ClassRecord], Len(1, CLASSES_MOST)]
    warps: dict[str, str]
    extra: dict[str, Any]
    id: Annotated[str, Field(max_length=64)] = ""


class SavedMap:
    """One map on disk: levels from fine to coarse, read by box. Values are uint8.

    A probability or weight of 0 to 1 is stored as 0 to 255.
    """

    def __init__(self, folder: Path, depth: int, size: Size, um_per_px: Scale, origin_um: tuple[float, float]) -> None:
        self._folder, self.depth = folder, depth
        sizes = _sizes(size)
        self.levels: tuple[Size, ...] = sizes
        self.um_per_px: tuple[Scale, ...] = tuple((um_per_px[0] * 2**k, um_per_px[1] * 2**k) for k in range(len(sizes)))
        self.origin_um = origin_um
        self._arrays = [self._open(level) for level in range(len(sizes))]

    def _open(self, level: int) -> Any:
        path = self._folder / str(level)
        _check_array(path, (self.depth, *self.levels[level].shape) if self.depth else self.levels[level].shape)
        return zarr.open_array(store=path, mode="r", zarr_format=3)

    def read(self, level: int, box: Box) -> NDArray[np.uint8]:
        """A box of one level, (rows, cols) of the class map or (n, rows, cols) of the others; 0 outside."""
        lead = (self.depth,) if self.depth else ()
        if box.rows * box.cols * max(1, self.depth) > _READ_BYTES_MOST:
            raise ValueError(f"a box of {box.shape} px is too large to read at once")
        result = np.zeros((*lead, box.rows, box.cols), np.uint8)
        size = self.levels[level]
        inside = box.intersect(Box(0, 0, size.rows, size.cols))
        if not inside.empty:
            try:
                found = self._arrays[level][(..., *inside.within(Box(0, 0, size.rows, size.cols)))]
            except (ValueError, OSError, KeyError) as error:
                raise _broken(self._folder, "a readable map", f"{type(error).__name__}: {error}") from error
            result[(..., *inside.within(box))] = found
        return result

    def whole(self, level: int = 0) -> NDArray[np.uint8]:
        """One level in full."""
        size = self.levels[level]
        return self.read(level, Box(0, 0, size.rows, size.cols))

    def plane(self, number: int) -> NDArray[np.uint8]:
        """One layer of level 0 in full: of a class or a stain; the class map has none."""
        try:
            return np.asarray(self._arrays[0][number], np.uint8)
        except (ValueError, OSError, KeyError) as error:
            raise _broken(self._folder, "a readable map", f"{type(error).__name__}: {error}") from error

    def at(self, row: int, col: int) -> NDArray[np.uint8]:
        """All layers at one pixel of level 0, (n,); (1,) of the class map; 0 where no file says anything.

        Notes
        -----
        One byte a layer is read where it lies in its uncompressed chunk: zarr would read whole chunks, 20 ms for eleven
        layers.
        """
        array, size = self._arrays[0], self.levels[0]
        if not (0 <= row < size.rows and 0 <= col < size.cols):
            return np.zeros(max(1, self.depth), np.uint8)
        rows, cols = array.chunks[-2:]
        within = (row % rows) * cols + col % cols
        lead = [(number,) for number in range(self.depth)] if self.depth else [()]
        keys = [array.metadata.encode_chunk_key((*first, row // rows, col // cols)) for first in lead]
        return np.array([_byte(self._folder / "0" / key, within) for key in keys], np.uint8)


def _byte(chunk: Path, place: int) -> int:
    try:
        with open(chunk, "rb", buffering=0) as file:
            file.seek(place)
            return (file.read(1) or b"\0")[0]
    except OSError:
        return 0  # chunks of nothing but 0 are not written


@dataclass(frozen=True, eq=False)
class SavedMaps:
    """The maps of a run over a case.

    Attributes
    ----------
    facts
        What they are made of.
    class_map
        Class ids; 0 where nothing was predicted.
    probabilities
        One layer a class.
    weights
        One layer a stain.
    """

    facts: MapFacts
    class_map: SavedMap
    probabilities: SavedMap
    weights: SavedMap


def save_maps(
    parent: Path,
    facts: MapFacts,
    classes: NDArray[np.uint8],
    probabilities: NDArray[np.float32],
    weights: NDArray[np.float32],
) -> Path:
    """Write the maps of a run as `parent/RUN`, whole or not at all; earlier ones of that run are replaced.

    Parameters
    ----------
    parent
        The case's `maps/`.
    facts
        What they are made of.
    classes
        (rows, cols) class ids.
    probabilities, weights
        (classes, rows, cols) and (stains, rows, cols), 0 to 1.

    Returns
    -------
    The folder.
    """
    return lay_over(parent, facts, Size(*classes.shape), (0, 0), classes, probabilities, weights)


def lay_over(
    parent: Path,
    facts: MapFacts,
    size: Size,
    corner: tuple[int, int],
    classes: NDArray[np.uint8],
    probabilities: NDArray[np.float32],
    weights: NDArray[np.float32],
    *,
    keep: SavedMaps | None = None,
) -> Path:
    """Write maps of a part of a section as `parent/RUN`, whole or not at all.

    Parameters
    ----------
    parent, facts
        As in `save_maps`.
    size
        Of the maps of the whole section.
    corner
        Their pixel (row, col) that the part begins at.
    classes, probabilities, weights
        Of the part, as in `save_maps`.
    keep
        Maps of the same run, grid and facts: they stay where the part predicts nothing. None: the rest is 0.

    Returns
    -------
    The folder.

    Notes
    -----
    Costs the part, and a copy of what is kept: a view of a whole section comes in the time that it takes to predict it.
    """
    part = Box(*corner, *classes.shape)
    _check_given(facts, Size(*classes.shape), classes, probabilities, weights)
    if part.intersect(whole(size)) != part or max(size.shape) > _SIDE_MOST:
        raise ValueError(f"a part of maps of {size.shape} px lies within them: {part}")
    if keep is not None and keep.class_map.levels[0] != size:
        raise ValueError(f"maps of {keep.class_map.levels[0].shape} px cannot be kept in maps of {size.shape} px")
    planes = (classes, _bytes(probabilities), _bytes(weights))
    content = _facts_content(facts, size)
    content["id"] = _content_id(maps_id(parent / facts.run) if keep is not None else "", part, planes)
    with new_folder(parent / facts.run, replace=True) as folder:
        depths = (0, len(facts.classes), len(facts.stains))
        for name, depth in zip(NAMES, depths, strict=True):
            if keep is not None:
                with disk_errors(folder):
                    shutil.copytree(parent / facts.run / name, folder / name)
            else:
                _new_pyramid(folder / name, name, depth, size, facts)
        _put(folder, part, planes)
        write_json(folder / _FACTS, content)
    return parent / facts.run


def maps_id(folder: Path) -> str:
    """The id of saved maps, which tells whether they are still the same; empty where there are none that can be read."""
    try:
        content = read_json(confine(folder, _FACTS), _JSON_BYTES_MOST)
    except CaseError:
        return ""
    stored = content.get("id")
    # Maps of the first programs have none: what they are made of stands for them.
    return stored if isinstance(stored, str) and stored else hashlib.sha256(repr(content).encode()).hexdigest()[:16]


def _content_id(before: str, part: Box, planes: tuple[NDArray[np.uint8], ...]) -> str:
    content = hashlib.sha256(f"{before} {part}".encode())
    for values in planes:
        content.update(np.ascontiguousarray(values).data)
    return content.hexdigest()[:16]


def _check_given(
    facts: MapFacts,
    size: Size,
    classes: NDArray[np.uint8],
    probabilities: NDArray[np.float32],
    weights: NDArray[np.float32],
) -> None:
    check_name(facts.run, "a run")
    if classes.dtype != np.uint8 or min(size.shape) < 1 or max(size.shape) > _SIDE_MOST:
        raise ValueError(f"a class map is (rows, cols) uint8: {classes.shape} {classes.dtype}")
    known = {0, *(lesion.id for lesion in facts.classes)}
    if not set(np.unique(classes).tolist()) <= known:
        raise ValueError(f"the class map holds ids other than {sorted(known)}")
    for what, array, depth in (
        ("probabilities", probabilities, len(facts.classes)),
        ("weights", weights, len(facts.stains)),
    ):
        if array.shape != (depth, *size.shape):
            raise ValueError(f"{what} have shape {(depth, *size.shape)}: {array.shape}")
        if not (np.all(np.isfinite(array)) and array.min() >= 0 and array.max() <= 1):
            raise ValueError(f"{what} lie within 0 and 1")


def _bytes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.round(values * 255).astype(np.uint8)


def read_map_facts(folder: Path) -> MapFacts:
    """What maps say of themselves; `CaseError` where it is damaged or newer than this program."""
    return _facts_of(_read_record(folder))


def _read_record(folder: Path) -> MapsRecord:
    path = confine(folder, _FACTS)
    content = read_json(path, _JSON_BYTES_MOST)
    refuse_newer(content, path)
    return checked(MapsRecord, content, path)


def open_maps(folder: Path) -> SavedMaps:
    """Open saved maps; `CaseError` where they are not whole, newer than this program, or hold what could run code."""
    record = _read_record(folder)
    _check_tree(folder)
    facts, size = _facts_of(record), Size(record.rows, record.cols)
    place = (size, facts.um_per_px, facts.origin_um)
    return SavedMaps(
        facts,
        SavedMap(folder / "class", 0, *place),
        SavedMap(folder / "probabilities", len(facts.classes), *place),
        SavedMap(folder / "weights", len(facts.stains), *place),
    )


def list_maps(parent: Path) -> tuple[str, ...]:
    """Ids of the runs that have maps below a folder, oldest first."""
    if not parent.is_dir():
        return ()
    return tuple(sorted(e.name for e in parent.iterdir() if safe_name(e.name) == e.name and (e / _FACTS).is_file()))


# Pyramids


def _sizes(size: Size) -> tuple[Size, ...]:
    """Sizes of the levels: halved, rounded up, until the longer side is at most 256 px."""
    sizes = [size]
    while max(sizes[-1].shape) > _SMALLEST_PX and len(sizes) < _LEVELS_MOST:
        sizes.append(Size(-(-sizes[-1].rows // 2), -(-sizes[-1].cols // 2)))
    return tuple(sizes)


def _new_pyramid(folder: Path, name: str, depth: int, size: Size, facts: MapFacts) -> None:
    lead = (depth,) if depth else ()
    levels = _sizes(size)
    group = zarr.open_group(store=folder, mode="w", zarr_format=3)
    group.attrs["ome"] = _ome(name, 2 + len(lead), len(levels), facts)
    for number, level in enumerate(levels):
        chunks = (*([1] * len(lead)), *(min(_CHUNK_PX, n) for n in level.shape))
        # No compressor: a chunk that decodes to more than its file holds cannot exist.
        group.create_array(
            str(number), shape=(*lead, *level.shape), chunks=chunks, dtype="uint8", compressors=None, filters=None, fill_value=0
        )  # fmt: skip


def _put(folder: Path, part: Box, planes: tuple[NDArray[np.uint8], ...]) -> None:
    """Lay a part over level 0 where it was predicted, and carry what changed up the pyramid."""
    count = len(list((folder / NAMES[0]).glob("*/zarr.json")))
    classes, *others = ([_writable(folder / name / str(level)) for level in range(count)] for name in NAMES)
    there = planes[0] > 0
    spot = (..., *part.within(_CORNER))
    for arrays, values in zip((classes, *others), planes, strict=True):
        arrays[0][spot] = values if there.all() else np.where(there, values, arrays[0][spot])
    box = part
    for level in range(1, count):
        box = Box(box.row // 2, box.col // 2, -(-box.row_end // 2) - box.row // 2, -(-box.col_end // 2) - box.col // 2)
        below = Box(2 * box.row, 2 * box.col, 2 * box.rows, 2 * box.cols).intersect(
            whole(Size(*classes[level - 1].shape))
        )
        source, target = (..., *below.within(_CORNER)), (..., *box.within(_CORNER))
        kinds = classes[level - 1][source]
        classes[level][target] = _halve_classes(kinds)
        for arrays in others:
            arrays[level][target] = _halve_shares(arrays[level - 1][source], kinds > 0)


def _writable(path: Path) -> Any:
    return zarr.open_array(store=path, mode="r+", zarr_format=3)


def _halve_classes(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The class that most pixels of each 2 x 2 block have, 0 only where all are 0; of equals the smallest id."""
    blocks = _blocks(classes)
    counts = [(int(value), (blocks == value).sum(axis=0)) for value in np.unique(classes) if value]
    result, most = np.zeros(blocks.shape[1:], np.uint8), np.zeros(blocks.shape[1:], np.int64)
    for value, count in counts:
        more = count > most
        result[more], most[more] = value, count[more]
    return result


def _halve_shares(values: NDArray[np.uint8], there: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Means over those pixels of each 2 x 2 block that were predicted; 0 where none was."""
    known = _blocks(there.astype(np.uint8)).sum(axis=0)
    result = np.empty((len(values), *known.shape), np.uint8)
    for number, layer in enumerate(values):
        total = _blocks(np.where(there, layer, 0)).sum(axis=0, dtype=np.int64)
        result[number] = np.round(total / np.maximum(known, 1)).astype(np.uint8)
    return result


def _blocks(array: NDArray[Any]) -> NDArray[Any]:
    """The four pixels of each 2 x 2 block, (4, rows, cols); an odd last row or column is filled up with 0."""
    padded = np.pad(array, ((0, array.shape[0] % 2), (0, array.shape[1] % 2)))
    return np.stack([padded[row::2, col::2] for row in (0, 1) for col in (0, 1)])


def _ome(name: str, axes: int, levels: int, facts: MapFacts) -> dict[str, Any]:
    """OME-Zarr 0.5: um per px, and the centre of pixel (0, 0), which is where OME-Zarr's coordinates start."""
    lead = [1.0] * (axes - 2)
    datasets = []
    for level in range(levels):
        scale = [step * 2**level for step in facts.um_per_px]
        middle = [origin + step / 2 for origin, step in zip(facts.origin_um, scale, strict=True)]
        transforms = [
            {"type": "scale", "scale": [*lead, *scale]},
            {"type": "translation", "translation": [*[0.0] * len(lead), *middle]},
        ]
        datasets.append({"path": str(level), "coordinateTransformations": transforms})
    space = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in ("y", "x")]
    channel = [{"name": "c", "type": "channel"}] if lead else []
    return {"version": "0.5", "multiscales": [{"name": name, "axes": [*channel, *space], "datasets": datasets}]}


# Facts


def _facts_content(facts: MapFacts, size: Size) -> dict[str, Any]:
    return {
        "format": "stainloom maps",
        "version": MAPS_VERSION,
        "program": __version__,
        "run": facts.run,
        "simulated": facts.simulated,
        "one_patient": facts.one_patient,
        "rows": size.rows,
        "cols": size.cols,
        "um_per_px": list(facts.um_per_px),
        "origin_um": list(facts.origin_um),
        "stains": list(facts.stains),
        "classes": [
            {"id": c.id, "short": c.short, "name": c.name, "color": c.color, "on": c.on} for c in facts.classes
        ],
        "warps": dict(facts.warps),
        "extra": dict(facts.extra),
    }


def _facts_of(record: MapsRecord) -> MapFacts:
    return MapFacts(
        run=record.run,
        stains=tuple(record.stains),
        classes=tuple(LesionClass(**lesion.model_dump()) for lesion in record.classes),
        um_per_px=record.um_per_px,
        origin_um=record.origin_um,
        warps=record.warps,
        simulated=record.simulated,
        one_patient=record.one_patient,
        extra=record.extra,
        id=record.id,
    )


# Untrusted files


def _check_tree(folder: Path) -> None:
    """No links, and no more files than any map has."""
    count = 0
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            count += 1
            if count > _FILES_MOST:
                raise _broken(folder, f"at most {_FILES_MOST} files", "more")
            if (Path(root) / name).is_symlink():
                raise _broken(folder, "files of its own", f"a link: {name}")


def _check_array(path: Path, shape: tuple[int, ...]) -> None:
    """An array as `_write_pyramid` writes it: uint8, of that shape, plain chunks without a codec that could run or swell."""
    found = read_json(path / "zarr.json", _JSON_BYTES_MOST)
    try:
        chunks = found["chunk_grid"]["configuration"]["chunk_shape"]
        plain = (
            found["zarr_format"] == 3
            and found["node_type"] == "array"
            and found["data_type"] == "uint8"
            and found["chunk_grid"]["name"] == "regular"
            and [codec["name"] for codec in found["codecs"]] == ["bytes"]
            and found["fill_value"] == 0
            and not found.get("storage_transformers")
            and all(type(n) is int and 1 <= n <= 4 * _CHUNK_PX for n in chunks)
            and len(chunks) == len(shape)
            and math.prod(chunks) <= 16 * _CHUNK_PX**2
        )
    except (KeyError, TypeError) as error:
        raise _broken(path, "a zarr array", f"{type(error).__name__}: {error}") from error
    if not plain:
        raise _broken(
            path, "a plain uint8 array, uncompressed", str({k: found.get(k) for k in ("data_type", "codecs")})
        )
    if found.get("shape") != list(shape):
        raise _broken(path, f"shape {list(shape)}", str(found.get("shape"))[:80])


def _broken(path: Path, expected: str, found: str) -> CaseError:
    return CaseError("these maps are not whole", slide=path.name, expected=expected, found=found[:200], next=_AGAIN)
