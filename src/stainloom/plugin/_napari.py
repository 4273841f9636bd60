"""The few private touches of napari, in one place. Checked against napari 0.9.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QBuffer, QByteArray, QIODevice
from qtpy.QtWidgets import QApplication, QMainWindow, QWidget

if TYPE_CHECKING:
    import napari

_SETTLING_ROUNDS = 2


def main_window(viewer: napari.Viewer) -> QMainWindow:
    """The Qt window of a viewer."""
    return viewer.window._qt_window


def canvas_widget(viewer: napari.Viewer) -> QWidget:
    """The Qt widget that the slides are drawn on: parent of the legend."""
    return viewer.window._qt_viewer.canvas.native


def settle(viewer: napari.Viewer) -> None:
    """Let Qt lay out, and napari choose levels and draw, before the window is photographed."""
    for _ in range(_SETTLING_ROUNDS):
        QApplication.processEvents()
        viewer.window._qt_viewer.canvas.native.update()
    QApplication.processEvents()


def photograph(viewer: napari.Viewer) -> bytes:
    """The whole window as PNG: napari's own picture of the canvas would lack the legend, which is a Qt child of it."""
    settle(viewer)
    data = QByteArray()
    buffer = QBuffer(data)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    if not main_window(viewer).grab().save(buffer, "PNG"):
        raise OSError("Qt could not make a PNG of the window")
    return bytes(data)
