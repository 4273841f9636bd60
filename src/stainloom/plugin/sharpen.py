"""Draws fine tiles when they are there, so that no move waits for one; renders ahead what may be looked at next."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import napari
from napari.layers import Image, Layer
from napari.utils.notifications import show_error
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal

from stainloom.geometry import Box
from stainloom.plugin._napari import redraw, screen_ratio, slice_by_screen
from stainloom.plugin.behind import Asker, Wanted
from stainloom.plugin.pyramid import TILE_PX, Renderer, TiledLevel

_PAUSE_S = 0.5
_AHEAD_MS = 150
_AHEAD_TILES = 96


class Sharpener(QObject):
    """Lets the layers of one case be sliced without waiting, and refreshes them as their tiles come.

    Parameters
    ----------
    viewer
        Layers that it gets are taken care of where their tiles come from the renderer.
    renderer
        Renders them.
    layers
        Those of the case: in the viewer already, or soon.

    Notes
    -----
    A layer is drawn anew when all tiles that it waits for are there; where that takes longer than half a second also in between,
    ever more rarely, since each drawing takes the window 20 ms.
    """

    _arrived = Signal(object)
    _failed = Signal(object)

    def __init__(self, viewer: napari.Viewer, renderer: Renderer, layers: Iterable[Layer]) -> None:
        super().__init__()
        self._viewer, self._renderer = viewer, renderer
        self._ratio = screen_ratio(viewer)
        self._fresh: set[Asker] = set()
        self._heard = self._noted = 0
        self._drawn, self._pause = 0.0, _PAUSE_S
        self._said = False
        self._draw = self._timer(self._draw_fresh)
        self._idle = self._timer(self._render_ahead)
        for layer in layers:
            self._take(layer)
        viewer.layers.events.inserted.connect(self._inserted)
        viewer.scene.camera.events.connect(self._moved)
        self._arrived.connect(self._note)
        self._failed.connect(self._say)
        renderer.behind.arrived = self._hear
        renderer.behind.failed = self._failed.emit

    def _timer(self, act: Any) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.timeout.connect(act)
        return timer

    @property
    def settled(self) -> bool:
        """Whether all that is on the screen is as fine as it will be."""
        return self._renderer.behind.idle and self._heard == self._noted and not self._fresh

    def close(self) -> None:
        """Draw nothing any more."""
        self._viewer.layers.events.inserted.disconnect(self._inserted)
        self._viewer.scene.camera.events.disconnect(self._moved)
        self._renderer.behind.arrived = self._renderer.behind.failed = None
        self._fresh.clear()
        # Where the window is gone, Qt has taken all of it along.
        if isalive(self):
            self._draw.stop()
            self._idle.stop()
            self.deleteLater()

    def _inserted(self, event: Any) -> None:
        self._take(event.value)

    def _take(self, layer: Layer) -> None:
        if tiled(layer, self._renderer):
            slice_by_screen(self._viewer, layer, self._renderer.for_screen, self._ratio)
            self._idle.start(_AHEAD_MS)

    def _moved(self, *_: Any) -> None:
        self._drawn, self._pause = time.monotonic(), _PAUSE_S
        self._idle.start(_AHEAD_MS)

    def _hear(self, asker: Asker) -> None:
        """In a thread of the renderer, one at a time."""
        self._heard += 1
        self._arrived.emit(asker)

    def _note(self, asker: Asker) -> None:
        self._noted += 1
        self._fresh.add(asker)
        if self._renderer.behind.idle:
            self._draw.start(0)
        elif not self._draw.isActive():
            self._draw.start(max(0, int(1000 * (self._drawn + self._pause - time.monotonic()))))

    def _draw_fresh(self) -> None:
        fresh, self._fresh = self._fresh, set()
        for layer in self._tiled():
            if layer.data[0].on_screen.asker in fresh:
                redraw(self._viewer, layer)
        self._drawn = time.monotonic()
        self._pause = _PAUSE_S if self._renderer.behind.idle else 2 * self._pause
        self._idle.start(_AHEAD_MS)

    def _tiled(self) -> list[Image]:
        return [layer for layer in self._viewer.layers if tiled(layer, self._renderer)]

    def _say(self, error: Exception) -> None:
        # Once a case: a slide that cannot be read fails at every tile.
        if not self._said:
            self._said = True
            show_error(f"{error}\nPlaces that cannot be read are gray.")

    def _render_ahead(self) -> None:
        """What is around the view, the same view in the stains that are hidden, and one step out."""
        if not self._renderer.behind.idle:
            self._idle.start(_AHEAD_MS)
            return
        layers = self._tiled()
        shown = [layer for layer in layers if layer.visible]
        found: list[Wanted] = []
        for layer in shown:
            found += _missing(layer, layer, margin=TILE_PX)
        for layer in layers:
            if layer not in shown and shown and _alike(layer, shown[0]):
                found += _missing(layer, shown[0], margin=0)
        self._renderer.behind.ahead(found[:_AHEAD_TILES])


def tiled(layer: Layer, renderer: Renderer) -> bool:
    """Whether a layer shows tiles of a renderer."""
    if not (isinstance(layer, Image) and layer.multiscale):
        return False
    level = layer.data[0]
    return isinstance(level, TiledLevel) and level.renderer is renderer


def _alike(one: Image, other: Image) -> bool:
    return [level.shape for level in one.data] == [level.shape for level in other.data]


def _missing(layer: Image, view: Image, margin: int) -> list[Wanted]:
    """Tiles of a layer that are not rendered yet where another is looked at, from the view outwards; then a level out."""
    number = view.data_level
    (top, left), (bottom, right) = view.corner_pixels[:, -2:]
    box = Box(int(top), int(left), int(bottom - top) + 1, int(right - left) + 1).grow(margin)
    found = _not_kept(layer.data[number], box)
    if margin and number + 1 < len(layer.data) - 1:
        half = Box(box.row // 2, box.col // 2, box.rows // 2, box.cols // 2)
        found += _not_kept(layer.data[number + 1], half)
    return found


def _not_kept(level: TiledLevel, box: Box) -> list[Wanted]:
    return [level.wanted(tile) for tile in level.tiles(box) if level.renderer.kept(level.key(tile)) is None]
