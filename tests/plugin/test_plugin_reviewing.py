"""What the Review dock says, and why it refuses, without a window."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from test_plugin_layers import small_case

from stainloom.case.lesions import LESIONS
from stainloom.case.predicted import MeanWeights
from stainloom.case.run import RunFacts
from stainloom.jobs.survey import CaseState, StudyState
from stainloom.plugin import reviewing
from stainloom.plugin.readout import Readout
from stainloom.plugin.weighttable import weights_said

TEST = {"accuracy": 0.812, "samples": 420, "chance": 0.24}
FUSED = RunFacts("run-1", "2026-11-22T10:00:00+00:00", ("HE", "VG"), LESIONS, figures={"test": TEST})


def workspace(
    *,
    runs=(FUSED,),
    run="run-1",
    maps=None,
    with_maps=(),
    current=None,
    box=(0, 0, 9, 9),
    case=None,
    cases=1,
    newer="",
    beside="",
):
    found = tuple(CaseState(f"S{n}", f"S{n}") for n in range(cases))
    facts = next((one for one in runs if one.id == run), None)
    return SimpleNamespace(
        state=StudyState(Path("study"), found, (), tuple(one.id for one in runs), False),
        case=case or found[0] if found else None,
        session=SimpleNamespace(box_on_canvas=lambda: box),
        queue=SimpleNamespace(current=current),
        predicted=SimpleNamespace(
            runs=runs, run=run, facts=facts, maps=maps, with_maps=with_maps, looked=True, newer=newer, beside=beside
        ),
    )


def test_what_is_missing_names_the_dock_that_does_it():
    assert reviewing.what_is_missing(SimpleNamespace(state=None, predicted=None))[1] == "Cases"
    assert reviewing.what_is_missing(workspace(cases=0))[1] == "Cases"
    assert reviewing.what_is_missing(workspace(runs=(), run=""))[1] == "Train"
    did_not = dataclasses.replace(FUSED, problem="damaged")
    assert reviewing.what_is_missing(workspace(runs=(did_not,), run=""))[1] == "Train"
    assert reviewing.what_is_missing(workspace()) == ("", "")
    # Maps whose run is gone can be looked at all the same.
    assert reviewing.what_is_missing(workspace(runs=(), run="old", with_maps=("old",))) == ("", "")


def test_a_run_that_guesses_says_so_and_one_that_finds_rare_classes_does_not():
    poor = dataclasses.replace(FUSED, figures={"test": {**TEST, "accuracy": 0.2, "balanced_accuracy": 0.13}})
    assert poor.guesses
    assert "no better than guessing" in reviewing.run_title(poor)
    assert "Its maps mean nothing" in reviewing.run_words(poor, poor.id)
    rare = dataclasses.replace(FUSED, figures={"test": {**TEST, "accuracy": 0.2, "balanced_accuracy": 0.8}})
    assert not rare.guesses


def test_a_run_is_told_in_words():
    title = reviewing.run_title(FUSED)
    assert title.startswith("2 stains, 81% right, 22 Nov")
    assert reviewing.run_title(dataclasses.replace(FUSED, stains=("VG",))).startswith("VG, 81%")
    said = reviewing.run_words(FUSED, FUSED.id)
    assert "Trained on HE, VG, 22 November 2026" in said
    assert "81% of the painted windows of patients it never saw right; guessing gives 24%." in said
    assert "What nobody painted was not tested" in said
    tested = dataclasses.replace(FUSED, figures={"test": {**TEST, "patients": ["P1", "P2"]}})
    assert "81% of the painted windows of 2 patients it never saw right" in reviewing.run_words(tested, tested.id)
    assert reviewing.run_words(tested, tested.id, "P2").endswith("P2 is one of them.")
    assert "P3 is not one of them: it may have learned from this case" in reviewing.run_words(tested, tested.id, "P3")
    assert "only patient" in reviewing.run_words(dataclasses.replace(FUSED, one_patient=True), FUSED.id)
    assert "Never tested" in reviewing.run_words(dataclasses.replace(FUSED, figures={}), FUSED.id)
    assert reviewing.run_title(RunFacts("broken", problem="run.json")) == "broken (cannot be read)"
    assert reviewing.run_words(None, "gone") == "Run gone."


def test_why_nothing_can_be_predicted_with_a_run():
    assert reviewing.run_problem(workspace()) == ""
    assert "was deleted" in reviewing.run_problem(workspace(run="gone"))
    foreign = dataclasses.replace(FUSED, problem="It was trained on CD31, which this study has not.")
    assert "CD31" in reviewing.run_problem(workspace(runs=(foreign,)))
    assert "did not learn" in reviewing.run_problem(
        workspace(runs=(dataclasses.replace(FUSED, outcome="did not learn"),))
    )


def test_why_a_view_cannot_be_predicted():
    assert reviewing.view_problem(workspace()) == ""
    assert "not on the screen" in reviewing.view_problem(workspace(box=(5, 0, 5, 9)))
    for job, refused in (("predict", True), ("register", True), ("train", False)):
        running = SimpleNamespace(words=(job, "study"), title="Something")
        assert bool(reviewing.view_problem(workspace(current=running))) is refused
    scanned = workspace()
    scanned.session.looking = SimpleNamespace(on_glass=True)
    assert "as scanned" in reviewing.view_problem(scanned)
    scanned.session = None
    assert "Open a case" in reviewing.view_problem(scanned)


def test_the_state_says_area_and_review():
    maps = small_case().maps
    assert reviewing.state_words(workspace()) == "S0: this run predicted nothing here yet."
    assert reviewing.state_words(workspace(maps=maps)) == "S0: 0.08 mm\N{SUPERSCRIPT TWO} predicted, not reviewed yet."
    case = CaseState("S0", "S0", reviewed=True, reviewed_run="run-1")
    assert reviewing.state_words(workspace(maps=maps, case=case)).endswith("predicted, reviewed.")
    old = CaseState("S0", "S0", review_old=True)
    assert "before its maps or its paint changed" in reviewing.state_words(workspace(maps=maps, case=old))


def test_reviewed_is_said_of_the_map_that_was_looked_at():
    maps, older = small_case().maps, dataclasses.replace(FUSED, id="run-0", stains=("VG",))
    case = CaseState("S0", "S0", reviewed=True, reviewed_run="run-0")
    there = workspace(maps=maps, case=case, runs=(older, FUSED))
    assert not reviewing.is_reviewed_so(there)
    assert "reviewed with another map, that of VG, 81% right" in reviewing.state_words(there)
    there.predicted.run = "run-0"
    assert reviewing.is_reviewed_so(there)
    assert reviewing.state_words(there).endswith("predicted, reviewed.")


def test_only_a_map_that_is_there_and_up_to_date_is_marked_as_reviewed():
    maps = small_case().maps
    assert "Predict the case first" in reviewing.mark_problem(workspace())
    assert reviewing.mark_problem(workspace(maps=maps)) == ""
    old = dataclasses.replace(maps, realigned=("SMA",))
    assert "Predict the case again first" in reviewing.mark_problem(workspace(maps=old))
    # Of a run that is gone, nothing can be predicted again.
    assert reviewing.mark_problem(workspace(maps=old, run="gone")) == ""


def test_another_run_is_offered_newer_ones_first():
    assert reviewing.other_run(workspace().predicted) == ("", "")
    id, text = reviewing.other_run(workspace(beside="run-1", run="gone").predicted)
    assert (id, text.startswith("Compare with the map of 2 stains, 81% right")) == ("run-1", True)
    id, text = reviewing.other_run(workspace(newer="run-1", beside="gone").predicted)
    assert (id, text.startswith("Use the newer one: 2 stains, 81% right")) == ("run-1", True)
    assert reviewing.other_run(workspace(beside="gone").predicted)[1] == "Compare with the map of gone (run deleted)"


def test_what_is_to_be_known_of_maps():
    view = small_case()
    assert reviewing.map_notes(view.maps, view) == []
    old = dataclasses.replace(view.maps, realigned=("SMA",), recoloured=("SMA", "VG"))
    assert reviewing.map_notes(old, view) == [
        "Aligned anew since these maps were made: SMA.",
        "Colours changed since these maps were made: VG.",
    ]
    (lacking,) = reviewing.map_notes(dataclasses.replace(view.maps, without=("VG",)), view)
    assert lacking.startswith("Predicted without VG, which this network learned with")
    stains = tuple(dataclasses.replace(s, verdict="left out") if s.name == "SMA" else s for s in view.stains)
    without = dataclasses.replace(view, stains=stains)
    assert reviewing.map_notes(old, without)[0] == "Left out since these maps were made: SMA."
    fewer = dataclasses.replace(
        view,
        study=dataclasses.replace(
            view.study, protocol=dataclasses.replace(view.study.protocol, lesions=view.study.lesions[1:])
        ),
    )
    (gone,) = reviewing.map_notes(view.maps, fewer)
    assert gone.endswith(f": {view.study.lesions[0].short}.")


def test_detail_says_what_it_costs():
    assert [reviewing.detail_words(px, 0.5, 14) for px in (7, 14, 28)] == [
        "one prediction every 3.5 µm, 4 times as long",
        "one prediction every 7 µm",
        "one prediction every 14 µm, 4 times as fast",
    ]


def test_a_region_is_shown_with_its_neighbourhood():
    assert reviewing.around((1000, 2000, 1200, 2400)) == (500, 1600, 1700, 2800)
    top, left, bottom, right = reviewing.around((0, 0, 14, 14))
    assert bottom - top == right - left == pytest.approx(400)


def test_the_place_under_the_cursor_in_words():
    assert reviewing.place_words(Readout((0, 0))) == "Under the cursor: nothing predicted here"
    here = Readout((12345.4, 6789.2), "MF", "MEMA", 0.812, {"MEMA": 0.812}, {"HE": 0.41, "VG": 0.97})
    assert reviewing.place_words(here) == "Under the cursor: MEMA, 0.81 certain; painted MF"
    assert here.line == "6,789 µm, 12,345 µm   painted MF   MEMA 0.81   HE .4 VG 1"


def test_the_same_maps_are_known_as_the_same():
    maps = dataclasses.replace(small_case().maps, id="abc")
    assert maps.same_as(dataclasses.replace(maps, class_map=np.zeros_like(maps.class_map)))
    assert not maps.same_as(dataclasses.replace(maps, id="abd"))
    assert not maps.same_as(dataclasses.replace(maps, realigned=("VG",)))
    assert not small_case().maps.same_as(small_case().maps)


def test_weights_that_are_all_alike_are_said_to_be_and_others_are_named():
    flat = MeanWeights(("HE", "VG"), (0.5, 0.52), {1: (0.5, 0.55), 2: (0.48, float("nan"))}, (0.4, 0.6))
    assert weights_said(flat).startswith("No stain stands out: all means lie between 0.48 and 0.55.")
    told = MeanWeights(("HE", "VG"), (0.31, 0.62), {1: (0.31, 0.62)}, (0.3, 0.7))
    assert "most through of what it found in VG (0.62 on average), least of HE (0.31)." in weights_said(told)
