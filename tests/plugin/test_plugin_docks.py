"""What each dock would do and what is missing for it, from the state of study and case."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from stainloom.jobs.survey import CaseState, StainState, StudyState
from stainloom.plugin.docks import _JOBS, DOCKS, align_state
from stainloom.plugin.job import Result

NAMES = ("HE", "AB-PAS", "Masson", "SMA", "VG")
PLANS = {spec.name: spec.plan for spec in _JOBS}


def case(name: str, *verdicts: str, **more: object) -> CaseState:
    stains = [
        StainState(stain, verdict, to_align=verdict == "not aligned")
        for stain, verdict in zip(NAMES, ("reference", *verdicts), strict=True)
    ]
    return CaseState(name, name, tuple(stains), **more)


GOOD = ("good", "good", "good", "good")
NEW = ("not aligned",) * 4


def workspace(*cases: CaseState, shown: int | None = 0, patchsets: tuple[str, ...] = ()) -> SimpleNamespace:
    state = StudyState(Path("study"), cases, patchsets, (), False)
    return SimpleNamespace(state=state, case=cases[shown] if cases and shown is not None else None)


def aligned(*slides: tuple[str, str, bool]) -> str:
    rows = [{"case": "S01", "stain": stain, "verdict": verdict, "as_before": same} for stain, verdict, same in slides]
    return next(spec for spec in _JOBS if spec.name == "Align").done(Result("done", figures={"slides": rows}))


def test_docks_come_in_the_order_of_the_work():
    assert [entry.name for entry in DOCKS] == ["Cases", "Align", "Paint", "Colour", "Patches", "Train", "Review"]
    assert all(entry.purpose.endswith(".") for entry in DOCKS)


@pytest.mark.parametrize("name", PLANS)
def test_without_a_study_every_dock_says_so_and_sends_to_the_cases(name):
    plan = PLANS[name](SimpleNamespace(state=None, case=None), True)
    assert (plan.missing, plan.remedy) == ("Open a study first.", "Cases")


@pytest.mark.parametrize("name", ["Align", "Colour"])
def test_without_a_case_slides_come_first(name):
    assert PLANS[name](workspace(), True).missing.startswith("Take in slides first")


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        (GOOD, "4 of 4 stains aligned."),
        (("good", "good", "check", "good"), "3 of 4 stains aligned; SMA needs a check."),
        (("check", "check", "failed", "good"), "1 of 4 stains aligned; AB-PAS and Masson need a check; SMA could not be aligned."),
        (("good", "good", "left out", "missing"), "2 of 2 stains aligned; without SMA and VG."),
    ],
)  # fmt: skip
def test_how_far_a_case_is_aligned_is_said_in_words(verdicts, said):
    assert align_state(case("S01", *verdicts)) == said


def test_align_says_what_it_will_do():
    here = workspace(case("S01", *NEW), case("S02", *GOOD))
    one = PLANS["Align"](here, False)
    assert (one.run, one.words) == ("Align 4 stains", ("register", "study", "--case", "S01", "--needed"))
    every = PLANS["Align"](here, True)
    assert (every.run, every.words) == ("Align 4 slides of 1 case", ("register", "study", "--needed"))
    assert every.state == "1 of 2 cases aligned."


def test_align_leaves_alone_what_it_would_lay_as_before_unless_all_is_wanted_anew():
    mixed = workspace(case("S01", "good", "check", "failed", "left out"), case("S02", *GOOD))
    assert PLANS["Align"](mixed, False).run == "Nothing to align"
    done = PLANS["Align"](workspace(case("S02", *GOOD)), False)
    assert (done.run, done.words, done.missing) == ("Nothing to align", (), "")
    anew = next(spec for spec in _JOBS if spec.name == "Align").anew[1]
    assert (anew(mixed, False).run, anew(mixed, False).words) == (
        "Align 3 stains anew",
        ("register", "study", "--case", "S01"),
    )
    assert (anew(mixed, True).run, anew(mixed, True).words) == ("Align 7 slides of 2 cases anew", ("register", "study"))
    assert anew(SimpleNamespace(state=None, case=None), True).missing == "Open a study first."


def test_a_case_whose_stains_are_to_be_checked_does_not_count_as_aligned():
    here = workspace(case("S01", "good", "check", "good", "good"), case("S02", *GOOD), case("S03", *NEW))
    said = PLANS["Align"](here, True).state
    assert said == "1 of 3 cases aligned. To be checked: Masson of S01."


def test_align_anew_says_that_it_will_undo_the_work_of_a_hand():
    found = case("S01", *GOOD)
    by_hand = replace(found.stains[3], verdict="check", by_hand=True)
    here = workspace(replace(found, stains=(*found.stains[:3], by_hand, found.stains[4])))
    assert PLANS["Align"](here, False).run == "Nothing to align"
    assert "laid by hand" not in PLANS["Align"](here, False).state
    assert "Also SMA, laid by hand" in next(spec for spec in _JOBS if spec.name == "Align").anew[1](here, False).state


def test_patches_ask_for_paint_then_for_alignment():
    assert PLANS["Patches"](workspace(case("S01", *NEW)), True).remedy == "Paint"
    assert PLANS["Patches"](workspace(case("S01", *NEW, painted=True)), True).remedy == "Align"
    plan = PLANS["Patches"](workspace(case("S01", *GOOD, painted=True), case("S02", *GOOD)), True)
    assert plan.words == ("export", "study", "--case", "S01")
    assert "no painted case is normalized" in plan.state


def test_raw_and_normalized_cases_are_never_cut_together():
    coloured = tuple(StainState(stain, "good", normalized=True) for stain in NAMES)
    painted = CaseState("S01", "P1", coloured, painted=True)
    plan = PLANS["Patches"](workspace(painted, case("S02", *GOOD, painted=True)), True)
    assert plan.remedy == "Colour"
    assert "S02" in plan.missing


def test_training_asks_for_patches():
    assert PLANS["Train"](workspace(case("S01", *GOOD)), True).remedy == "Patches"
    assert PLANS["Train"](workspace(case("S01", *GOOD), patchsets=("abc",)), True).words == ("train", "study")


def test_one_case_alone_is_normalized_only_to_the_look_of_others():
    def coloured(name: str, done: bool) -> CaseState:
        stains = tuple(StainState(stain, "good", normalized=done) for stain in NAMES)
        return CaseState(name, name, stains)

    first = PLANS["Colour"](workspace(coloured("S01", False), coloured("S02", False)), False)
    assert first.missing.startswith("Normalize all cases first")
    alone = PLANS["Colour"](workspace(coloured("S01", True), coloured("S02", False)), False)
    assert alone.missing  # what it would be brought to is its own look
    plan = PLANS["Colour"](workspace(coloured("S01", False), coloured("S02", True)), False)
    assert (plan.run, plan.words) == ("Normalize 1 case", ("normalize", "study", "--case", "S01"))


def test_stains_that_nobody_found_right_are_named_before_they_are_cut_and_before_they_are_trained_on():
    doubted = case("S01", "good", "check", "good", "check", painted=True, exported=True)
    other = case("S02", "good", "good", "good", "check")
    here = workspace(doubted, other, patchsets=("abc",))
    for name in ("Patches", "Train"):
        plan = PLANS[name](here, True)
        assert plan.caution.startswith("Used though their alignments need a check: Masson of S01 and VG of S01.")
        assert plan.remedy == "Align"
        assert plan.words
        assert not PLANS[name](
            workspace(case("S01", *GOOD, painted=True, exported=True), patchsets=("a",)), True
        ).remedy
    assert PLANS["Align"](here, True).state.endswith("To be checked: Masson of S01, VG of S01 and VG of S02.")


def test_an_alignment_that_came_out_as_it_was_is_said():
    assert aligned(("SMA", "good", True), ("VG", "good", False)) == "S01: 2 of 2 stains aligned well."
    said = aligned(("SMA", "check", True), ("VG", "good", True), ("Masson", "check", False))
    assert said.startswith("S01: 1 of 3 stains aligned well; 2 to look at. SMA lies just as before: ")
