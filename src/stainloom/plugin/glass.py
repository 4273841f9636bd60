"""A stain as it lies on its own glass: its layers, the paint carried to it, and where a place of the reference lies there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from psygnal import Signal
from superqt.utils import create_worker

from stainloom.case.view import CaseView, StainView
from stainloom.case.warp import Warp
from stainloom.geometry import Scale, size_um
from stainloom.labels.transfer import carry_labels
from stainloom.plugin import layers as case_layers
from stainloom.plugin.field import Place
from stainloom.plugin.layers import CaseLayers
from stainloom.plugin.pyramid import Renderer

_log = logging.getLogger(__name__)

Carried = tuple[np.ndarray, Scale]
"""Class ids in a stain's own frame, and their um per px."""


class Glass:
    """The one stain that is shown as it was scanned.

    Parameters
    ----------
    viewer, view, layers, renderer
        Of the session.
    """

    carrying_changed = Signal()
    """Paint is being carried, or has arrived."""

    def __init__(self, viewer: Any, view: CaseView, layers: CaseLayers, renderer: Renderer) -> None:
        self.viewer, self.view, self.layers, self.renderer = viewer, view, layers, renderer
        self.stain = ""
        self.carrying = False
        self.carried: Callable[[str], Carried | None] | None = None
        """Who keeps the carried paint; without one it is carried here, behind the window."""
        self._asked = 0

    def show(self, stain: StainView) -> None:
        """Show a stain as it was scanned, with the paint carried to it."""
        if self.stain != stain.name:
            self.stain = stain.name
            case_layers.show_on_glass(self.viewer, self.layers, self.view, stain, self.renderer)
            if self.layers.carried is not None:
                self.layers.carried.visible = False
            self.refresh()
        self.layers.glass.visible = True

    def hide(self) -> None:
        """Show it no longer."""
        self.stain = ""
        self._asked += 1
        self.carrying = False
        for layer in (self.layers.glass, self.layers.carried):
            if layer is not None and layer.visible:
                layer.visible = False

    def paint_changed(self, stain: str) -> None:
        """The paint carried to a stain is another now."""
        if stain == self.stain:
            self.refresh()

    def refresh(self) -> None:
        """Carry the paint anew: it changed, or another stain is shown."""
        stain = next((stain for stain in self.view.stains if stain.name == self.stain), None)
        warp = None if stain is None or stain.aligned is None else stain.aligned.warp
        if stain is None or warp is None or not stain.usable:
            return
        kept = None if self.carried is None else self.carried(stain.name)
        if kept is not None:
            self._take((self._asked, stain.name, kept))
            return
        painted = self.layers.lesions
        if painted is None:
            return
        self._asked += 1
        self.carrying = True
        pyramid = stain.aligned.pyramid
        extent = size_um(pyramid.levels[0], pyramid.um_per_px[0])
        worker = create_worker(
            _carry, self._asked, stain.name, np.array(painted.data), self.view.label_um_per_px, warp, extent,
            _start_thread=False,
        )  # fmt: skip
        worker.returned.connect(self._take)
        worker.start()
        self.carrying_changed.emit()

    def _take(self, made: tuple[int, str, Carried | None]) -> None:
        asked, stain, carried = made
        if asked != self._asked or stain != self.stain:
            return
        self.carrying = False
        if carried is not None:
            active = self.viewer.layers.selection.active
            case_layers.show_carried(self.viewer, self.layers, self.view, stain, *carried)
            self.layers.carried.visible = True
            self.viewer.layers.selection.active = active
        self.carrying_changed.emit()


def _carry(
    asked: int, stain: str, raster: np.ndarray, scale: Scale, warp: Warp, extent_um: Place
) -> tuple[int, str, Carried | None]:
    try:
        return asked, stain, (carry_labels(raster, scale, warp, extent_um, scale), scale)
    except Exception:
        # What a worker raises ends in Qt's event loop.
        _log.exception("paint could not be carried to %s", stain)
        return asked, stain, None


def on_glass(stain: StainView, place_um: Place) -> Place | None:
    """Where a place of the reference lies on a stain's own glass; None where its alignment says nothing of it."""
    return _through(None if stain.aligned is None else stain.aligned.warp, place_um)


def on_reference(stain: StainView, place_um: Place) -> Place | None:
    """Where a place of a stain's own glass lies on the reference; None where its alignment says nothing of it."""
    warp = None if stain.aligned is None else stain.aligned.warp
    return _through(None if warp is None else warp.inverse(), place_um)


def middle(stain: StainView) -> Place:
    """The middle of a stain's slide, um."""
    assert stain.aligned is not None
    rows, cols = size_um(stain.aligned.pyramid.levels[0], stain.aligned.pyramid.um_per_px[0])
    return (rows / 2, cols / 2)


def _through(warp: Warp | None, place_um: Place) -> Place | None:
    if warp is None:
        return place_um
    row, col = warp.points(np.array([place_um]))[0]
    return (float(row), float(col)) if np.isfinite(row) and np.isfinite(col) else None
