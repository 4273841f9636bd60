"""What a study came to: gathers the figures of its runs and the pictures of its cases into one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stainloom.case.case import Case
from stainloom.case.resample import resample_labels
from stainloom.errors import StainloomError
from stainloom.geometry import size_at, whole
from stainloom.io.casefile import StudyFolder
from stainloom.io.files import write_whole
from stainloom.io.tiles import TileCache
from stainloom.jobs.opening import CACHE_BYTES, accepted, chosen_cases, open_aligned, read_snapshot, verdict_of
from stainloom.jobs.outcome import Outcome
from stainloom.jobs.runs import chosen_run, learned_runs
from stainloom.progress import Progress, part, silent
from stainloom.report.figures import (
    Score,
    checkerboard,
    draw_confusion,
    draw_history,
    draw_scores,
    encode_png,
    outline_labels,
    paint_classes,
)
from stainloom.report.page import RESEARCH_ONLY, SIMULATED, Page, Picture, Section, Table, render_page

_PICTURE_PX = 1100
_CASES_SHOWN = 3
_ONE_PATIENT = (
    "Trained on one half of one patient's section and tested on the other half: this shows that every part works, and "
    "proves nothing about other patients."
)


def report(
    study: Path, *, cases: Sequence[str] = (), run_id: str | None = None, progress: Progress = silent
) -> Outcome:
    """Write the report of a run, the latest of all stains unless one is named, beside it: figures, pictures, single stains."""
    path, figures, problems = _gather(StudyFolder.open(study), cases, run_id, progress)
    lines = [f"{name}: {score['accuracy']:.1%} right" for name, score in figures.get("scores", {}).items()]
    return Outcome((path,), figures, "\n".join([*lines, f"Report: {study / path}"]), problems=problems)


def _gather(
    folder: StudyFolder, names: Sequence[str], run_id: str | None, progress: Progress
) -> tuple[str, dict[str, Any], tuple[StainloomError, ...]]:
    """Write the report of a run beside it; where it lies, its figures, and why cases are not in it."""
    run, alone = _runs(folder, run_id)
    figures, scores_section = _scores(folder, run, alone, part(progress, 0, 0.5))
    readable, unread = folder.readable_cases()
    problems = list(unread)
    shown = _cases_shown(folder, run, chosen_cases(folder, names)[0], problems, part(progress, 0.5, 1))
    left_out = [f"Left out: {problem.what}." for problem in problems]
    sections = [scores_section, _training(run), _alignment(folder, readable, left_out), *shown]
    banners = [RESEARCH_ONLY]
    banners += [SIMULATED] if run.simulated else []
    banners += [_ONE_PATIENT] if run.one_patient else []
    page = Page(f"Study {folder.path.name}, run {run.id}", tuple(sections), tuple(banners))
    file = folder.report_path(run.id)
    write_whole(file, render_page(page).encode())
    progress(1, 1, "report written")
    return str(file.relative_to(folder.path)), figures, tuple(problems)


def _runs(folder: StudyFolder, run_id: str | None) -> tuple[Any, list[Any]]:
    """The run to report, and the latest of each single stain on the same patches."""
    shown = chosen_run(folder, run_id)
    alone = {
        run.stains[0]: run
        for run in learned_runs(folder)
        if len(run.stains) == 1 and run.patchset == shown.patchset and run.id != shown.id
    }
    alone.pop(shown.stains[0] if len(shown.stains) == 1 else "", None)
    return shown, [alone[stain] for stain in shown.stains if stain in alone]


def _scores(folder: StudyFolder, run: Any, alone: list[Any], progress: Progress) -> tuple[dict[str, Any], Section]:
    from stainloom.io.patchset import open_patchset
    from stainloom.model.metrics import accuracy, balanced_accuracy, compare, confusion
    from stainloom.model.predict import evaluate

    patches = open_patchset(folder.patchset_path(run.patchset))
    indices = patches.indices("test", augmented=False)
    if len(indices) == 0:
        return {}, Section("Held-out patients", ("No patient was held out for the test.",))
    found = [evaluate(each, patches, indices) for each in (run, *alone)]
    progress(1, 1, "evaluated")
    ids = np.union1d(run.class_ids, found[0].truth)
    matrices = [confusion(each.truth, each.predicted, ids) for each in found]
    names = [_named(run), *(f"{each.stains[0]} alone" for each in alone)]
    fused = found[0]
    scores = [
        Score(name, accuracy(matrix), balanced_accuracy(matrix), fused=number == 0)
        for number, (name, matrix) in enumerate(zip(names, matrices, strict=True))
    ]
    patients = len(set(fused.patients.tolist()))
    rows, compared = [], {}
    for score, each in zip(scores, found, strict=True):
        if each is fused:
            rows.append((score.name, f"{score.accuracy:.1%}", f"{score.balanced_accuracy:.1%}", ""))
            continue
        gain = compare(fused.truth, fused.predicted, each.predicted, fused.patients, ids, figure=accuracy)
        compared[score.name] = {"gain": gain.value, "low": gain.low, "high": gain.high}
        text = f"{100 * gain.value:+.1f} points ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
        rows.append((score.name, f"{score.accuracy:.1%}", f"{score.balanced_accuracy:.1%}", text))
    by_id = {lesion.id: lesion.short for lesion in folder.study.lesions}
    shorts = [by_id[number] for number in ids.tolist()]
    chance = float(matrices[0].sum(axis=1).max() / matrices[0].sum())
    weights = fused.weights.mean(axis=0)
    sentences = [
        f"{len(indices)} windows of the half that was not trained on."
        if run.one_patient
        else _held_out(len(indices), patients),
        "Mean weight of each stain in the fused network: "
        + ", ".join(f"{stain} {weight:.2f}" for stain, weight in zip(run.stains, weights, strict=True))
        + ". A weight says how strongly a stain's features were let through, not how much they decided.",
    ]
    section = Section(
        "The other half" if run.one_patient else "Held-out patients",
        tuple(sentences),
        (Table(("trained on", "right", "balanced over classes", "the fused run gains"), tuple(rows)),),
        (
            Picture(
                draw_scores(scores, chance),
                "Share of held-out windows classified as painted; dotted: the largest class.",
            ),
            Picture(draw_confusion(matrices[0], shorts), f"Confusion matrix of {names[0]}."),
        ),
    )
    figures = {
        "test_windows": len(indices),
        "test_patients": patients,
        "chance": chance,
        "scores": {s.name: {"accuracy": s.accuracy, "balanced_accuracy": s.balanced_accuracy} for s in scores},
        "gains": compared,
        "mean_weights": {stain: float(w) for stain, w in zip(run.stains, weights, strict=True)},
    }
    return figures, section


def _held_out(windows: int, patients: int) -> str:
    return (
        f"{windows} windows of {patients} held-out patient{'s' if patients != 1 else ''}. The interval of a gain is the 95 % "
        "range over patients drawn with replacement; with fewer than about ten patients it says little."
    )


def _named(run: Any) -> str:
    return f"{len(run.stains)} stains fused" if len(run.stains) > 1 else f"{run.stains[0]} alone"


def _training(run: Any) -> Section:
    history = run.history
    losses = [row["train_loss"] for row in history], [row["validation_loss"] for row in history]
    text = f"Run {run.id}: {len(history)} epochs, {history[-1]['passes']:,.0f} samples shown, {history[-1]['seconds']:.0f} s."
    chart = draw_history(*losses, history[-1]["prior_loss"])
    return Section(
        "Training", (text,), (), (Picture(chart, "Loss of training (with dropout) and validation by epoch."),)
    )


def _alignment(folder: StudyFolder, cases: Sequence[Case], left_out: Sequence[str]) -> Section:
    rows = []
    for case in cases:
        for stain in folder.study.moving:
            verdict, message = verdict_of(folder, case, stain)
            quality = folder.current_quality(case.name, stain) if stain in case.slides else None
            landmarks = quality.get("landmarks") if quality else None
            error = f"{landmarks['median_um']:.0f} µm" if landmarks else ""
            rows.append(
                (
                    case.name,
                    stain,
                    verdict,
                    error,
                    "" if verdict == "good" and not accepted(quality) else message,
                )
            )
    good = sum(row[2] == "good" for row in rows)
    table = Table(("case", "stain", "verdict", "landmark error", "what it means"), tuple(rows))
    return Section("Alignment", (f"{good} of {len(rows)} stains are aligned well.", *left_out), (table,))


def _cases_shown(
    folder: StudyFolder, run: Any, cases: Sequence[Case], problems: list[StainloomError], progress: Progress
) -> list[Section]:
    """The first cases that were predicted; those that cannot be drawn join the problems."""
    from stainloom.io.maps import list_maps

    with_maps = [case for case in cases if run.id in list_maps(folder.case_path(case.name) / "maps")]
    sections: list[Section] = []
    for case in with_maps:
        if len(sections) == _CASES_SHOWN:
            break
        try:
            sections.append(_case_shown(folder, run, case))
        except StainloomError as error:
            problems.append(error)
        progress(len(sections), min(len(with_maps), _CASES_SHOWN), "drawing pictures")
    return sections


def _case_shown(folder: StudyFolder, run: Any, case: Case) -> Section:
    from stainloom.io.maps import open_maps

    extent = case.slide(folder.study.reference).size_um
    step = max(1.0, max(extent) / _PICTURE_PX)
    box = whole(size_at(extent, step))
    aligned, opened = open_aligned(folder, case, TileCache(CACHE_BYTES))
    try:
        stains = aligned.read(box, step)
    finally:
        for slide in opened:
            slide.close()
    there = [number for number, stain in enumerate(aligned.stains) if stain is not None]
    reference = stains[aligned.names.index(folder.study.reference)]
    classes = folder.study.lesions
    board = checkerboard([stains[number] for number in there], max(20, box.cols // 14))
    pictures = [
        Picture(
            encode_png(board), f"{', '.join(aligned.names[n] for n in there)} in turn: structures run on where aligned."
        )
    ]
    if folder.snapshot_path(case.name).exists():
        labels = read_snapshot(folder, case)
        shown = resample_labels(labels.raster, labels.um_per_px, None, box, step)
        pictures.append(
            Picture(encode_png(outline_labels(reference, shown, classes)), "What was painted on the reference.")
        )
    maps = open_maps(folder.case_path(case.name) / "maps" / run.id)
    legend = ", ".join(f"{lesion.short} {lesion.color}" for lesion in run.classes)
    predicted = _on_grid(maps.class_map.whole(), maps, box, step)
    pictures.append(Picture(encode_png(paint_classes(reference, predicted, classes)), f"Predicted class: {legend}."))
    return Section(f"Case {case.name}", (), (), tuple(pictures))


def _on_grid(values: Any, maps: Any, box: Any, step: float) -> Any:
    from stainloom.case.warp import Warp

    row, col = maps.facts.origin_um
    shift = Warp.from_affine(np.array([[1.0, 0.0, -row], [0.0, 1.0, -col]]))
    return resample_labels(values, maps.facts.um_per_px, shift, box, step)
