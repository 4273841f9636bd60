"""The study folder: everything comes back as it was written, and nothing is lost when it cannot be."""

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
from stainloom.case.slide import Fingerprint, Slide
from stainloom.case.study import PROTOCOLS, Protocol
from stainloom.case.warp import Grid, Warp
from stainloom.errors import CaseError
from stainloom.geometry import BoxUm, Size
from stainloom.io.casefile import FORMAT_VERSION, StudyFolder
from stainloom.io.protocol import protocol_from_json
from stainloom.io.roots import known_roots, roots_file

AORTA = PROTOCOLS[0]
QUALITY = {"median_um": 4.5, "trusted": True, "levels": ["low", "middle"]}


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The machine's file in a folder of the test."""
    folder = tmp_path / "config"
    monkeypatch.setenv("STAINLOOM_CONFIG", str(folder))
    return folder


def slide(stain: str, root: str = ".", path: str | None = None) -> Slide:
    size = Size(30, 40)
    return Slide(stain, root, path or f"slides/{stain}.tif", size, (0.5, 0.25), Fingerprint(3, "ab" * 32, None))


def case(name: str = "c1", **changes: Any) -> Case:
    slides = {stain: slide(stain) for stain in ("HE", "AB-PAS", "Masson", "SMA", "VG")}
    return dataclasses.replace(Case(name, "P1", "B1", slides), **changes)


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    made = StudyFolder.create(tmp_path / "study", AORTA)
    made.add_case(case())
    return made


def bent() -> Warp:
    rng = np.random.default_rng(1)
    grid = Grid.covering(BoxUm(0, 0, 300, 400), 100)
    grid = grid.with_displacement(rng.normal(0, 3, grid.displacement_um.shape))
    return Warp.from_grid(np.array([[1.0, 0.02, 5], [-0.02, 1, 7]]), grid, (300, 400))


def content(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def read_all(path: Path) -> None:
    opened = StudyFolder.open(path)
    opened.case("c1")
    opened.landmarks("c1")


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


# Study


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
def test_a_study_comes_back(tmp_path: Path, protocol: Protocol) -> None:
    made = StudyFolder.create(tmp_path / "deep" / "study", protocol, label_um=4.0, simulated=True)
    opened = StudyFolder.open(tmp_path / "deep" / "study")
    assert opened.study == made.study
    assert opened.study.protocol == protocol
    assert (opened.study.label_um, opened.study.simulated, opened.study.roots) == (4.0, True, (".",))
    assert StudyFolder.open(tmp_path / "deep" / "study" / "study.json").path == opened.path
    assert opened.case_names() == opened.runs() == opened.patchsets() == ()


def test_equal_studies_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        made = StudyFolder.create(tmp_path / name, AORTA)
        made.add_case(case())
        made.save_warp("c1", "SMA", bent(), QUALITY)
        made.save_carried("c1", "SMA", np.eye(9, dtype=np.uint8), 2.0, labels_id="L", warp_id="W")
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert str(tmp_path).encode() not in b"".join(content(tmp_path / "a").values())


def test_a_folder_with_anything_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("mine")
    with pytest.raises(CaseError, match="empty folder"):
        StudyFolder.create(tmp_path, AORTA)
    with pytest.raises(CaseError, match="empty folder"):
        StudyFolder.create(tmp_path / "a.txt", AORTA)
    assert content(tmp_path) == {"a.txt": b"mine"}
    (tmp_path / "new").mkdir()
    StudyFolder.create(tmp_path / "new", AORTA)


def test_no_study_is_said(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing", tmp_path / "study.json"):
        with pytest.raises(CaseError, match=r"no study here.*stainloom study new"):
            StudyFolder.open(path)


@pytest.mark.parametrize("file", ["study.json", "cases/c1/case.json", "cases/c1/landmarks.json"])
def test_a_newer_file_names_the_program_that_it_needs(folder: StudyFolder, file: str) -> None:
    folder.save_landmarks("c1", {"HE": np.zeros((1, 2))})
    edit(folder.path / file, version=FORMAT_VERSION + 1, program="7.3.0", novelty={"x": 1})
    before = content(folder.path)
    with pytest.raises(CaseError, match=r"newer program.*Stainloom 7\.3\.0 or later"):
        read_all(folder.path)
    assert content(folder.path) == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": 0}, "version"),
        ({"version": "1"}, "version"),
        ({"format": "something else"}, "format"),
        ({"roots": []}, "roots"),
        ({"roots": ["a"]}, "slide folders"),
        ({"roots": [".", "../a"]}, "slide folders"),
        ({"roots": [".", "a", "a"]}, "slide folders"),
        ({"reference": "PAS"}, "reference"),
        ({"settings": {"label_um": 0}}, "settings.label_um"),
        ({"settings": {}}, "settings.label_um"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_a_study_that_says_nonsense_is_refused(folder: StudyFolder, changes: dict[str, Any], said: str) -> None:
    edit(folder.path / "study.json", **changes)
    with pytest.raises(CaseError, match=r"study\.json") as caught:
        StudyFolder.open(folder.path)
    assert said in str(caught.value)


def test_a_broken_study_names_its_file(folder: StudyFolder) -> None:
    text = (folder.path / "study.json").read_text()
    (folder.path / "study.json").write_text(text[: len(text) // 2])
    with pytest.raises(CaseError, match=r"study\.json cannot be read"):
        StudyFolder.open(folder.path)


# Cases


def test_a_case_comes_back(folder: StudyFolder) -> None:
    other = case("c2", block="B2", slides={"HE": slide("HE"), "VG": slide("VG")}, left_out=("SMA",))
    folder.add_case(other)
    assert folder.case_names() == ("c1", "c2")
    assert folder.case("c2") == other
    assert folder.cases() == (folder.case("c1"), other)
    folder.save_case(dataclasses.replace(other, left_out=()))
    assert folder.case("c2").left_out == ()


def test_a_case_is_never_overwritten_and_never_made_up(folder: StudyFolder) -> None:
    before = content(folder.path)
    with pytest.raises(CaseError, match="already there"):
        folder.add_case(case(patient="P9"))
    with pytest.raises(CaseError, match="no case c9"):
        folder.save_case(case("c9"))
    with pytest.raises(CaseError, match=r"no case c9.*one of: c1"):
        folder.case("c9")
    for name in ("..", "a/b", "", "con", "Müller"):
        with pytest.raises(CaseError, match="cannot be called"):
            folder.case(name)
    with pytest.raises(CaseError, match="stain that the study does not have"):
        folder.save_case(case(slides={"PAS": slide("PAS")}))
    with pytest.raises(CaseError, match="patient"):
        folder.save_case(case(patient=""))
    assert content(folder.path) == before


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("patient", None, "patient"),
        ("slides/HE/size_px", [0, 5], "slides.HE.size_px[0]"),
        ("slides/HE/um_per_px", [0.5], "slides.HE.um_per_px"),
        ("slides/HE/um_per_px", [0.5, -1], "slides.HE.um_per_px[1]"),
        ("slides/HE/fingerprint/ends_sha256", "xyz", "slides.HE.fingerprint.ends_sha256"),
        ("slides/HE/hidden", 1, "slides.HE.hidden"),
        ("left_out", ["PAS"], "PAS"),
    ],
)
def test_a_case_that_says_nonsense_is_refused(folder: StudyFolder, place: str, value: Any, said: str) -> None:
    file = folder.path / "cases" / "c1" / "case.json"
    inner = said_content = json.loads(file.read_text())
    *way, last = place.split("/")
    for part in way:
        inner = inner[part]
    inner[last] = value
    file.write_text(json.dumps(said_content))
    with pytest.raises(CaseError, match=r"case\.json") as caught:
        folder.case("c1")
    assert said in str(caught.value)


# Slides


def put(path: Path, data: bytes = b"abc") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_a_slide_in_the_study_is_found_wherever_the_study_lies(folder: StudyFolder, tmp_path: Path) -> None:
    put(folder.path / "slides" / "HE.tif")
    folder.save_warp("c1", "SMA", bent(), QUALITY)
    before = folder.slide_path(folder.case("c1"), folder.case("c1").slide("HE"))
    assert before == (folder.path / "slides" / "HE.tif").resolve()
    shutil.move(folder.path, tmp_path / "other place")
    moved = StudyFolder.open(tmp_path / "other place")
    found = moved.slide_path(moved.case("c1"), moved.case("c1").slide("HE"))
    assert found == (tmp_path / "other place" / "slides" / "HE.tif").resolve()
    current = moved.current_warp("c1", "SMA")
    assert current is not None
    assert current[0].id == bent().id


@pytest.mark.parametrize(
    "path", ["../secret.tif", "slides/../../secret.tif", "/etc/hostname", "C:/secret.tif", "link.tif"]
)
def test_a_slide_path_that_leaves_is_refused(folder: StudyFolder, tmp_path: Path, path: str) -> None:
    put(tmp_path / "secret.tif")
    (folder.path / "link.tif").symlink_to(tmp_path / "secret.tif")
    file = folder.path / "cases" / "c1" / "case.json"
    file.write_text(file.read_text().replace("slides/HE.tif", path))
    with pytest.raises(CaseError, match="leaves its folder"):
        folder.slide_path(folder.case("c1"), folder.case("c1").slide("HE"))


def test_a_missing_slide_is_named(folder: StudyFolder) -> None:
    with pytest.raises(CaseError, match=r"VG slide of case c1 is not where it was.*relocate"):
        folder.slide_path(folder.case("c1"), folder.case("c1").slide("VG"))


def test_a_root_is_read_only_after_the_user_confirmed_it(folder: StudyFolder, tmp_path: Path, config: Path) -> None:
    put(tmp_path / "scans" / "a" / "HE.tif")
    elsewhere = slide("HE", "scans", "a/HE.tif")
    with pytest.raises(CaseError, match="does not name"):
        folder.slide_path(case(), elsewhere)
    folder.save_study(dataclasses.replace(folder.study, roots=(".", "scans")))
    with pytest.raises(CaseError, match="does not know where the slides of scans lie"):
        folder.slide_path(case(), elsewhere)
    with pytest.raises(CaseError, match="names no slide folder other"):
        folder.confirm_root("other", tmp_path)
    with pytest.raises(CaseError, match="not there"):
        folder.confirm_root("scans", tmp_path / "missing")
    folder.confirm_root("scans", tmp_path / "scans")
    assert folder.slide_path(case(), elsewhere) == (tmp_path / "scans" / "a" / "HE.tif").resolve()
    assert roots_file().parent == config
    shutil.move(tmp_path / "scans", tmp_path / "gone")
    with pytest.raises(CaseError, match="not where they were"):
        folder.slide_path(case(), elsewhere)


def test_a_study_from_a_stranger_reads_nothing_by_itself(folder: StudyFolder, tmp_path: Path) -> None:
    put(tmp_path / "private" / "HE.tif")
    edit(folder.path / "study.json", roots=[".", str(tmp_path / "private")])
    with pytest.raises(CaseError, match="slide folders"):
        StudyFolder.open(folder.path)
    edit(folder.path / "study.json", roots=[".", "private"])
    opened = StudyFolder.open(folder.path)
    opened.save_case(case(slides={"HE": slide("HE", "private", "HE.tif")}))
    with pytest.raises(CaseError, match="confirmed"):
        opened.slide_path(opened.case("c1"), opened.case("c1").slide("HE"))


def test_a_folder_outside_gets_one_name(folder: StudyFolder, tmp_path: Path) -> None:
    put(tmp_path / "scans" / "HE.tif")
    put(tmp_path / "more" / "scans" / "HE.tif")
    first = folder.add_root(tmp_path / "scans")
    assert folder.add_root(tmp_path / "scans") == first
    second = folder.add_root(tmp_path / "more" / "scans")
    assert first != second
    assert StudyFolder.open(folder.path).study.roots == (".", first, second)
    assert known_roots() == {first: tmp_path / "scans", second: tmp_path / "more" / "scans"}


def test_a_case_folder_that_is_a_link_out_is_refused(folder: StudyFolder, tmp_path: Path) -> None:
    shutil.move(folder.path / "cases" / "c1", tmp_path / "elsewhere")
    (folder.path / "cases" / "c1").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CaseError, match="leaves its folder"):
        folder.case("c1")


# Results


def test_a_warp_comes_back_bit_for_bit(folder: StudyFolder) -> None:
    assert folder.current_warp("c1", "SMA") is None
    warp = bent()
    id = folder.save_warp("c1", "SMA", warp, QUALITY)
    assert id == warp.id == folder.current_warp_id("c1", "SMA")
    found = folder.current_warp("c1", "SMA")
    assert found is not None
    assert found[0].id == id
    assert found[1] == QUALITY
    points = np.random.default_rng(0).uniform(0, 300, (50, 2))
    np.testing.assert_array_equal(found[0].points(points), warp.points(points))
    np.testing.assert_array_equal(found[0].inverse().points(points), warp.inverse().points(points))


def test_the_pointer_moves_and_earlier_warps_stay(folder: StudyFolder) -> None:
    first = folder.save_warp("c1", "SMA", bent(), QUALITY)
    second = folder.save_warp("c1", "SMA", Warp.from_affine(), {"median_um": 9.0})
    current = folder.current_warp("c1", "SMA")
    assert current is not None
    assert current[0].id == second
    assert folder.warp("c1", "SMA", first)[1] == QUALITY
    folder.save_warp("c1", "SMA", bent(), QUALITY | {"trusted": False})
    current = folder.current_warp("c1", "SMA")
    assert current is not None
    assert current[0].id == first
    assert current[1]["trusted"] is False


def test_warps_are_of_stains_of_the_study(folder: StudyFolder) -> None:
    with pytest.raises(CaseError, match="no such stain"):
        folder.save_warp("c1", "PAS", bent(), {})
    with pytest.raises(ValueError, match="reference"):
        folder.save_warp("c1", "HE", bent(), {})
    with pytest.raises(CaseError, match="cannot be called"):
        folder.warp("c1", "SMA", "../../x")


def test_a_changed_warp_is_refused_and_made_again(folder: StudyFolder) -> None:
    id = folder.save_warp("c1", "SMA", bent(), QUALITY)
    other = folder.save_warp("c1", "VG", Warp.from_affine(), QUALITY)
    place = folder.path / "cases" / "c1" / "warps"
    shutil.copy(place / "VG" / other / "warp.npz", place / "SMA" / id / "warp.npz")
    with pytest.raises(CaseError, match=r"alignment of SMA in case c1 is damaged.*register SMA"):
        folder.current_warp("c1", "SMA")
    (place / "SMA" / id / "warp.npz").write_bytes(b"PK")
    with pytest.raises(CaseError, match=r"warp\.npz"):
        folder.current_warp("c1", "SMA")
    folder.save_warp("c1", "SMA", bent(), QUALITY)
    assert folder.current_warp("c1", "SMA") is not None


@pytest.mark.parametrize("pointer", ["../../../x", "", "0123456789abcdeg", "0123456789abcdef00"])
def test_a_pointer_that_is_no_id_is_refused(folder: StudyFolder, pointer: str) -> None:
    folder.save_warp("c1", "SMA", bent(), QUALITY)
    (folder.path / "cases" / "c1" / "warps" / "SMA" / "current").write_text(pointer)
    with pytest.raises(CaseError, match="pointer"):
        folder.current_warp("c1", "SMA")


def test_normalization_comes_back(folder: StudyFolder) -> None:
    assert folder.normalization("c1", "AB-PAS") is None
    folder.save_normalization("c1", "AB-PAS", {"method": "macenko", "vectors": np.eye(3), "pixels": np.int64(5)})
    assert folder.normalization("c1", "AB-PAS") == {"method": "macenko", "vectors": np.eye(3).tolist(), "pixels": 5}
    with pytest.raises(ValueError, match="JSON compliant"):
        folder.save_normalization("c1", "AB-PAS", {"vectors": [float("nan")]})
    assert folder.normalization("c1", "AB-PAS") is not None
    edit(folder.path / "cases" / "c1" / "normalization" / "AB-PAS.json", normalization=[])
    with pytest.raises(CaseError, match="AB-PAS"):
        folder.normalization("c1", "AB-PAS")


def test_carried_labels_come_back(folder: StudyFolder) -> None:
    assert folder.carried("c1", "SMA") is None
    raster = np.random.default_rng(0).integers(0, 7, (31, 17)).astype(np.uint8)
    id = folder.save_carried("c1", "SMA", raster, (2.0, 2.5), labels_id="L1", warp_id="W1")
    found = folder.carried("c1", "SMA")
    assert found is not None
    np.testing.assert_array_equal(found.raster, raster)
    assert (found.um_per_px, found.labels_id, found.warp_id, found.shape) == ((2.0, 2.5), "L1", "W1", (31, 17))
    assert found.id == id
    assert folder.save_carried("c1", "SMA", raster, (2.0, 2.5), labels_id="L1", warp_id="W1") == id
    for number in range(3):
        last = folder.save_carried("c1", "SMA", raster, 2.0, labels_id=f"L{number + 2}", warp_id="W1")
    kept = [path.name for path in (folder.path / "cases" / "c1" / "carried" / "SMA").iterdir() if path.is_dir()]
    assert len(kept) == 2
    assert last in kept
    with pytest.raises(ValueError, match="uint8"):
        folder.save_carried("c1", "SMA", raster.astype(np.int32), 2.0, labels_id="L", warp_id="W")


def test_changed_carried_labels_are_refused(folder: StudyFolder) -> None:
    id = folder.save_carried("c1", "SMA", np.ones((3, 4), np.uint8), 2.0, labels_id="L", warp_id="W")
    edit(folder.path / "cases" / "c1" / "carried" / "SMA" / id / "carried.json", labels_id="other")
    with pytest.raises(CaseError, match="carried labels of SMA in case c1 are damaged"):
        folder.carried("c1", "SMA")


def test_landmarks_come_back_with_their_gaps(folder: StudyFolder) -> None:
    assert folder.landmarks("c1") == {}
    nowhere = [np.nan, np.nan]
    points = {"HE": np.array([[1.5, 2], [3, 4]]), "SMA": np.array([nowhere, [5, 6]])}
    folder.save_landmarks("c1", points)
    found = folder.landmarks("c1")
    assert list(found) == ["HE", "SMA"]
    for stain, expected in points.items():
        np.testing.assert_array_equal(found[stain], expected)
    folder.save_landmarks("c1", {"HE": np.zeros((0, 2))})
    assert folder.landmarks("c1")["HE"].shape == (0, 2)
    with pytest.raises(ValueError, match="the same"):
        folder.save_landmarks("c1", {"HE": np.zeros((2, 2)), "SMA": np.zeros((3, 2))})
    edit(folder.path / "cases" / "c1" / "landmarks.json", points_um={"HE": [[1, 2]], "SMA": []})
    with pytest.raises(CaseError, match="not joined"):
        folder.landmarks("c1")


def test_stains_of_any_name_keep_apart(tmp_path: Path) -> None:
    names = ["HE", "α-SMA", "β-SMA", "AB/PAS", "..", "con", "H&E"]
    file = tmp_path / "p.json"
    lesion = {"id": 1, "short": "L", "name": "lesion", "color": "#000000"}
    stains = [{"name": name} for name in names]
    file.write_text(json.dumps({"name": "odd", "reference": "HE", "stains": stains, "lesions": [lesion]}))
    folder = StudyFolder.create(tmp_path / "study", protocol_from_json(file))
    folder.add_case(case(slides={name: slide(name, path=f"slides/{n}.tif") for n, name in enumerate(names)}))
    for number, name in enumerate(names):
        folder.save_normalization("c1", name, {"number": number})
        if name != "HE":
            folder.save_warp("c1", name, Warp.from_affine(np.array([[1, 0, number], [0, 1, 0.0]])), {"number": number})
    for number, name in enumerate(names):
        assert folder.normalization("c1", name) == {"number": number}
        current = folder.current_warp("c1", name)
        assert current is None if name == "HE" else current is not None and current[1] == {"number": number}
    assert list(folder.case("c1").slides) == names


def test_places_of_other_files(folder: StudyFolder) -> None:
    base = folder.path / "cases" / "c1"
    assert folder.labels_path("c1") == base / "labels.sqlite"
    assert folder.snapshot_path("c1").parent == base
    assert folder.maps_path("c1", "run-1") == base / "maps" / "run-1"
    assert folder.reports_path("c1") == base / "reports"
    assert folder.run_path("r1") == folder.path / "runs" / "r1"
    assert folder.patchset_path("p1") == folder.path / "patchsets" / "p1"
    for bad in ("../x", "a/b", ""):
        with pytest.raises(CaseError, match="cannot be called"):
            folder.run_path(bad)
        with pytest.raises(CaseError, match="cannot be called"):
            folder.maps_path("c1", bad)
    put(folder.run_path("r2") / "run.json")
    put(folder.run_path("r1") / "run.json")
    put(folder.path / "runs" / ".r3.part" / "run.json")
    put(folder.run_path("unfinished") / "weights")
    put(folder.patchset_path("p1") / "patchset.json")
    assert folder.runs() == ("r1", "r2")
    assert folder.patchsets() == ("p1",)


# The disk refuses


def write_everything(folder: StudyFolder) -> list[Any]:
    other = case("c2", block="B2")
    return [
        lambda: folder.save_study(dataclasses.replace(folder.study, label_um=8.0)),
        lambda: folder.add_case(other),
        lambda: folder.save_case(case(block="B9")),
        lambda: folder.save_warp("c1", "SMA", bent(), QUALITY),
        lambda: folder.save_normalization("c1", "SMA", {"a": 2}),
        lambda: folder.save_carried("c1", "SMA", np.zeros((4, 4), np.uint8), 2.0, labels_id="L2", warp_id="W"),
        lambda: folder.save_landmarks("c1", {"HE": np.ones((1, 2))}),
    ]


@pytest.mark.parametrize(("number", "said"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only")])
@pytest.mark.parametrize("which", range(7))
def test_nothing_is_lost_on_a_disk_that_refuses(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch, which: int, number: int, said: str
) -> None:
    folder.save_warp("c1", "SMA", Warp.from_affine(), QUALITY)
    folder.save_normalization("c1", "SMA", {"a": 1})
    folder.save_carried("c1", "SMA", np.ones((4, 4), np.uint8), 2.0, labels_id="L1", warp_id="W")
    folder.save_landmarks("c1", {"HE": np.zeros((1, 2))})
    before, study = content(folder.path), folder.study

    def refused(*_args: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refused)
        with pytest.raises(CaseError, match=said) as caught:
            write_everything(folder)[which]()
    assert str(folder.path) in str(caught.value)
    assert content(folder.path) == before
    assert folder.study == study
    write_everything(folder)[which]()
    assert content(folder.path) != before


def test_a_study_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: Any) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CaseError, match="disk is full"):
        StudyFolder.create(tmp_path / "study", AORTA)
    assert not (tmp_path / "study").exists()


# One writer


def test_a_case_is_held_by_one(folder: StudyFolder) -> None:
    assert folder.holder("c1") is None
    with folder.hold("c1"):
        holder = folder.holder("c1")
        assert holder is not None
        assert holder.process == os.getpid()
        with pytest.raises(CaseError, match=f"process {os.getpid()}"), StudyFolder.open(folder.path).hold("c1"):
            pass
    assert folder.holder("c1") is None
    with pytest.raises(CaseError, match="no case c9"):
        folder.hold("c9")


def test_the_machines_file_is_checked(folder: StudyFolder, config: Path) -> None:
    put(config / "roots.json", b'{"roots": {"a": 7}}')
    with pytest.raises(CaseError, match=r"roots\.json"):
        folder.add_root(config)
