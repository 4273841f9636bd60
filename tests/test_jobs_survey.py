"""What a study holds and what is still to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from stainloom import jobs
from stainloom.case.warp import Warp
from stainloom.errors import CaseError
from stainloom.io.casefile import StudyFolder
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
