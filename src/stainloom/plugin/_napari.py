"""The few private touches of napari, in one place. Checked against napari 0.9.2."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING
from weakref import ref

from qtpy.QtCore import QBuffer, QByteArray, QIODevice
from qtpy.QtWidgets import QApplication, QMainWindow, QWidget

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Layer

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


def slice_within(layer: Image, context: Callable[[], AbstractContextManager[object]]) -> None:
    """Let napari slice a layer within a context of ours, and ask the coarsest level each time instead of keeping it."""
    layer._slicing_state.dask_optimized_slicing = context
    layer._level_materializer = None


def choose_levels_by_screen(layer: Image, ratio: Callable[[], float]) -> None:
    """Choose levels by the pixels of the screen: napari counts logical ones, and shows soft pictures on fine screens."""
    found = ref(layer)
    update = type(layer)._update_draw

    def by_screen(scale_factor: float, corner_pixels_displayed: object, shape_threshold: tuple[float, ...]) -> None:
        here = found()
        if here is not None:
            update(here, scale_factor, corner_pixels_displayed, tuple(side * ratio() for side in shape_threshold))

    layer._update_draw = by_screen


def screen_ratio(viewer: napari.Viewer) -> float:
    """Pixels of the screen for one logical pixel."""
    return float(canvas_widget(viewer).devicePixelRatioF())


@contextmanager
def one_scene_update(viewer: napari.Viewer) -> Iterator[None]:
    """Show and hide several layers, and rebuild the scene once: each time takes 20 ms and more."""
    canvas = viewer.window._qt_viewer.canvas
    if canvas._pause_scene_graph:
        yield
        return
    canvas._pause_scene_graph = True
    try:
        yield
    finally:
        canvas._pause_scene_graph = False
        canvas._update_scenegraph()


def draw_now(viewer: napari.Viewer) -> None:
    """Put on the screen what the canvas should show, before the event loop turns."""
    canvas_widget(viewer).repaint()


def remove_layers(viewer: napari.Viewer, layers: Iterable[Layer]) -> None:
    """Take layers out of a viewer together: one by one, napari looks through all of the memory for each (0.25 s)."""
    here = [layer for layer in layers if layer in viewer.layers]
    if not here:
        return
    viewer.layers.selection.clear()
    with viewer.layers.batched_update():
        for layer in here:
            viewer.layers.remove(layer)
