"""The table of slides as a person corrects it: one cell, a case, all rows at once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from stainloom.case.study import PROTOCOLS, Study
from stainloom.io.recognize import Guess, Recognized
from stainloom.jobs.intake import Intake
from stainloom.plugin.intaketable import BLOCK, CASE, EACH_CASE, PATIENT, SCALE, STAIN, IntakeTable, said_scale

STUDY = Study(PROTOCOLS[0])


def table(cases: int = 2, *, own: bool = True) -> IntakeTable:
    guesses = tuple(
        Guess(Path(f"/s/C{n}/{stain}.tif"), f"C{n}", "", f"C{n}", stain, own=(0.5, 0.5) if own else None)
        for n in range(cases)
        for stain in STUDY.stain_names
    )
    return IntakeTable(Intake(STUDY, (), Recognized(guesses, {"no slide by its ending": 3})))


def test_a_patient_typed_once_is_that_of_the_whole_case():
    found = table()
    assert "2 rows have something to correct" in found.reason(False)
    assert found.fill(PATIENT, " P1 ", [0])
    assert found.of_case("C0", PATIENT) == "P1"
    assert list(found.faults.cases) == ["C1"]
    assert "1 row has" in found.reason(False)
    assert not found.fill(PATIENT, "P1", [3])


def test_all_rows_at_once():
    found = table(own=False)
    everything = range(len(found.guesses))
    found.fill(PATIENT, EACH_CASE, everything)
    assert {guess.patient for guess in found.guesses} == {"C0", "C1"}
    found.fill(SCALE, "0,25", everything)
    assert {said_scale(guess) for guess in found.guesses} == {"0.25"}
    assert found.reason(False) == ""
    found.fill(SCALE, "abc", [0])
    assert "no number" in found.faults.rows[0]
    found.fill(SCALE, "", [0])
    assert "does not state" in found.faults.rows[0]


def test_slides_move_to_another_case_and_out():
    found = table()
    found.fill(PATIENT, "P1", range(10))
    found.fill(CASE, "C9", [4])
    assert list(found.groups) == ["C0", "C9", "C1"]
    assert found.of_case("C9", BLOCK) == "C9"
    assert "No HE slide" in found.faults.cases["C9"]
    found.take_out(found.groups["C9"])
    assert list(found.groups) == ["C0", "C1"]
    assert found.said_missing() == "C0 lacks VG."
    assert "Tick below" in found.reason(False)
    found.fill(BLOCK, "2", found.groups["C1"])
    assert found.reason(True) == ""
    found.take_out(range(len(found.guesses)))
    assert found.reason(True) == "No slide is left in the table."


def test_a_stain_is_one_of_the_study():
    found = table()
    found.fill(STAIN, "nonsense", [0])
    assert found.guesses[0].stain is None
    found.fill(STAIN, "HE", [0])
    assert 0 not in found.faults.rows
    assert found.summary() == "2 cases, 10 slides. Left out: 3 files, each no slide by its ending."


def test_ten_times_the_rows_are_ten_times_the_work():
    def calls(cases: int) -> int:
        found, count = table(cases), [0]

        def tell(frame: object, event: str, arg: object) -> None:
            count[0] += event == "call"

        sys.setprofile(tell)
        try:
            found.fill(PATIENT, EACH_CASE, range(len(found.guesses)))
        finally:
            sys.setprofile(None)
        assert found.reason(False) == ""
        return count[0]

    assert calls(400) < 12 * calls(40)


@pytest.mark.parametrize(("own", "said"), [((0.5, 0.5), "0.5"), ((0.5, 0.25), "0.5 x 0.25"), (None, "")])
def test_the_scale_of_a_file_is_shown(own, said):
    assert said_scale(Guess(Path("/s/a.tif"), "C", "", "C", "HE", own=own)) == said
