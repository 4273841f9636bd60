"""What an export would cut: windows chosen and patients split as there, and nothing written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stainloom.errors import PatchError, StainloomError
from stainloom.io.casefile import StudyFolder
from stainloom.io.files import free_bytes
from stainloom.io.patchformat import bytes_on_disk
from stainloom.jobs.exporting import painted_cases, selected_windows, split_windows
from stainloom.jobs.opening import look_at_labels
from stainloom.jobs.outcome import Outcome, SlideTask
from stainloom.progress import Progress, silent
from stainloom.wording import many, size_of
from stainloom.workers import over

if TYPE_CHECKING:
    from stainloom.patches.select import PatchSettings, Selection


def preview(
    study: Path,
    settings: PatchSettings | None = None,
    *,
    cases: Sequence[str] = (),
    workers: int | None = None,
    progress: Progress = silent,
) -> Outcome:
    """Say what `export` would write: windows by class and set, patients by set, what is left out, room on disk.

    Nothing is written and no case is held. Where the patients are too few for a split, the windows are told without sets
    and the reason is a problem.
    """
    from stainloom.patches.select import PatchSettings

    folder = StudyFolder.open(study)
    chosen = settings or PatchSettings()
    tasks, problems = painted_cases(folder, chosen, cases)
    found: list[tuple[str, Selection]] = []
    for task, result in over(tasks, _select_case, workers=workers, progress=progress):
        if isinstance(result, StainloomError):
            problems.append(result)
        else:
            found.append((folder.case(task.case).patient, result))
    if problems and not found:
        raise problems[0]
    by_patient: dict[str, dict[int, int]] = {}
    for patient, selection in found:
        counts = by_patient.setdefault(patient, {})
        for window in selection.windows:
            counts[window.class_id] = counts.get(window.class_id, 0) + 1
    try:
        sets, measured, said = split_windows(folder, (), by_patient, chosen, False)
    except PatchError as error:
        sets, measured, said = {}, {}, []
        problems.append(error)
    assert not isinstance(sets, Sequence)
    windows = sum(len(selection.windows) for _, selection in found)
    turns = len(chosen.turns)
    figures: dict[str, Any] = {
        "windows": windows,
        "samples": windows * turns,
        "bytes": bytes_on_disk(windows, len(folder.study.stain_names), chosen.size_px, turns),
        "free_bytes": free_bytes(folder.path),
        "classes": _by_class(folder, by_patient, sets),
        "patients": _by_set(sets),
        "left_out": dict(sum((Counter(selection.counts) for _, selection in found), Counter())),
        "missing": _missing(folder, [selection for _, selection in found]),
        "cases": len(found),
        **({"deviation_points": measured["deviation_points"]} if measured else {}),
    }
    text = f"{many(windows, 'window')} of {many(len(by_patient), 'patient')} would be cut, {size_of(figures['bytes'])}"
    return Outcome((), figures, text, tuple(said), tuple(problems))


def _by_class(folder: StudyFolder, by_patient: dict[str, dict[int, int]], sets: Any) -> dict[str, dict[str, int]]:
    """Windows of each class of the study by set; without a split all under an empty name."""
    table: dict[str, dict[str, int]] = {lesion.short: {} for lesion in folder.study.classes}
    for patient, counts in by_patient.items():
        for lesion in folder.study.classes:
            row, name = table[lesion.short], sets.get(patient, "")
            if counts.get(lesion.id):
                row[name] = row.get(name, 0) + counts[lesion.id]
    return table


def _by_set(sets: Any) -> dict[str, list[str]]:
    result: dict[str, list[str]] = {}
    for patient, name in sorted(sets.items()):
        result.setdefault(name, []).append(patient)
    return result


def _missing(folder: StudyFolder, found: list[Selection]) -> dict[str, int]:
    """In how many windows each stain is missing or blank; stains that never are, are not named."""
    lacking: Counter[str] = Counter()
    for selection in found:
        for window in selection.windows:
            lacking.update(
                stain for stain, there in zip(folder.study.stain_names, window.present, strict=True) if not there
            )
    return dict(lacking)


def _select_case(task: SlideTask, progress: Progress) -> Selection:
    folder = StudyFolder.open(task.study)
    case = folder.case(task.case)
    with selected_windows(folder, case, look_at_labels(folder, case), task.settings, progress) as (_, selection):
        return selection
