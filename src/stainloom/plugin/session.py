"""The case open in one viewer: its layers, keys, legend and title."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import napari
from napari.layers import Layer
from psygnal import Signal
from qtpy.compat import isalive

from stainloom.case.view import CaseView
from stainloom.plugin import layers as case_layers
from stainloom.plugin._napari import canvas_widget, draw_now, main_window, one_scene_update, remove_layers
from stainloom.plugin.later import LaterLayers
from stainloom.plugin.layers import CaseLayers
from stainloom.plugin.legend import LegendPanel
from stainloom.plugin.overlay import CHECKERBOARD_KEY, RESEARCH_ONLY, SIMULATED, Present, caution, legend, stain_key
from stainloom.plugin.pyramid import Renderer
from stainloom.plugin.sharpen import Sharpener

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
        self._sharpener = sharpener or Sharpener(viewer, renderer, layers)
        self._later = LaterLayers(viewer, list(layers), self._tell)
        self._present = Present.of(view)
        self._panel = LegendPanel(canvas_widget(viewer))
        viewer.canvas.overlays.scale_bar.visible = True
        viewer.title = title(view)
        for layer in layers:
            layer.events.visible.connect(self._tell)
        viewer.layers.events.removed.connect(self._tell)
        self._keys = self._bind_keys()
        self._tell()
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
        made = case_layers.make_case(view, tiles, here)
        remove_layers(viewer, [layer for layer in here if layer not in made])
        sharpener = Sharpener(viewer, tiles, made)
        layers = case_layers.collect(made)
        reference = layers.stains[view.reference.name]
        if reference not in viewer.layers:
            viewer.add_layer(reference)
        reference.visible = True
        viewer.reset_view()
        draw_now(viewer)
        for layer in made:
            if layer.visible and layer not in viewer.layers:
                viewer.add_layer(layer)
        viewer.layers.selection.active = reference
        return cls(viewer, view, layers, tiles, sharpener)

    @property
    def settled(self) -> bool:
        """Whether all layers are in the viewer, and all that is on the screen is as fine as it will be."""
        return self._closed or (not self._later.left and self._sharpener.settled)

    def finish(self) -> None:
        """Put all layers into the viewer now, for whoever needs the whole list."""
        self._later.finish()

    def show_stain(self, name: str) -> None:
        """Show one stain alone, or say why there is nothing to show."""
        stain = next(stain for stain in self.view.stains if stain.name == name)
        with one_scene_update(self.viewer):
            found = case_layers.show_stain(self.layers, name)
        if not stain.trusted or not found:
            self.viewer.status = caution(stain)

    def show_checkerboard(self) -> None:
        """Show all stains cell by cell."""
        with one_scene_update(self.viewer):
            found = case_layers.show_checkerboard(self.layers)
        if not found:
            self.viewer.status = "A checkerboard needs two stains; this case has one"

    def look_at(self, edges_um: BoxEdgesUm, *, beside_legend: bool = False, margin: float = 0.03) -> None:
        """Bring a rectangle of the reference onto the canvas, or onto the part of it that the legend leaves free."""
        top, left, bottom, right = edges_um
        rows, cols = self.viewer.canvas.size
        hidden = self._panel.geometry().right() if beside_legend else 0
        zoom = min(rows / max(bottom - top, 1e-6), (cols - hidden) / max(right - left, 1e-6)) * (1 - 2 * margin)
        self.viewer.scene.camera.zoom = zoom
        self.viewer.scene.camera.center = (0.0, (top + bottom) / 2, (left + right) / 2 - hidden / 2 / zoom)

    def close(self, *_: Any) -> None:
        """Let go of the window, of tiles and slides; layers that stay turn white. A second time does nothing."""
        if self._closed:
            return
        self._closed = True
        self._later.close()
        self._sharpener.close()
        self.viewer.layers.events.removed.disconnect(self._tell)
        for layer in self.layers:
            layer.events.visible.disconnect(self._tell)
        for key in self._keys:
            self.viewer.bind_key(key, None, overwrite=True)
        if isalive(self._panel):
            self._panel.leave()
        self.renderer.close()
        self.view.close()

    def _tell(self, *_: Any) -> None:
        self._panel.say(legend(self.view, self.layers.shown(self.viewer), self._present))
        self.shown_changed.emit()

    def _bind_keys(self) -> list[str]:
        # The manifest's key bindings do nothing in napari 0.9.2, so keys are bound here.
        def shower(name: str) -> Callable[[Any], None]:
            return lambda _: self.show_stain(name)

        keys = {stain_key(n): shower(stain.name) for n, stain in enumerate(self.view.stains) if stain_key(n)}
        keys[CHECKERBOARD_KEY] = lambda _: self.show_checkerboard()
        for key, act in keys.items():
            self.viewer.bind_key(key, act, overwrite=True)
        return list(keys)


def title(view: CaseView) -> str:
    """What the window is called: the case, whether it is simulated, what it is for."""
    parts = ["Stainloom", view.case.name, *([SIMULATED] if view.simulated else []), RESEARCH_ONLY]
    return " - ".join(parts)
