"""What a study holds and what is still to do, read from small files alone: for lists, docks and `study show`."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from stainloom.case.case import Case
from stainloom.case.view import USABLE, Verdict
from stainloom.errors import StainloomError
from stainloom.io.casefile import StudyFolder
from stainloom.io.patchformat import MadeFrom
from stainloom.io.snapshot import holds_paint, read_labels_id
from stainloom.jobs.mapstate import maps_of, maps_outdated
from stainloom.jobs.opening import (
    accepted,
    colour_of,
    in_doubt,
    is_stale,
    needs_aligning,
    patchsets_by_age,
    replaced,
    verdict_of,
)
from stainloom.jobs.patchsets import PatchSetState, cut_before, patchset_state
from stainloom.jobs.reviewing import review_stands
from stainloom.jobs.seen import Seen

_QUICK_CASES, _QUICK_S = 5, 0.05

Carried = Literal["no", "old", "yes"]


@dataclass(frozen=True)
class StainState:
    """One stain of a case.

    Attributes
    ----------
    name
        The stain.
    verdict, message
        How far its place can be trusted, and what that means.
    error_um
        Median distance of its landmarks after aligning; None without landmarks.
    found
        Whether its slide is where the study says.
    normalized
        Whether its colours were brought to the study's look.
    carried
        Whether labels were carried into it: `no`, `old` (before its last alignment) or `yes`.
    to_align
        Whether it is there and was never aligned as it is now.
    by_hand
        Whether its place was laid by hand, or refined from there.
    in_doubt
        Whether its alignment is one that somebody may look at and find right.
    accepted
        Whether somebody did.
    made_from
        Ids of its alignment and its normalization: a picture of it holds as long as these do.
    changed
        Whether another file lies under its name: then nothing that was made from the first one holds.
    """

    name: str
    verdict: Verdict
    message: str = ""
    error_um: float | None = None
    found: bool = True
    normalized: bool = False
    carried: Carried = "no"
    made_from: tuple[str | None, str | None] = (None, None)
    changed: bool = False
    to_align: bool = False
    by_hand: bool = False
    in_doubt: bool = False
    accepted: bool = False

    @property
    def there(self) -> bool:
        """Whether the case has it and the user did not leave it out."""
        return self.verdict not in ("missing", "left out")


@dataclass(frozen=True)
class CaseState:
    """One case.

    Attributes
    ----------
    name, patient
        Its name, and its patient's pseudonym.
    stains
        In the study's order.
    painted
        Whether anything is painted on it.
    exported
        Whether its patient is in the latest patch set.
    predicted
        Whether a run predicted anything over it.
    reviewed
        Whether somebody looked at its maps and its paint, and these are still the same.
    review_old
        Whether somebody had, and the maps or the paint changed since.
    reviewed_run
        Id of the run whose maps somebody looked at; empty where nobody did.
    patches_old, maps_old
        Whether paint, an alignment or colours changed since the latest patches were cut; whether an alignment or colours
        did since the latest maps were predicted.
    paint_id
        Of its paint as it was last written for jobs; empty where nothing is painted.
    problem
        Why it cannot be read, one sentence; empty where it can.
    looked
        Whether it was looked at; in a quick survey of a large study only its name is known at first.
    """

    name: str
    patient: str
    stains: tuple[StainState, ...] = ()
    painted: bool = False
    exported: bool = False
    predicted: bool = False
    reviewed: bool = False
    review_old: bool = False
    reviewed_run: str = ""
    patches_old: bool = False
    maps_old: bool = False
    paint_id: str = ""
    problem: str = ""
    looked: bool = True

    @property
    def to_align(self) -> tuple[str, ...]:
        """Stains that were never aligned as they are now."""
        return tuple(stain.name for stain in self.stains if stain.to_align)

    @property
    def aligned(self) -> bool:
        """Whether every stain that is there can be used."""
        usable = (stain.verdict in USABLE for stain in self.stains if stain.there)
        return bool(self.stains) and all(usable) and not any(stain.changed for stain in self.stains)

    @property
    def to_check(self) -> tuple[str, ...]:
        """Stains that can be used, though somebody should look at their alignment first."""
        return tuple(stain.name for stain in self.stains if stain.verdict == "check")

    @property
    def lost(self) -> tuple[str, ...]:
        """Stains whose slides are not where the study says."""
        return tuple(stain.name for stain in self.stains if not stain.found)

    @property
    def normalized(self) -> bool:
        """Whether every stain that is there was brought to the study's look."""
        return bool(self.stains) and all(stain.normalized for stain in self.stains if stain.there)


@dataclass(frozen=True)
class StudyState:
    """A study.

    Attributes
    ----------
    path
        Its folder.
    cases
        In the order of their names.
    patchsets, runs
        Ids, oldest first.
    simulated
        Whether its slides were made by the program.
    stains
        Names, in the study's order.
    latest
        The latest patch set, or None.
    """

    path: Path
    cases: tuple[CaseState, ...]
    patchsets: tuple[str, ...]
    runs: tuple[str, ...]
    simulated: bool
    stains: tuple[str, ...] = ()
    latest: PatchSetState | None = None

    def case(self, name: str) -> CaseState:
        """A case by name; `KeyError` where the study has none."""
        for case in self.cases:
            if case.name == name:
                return case
        raise KeyError(name)


def survey(study: Path, *, quick: bool = False, most: int | None = None) -> StudyState:
    """Look at a whole study; a case that cannot be read is in the list with its reason.

    Parameters
    ----------
    study
        Its folder.
    quick
        Look at the first cases only, of the others at their names: for a window that shows the list at once and looks at
        the rest behind it.
    most
        Look at this many cases that were never looked at or changed since; again with the same goes on where it stopped.
    """
    folder = StudyFolder.open(study)
    names = patchsets_by_age(folder)
    latest = patchset_state(folder, names[-1]) if names else None
    exported = {patient for found in latest.patients.values() for patient in found} if latest is not None else set()
    until = time.monotonic() + _QUICK_S if quick else math.inf
    stop = math.inf if most is None else _SEEN.read_anew + most
    cases = []
    for number, name in enumerate(folder.case_names()):
        if number < _QUICK_CASES or (time.monotonic() < until and _SEEN.read_anew < stop):
            case = _SEEN.get(folder, name, partial(_case, folder, name, exported))
            old = latest is not None and not quick and _cut_before(latest, case, folder.study.reference)
            cases.append(replace(case, exported=case.patient in exported, patches_old=old))
        else:
            cases.append(CaseState(name, "", looked=False))
    return StudyState(
        folder.path, tuple(cases), names, folder.runs(), folder.study.simulated, folder.study.stain_names, latest
    )


_SEEN: Seen[CaseState] = Seen()


def _case(folder: StudyFolder, name: str, exported: set[str]) -> CaseState:
    try:
        case = folder.case(name)
        stands, seen_run = review_stands(folder, name)
        painted, predicted = _is_painted(folder, name), maps_of(folder.path, name)
        return CaseState(
            name,
            case.patient,
            tuple(_stain(folder, case, stain) for stain in folder.study.stain_names),
            painted,
            case.patient in exported,
            bool(predicted),
            reviewed=stands is True,
            review_old=stands is False,
            reviewed_run=seen_run,
            maps_old=bool(predicted) and _are_outdated(folder, case, predicted[-1]),
            paint_id=_paint_id(folder, name) if painted else "",
        )
    except StainloomError as error:
        return CaseState(name, "", problem=str(error))


def _cut_before(latest: PatchSetState, case: CaseState, reference: str) -> bool:
    """Whether what patches of a case were cut from changed since."""
    stains = [stain for stain in case.stains if stain.there]
    now = MadeFrom(
        case.paint_id,
        {stain.name: warp for stain in stains if (warp := stain.made_from[0]) is not None},
        {stain.name: colour for stain in stains if (colour := stain.made_from[1]) is not None},
    )
    return cut_before(latest, case.name, now, reference)


def _are_outdated(folder: StudyFolder, case: Case, run: str) -> bool:
    try:
        return maps_outdated(folder, case, run)
    except StainloomError:
        # Who opens them is told what is wrong with them.
        return True


def _paint_id(folder: StudyFolder, name: str) -> str:
    try:
        return read_labels_id(folder.snapshot_path(name))
    except StainloomError:
        return ""


def _is_painted(folder: StudyFolder, name: str) -> bool:
    if not folder.labels_path(name).exists():
        return False
    try:
        return holds_paint(folder.snapshot_path(name))
    except StainloomError:
        # Whoever painted last was stopped before the snapshot: the store is what counts.
        return True


def _stain(folder: StudyFolder, case: Case, stain: str) -> StainState:
    verdict, message = verdict_of(folder, case, stain)
    if stain not in case.slides:
        return StainState(stain, verdict, message)
    where = _where(folder, case, stain)
    if where == "changed":
        return StainState(stain, "missing", str(replaced(folder, case, stain)), changed=True)
    quality = folder.current_quality(case.name, stain) if stain != folder.study.reference else None
    landmarks = quality.get("landmarks") if quality else None
    colour = colour_of(folder, case, stain)
    warp = folder.current_warp_id(case.name, stain) if stain != folder.study.reference else None
    return StainState(
        stain,
        verdict,
        message,
        float(landmarks["median_um"]) if isinstance(landmarks, dict) else None,
        where == "there",
        colour is not None,
        _carried(folder, case, stain),
        (warp, None if colour is None else colour.id),
        to_align=needs_aligning(folder, case, stain),
        by_hand=bool(quality and quality.get("by_hand")),
        in_doubt=in_doubt(quality),
        accepted=bool(accepted(quality)),
    )


def _carried(folder: StudyFolder, case: Case, stain: str) -> Carried:
    if stain == folder.study.reference or folder.carried_ids(case.name, stain) is None:
        return "no"
    return "old" if is_stale(folder, case, stain, None) else "yes"


def _where(folder: StudyFolder, case: Case, stain: str) -> Literal["there", "lost", "changed"]:
    """Whether the file of a slide is where the study says, and still the same."""
    from stainloom.io.slides import is_still

    try:
        slide = case.slide(stain)
        path = folder.slide_path(case, slide)
        # Reading into every slide of a large study takes minutes; one written after its case was is worth a look.
        taken_in = (folder.case_path(case.name) / "case.json").stat().st_mtime_ns
        same = is_still(path, slide.fingerprint, look_inside=path.stat().st_mtime_ns > taken_in)
    except (StainloomError, OSError):
        return "lost"
    return "there" if same else "changed"
