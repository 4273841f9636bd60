"""The patch sets of a study: how many windows, how old, and what they look like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from stainloom.case.case import Case
from stainloom.case.lesions import LesionClass
from stainloom.errors import StainloomError
from stainloom.io.casefile import StudyFolder
from stainloom.io.patchformat import MadeFrom, bytes_on_disk
from stainloom.jobs.opening import colour_of, look_at_labels, patchsets_by_age
from stainloom.wording import many

if TYPE_CHECKING:
    from stainloom.io.patchset import Drawn

_CASES_REMEMBERED = 4096


@dataclass(frozen=True)
class PatchSetState:
    """A patch set, as a list shows it.

    Attributes
    ----------
    id, path
        Its id and its folder.
    made
        When it was last exported (local time).
    windows, samples, bytes
        How many windows, how many patches with all turns, and the room of their pixels.
    stains, classes
        Names, and short names of the classes that have windows.
    sets
        Windows by set.
    patients
        By set: pseudonyms.
    outdated
        What changed since, one sentence each: *older than the paint of 2 cases*; empty where nothing did.
    problem
        Why it cannot be used; empty where it can.
    """

    id: str
    path: Path
    made: datetime
    windows: int = 0
    samples: int = 0
    bytes: int = 0
    stains: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    sets: Mapping[str, int] = field(default_factory=dict)
    patients: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    outdated: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, eq=False)
class ContactSheet:
    """One patch of each class, drawn at random: stains, and by class what was drawn."""

    stains: tuple[str, ...]
    classes: tuple[LesionClass, ...]
    drawn: Mapping[int, Drawn]


def patchsets(study: Path, *, compare: bool = True) -> tuple[PatchSetState, ...]:
    """The patch sets of a study, latest first; one that cannot be used is in the list with its reason.

    `compare` looks whether paint, alignment and colours are still those that each was cut from: reads every case.
    """
    folder = StudyFolder.open(study)
    now = {case.name: _now(folder, case) for case in folder.readable_cases()[0]} if compare else None
    return tuple(patchset_state(folder, id, now) for id in reversed(patchsets_by_age(folder)))


def contact_sheet(study: Path, patchset: str, seed: int = 0) -> ContactSheet:
    """One patch of each class of a patch set, in all stains, drawn at random."""
    from stainloom.io.patchset import draw_patches, read_about

    path = StudyFolder.open(study).patchset_path(patchset)
    about, _ = read_about(path)
    drawn = draw_patches(path, seed)
    classes = tuple(LesionClass(**lesion) for lesion in about["classes"] if lesion["id"] in drawn)
    return ContactSheet(tuple(about["stains"]), classes, drawn)


def cut_before(latest: PatchSetState, case: str, now: MadeFrom, reference: str) -> bool:
    """Whether what a patch set cut from a case is no longer what is there; False of a case that is not in it."""
    then = None if latest.problem else _made_from(latest.path).get(case)
    return then is not None and bool(_changes(then, now, reference))


def _now(folder: StudyFolder, case: Case) -> MadeFrom:
    """What a case is now."""
    try:
        labels = _paint_id(folder, case)
    except StainloomError:
        labels = ""
    slides = [stain for stain in case.slides if stain not in case.left_out]
    warps = {stain: folder.current_warp_id(case.name, stain) for stain in slides if stain != folder.study.reference}
    colours = {stain: colour_of(folder, case, stain) for stain in slides}
    return MadeFrom(
        labels,
        {stain: id for stain, id in warps.items() if id is not None},
        {stain: colour.id for stain, colour in colours.items() if colour is not None},
    )


def patchset_state(folder: StudyFolder, id: str, now: Mapping[str, MadeFrom] | None = None) -> PatchSetState:
    """One patch set; compared with what its cases are now where that is given."""
    from stainloom.io.patchset import read_about

    path = folder.patchset_path(id)
    made = datetime.fromtimestamp(path.stat().st_mtime).astimezone()
    try:
        about, split = read_about(path)
        patients: dict[str, tuple[str, ...]] = {}
        for patient, name in split.get("patients", {}).items():
            patients[name] = (*patients.get(name, ()), patient)
        settings, named = about["settings"], {lesion["id"]: lesion["short"] for lesion in about["classes"]}
        return PatchSetState(
            id,
            path,
            made,
            int(about["windows"]),
            int(about["samples"]),
            bytes_on_disk(about["windows"], len(about["stains"]), settings["size_px"], len(settings["turns"])),
            tuple(about["stains"]),
            tuple(named[int(number)] for number in about["windows_by_class"]),
            {name: count for name, count in about["windows_by_set"].items() if count},
            patients,
            () if now is None else _outdated(_made_from(path), now, folder.study.reference),
        )
    except StainloomError as error:
        return PatchSetState(id, path, made, problem=str(error))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return PatchSetState(id, path, made, problem=f"it cannot be read: {error}")


def _outdated(then: Mapping[str, MadeFrom], now: Mapping[str, MadeFrom], reference: str) -> tuple[str, ...]:
    """What changed since a set was cut, one sentence each."""
    changes = [_changes(then[name], now[name], reference) for name in then if name in now]
    counted = {f"older than {what} of {{}}": sum(what in one for one in changes) for what in _CHANGES}
    counted |= {
        "still with {} that left the study": len(then.keys() - now.keys()),
        "without the paint of {}": sum(bool(new.labels) for name, new in now.items() if name not in then),
    }
    return tuple(said.format(many(count, "case")) for said, count in counted.items() if count)


_PAINT, _ALIGNMENT, _COLOURS = _CHANGES = ("the paint", "an alignment", "the colours")


def _changes(then: MadeFrom, now: MadeFrom, reference: str) -> set[str]:
    """What of a case changed since it was cut."""
    # A stain that was not used then (failed, out of focus) has no warp there: what it is now changes nothing that was cut.
    used = {
        _ALIGNMENT: (then.warps, now.warps, set(then.warps)),
        _COLOURS: (then.normalizations, now.normalizations, {reference, *then.warps}),
    }
    found = {what for what, (old, new, of) in used.items() if any(old.get(stain) != new.get(stain) for stain in of)}
    return found | ({_PAINT} if then.labels != now.labels else set())


@lru_cache(maxsize=64)
def _made_from(path: Path) -> dict[str, MadeFrom]:
    """A patch set never changes."""
    from stainloom.io.patchset import read_made_from

    return read_made_from(path)


def _paint_id(folder: StudyFolder, case: Case) -> str:
    """Id of a case's paint; empty where nothing was ever painted."""
    store = folder.labels_path(case.name)
    if not store.exists():
        return ""
    files = (store, store.with_name(store.name + "-wal"), folder.snapshot_path(case.name))
    stamp = tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in files)
    return _read_paint_id(folder.path, case.name, stamp)


@lru_cache(maxsize=_CASES_REMEMBERED)
def _read_paint_id(study: Path, case: str, stamp: tuple[int, ...]) -> str:
    folder = StudyFolder.open(study)
    labels = look_at_labels(folder, folder.case(case))
    return labels.labels_id if labels.raster.any() else ""
