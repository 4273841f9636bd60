"""What the list of cases lets through, and what it says of each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from qtpy.QtCore import Qt

from stainloom.jobs.survey import CaseState, StainState, StudyState
from stainloom.plugin.caselist import ALL, CHECK, FILTERS, OPEN, TICK, CaseModel, chosen, said_of_stain, signs_of
from stainloom.plugin.listpage import beside, said_changed, said_lost

HE, VG = StainState("HE", "reference"), StainState("VG", "good", error_um=4.2)
DONE = CaseState("S01", "P01", (HE, VG), painted=True, exported=True, predicted=True)
CASES = (
    DONE,
    CaseState("S02", "P02", (HE, StainState("VG", "not aligned"))),
    CaseState("S03", "P01", (HE, replace(VG, found=False)), painted=True),
    CaseState("S04", "P04", (HE, StainState("VG", "missing", changed=True))),
    CaseState("S05", "", problem="case.json cannot be read"),
)


def names(text: str, missing: str) -> list[str]:
    return [case.name for case in chosen(CASES, text, missing)]


def test_the_list_is_narrowed_by_name_by_patient_and_by_what_is_missing():
    assert names("", ALL) == [case.name for case in CASES]
    assert names(" s02", ALL) == ["S02"]
    assert names("p01", ALL) == ["S01", "S03"]
    assert names("", "Not aligned") == ["S02", "S04", "S05"]
    assert names("p01", "Not exported") == ["S03"]
    assert names("", "Not reviewed") == [case.name for case in CASES]
    assert names("", "Slides not found") == ["S03"]
    assert names("", "Slides replaced") == ["S04"]
    assert names("", "Cannot be read") == ["S05"]
    assert set(FILTERS) >= {"Not painted", "Not predicted"}


def test_every_stain_has_a_sign_of_its_own_for_what_is_wrong():
    signs = {sign for case in CASES for sign, _ in signs_of(case)}
    assert signs == {"\N{BLACK CIRCLE}", "\N{CHECK MARK}", "\N{WHITE CIRCLE}", "?", "\N{NOT EQUAL TO}"}
    assert said_of_stain(VG) == "VG: good, landmarks 4 µm apart"
    assert said_of_stain(replace(VG, found=False, error_um=None)) == "VG: good; its file is not found"
    assert said_of_stain(StainState("VG", "missing", changed=True)) == "VG: another file lies in its place"


def test_a_case_to_be_checked_has_no_tick():
    model = CaseModel()
    model.show([DONE, replace(DONE, stains=(HE, replace(VG, verdict="check"))), CASES[1]])
    assert [model.index(row, 1).data() for row in range(3)] == [TICK, CHECK, OPEN]
    assert model.index(1, 1).data(Qt.ItemDataRole.ToolTipRole) == "S01: aligned; look at VG in Align"
    assert [case.name for case in chosen(model.cases, "", "To be checked")] == ["S01"]


@pytest.mark.parametrize(
    ("column", "old", "said"),
    [
        (3, {"patches_old": True}, "S01: exported; its paint, an alignment or its colours changed since: export again"),
        (4, {"maps_old": True}, "S01: predicted; an alignment or its colours changed since: predict again"),
        (5, {"reviewed": False, "review_old": True}, "S01: reviewed; its maps or its paint changed since: look again"),
    ],
)
def test_what_is_out_of_date_has_no_tick(column, old, said):
    model = CaseModel()
    done = replace(DONE, exported=True, predicted=True, reviewed=True)
    model.show([done, replace(done, **old)])
    assert [model.index(row, column).data() for row in range(2)] == [TICK, CHECK]
    assert model.index(1, column).data(Qt.ItemDataRole.ToolTipRole) == said
    assert chosen(model.cases, "", "To be checked") == (model.cases[1],)


def test_what_is_lost_or_another_file_is_said_with_what_to_do():
    state = StudyState(Path("study"), CASES, (), (), False)
    assert said_lost(state) == "? 1 slide is not where the study says: VG of S03. Connect the disk, or find them."
    assert "VG of S04" in said_changed(state)
    whole = replace(state, cases=(DONE,))
    assert (said_lost(whole), said_changed(whole)) == ("", "")
    many = replace(state, cases=tuple(replace(CASES[2], name=f"C{n}") for n in range(9)))
    assert "9 slides are" in said_lost(many)
    assert "and 6 more" in said_lost(many)


def test_there_is_a_next_case_until_the_last():
    state = StudyState(Path("study"), CASES, (), (), False)
    assert beside(state, CASES[0], 1)
    assert not beside(state, CASES[0], -1)
    assert not beside(state, CASES[3], 1)  # the last one cannot be read
    assert not beside(state, None, 1)


@pytest.mark.parametrize("count", [3, 2000])
def test_a_case_that_changed_leaves_the_place_in_the_list(count):
    model = CaseModel()
    cases = [replace(DONE, name=f"C{n}") for n in range(count)]
    assert model.show(cases)
    assert not model.show([replace(case, painted=False) for case in cases])
    assert model.data(model.index(count - 1, 2)) == "\N{MIDDLE DOT}"
    assert model.data(model.index(count - 1, 1)) == "\N{CHECK MARK}"
    assert model.show(cases[1:])
    assert model.row_of("C2") == 1
    assert model.row_of("C0") == -1
