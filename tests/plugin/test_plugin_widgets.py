"""Docks from napari's Plugins menu: one alone, then all."""

from __future__ import annotations

import pytest

from stainloom.plugin import widgets
from stainloom.plugin.dock import frame_of
from stainloom.plugin.docks import DOCKS
from stainloom.plugin.window import docks_in

pytestmark = pytest.mark.screen


def test_a_dock_opens_alone_and_all_open_beside_it(make_napari_viewer, tiny_case, qtbot, monkeypatch, tmp_path):
    monkeypatch.setenv("STAINLOOM_CONFIG", str(tmp_path))
    viewer = make_napari_viewer(show=True)
    # napari's own test viewer knows no plugins: this is what its Plugins menu does.
    viewer.window.add_dock_widget(widgets.paint(viewer), name="Paint")
    docks = docks_in(viewer)
    assert list(docks.docks) == ["Paint"]
    docks.docks["Paint"].first.click()  # a case is needed, and Cases has them
    assert list(docks.docks) == ["Paint", "Cases"]
    docks.workspace.open_study(tiny_case)
    assert not docks.docks["Paint"].first.isVisibleTo(docks.docks["Paint"])
    before = len(viewer.window.dock_widgets)
    viewer.window.add_dock_widget(widgets.all_docks(viewer), name="All docks")
    qtbot.waitUntil(lambda: len(docks.docks) == len(DOCKS), timeout=20_000)
    qtbot.waitUntil(lambda: len(viewer.window.dock_widgets) == before + len(DOCKS) - 2, timeout=20_000)
    assert docks_in(viewer) is docks
    assert all(frame_of(dock) is not None for dock in docks.docks.values())
    docks.workspace.queue.stop()
    qtbot.waitUntil(lambda: not docks.workspace._looking, timeout=30_000)
    docks.workspace.close()
