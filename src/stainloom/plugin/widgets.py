"""What napari's Plugins menu opens: all docks at once, or one of them alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from qtpy.QtCore import QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QWidget

from stainloom.plugin._napari import real_viewer
from stainloom.plugin.docks import DOCKS
from stainloom.plugin.window import Docks, docks_in
from stainloom.plugin.workspace import Workspace


class _Opener(QWidget):
    """Stands for docks that are opened without napari's help; leaves the window as soon as it is in it."""

    def __init__(self, viewer: Any, act: Callable[[], None]) -> None:
        super().__init__()
        self._viewer, self._act = viewer, act
        self._done = False

    def showEvent(self, event: QShowEvent) -> None:
        """Do it once napari has put this into its window."""
        super().showEvent(event)
        if not self._done:
            self._done = True
            QTimer.singleShot(0, self._open)

    def _open(self) -> None:
        self._viewer.window.remove_dock_widget(self)
        self._act()


def all_docks(napari_viewer: Any) -> QWidget:
    """All docks, in the order of the work."""
    viewer = real_viewer(napari_viewer)

    def open_all() -> None:
        docks = docks_in(viewer) or Docks(Workspace(viewer), names=())
        for entry in DOCKS:
            docks.show(entry.name)
        docks.show(DOCKS[0].name)

    return _Opener(viewer, open_all)


def one_dock(name: str, napari_viewer: Any) -> QWidget:
    """One dock by itself; what it needs of another is opened when it is asked for."""
    viewer = real_viewer(napari_viewer)
    docks = docks_in(viewer) or Docks(Workspace(viewer), names=())
    return _Opener(viewer, partial(docks.show, name)) if name in docks.docks else docks.make(name)


def __getattr__(name: str) -> Callable[[Any], QWidget]:
    """`cases`, `align` and so on: what opens each of `DOCKS` alone."""
    for entry in DOCKS:
        if entry.name.lower() == name:
            return partial(one_dock, entry.name)
    raise AttributeError(name)
