"""Cases taken out of a study, and slides replaced: nothing painted is deleted, nothing old counts for the new."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from stainloom import jobs
from stainloom.errors import CaseError, SlideError
from stainloom.io.casefile import StudyFolder


def scan(path: Path, um_per_px: float = 2.0) -> Path:
    pixels = np.random.default_rng(7).integers(0, 255, (300, 300, 3)).astype(np.uint8)
    per_cm = (1e4 / um_per_px,) * 2
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(64, 64), resolution=per_cm, resolutionunit=3)
    return path


def test_a_case_that_is_taken_out_keeps_its_paint_and_its_slides(tiny_case: Path) -> None:
    folder = StudyFolder.open(tiny_case)
    slide = folder.slide_path(folder.case("S02"), folder.case("S02").slide("HE"))
    paint = folder.labels_path("S02").read_bytes()
    outcome = jobs.remove_case(tiny_case, "S02")
    kept = tiny_case / outcome.figures["kept"]
    assert kept.parent == tiny_case / "removed"
    assert (kept / "labels.sqlite").read_bytes() == paint
    assert slide.is_file()
    assert not (kept / "holder.json").exists()
    assert [case.name for case in jobs.survey(tiny_case).cases] == ["S01", "S03"]
    jobs.add_case(tiny_case, slide.parent, name="S02", patient="P02")
    again = tiny_case / jobs.remove_case(tiny_case, "S02").figures["kept"]
    assert again != kept


def test_a_case_in_use_or_not_there_stays(tiny_case: Path) -> None:
    folder = StudyFolder.open(tiny_case)
    with folder.hold("S01"):
        for act in (
            lambda: jobs.remove_case(tiny_case, "S01"),
            lambda: jobs.replace_slide(tiny_case, "S01", "VG", tiny_case / "x.tif"),
        ):
            with pytest.raises(CaseError, match="in use"):
                act()
    with pytest.raises(CaseError, match="no case S09"):
        jobs.remove_case(tiny_case, "S09")
    assert len(jobs.survey(tiny_case).cases) == 3


def test_a_case_that_cannot_be_read_can_be_taken_out(tiny_case: Path) -> None:
    (tiny_case / "cases" / "S03" / "case.json").write_text("{}")
    jobs.remove_case(tiny_case, "S03")
    assert [case.name for case in jobs.survey(tiny_case).cases] == ["S01", "S02"]


def test_another_scan_is_not_aligned_and_its_colours_are_as_scanned(tiny_case: Path, tmp_path: Path) -> None:
    jobs.transfer(tiny_case, cases=["S01"], stains=["VG", "SMA"], workers=1)
    jobs.normalize(tiny_case, cases=["S01"], stains=["VG", "SMA"], workers=1)
    jobs.replace_slide(tiny_case, "S01", "VG", scan(tmp_path / "new.tif"))
    stains = {stain.name: stain for stain in jobs.survey(tiny_case).case("S01").stains}
    assert (stains["VG"].verdict, stains["VG"].normalized, stains["VG"].carried) == ("not aligned", False, "no")
    assert (stains["SMA"].verdict, stains["SMA"].normalized, stains["SMA"].carried) == ("good", True, "yes")
    folder = StudyFolder.open(tiny_case)
    assert folder.slide_path(folder.case("S01"), folder.case("S01").slide("VG")) == (tmp_path / "new.tif").resolve()
    assert len(list((tiny_case / "cases" / "S01" / "warps" / "VG").glob("*/warp.npz"))) == 1


def test_a_stain_that_a_case_lacked_can_be_added(tiny_case: Path, tmp_path: Path) -> None:
    folder = StudyFolder.open(tiny_case)
    jobs.remove_case(tiny_case, "S03")
    source = tmp_path / "some"
    source.mkdir()
    for stain in ("HE", "Masson"):
        (source / f"{stain}.tif").symlink_to(tiny_case / "slides" / "S03" / f"{stain}.ome.tif")
    jobs.add_case(tiny_case, source, name="S03", patient="P03", allow_missing=True)
    assert "VG" in folder.case("S03").left_out
    jobs.replace_slide(tiny_case, "S03", "VG", tiny_case / "slides" / "S03" / "VG.ome.tif")
    case = folder.case("S03")
    assert list(case.slides) == ["HE", "Masson", "VG"]
    assert case.left_out == ("AB-PAS", "SMA")


def test_what_may_not_take_the_place_of_a_slide(tiny_case: Path, tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"HE slide of case S01 is painted"):
        jobs.replace_slide(tiny_case, "S01", "HE", scan(tmp_path / "new.tif"))
    with pytest.raises(CaseError, match="has this slide already"):
        jobs.replace_slide(tiny_case, "S01", "VG", tiny_case / "slides" / "S02" / "VG.ome.tif")
    (tmp_path / "text.tif").write_text("no slide")
    with pytest.raises(SlideError):
        jobs.replace_slide(tiny_case, "S01", "VG", tmp_path / "text.tif")
    assert jobs.survey(tiny_case).case("S01").aligned


def test_both_by_command_line(tiny_case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from stainloom.cli import main

    assert main(["case", "replace", str(tiny_case), "S01", "VG", str(scan(tmp_path / "new.tif"))]) == 0
    assert "VG of S01 is now new.tif, and not aligned yet" in capsys.readouterr().out
    assert main(["case", "remove", str(tiny_case), "S01"]) == 0
    assert "S01 is out of the study" in capsys.readouterr().out
    assert main(["case", "remove", str(tiny_case), "S01"]) == 1
