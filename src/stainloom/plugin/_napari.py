"""The few private touches of napari, in one place. Checked against napari 0.9.2."""

from __future__ import annotations

import time
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
_PATIENCE_S = 30.0


def main_window(viewer: napari.Viewer) -> QMainWindow:
    """The Qt window of a viewer."""
    return viewer.window._qt_window


def canvas_widget(viewer: napari.Viewer) -> QWidget:
    """The Qt widget that the slides are drawn on: parent of the legend."""
    return viewer.window._qt_viewer.canvas.native


def settle(viewer: napari.Viewer) -> None:
    """Let Qt lay out, napari choose levels and draw, and fine tiles come, before the window is photographed."""
    _turn(viewer)
    # What a slide is drawn from behind the window; layers of other kinds have nothing to wait for.
    behind = {level.renderer.behind for level in map(_first_level, viewer.layers) if hasattr(level, "renderer")}
    end = time.monotonic() + _PATIENCE_S
    while not all(each.idle for each in behind) and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.005)
    _turn(viewer)


def _first_level(layer: Layer) -> object:
    return layer.data[0] if getattr(layer, "multiscale", False) else None


def _turn(viewer: napari.Viewer) -> None:
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


def slice_by_screen(
    viewer: napari.Viewer,
    layer: Image,
    context: Callable[[], AbstractContextManager[object]],
    ratio: Callable[[], float],
) -> None:
    """Let napari slice a layer of levels within a context of ours, and only while it is visible.

    Parameters
    ----------
    viewer
        Where the layer is, or will be.
    layer
        A multiscale picture.
    context
        Entered around each slicing.
    ratio
        Pixels of the screen for one logical pixel: napari counts logical ones, and shows soft pictures on fine screens.

    Notes
    -----
    napari works out for every layer at every draw which box of which level is wanted, also for those that are hidden
    (2 ms each); here that is done when they are shown. Where another box is wanted, only that is drawn: see `redraw`. The
    coarsest level is asked each time instead of being kept.
    """
    found, update = ref(layer), type(layer)._update_draw
    waiting: list[tuple[object, ...]] = []

    def update_draw(scale_factor: float, corner_pixels_displayed: object, shape_threshold: tuple[float, ...]) -> None:
        here = found()
        if here is None:
            return
        threshold = tuple(side * ratio() for side in shape_threshold)
        waiting[:] = [(scale_factor, corner_pixels_displayed, threshold)]
        if not here.visible:
            return
        before = here.corner_pixels
        with here._block_refresh():
            update(here, *waiting.pop())
        if here.corner_pixels is not before:
            redraw(viewer, here)

    @contextmanager
    def slicing() -> Iterator[None]:
        here = found()
        if here is not None and waiting:
            with here._block_refresh():
                update(here, *waiting.pop())
        with context():
            yield

    layer._update_draw = update_draw
    layer._slicing_state.dask_optimized_slicing = slicing
    layer._level_materializer = None


def redraw(viewer: napari.Viewer, layer: Image) -> None:
    """Slice a layer anew and draw it, nothing else: at a refresh napari paints its list of layers too, which costs as much."""
    visual = viewer.window._qt_viewer.canvas.layer_to_visual.get(layer)
    if layer.visible and visual is not None:
        layer.set_view_slice()
        visual._on_data_change()


def screen_ratio(viewer: napari.Viewer) -> Callable[[], float]:
    """Tells how many pixels of the screen make one logical pixel, on the screen where the window is now."""
    return canvas_widget(viewer).devicePixelRatioF


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
