"""Colours: each slide brought to the study's look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stainloom.case.case import Case
from stainloom.errors import StainloomError
from stainloom.io.casefile import StudyFolder
from stainloom.io.tiles import TileCache
from stainloom.jobs.opening import (
    CACHE_BYTES,
    OUT_OF_FOCUS,
    REFERENCE_OUT_OF_FOCUS,
    chosen_cases,
    chosen_stains,
    colour_of,
    in_focus,
    open_stain,
)
from stainloom.jobs.outcome import Outcome, SlideTask
from stainloom.progress import Progress, silent
from stainloom.workers import over

if TYPE_CHECKING:
    from stainloom.stain.fit import NormalizeSettings


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
    from stainloom.stain.fit import NormalizeSettings, out_of_focus, reference_fit
    from stainloom.stain.normalize import Normalization

    folder = StudyFolder.open(study)
    chosen = settings or NormalizeSettings()
    selected, problems = chosen_cases(folder, cases)
    if chosen.method == "none":
        return _as_scanned(folder, selected, chosen_stains(folder, stains), problems)
    named = chosen_stains(folder, stains)
    dyed = [stain for stain in named if folder.study.stain(stain).dyes]
    tasks = [
        SlideTask(study, case.name, stain, chosen)
        for case in selected
        for stain in dyed
        if stain in case.slides and stain not in case.left_out
    ]
    fits: dict[str, dict[str, Any]] = {}
    doubts: dict[tuple[str, str], list[str]] = {}
    changed = []
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
        known = _known(folder, stain)
        others = [each.target for name, each in known.items() if name not in by_case]
        target = others[0] if others else reference_fit(list(by_case.values()))
        known |= {name: Normalization(fit, target) for name, fit in by_case.items()}
        blurred = out_of_focus({name: each.source for name, each in known.items()}, chosen.least_detail)
        said = REFERENCE_OUT_OF_FOCUS if stain == folder.study.reference else OUT_OF_FOCUS
        for name, each in known.items():
            # One slide more may tell that another is blurred, or that it is not.
            if name in by_case or each.in_focus != (name not in blurred):
                folder.save_normalization(name, stain, replace(each, in_focus=name not in blurred).as_dict())
                changed.append(f"cases/{name}/normalization/{stain}.json")
                warnings += [f"{name}, {stain}: {said}"] if name in blurred else []
    count = sum(len(by_case) for by_case in fits.values())
    text = f"Colours of {count} slides brought to the study's look"
    return Outcome(tuple(changed), {"slides": count}, text, tuple(warnings), tuple(problems))


def _doubt(stain: str, text: str, names: Sequence[str], fitted: int) -> str:
    """One sentence for all slides of a stain of which the same is to be said."""
    where = names[0] if len(names) == 1 else f"{len(names)} of {fitted} cases"
    more = f" ({', '.join(names)})" if 1 < len(names) <= 5 else ""
    return f"{stain}, {where}{more}: {text}"


def _as_scanned(
    folder: StudyFolder, cases: Sequence[Case], stains: Sequence[str], problems: Sequence[StainloomError]
) -> Outcome:
    warnings = []
    for case in cases:
        for stain in stains:
            if not in_focus(folder, case, stain):
                warnings.append(f"{case.name}, {stain}: out of focus, and used from now on; leave it out if need be")
            folder.drop_normalization(case.name, stain)
    text = "Colours are left as they were scanned; nobody looks whether slides are in focus"
    changed = tuple(case.name for case in cases)
    return Outcome(changed, text=text, warnings=tuple(warnings), problems=tuple(problems))


def _known(folder: StudyFolder, stain: str) -> dict[str, Any]:
    """The normalizations of a stain that the study has, by case."""
    found = {case.name: colour_of(folder, case, stain) for case in folder.readable_cases()[0]}
    return {name: colour for name, colour in found.items() if colour is not None}


def _fit_slide(task: SlideTask, progress: Progress) -> Any:
    from stainloom.stain.sample import fit_slide

    folder = StudyFolder.open(task.study)
    case = folder.case(task.case)
    with open_stain(folder, case, task.stain, TileCache(CACHE_BYTES)) as pyramid:
        return fit_slide(pyramid, folder.study.stain(task.stain), task.settings, progress=progress)
