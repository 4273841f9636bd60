"""Results of a stain that are kept by their id, whole folders beside one pointer: warps and carried labels."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stainloom import __version__
from stainloom.case.warp import Warp
from stainloom.errors import CaseError
from stainloom.geometry import Scale, as_scale
from stainloom.io.arrays import read_arrays, write_arrays
from stainloom.io.files import disk_errors, new_folder, read_json, write_json, write_whole
from stainloom.io.records import FORMAT_VERSION, refuse_newer

_WARP_MOST_BYTES = 512 << 20
_CARRIED_MOST_PX = 24_000 * 24_000
_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, eq=False)
class Carried:
    """Labels of the reference as they lie on another stain's own slide.

    Attributes
    ----------
    raster
        (rows, cols) uint8, class ids, 0 where nothing was annotated; from um (0, 0) of the stain's slide on.
    um_per_px
        Of the raster, (row, col).
    labels_id, warp_id
        Ids of the paint and of the warp that it was made with. It is stale where either is no longer the current one.
    """

    raster: NDArray[np.uint8]
    um_per_px: Scale
    labels_id: str
    warp_id: str

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols) of the raster."""
        return (self.raster.shape[0], self.raster.shape[1])

    @property
    def id(self) -> str:
        """Hash of the content: 16 hexadecimal digits."""
        digest = hashlib.sha256(f"{self.shape} {self.um_per_px} {self.labels_id} {self.warp_id}".encode())
        digest.update(np.ascontiguousarray(self.raster).data)
        return digest.hexdigest()[:16]


def described(format: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a JSON file of ours: what it is, in which version, and the facts."""
    return {"format": format, "version": FORMAT_VERSION, "program": __version__, **facts}


def current_id(folder: Path) -> str | None:
    """The id that the pointer of a stain names; None where there is no result yet."""
    file = folder / "current"
    if not file.exists():
        return None
    with disk_errors(file), open(file, "rb") as opened:
        id = opened.read(64).decode("ascii", "replace").strip()
    if not _ID.fullmatch(id):
        raise CaseError(
            "a pointer to a result is damaged",
            slide=f"{folder.name}/current",
            stain=folder.name,
            expected="an id of 16 hexadecimal digits",
            found=repr(id),
            next="make this result again",
        )
    return id


def _point(folder: Path) -> None:
    write_whole(folder.parent / "current", f"{folder.name}\n".encode())


def save_warp(folder: Path, stain: str, warp: Warp, quality: Mapping[str, Any]) -> str:
    """Store a warp below the folder of its stain and point to it; its id."""
    facts = described("stainloom warp", {"stain": stain, "warp_id": warp.id, "quality": dict(quality)})
    final = folder / warp.id
    if _whole(lambda: read_warp(final, "", stain)):
        write_json(final / "quality.json", facts)
    else:
        with new_folder(final, replace=True) as new:
            write_arrays(new / "warp.npz", warp.to_arrays())
            write_json(new / "quality.json", facts)
    _point(final)
    return warp.id


def save_quality(folder: Path, stain: str, warp_id: str, quality: Mapping[str, Any]) -> None:
    """Say anew how good a stored warp is; which one is current stays as it is."""
    facts = described("stainloom warp", {"stain": stain, "warp_id": warp_id, "quality": dict(quality)})
    write_json(folder / warp_id / "quality.json", facts)


def read_warp(folder: Path, case_name: str, stain: str) -> tuple[Warp, dict[str, Any]]:
    """A stored warp and its quality; `CaseError` where it is missing or no longer what its id says."""
    facts = read_json(folder / "quality.json")
    refuse_newer(facts, folder / "quality.json")
    arrays = read_arrays(folder / "warp.npz", _WARP_MOST_BYTES)
    try:
        warp = Warp.from_arrays(arrays)
        if warp.id != folder.name or not isinstance(facts["quality"], dict):
            raise ValueError(f"the content is that of {warp.id}, not of {folder.name}")
    except (ValueError, KeyError, TypeError, IndexError, OverflowError) as error:
        raise CaseError(
            f"the alignment of {stain} in case {case_name} is damaged",
            slide=f"{folder.name}/warp.npz",
            stain=stain,
            found=str(error),
            next=f"register {stain} of this case again",
        ) from error
    return warp, facts["quality"]


def read_quality(folder: Path, case_name: str, stain: str) -> dict[str, Any]:
    """How far a stored warp can be trusted, without the warp itself: a list of cases reads hundreds of these."""
    facts = read_json(folder / "quality.json")
    refuse_newer(facts, folder / "quality.json")
    quality = facts.get("quality")
    if not isinstance(quality, dict):
        raise CaseError(
            f"the alignment of {stain} in case {case_name} is damaged",
            slide=f"{folder.name}/quality.json",
            stain=stain,
            expected="the key quality",
            next=f"register {stain} of this case again",
        )
    return quality


def read_carried_ids(folder: Path, case_name: str, stain: str) -> tuple[str, str]:
    """Ids of the paint and of the warp that stored labels were carried with, without the labels."""
    facts = read_json(folder / "carried.json")
    refuse_newer(facts, folder / "carried.json")
    try:
        return str(facts["labels_id"]), str(facts["warp_id"])
    except KeyError as error:
        raise CaseError(
            f"the carried labels of {stain} in case {case_name} are damaged",
            slide=f"{folder.name}/carried.json",
            stain=stain,
            expected=f"the key {error}",
            next="transfer the labels again; what was painted is kept elsewhere",
        ) from error


def save_carried(folder: Path, stain: str, carried: Carried) -> str:
    """Store carried labels below the folder of their stain and point to them; their id. Of earlier ones the last stays.

    (A reader that just followed the pointer still finds what it named.)
    """
    raster = carried.raster
    if raster.ndim != 2 or raster.dtype != np.uint8 or not 0 < raster.size <= _CARRIED_MOST_PX:
        raise ValueError(f"carried labels are (rows, cols) uint8: {raster.shape} {raster.dtype}")
    before = current_id(folder)
    final = folder / carried.id
    if not _whole(lambda: read_carried(final, "", stain)):
        facts = {
            "stain": stain,
            "labels_id": carried.labels_id,
            "warp_id": carried.warp_id,
            "um_per_px": list(carried.um_per_px),
            "size_px": list(carried.shape),
        }
        with new_folder(final, replace=True) as new:
            write_arrays(new / "labels.npz", {"labels": raster}, compress=True)
            write_json(new / "carried.json", described("stainloom carried labels", facts))
    _point(final)
    for inner in folder.iterdir():
        if inner.is_dir() and _ID.fullmatch(inner.name) and inner.name not in (final.name, before):
            shutil.rmtree(inner, ignore_errors=True)
    return final.name


def read_carried(folder: Path, case_name: str, stain: str) -> Carried:
    """Stored labels of a stain; `CaseError` where they are missing or no longer what their id says."""
    facts = read_json(folder / "carried.json")
    refuse_newer(facts, folder / "carried.json")
    arrays = read_arrays(folder / "labels.npz", _CARRIED_MOST_PX)
    try:
        raster = arrays["labels"]
        if raster.ndim != 2 or raster.dtype != np.uint8 or list(raster.shape) != facts["size_px"]:
            raise ValueError(f"labels are {raster.shape} {raster.dtype}, not {facts['size_px']} uint8")
        row, col = facts["um_per_px"]
        scale = as_scale((float(row), float(col)))
        carried = Carried(raster, scale, str(facts["labels_id"]), str(facts["warp_id"]))
        if carried.id != folder.name:
            raise ValueError(f"the content is that of {carried.id}, not of {folder.name}")
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise CaseError(
            f"the carried labels of {stain} in case {case_name} are damaged",
            slide=f"{folder.name}/labels.npz",
            stain=stain,
            found=str(error),
            next="transfer the labels again; what was painted is kept elsewhere",
        ) from error
    return carried


def _whole(read: Callable[[], object]) -> bool:
    try:
        read()
    except CaseError:
        return False
    return True
