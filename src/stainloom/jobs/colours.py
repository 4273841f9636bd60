"""Colours: each slide brought to the study's look."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stainloom.case.case import Case
from stainloom.errors import StainloomError
from stainloom.io.casefile import StudyFolder
from stainloom.io.tiles import TileCache
from stainloom.jobs.opening import (
    CACHE_BYTES,
    OUT_OF_FOCUS,
    chosen_cases,
    chosen_stains,
    open_stain,
)
from stainloom.jobs.outcome import Outcome, SlideTask
from stainloom.progress import Progress, silent
from stainloom.workers import over

if TYPE_CHECKING:
    from stainloom.stain.fit import NormalizeSettings

_NEEDED_SHARP = "Out of focus, and used all the same, since all else lies on it. Scan the slide again"


def normalize(
    study: Path,
    settings: NormalizeSettings | None = None,
    *,
    cases: Sequence[str] = (),
    stains: Sequence[str] = (),
    workers: int | None = None,
    progress: Progress = silent,
) -> Outcome:
    """Fit each slide's dyes once, and keep the numbers that bring it to the study's look of that stain.

    The look is that of the cases normalized before; without any it is the median of the fits of this call.
    """
    from stainloom.stain.fit import NormalizeSettings, reference_fit
    from stainloom.stain.normalize import Normalization

    folder = StudyFolder.open(study)
    chosen = settings or NormalizeSettings()
    if chosen.method == "none":
        return _as_scanned(folder, chosen_cases(folder, cases), chosen_stains(folder, stains))
    named = chosen_stains(folder, stains)
    dyed = [stain for stain in named if folder.study.stain(stain).dyes]
    tasks = [
        SlideTask(study, case.name, stain, chosen)
        for case in chosen_cases(folder, cases)
        for stain in dyed
        if stain in case.slides and stain not in case.left_out
    ]
    fits: dict[str, dict[str, Any]] = {}
    doubts: dict[tuple[str, str], list[str]] = {}
    problems, changed = [], []
    warnings = [
        f"{stain}: the study names no dyes of it, so its colours stay as scanned"
        for stain in named
        if stain not in dyed
    ]
    for task, result in over(tasks, _fit_slide, workers=workers, progress=progress):
        if isinstance(result, StainloomError):
            problems.append(result)
            continue
        fits.setdefault(task.stain, {})[task.case] = result
        for text in result.warnings:
            doubts.setdefault((task.stain, text), []).append(task.case)
    warnings += [_doubt(stain, text, names, len(fits[stain])) for (stain, text), names in doubts.items()]
    for stain, by_case in fits.items():
        target = _look(folder, stain, set(by_case)) or reference_fit(list(by_case.values()))
        for name, fit in by_case.items():
            sharp = fit.detail >= chosen.least_detail * target.detail
            if not sharp:
                warnings.append(
                    f"{name}, {stain}: {_NEEDED_SHARP if stain == folder.study.reference else OUT_OF_FOCUS}"
                )
            folder.save_normalization(name, stain, Normalization(fit, target, sharp).as_dict())
            changed.append(f"cases/{name}/normalization/{stain}.json")
    text = f"Colours of {len(changed)} slides brought to the study's look"
    return Outcome(tuple(changed), {"slides": len(changed)}, text, tuple(warnings), tuple(problems))


def _doubt(stain: str, text: str, names: Sequence[str], fitted: int) -> str:
    """One sentence for all slides of a stain of which the same is to be said."""
    where = names[0] if len(names) == 1 else f"{len(names)} of {fitted} cases"
    more = f" ({', '.join(names)})" if 1 < len(names) <= 5 else ""
    return f"{stain}, {where}{more}: {text}"


def _as_scanned(folder: StudyFolder, cases: Sequence[Case], stains: Sequence[str]) -> Outcome:
    for case in cases:
        for stain in stains:
            folder.drop_normalization(case.name, stain)
    return Outcome(changed=tuple(case.name for case in cases), text="Colours are left as they were scanned")


def _look(folder: StudyFolder, stain: str, without: set[str]) -> Any:
    """The look that the study's other cases of a stain were brought to; None where there is none yet."""
    from stainloom.stain.normalize import Normalization

    for name in folder.case_names():
        stored = None if name in without else folder.normalization(name, stain)
        if stored is not None:
            return Normalization.from_dict(stored).target
    return None


def _fit_slide(task: SlideTask, progress: Progress) -> Any:
    from stainloom.stain.sample import fit_slide

    folder = StudyFolder.open(task.study)
    case = folder.case(task.case)
    with open_stain(folder, case, task.stain, TileCache(CACHE_BYTES)) as pyramid:
        return fit_slide(pyramid, folder.study.stain(task.stain), task.settings, progress=progress)
