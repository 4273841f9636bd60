"""Patches: cut from all stains, split by patient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stainloom.case.case import Case
from stainloom.errors import PatchError, StainloomError
from stainloom.io.casefile import StudyFolder
from stainloom.io.tiles import TileCache
from stainloom.jobs.opening import (
    CACHE_BYTES,
    cautions,
    chosen_cases,
    open_aligned,
    patchsets_by_age,
    raw_stains,
    read_snapshot,
    take_snapshot,
)
from stainloom.jobs.outcome import Outcome, SlideTask
from stainloom.progress import Progress, part, silent
from stainloom.settings import as_json
from stainloom.wording import listed, many, named
from stainloom.workers import over

if TYPE_CHECKING:
    from stainloom.case.aligned import AlignedCase
    from stainloom.io.snapshot import Labels
    from stainloom.patches.select import PatchSettings, Selection

_PATIENTS_NAMED = 8


@dataclass(frozen=True)
class _Cut:
    """The patches of one case, on their way from the process that cut them."""

    windows: tuple[Any, ...]
    blocks: list[tuple[NDArray[np.int64], NDArray[np.uint8]]]
    counts: dict[str, int]
    labels_id: str
    warp_ids: dict[str, str]
    normalization_ids: dict[str, str]
    cautions: list[str]


def export(
    study: Path,
    settings: PatchSettings | None = None,
    *,
    cases: Sequence[str] = (),
    workers: int | None = None,
    one_patient: bool = False,
    progress: Progress = silent,
) -> Outcome:
    """Cut aligned patches of all stains, and split them by patient into training, validation and test.

    `one_patient` splits inside a patient instead; only the demo on the one real case does so, and the set is marked.
    """
    from stainloom.io.patchset import PatchSetWriter
    from stainloom.patches.select import PatchSettings

    folder = StudyFolder.open(study)
    chosen = settings or PatchSettings()
    tasks, problems = painted_cases(folder, chosen, cases)
    for task in list(tasks):
        try:
            take_snapshot(folder, folder.case(task.case))
        except StainloomError as error:
            tasks.remove(task)
            problems.append(error)
    if not tasks:
        raise problems[0]
    warnings: list[str] = []
    windows: list[Any] = []
    by_patient: dict[str, dict[int, int]] = {}
    with PatchSetWriter(
        folder.path / "patchsets",
        stains=folder.study.stain_names,
        classes=folder.study.classes,
        settings=as_json(chosen),
        simulated=folder.study.simulated,
    ) as writer:
        for task, result in over(tasks, _cut_case, workers=workers, progress=part(progress, 0, 0.9)):
            if isinstance(result, StainloomError):
                problems.append(result)
                continue
            patient = folder.case(task.case).patient
            writer.add_case(
                task.case,
                patient,
                result.windows,
                result.blocks,
                labels_id=result.labels_id,
                warp_ids=result.warp_ids,
                normalization_ids=result.normalization_ids,
                left_out=result.counts,
            )
            warnings += result.cautions
            windows += result.windows
            counts = by_patient.setdefault(patient, {})
            for window in result.windows:
                counts[window.class_id] = counts.get(window.class_id, 0) + 1
        if problems and not windows:
            raise problems[0]
        try:
            split, figures, said = split_windows(folder, windows, by_patient, chosen, one_patient)
        except PatchError as error:
            if not problems:
                raise
            # Too few patients are left because of what went wrong with the others.
            raise PatchError(
                error.what,
                stain=problems[0].stain,
                expected=error.expected,
                found="; ".join([error.found or "", *(problem.what for problem in problems)]),
                next=problems[0].next,
            ) from error
        path = writer.finish(split, figures=figures, progress=part(progress, 0.9, 1))
    totals = _totals(by_patient, folder)
    classes = ", ".join(f"{short} {count}" for short, count in totals.items())
    text = f"{many(len(windows), 'window')} ({classes}), each cut at {many(len(chosen.turns), 'angle')}"
    if figures:
        sets = [
            f"{count:,} for {'training' if name == 'train' else name}" for name, count in figures["windows"].items()
        ]
        text += f": {listed(sets)}. They got 60, 20 and 20 % of every class, give or take {figures['deviation_points']:.0f} points"
    return Outcome(
        (f"patchsets/{path.name}",),
        {"patchset": path.name, "windows": len(windows), "classes": totals, **figures},
        text,
        (*warnings, *said),
        tuple(problems),
    )


def painted_cases(
    folder: StudyFolder, settings: PatchSettings, cases: Sequence[str]
) -> tuple[list[SlideTask], list[StainloomError]]:
    """A task for each case whose colours go with the others', and why the rest have none; raises where none is left."""
    tasks: list[SlideTask] = []
    selected, problems = chosen_cases(folder, cases)
    raw = {case.name: raw_stains(folder, case) for case in selected}
    mixed = any(raw.values()) and any(_has_normalized(folder, case) for case in selected)
    for case in selected:
        try:
            if mixed and raw[case.name]:
                raise PatchError(
                    f"case {case.name} is not normalized, and others are: a network must not see both",
                    stain=raw[case.name][0],
                    expected="normalized colours in all cases, or in none",
                    found=f"colours as scanned in {', '.join(raw[case.name])}",
                    next="normalize the others too (dock Colour, or `stainloom normalize`)",
                )
            tasks.append(SlideTask(folder.path, case.name, "", settings))
        except StainloomError as error:
            problems.append(error)
    if not tasks:
        raise problems[0]
    return tasks, problems


def _has_normalized(folder: StudyFolder, case: Case) -> bool:
    return any(folder.normalization(case.name, stain) is not None for stain in case.slides)


def split_windows(
    folder: StudyFolder,
    windows: Sequence[Any],
    by_patient: Mapping[str, Mapping[int, int]],
    settings: PatchSettings,
    one_patient: bool,
) -> tuple[Mapping[str, str] | Sequence[str], dict[str, Any], list[str]]:
    """Which patient (or window, of one patient) is in which set, how even the sets are, and what to say of them."""
    from stainloom.patches.split import split_figures, split_halves, split_patients

    if one_patient:
        return split_halves(windows), {}, []
    before = _sets_before(folder, settings)
    split = split_patients(by_patient, seed=settings.seed, keep=before)
    shorts = {lesion.id: lesion.short for lesion in folder.study.lesions}
    measured = split_figures(by_patient, split, called=shorts)
    figures = {
        "deviation_points": measured.deviation_points,
        "patients": measured.patients,
        "windows": measured.windows,
    }
    return split, figures, [*measured.warnings, *_moved(before, split)]


def _sets_before(folder: StudyFolder, settings: PatchSettings) -> dict[str, str]:
    """The set of each patient in the latest patches; none where another seed asks for another split."""
    from stainloom.io.patchset import read_about

    for id in reversed(patchsets_by_age(folder)):
        with suppress(StainloomError, KeyError, TypeError, ValueError):
            about, split = read_about(folder.patchset_path(id))
            if not split["one_patient"]:
                return dict(split["patients"]) if about["settings"]["seed"] == settings.seed else {}
    return {}


def _moved(before: Mapping[str, str], split: Mapping[str, str]) -> list[str]:
    """What it means that patients are in other sets than before."""
    moved = [patient for patient in sorted(split) if before.get(patient, split[patient]) != split[patient]]
    if not moved:
        return []
    who = f"{named(moved, _PATIENTS_NAMED)} {'is' if len(moved) == 1 else 'are'}"
    means = "what runs have right before and after is not of the same test patients"
    return [f"{who} in another set than in the patches before, for an even mix of classes: {means}"]


@contextmanager
def selected_windows(
    folder: StudyFolder, case: Case, labels: Labels, settings: PatchSettings, progress: Progress
) -> Iterator[tuple[AlignedCase, Selection]]:
    """A case opened, and its windows; errors inside name the case."""
    from stainloom.patches.select import select_windows

    aligned, opened = open_aligned(folder, case, TileCache(CACHE_BYTES))
    ids = [lesion.id for lesion in folder.study.classes]
    try:
        yield aligned, select_windows(labels.raster, labels.um_per_px, aligned, ids, settings, progress=progress)
    except PatchError as error:
        raise PatchError(
            f"case {case.name}: {error.what}", expected=error.expected, found=error.found, next=error.next
        ) from error
    finally:
        for slide in opened:
            slide.close()


def _totals(by_patient: Mapping[str, Mapping[int, int]], folder: StudyFolder) -> dict[str, int]:
    return {
        lesion.short: sum(counts.get(lesion.id, 0) for counts in by_patient.values()) for lesion in folder.study.classes
    }


def _cut_case(task: SlideTask, progress: Progress) -> _Cut:
    from stainloom.patches.cut import cut_patches

    folder = StudyFolder.open(task.study)
    case = folder.case(task.case)
    labels = read_snapshot(folder, case)
    with selected_windows(folder, case, labels, task.settings, part(progress, 0, 0.2)) as (aligned, selection):
        blocks = [
            (block.windows, block.patches)
            for block in cut_patches(aligned, selection.windows, task.settings, progress=part(progress, 0.2, 1))
        ]
    used = [stain for stain in aligned.stains if stain is not None]
    return _Cut(
        selection.windows,
        blocks,
        selection.counts,
        labels.labels_id,
        {stain.name: stain.warp.id for stain in used if stain.warp is not None},
        {stain.name: stain.colour.id for stain in used if stain.colour is not None},  # type: ignore[attr-defined]
        cautions(folder, case),
    )
