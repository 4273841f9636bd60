"""The Review dock in a window, with the warm process and a network that was really trained."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_plugin_annotate import stroke

from stainloom import jobs
from stainloom.io.casefile import StudyFolder
from stainloom.plugin.overlay import CLASSES, Overlay

pytestmark = pytest.mark.screen

_TRAIN = ("--features", "16", "--warmup-steps", "10", "--most-passes", "1200", "--threads", "1", "--learn-epochs", "50")


def _rectangle(name, top, left, bottom, right):
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    properties = {"objectType": "annotation", "classification": {"name": name}}
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": properties}


def _run(*command: str) -> None:
    # A process of its own: no process with a window may load torch.
    subprocess.run([sys.executable, "-m", "stainloom.cli", *command], check=True, capture_output=True)


@pytest.fixture(scope="module")
def trained(simulated_study, tmp_path_factory) -> Path:
    from stainloom.case.warp import Warp
    from stainloom.io.arrays import read_arrays

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
            arrays = read_arrays(simulated_study.with_name("study.truth") / case / f"{stain}.npz", 1 << 28)
            warp = Warp.from_arrays({k.removeprefix("warp_"): v for k, v in arrays.items() if k.startswith("warp_")})
            folder.save_warp(case, stain, warp, {"verdict": "good", "message": ""})
    _run("normalize", str(study), "--workers", "1")
    _run("export", str(study), "--workers", "1")
    _run("train", str(study), *_TRAIN)
    return study


@pytest.fixture
def study(trained, tmp_path) -> Path:
    shutil.copytree(trained, tmp_path / "study")
    return tmp_path / "study"


@pytest.fixture
def docks(make_napari_viewer, qtbot):
    from stainloom.plugin.window import Docks
    from stainloom.plugin.workspace import Workspace

    viewer = make_napari_viewer(show=True)
    made = Docks(Workspace(viewer), ask=lambda title: "stop")
    made.show("Review")
    yield made
    settle(made, qtbot)
    made.workspace.warm.close()
    made.workspace.queue.stop()
    made.workspace.close_case()


def settle(docks, qtbot) -> None:
    """Until nothing is read any more beside the window."""
    workspace = docks.workspace

    def quiet() -> bool:
        return workspace.settled and not (workspace.predicted._looking or docks.docks["Review"]._busy)

    for _ in range(2):
        qtbot.waitUntil(quiet, timeout=30_000)
        qtbot.wait(50)


def ended(dock, qtbot, timeout=120_000) -> None:
    qtbot.waitUntil(lambda: dock.controls.job is None, timeout=timeout)


def said(dock) -> str:
    from qtpy.QtWidgets import QLabel

    return "\n".join(label.text() for label in dock.messages.findChildren(QLabel) if not label.isHidden())


def test_a_view_is_predicted_by_one_warm_process_and_appears_in_place(docks, study, qtbot):
    workspace, dock = docks.workspace, docks.docks["Review"]
    assert not dock.view.isEnabled()
    assert dock.first.text() == "Go to Cases"
    workspace.open_study(study, "S01")
    settle(docks, qtbot)
    session = workspace.session
    assert dock.state.text() == "S01: this run predicted nothing here yet."
    assert dock.view.isEnabled()
    assert not dock.chooser.isEnabled()
    assert not dock.mark.isEnabled()
    session.look_at((20, 100, 220, 400))
    camera = workspace.viewer.scene.camera
    before = camera.center, camera.zoom, list(workspace.viewer.layers)
    dock.detail.setCurrentIndex(2)
    dock.view.click()
    assert dock.controls.cancel.isEnabled()
    assert not dock.view.isEnabled()
    ended(dock, qtbot)
    qtbot.waitUntil(lambda: "This view is predicted." in said(dock), timeout=5000)
    qtbot.waitUntil(lambda: session.overlay.shown == CLASSES, timeout=20_000)
    assert workspace.session is session
    assert (camera.center, camera.zoom) == before[:2]
    assert [layer.name for layer in workspace.viewer.layers if layer not in before[2]] == ["Predicted class"]
    assert (session.maps.class_map > 0).any()
    assert session.maps.class_map[20:].sum() == 0
    assert dock.chooser.isEnabled()
    child, layer = workspace.warm._child, session.layers.predicted
    area = (session.maps.class_map > 0).sum()

    session.show_overlay(Overlay("weight", "VG"), now=True)
    session.look_at((20, 500, 220, 800))
    dock.view.click()
    ended(dock, qtbot)
    qtbot.waitUntil(lambda: (session.maps.class_map > 0).sum() > area, timeout=20_000)
    settle(docks, qtbot)
    assert workspace.warm._child is child
    assert session.overlay.shown == Overlay("weight", "VG")
    row, col = (int(places[0]) for places in (session.maps.class_map > 0).nonzero())
    assert session.layers.shares.data[row, col] == pytest.approx(session.maps.shares_at(row, col)[1][4])
    assert layer not in workspace.viewer.layers  # hidden, it would still hold what was predicted before

    # Reviewed, painted after it and undone, taken back, and gone with the window.
    dock.mark.click()
    settle(docks, qtbot)
    assert workspace.case.reviewed
    assert dock.mark.text() == "Not reviewed after all"
    workspace.painter.choose(2)
    stroke(workspace.painter, [(20, 20), (20, 60)])
    qtbot.waitUntil(lambda: workspace.case.review_old, timeout=20_000)
    workspace.painter.undo()
    qtbot.waitUntil(lambda: workspace.case.reviewed, timeout=20_000)
    dock.mark.click()
    settle(docks, qtbot)
    assert not workspace.case.reviewed
    workspace.warm.close()
    assert child.poll() is not None


def test_cancel_and_a_death_from_outside_leave_the_window_and_the_maps_as_they_were(docks, study, qtbot):
    workspace, dock = docks.workspace, docks.docks["Review"]
    workspace.open_study(study, "S01")
    settle(docks, qtbot)
    dock.detail.setCurrentIndex(0)
    dock.view.click()
    with qtbot.waitSignal(workspace.warm.job.progressed, timeout=60_000, check_params_cb=lambda share, *_: share > 0):
        pass
    dock.controls.cancel.click()
    ended(dock, qtbot, 10_000)
    qtbot.waitUntil(lambda: "Cancelled" in said(dock), timeout=5000)
    assert jobs.maps_of(study, "S01") == ()
    assert dock.view.isEnabled()

    child = workspace.warm._child
    os.kill(child.pid, signal.SIGKILL)
    qtbot.waitUntil(lambda: workspace.warm._child is None, timeout=10_000)
    dock.view.click()
    with qtbot.waitSignal(workspace.warm.job.progressed, timeout=60_000, check_params_cb=lambda share, *_: share > 0):
        pass
    assert workspace.warm._child is not child
    workspace.warm._child.kill()
    ended(dock, qtbot, 10_000)
    qtbot.waitUntil(lambda: "ended from outside" in said(dock), timeout=5000)
    assert jobs.maps_of(study, "S01") == ()


def test_a_map_is_out_of_the_way_while_a_stain_is_turned_by_hand(docks, study, qtbot):
    workspace = docks.workspace
    _run("predict", str(study), "--case", "S01", "--stride-px", "28")
    workspace.open_study(study, "S01")
    qtbot.waitUntil(lambda: workspace.session.overlay.shown == CLASSES, timeout=30_000)
    settle(docks, qtbot)
    docks.show("Align")
    align = docks.docks["Align"]
    align.panel.turn_by_hand("SMA")
    qtbot.waitUntil(lambda: align.panel.page is not None, timeout=20_000)
    assert workspace.session.overlay.shown is None
    align.panel.cancel()
    assert workspace.session.overlay.shown == CLASSES


def test_the_map_that_is_looked_at_lies_over_the_next_case_and_comes_back(docks, study, qtbot):
    workspace, dock = docks.workspace, docks.docks["Review"]
    _run("predict", str(study), "--case", "S01", "--case", "S02", "--stride-px", "28")
    workspace.open_study(study, "S01")

    def shows(case: str, overlay: Overlay | None) -> None:
        def so() -> bool:
            session = workspace.session
            return session.view.case.name == case and session.maps is not None and session.overlay.shown == overlay

        qtbot.waitUntil(so, timeout=30_000)
        settle(docks, qtbot)

    shows("S01", CLASSES)  # who opens Review wants to see what was predicted
    qtbot.waitUntil(lambda: len(dock.regions.regions) > 0, timeout=20_000)
    workspace.session.show_overlay(Overlay("weight", "VG"), now=True)
    dock.regions.fly_to_next()
    assert dock.frame.edges_um == dock.regions.regions[0].edges_um
    assert all(line.visible for line in dock.frame._lines)
    workspace.step(1)
    shows("S02", Overlay("weight", "VG"))
    assert dock.frame.edges_um is None
    workspace.memory.keep()
    workspace.close_study()
    workspace.memory._map = None
    workspace.open_study(study)
    shows("S02", Overlay("weight", "VG"))
    workspace.session.show_overlay(None)
    workspace.step(-1)
    shows("S01", None)  # who took the map off does not want it


def test_a_run_that_is_deleted_and_maps_that_are_damaged_are_messages(docks, study, qtbot):
    workspace, dock = docks.workspace, docks.docks["Review"]
    _run("predict", str(study), "--case", "S01", "--case", "S02", "--stride-px", "28")
    workspace.open_study(study, "S01")
    settle(docks, qtbot)
    run = workspace.predicted.run
    assert dock.run.currentData() == run
    qtbot.waitUntil(lambda: len(dock.regions.regions) > 0, timeout=20_000)
    dock.regions.fly_to_next()
    assert workspace.session.overlay.shown == CLASSES

    shutil.rmtree(study / "runs" / run)
    workspace.refresh()
    settle(docks, qtbot)
    assert dock.run.currentText() == f"{run} (run deleted)"
    assert "was deleted" in dock.why.text()
    assert not dock.case.isEnabled()
    assert workspace.session.maps is not None

    shutil.rmtree(study / "cases" / "S02" / "maps" / run / "weights")
    workspace.open_case("S02")
    settle(docks, qtbot)
    assert "weights" in dock.outdated.text()
    assert workspace.session.maps is None
    assert dock.run.count() == 1


def test_a_newer_network_leaves_the_map_and_two_are_compared_by_one_button(docks, study, qtbot):
    workspace, dock = docks.workspace, docks.docks["Review"]
    _run("predict", str(study), "--case", "S01", "--stride-px", "28")
    workspace.open_study(study, "S01")
    settle(docks, qtbot)
    first = workspace.predicted.run
    assert workspace.session.overlay.shown == CLASSES
    assert not dock.other.isVisible()
    dock.mark.click()
    qtbot.waitUntil(lambda: dock.mark.text() == "Not reviewed after all", timeout=20_000)

    second = "20990101-000000-ffffff"
    shutil.copytree(study / "runs" / first, study / "runs" / second)
    record = json.loads((study / "runs" / second / "run.json").read_text())
    (study / "runs" / second / "run.json").write_text(
        json.dumps({**record, "id": second} if "id" in record else record)
    )
    workspace.refresh()
    qtbot.waitUntil(lambda: workspace.predicted.newer == second, timeout=20_000)
    assert workspace.predicted.run == first
    assert workspace.session.overlay.shown == CLASSES
    assert dock.other.text().startswith("Use the newer one: 5 stains")

    dock.other.click()
    qtbot.waitUntil(lambda: workspace.predicted.run == second, timeout=20_000)
    settle(docks, qtbot)
    assert workspace.predicted.maps is None
    assert dock.other.text().startswith("Compare with the map of 5 stains")
    _run("predict", str(study), "--run", second, "--case", "S01", "--stride-px", "56")
    workspace.refresh()
    qtbot.waitUntil(lambda: workspace.predicted.maps is not None, timeout=20_000)
    assert "reviewed with another map" in dock.state.text()
    assert dock.mark.text() == "Mark this case as reviewed"
    workspace.session.show_overlay(Overlay("weight", "VG"), now=True)
    for run in (first, second, first):
        dock.other.click()
        qtbot.waitUntil(lambda run=run: workspace.session.maps is not None and workspace.session.maps.run == run)
        settle(docks, qtbot)
        assert workspace.session.overlay.shown == Overlay("weight", "VG")

    workspace.memory.keep()
    workspace.close_study()
    workspace.open_study(study)
    settle(docks, qtbot)
    assert workspace.predicted.run == first
    assert dock.mark.text() == "Not reviewed after all"


def test_maps_from_before_an_alignment_offer_to_predict_again_and_the_report_is_opened(docks, study, qtbot):
    workspace, dock = docks.workspace, docks.docks["Review"]
    _run("predict", str(study), "--case", "S01", "--stride-px", "28")
    folder = StudyFolder.open(study)
    folder.save_warp("S01", "SMA", folder.current_warp("S01", "VG")[0], {"verdict": "good", "message": ""})
    workspace.open_study(study, "S01")
    settle(docks, qtbot)
    assert dock.again.isVisible()
    assert not dock.mark.isEnabled()
    assert "Aligned anew since these maps were made: SMA" in dock.outdated.text()
    session = workspace.session
    dock.detail.setCurrentIndex(2)
    dock.again.click()
    ended(dock, qtbot)
    settle(docks, qtbot)
    assert not dock.again.isVisible()
    assert dock.mark.isEnabled()
    assert workspace.session is session
    assert session.maps.outdated == ()

    opened = []
    dock.open_page = lambda url: opened.append(Path(url.toLocalFile())) or True
    assert not dock.read.isVisible()
    dock.report.click()
    ended(dock, qtbot)
    page = study / "runs" / workspace.predicted.run / "report.html"
    assert opened == [page]
    assert page.is_file()
    assert str(page) in said(dock)
    qtbot.waitUntil(dock.read.isVisible, timeout=20_000)
    dock.open_page = lambda url: False
    dock.read.click()
    qtbot.waitUntil(lambda: f"No program of this machine opens the report. It lies here: {page}" in said(dock))

    folder.save_warp("S01", "SMA", folder.current_warp("S01", "AB-PAS")[0], {"verdict": "good", "message": ""})
    workspace.take_changes(["cases/S01/warps/SMA"])
    qtbot.waitUntil(lambda: dock.again.isVisible() and workspace.session is not session, timeout=20_000)
    settle(docks, qtbot)
    assert workspace.session.overlay.shown == CLASSES
    assert said(dock) == ""  # it was said of the maps as they were


def test_weights_are_told_by_class_and_their_colours_can_be_spread_over_what_there_is(docks, study, qtbot):
    workspace, dock = docks.workspace, docks.docks["Review"]
    _run("predict", str(study), "--case", "S01", "--stride-px", "28")
    workspace.open_study(study, "S01")
    settle(docks, qtbot)
    table = dock.weights.table
    qtbot.waitUntil(lambda: dock.weights.isVisible(), timeout=20_000)
    maps = workspace.session.maps
    assert [table.horizontalHeaderItem(k).text() for k in range(table.columnCount())] == ["Class", *maps.weights]
    inside = maps.class_map > 0
    lesion = next(lesion for lesion in maps.classes if lesion.short == table.item(0, 0).text())
    for column, stain in enumerate(maps.weights, start=1):
        mean = maps.weight(stain)[maps.class_map == lesion.id].mean()
        assert float(table.item(0, column).text()) == pytest.approx(mean, abs=0.006)
    assert dock.weights.said.text()

    assert not dock.chooser.spread.isVisible()
    workspace.session.show_overlay(Overlay("weight", "VG"), now=True)
    qtbot.waitUntil(dock.chooser.spread.isVisible, timeout=5000)
    dock.chooser.spread.click()
    low, high = workspace.session.layers.shares.contrast_limits
    weights = np.concatenate([maps.weight(stain)[inside] for stain in maps.weights])
    assert weights.min() <= low < high <= weights.max()
    dock.chooser.spread.click()
    assert tuple(workspace.session.layers.shares.contrast_limits) == (0, 1)
