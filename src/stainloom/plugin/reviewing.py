"""What the Review dock says, and why a button of it is grey. Knows no Qt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stainloom.case.run import RunFacts
from stainloom.case.view import CaseView, MapsView
from stainloom.plugin.readout import Readout
from stainloom.wording import listed, many, moment

_WRITES_WHAT_IS_READ = ("predict", "register", "normalize")
_LEAST_FIELD_UM = 400.0
_MARGIN = 1.0


def what_is_missing(workspace: Any) -> tuple[str, str]:
    """What has to be done before anything can be predicted, and the dock that does it; both empty where nothing has."""
    state, predicted = workspace.state, workspace.predicted
    if state is None:
        return "Open a study first.", "Cases"
    if not state.cases:
        return "Take in slides first: the study has no case yet.", "Cases"
    now = workspace.queue.current
    if not state.runs and now is not None and now.words and now.words[0] == "train":
        return "A network is being trained: when it has learned, it can be used here.", "Train"
    if not state.runs and not predicted.with_maps:
        return "Train a network first: there is no run yet.", "Train"
    if not predicted.run:
        # The runs are read beside the window; until then none is known.
        return ("No run of this study learned anything yet.", "Train") if predicted.looked else ("", "")
    return "", ""


def state_words(workspace: Any) -> str:
    """How far the review of the case is, in one line."""
    case, maps = workspace.case, workspace.predicted.maps
    if case is None:
        return "No case is shown."
    if maps is None:
        return f"{case.name}: this run predicted nothing here yet."
    area = float((maps.class_map > 0).sum()) * maps.um_per_px[0] * maps.um_per_px[1] / 1e6
    if is_reviewed_so(workspace):
        review = "reviewed"
    elif case.reviewed:
        review = f"reviewed with another map, that of {title_of(case.reviewed_run, workspace.predicted.runs)}"
    elif case.review_old:
        review = "reviewed before its maps or its paint changed"
    else:
        review = "not reviewed yet"
    return f"{case.name}: {area:.2f} mm\N{SUPERSCRIPT TWO} predicted, {review}."


def is_reviewed_so(workspace: Any) -> bool:
    """Whether the case was reviewed with the very map that is meant."""
    case = workspace.case
    return case is not None and case.reviewed and case.reviewed_run == workspace.predicted.run


def mark_problem(workspace: Any) -> str:
    """Why the case cannot be marked as reviewed, one sentence; empty where it can."""
    maps = workspace.predicted.maps
    if workspace.case is None or maps is None:
        return "Predict the case first: there is nothing to review yet."
    if maps.outdated and not run_problem(workspace):
        return "Predict the case again first: its map is older than what lies under it."
    return ""


def other_run(predicted: Any) -> tuple[str, str]:
    """Another run that may be wanted now, and what a button that leads to it says; both empty where there is none."""
    if predicted.newer:
        return predicted.newer, f"Use the newer one: {title_of(predicted.newer, predicted.runs)}"
    if predicted.beside:
        return predicted.beside, f"Compare with the map of {title_of(predicted.beside, predicted.runs)}"
    return "", ""


def title_of(id: str, runs: Sequence[RunFacts]) -> str:
    """A run by id in words, also one that is gone."""
    return next((run_title(run) for run in runs if run.id == id), f"{id} (run deleted)")


def run_problem(workspace: Any) -> str:
    """Why nothing can be predicted with the chosen run, one sentence; empty where it can."""
    predicted = workspace.predicted
    if not predicted.run:
        return ""
    facts = predicted.facts
    if facts is None:
        return "This run was deleted: its maps can be looked at, and nothing new can be predicted with it."
    if facts.problem:
        return f"Nothing can be predicted with this run. {facts.problem}"
    if not facts.learned:
        return "This run did not learn: nothing is predicted with it."
    return ""


def view_problem(workspace: Any) -> str:
    """Why this view cannot be predicted now, one sentence; empty where it can."""
    session, now = workspace.session, workspace.queue.current
    if session is None:
        return "Open a case to predict what you look at."
    if is_as_scanned(session):
        return "This view is shown as scanned: show it aligned to predict it."
    if now is not None and now.words[:1] and now.words[0] in _WRITES_WHAT_IS_READ:
        return f"This view can be predicted when this has ended: {now.title}."
    top, left, bottom, right = session.box_on_canvas()
    if bottom <= top or right <= left:
        return "The slide is not on the screen: move it there to predict this view."
    return ""


def is_as_scanned(session: Any) -> bool:
    """Whether what is shown lies on its own glass, where nothing is predicted."""
    return bool(getattr(getattr(session, "looking", None), "on_glass", False))


def run_title(run: RunFacts) -> str:
    """A run in a list: *5 stains, 81 % right, 23 Nov 00:47*."""
    if run.problem and not run.stains:
        return f"{run.id} (cannot be read)"
    parts = [run.stains[0] if len(run.stains) == 1 else f"{len(run.stains)} stains"]
    parts += [f"{run.accuracy:.0%} right"] if run.accuracy is not None else []
    parts += ["no better than guessing"] if run.guesses else []
    parts += [moment(run.made, "%d %b %H:%M", None)] if run.made else []
    return ", ".join(parts) + (" (not for this study)" if run.problem else "")


def run_words(run: RunFacts | None, id: str, patient: str = "") -> str:
    """What a run is, in two sentences; and whether it was tested on this patient."""
    if run is None or not run.stains:
        return f"Run {id}."
    said = f"Trained on {', '.join(run.stains)}, {moment(run.made, '%d %B %Y, %H:%M', None)}."
    if run.accuracy is not None:
        held_out = run.held_out
        whose = (
            "the other half of its only patient"
            if run.one_patient
            else f"{many(len(held_out), 'patient') if held_out else 'patients'} it never saw"
        )
        said += f" {run.accuracy:.0%} of the painted windows of {whose} right"
        said += f"; guessing gives {run.chance:.0%}." if run.chance is not None else "."
        said += " What nobody painted was not tested: there, judge the map by eye."
        said += " Its maps mean nothing: paint lesions of more patients, then train again." if run.guesses else ""
        if patient and held_out and not run.one_patient:
            said += (
                f" {patient} is one of them."
                if patient in held_out
                else f" {patient} is not one of them: it may have learned from this case, and know it by heart."
            )
    else:
        said += " Never tested on other patients."
    return said


def map_notes(maps: MapsView, view: CaseView) -> list[str]:
    """What is to be known of maps before they are believed: one sentence each."""
    notes = []
    if maps.without:
        notes.append(
            f"Predicted without {listed(maps.without)}, which this network learned with: do not rely on classes that show"
            " best there. Align what is missing, or train anew without it."
        )
    left_out = {stain.name for stain in view.stains if stain.verdict == "left out"}.intersection(maps.realigned)
    if left_out:
        notes.append(f"Left out since these maps were made: {', '.join(sorted(left_out))}.")
    realigned = [stain for stain in maps.realigned if stain not in left_out]
    if realigned:
        notes.append(f"Aligned anew since these maps were made: {', '.join(realigned)}.")
    colours = [stain for stain in maps.recoloured if stain not in maps.realigned]
    if colours:
        notes.append(f"Colours changed since these maps were made: {', '.join(colours)}.")
    known = {(lesion.id, lesion.short) for lesion in view.study.lesions}
    gone = [lesion.short for lesion in maps.classes if (lesion.id, lesion.short) not in known]
    if gone:
        notes.append(f"No longer among the study's classes, shown as the run knows them: {', '.join(gone)}.")
    return notes


def detail_words(stride_px: int, um_per_px: float, usual_px: int) -> str:
    """How fine a prediction is, and what it costs beside the usual one."""
    said = f"one prediction every {stride_px * um_per_px:g} µm"
    times = (usual_px / stride_px) ** 2
    if times == 1:
        return said
    return f"{said}, {times:g} times as long" if times > 1 else f"{said}, {1 / times:g} times as fast"


def place_words(here: Readout) -> str:
    """The head of what is under the cursor: *MEMA, 0.81 certain; painted MF*."""
    predicted = f"{here.predicted}, {here.certainty:.2f} certain" if here.predicted else "nothing predicted here"
    return f"Under the cursor: {predicted}" + (f"; painted {here.painted}" if here.painted else "")


def around(edges_um: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """A region with its neighbourhood: as much again on every side, and at least 0.4 mm."""
    top, left, bottom, right = edges_um
    half = max(bottom - top, right - left, _LEAST_FIELD_UM / (1 + 2 * _MARGIN)) * (0.5 + _MARGIN)
    row, col = (top + bottom) / 2, (left + right) / 2
    return (row - half, col - half, row + half, col + half)
