"""What a study holds and what is still to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from stainloom import jobs
from stainloom.case.warp import Warp
from stainloom.errors import CaseError, StainloomError
from stainloom.io.casefile import StudyFolder
from stainloom.jobs.survey import _SEEN
from stainloom.patches.select import PatchSettings


def test_each_step_of_the_road_shows(tiny_case: Path) -> None:
    folder = StudyFolder.open(tiny_case)
    first = jobs.survey(tiny_case)
    case = first.case("S01")
    assert first.simulated
    assert [state.name for state in case.stains] == list(folder.study.stain_names)
    assert (case.painted, case.aligned, case.normalized, case.exported, case.predicted) == (
        True,
        True,
        False,
        False,
        False,
    )
    assert {state.carried for state in case.stains} == {"no"}
    jobs.transfer(tiny_case, cases=["S01"], workers=1)
    jobs.normalize(tiny_case, workers=1)
    jobs.export(tiny_case, PatchSettings(), workers=1)
    later = jobs.survey(tiny_case)
    assert later.case("S01").normalized
    assert later.case("S01").exported
    assert [state.carried for state in later.case("S01").stains] == ["no", "yes", "yes", "yes", "yes"]
    assert {state.carried for state in later.case("S02").stains} == {"no"}
    assert len(later.patchsets) == 1


def test_what_is_wrong_shows(tiny_case: Path) -> None:
    folder = StudyFolder.open(tiny_case)
    jobs.transfer(tiny_case, cases=["S01"], workers=1)
    found = folder.current_warp("S01", "SMA")
    assert found is not None
    nudge = Warp.from_affine(np.array([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]]))
    folder.save_warp("S01", "SMA", found[0].then(nudge), {"verdict": "failed", "message": "no place fits"})
    shutil.rmtree(folder.case_path("S02") / "warps" / "VG")
    folder.slide_path(folder.case("S01"), folder.case("S01").slide("VG")).unlink()
    (folder.case_path("S03") / "case.json").write_text("{}")
    state = jobs.survey(tiny_case)
    sma, vg = (next(s for s in state.case("S01").stains if s.name == name) for name in ("SMA", "VG"))
    assert (sma.verdict, sma.message, sma.carried) == ("failed", "no place fits", "old")
    assert not vg.found
    assert not state.case("S01").aligned
    assert state.case("S02").to_align == ("VG",)
    assert state.case("S03").problem
    assert not state.case("S03").aligned
    text = jobs.show_study(tiny_case).text
    assert "VG good (SLIDE NOT FOUND)" in text
    assert "carried before the last alignment: SMA" in text
    assert "S03: CANNOT BE READ" in text


def test_a_folder_that_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaseError):
        jobs.survey(tmp_path)


def other_file(path: Path, *, same_size: bool) -> None:
    """Put another file under the name of a slide."""
    data = path.read_bytes()
    path.write_bytes(bytes(byte ^ 1 for byte in data[:4096]) + data[4096:] if same_size else data[:-1])


@pytest.mark.parametrize("same_size", [True, False])
def test_a_slide_that_is_another_file_is_said_and_its_alignment_no_longer_holds(
    tiny_case: Path, same_size: bool
) -> None:
    folder = StudyFolder.open(tiny_case)
    assert jobs.survey(tiny_case).case("S01").aligned
    other_file(folder.slide_path(folder.case("S01"), folder.case("S01").slide("SMA")), same_size=same_size)
    case = jobs.survey(tiny_case).case("S01")
    (changed,) = (stain for stain in case.stains if stain.changed)
    assert (changed.name, changed.there, case.aligned) == ("SMA", False, False)
    assert "SMA missing (ANOTHER FILE)" in jobs.show_study(tiny_case).text
    view = jobs.open_view(tiny_case, "S01")
    try:
        shown = {stain.name: stain for stain in view.stains}
        assert shown["SMA"].aligned is None
        assert "another file" in shown["SMA"].message
        assert shown["VG"].aligned is not None
    finally:
        view.close()
    assert [
        str(problem.stain) for problem in jobs.register(tiny_case, cases=["S01"], stains=["SMA"], workers=1).problems
    ] == ["SMA"]


def test_a_reference_that_is_another_file_is_refused(tiny_case: Path) -> None:
    folder = StudyFolder.open(tiny_case)
    other_file(folder.slide_path(folder.case("S01"), folder.case("S01").slide("HE")), same_size=False)
    assert not jobs.survey(tiny_case).case("S01").aligned
    with pytest.raises(StainloomError, match="another file lies in the place of the HE slide"):
        jobs.open_view(tiny_case, "S01")


def test_a_case_opens_without_a_slide_that_is_gone(tiny_case: Path) -> None:
    folder = StudyFolder.open(tiny_case)
    folder.slide_path(folder.case("S01"), folder.case("S01").slide("VG")).unlink()
    assert jobs.survey(tiny_case).case("S01").lost == ("VG",)
    view = jobs.open_view(tiny_case, "S01")
    try:
        assert [stain.name for stain in view.stains if stain.aligned is None] == ["VG"]
    finally:
        view.close()


def test_a_large_study_is_looked_at_bit_by_bit_and_again_only_where_it_changed(tiny_case: Path) -> None:
    for number in range(12):
        shutil.copytree(tiny_case / "cases" / "S01", tiny_case / "cases" / f"T{number:02d}")
    first = jobs.survey(tiny_case, most=6)
    assert [case.looked for case in first.cases] == [True] * 6 + [False] * 9
    assert all(case.looked for case in jobs.survey(tiny_case, most=9).cases)
    again = jobs.survey(tiny_case, most=0)
    assert all(case.looked for case in again.cases[:5])
    kept = jobs.survey(tiny_case)
    read = _SEEN.read_anew
    shutil.rmtree(tiny_case / "cases" / "T11" / "warps" / "VG")
    later = jobs.survey(tiny_case)
    assert later.cases[:-1] == kept.cases[:-1]
    assert _SEEN.read_anew == read + 1
    assert later.case("T11").to_align == ("VG",)
    quick = jobs.survey(tiny_case, quick=True)
    assert [case.name for case in quick.cases] == [case.name for case in kept.cases]
    assert all(case.looked for case in quick.cases[:5])
