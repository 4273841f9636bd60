"""The whole road in the window, as a pathologist walks it; then once more by command line, to the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QLabel

from stainloom import jobs
from stainloom.io.casefile import StudyFolder
from stainloom.plugin import start
from stainloom.plugin._napari import canvas_widget, um_at

pytestmark = [pytest.mark.screen, pytest.mark.timeout(1500)]

TRAINING = {
    "features": 64, "epoch_samples": 256, "most_epochs": 10, "learn_epochs": 10, "threads": 1, "batch": 16, "seed": 3,
    "warmup_steps": 10, "stains": ("HE", "AB-PAS", "Masson", "VG"),
}  # fmt: skip
# The middle of intima, media and adventitia, which any network can tell apart, and the class that each is painted with.
LAYERS_UM = {"S01": (100, 560, 960), "S02": (135, 560, 985), "S03": (125, 560, 985)}
CLASSES = (1, 6, 2)
LIMIT_MS = 240_000
PREDICTED = "S03"


@pytest.fixture
def docks(make_napari_viewer, qtbot, tmp_path, monkeypatch):
    monkeypatch.setenv("STAINLOOM_CONFIG", str(tmp_path / "config"))
    monkeypatch.setattr(start, "user_documents_path", lambda: tmp_path / "documents")
    from stainloom.plugin.window import Docks
    from stainloom.plugin.workspace import Workspace

    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1280, 800)
    made = Docks(Workspace(viewer), ask=lambda title: "stop")
    yield made
    made.workspace.queue.stop()
    qtbot.waitUntil(lambda: not made.workspace._looking, timeout=30_000)
    made.workspace.close()


@pytest.fixture
def scans(small_simulation, tmp_path) -> Path:
    """Slides as a scanner leaves them: a folder a block, the stain in the file's name. Only SMA cannot be aligned (S02)."""
    jobs.simulate(tmp_path / "simulated", replace(small_simulation, seed=2), workers=1)
    home = tmp_path / "scans"
    shutil.copytree(tmp_path / "simulated" / "slides", home)
    return home


def click(button, qtbot) -> None:
    """Press a button of a dock as a hand does: it must be there and not grey."""
    qtbot.waitUntil(lambda: button.isVisible() and button.isEnabled(), timeout=60_000)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def rest(docks, qtbot) -> None:
    """Wait until no job runs and the window knows what came of it."""
    workspace = docks.workspace
    qtbot.waitUntil(lambda: workspace.queue.current is None and workspace.settled, timeout=LIMIT_MS)


def run(docks, name, qtbot, watchdog) -> None:
    """Press Run in a job dock and wait for its end."""
    docks.show(name)
    dock = docks.docks[name]
    with watchdog.step(name):
        click(dock.controls.run, qtbot)
        rest(docks, qtbot)
    assert dock.messages.findChildren(QLabel), f"{name} said nothing"


def said(dock) -> str:
    """What a dock says went wrong."""
    sign = "\N{MULTIPLICATION SIGN}"
    return "\n".join(label.text() for label in dock.messages.findChildren(QLabel) if label.text().startswith(sign))


def stroke(docks, places_um, qtbot) -> None:
    """Paint with the mouse on the canvas: press, move through places of the reference (row, col in um), let go."""
    viewer = docks.workspace.viewer
    canvas = canvas_widget(viewer)
    zoom, (row, col) = viewer.scene.camera.zoom, viewer.scene.camera.center[-2:]

    def at(place) -> QPoint:
        x = canvas.width() / 2 + (place[1] - col) * zoom
        y = canvas.height() / 2 + (place[0] - row) * zoom
        found = um_at(viewer, x, y)
        assert abs(found[0] - place[0]) < 5
        assert abs(found[1] - place[1]) < 5
        return QPoint(round(x), round(y))

    first, last = at(places_um[0]), at(places_um[-1])
    QTest.mouseMove(canvas, first)
    QTest.qWait(30)
    QTest.mousePress(canvas, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, first)
    for place in places_um:
        QTest.mouseMove(canvas, at(place))
        QTest.qWait(20)
    QTest.mouseRelease(canvas, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, last)
    QTest.qWait(20)


def paint_case(docks, name, qtbot, watchdog) -> None:
    workspace = docks.workspace
    if workspace.case.name != name:
        with watchdog.step("open a case"):
            workspace.open_case(name)
            qtbot.waitUntil(lambda: workspace.session.settled, timeout=LIMIT_MS)
    docks.show("Paint")
    paint = docks.docks["Paint"]
    workspace.session.look_at((0, 0, 1100, 1100))
    click(paint.tools["paint"], qtbot)
    paint.brush.setValue(90)
    painter = workspace.painter
    for number, row in zip(CLASSES, LAYERS_UM[name], strict=True):
        places = [(row, col) for col in (200, 500, 850)]
        index = paint.palette_table.model().index([c.id for c in painter.classes].index(number), 1)
        with watchdog.step("choose a class"):
            box = paint.palette_table.visualRect(index)
            qtbot.mouseClick(paint.palette_table.viewport(), Qt.MouseButton.LeftButton, pos=box.center())
        before = painter.paint.stroke
        with watchdog.step("paint a stroke"):
            stroke(docks, places, qtbot)
            qtbot.waitUntil(lambda before=before: painter.paint.stroke > before, timeout=LIMIT_MS)
            qtbot.waitUntil(lambda: not painter.unsaved, timeout=LIMIT_MS)
    assert set(painter.areas_px) == set(CLASSES)


def test_the_road_by_hand_and_by_command_gives_the_same(docks, scans, qtbot, watchdog, tmp_path):
    workspace, cases = docks.workspace, docks.docks["Cases"]
    with watchdog.step("planted"):
        qtbot.wait(50)
        time.sleep(0.3)
        qtbot.wait(50)
    assert 290 < watchdog.longest_ms.pop("planted") < 600

    # Take in.
    with watchdog.step("new study"):
        click(cases.empty.buttons[start.NEW], qtbot)
        cases.new.name.setText("Road")
        click(cases.new.make, qtbot)
        rest(docks, qtbot)
    study = tmp_path / "documents" / "Stainloom" / "Road"
    assert workspace.state.path == study
    with watchdog.step("take in"):
        cases.look_at_slides([scans])
        qtbot.waitUntil(lambda: cases.pages.currentWidget() is cases.intake, timeout=LIMIT_MS)
        table = cases.intake.view.model()
        for number, case in enumerate(table.cases):
            table.fill("patient", f"P{number + 1}", list(table.table.groups[case]))
        click(cases.intake.take, qtbot)
        qtbot.waitUntil(lambda: workspace.session is not None, timeout=LIMIT_MS)
        rest(docks, qtbot)
    names = [case.name for case in workspace.state.cases]
    assert names == ["S01", "S02", "S03"]

    # Align, paint, carry.
    docks.show("Align")
    docks.docks["Align"].scope.setCurrentIndex(1)
    run(docks, "Align", qtbot, watchdog)
    for name in names:
        paint_case(docks, name, qtbot, watchdog)
    folder = StudyFolder.open(study)
    usable = {n: [s.name for s in workspace.state.case(n).stains if s.verdict in ("good", "check")] for n in names}
    assert sum(len(stains) for stains in usable.values()) >= 8
    last = names[-1]
    qtbot.waitUntil(
        lambda: all(folder.carried_ids(last, stain) is not None for stain in usable[last]), timeout=LIMIT_MS
    )

    # Colours, patches, training.
    run(docks, "Colour", qtbot, watchdog)
    assert all(case.normalized for case in workspace.state.cases)
    run(docks, "Patches", qtbot, watchdog)
    assert len(workspace.state.patchsets) == 1
    docks.docks["Train"].form.put(TRAINING)
    run(docks, "Train", qtbot, watchdog)
    assert len(workspace.state.runs) == 1, said(docks.docks["Train"])

    # Predict, look at it.
    docks.show("Review")
    review = docks.docks["Review"]
    assert workspace.case.name == PREDICTED
    review.run.setCurrentIndex(0)
    with watchdog.step("Review"):
        click(review.case, qtbot)
        rest(docks, qtbot)
        assert said(review) == ""
        qtbot.waitUntil(lambda: workspace.session.maps is not None, timeout=LIMIT_MS)
        qtbot.waitUntil(lambda: workspace.session.overlay.shown is not None, timeout=LIMIT_MS)
    found = workspace.session.readout((560.0, 500.0))
    assert len(found.weights) == len(TRAINING["stains"])
    assert "torch" not in sys.modules
    workspace.close_case()
    assert all(painter.wait() for painter in workspace._leaving)
    keep_figures(watchdog)

    again = copy_with_paint_only(study, tmp_path / "again" / "Road")
    by_command(again, TRAINING)
    assert fingerprints(again) == fingerprints(study)


def keep_figures(watchdog) -> None:
    """The longest wait of each step, for whoever asks by naming a file in STAINLOOM_FIGURES."""
    if place := os.environ.get("STAINLOOM_FIGURES"):
        Path(place).write_text(json.dumps(watchdog.longest_ms, indent=1), encoding="utf-8")


def copy_with_paint_only(study: Path, target: Path) -> Path:
    """The study with its slides and what was painted, and nothing that was made from these."""
    made = ("warps", "normalization", "carried", "maps", "reports", "patchsets", "runs", "removed", "trainings")
    shutil.copytree(study, target, ignore=shutil.ignore_patterns(*made))
    return target


def by_command(study: Path, training: dict[str, object]) -> None:
    """Every job of the road as a command line."""
    options = [word for name, value in training.items() for word in (f"--{name.replace('_', '-')}", *_words(value))]
    for words in (
        ["register"],
        ["transfer"],
        ["normalize"],
        ["export"],
        ["train", *options],
        ["predict", "--case", PREDICTED],
    ):
        command = [sys.executable, "-m", "stainloom.cli", words[0], str(study), *words[1:]]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, f"{words}: {ended.stdout[-500:]} {ended.stderr[-1500:]}"


def _words(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, tuple) else [str(value)]


def fingerprints(study: Path) -> dict[str, str]:
    """Paint, warps, colours, carried paint, patches and weights of a study, each as one line."""
    folder = StudyFolder.open(study)
    result = {}
    for case in folder.cases():
        from stainloom.jobs.opening import read_snapshot

        result[f"{case.name} paint"] = read_snapshot(folder, case).labels_id
        for stain in folder.study.moving:
            result[f"{case.name} {stain} warp"] = str(folder.current_warp_id(case.name, stain))
            result[f"{case.name} {stain} carried"] = str(folder.carried_ids(case.name, stain))
            carried = folder.carried(case.name, stain)
            if carried is not None:
                result[f"{case.name} {stain} carried pixels"] = hashlib.sha256(carried.raster.tobytes()).hexdigest()
        for stain in case.slides:
            numbers = json.dumps(folder.normalization(case.name, stain), sort_keys=True)
            result[f"{case.name} {stain} colours"] = hashlib.sha256(numbers.encode()).hexdigest()
    result["patches"] = " ".join(folder.patchsets())
    for number, run in enumerate(folder.runs()):
        weights = (folder.run_path(run) / "weights.safetensors").read_bytes()
        result[f"weights {number}"] = hashlib.sha256(weights).hexdigest()
    return result
