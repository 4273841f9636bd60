"""What folders and tables may mean, what is wrong with it, and that a corrected table is taken in as it was shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from stainloom.case.study import PROTOCOLS, Study
from stainloom.errors import CaseError
from stainloom.io import recognize as recognizing
from stainloom.io.casefile import StudyFolder
from stainloom.io.faults import find_faults
from stainloom.io.intake import read_source, take_in
from stainloom.io.recognize import NO_SLIDE, NO_TISSUE, Guess, recognize
from stainloom.io.table import Row, write_csv

STUDY = Study(PROTOCOLS[0])
NAMES = STUDY.stain_names


@pytest.fixture(autouse=True)
def _config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAINLOOM_CONFIG", str(tmp_path / "config"))


def slide(path: Path, um_per_px: float | None = 0.5) -> Path:
    """A small slide of its own content, with or without a scale."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(path.as_posix().encode())
    pixels = np.random.default_rng(seed).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    if um_per_px is None:
        path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    else:
        per_cm = (1e4 / um_per_px,) * 2
        tifffile.imwrite(path, pixels, photometric="rgb", tile=(32, 32), resolution=per_cm, resolutionunit=3)
    return path


def block(folder: Path, stem: str = "", stains: Sequence[str] = NAMES) -> None:
    for stain in stains:
        slide(folder / f"{stem}{stain}.tif")


def by_case(guesses: Sequence[Guess]) -> dict[str, list[str | None]]:
    found: dict[str, list[str | None]] = {}
    for guess in guesses:
        found.setdefault(guess.case, []).append(guess.stain)
    return found


def test_a_folder_is_a_block_and_what_is_no_slide_is_counted(tmp_path: Path) -> None:
    block(tmp_path / "Block 7", "b7_")
    (tmp_path / "Block 7" / "notes.txt").write_text("x")
    (tmp_path / "Block 7" / "b7_HE_label.jpg").write_bytes(b"x")
    (tmp_path / "Block 7" / ".hidden.tif").write_bytes(b"x")
    found = recognize([tmp_path / "Block 7"], STUDY)
    assert by_case(found.guesses) == {"Block_7": list(NAMES)}
    assert {(guess.patient, guess.block, guess.own) for guess in found.guesses} == {("", "Block_7", (0.5, 0.5))}
    assert found.left_out == {NO_SLIDE: 1, NO_TISSUE: 1}


def test_folders_in_a_folder_are_blocks_in_natural_order_and_those_around_them_patients(tmp_path: Path) -> None:
    for name in ("B2", "B10"):
        block(tmp_path / "scans" / name)
    assert list(by_case(recognize([tmp_path / "scans"], STUDY).guesses)) == ["B2", "B10"]
    for place in ("P1/A", "P1/B", "P2/A"):
        block(tmp_path / "deep" / place)
    found = recognize([tmp_path / "deep"], STUDY)
    assert list(by_case(found.guesses)) == ["P1_A", "P1_B", "P2_A"]
    assert {(guess.case, guess.patient, guess.block) for guess in found.guesses} == {
        ("P1_A", "P1", "A"), ("P1_B", "P1", "B"), ("P2_A", "P2", "A"),
    }  # fmt: skip


@pytest.mark.parametrize("pattern", ["S{n}_{stain}.tif", "{stain} S{n}.tif", "S{n}-{stain}-2021.0{n}.tif"])
def test_many_blocks_in_one_folder_are_told_apart_by_their_names(tmp_path: Path, pattern: str) -> None:
    for n in (1, 2, 3):
        for stain in NAMES:
            slide(tmp_path / "flat" / pattern.format(n=n, stain=stain))
    found = by_case(recognize([tmp_path / "flat"], STUDY).guesses)
    assert len(found) == 3
    assert all(stains == list(NAMES) for stains in found.values())


def test_a_stain_that_cannot_be_told_and_a_broken_file_are_rows_not_errors(tmp_path: Path) -> None:
    block(tmp_path / "b", stains=NAMES[:4])
    slide(tmp_path / "b" / "scan0007.tif")
    (tmp_path / "b" / "VG.tif").write_bytes(b"II*\0 broken")
    slide(tmp_path / "b" / "extra_SMA.png", None)
    found = {guess.path.name: guess for guess in recognize([tmp_path / "b"], STUDY).guesses}
    assert found["scan0007.tif"].stain is None
    assert found["VG.tif"].problem.startswith("cannot be read")
    assert found["extra_SMA.png"].own is None


def test_a_table_is_read_leniently(tmp_path: Path) -> None:
    slide(tmp_path / "a.tif")
    (tmp_path / "list.csv").write_text(
        "path,stain,case,patient,um_per_px\na.tif,h&e,C1,P1,\na.tif,unknown,C1,P1,abc\nnowhere.tif,VG,C1,P1,0.5\n,SMA,C1,,\n"
    )
    found = recognize([tmp_path / "list.csv"], STUDY).guesses
    said = {(guess.path.name, guess.stain, guess.problem.partition(":")[0]) for guess in found}
    assert said == {
        ("a.tif", "HE", ""),
        ("a.tif", None, ""),
        ("nowhere.tif", "VG", "cannot be read"),
        ("line 5", "SMA", "line 5 of the table names no file"),
    }
    faults = find_faults(found, STUDY, ())
    assert len(faults.rows) == 4  # the same file twice, twice


def test_nothing_and_far_too_much_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CaseError, match="no slide here"):
        recognize([tmp_path / "empty"], STUDY)
    block(tmp_path / "b")
    monkeypatch.setattr(recognizing, "SLIDES_MOST", 4)
    with pytest.raises(CaseError, match="5 slides"):
        recognize([tmp_path / "b"], STUDY)
    monkeypatch.setattr(recognizing, "_LOOKED_MOST", 3)
    with pytest.raises(CaseError, match="too many files"):
        recognize([tmp_path / "b"], STUDY)


def test_looking_can_be_stopped(tmp_path: Path) -> None:
    from stainloom.progress import Cancelled

    block(tmp_path / "b")

    def stop(done: float, total: float, what: str, slide: str = "") -> None:
        if what.startswith("reading"):
            raise Cancelled

    with pytest.raises(Cancelled):
        recognize([tmp_path / "b"], STUDY, stop)


# What is wrong


def rows(**more: object) -> list[Guess]:
    return [
        replace(Guess(Path(f"/s/{stain}.tif"), "C1", "P1", "C1", stain, own=(0.5, 0.5)), **more)  # type: ignore[arg-type]
        for stain in NAMES
    ]


def test_a_right_table_has_no_faults() -> None:
    assert find_faults(rows(), STUDY, ()).none


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stain": None}, "Stain not recognised"),
        ({"stain": "VG"}, "VG twice"),
        ({"own": None}, "does not state"),
        ({"own": None, "um_per_px": float("nan")}, "no number"),
        ({"um_per_px": 500.0}, "has to be 0.01 to 100"),
        ({"um_per_px": 0.25}, "file states 0.5"),
        ({"problem": "cannot be read: broken"}, "take it out"),
        ({"path": Path("/s/VG.tif")}, "twice"),
    ],
)
def test_each_mistake_of_a_slide_is_said_in_its_row(change: dict[str, object], said: str) -> None:
    table = rows()
    table[2] = replace(table[2], **change)  # type: ignore[arg-type]
    faults = find_faults(table, STUDY, ())
    assert said in faults.rows[2]
    assert not faults.none


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"patient": ""}, "Patient not known"),
        ({"case": "a b"}, "cannot be called"),
        ({"case": "taken"}, "has a case Taken already"),
        ({"patient": "P9", "block": "B9"}, "is case Taken already"),
    ],
)
def test_each_mistake_of_a_case_is_said_in_its_row(change: dict[str, object], said: str) -> None:
    from stainloom.case.case import Case

    faults = find_faults(rows(**change), STUDY, [Case("Taken", "P9", "B9")])
    (found,) = faults.cases.values()
    assert said in found


def test_two_patients_in_a_case_a_missing_reference_and_missing_stains() -> None:
    table = rows()
    assert "2 patients" in find_faults([replace(table[0], patient="P2"), *table[1:]], STUDY, ()).cases["C1"]
    assert "No HE slide" in find_faults(table[1:], STUDY, ()).cases["C1"]
    lacking = find_faults(table[:3], STUDY, ())
    assert lacking.none
    assert lacking.missing == {"C1": ("SMA", "VG")}


@pytest.mark.parametrize("patient", ["1957-03-12", "12.03.1957", "19570312", "12/3/57"])
def test_a_patient_that_looks_like_a_date_of_birth_is_noted(patient: str) -> None:
    assert "date of birth" in find_faults(rows(patient=patient), STUDY, ()).notes["C1"]


@pytest.mark.parametrize("patient", ["P01", "AO-2024-0031", "12345678"])
def test_a_pseudonym_is_not(patient: str) -> None:
    assert not find_faults(rows(patient=patient), STUDY, ()).notes


def test_what_is_right_here_is_taken_in_as_it_stood(tmp_path: Path) -> None:
    block(tmp_path / "scans" / "Block, 7", "b;7_")
    slide(tmp_path / "scans" / "B8" / "HE.png", None)
    block(tmp_path / "scans" / "B8", stains=NAMES[1:])
    guesses = [
        replace(guess, patient=f"Ä {guess.case}", um_per_px=None if guess.own else 0.7)
        for guess in recognize([tmp_path / "scans"], STUDY).guesses
    ]
    assert find_faults(guesses, STUDY, ()).none
    file = tmp_path / "slides.csv"
    write_csv(file, [Row(g.case, g.patient, g.block, g.stain or "", g.path, g.um_per_px) for g in guesses])
    folder = StudyFolder.create(tmp_path / "study", PROTOCOLS[0])
    cases = take_in(folder, read_source(file, folder.study))
    assert [(case.name, case.patient) for case in cases] == [("B8", "Ä B8"), ("Block_7", "Ä Block_7")]
    assert cases[0].slides["HE"].um_per_px == (0.7, 0.7)
    assert cases[1].slides["VG"].um_per_px == (0.5, 0.5)
