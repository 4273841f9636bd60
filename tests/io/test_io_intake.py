"""Slides are taken in whole or not at all, and each mistake of a user is said with its file and the next step."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

from stainloom.case.study import PROTOCOLS
from stainloom.errors import CaseError, SlideError
from stainloom.io.casefile import StudyFolder
from stainloom.io.intake import Row, read_source, take_in
from stainloom.io.roots import known_roots

LUNG = PROTOCOLS[1]
STAINS = LUNG.stains
NAMES = tuple(stain.name for stain in STAINS)


@pytest.fixture(autouse=True)
def _config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAINLOOM_CONFIG", str(tmp_path / "config"))


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder.create(tmp_path / "study", LUNG)


def picture(path: Path, seed: int) -> Path:
    """A small slide that states no scale."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(seed).integers(0, 255, (24, 32, 3)).astype(np.uint8)
    _, data = cv2.imencode(".png", array)
    path.write_bytes(data.tobytes())
    return path


def scaled(path: Path, seed: int, um_per_px: float) -> Path:
    """A small slide that states its scale."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(seed).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    per_cm = 10_000 / um_per_px
    tifffile.imwrite(path, array, photometric="rgb", tile=(32, 32), resolution=(per_cm, per_cm), resolutionunit=3)
    return path


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """A folder with one slide of each stain."""
    for number, stain in enumerate(NAMES):
        picture(tmp_path / "scans" / "block7" / f"block7_{stain}.png", number)
    return tmp_path / "scans" / "block7"


def add(folder: StudyFolder, source: Path, **said: Any) -> Any:
    allow_missing = said.pop("allow_missing", False)
    said = {"patient": "P1", "um_per_px": 1.0} | said
    return take_in(folder, read_source(source, folder.study, **said), allow_missing=allow_missing)


def refused(folder: StudyFolder, source: Path, match: str, error: type[Exception] = CaseError, **said: Any) -> str:
    """The message; and nothing has changed in the study."""
    before = {str(path): path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    with pytest.raises(error, match=match) as caught:
        add(folder, source, **said)
    assert {str(path): path.read_bytes() for path in folder.path.rglob("*") if path.is_file()} == before
    assert StudyFolder.open(folder.path).case_names() == folder.case_names()
    return str(caught.value)


def table(path: Path, *lines: str, encoding: str = "utf-8", end: str = "\n") -> Path:
    path.write_bytes((end.join(lines) + end).encode(encoding))
    return path


# A folder


def test_a_folder_becomes_a_case(folder: StudyFolder, slides: Path) -> None:
    (slides / "notes.txt").write_text("not a slide")
    (slides / ".hidden.png").write_text("x")
    (slides / "landmarks").mkdir()
    (case,) = add(folder, slides)
    assert (case.name, case.patient, case.block, case.left_out) == ("block7", "P1", "block7", ())
    assert tuple(case.slides) == NAMES
    for stain, slide in case.slides.items():
        assert slide.size.shape == (24, 32)
        assert slide.um_per_px == (1.0, 1.0)
        assert folder.slide_path(case, slide) == (slides / f"block7_{stain}.png").resolve()
    opened = StudyFolder.open(folder.path)
    assert opened.case("block7") == case
    assert len(opened.study.roots) == 2
    for file in folder.path.rglob("*.json"):
        assert str(slides) not in file.read_text()
    assert list(known_roots().values()) == [slides.resolve()]


def test_slides_within_the_study_need_no_root(folder: StudyFolder, slides: Path) -> None:
    shutil.move(slides, folder.path / "slides" / "block7")
    (case,) = add(folder, folder.path / "slides" / "block7")
    assert {slide.root for slide in case.slides.values()} == {"."}
    assert case.slides["HE"].path == "slides/block7/block7_HE.png"
    assert folder.study.roots == (".",)


def test_a_link_to_a_slide_is_taken_for_what_it_points_to(folder: StudyFolder, slides: Path, tmp_path: Path) -> None:
    inside = folder.path / "slides"
    inside.mkdir()
    for path in slides.iterdir():
        (inside / path.name).symlink_to(path)
    (case,) = add(folder, inside)
    assert case.slides["HE"].root != "."
    assert folder.slide_path(case, case.slides["HE"]) == (slides / "block7_HE.png").resolve()


def test_blocks_in_one_place_share_a_root(folder: StudyFolder, slides: Path, tmp_path: Path) -> None:
    rows = read_source(slides, folder.study, patient="P1", um_per_px=1.0)
    for number, stain in enumerate(NAMES):
        picture(tmp_path / "scans" / "block8" / f"{stain}.png", 100 + number)
    rows += read_source(tmp_path / "scans" / "block8", folder.study, patient="P1", um_per_px=1.0)
    first, second = take_in(folder, rows)
    assert first.slides["HE"].path == "block7/block7_HE.png"
    assert second.slides["HE"].path == "block8/HE.png"
    assert len(folder.study.roots) == 2
    assert known_roots()[folder.study.roots[1]] == (tmp_path / "scans").resolve()


def test_a_missing_stain_is_named(folder: StudyFolder, slides: Path) -> None:
    (slides / "block7_Ki67.png").unlink()
    said = refused(folder, slides, "case block7 lacks Ki67")
    assert "--allow-missing" in said
    assert "block7_HE.png" in said
    (case,) = add(folder, slides, allow_missing=True)
    assert case.left_out == ("Ki67",)
    assert "Ki67" not in case.slides


def test_the_reference_may_never_be_missing(folder: StudyFolder, slides: Path) -> None:
    (slides / "block7_HE.png").unlink()
    said = refused(folder, slides, "case block7 lacks HE", allow_missing=True)
    assert "--allow-missing" not in said


@pytest.mark.parametrize("name", ["block7_unknown.png", "block7_HE_CD31.png", "IMG_0001.svs"])
def test_a_file_whose_stain_cannot_be_told_is_named(folder: StudyFolder, slides: Path, name: str) -> None:
    picture(slides / name, 99)
    if name == "block7_HE_CD31.png":  # the longest word wins: a second CD31
        assert "block7_HE_CD31.png" in refused(folder, slides, "two CD31 slides")
    else:
        assert name in refused(folder, slides, "stain cannot be told")


def test_the_same_stain_twice_is_for_the_user_to_pick(folder: StudyFolder, slides: Path) -> None:
    picture(slides / "rescan_HE.png", 99)
    said = refused(folder, slides, "case block7 has two HE slides")
    assert "rescan_HE.png" in said
    assert "block7_HE.png" in said
    assert "pick one" in said


def test_nothing_there_is_said(folder: StudyFolder, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(folder, tmp_path / "empty", "no slide in the folder")
    refused(folder, tmp_path / "missing", "nothing at")
    refused(folder, picture(tmp_path / "HE.png", 1), "neither")
    with pytest.raises(CaseError, match="no slides to add"):
        take_in(folder, [])


def test_the_patient_is_asked_for(folder: StudyFolder, slides: Path) -> None:
    assert "--patient" in refused(folder, slides, "patient of case block7 is not known", patient=None)


def test_the_scale_is_asked_for(folder: StudyFolder, slides: Path) -> None:
    said = refused(folder, slides, "does not say its µm per px", um_per_px=None)
    assert "--um-per-px" in said
    assert "block7_" in said


@pytest.mark.parametrize("um_per_px", [0.0, -1.0, float("nan"), float("inf"), 1e6])
def test_a_scale_that_is_none_is_refused(folder: StudyFolder, slides: Path, um_per_px: float) -> None:
    refused(folder, slides, "out of bounds", um_per_px=um_per_px)


@pytest.mark.parametrize(("given", "ok"), [(None, True), (0.5, True), (0.52, True), (0.53, False), (0.25, False)])
def test_a_scale_against_the_files_own(folder: StudyFolder, tmp_path: Path, given: float | None, ok: bool) -> None:
    for number, stain in enumerate(NAMES):
        scaled(tmp_path / "scans" / "b" / f"{stain}.tif", number, 0.5)
    if not ok:
        said = refused(folder, tmp_path / "scans" / "b", "another µm per px than you", um_per_px=given)
        assert "0.5 x 0.5 µm per px in the file" in said
        return
    (case,) = add(folder, tmp_path / "scans" / "b", um_per_px=given)
    assert case.slides["HE"].um_per_px == pytest.approx((0.5, 0.5), rel=1e-3)


def test_a_file_that_is_no_image_is_named(folder: StudyFolder, slides: Path) -> None:
    (slides / "block7_Cc10.png").write_text("this is a letter")
    said = refused(folder, slides, r"block7_Cc10\.png", SlideError)
    assert "Cc10" in said


def test_a_truncated_tiff_is_named(folder: StudyFolder, slides: Path) -> None:
    whole = scaled(slides / "block7_Cc10.tif", 3, 1.0).read_bytes()
    (slides / "block7_Cc10.png").unlink()
    (slides / "block7_Cc10.tif").write_bytes(whole[: len(whole) // 3])
    assert "Cc10" in refused(folder, slides, r"block7_Cc10\.tif", SlideError)


def test_the_same_content_under_two_names_is_refused(folder: StudyFolder, slides: Path) -> None:
    shutil.copy(slides / "block7_HE.png", slides / "block7_Cc10.png")
    said = refused(folder, slides, "same file twice")
    assert "HE of case block7" in said


def test_a_slide_of_another_case_is_refused(folder: StudyFolder, slides: Path, tmp_path: Path) -> None:
    add(folder, slides)
    for number, stain in enumerate(NAMES):
        picture(tmp_path / "scans" / "block8" / f"{stain}.png", 100 + number)
    shutil.copy(slides / "block7_CD31.png", tmp_path / "scans" / "block8" / "CD31.png")
    said = refused(folder, tmp_path / "scans" / "block8", "same file twice", patient="P2")
    assert "CD31 of case block7" in said


@pytest.mark.parametrize("name", [None, "BLOCK7", "other"])
def test_a_block_is_taken_in_once(folder: StudyFolder, slides: Path, name: str | None) -> None:
    add(folder, slides)
    match = "same file twice" if name == "other" else "already"
    refused(folder, slides, match, name=name)


def test_a_name_that_no_folder_can_have(folder: StudyFolder, slides: Path) -> None:
    refused(folder, slides, "cannot be called", name="a/b")
    shutil.move(slides, slides.with_name("Müller 3"))
    refused(folder, slides.with_name("Müller 3"), "cannot be called.*--name M_ller_3-")
    (case,) = add(folder, slides.with_name("Müller 3"), name="case3")
    assert case.name == "case3"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_refuses_midway_leaves_none_of_the_cases(
    folder: StudyFolder, slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    rows = read_source(slides, folder.study, patient="P1", um_per_px=1.0)
    for count, stain in enumerate(NAMES):
        picture(tmp_path / "scans" / "block8" / f"{stain}.png", 100 + count)
    rows += read_source(tmp_path / "scans" / "block8", folder.study, patient="P1", um_per_px=1.0)
    before = (folder.path / "study.json").read_bytes()
    real = os.rename

    def second_case_fails(source: Any, target: Any) -> None:
        if Path(target).name == "block8":
            raise OSError(number, os.strerror(number))
        real(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", second_case_fails)
        with pytest.raises(CaseError, match="block8"):
            take_in(folder, rows)
    assert folder.case_names() == ()
    assert (folder.path / "study.json").read_bytes() == before
    assert len(take_in(folder, rows)) == 2


# A table


def test_a_table_of_two_patients(folder: StudyFolder, slides: Path, tmp_path: Path) -> None:
    lines = ["Case,Patient,Block,Stain,Path,um_per_px"]
    for case, patient in (("a", "P1"), ("b", "P2")):
        for number, stain in enumerate(NAMES):
            picture(tmp_path / "scans" / case / f"{number}.png", number + 50 * (case == "b") + 200)
            lines.append(f"{case},{patient},B-{case},{stain.lower()},{case}/{number}.png,0.5")
    cases = add(folder, table(tmp_path / "scans" / "all.csv", *lines, "", ",,,,,"), patient=None, um_per_px=None)
    assert [(case.name, case.patient, case.block) for case in cases] == [("a", "P1", "B-a"), ("b", "P2", "B-b")]
    assert tuple(cases[0].slides) == NAMES
    assert cases[1].slides["HE"].um_per_px == (0.5, 0.5)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize(("separator", "end"), [(",", "\n"), (";", "\r\n"), ("\t", "\r\n")])
def test_what_spreadsheets_write(folder: StudyFolder, slides: Path, encoding: str, separator: str, end: str) -> None:
    lines = [separator.join(("stain", "path", "um_per_px"))]
    number = "1.5" if separator == "," else "1,5"
    lines += [separator.join((stain, f"block7_{stain}.png", number)) for stain in NAMES]
    rows = read_source(table(slides / "b.csv", *lines, encoding=encoding, end=end), folder.study, patient="P1")
    assert rows[0] == Row("b", "P1", "b", NAMES[0], slides / f"block7_{NAMES[0]}.png", 1.5)
    assert len(rows) == 5
    assert len(take_in(folder, rows)) == 1


def test_two_patients_in_one_case_are_refused(folder: StudyFolder, slides: Path) -> None:
    lines = [f"{stain},block7_{stain}.png,{'P2' if stain == 'Ki67' else 'P1'}" for stain in NAMES]
    said = refused(folder, table(slides / "b.csv", "stain,path,patient", *lines), "case b mixes slides of 2 patients")
    assert "Ki67 block7_Ki67.png: P2" in said


def test_a_patient_on_the_command_line_does_not_hide_another_in_the_table(folder: StudyFolder, slides: Path) -> None:
    lines = [f"{stain},block7_{stain}.png,{'P2' if stain == 'Ki67' else ''}" for stain in NAMES]
    refused(folder, table(slides / "b.csv", "stain,path,patient", *lines), "mixes slides of 2 patients", patient="P1")


def test_two_blocks_in_one_case_are_refused(folder: StudyFolder, slides: Path) -> None:
    lines = [f"{stain},block7_{stain}.png,{'B2' if stain == 'Ki67' else 'B1'}" for stain in NAMES]
    refused(folder, table(slides / "b.csv", "stain,path,block", *lines), "case b mixes slides of 2 blocks")


def test_one_block_as_two_cases_is_refused(folder: StudyFolder, slides: Path, tmp_path: Path) -> None:
    lines = []
    for case in "ab":
        for number, stain in enumerate(NAMES):
            picture(slides / f"{case}{number}.png", number + 300 + 50 * (case == "b"))
            lines.append(f"{case},{stain},{case}{number}.png,P1,B1")
    refused(
        folder, table(slides / "b.csv", "case,stain,path,patient,block", *lines), "block B1 of patient P1 is in the"
    )


def test_the_same_file_twice_in_a_table_is_refused(folder: StudyFolder, slides: Path) -> None:
    files = {stain: "block7_HE.png" if stain == "Ki67" else f"block7_{stain}.png" for stain in NAMES}
    lines = [f"{stain},{file}" for stain, file in files.items()]
    said = refused(folder, table(slides / "b.csv", "stain,path", *lines), "same file twice")
    assert "block7_HE.png" in said
    assert "Ki67" in said
    assert "another name" not in said
    refused(folder, table(slides / "b.csv", "stain,path", *lines, "HE,../block7/block7_HE.png"), "same file twice")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["stain,file", "HE,a.png"], "first line"),
        (["stain,path,path", "HE,a.png,b.png"], "first line"),
        (["path", "a.png"], "first line"),
        (["stain,path"], "names no slide"),
        ([], "first line"),
        (["stain,path", "PAS,block7_HE.png"], "line 2"),
        (["stain,path", "HE,"], "line 2"),
        (["stain,path", "HE,block7_HE.png", "CD31,missing.png"], "line 3"),
        (["stain,path,um_per_px", "HE,block7_HE.png,half"], "line 2"),
        (["stain,path", "HE,block7_HE.png,extra"], "line 2"),
        (["stain,path,case", "HE,block7_HE.png,a/b"], "cannot be called"),
        (['stain,path', '"HE,block7_HE.png'], "cannot be read"),
        (["stain,path", "HE,\0"], "zero bytes"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_table_is_said_with_its_line(
    folder: StudyFolder, slides: Path, lines: list[str], said: str
) -> None:
    refused(folder, table(slides / "b.csv", *lines), said)


def test_a_table_that_is_not_utf8_is_said(folder: StudyFolder, slides: Path) -> None:
    said = refused(folder, table(slides / "b.csv", "stain,path", "HE,Müller.png", encoding="latin-1"), "cannot be read")
    assert "CSV UTF-8" in said


def test_a_table_from_windows_finds_its_folders(folder: StudyFolder, slides: Path) -> None:
    rows = read_source(table(slides.parent / "b.csv", "stain,path", "HE,block7\\block7_HE.png"), folder.study)
    assert rows[0].path.is_file()


@pytest.mark.real
def test_the_real_case_is_taken_in(folder: StudyFolder, lung_case: Path) -> None:
    (case,) = add(folder, lung_case, um_per_px=5.0)
    assert tuple(case.slides) == NAMES
    assert case.slides["HE"].size.shape == (661, 892)
