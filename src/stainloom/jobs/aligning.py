"""Aligning: each stain to the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stainloom.case.case import Case
from stainloom.case.warp import Warp
from stainloom.errors import CaseError, RegistrationError, StainloomError
from stainloom.geometry import BoxUm, box_to_um
from stainloom.io.casefile import StudyFolder
from stainloom.io.laid import read_laid
from stainloom.io.tiles import TileCache
from stainloom.jobs.opening import (
    CACHE_BYTES,
    chosen_cases,
    chosen_stains,
    in_doubt,
    needs_aligning,
    not_aligned,
    open_stain,
    read_snapshot,
    take_snapshot,
    verdict_of,
)
from stainloom.jobs.outcome import Outcome, SlideTask
from stainloom.progress import Progress, silent
from stainloom.settings import as_json
from stainloom.workers import over

if TYPE_CHECKING:
    from stainloom.io.snapshot import Labels
    from stainloom.register.settings import RegisterSettings

LAID = "Laid by hand and not refined: look at the checkerboard before using it."
"""What is said of a stain that is used as a hand laid it."""


def register(
    study: Path,
    settings: RegisterSettings | None = None,
    *,
    refine: bool = False,
    start: Path | None = None,
    needed: bool = False,
    cases: Sequence[str] = (),
    stains: Sequence[str] = (),
    workers: int | None = None,
    progress: Progress = silent,
) -> Outcome:
    """Align each stain to the reference.

    Parameters
    ----------
    study, settings
        What, and how.
    refine
        Refine the current alignment inside painted lesions, instead of aligning anew.
    start
        File with the place that a hand laid the one named stain of the one named case at: it is refined from there.
    needed
        Only stains that were never aligned, or came out in doubt or failed with other settings.
    cases, stains
        Only these; all where none is named.
    """
    from stainloom.register.settings import RegisterSettings

    folder = StudyFolder.open(study)
    if start is not None:
        _check_start(folder, start, refine, cases, stains)
    chosen = settings or RegisterSettings()
    tasks = []
    selected, problems = chosen_cases(folder, cases)
    for case in selected:
        if refine:
            take_snapshot(folder, case)
        tasks += [
            SlideTask(study, case.name, stain, chosen, refine, start)
            for stain in chosen_stains(folder, stains)
            if stain != folder.study.reference
            and stain in case.slides
            and stain not in case.left_out
            and (not needed or needs_aligning(folder, case, stain, as_json(chosen)))
        ]
    changed, warnings, rows = [], [], []
    for task, result in over(tasks, _register_slide, workers=workers, progress=progress):
        if isinstance(result, StainloomError):
            problems.append(result)
            continue
        id, quality, as_before = result
        changed.append(f"cases/{task.case}/warps/{task.stain}/{id}")
        rows.append({"case": task.case, "stain": task.stain, "warp": id, "as_before": as_before, **quality})
        if quality["verdict"] != "good":
            warnings.append(f"{task.case}, {task.stain}: {quality['verdict']}. {quality['message']}")
    lines = [_registered(row) for row in rows] or ["Nothing to align"]
    return Outcome(tuple(changed), {"slides": rows}, "\n".join(lines), tuple(warnings), tuple(problems))


def _registered(row: Mapping[str, Any]) -> str:
    error = row.get("landmarks")
    measured = (
        f"; landmarks {error['median_before_um']:.0f} µm before, {error['median_um']:.0f} µm after (median of {error['count']})"
        if error
        else ""
    )
    return f"{row['case']}, {row['stain']}: {row['verdict']}{measured}"


def _register_slide(task: SlideTask, progress: Progress) -> tuple[str, dict[str, Any], bool]:
    """Id of the warp, what is known of it, and whether it is the one that was there before."""
    from stainloom.register.register import refine_lesions, register

    folder = StudyFolder.open(task.study)
    case = folder.case(task.case)
    cache = TileCache(CACHE_BYTES)
    with (
        open_stain(folder, case, folder.study.reference, cache) as fixed,
        open_stain(folder, case, task.stain, cache) as moving,
    ):
        try:
            if task.refine:
                current = folder.current_warp(case.name, task.stain)
                if current is None:
                    raise not_aligned(case, task.stain)
                boxes = _lesion_boxes(read_snapshot(folder, case))
                result = refine_lesions(fixed, moving, current[0], boxes, task.settings, progress=progress)
            else:
                start = None if task.start is None else Warp.from_affine(read_laid(task.start, task.stain))
                result = register(fixed, moving, task.settings, start=start, progress=progress)
        except StainloomError as error:
            raise type(error)(
                f"case {case.name}: {error.what}",
                slide=error.slide or case.slide(task.stain).path,
                stain=error.stain or task.stain,
                expected=error.expected,
                found=error.found,
                next=error.next or "look at both slides, or leave this stain out",
            ) from error
    quality = dict(result.quality.as_dict())
    landmarks = _landmark_error(folder, case, task.stain, result.warp)
    if landmarks is not None:
        quality["landmarks"] = landmarks
    how: dict[str, Any] = {"settings": as_json(task.settings), "by_hand": task.start is not None}
    if task.refine:
        # A few um inside lesions: what somebody did or saw holds.
        before = folder.current_quality(case.name, task.stain) or {}
        how |= {name: before[name] for name in ("by_hand", "accepted") if before.get(name)}
    id_before = folder.current_warp_id(case.name, task.stain)
    id = folder.save_warp(case.name, task.stain, result.warp, {**quality, **how})
    return id, quality, id == id_before


def _check_start(folder: StudyFolder, start: Path, refine: bool, cases: Sequence[str], stains: Sequence[str]) -> None:
    if refine or len(cases) != 1 or len(stains) != 1:
        raise RegistrationError(
            "a start belongs to one stain of one case",
            expected="one case and one stain, and no refinement inside lesions",
            found=f"{len(cases)} cases, {len(stains)} stains{', lesions' if refine else ''}",
            next="name both: --case NAME --stain NAME --start-from FILE",
        )
    _movable(folder, cases[0], stains[0])
    read_laid(start, stains[0])


def _movable(folder: StudyFolder, case: str, stain: str) -> Case:
    """The case, where this stain of it can be laid on the reference."""
    found = folder.case(case)
    found.slide(stain)
    if stain == folder.study.reference:
        raise CaseError("all other stains are laid on this one", stain=stain, next="name another stain")
    if stain in found.left_out:
        raise CaseError(f"{stain} was left out of case {case}", stain=stain, next="take it in again first")
    return found


def keep_laid(study: Path, case: str, stain: str, affine: NDArray[np.float64]) -> Path:
    """Keep where a hand laid a stain, reference um to its um; the file, for `register --start-from` and `lay`."""
    folder = StudyFolder.open(study)
    _movable(folder, case, stain)
    return folder.save_laid(case, stain, affine)


def laid(study: Path, case: str, stain: str) -> NDArray[np.float64] | None:
    """Where a hand laid a stain last, or None where none did."""
    return StudyFolder.open(study).laid(case, stain)


def lay(study: Path, case: str, stain: str, start: Path) -> Outcome:
    """Use a stain of a case where a hand laid it, as it is; its verdict is *check*, since nothing measured it.

    Parameters
    ----------
    study, case, stain
        Which; never the reference.
    start
        File with the affine, as `StudyFolder.save_laid` writes it.
    """
    folder = StudyFolder.open(study)
    found = _movable(folder, case, stain)
    warp = Warp.from_affine(read_laid(start, stain))
    quality: dict[str, Any] = {"verdict": "check", "trusted": False, "message": LAID, "by_hand": True}
    landmarks = _landmark_error(folder, found, stain, warp)
    if landmarks is not None:
        quality["landmarks"] = landmarks
    id = folder.save_warp(case, stain, warp, quality)
    row = {"case": case, "stain": stain, "warp": id, **quality}
    return Outcome((f"cases/{case}/warps/{stain}/{id}",), {"slides": [row]}, _registered(row))


def accept(study: Path, case: str, stain: str, *, undo: bool = False) -> Outcome:
    """Keep that somebody looked at an alignment in doubt and found it right: it counts as good; or with `undo` take that back."""
    folder = StudyFolder.open(study)
    _movable(folder, case, stain)
    id = folder.current_warp_id(case, stain)
    quality = folder.current_quality(case, stain)
    if id is None or quality is None or not in_doubt(quality):
        raise CaseError(
            f"the alignment of {stain} in case {case} is not in doubt",
            stain=stain,
            expected="one whose verdict is check",
            found="no alignment" if quality is None else str(quality.get("verdict")),
            next="look at it in a checkerboard; where it is wrong turn it by hand, or leave the stain out",
        )
    quality = {name: value for name, value in quality.items() if name != "accepted"}
    if not undo:
        quality["accepted"] = datetime.now(UTC).isoformat(timespec="seconds")
    folder.save_quality(case, stain, id, quality)
    verdict, message = verdict_of(folder, folder.case(case), stain)
    said = f"{stain} of case {case} " + ("counts as aligned" if verdict == "good" else f"is to be checked: {message}")
    return Outcome((f"cases/{case}/warps/{stain}/{id}",), text=said)


def _lesion_boxes(labels: Labels) -> list[BoxUm]:
    from stainloom.case.regions import components

    _, found = components(labels.raster)
    return [box_to_um(component.box, labels.um_per_px) for component in found]


def _landmark_error(folder: StudyFolder, case: Case, stain: str, warp: Any) -> dict[str, float] | None:
    """How far landmarks lie apart before and after, um; None where the case has none of this stain."""
    points = folder.landmarks(case.name)
    if folder.study.reference not in points or stain not in points:
        return None
    fixed, moving = points[folder.study.reference], points[stain]
    known = np.isfinite(fixed).all(axis=1) & np.isfinite(moving).all(axis=1)
    before = np.linalg.norm(fixed[known] - moving[known], axis=1)
    after = np.linalg.norm(warp.points(fixed[known]) - moving[known], axis=1)
    after = np.where(np.isfinite(after), after, np.inf)
    diagonal = float(np.hypot(*case.slide(stain).size_um))
    return {
        "count": int(known.sum()),
        "median_before_um": float(np.median(before)),
        "median_um": float(np.median(after)),
        "worst_tenth_um": float(np.quantile(after, 0.9, method="lower")),
        "median_of_diagonal": float(np.median(after)) / diagonal,
    }
