"""The few private touches of napari, in one place. Checked against napari 0.9.2."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from napari.layers.labels._labels_key_bindings import reset_polygon
from napari.settings import get_settings
from qtpy.QtCore import QBuffer, QByteArray, QIODevice
from qtpy.QtGui import QCursor
from qtpy.QtWidgets import QApplication, QMainWindow, QTabBar, QWidget
from vispy.visuals.shaders import Function

from stainloom.geometry import Box

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Labels, Layer

_OUTLINED_NAME, _OUTLINE_PX, _OUTLINE_SCREEN_PX = "outlined_lookup", "outline_px", 3.0
_OUTLINED = """
vec4 outlined_lookup(vec2 at) {
    vec2 right = dFdx(at) * $outline_px;
    vec2 down = dFdy(at) * $outline_px;
    if (at.x < 0.0 || at.x > 1.0 || at.y < 0.0 || at.y > 1.0) {
        discard;
    }
    vec2 low = min(min(at + right, at - right), min(at + down, at - down));
    vec2 high = max(max(at + right, at - right), max(at + down, at - down));
    bool at_border = low.x < 0.0 || low.y < 0.0 || high.x > 1.0 || high.y > 1.0;
    vec4 here = texture2D($texture, at);
    bool inside = !at_border && here.r == texture2D($texture, at + right).r && here.r == texture2D($texture, at - right).r
        && here.r == texture2D($texture, at + down).r && here.r == texture2D($texture, at - down).r;
    return $outline_px > 0.0 && inside ? vec4(0.0) : here;
}
"""
_SETTLING_ROUNDS = 2
_PATIENCE_S = 30.0


def main_window(viewer: napari.Viewer) -> QMainWindow:
    """The Qt window of a viewer."""
    return viewer.window._qt_window


def real_viewer(viewer: Any) -> napari.Viewer:
    """The viewer itself: what napari hands to a plugin shows its public part only."""
    return getattr(viewer, "__wrapped__", viewer)


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


def scene(viewer: napari.Viewer) -> Any:
    """What is drawn on the canvas, in um of the reference, x before y: parent of what is drawn on it besides layers."""
    return viewer.window._qt_viewer.canvas.view.scene


def screen_ratio(viewer: napari.Viewer) -> Callable[[], float]:
    """Tells how many pixels of the screen make one logical pixel, on the screen where the window is now."""
    return canvas_widget(viewer).devicePixelRatioF


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


def outline_labels(viewer: napari.Viewer, layer: Labels, on: bool) -> None:
    """Draw the regions of a labels layer as opaque outlines, equally wide at any zoom, or filled again.

    Notes
    -----
    Done on the graphics card: napari's own contours are counted over the whole raster (3 s for 3750 x 5000 px), are as wide
    as the raster's pixels, and are counted again at each stroke.
    """
    visual = viewer.window._qt_viewer.canvas.layer_to_visual.get(layer)
    if visual is None:
        return
    node = visual.node
    lookup = node._interpolation_fun["nearest"]
    wide_px = _OUTLINE_SCREEN_PX * screen_ratio(viewer)() if on else 0.0
    if lookup.name != _OUTLINED_NAME:
        if not on:
            return
        lookup = Function(_OUTLINED)
        node._interpolation_fun["nearest"] = lookup
        node._need_interpolation_update = True
    elif lookup[_OUTLINE_PX].value == wide_px and node.opacity == (1.0 if on else layer.opacity):
        return
    lookup[_OUTLINE_PX] = wide_px
    node.opacity = 1.0 if on else layer.opacity


def on_new_labels(viewer: napari.Viewer, act: Callable[[], None]) -> None:
    """Do something else where the user presses napari's button for a new labels layer: it would be as large as the slide."""
    button = viewer.window._qt_viewer.layerButtons.newLabelsButton
    button.clicked.disconnect()
    button.clicked.connect(lambda *_: act())
    button.setToolTip("Paint lesions")


def turn_view(viewer: napari.Viewer, degrees: float) -> None:
    """Turn what the canvas shows clockwise; 0 is how the slide lies. Layers stay where they are."""
    # Not above: napari's canvas would be imported by everything that asks for a window.
    from stainloom.plugin.turned import TurnedCanvas

    canvas = viewer.window._qt_viewer.canvas
    if not isinstance(canvas, TurnedCanvas):
        canvas.__class__ = TurnedCanvas
    canvas.turn(degrees)


def cells(viewer: napari.Viewer) -> list[tuple[int, tuple[float, float, float, float]]]:
    """What of the canvas shows which layer: the first layer's place in the list, and left, top, width, height in px.

    One cell where napari's grid is off.
    """
    canvas = viewer.window._qt_viewer.canvas
    grid = viewer.canvas.grid
    if not grid.enabled:
        height, width = canvas.size
        return [(0, (0.0, 0.0, float(width), float(height)))]
    found = []
    for (_, layers), view in zip(grid.iter_viewboxes(viewer.layers), canvas.grid_views, strict=False):
        seen = [number for number in layers if viewer.layers[number].visible]
        if seen:
            x, y = view.transform.translate[:2]
            found.append((seen[0], (float(x), float(y), *(float(side) for side in view.rect.size))))
    return found


def mouse_px(viewer: napari.Viewer) -> tuple[float, float] | None:
    """Where the mouse is from the middle of the canvas, or of the cell it is in, (x, y); None where it is elsewhere.

    napari's own cursor stays where the mouse last moved, also when the view moves below it.
    """
    widget = canvas_widget(viewer)
    place = widget.mapFromGlobal(QCursor.pos())
    if not widget.rect().contains(place):
        return None
    for _, (left, top, width, height) in cells(viewer):
        x, y = place.x() - left - width / 2, place.y() - top - height / 2
        if abs(x) <= width / 2 and abs(y) <= height / 2:
            return (x, y)
    return None


def um_at(viewer: napari.Viewer, x_px: float, y_px: float) -> tuple[float, float] | None:
    """The place in the scene, (row, col) in um, under a point of the canvas; None between the cells of a grid."""
    canvas = viewer.window._qt_viewer.canvas
    view, _ = canvas._get_viewbox_at(np.array((x_px, y_px)))
    return None if view is None else tuple(float(v) for v in canvas._map_canvas2world((x_px, y_px), view)[-2:])


@contextmanager
def one_redraw(viewer: napari.Viewer) -> Iterator[None]:
    """Let several layers be shown and hidden with one rebuild of napari's scene instead of one each (20 ms)."""
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


def fold_controls(viewer: napari.Viewer) -> None:
    """Leave napari's controls of a layer out of sight, so that the slide has their room; its Window menu brings them back."""
    viewer.window._qt_viewer.dockLayerControls.hide()


def spare_layer_list(viewer: napari.Viewer) -> None:
    """Let napari paint its list of layers for what the list shows alone: it paints all of it at each zoom (8 ms)."""
    proxy = viewer.window._qt_viewer.layers.model()
    model = proxy.sourceModel()
    tell = model._process_event

    def process(event: Any) -> None:
        if event.type in ("thumbnail", "visible", "name", "loaded", "locked"):
            tell(event)

    model._process_event = process


def around_canvas(viewer: napari.Viewer, above: QWidget, below: QWidget) -> None:
    """Put one widget above the canvas and one below it, as wide as the canvas."""
    rows = canvas_widget(viewer).parentWidget().layout()
    rows.setContentsMargins(0, 0, 0, 0)
    rows.setSpacing(0)
    rows.insertWidget(0, above)
    rows.addWidget(below)


def hide_status_bar(viewer: napari.Viewer) -> None:
    """Take napari's own status bar away, and the thread that reads a pixel of the slide for it at each move of the mouse."""
    window = main_window(viewer)
    window.statusBar().hide()
    viewer.cursor.events.position.disconnect(window.status_thread.trigger_status_update)


def show_status_bar(viewer: napari.Viewer) -> None:
    """Give it back: napari keeps for its next start whether it was there."""
    main_window(viewer).statusBar().show()


def give_room(viewer: napari.Viewer, usual_px: tuple[int, int], least_px: tuple[int, int]) -> None:
    """Give the window its usual size, or all of a screen that is smaller; a size that the user left, and that suffices, stays."""
    window, kept = main_window(viewer), get_settings().application
    width, height = (kept.window_size if kept.save_window_geometry else None) or (0, 0)
    if kept.window_maximized or kept.window_fullscreen or (width >= least_px[0] and height >= least_px[1]):
        return
    free = window.screen().availableGeometry()
    # The title bar and the edges are the system's, and known only once the window is shown.
    border = window.frameGeometry().size() - window.size()
    if free.width() < usual_px[0] + border.width() or free.height() < usual_px[1] + border.height():
        window.showMaximized()
    else:
        window.resize(*usual_px)


def bare_tab_bars(viewer: napari.Viewer) -> None:
    """Draw nothing beside the last tab: napari's style gives a bar the looks of a tab, and it seems to have one more."""
    for bar in main_window(viewer).findChildren(QTabBar):
        bar.setDrawBase(False)
        bar.setStyleSheet("QTabBar { background: transparent; border: none }")


def take_home_button(viewer: napari.Viewer, act: Callable[[], object]) -> None:
    """Let the button with the house do this: napari frames all layers there are, also those that lie elsewhere and are hidden."""
    button = viewer.window._qt_viewer.viewerButtons.resetViewButton
    button.clicked.disconnect()
    button.clicked.connect(lambda: act())


def read_anew(layer: Image) -> None:
    """Let a layer read its levels again because they show something else now; a hidden one does so when it is shown.

    Notes
    -----
    A refresh alone is not enough: napari keeps the coarsest level of a picture once it was read.
    """
    if layer._level_materializer is not None:
        layer._level_materializer.cache_clear()
    if layer.visible:
        layer.refresh(extent=False)


def delete_in_own_context(viewer: napari.Viewer) -> None:
    """Have what layers leave on the graphics card deleted in the canvas's own OpenGL context; asking twice does nothing more.

    Notes
    -----
    napari carries out what vispy has queued when a layer goes, in whichever context is current: mostly that of Qt, which puts
    the window together. A driver may then draw with shaders that are gone (Mesa 22.3 ends the process in ``glDrawArrays``).
    """
    make_current = viewer.window._qt_viewer.canvas._scene_canvas.set_current
    for gone in (viewer.layers.events.removed, viewer.layers.events.end_batch):
        gone.connect(make_current, position="first")


def stop_drawing(layer: Labels) -> bool:
    """Give up the polygon or the stroke that is being drawn, as napari's Escape does; False where there is none."""
    drawing = layer._overlays["brush_stroke"].active or bool(len(layer._overlays["polygon"].points))
    if drawing:
        reset_polygon(layer)
    return drawing


def take_back_corner(layer: Labels) -> bool:
    """Take back the last corner of the polygon that is being drawn, or the stroke around a place; False where there is none."""
    polygon = layer._overlays["polygon"]
    *corners, mouse = polygon.points or [None]
    if len(corners) < 2:
        return stop_drawing(layer)
    polygon.points = [*corners[:-1], mouse]
    return True


def bare_brush_ring(viewer: napari.Viewer) -> None:
    """Take the box off that napari 0.9 puts behind what lies on its canvas: behind the brush's ring it is a square on the slide.

    The ring goes when the mouse leaves the canvas; its box stays, in the colour of the background.
    """
    viewer.canvas.overlays._brush_circle.box = False


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
