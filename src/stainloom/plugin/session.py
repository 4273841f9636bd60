"""The case open in one viewer: its layers, keys, legend and title."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import napari
from psygnal import Signal
from qtpy.compat import isalive
from qtpy.QtCore import QRect

from stainloom.case.view import CaseView
from stainloom.plugin import layers as case_layers
from stainloom.plugin._napari import canvas_widget, cells, main_window, stop_drawing
from stainloom.plugin.field import around
from stainloom.plugin.keys import VIEW_KEYS, bind, stain_keys
from stainloom.plugin.layers import CaseLayers
from stainloom.plugin.legend import LegendPanel
from stainloom.plugin.looking import GRID, Looking
from stainloom.plugin.overlay import RESEARCH_ONLY, SIMULATED, Present, legend
from stainloom.plugin.pyramid import Renderer

_log = logging.getLogger(__name__)

BoxEdgesUm = tuple[float, float, float, float]
"""Top, left, bottom, right of a rectangle on the reference, um."""


class Session:
    """One case in one viewer.

    Parameters
    ----------
    viewer
        A viewer with a window.
    view
        The opened case; the session closes it with the window.
    layers
        Its layers, already in the viewer.
    renderer
        Renders their tiles.

    Attributes
    ----------
    looking
        Which stain is looked at, aligned or as scanned, from where, how turned.
    """

    shown_changed = Signal()
    """Something else is on the screen: another stain, a map, another legend."""

    def __init__(self, viewer: napari.Viewer, view: CaseView, layers: CaseLayers, renderer: Renderer) -> None:
        self.viewer = viewer
        self.view = view
        self.layers = layers
        self.renderer = renderer
        self._closed = False
        self._present = Present.of(view)
        self._stains_in_legend = True
        self._panel = LegendPanel(canvas_widget(viewer))
        self.looking = Looking(viewer, view, layers, renderer)
        self.looking.changed.connect(self._tell)
        viewer.canvas.overlays.scale_bar.visible = True
        viewer.title = title(view)
        self._told_of = list(layers)
        for layer in self._told_of:
            layer.events.visible.connect(self._tell)
        viewer.layers.events.removed.connect(self._tell)
        keys = [*stain_keys([stain.name for stain in view.stains]), *VIEW_KEYS]
        self._unbind_keys = bind(viewer, self.looking, keys)
        if layers.lesions is not None:
            # napari gives Escape to the layer that is painted on, and would keep it there.
            layers.lesions.bind_key("Escape", lambda layer: stop_drawing(layer) or self.looking.leave(), overwrite=True)
        self._tell()
        main_window(viewer).destroyed.connect(self.close)

    @classmethod
    def open(cls, viewer: napari.Viewer, view: CaseView, renderer: Renderer | None = None) -> Session:
        """Add a case to a viewer and show its reference."""
        tiles = renderer or Renderer()
        layers = case_layers.add_case(viewer, view, tiles)
        viewer.reset_view()
        viewer.layers.selection.active = layers.stains[view.reference.name]
        return cls(viewer, view, layers, tiles)

    def show_stain(self, name: str) -> None:
        """Show one stain alone, or say why there is nothing to show."""
        self.looking.show(name)

    def show_checkerboard(self) -> None:
        """Show all stains cell by cell."""
        self.looking.show_checkerboard()

    def look_at(self, edges_um: BoxEdgesUm, *, beside_legend: bool = False, margin: float = 0.03) -> None:
        """Bring a rectangle of the reference onto the canvas, or onto the part of it that the legend leaves free."""
        if self.looking.on_glass:
            self.looking.show_scanned(False)
        rows, cols = self.looking.cell_px
        hidden = self._panel.geometry().right() if beside_legend else 0
        field = around(edges_um, cols - hidden, rows, self.looking.turn_deg, margin)
        self.looking.set_field(replace(field, centre_um=field.um((-hidden / 2, 0))))

    def close(self, *_: Any) -> None:
        """Let go of the window, of tiles and slides; layers that stay turn white. A second time does nothing."""
        if self._closed:
            return
        self._closed = True
        self.viewer.layers.events.removed.disconnect(self._tell)
        for layer in self._told_of:
            layer.events.visible.disconnect(self._tell)
        self._unbind_keys()
        self.looking.changed.disconnect(self._tell)
        window_is_there = isalive(self._panel)
        self.looking.close(restore=window_is_there)
        if window_is_there:
            self._panel.leave()
        self.renderer.close()
        self.view.close()

    def leave_stains_to_strip(self) -> None:
        """Where a strip above the canvas says how far each stain is, the legend on the slide need not."""
        self._stains_in_legend = False
        self._tell()

    def _tell(self, *_: Any) -> None:
        said = legend(self.view, self.layers.shown(self.viewer), self._present)
        self._panel.say(said if self._stains_in_legend else replace(said, stains=()))
        self._panel.stand_in(self._free_cell())
        self.shown_changed.emit()

    def _free_cell(self) -> QRect | None:
        """The last cell of a grid where it shows no stain: the legend covers nobody there."""
        if self.looking.mode != GRID:
            return None
        shown, (height, width) = len(cells(self.viewer)), self.looking.cell_px
        rows, cols = self.viewer.canvas.grid.actual_shape(self.viewer.layers)
        if shown >= rows * cols:
            return None
        return QRect(round((cols - 1) * width), round((rows - 1) * height), round(width), round(height))


def title(view: CaseView) -> str:
    """What the window is called: the case, whether it is simulated, what it is for."""
    parts = ["Stainloom", view.case.name, *([SIMULATED] if view.simulated else []), RESEARCH_ONLY]
    return " - ".join(parts)
