"""Layers that come into the viewer after the first picture: one a turn of the event loop, or at once when they are shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import napari
from napari.layers import Layer
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer

_PAUSE_MS = 10


class LaterLayers(QObject):
    """Adds layers one by one, each at its place among the others.

    Parameters
    ----------
    viewer
        Where they go.
    layers
        All layers in their order; those that the viewer has already stay where they are.
    done
        Called when the last one is in.

    Notes
    -----
    Adding a layer takes napari 100 to 300 ms, whatever is in it: a case with seven would hold up the window for a second.
    """

    def __init__(self, viewer: napari.Viewer, layers: Sequence[Layer], done: Callable[[], None]) -> None:
        super().__init__()
        self._viewer, self._layers, self._done = viewer, list(layers), done
        self._left = [layer for layer in layers if layer not in viewer.layers]
        for layer in self._left:
            layer.events.visible.connect(self._shown)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_PAUSE_MS)
        self._timer.timeout.connect(self._next)
        if self._left:
            self._timer.start()

    @property
    def left(self) -> int:
        """How many are not in the viewer yet."""
        return len(self._left)

    def finish(self) -> None:
        """Add all that are left, now."""
        while self._left:
            self._add(self._left[0])

    def close(self) -> None:
        """Add none any more."""
        for layer in self._left:
            layer.events.visible.disconnect(self._shown)
        self._left.clear()
        # Where the window is gone, Qt has taken all of it along.
        if isalive(self):
            self._timer.stop()
            self.deleteLater()

    def _next(self) -> None:
        if self._left:
            self._add(self._left[0])
            self._timer.start()

    def _shown(self, event: object) -> None:
        layer = event.source  # type: ignore[attr-defined]
        if layer.visible and layer in self._left:
            self._add(layer)

    def _add(self, layer: Layer) -> None:
        self._left.remove(layer)
        layer.events.visible.disconnect(self._shown)
        before = set(self._layers[: self._layers.index(layer)])
        chosen = set(self._viewer.layers.selection)
        self._viewer.layers.insert(sum(other in before for other in self._viewer.layers), layer)
        # napari selects what comes in; the user may be painting.
        self._viewer.layers.selection = chosen
        if not self._left:
            self._done()
