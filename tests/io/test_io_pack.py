"""Slides on the move: packed, sent alone, and found again."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stainloom.case.case import Case
from stainloom.case.slide import Slide
from stainloom.case.study import PROTOCOLS
from stainloom.case.warp import Warp
from stainloom.errors import CaseError
from stainloom.geometry import Size
from stainloom.io import pack as module
from stainloom.io.casefile import StudyFolder
from stainloom.io.roots import known_roots
from stainloom.io.slides import fingerprint
from stainloom.progress import Cancelled

NAMES = tuple(stain.name for stain in PROTOCOLS[0].stains)


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STAINLOOM_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config"


def scan(path: Path, seed: int) -> Path:
    """A file that stands for a slide: packing never looks inside."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(np.random.default_rng(seed).bytes(3000 + seed))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    """Two cases with slides outside the study; the files of both cases have the same names."""
    made = StudyFolder.create(tmp_path / "study", PROTOCOLS[0])
    root = made.add_root(make(tmp_path / "scans"))
    for number, name in enumerate(("c1", "c2")):
        slides = {}
        for seed, stain in enumerate(NAMES):
            path = scan(tmp_path / "scans" / name / f"{stain}.svs", 100 * number + seed)
            relative = path.relative_to(tmp_path / "scans").as_posix()
            slides[stain] = Slide(stain, root, relative, Size(20, 30), (0.5, 0.5), fingerprint(path))
        made.add_case(Case(name, f"P{number}", "B", slides))
    return made


def make(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def data(folder: StudyFolder, name: str) -> dict[str, bytes]:
    case = folder.case(name)
    return {stain: folder.slide_path(case, slide).read_bytes() for stain, slide in case.slides.items()}


def content(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_a_packed_study_needs_nothing_else(folder: StudyFolder, tmp_path: Path, config: Path) -> None:
    before = {name: data(folder, name) for name in ("c1", "c2")}
    calls: list[float] = []
    changed = folder.pack(lambda done, total, what, slide="": calls.append(done / total))
    assert [case.name for case in changed] == ["c1", "c2"]
    assert calls == sorted(calls)
    assert calls[-1] == 1
    shutil.rmtree(tmp_path / "scans")
    shutil.rmtree(config)
    shutil.move(folder.path, tmp_path / "elsewhere")
    opened = StudyFolder.open(tmp_path / "elsewhere")
    assert {name: data(opened, name) for name in ("c1", "c2")} == before
    assert opened.study.roots == (".",)
    assert opened.case("c1").slides["HE"].fingerprint.sha256 is not None
    assert opened.pack() == ()


def test_files_of_one_name_in_one_case_keep_apart(folder: StudyFolder, tmp_path: Path) -> None:
    case = folder.case("c1")
    other = scan(tmp_path / "scans" / "c1" / "again" / "HE.svs", 77)
    slide = dataclasses.replace(case.slides["VG"], path="c1/again/HE.svs", fingerprint=fingerprint(other))
    folder.save_case(dataclasses.replace(case, slides={**case.slides, "VG": slide}))
    before = data(folder, "c1")
    folder.pack()
    assert data(folder, "c1") == before


def test_a_slide_that_changed_is_not_packed_in_silence(folder: StudyFolder, tmp_path: Path) -> None:
    path = tmp_path / "scans" / "c2" / "SMA.svs"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(CaseError, match="SMA slide of case c2 is no longer what it was"):
        folder.pack()
    assert folder.case("c2").slides["HE"].root != "."
    assert set(data(folder, "c2")) == set(NAMES)


def test_a_missing_slide_stops_before_anything_is_copied(folder: StudyFolder, tmp_path: Path) -> None:
    (tmp_path / "scans" / "c2" / "SMA.svs").unlink()
    before = content(folder.path)
    with pytest.raises(CaseError, match="SMA slide of case c2"):
        folder.pack()
    assert content(folder.path) == before


def test_too_little_space_stops_before_anything_is_copied(folder: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(folder.path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _path: usage._replace(free=1000))
    before = content(folder.path)
    with pytest.raises(CaseError, match="too full"):
        folder.pack()
    assert content(folder.path) == before


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "full"), Cancelled()])
def test_packing_that_is_broken_off_loses_nothing_and_goes_on(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    before = {name: data(folder, name) for name in ("c1", "c2")}
    real, calls = os.replace, []

    def seventh_fails(source: Any, target: Any) -> None:
        if str(target).endswith(".svs"):
            calls.append(target)
            if len(calls) == 7:
                raise failure
        real(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", seventh_fails)
        with pytest.raises((CaseError, Cancelled)):
            folder.pack()
    assert not list(folder.path.rglob("*.part"))
    assert folder.case("c1").slides["HE"].root == "."
    assert folder.case("c2").slides["HE"].root != "."
    assert {name: data(StudyFolder.open(folder.path), name) for name in ("c1", "c2")} == before
    folder.pack()
    assert {name: data(folder, name) for name in ("c1", "c2")} == before
    assert len(list((folder.path / "slides").rglob("*.svs"))) == 10


def test_a_slide_with_a_folder_beside_it_takes_it_along(folder: StudyFolder, tmp_path: Path) -> None:
    case = folder.case("c1")
    path = scan(tmp_path / "scans" / "c1" / "HE.mrxs", 500)
    scan(tmp_path / "scans" / "c1" / "HE" / "Data0001.dat", 501)
    slide = dataclasses.replace(case.slides["HE"], path="c1/HE.mrxs", fingerprint=fingerprint(path))
    folder.save_case(dataclasses.replace(case, slides={**case.slides, "HE": slide}))
    folder.pack()
    packed = folder.slide_path(folder.case("c1"), folder.case("c1").slides["HE"])
    assert (packed.with_suffix("") / "Data0001.dat").stat().st_size == 3501


def test_a_slide_of_many_files_is_refused(folder: StudyFolder, tmp_path: Path) -> None:
    case = folder.case("c1")
    path = scan(tmp_path / "scans" / "c1" / "HE.vms", 500)
    slide = dataclasses.replace(case.slides["HE"], path="c1/HE.vms", fingerprint=fingerprint(path))
    folder.save_case(dataclasses.replace(case, slides={**case.slides, "HE": slide}))
    with pytest.raises(CaseError, match="many files"):
        folder.pack()


# One case alone


def test_a_case_is_sent_alone(folder: StudyFolder, tmp_path: Path, config: Path) -> None:
    folder.save_warp("c1", "SMA", Warp.from_affine(np.array([[1, 0, 5.0], [0, 1, 6]])), {"median_um": 2.0})
    folder.save_carried("c1", "SMA", np.ones((3, 4), np.uint8), 2.0, labels_id="L", warp_id="W")
    folder.save_landmarks("c1", {"HE": np.ones((2, 2))})
    folder.labels_path("c1").write_bytes(b"paint")
    scan(folder.maps_path("c1", "r1") / "0" / "c" / "0", 9)
    before, slides = content(folder.path), data(folder, "c1")
    sent = folder.pack_case("c1", tmp_path / "out" / "alone")
    assert content(folder.path) == before
    shutil.rmtree(folder.path)
    shutil.rmtree(tmp_path / "scans")
    shutil.rmtree(config)
    shutil.move(tmp_path / "out", tmp_path / "received")
    received = StudyFolder.open(tmp_path / "received" / "alone")
    assert sent.study == received.study
    assert received.study.protocol == PROTOCOLS[0]
    assert received.case_names() == ("c1",)
    assert data(received, "c1") == slides
    current = received.current_warp("c1", "SMA")
    assert current is not None
    assert current[1] == {"median_um": 2.0}
    assert received.carried("c1", "SMA") is not None
    assert received.landmarks("c1")["HE"].shape == (2, 2)
    assert received.labels_path("c1").read_bytes() == b"paint"
    assert (received.maps_path("c1", "r1") / "0" / "c" / "0").stat().st_size == 3009
    assert b"P1" not in b"".join(value for name, value in content(received.path).items() if name.endswith(".json"))


def test_a_case_in_use_is_not_sent(folder: StudyFolder, tmp_path: Path) -> None:
    with folder.hold("c1"), pytest.raises(CaseError, match=r"c1 is in use.*process"):
        folder.pack_case("c1", tmp_path / "alone")
    assert not (tmp_path / "alone").exists()
    folder.pack_case("c1", tmp_path / "alone")
    assert not list((tmp_path / "alone").rglob("*holder*"))


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "full"), OSError(errno.EROFS, "read-only")])
def test_a_case_is_sent_whole_or_not_at_all(
    folder: StudyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: OSError
) -> None:
    real, calls = os.replace, []

    def fourth_fails(source: Any, target: Any) -> None:
        calls.append(target)
        if len(calls) == 4:
            raise failure
        real(source, target)

    (tmp_path / "out").mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", fourth_fails)
        with pytest.raises(CaseError):
            folder.pack_case("c1", tmp_path / "out" / "alone")
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(CaseError, match="already there"):
        folder.pack_case("c1", folder.path)


# Found again


def test_slides_that_moved_together_are_found_and_the_study_stays(folder: StudyFolder, tmp_path: Path) -> None:
    before, study = {name: data(folder, name) for name in ("c1", "c2")}, content(folder.path)
    make(tmp_path / "new")
    shutil.move(tmp_path / "scans", tmp_path / "new" / "disk")
    found = folder.relocate([tmp_path / "new"])
    assert len(found.found) == 10
    assert found.missing == ()
    assert {name: data(folder, name) for name in ("c1", "c2")} == before
    assert content(folder.path) == study
    assert known_roots()[folder.study.roots[1]] == (tmp_path / "new" / "disk").resolve()


def test_slides_that_were_scattered_and_renamed_are_found(folder: StudyFolder, tmp_path: Path) -> None:
    before = {name: data(folder, name) for name in ("c1", "c2")}
    for number, path in enumerate(sorted((tmp_path / "scans").rglob("*.svs"))):
        target = tmp_path / "new" / f"{number % 3}" / f"scan {number}.svs"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)
        scan(target.with_name(f"decoy{number}.svs"), 7).write_bytes(b"x" * target.stat().st_size)
    found = folder.relocate([tmp_path / "new"])
    assert found.missing == ()
    assert {name: data(folder, name) for name in ("c1", "c2")} == before
    for file in folder.path.rglob("*.json"):
        assert str(tmp_path) not in file.read_text()


def test_slides_put_into_the_study_are_found_there(folder: StudyFolder, tmp_path: Path) -> None:
    before = data(folder, "c1")
    shutil.move(tmp_path / "scans", folder.path / "slides")
    assert folder.relocate([]).missing == ()
    assert data(folder, "c1") == before
    assert {slide.root for slide in folder.case("c1").slides.values()} == {"."}


def test_what_is_not_found_is_said_and_left_as_it_was(folder: StudyFolder, tmp_path: Path) -> None:
    path = tmp_path / "scans" / "c2" / "SMA.svs"
    path.unlink()
    (tmp_path / "scans" / "c2" / "VG.svs").write_bytes(b"another slide")
    before = content(folder.path)
    found = folder.relocate([tmp_path / "scans"])
    assert found.found == ()
    assert found.missing == (("c2", "SMA"), ("c2", "VG"))
    assert content(folder.path) == before
    with pytest.raises(CaseError, match="not there"):
        folder.relocate([tmp_path / "nowhere"])


def test_a_link_is_not_followed_in_search(folder: StudyFolder, tmp_path: Path) -> None:
    shutil.move(tmp_path / "scans", tmp_path / "private")
    (make(tmp_path / "new") / "link").symlink_to(tmp_path / "private")
    (tmp_path / "new" / "HE.svs").symlink_to(tmp_path / "private" / "c1" / "HE.svs")
    assert len(folder.relocate([tmp_path / "new"]).missing) == 10


def test_a_study_from_another_machine_is_relocated_there(folder: StudyFolder, tmp_path: Path, config: Path) -> None:
    before = data(folder, "c2")
    shutil.rmtree(config)
    with pytest.raises(CaseError, match="does not know"):
        data(folder, "c2")
    assert folder.relocate([tmp_path / "scans"]).missing == ()
    assert data(folder, "c2") == before
    assert json.loads((config / "roots.json").read_text())["roots"]
