"""What napari would do to paint, and what happens instead."""

from __future__ import annotations

import pytest
from qtpy.QtCore import Qt

from stainloom.plugin._napari import main_window
from stainloom.plugin.guards import workspace_in

pytestmark = pytest.mark.screen


@pytest.fixture
def docks(make_napari_viewer, qtbot):
    from stainloom.plugin.window import Docks
    from stainloom.plugin.workspace import Workspace

    made = Docks(
        Workspace(make_napari_viewer(show=True)), ask=lambda title: "stop", ask_unsaved=lambda why: made.answer
    )
    made.answer = "stay"
    yield made
    made.workspace.queue.stop()
    assert made.workspace.close()


def test_paint_survives_the_habits_of_napari(docks, tiny_case, qtbot):
    workspace, viewer = docks.workspace, docks.workspace.viewer
    assert workspace_in(viewer) is workspace
    said = []
    docks.guards.said.connect(said.append)
    qtbot.keyClick(main_window(viewer), Qt.Key.Key_S, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: said == ["There is nothing to save here."], timeout=5000)
    # A study that is opened like any file is opened in the docks, where it can be painted on.
    viewer.open(str(tiny_case / "study.json"), plugin="stainloom")
    qtbot.waitUntil(lambda: workspace.session is not None, timeout=20_000)
    layer = workspace.painter.layer
    assert layer.editable
    workspace.painter.choose(2)
    layer.paint((50, 50), 2)
    qtbot.keyClick(main_window(viewer), Qt.Key.Key_S, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: said[-1].startswith("Everything is saved as you paint"), timeout=5000)
    # Delete on the painted layer.
    viewer.layers.selection = {layer}
    viewer.layers.remove_selected()
    qtbot.waitUntil(lambda: layer in viewer.layers, timeout=5000)
    assert layer.data[50, 50] == 2
    assert "kept" in said[-1]
    # Delete on a stain.
    stain = workspace.session.layers.stains["HE"]
    viewer.layers.selection = {stain}
    viewer.layers.remove_selected()
    qtbot.waitUntil(lambda: stain in viewer.layers, timeout=5000)
    assert viewer.layers.index(stain) == 0
    assert said[-1] == "HE stays: its eye hides it"
    layer.paint((90, 90), 2)
    qtbot.waitUntil(lambda: not workspace.painter.unsaved, timeout=20_000)
    assert workspace.painter.paint.differs(layer.data).empty
    # napari's button for new labels leads to the palette.
    count = len(viewer.layers)
    qtbot.mouseClick(viewer.window._qt_viewer.layerButtons.newLabelsButton, Qt.MouseButton.LeftButton)
    assert len(viewer.layers) == count
    # A slide that is opened like any picture is shown, and offered to the study.
    offered = []
    workspace.slides_opened.connect(offered.append)
    slide = next((tiny_case / "slides").rglob("*.tif*"))
    viewer.open(str(slide), plugin="stainloom")
    assert offered == [[slide]]


def test_a_window_whose_paint_is_not_saved_asks_before_it_closes(docks, tiny_case, qtbot, monkeypatch):
    from stainloom.errors import LabelError

    workspace = docks.workspace
    workspace.open_study(tiny_case)
    painter = workspace.painter
    full, keep = [True], painter.paint.keep

    def refuse(*args, **more):
        if full[0]:
            raise LabelError("the disk is full")
        return keep(*args, **more)

    monkeypatch.setattr(painter.paint, "keep", refuse)
    shown = []
    workspace.saving_changed.connect(lambda text, fine: shown.append((text, fine)))
    painter.layer.paint((50, 50), 1)
    qtbot.waitUntil(lambda: painter.trouble is not None, timeout=20_000)
    assert shown[-1] == ("NOT SAVED: the disk is full", False)
    window = main_window(workspace.viewer)
    window.close()
    assert window.isVisible()
    with pytest.raises(LabelError, match="not saved"):
        workspace.open_case("S02")
    assert workspace.case.name == "S01"
    full[0] = False
    qtbot.waitUntil(lambda: not painter.unsaved, timeout=20_000)
    assert painter.paint.differs(painter.layer.data).empty
