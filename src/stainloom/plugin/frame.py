"""A frame around a place of the slide that somebody was led to."""

from __future__ import annotations

from typing import Any

import napari
import numpy as np
from vispy.scene.visuals import Line

from stainloom.plugin._napari import scene

_WIDE_PX = 2.0
_ABOVE_ALL = 10_000


class Frame:
    """A rectangle on the slide, white on black; it moves and turns with the slide.

    Parameters
    ----------
    viewer
        A viewer with a window.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self._lines: tuple[Any, ...] = ()
        self.edges_um: tuple[float, float, float, float] | None = None

    def put(self, edges_um: tuple[float, float, float, float]) -> None:
        """Frame a rectangle: top, left, bottom, right on the reference, um."""
        top, left, bottom, right = self.edges_um = edges_um
        corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)], np.float32)
        if not self._lines:
            self._lines = tuple(
                Line(parent=scene(self._viewer), color=color, width=width, method="gl")
                for color, width in (("#14161A", 3 * _WIDE_PX), ("#FFFFFF", _WIDE_PX))
            )
        for order, line in enumerate(self._lines):
            line.order = _ABOVE_ALL + order
            line.set_data(pos=corners)
            line.visible = True

    def hide(self) -> None:
        """Frame nothing."""
        self.edges_um = None
        for line in self._lines:
            line.visible = False
