"""Stains left out, laid by hand, refined from there, and aligned only where it is needed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from stainloom import jobs
from stainloom.case.resample import overview
from stainloom.case.warp import Warp
from stainloom.cli import DONE, FAILED, main
from stainloom.errors import CaseError, RegistrationError
from stainloom.geometry import whole
from stainloom.io.arrays import read_arrays
from stainloom.io.casefile import StudyFolder
from stainloom.io.slides import open_slide
from stainloom.io.tiles import TileCache
from stainloom.jobs.survey import StainState
from stainloom.register.settings import RegisterSettings
from stainloom.settings import as_json
from stainloom.tissue import tissue_mask


@pytest.fixture
def study(simulated_study: Path, tmp_path: Path) -> Path:
    """A study of its own, not aligned."""
    return shutil.copytree(simulated_study, tmp_path / "study")


def truth_of(simulated: Path, case: str, stain: str) -> Warp:
    arrays = read_arrays(simulated.with_name(f"{simulated.name}.truth") / case / f"{stain}.npz", 1 << 28)
    return Warp.from_arrays({k.removeprefix("warp_"): v for k, v in arrays.items() if k.startswith("warp_")})


def tissue_of(study: Path, case: str) -> np.ndarray:
    """Places on the reference's tissue, um."""
    folder = StudyFolder.open(study)
    slide = folder.case(case).slide(folder.study.reference)
    pyramid = open_slide(
        folder.slide_path(folder.case(case), slide), cache=TileCache(1 << 26), um_per_px=slide.um_per_px
    )
    with pyramid:
        return (np.argwhere(tissue_mask(overview(pyramid, 4.0), (4.0, 4.0)))[::23] + 0.5) * 4.0


def nearest_affine(truth: Warp, places: np.ndarray) -> np.ndarray:
    targets = truth.points(places)
    known = np.isfinite(targets).all(axis=1)
    solution, *_ = np.linalg.lstsq(np.hstack([places, np.ones((len(places), 1))])[known], targets[known], rcond=None)
    return solution.T


def beside(affine: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """The same, five degrees and 50 um off."""
    c, s = np.cos(np.radians(5)), np.sin(np.radians(5))
    turn = np.array([[c, s], [-s, c]])
    missed = np.vstack([np.hstack([turn, (centre - turn @ centre + [30.0, 40.0])[:, None]]), [0, 0, 1]])
    return (np.vstack([affine, [0, 0, 1]]) @ missed)[:2]


def missed_um(warp: Warp, truth: Warp, places: np.ndarray) -> float:
    return float(np.nanmedian(np.linalg.norm(warp.points(places) - truth.points(places), axis=1)))


def test_a_stain_is_left_out_and_taken_in_again(tiny_case: Path) -> None:
    folder = StudyFolder.open(tiny_case)
    before = folder.current_warp_id("S01", "SMA")
    outcome = jobs.leave_out(tiny_case, "S01", "SMA")
    assert outcome.changed == ("cases/S01/case.json",)
    verdicts = {stain.name: stain.verdict for stain in jobs.survey(tiny_case).case("S01").stains}
    assert (verdicts["SMA"], verdicts["VG"]) == ("left out", "good")
    view = jobs.open_view(tiny_case, "S01")
    assert next(stain for stain in view.stains if stain.name == "SMA").aligned is None
    view.close()
    jobs.leave_out(tiny_case, "S01", "SMA")
    assert folder.case("S01").left_out == ("SMA",)
    jobs.leave_out(tiny_case, "S01", "SMA", undo=True)
    assert folder.case("S01").left_out == ()
    assert folder.current_warp_id("S01", "SMA") == before
    assert jobs.survey(tiny_case).case("S01").aligned


@pytest.mark.parametrize(("stain", "what"), [("HE", "cannot be left out"), ("PAS", "no such stain")])
def test_what_cannot_be_left_out_says_why(tiny_case: Path, stain: str, what: str) -> None:
    with pytest.raises(CaseError, match=what):
        jobs.leave_out(tiny_case, "S01", stain)
    assert StudyFolder.open(tiny_case).case("S01").left_out == ()


def test_leaving_out_by_command_line(tiny_case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["case", "leave-out", str(tiny_case), "S01", "--stain", "VG"]
    assert main(words) == DONE
    assert "VG is left out of case S01" in capsys.readouterr().out
    assert main([*words, "--undo"]) == DONE
    assert StudyFolder.open(tiny_case).case("S01").left_out == ()
    assert main(["case", "leave-out", str(tiny_case), "S01", "--stain", "HE"]) == FAILED


def test_an_alignment_in_doubt_that_was_looked_at_counts_as_good(
    tiny_case: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = StudyFolder.open(tiny_case)
    warp, _ = folder.current_warp("S01", "SMA")  # type: ignore[misc]

    def verdict(found: str) -> str:
        return folder.save_warp("S01", "SMA", warp, {"verdict": found, "message": "Only a fifth agrees"})

    def state() -> StainState:
        return next(stain for stain in jobs.survey(tiny_case).case("S01").stains if stain.name == "SMA")

    id = verdict("check")
    assert (state().verdict, state().in_doubt, state().accepted, state().to_align) == ("check", True, False, False)
    words = ["case", "accept", str(tiny_case), "S01", "--stain", "SMA"]
    assert main(words) == DONE
    assert "SMA of case S01 counts as aligned" in capsys.readouterr().out
    assert (state().verdict, state().accepted, state().to_align) == ("good", True, False)
    assert state().message.startswith("Looked at and found right, ")
    assert state().message.endswith("Only a fifth agrees")
    assert folder.current_warp_id("S01", "SMA") == id  # what was made with it holds
    assert main([*words, "--undo"]) == DONE
    assert (state().verdict, state().accepted) == ("check", False)
    for found in ("good", "failed"):
        verdict(found)
        with pytest.raises(CaseError, match="not in doubt"):
            jobs.accept(tiny_case, "S01", "SMA")


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_section_laid_by_hand_is_kept_to_a_millionth_of_a_um(tiny_case: Path, mirrored: bool) -> None:
    known = np.array([[0.4, -0.9, 310.123456789], [0.9, 0.4, -77.7]]) @ np.diag([1, -1 if mirrored else 1, 1])
    outcome = jobs.lay(tiny_case, "S01", "SMA", jobs.keep_laid(tiny_case, "S01", "SMA", known))
    folder = StudyFolder.open(tiny_case)
    found = folder.current_warp("S01", "SMA")
    assert found is not None
    warp, quality = found
    assert outcome.changed == (f"cases/S01/warps/SMA/{warp.id}",)
    places = np.random.default_rng(0).uniform(0, 3000, (200, 2))
    expected = places @ known[:, :2].T + known[:, 2]
    assert np.abs(warp.points(places) - expected).max() < 1e-6
    assert np.abs(warp.inverse().points(expected) - places).max() < 1e-6
    assert (quality["verdict"], quality["by_hand"]) == ("check", True)
    state = next(stain for stain in jobs.survey(tiny_case).case("S01").stains if stain.name == "SMA")
    assert (state.verdict, state.by_hand, state.to_align) == ("check", True, False)
    assert "by hand" in state.message
    laid = jobs.laid(tiny_case, "S01", "SMA")
    assert laid is not None
    assert np.array_equal(laid, known)


def test_a_mirrored_section_laid_by_hand_is_drawn_mirrored(tiny_case: Path) -> None:
    folder = StudyFolder.open(tiny_case)
    _, cols = folder.case("S01").slide("SMA").size_um
    over = np.array([[1.0, 0.0, 0.0], [0.0, -1.0, cols]])
    jobs.lay(tiny_case, "S01", "SMA", jobs.keep_laid(tiny_case, "S01", "SMA", over))
    view = jobs.open_view(tiny_case, "S01")
    stain = next(stain for stain in view.stains if stain.name == "SMA").aligned
    assert stain is not None
    size = stain.pyramid.levels[0]
    laid, plain = stain.read(whole(size), stain.pyramid.um_per_px[0]), stain.pyramid.read(0, whole(size))
    view.close()
    assert np.array_equal(laid, plain[:, ::-1])
    assert not np.array_equal(laid, plain)


def test_a_rough_start_is_refined_to_the_usual_accuracy(study: Path, simulated_study: Path) -> None:
    truth, places = truth_of(simulated_study, "S01", "SMA"), tissue_of(study, "S01")
    rough = beside(nearest_affine(truth, places), places.mean(axis=0))
    assert missed_um(Warp.from_affine(rough), truth, places) > 40
    start = jobs.keep_laid(study, "S01", "SMA", rough)
    words = ["register", str(study), "--case", "S01", "--stain", "SMA", "--start-from", str(start), "--workers", "1"]
    assert main(words) == DONE
    folder = StudyFolder.open(study)
    by_hand = folder.current_warp("S01", "SMA")
    jobs.register(study, cases=["S01"], stains=["SMA"], workers=1)
    usual = folder.current_warp("S01", "SMA")
    assert by_hand is not None
    assert usual is not None
    assert by_hand[1]["verdict"] == "good"
    assert (by_hand[1]["by_hand"], usual[1]["by_hand"]) == (True, False)
    assert missed_um(by_hand[0], truth, places) < missed_um(usual[0], truth, places) + 1.0


def test_a_mirrored_section_is_refined_from_a_mirrored_start(tmp_path: Path) -> None:
    from stainloom.sample.settings import SimulationSettings

    study = tmp_path / "study"
    settings = SimulationSettings(
        patients=1, width_um=1100, height_um=1100, um_per_px=2, lesions=1, turn_deg=8, mirror_share=1,
        half_turn_share=0, failed_share=0, tear=0, fold=0,
    )  # fmt: skip
    jobs.simulate(study, settings, workers=1)
    folder = StudyFolder.open(study)
    case = folder.case_names()[0]
    places = tissue_of(study, case)
    truths = {stain: truth_of(study, case, stain) for stain in folder.study.moving}
    stain, truth = next((s, t) for s, t in truths.items() if np.linalg.det(t.affine[:, :2]) < 0)
    rough = beside(nearest_affine(truth, places), places.mean(axis=0))
    start = jobs.keep_laid(study, case, stain, rough)
    jobs.register(study, cases=[case], stains=[stain], start=start, workers=1)
    found = folder.current_warp(case, stain)
    jobs.register(study, cases=[case], stains=[stain], workers=1)
    usual = folder.current_warp(case, stain)
    assert found is not None
    assert usual is not None
    assert np.linalg.det(found[0].affine[:, :2]) < 0
    assert missed_um(found[0], truth, places) < missed_um(usual[0], truth, places) + 1.0


@pytest.mark.parametrize(
    "more", [["--case", "S01"], ["--stain", "SMA"], ["--case", "S01", "--stain", "HE"], ["--case", "S01", "--stain", "VG"]]
)  # fmt: skip
def test_a_start_is_of_one_stain_of_one_case(
    tiny_case: Path, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    start = jobs.keep_laid(tiny_case, "S01", "SMA", np.eye(2, 3))
    before = StudyFolder.open(tiny_case).current_warp_id("S01", "SMA")
    assert main(["register", str(tiny_case), "--start-from", str(start), *more]) == FAILED
    assert "Next: " in capsys.readouterr().err
    assert StudyFolder.open(tiny_case).current_warp_id("S01", "SMA") == before


@pytest.mark.parametrize("affine", [None, [[1, 0, 0]], [[1, 0, 0], [1, 0, 0]], [[1, 0, "x"], [0, 1, 0]]])
def test_a_broken_start_is_refused_with_what_was_expected(tiny_case: Path, tmp_path: Path, affine: object) -> None:
    file = tmp_path / "start.json"
    file.write_text(json.dumps({"affine": affine}))
    with pytest.raises(CaseError, match="two rows of three numbers"):
        jobs.lay(tiny_case, "S01", "SMA", file)


def test_a_start_written_by_hand_needs_the_affine_alone(tiny_case: Path, tmp_path: Path) -> None:
    file = tmp_path / "start.json"
    file.write_text('{"affine": [[1, 0, 12.5], [0, 1, -3]]}')
    assert main(["case", "lay", str(tiny_case), "S01", "--stain", "SMA", "--start-from", str(file)]) == DONE
    found = StudyFolder.open(tiny_case).current_warp("S01", "SMA")
    assert found is not None
    assert np.allclose(found[0].points(np.zeros(2)), [12.5, -3])


def test_a_stain_that_is_left_out_is_not_laid(tiny_case: Path) -> None:
    jobs.leave_out(tiny_case, "S01", "SMA")
    with pytest.raises(CaseError, match="left out"):
        jobs.keep_laid(tiny_case, "S01", "SMA", np.eye(2, 3))
    with pytest.raises(CaseError, match="all other stains"):
        jobs.keep_laid(tiny_case, "S01", "HE", np.eye(2, 3))
    with pytest.raises(RegistrationError, match="one stain of one case"):
        jobs.register(tiny_case, start=tiny_case / "none.json")


def test_only_what_needs_it_is_aligned(tiny_case: Path) -> None:
    folder = StudyFolder.open(tiny_case)

    def judged(stain: str, quality: dict[str, object]) -> None:
        found = folder.current_warp("S01", stain)
        assert found is not None
        folder.save_warp("S01", stain, found[0], {"message": "", **quality})

    judged("AB-PAS", {"verdict": "check", "settings": as_json(RegisterSettings())})
    judged("SMA", {"verdict": "failed", "settings": as_json(RegisterSettings(turns=120))})
    judged("Masson", {"verdict": "check", "by_hand": True})
    shutil.rmtree(folder.case_path("S01") / "warps" / "VG")
    jobs.leave_out(tiny_case, "S02", "VG")
    assert jobs.survey(tiny_case).case("S01").to_align == ("VG",)
    outcome = jobs.register(tiny_case, needed=True, workers=1)
    assert {(row["case"], row["stain"]) for row in outcome.figures["slides"]} == {("S01", "SMA"), ("S01", "VG")}
    again = jobs.register(tiny_case, needed=True, cases=["S02", "S03"], workers=1)
    assert (again.changed, again.text) == ((), "Nothing to align")
