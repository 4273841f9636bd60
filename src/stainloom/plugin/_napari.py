"""The few private touches of napari, in one place. Checked against napari 0.9.2."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QBuffer, QByteArray, QIODevice
from qtpy.QtWidgets import QApplication, QMainWindow, QWidget

from stainloom.geometry import Box

if TYPE_CHECKING:
    import napari
    from napari.layers import Labels

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


def guard_paint(layer: Labels, may_change: Callable[[np.ndarray, int], np.ndarray | bool]) -> None:
    """Let brush, eraser, fill and polygon change only some pixels: `may_change(pixels, new class) -> mask`.

    All tools of a labels layer that change pixels come through one method.
    """
    apply = layer._apply_mask_to_data

    def guarded(data: np.ndarray, mask: np.ndarray, new_label: int, volume_slice: Any) -> Any:
        return apply(data, mask & may_change(data, int(new_label)), new_label, volume_slice)

    layer._apply_mask_to_data = guarded


def keep_no_history(layer: Labels) -> None:
    """Spare the memory of napari's own undo: the store of strokes has a longer one."""
    layer._history_limit = 1
    layer._reset_history()


def redraw_labels(layer: Labels, box: Box) -> None:
    """Draw a box of a labels layer anew whose data was written directly: a whole refresh uploads the whole texture."""
    place = (slice(box.row, box.row_end), slice(box.col, box.col_end))
    if not layer.visible or not layer.loaded or layer.contour > 0:
        layer.refresh()
        return
    layer._slice.image.view[place] = layer.colormap._data_to_texture(layer.data[place])
    layer._accumulate_updated_slice(place)
    layer._partial_labels_refresh()


def on_new_labels(viewer: napari.Viewer, act: Callable[[], None]) -> None:
    """Do something else where the user presses napari's button for a new labels layer: it would be as large as the slide."""
    button = viewer.window._qt_viewer.layerButtons.newLabelsButton
    button.clicked.disconnect()
    button.clicked.connect(lambda *_: act())
    button.setToolTip("Paint lesions")
