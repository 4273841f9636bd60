"""docs/formats.md tells other programs the truth: every example in it is read by the readers of the study folder."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from stainloom.case.warp import Warp
from stainloom.io.casefile import FORMAT_VERSION, StudyFolder
from stainloom.io.hold import read_holder
from stainloom.io.intake import read_source
from stainloom.io.protocol import protocol_content, protocol_from_json
from stainloom.io.roots import known_roots

FORMATS = Path(__file__).parents[2] / "docs" / "formats.md"


@pytest.fixture(scope="module")
def examples() -> dict[str, str]:
    """The first example below each heading."""
    if not FORMATS.is_file():
        pytest.skip("the documents are not beside the tests")
    sections = re.split(r"^## ", FORMATS.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    found = {}
    for section in sections:
        block = re.search(r"```(?:json|csv)\n(.*?)```", section, flags=re.DOTALL)
        if block:
            found[section.split("\n", 1)[0]] = block.group(1)
    return found


@pytest.fixture
def study(tmp_path: Path, examples: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> StudyFolder:
    """A study folder written by hand from the examples."""
    monkeypatch.setenv("STAINLOOM_CONFIG", str(tmp_path))
    folder = tmp_path / "study"
    (folder / "cases" / "c1" / "normalization").mkdir(parents=True)
    for heading in ("study.json", "cases/NAME/case.json", "cases/NAME/landmarks.json", "cases/NAME/holder.json"):
        (folder / heading.replace("NAME", "c1")).write_text(examples[heading])
    (folder / "cases" / "c1" / "normalization" / "SMA.json").write_text(examples["cases/NAME/normalization/STAIN.json"])
    return StudyFolder.open(folder)


def same(one: object, other: str) -> bool:
    return json.dumps(one) == json.dumps(json.loads(other))


def test_the_version_is_the_documents(examples: dict[str, str]) -> None:
    assert f"here: **{FORMAT_VERSION}**" in FORMATS.read_text(encoding="utf-8")
    assert json.loads(examples["study.json"])["version"] == FORMAT_VERSION


def test_study_and_case_are_as_described(study: StudyFolder, examples: dict[str, str]) -> None:
    case = study.case("c1")
    assert study.study.label_um == 2.0
    assert (case.patient, case.block, case.slides["PAS"].root) == ("P017", "B2", "scans-3fa2c1")
    study.save_study()
    study.save_case(case)
    # Written again: the same keys in the same order.
    assert same(json.loads((study.path / "study.json").read_text()), examples["study.json"])
    assert same(json.loads((study.case_path("c1") / "case.json").read_text()), examples["cases/NAME/case.json"])


def test_landmarks_and_normalization_are_as_described(study: StudyFolder, examples: dict[str, str]) -> None:
    landmarks = study.landmarks("c1")
    np.testing.assert_array_equal(landmarks["SMA"], [[1498.0, 861.5], [np.nan, np.nan]])
    study.save_landmarks("c1", landmarks)
    written = json.loads((study.case_path("c1") / "landmarks.json").read_text())
    assert same(written, examples["cases/NAME/landmarks.json"])
    assert study.normalization("c1", "SMA") == {"method": "macenko"}


def test_a_holder_is_as_described(study: StudyFolder, examples: dict[str, str]) -> None:
    found = read_holder(study.case_path("c1") / "holder.json")
    assert found is not None
    assert found.said == "anna on pathology-3 (process 4211) since 2026-11-22 10:00 UTC"
    os.utime(study.case_path("c1") / "holder.json", (0, 0))
    with study.hold("c1"):
        written = json.loads((study.case_path("c1") / "holder.json").read_text())
    assert list(written) == list(json.loads(examples["cases/NAME/holder.json"]))


def test_warps_and_carried_labels_are_as_described(study: StudyFolder, examples: dict[str, str]) -> None:
    warp = Warp.from_affine(np.array([[1, 0, 3.0], [0, 1, 4.0]]))
    id = study.save_warp("c1", "SMA", warp, {"trusted": True})
    written = json.loads((study.case_path("c1") / "warps" / "SMA" / id / "quality.json").read_text())
    assert same(written, examples["cases/NAME/warps/STAIN/"])
    said = json.loads(examples["cases/NAME/carried/STAIN/"])
    raster = np.zeros(said["size_px"], np.uint8)
    id = study.save_carried("c1", "SMA", raster, 2.0, labels_id=said["labels_id"], warp_id=said["warp_id"])
    written = json.loads((study.case_path("c1") / "carried" / "SMA" / id / "carried.json").read_text())
    assert same(written, examples["cases/NAME/carried/STAIN/"])


def test_a_protocol_is_as_described(tmp_path: Path, examples: dict[str, str]) -> None:
    (tmp_path / "kidney.json").write_text(examples["A protocol of one's own"])
    protocol = protocol_from_json(tmp_path / "kidney.json")
    assert protocol_content(protocol)["stains"][0] == {"name": "PAS", "words": ["pas"], "dyes": []}


def test_the_machines_file_is_as_described(
    tmp_path: Path, examples: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAINLOOM_CONFIG", str(tmp_path))
    heading = next(heading for heading in examples if heading.startswith("roots.json"))
    (tmp_path / "roots.json").write_text(examples[heading])
    assert known_roots() == {"scans-3fa2c1": Path("/data/scans")}


def test_a_table_is_as_described(study: StudyFolder, tmp_path: Path, examples: dict[str, str]) -> None:
    (tmp_path / "2026").mkdir()
    for name in ("P017_B2_PAS.svs", "P017_B2_SMA.png"):
        (tmp_path / "2026" / name).write_bytes(b"x")
    (tmp_path / "slides.csv").write_text(examples["The table of slides (CSV)"])
    rows = read_source(tmp_path / "slides.csv", study.study)
    assert [(row.case, row.stain, row.um_per_px) for row in rows] == [("c1", "PAS", None), ("c1", "SMA", 0.5)]
