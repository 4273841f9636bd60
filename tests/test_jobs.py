"""The verbs on a small simulated study, where every job has a right answer."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from importlib.resources import as_file
from pathlib import Path

import cv2
import numpy as np
import pytest

from stainloom import jobs
from stainloom.case.warp import Warp
from stainloom.errors import CaseError, LabelError, ModelError, PatchError
from stainloom.io.arrays import read_arrays
from stainloom.io.casefile import StudyFolder
from stainloom.io.maps import list_maps, open_maps
from stainloom.io.patchset import open_patchset
from stainloom.io.runs import load_run
from stainloom.jobs import demo
from stainloom.jobs.controls import shift_stains
from stainloom.labels.transfer import dice
from stainloom.model.settings import PredictSettings, TrainSettings
from stainloom.patches.select import PatchSettings
from stainloom.progress import Cancelled
from stainloom.sample import real

_TRAINING = TrainSettings(
    features=32, warmup_steps=10, most_passes=1600, threads=1, learn_epochs=50, patience_epochs=50
)


def _rectangle(name: str, top: float, left: float, bottom: float, right: float) -> dict[str, object]:
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    properties = {"objectType": "annotation", "classification": {"name": name}}
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": properties}


@pytest.fixture
def told_apart(tiny_case: Path, tmp_path: Path) -> Path:
    """The tiny study painted anew: intima as *other*, media as *normal*, which any network tells apart."""
    folder = StudyFolder.open(tiny_case)
    outlines = tmp_path / "outlines.geojson"
    features = [_rectangle("other", 50, 80, 86, 440), _rectangle("normal", 120, 120, 200, 440)]
    outlines.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    for case in folder.case_names():
        folder.labels_path(case).unlink()
        folder.snapshot_path(case).unlink()
        jobs.import_annotations(tiny_case, case, outlines)
    return tiny_case


def _tree(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_labels_are_carried_to_where_the_truth_has_them(tiny_case: Path, simulated_study: Path) -> None:
    outcome = jobs.transfer(tiny_case, workers=1)
    folder = StudyFolder.open(tiny_case)
    assert len(outcome.changed) == 12
    assert not outcome.problems
    for case in folder.case_names():
        for stain in folder.study.moving:
            carried = folder.carried(case, stain)
            truth = read_arrays(simulated_study.with_name("study.truth") / case / f"{stain}.npz", 1 << 28)
            mask = truth["reference_mask"]
            assert carried is not None
            assert carried.shape == mask.shape
            for lesion in np.unique(mask[mask > 0]):
                assert dice(carried.raster == lesion, mask == lesion) > 0.97


def test_a_contact_sheet_and_the_checks_lie_with_the_truth(simulated_study: Path) -> None:
    truth = simulated_study.with_name("study.truth")
    sheet = cv2.imread(str(truth / "contact-sheet.png"))
    assert sheet.shape[0] > 5 * 200
    assert sheet.std() > 20
    checks = "\n".join(json.loads((truth / "facts.json").read_text())["checks"])
    assert "nuclei shared with another section" in checks
    assert "logistic regression on mean colours" in checks


def test_alignment_finds_the_true_place_of_a_stain(simulated_study: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    shutil.copytree(simulated_study, study)
    outcome = jobs.register(study, cases=["S01"], stains=["SMA"], workers=1)
    folder = StudyFolder.open(study)
    assert [slide["stain"] for slide in outcome.figures["slides"]] == ["SMA"]
    found = folder.current_warp("S01", "SMA")
    assert found is not None
    truth = read_arrays(simulated_study.with_name("study.truth") / "S01" / "SMA.npz", 1 << 28)
    fixed = read_arrays(simulated_study.with_name("study.truth") / "S01" / "HE.npz", 1 << 28)["landmarks_um"]
    error = np.linalg.norm(found[0].points(fixed) - truth["landmarks_um"], axis=1)
    assert np.median(error) < 25
    assert found[1]["settings"]["work_px"] > 0


def test_the_road_from_paint_to_maps_and_report(told_apart: Path) -> None:
    study = told_apart
    jobs.normalize(study, workers=1)
    exported = jobs.export(study, PatchSettings(), workers=1)
    assert exported.figures["classes"]["other"] > 30
    assert exported.figures["classes"]["normal"] > 30
    trained = jobs.train(study, _TRAINING)
    alone = jobs.train(study, TrainSettings(**{**vars(_TRAINING), "stains": ("VG",)}))
    assert trained.figures["test"]["accuracy"] > 0.8
    (case,) = jobs.held_out_cases(study)
    settings = PredictSettings(stride_px=28)
    jobs.predict(study, settings, cases=[case])
    folder = StudyFolder.open(study)
    (run_id,) = list_maps(folder.case_path(case) / "maps")
    assert run_id == trained.figures["run"]
    maps = open_maps(folder.case_path(case) / "maps" / run_id)
    there = maps.class_map.whole() > 0
    assert 0.3 < there.mean() < 0.95
    weights = maps.weights.whole()
    assert weights.shape[0] == 5
    assert (weights[:, ~there] == 0).all()
    control = jobs.train(study, replace(_TRAINING, control="shuffled labels", most_passes=320))
    assert control.figures["test"]["samples"] == trained.figures["test"]["samples"]
    report = jobs.report(study, cases=[case])
    assert trained.figures["run"] in report.changed[0]
    page = (study / report.changed[0]).read_text()
    assert "Simulated" in page
    assert "research use only" in page
    assert page.count("data:image/png") >= 5
    assert set(report.figures["scores"]) == {"5 stains fused", "VG alone"}
    assert load_run(folder.run_path(alone.figures["run"])).stains == ("VG",)
    view = jobs.open_view(study, case)
    try:
        assert view.maps is not None
        assert set(view.maps.weights) == set(folder.study.stain_names)
        assert [stain.verdict for stain in view.stains] == ["reference", "good", "good", "good", "good"]
        assert view.maps.realigned == view.maps.without == ()
        assert view.labels is not None
        assert view.simulated
    finally:
        view.close()
    _the_report_names_what_it_lacks(folder, case)
    _parts_add_up(folder, case, settings)
    _what_changed_since_is_said(folder, case, settings)


def _parts_add_up(folder: StudyFolder, case: str, settings: PredictSettings) -> None:
    """Two boxes predicted after each other hold what one prediction of all holds there."""
    parent = folder.case_path(case) / "maps"
    (run_id,) = list_maps(parent)
    whole = open_maps(parent / run_id).class_map.whole()
    shutil.rmtree(parent / run_id)
    left, right = (0.0, 0.0, 1100.0, 500.0), (0.0, 500.0, 1100.0, 700.0)
    assert not jobs.predict(folder.path, settings, where="box", box_um=left, cases=[case]).problems
    first = open_maps(parent / run_id).class_map.whole()
    assert (first[:, : 450 // 28] > 0).any()
    assert (first[:, 520 // 28 :] == 0).all()
    assert not jobs.predict(folder.path, settings, where="box", box_um=right, cases=[case]).problems
    both = open_maps(parent / run_id).class_map.whole()
    assert np.array_equal(both[first > 0], first[first > 0])
    assert np.array_equal(both[whole > 0], whole[whole > 0])
    glass = open_maps(parent / run_id).class_map.whole() > 0
    assert not glass[0].any()  # the first row of windows lies on the margin of glass
    outside = jobs.predict(folder.path, settings, where="box", box_um=(5000, 5000, 50, 50), cases=[case])
    assert "the box holds no window of tissue" in str(outside.problems[0])


def _what_changed_since_is_said(folder: StudyFolder, case: str, settings: PredictSettings) -> None:
    """Maps older than an alignment are called so, and raw colours never reach a network that learned normalized ones."""
    current = folder.current_warp(case, "SMA")
    assert current is not None
    nudge = Warp.from_affine(np.array([[1.0, 0.0, 3.0], [0.0, 1.0, 0.0]]))
    folder.save_warp(case, "SMA", current[0].then(nudge), current[1])
    view = jobs.open_view(folder.path, case)
    assert view.maps is not None
    assert view.maps.realigned == ("SMA",)
    view.close()
    (folder.case_path(case) / "normalization" / "SMA.json").unlink()
    (refused,) = jobs.predict(folder.path, settings, cases=[case]).problems
    assert refused.stain == "SMA"
    assert "is not normalized" in str(refused)
    assert "stainloom normalize" in str(refused)


def test_the_same_twice_gives_equal_bytes(told_apart: Path, simulated_study: Path) -> None:
    results = []
    for _ in range(2):
        jobs.transfer(told_apart, workers=1)
        jobs.normalize(told_apart, workers=1)
        patchset = jobs.export(told_apart, workers=1).figures["patchset"]
        run = load_run(told_apart / "runs" / jobs.train(told_apart, _TRAINING).figures["run"])
        weights = {name: hashlib.sha256(value.tobytes()).hexdigest() for name, value in run.weights.items()}
        folder = StudyFolder.open(told_apart)
        carried = folder.carried("S02", "VG")
        assert carried is not None
        results.append((patchset, weights, hashlib.sha256(carried.raster.tobytes()).hexdigest()))
        shutil.rmtree(told_apart / "patchsets")
    assert results[0] == results[1]


def test_no_job_reads_the_truth(simulated_study: Path, tmp_path: Path) -> None:
    ids = []
    for name in ("with", "without"):
        study = tmp_path / name / "study"
        shutil.copytree(simulated_study, study)
        if name == "with":
            shutil.copytree(simulated_study.with_name("study.truth"), study.with_name("study.truth"))
        jobs.register(study, cases=["S02"], workers=1)
        jobs.normalize(study, cases=["S02"], workers=1)
        jobs.transfer(study, cases=["S02"], workers=1)
        ids.append(_tree(study / "cases" / "S02" / "carried") | _tree(study / "cases" / "S02" / "normalization"))
    assert ids[0] == ids[1]


def test_a_study_moved_elsewhere_opens_there(told_apart: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "another place" / "renamed"
    elsewhere.parent.mkdir()
    told_apart.rename(elsewhere)
    assert "S01" in jobs.show_study(elsewhere).text
    jobs.transfer(elsewhere, cases=["S01"], workers=1)
    jobs.open_view(elsewhere, "S01").close()


def test_a_case_sent_alone_is_a_study_of_its_own(told_apart: Path, tmp_path: Path) -> None:
    jobs.pack(told_apart, case="S02", target=tmp_path / "sent")
    shutil.rmtree(told_apart)
    jobs.transfer(tmp_path / "sent", workers=1)
    view = jobs.open_view(tmp_path / "sent")
    assert view.case.name == "S02"
    assert view.labels is not None
    view.close()


def test_outlines_come_back_as_they_were_painted(told_apart: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.geojson"
    jobs.export_annotations(told_apart, "S01", out)
    features = json.loads(out.read_text())["features"]
    assert [f["properties"]["classification"]["name"] for f in features] == ["other", "normal"]
    assert features[0]["geometry"] == _rectangle("other", 50, 80, 86, 440)["geometry"]
    with pytest.raises(LabelError, match="stainloom transfer"):
        jobs.export_annotations(told_apart, "S01", out, stain="SMA")
    jobs.transfer(told_apart, cases=["S01"], stains=["SMA"], workers=1)
    jobs.export_annotations(told_apart, "S01", out, stain="SMA")
    assert len(json.loads(out.read_text())["features"]) == 2


def test_outlines_of_no_class_are_kept_and_said(tiny_case: Path, tmp_path: Path) -> None:
    file = tmp_path / "odd.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": [_rectangle("Tumor", 10, 10, 20, 20)]}))
    outcome = jobs.import_annotations(tiny_case, "S01", file)
    assert outcome.figures["painted"] == 0
    assert "Tumor" in outcome.warnings[0]


def test_outlines_beyond_the_slide_are_said(tiny_case: Path, tmp_path: Path) -> None:
    file = tmp_path / "scale.geojson"
    features = [
        _rectangle("MF", 5000, 5000, 5100, 5100),
        _rectangle("MF", 100, 100, 140, 5000),
        _rectangle("MF", 9, 9, 9.2, 9.2),
    ]
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    outcome = jobs.import_annotations(tiny_case, "S01", file)
    assert outcome.figures["painted"] == 1
    off, partly, small = outcome.warnings
    assert "object 1 reaches beyond the slide of " in off
    assert "nothing was painted. Was the file made at another scale?" in off
    assert "object 2 reaches beyond" in partly
    assert "only what lies on it was painted" in partly
    assert "object 3 is smaller than a pixel" in small


def _the_report_names_what_it_lacks(folder: StudyFolder, case: str) -> None:
    other = next(name for name in folder.case_names() if name != case)
    slide, file = (
        folder.slide_path(folder.case(case), folder.case(case).slide("VG")),
        folder.case_path(other) / "case.json",
    )
    content = file.read_text()
    file.write_text("{}")
    slide.rename(slide.with_name("gone"))
    report = jobs.report(folder.path)
    assert len(report.problems) == 2
    page = (folder.path / report.changed[0]).read_text()
    assert all(f"Left out: {problem.what}" in page for problem in report.problems)
    slide.with_name("gone").rename(slide)
    file.write_text(content)


def test_each_missing_step_names_the_next_one(simulated_study: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    shutil.copytree(simulated_study, study)
    with pytest.raises(PatchError, match="stainloom export"):
        jobs.train(study)
    with pytest.raises(ModelError, match="stainloom train"):
        jobs.predict(study)
    with pytest.raises(ModelError, match="stainloom train"):
        jobs.report(study)
    with pytest.raises(CaseError, match="S99"):
        jobs.register(study, cases=["S99"])
    with pytest.raises(CaseError, match="no such stain"):
        jobs.register(study, stains=["PAS"])
    jobs.new_study(tmp_path / "empty", "aorta")
    with pytest.raises(CaseError, match="stainloom case add"):
        jobs.register(tmp_path / "empty")
    StudyFolder.open(study).labels_path("S01").unlink()
    with pytest.raises(LabelError, match="annotations import"):
        jobs.transfer(study, cases=["S01"])


def test_a_stain_that_is_not_aligned_is_treated_as_missing_and_said(told_apart: Path) -> None:
    folder = StudyFolder.open(told_apart)
    found = folder.current_warp("S01", "VG")
    assert found is not None
    folder.save_warp("S01", "VG", found[0], {"verdict": "failed", "message": "turned over"})
    outcome = jobs.export(told_apart, workers=1)
    assert any("S01, VG: failed" in warning and "missing" in warning for warning in outcome.warnings)
    patches = open_patchset(told_apart / "patchsets" / outcome.figures["patchset"])
    there = patches.present[:, patches.stain_names.index("VG")]
    assert not there[patches.cases == "S01"].any()
    assert there[patches.cases == "S02"].all()


def test_one_case_that_is_not_painted_does_not_stop_the_others(told_apart: Path) -> None:
    folder = StudyFolder.open(told_apart)
    folder.labels_path("S02").unlink()
    folder.snapshot_path("S02").unlink()
    outcome = jobs.transfer(told_apart, workers=1)
    assert [problem.what for problem in outcome.problems] == ["nothing is painted in case S02"]
    assert len(outcome.changed) == 8
    with pytest.raises(PatchError, match=r"three patients.*nothing is painted in case S02"):
        jobs.export(told_apart, workers=1)


def test_labels_carried_before_a_new_alignment_are_said_to_be_old(told_apart: Path, tmp_path: Path) -> None:
    folder = StudyFolder.open(told_apart)
    jobs.transfer(told_apart, cases=["S01"], stains=["VG"], workers=1)
    assert "carried before" not in jobs.show_study(told_apart).text
    assert jobs.export_annotations(told_apart, "S01", tmp_path / "a.geojson", stain="VG").warnings == ()
    other = folder.current_warp("S01", "SMA")
    assert other is not None
    folder.save_warp("S01", "VG", other[0], {"verdict": "good", "message": ""})
    assert "carried before the last alignment: VG" in jobs.show_study(told_apart).text
    outcome = jobs.export_annotations(told_apart, "S01", tmp_path / "a.geojson", stain="VG")
    assert "stainloom transfer" in outcome.warnings[0]


def test_a_slide_that_is_gone_is_said(told_apart: Path) -> None:
    (told_apart / "slides" / "S01" / "VG.ome.tif").unlink()
    assert "VG good (SLIDE NOT FOUND)" in jobs.show_study(told_apart).text


def test_a_case_in_a_read_only_folder_can_be_looked_at(told_apart: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stainloom.jobs.opening.os.access", lambda path, mode: False)
    before = _tree(told_apart)
    view = jobs.open_view(told_apart, "S01")
    assert view.labels is not None
    assert set(np.unique(view.labels)) == {0, 5, 6}
    view.close()
    assert _tree(told_apart) == before


def test_a_training_that_was_cancelled_goes_on_and_equals_one_that_was_not(told_apart: Path) -> None:
    jobs.export(told_apart, workers=1)
    asked = iter(["go"] * 20 + ["cancel"] * 1000)
    with pytest.raises(Cancelled):
        jobs.train(told_apart, _TRAINING, control=lambda: next(asked))
    resumed = load_run(told_apart / "runs" / jobs.train(told_apart, _TRAINING, resume=True).figures["run"])
    whole = load_run(told_apart / "runs" / jobs.train(told_apart, _TRAINING).figures["run"])
    assert all((resumed.weights[name] == whole.weights[name]).all() for name in whole.weights)
    with pytest.raises(ModelError, match="ended at its limits"):
        jobs.train(told_apart, _TRAINING, resume=True)
    with pytest.raises(ModelError, match="no training to go on with"):
        jobs.train(told_apart, replace(_TRAINING, seed=7), resume=True)


def test_shifted_stains_share_nothing_with_their_study(told_apart: Path, tmp_path: Path) -> None:
    before = _tree(told_apart)
    height, width = shift_stains(told_apart, tmp_path / "shifted")
    assert (height, width) == (160.0, 720.0)
    folder, copy = StudyFolder.open(told_apart), StudyFolder.open(tmp_path / "shifted")
    steps = [np.zeros(2)]
    for stain in folder.study.moving:
        one, other = folder.current_warp("S01", stain), copy.current_warp("S01", stain)
        assert one is not None
        assert other is not None
        assert len(other[0].steps) == len(one[0].steps) + 1
        steps.append(other[0].steps[0].affine[:, 2])
    apart = np.abs(np.array(steps)[:, None] - np.array(steps)[None])
    different = ~np.eye(len(steps), dtype=bool)
    assert ((apart[..., 0] >= height) | (apart[..., 1] >= width))[different].all()
    jobs.import_landmarks(tmp_path / "shifted", "S01", tmp_path)
    assert _tree(told_apart) == before


def test_a_demo_never_removes_what_no_demo_made(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "mine.txt").write_text("years of work")
    with pytest.raises(CaseError, match="--out"):
        demo.simulated(tmp_path, tell=lambda text: None, window=False)
    assert (tmp_path / "study" / "mine.txt").read_text() == "years of work"
    (tmp_path / "demo.json").write_text('{"mine": 1}')
    with pytest.raises(CaseError, match="--out"):
        demo.simulated(tmp_path, tell=lambda text: None, window=False)
    assert (tmp_path / "study" / "mine.txt").read_text() == "years of work"
    assert (tmp_path / "demo.json").read_text() == '{"mine": 1}'


def test_a_demo_replaces_what_an_earlier_demo_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Simulated(Exception):
        """The first step was reached."""

    def stop(study: Path, *words: object, **options: object) -> None:
        assert not study.exists()
        study.mkdir()
        raise Simulated

    monkeypatch.setattr(jobs, "simulate", stop)
    for _ in range(2):
        with pytest.raises(Simulated):
            demo.simulated(tmp_path / "new" / "demo", tell=lambda text: None, window=False)


@pytest.mark.real
def test_the_real_case_is_aligned_and_its_landmarks_come_closer(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAINLOOM_CONFIG", str(tmp_path / "config"))
    study, slides = tmp_path / "study", real_data / real.FOLDER
    jobs.new_study(study, "lung")
    jobs.add_case(study, slides, name="lung", patient=real.PATIENT, um_per_px=real.UM_PER_PX)
    jobs.import_landmarks(study, "lung", slides / "landmarks", scale=real.LANDMARK_SCALE)
    outcome = jobs.register(study, stains=["CD31"], workers=1)
    (row,) = outcome.figures["slides"]
    assert row["landmarks"]["count"] == 80
    assert row["landmarks"]["median_before_um"] == pytest.approx(250, abs=3)
    assert row["landmarks"]["median_of_diagonal"] < 0.012
    with as_file(real.outlines()) as file:
        assert jobs.import_annotations(study, "lung", file).figures["painted"] == 2
    jobs.transfer(study, stains=["CD31"], workers=1)
    carried = StudyFolder.open(study).carried("lung", "CD31")
    assert carried is not None
    assert set(np.unique(carried.raster)) == {0, 1, 2}
