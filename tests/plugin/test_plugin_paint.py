"""The Paint dock: what it offers beside the palette."""

from __future__ import annotations

import pytest
from test_plugin_workspace import docks as docks

from stainloom.io.casefile import StudyFolder

pytestmark = pytest.mark.screen


def test_who_has_painted_a_case_is_led_to_the_next_without_paint(docks, tiny_case, qtbot):
    folder = StudyFolder.open(tiny_case)
    bare = folder.case_names()[-1]
    folder.labels_path(bare).unlink()
    folder.snapshot_path(bare).unlink()
    workspace, paint = docks.workspace, docks.docks["Paint"]
    workspace.open_study(tiny_case, "S01")
    docks.show("Paint")
    qtbot.waitUntil(paint.unpainted.isVisible, timeout=20_000)
    assert paint.unpainted.text() == f"Next without paint: {bare}"
    paint.unpainted.click()
    qtbot.waitUntil(lambda: workspace.settled and workspace.case.name == bare, timeout=20_000)
    assert not paint.unpainted.isVisible()  # this is the one to paint
