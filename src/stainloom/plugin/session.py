"""The case open in one viewer: its layers, keys, legend and title."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import napari
from napari.layers import Image, Layer
from psygnal import Signal
from qtpy.compat import isalive
from qtpy.QtCore import QRect

from stainloom.case.aligned import Look
from stainloom.case.view import CaseView, MapsView
from stainloom.geometry import size_um
from stainloom.plugin import layers as case_layers
from stainloom.plugin._napari import (
    canvas_widget,
    cells,
    delete_in_own_context,
    draw_now,
    main_window,
    one_redraw,
    outline_labels,
    read_anew,
    remove_layers,
    stop_drawing,
)
from stainloom.plugin.field import around
from stainloom.plugin.keys import VIEW_KEYS, bind, stain_keys
from stainloom.plugin.later import LaterLayers
from stainloom.plugin.layers import CaseLayers
from stainloom.plugin.legend import LegendPanel
from stainloom.plugin.looking import GRID, Looking
from stainloom.plugin.maps import MapOverlay
from stainloom.plugin.overlay import (
    CLASSES,
    NEXT_OVERLAY_KEY,
    OVERLAY_KEY,
    RESEARCH_ONLY,
    SIMULATED,
    Overlay,
    Present,
    legend,
    overlays_of,
)
from stainloom.plugin.pyramid import Renderer, TiledLevel
from stainloom.plugin.readout import Readout, read_out
from stainloom.plugin.scalebar import ScaleBar
from stainloom.plugin.sharpen import Sharpener
from stainloom.plugin.whole import WholeInView

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
        Its layers; those that are not in the viewer yet come in the next turns of the event loop, or when they are shown.
    renderer
        Renders their tiles.
    sharpener
        Draws their tiles as they come; made here unless there is one.

    Attributes
    ----------
    bar
        The scale bar on the canvas.
    looking
        Which stain is looked at, aligned or as scanned, from where, how turned.
    """

    shown_changed = Signal()
    """Something else is on the screen: another stain, a map, another legend."""

    def __init__(
        self,
        viewer: napari.Viewer,
        view: CaseView,
        layers: CaseLayers,
        renderer: Renderer,
        sharpener: Sharpener | None = None,
    ) -> None:
        self.viewer = viewer
        self.view = view
        self.layers = layers
        self.renderer = renderer
        self._closed = False
        self.overlay = MapOverlay(viewer, layers)
        self._sharpener = sharpener or Sharpener(viewer, renderer, layers)
        self._later = LaterLayers(viewer, list(layers), self._tell)
        self._present = Present.of(view)
        self._stains_in_legend = True
        self._panel = LegendPanel(canvas_widget(viewer))
        self.bar = ScaleBar(viewer)
        self.looking = Looking(viewer, view, layers, renderer, self._later.finish, lambda: self._panel.corner_px)
        self.looking.changed.connect(self._tell)
        self._whole = WholeInView(viewer, self.looking)
        viewer.title = title(view)
        self._told = list(layers)
        for layer in self._told:
            layer.events.visible.connect(self._tell_of_layer)
            # napari gives this key to the picture that is chosen, for slides in space.
            layer.bind_key(OVERLAY_KEY, lambda _: self.switch_overlay(), overwrite=True)
        viewer.layers.events.removed.connect(self._tell)
        viewer.layers.events.inserted.connect(self._take_back, position="last")
        keys = [*stain_keys([stain.name for stain in view.stains]), *VIEW_KEYS]
        self._unbind_keys = bind(viewer, self.looking, keys)
        viewer.bind_key(OVERLAY_KEY, lambda _: self.switch_overlay(), overwrite=True)
        viewer.bind_key(NEXT_OVERLAY_KEY, lambda _: self.next_overlay(), overwrite=True)
        if layers.lesions is not None:
            # napari gives Escape to the layer that is painted on, and would keep it there.
            layers.lesions.events.opacity.connect(self._tell, position="last")
            layers.lesions.bind_key("Escape", lambda layer: stop_drawing(layer) or self.looking.leave(), overwrite=True)
        self.overlay.changed.connect(self._tell)
        if view.maps is not None:
            self.take_maps(view.maps)
        self._tell()
        self._whole.fit()
        main_window(viewer).destroyed.connect(self.close)

    @classmethod
    def open(
        cls, viewer: napari.Viewer, view: CaseView, renderer: Renderer | None = None, spare: Sequence[Layer] = ()
    ) -> Session:
        """Add a case to a viewer: its reference is on the screen at once, what lies over it and the other stains follow.

        `spare` are layers of a case that is closed already, still in the viewer: they are used again or removed.
        """
        tiles = renderer or Renderer()
        here = [layer for layer in spare if layer in viewer.layers]
        with one_redraw(viewer):
            made = case_layers.make_case(view, tiles, here)
        remove_layers(viewer, [layer for layer in here if layer not in made])
        sharpener = Sharpener(viewer, tiles, made)
        layers = case_layers.collect(made)
        reference = layers.stains[view.reference.name]
        if reference not in viewer.layers:
            viewer.add_layer(reference)
        reference.visible = True
        delete_in_own_context(viewer)
        viewer.reset_view()
        draw_now(viewer)
        for layer in made:
            if layer.visible and layer not in viewer.layers:
                viewer.add_layer(layer)
        viewer.layers.selection.active = reference
        return cls(viewer, view, layers, tiles, sharpener)

    @property
    def closed(self) -> bool:
        """Whether its case is no longer in the viewer."""
        return self._closed

    @property
    def settled(self) -> bool:
        """Whether all layers are in the viewer, and all that is on the screen is as fine as it will be."""
        return self._closed or (not self._later.left and self._sharpener.settled)

    def finish(self) -> None:
        """Put all layers into the viewer now, for whoever needs the whole list."""
        self._later.finish()

    def show_stain(self, name: str) -> None:
        """Show one stain alone, or say why there is nothing to show."""
        self.looking.show(name)

    def show_checkerboard(self) -> None:
        """Show all stains cell by cell."""
        self.looking.show_checkerboard()

    def show_painted(self, class_ids: Iterable[int]) -> None:
        """Say in the legend which classes are painted now."""
        painted = frozenset(class_ids)
        if painted != self._present.painted:
            self._present = replace(self._present, painted=painted)
            self._tell()

    def show_pair(self, name: str) -> None:
        """Show one stain and the reference cell by cell: where it is aligned, structures run on across the edges."""
        self.looking.show(self.looking.reference)
        before = self.layers.pair
        if not case_layers.show_pair(self.viewer, self.layers, self.view, self.renderer, name):
            self.viewer.status = f"There is no picture of {name} to show with {self.view.reference.name}"
            return
        if self.layers.pair is not before:
            self.layers.pair.events.visible.connect(self._tell_of_layer)
            self._tell()

    @property
    def colours(self) -> Look:
        """The colours that are shown."""
        return self.renderer.look

    def show_colours(self, look: Look) -> None:
        """Show all stains as they were scanned, or normalized where they are: at the same place, the same stains."""
        if look == self.renderer.look:
            return
        self.renderer.look = look
        for layer in self.viewer.layers:
            if isinstance(layer, Image) and layer.multiscale and isinstance(layer.data[0], TiledLevel):
                read_anew(layer)
        self._tell()

    @property
    def maps(self) -> MapsView | None:
        """What a run predicted for this case, as far as it was opened."""
        return self.overlay.maps

    def take_maps(self, maps: MapsView | None) -> None:
        """Take other maps, of another run or predicted anew; what is shown stays shown, the camera stays where it is."""
        self._present = self._present.with_maps(maps)
        self.overlay.take(maps)

    def show_overlay(self, overlay: Overlay | None, *, now: bool = False) -> None:
        """Lay one map over the slides, or none; see `MapOverlay.show`."""
        if self.maps is None and overlay is not None:
            self.viewer.status = f"Nothing was predicted for {self.view.case.name} yet"
        elif overlay is not None and (self.looking.mode == GRID or self.looking.on_glass):
            self.viewer.status = (
                f"A map lies over one picture of the aligned stains: {self.view.reference.name} is shown"
            )
        self.overlay.show(overlay, now=now)

    def switch_overlay(self) -> None:
        """Take the map off, or lay it over again."""
        self.show_overlay(None if self.overlay.shown is not None else self.overlay.last)

    def next_overlay(self) -> None:
        """Lay the next of all maps over the slides."""
        choices = overlays_of(self.maps) if self.maps is not None else (CLASSES,)
        shown = self.overlay.shown
        place = choices.index(shown) + 1 if shown in choices else 0
        self.show_overlay(choices[place % len(choices)])

    def readout(self, position_um: tuple[float, float]) -> Readout:
        """What is at a place of the reference, (row, col) um: one pixel is read of each raster."""
        lesions = self.layers.lesions
        return read_out(self.view, self.view.labels if lesions is None else lesions.data, self.maps, position_um)

    def box_on_canvas(self) -> BoxEdgesUm:
        """The part of the reference that is on the canvas now; empty (bottom above top) where none is."""
        rows, cols = self.viewer.canvas.size
        camera = self.viewer.scene.camera
        row, col = camera.center[-2:]
        half_rows, half_cols = rows / camera.zoom / 2, cols / camera.zoom / 2
        height, width = size_um(self.view.reference.pyramid.levels[0], self.view.reference.pyramid.um_per_px[0])
        return (
            max(0.0, row - half_rows),
            max(0.0, col - half_cols),
            min(height, row + half_rows),
            min(width, col + half_cols),
        )

    def look_at(self, edges_um: BoxEdgesUm, *, beside_legend: bool = False, margin: float = 0.03) -> None:
        """Bring a rectangle of the reference onto the canvas, or onto the part of it that the legend leaves free."""
        if self.looking.on_glass:
            self.looking.show_scanned(False)
        rows, cols = self.looking.cell_px
        hidden = self._panel.corner_px[1] if beside_legend else 0
        field = around(edges_um, cols - hidden, rows, self.looking.turn_deg, margin)
        self.looking.set_field(replace(field, centre_um=field.um((-hidden / 2, 0))))

    def close(self, *_: Any) -> None:
        """Let go of the window, of tiles and slides; layers that stay turn white. A second time does nothing."""
        if self._closed:
            return
        self._closed = True
        self._later.close()
        self._sharpener.close()
        self.viewer.layers.events.removed.disconnect(self._tell)
        self.viewer.layers.events.inserted.disconnect(self._take_back)
        if self.layers.lesions is not None:
            self.layers.lesions.events.opacity.disconnect(self._tell)
        self.overlay.changed.disconnect(self._tell)
        for key in (OVERLAY_KEY, NEXT_OVERLAY_KEY):
            self.viewer.bind_key(key, None, overwrite=True)
        for layer in self._told:
            layer.events.visible.disconnect(self._tell_of_layer)
            layer.bind_key(OVERLAY_KEY, None, overwrite=True)
        self._unbind_keys()
        self.looking.changed.disconnect(self._tell)
        self._whole.leave()
        window_is_there = isalive(self._panel)
        self.looking.close(restore=window_is_there)
        if window_is_there:
            self._panel.leave()
            self.bar.leave()
        self.renderer.close()
        self.view.close()

    def leave_stains_to_strip(self) -> None:
        """Where a strip above the canvas says how far each stain is, the legend on the slide need not."""
        self._stains_in_legend = False
        self._tell()
        self._whole.fit()

    def fold_legend(self, folded: bool, key: str) -> None:
        """Leave only the cautions of the legend on the slide, or show all of it."""
        self._panel.fold(folded, key)
        self._whole.fit()

    def _tell_of_layer(self, *_: Any) -> None:
        # Where another stain is shown, two layers change, and then `looking` says so once.
        if not self.looking.changing:
            self._tell()

    def _take_back(self, event: Any) -> None:
        # A layer that comes a second time is drawn as napari draws it.
        if event.value is self.layers.lesions:
            self._tell()

    def _tell(self, *_: Any) -> None:
        shown = self.layers.shown(self.viewer)
        if self.layers.lesions is not None:
            # Filled, what is painted and what is predicted cannot be told apart.
            outline_labels(self.viewer, self.layers.lesions, shown.map and shown.lesions)
        said = legend(self.view, self.maps, shown, self._present, self.colours)
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
