"""Runs, maps of one run among several, views of a warm process, and *reviewed*, on a small simulated study."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stainloom import jobs
from stainloom.errors import CaseError, ModelError
from stainloom.io.casefile import StudyFolder
from stainloom.io.maps import open_maps
from stainloom.model.settings import PredictSettings, TrainSettings

_TRAINING = TrainSettings(
    features=16, warmup_steps=10, most_passes=1200, threads=1, learn_epochs=50, patience_epochs=50
)
_SETTINGS = PredictSettings(stride_px=28, threads=1)


def _rectangle(name: str, top: float, left: float, bottom: float, right: float) -> dict[str, object]:
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    properties = {"objectType": "annotation", "classification": {"name": name}}
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": properties}


@pytest.fixture(scope="module")
def trained(simulated_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with a run of one stain and a later one of all, on two classes that any network tells apart."""
    study = tmp_path_factory.mktemp("trained") / "study"
    shutil.copytree(simulated_study, study)
    folder = StudyFolder.open(study)
    outlines = study.with_name("outlines.geojson")
    features = [_rectangle("other", 50, 80, 86, 440), _rectangle("normal", 120, 120, 200, 440)]
    outlines.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    for case in folder.case_names():
        folder.labels_path(case).unlink()
        folder.snapshot_path(case).unlink()
        jobs.import_annotations(study, case, outlines)
        for stain in folder.study.moving:
            from stainloom.case.warp import Warp
            from stainloom.io.arrays import read_arrays

            arrays = read_arrays(simulated_study.with_name("study.truth") / case / f"{stain}.npz", 1 << 28)
            warp = Warp.from_arrays({k.removeprefix("warp_"): v for k, v in arrays.items() if k.startswith("warp_")})
            folder.save_warp(case, stain, warp, {"verdict": "good", "message": ""})
    jobs.normalize(study, workers=1)
    jobs.export(study, workers=1)
    jobs.train(study, TrainSettings(**{**vars(_TRAINING), "stains": ("VG",)}))
    jobs.train(study, _TRAINING)
    return study


@pytest.fixture
def study(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "study")
    return tmp_path / "study"


def _run_of(study: Path, stains: int) -> str:
    return next(run.id for run in jobs.known_runs(study) if len(run.stains) == stains)


def _served(study: Path, lines: list[str | dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """What a warm process says to these lines; the input stays open until all are answered."""
    said: list[tuple[str, dict[str, Any]]] = []
    wanted = sum(isinstance(line, dict) for line in lines)

    def given() -> Iterator[str]:
        for line in lines:
            yield line if isinstance(line, str) else json.dumps({"predict": line})
        while sum(kind == "answer" for kind, _ in said) < wanted:
            time.sleep(0.01)

    jobs.serve(study, given(), lambda kind, **content: said.append((kind, content)), idle_s=60)
    return said


def _asked(number: int, run: str, box: list[float], case: str = "S01", stride: int = 28) -> dict[str, Any]:
    return {"id": number, "run": run, "case": case, "box_um": box, "stride_px": stride}


def test_views_of_a_warm_process_hold_what_one_prediction_of_all_holds(study: Path) -> None:
    run = _run_of(study, 5)
    jobs.predict(study, _SETTINGS, cases=["S01"])
    folder = StudyFolder.open(study)
    expected = open_maps(folder.maps_path("S01", run))
    arrays = [one.whole() for one in (expected.class_map, expected.probabilities, expected.weights)]
    shutil.rmtree(folder.maps_path("S01", run))
    left, right = [0.0, 0.0, 1100.0, 500.0], [0.0, 500.0, 1100.0, 700.0]
    said = _served(study, [_asked(1, run, left), _asked(2, run, right, stride=7)])
    answers = [content for kind, content in said if kind == "answer"]
    assert [(answer["id"], answer["ending"]) for answer in answers] == [(1, "done"), (2, "done")]
    assert answers[0]["changed"] == [f"cases/S01/maps/{run}"]
    assert said[0][0] == "ready"
    found = open_maps(folder.maps_path("S01", run))
    for one, array in zip((found.class_map, found.probabilities, found.weights), arrays, strict=True):
        assert np.array_equal(one.whole(), array)


def test_a_warm_process_says_what_it_cannot_do_and_goes_on(study: Path) -> None:
    run = _run_of(study, 5)
    box = [0.0, 0.0, 1100.0, 500.0]
    lines: list[str | dict[str, Any]] = [
        "nonsense", _asked(1, run, [9000.0, 0.0, 50.0, 50.0]), _asked(2, "nowhere", box), _asked(3, run, [0, 0, 0, 0]),
        {"id": 4}, _asked(5, run, box, case="S99"), _asked(6, run, box),
    ]  # fmt: skip
    said = _served(study, lines)
    answers = {content["id"]: content["ending"] for kind, content in said if kind == "answer"}
    assert answers == {1: "failed", 2: "failed", 3: "failed", 4: "failed", 5: "failed", 6: "done"}
    errors = [content["detail"] for kind, content in said if kind == "error"]
    assert "holds no window of tissue" in errors[0]
    assert "no longer there" in errors[1]
    assert "S99" in errors[4]


def test_a_view_that_is_no_longer_wanted_leaves_nothing(study: Path) -> None:
    run = _run_of(study, 5)
    said: list[tuple[str, dict[str, Any]]] = []

    def lines() -> Iterator[str]:
        yield json.dumps({"predict": _asked(1, run, [0.0, 0.0, 1100.0, 1100.0])})
        yield "cancel"
        while not any(kind == "answer" for kind, _ in said):
            time.sleep(0.01)

    jobs.serve(study, lines(), lambda kind, **content: said.append((kind, content)), idle_s=60)
    assert [content["ending"] for kind, content in said if kind == "answer"] == ["cancelled"]
    assert jobs.maps_of(study, "S01") == ()


def test_a_warm_process_ends_when_nobody_asks(study: Path) -> None:
    said: list[str] = []

    def silence() -> Iterator[str]:
        while len(said) < 2:
            time.sleep(0.01)
        yield ""

    jobs.serve(study, silence(), lambda kind, **content: said.append(kind), idle_s=0.05)
    assert said == ["ready"]
    said.append("over")


def test_a_network_trained_anew_under_the_same_name_is_read_anew(study: Path) -> None:
    from stainloom.jobs.serving import ViewRequest, ViewServer

    run, other = _run_of(study, 5), _run_of(study, 1)
    server = ViewServer(study)
    request = ViewRequest(1, run, "S01", (0.0, 0.0, 1100.0, 500.0), 28)
    server.predict(request, lambda *args: None)
    first = server._network
    server.predict(request, lambda *args: None)
    assert server._network is first
    shutil.rmtree(study / "runs" / run)
    shutil.copytree(study / "runs" / other, study / "runs" / run)
    server.predict(request, lambda *args: None)
    assert server._network is not None
    assert server._network[1].run.stains == ("VG",)
    shutil.rmtree(study / "runs" / run)
    with pytest.raises(ModelError, match="no longer there"):
        server.predict(request, lambda *args: None)
    server.close()


def test_runs_are_listed_with_what_is_wrong_with_them(study: Path) -> None:
    alone, fused = jobs.known_runs(study)
    assert (alone.stains, len(fused.stains)) == (("VG",), 5)
    assert jobs.best_run((fused, alone)) is fused
    shutil.copytree(study / "runs" / fused.id, study / "runs" / "damaged")
    (study / "runs" / "damaged" / "run.json").write_text("{")
    record = json.loads((study / "runs" / fused.id / "run.json").read_text())
    shutil.copytree(study / "runs" / fused.id, study / "runs" / "foreign")
    (study / "runs" / "foreign" / "run.json").write_text(
        json.dumps({**record, "stains": ["CD31", *record["stains"][1:]]})
    )
    runs = {run.id: run for run in jobs.known_runs(study)}
    assert runs["foreign"].problem == "It was trained on CD31, which this study has not."
    assert "run.json" in runs["damaged"].problem
    best = jobs.best_run(tuple(runs.values()))
    assert best is not None
    assert best.id == fused.id
    # A damaged run beside it keeps nobody from predicting with a whole one.
    assert not jobs.predict(study, _SETTINGS, cases=["S01"]).problems


def test_maps_of_each_run_can_be_shown(study: Path) -> None:
    alone, fused = _run_of(study, 1), _run_of(study, 5)
    for run in (fused, alone):
        jobs.predict(study, _SETTINGS, run_id=run, cases=["S01"])
    assert jobs.maps_of(study, "S01") == (fused, alone)
    latest = jobs.open_maps_view(study, "S01")
    assert latest is not None
    assert latest.run == alone
    view = jobs.open_view(study, "S01", run=fused)
    view.close()
    maps = view.maps
    assert maps is not None
    assert tuple(maps.weights) == ("HE", "AB-PAS", "Masson", "SMA", "VG")
    bare = jobs.open_view(study, "S01", with_maps=False)
    bare.close()
    assert bare.maps is None
    row, col = (int(n) for n in np.argwhere(maps.class_map > 0)[7])
    probabilities, weights = maps.shares_at(row, col)
    np.testing.assert_allclose(probabilities, [maps.probability(n)[row, col] for n in range(len(maps.classes))])
    np.testing.assert_allclose(weights, [maps.weight(stain)[row, col] for stain in maps.weights])
    np.testing.assert_allclose(maps.certainty()[row, col], probabilities.max())
    with pytest.raises(CaseError, match="predicted nothing over case S02"):
        jobs.open_view(study, "S02", run=fused)


def test_maps_say_when_colours_changed_since(study: Path) -> None:
    jobs.predict(study, _SETTINGS, cases=["S01"])
    folder = StudyFolder.open(study)
    numbers = folder.normalization("S02", "SMA")
    assert numbers is not None
    folder.save_normalization("S01", "SMA", numbers)
    maps = jobs.open_maps_view(study, "S01")
    assert maps is not None
    assert (maps.realigned, maps.recoloured, maps.outdated) == ((), ("SMA",), ("SMA",))


def test_maps_say_which_stain_the_network_had_to_do_without(study: Path) -> None:
    jobs.leave_out(study, "S01", "SMA")
    jobs.predict(study, _SETTINGS, cases=["S01"])
    maps = jobs.open_maps_view(study, "S01")
    assert maps is not None
    assert (maps.without, maps.outdated) == (("SMA",), ())


def test_reviewed_holds_until_maps_or_paint_change(study: Path) -> None:
    def state() -> tuple[bool, bool]:
        case = jobs.survey(study).case("S01")
        return case.reviewed, case.review_old

    with pytest.raises(ModelError, match="no maps of case S01 to review"):
        jobs.mark_reviewed(study, "S01")
    jobs.predict(study, _SETTINGS, cases=["S01"])
    assert state() == (False, False)
    jobs.mark_reviewed(study, "S01")
    assert state() == (True, False)
    assert jobs.survey(study).case("S01").reviewed_run == _run_of(study, 5)
    assert "; reviewed" in jobs.show_study(study).text
    jobs.predict(study, _SETTINGS, cases=["S01"])  # the same once more
    assert state() == (True, False)
    outlines = study.with_name("more.geojson")
    outlines.write_text(json.dumps({"type": "FeatureCollection", "features": [_rectangle("MF", 300, 300, 340, 340)]}))
    jobs.import_annotations(study, "S01", outlines)
    jobs.transfer(study, cases=["S01"], stains=["VG"], workers=1)  # takes a snapshot, as every job that reads paint
    assert state() == (False, True)
    assert "reviewed before its maps or its paint changed" in jobs.show_study(study).text
    jobs.mark_reviewed(study, "S01")
    assert state() == (True, False)
    jobs.predict(study, PredictSettings(stride_px=56, threads=1), cases=["S01"])
    assert state() == (False, True)
    jobs.unmark_reviewed(study, "S01")
    assert state() == (False, False)


def test_patches_and_maps_that_are_older_than_what_they_were_made_from_show(study: Path) -> None:
    def state() -> tuple[bool, bool]:
        case = jobs.survey(study).case("S01")
        return case.patches_old, case.maps_old

    jobs.predict(study, _SETTINGS, cases=["S01"])
    assert state() == (False, False)
    folder = StudyFolder.open(study)
    first = folder.current_warp("S01", "SMA")
    other = folder.current_warp("S01", "VG")
    assert first is not None
    assert other is not None
    folder.save_warp("S01", "SMA", other[0], {"verdict": "good", "message": ""})
    assert state() == (True, True)
    assert not jobs.survey(study).case("S02").patches_old
    folder.save_warp("S01", "SMA", first[0], {"verdict": "good", "message": ""})
    assert state() == (False, False)
    outlines = study.with_name("more.geojson")
    outlines.write_text(json.dumps({"type": "FeatureCollection", "features": [_rectangle("MF", 300, 300, 340, 340)]}))
    jobs.import_annotations(study, "S01", outlines)
    jobs.transfer(study, cases=["S01"], stains=["VG"], workers=1)
    assert state() == (True, False)
    (study / "cases" / "S01" / "maps" / _run_of(study, 5) / "maps.json").write_text("{}")
    assert state() == (True, True)


def test_runs_know_whether_they_were_tested_on_the_same_windows(study: Path) -> None:
    first, second = jobs.trained(study).runs
    assert first.test is not None
    assert first.test.windows_id
    assert first.tested_on == second.tested_on


def test_a_case_that_another_holds_is_not_marked(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs.predict(study, _SETTINGS, cases=["S01"])
    with StudyFolder.open(study).hold("S01"):
        jobs.mark_reviewed(study, "S01")  # the window that holds it marks it itself
        monkeypatch.setattr("stainloom.jobs.reviewing.os.getpid", lambda: -5)
        with pytest.raises(CaseError, match="open elsewhere"):
            jobs.unmark_reviewed(study, "S01")
    (study / "cases" / "S01" / "reviewed.json").write_text("{}")
    assert jobs.survey(study).case("S01").review_old


def test_what_is_dropped_by_a_view_is_said(study: Path) -> None:
    jobs.predict(study, _SETTINGS, cases=["S01"])
    folder = StudyFolder.open(study)
    numbers = folder.normalization("S02", "SMA")
    assert numbers is not None
    folder.save_normalization("S01", "SMA", numbers)
    box = (0.0, 0.0, 1100.0, 500.0)
    outcome = jobs.predict(study, _SETTINGS, where="box", box_um=box, cases=["S01"])
    assert any("was dropped" in warning for warning in outcome.warnings)
