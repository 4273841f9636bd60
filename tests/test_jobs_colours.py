"""Colours of stains whose dyes nobody named, and slides too blurred to tell colours apart."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from stainloom import jobs
from stainloom.errors import CaseError, PatchError
from stainloom.geometry import Size, whole
from stainloom.io.casefile import StudyFolder
from stainloom.io.patchset import open_patchset
from stainloom.io.slides import fingerprint
from stainloom.io.tiff import write_pyramid
from stainloom.io.tiles import TileCache
from stainloom.jobs.opening import in_focus, open_stain
from stainloom.stain.fit import NormalizeSettings


def test_a_stain_without_dyes_keeps_its_colours_and_is_said(tiny_case: Path, tmp_path: Path) -> None:
    study = tmp_path / "without dyes"
    shutil.copytree(tiny_case, study)
    content = json.loads((study / "study.json").read_text(encoding="utf-8"))
    for stain in content["stains"]:
        stain["dyes"] = []
    (study / "study.json").write_text(json.dumps(content), encoding="utf-8")
    outcome = jobs.normalize(study, workers=1)
    assert outcome.changed == ()
    assert not outcome.problems
    assert all("names no dyes" in text for text in outcome.warnings)
    assert len(outcome.warnings) == len(content["stains"])


def test_a_slide_out_of_focus_is_shown_and_kept_from_the_network(tiny_case: Path) -> None:
    folder = StudyFolder.open(tiny_case)
    assert not any("focus" in text for text in jobs.normalize(tiny_case, workers=1).warnings)
    _blur(folder, "S02", "SMA", um=4.0)
    outcome = jobs.normalize(tiny_case, workers=1)
    assert [text for text in outcome.warnings if "focus" in text] == [
        "S02, SMA: Out of focus: it is shown, but no network sees it. Scan the slide again"
    ]
    view = jobs.open_view(tiny_case, "S02")
    blurred = next(stain for stain in view.stains if stain.name == "SMA")
    assert blurred.aligned is not None
    assert blurred.verdict == "check"
    assert blurred.message.startswith("Out of focus")
    view.close()
    exported = jobs.export(tiny_case, workers=1)
    patches = open_patchset(folder.patchset_path(exported.figures["patchset"]))
    there = patches.present[:, patches.stain_names.index("SMA")]
    assert not there[patches.cases == "S02"].any()
    assert there[patches.cases == "S01"].all()
    assert any(text.startswith("S02, SMA: check, is treated as missing. Out of focus") for text in exported.warnings)
    assert not any("focus" in text for text in jobs.normalize(tiny_case, NormalizeSettings(least_detail=0)).warnings)
    assert in_focus(folder, folder.case("S02"), "SMA")


def test_one_slide_more_tells_that_another_is_blurred(tiny_case: Path) -> None:
    folder = StudyFolder.open(tiny_case)
    _blur(folder, "S01", "SMA", um=4.0)
    for name in ("S01", "S02"):
        assert not any("focus" in text for text in jobs.normalize(tiny_case, cases=[name], workers=1).warnings)
    third = jobs.normalize(tiny_case, cases=["S03"], workers=1)
    assert [text for text in third.warnings if "focus" in text] == [
        "S01, SMA: Out of focus: it is shown, but no network sees it. Scan the slide again"
    ]
    assert "cases/S01/normalization/SMA.json" in third.changed
    assert "Out of focus" in jobs.show_study(tiny_case).text
    raw = jobs.normalize(tiny_case, NormalizeSettings(method="none"))
    assert any(text.startswith("S01, SMA: out of focus, and used from now on") for text in raw.warnings)


def test_normalized_and_raw_cases_are_never_exported_together(tiny_case: Path) -> None:
    jobs.normalize(tiny_case, workers=1)
    (tiny_case / "cases" / "S02" / "normalization" / "VG.json").unlink()
    with pytest.raises(PatchError, match=r"three patients.*S02 is not normalized, and others are") as caught:
        jobs.export(tiny_case, workers=1)
    assert caught.value.stain == "VG"


def test_a_reference_out_of_focus_is_said_and_used(tiny_case: Path) -> None:
    folder = StudyFolder.open(tiny_case)
    _blur(folder, "S02", "HE", um=4.0)
    said = [text for text in jobs.normalize(tiny_case, workers=1).warnings if "focus" in text]
    assert said == ["S02, HE: Out of focus, and used all the same, since all else lies on it. Scan the slide again"]
    view = jobs.open_view(tiny_case, "S02")
    assert view.stains[0].verdict == "reference"
    assert view.stains[0].message.startswith("Out of focus, and used")
    view.close()


def _blur(folder: StudyFolder, case: str, stain: str, um: float) -> None:
    """Have a slide as if it had been scanned out of focus when the case was taken in."""
    found = folder.case(case)
    with open_stain(folder, found, stain, TileCache()) as pyramid:
        scale = pyramid.um_per_px[0]
        pixels = cv2.GaussianBlur(pyramid.read(0, whole(pyramid.levels[0])), (0, 0), um / scale[0])
    file = folder.slide_path(found, found.slide(stain))
    write_pyramid(file, Size(*pixels.shape[:2]), scale, lambda box: pixels[box.row : box.row_end])
    slide = replace(found.slide(stain), fingerprint=fingerprint(file))
    folder.save_case(replace(found, slides={**found.slides, stain: slide}))


def test_a_case_that_cannot_be_read_is_named_and_the_others_go_on(tiny_case: Path) -> None:
    (tiny_case / "cases" / "S02" / "case.json").write_text("{", encoding="utf-8")
    for outcome in (jobs.normalize(tiny_case, workers=1), jobs.transfer(tiny_case, workers=1)):
        assert [str(problem).count("S02") > 0 or "case.json" in str(problem) for problem in outcome.problems] == [True]
        assert any("S01" in path for path in outcome.changed)
        assert any("S03" in path for path in outcome.changed)
    with pytest.raises(CaseError, match=r"case\.json"):
        jobs.normalize(tiny_case, cases=["S02"], workers=1)
