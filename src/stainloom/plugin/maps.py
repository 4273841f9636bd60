"""What a run predicted, laid over a case: one map at a time, in two layers at most, read beside the window's thread."""

from __future__ import annotations

import logging
from typing import Any

import napari
from napari.layers import Image, Layer
from psygnal import Signal
from superqt.utils import create_worker

from stainloom.case.view import MapsView
from stainloom.errors import StainloomError
from stainloom.plugin._napari import remove_layers
from stainloom.plugin.layers import CaseLayers, fill_predicted, fill_shares, predicted_layer, shares_layer
from stainloom.plugin.overlay import CLASSES, WEIGHT_RANGE, Overlay, overlay_values, overlays_of

_log = logging.getLogger(__name__)

OPACITY = 0.6


class MapOverlay:
    """The map over one case in one viewer.

    Parameters
    ----------
    viewer
        The viewer.
    layers
        Of the case: the layers of the map become part of them.
    """

    changed = Signal()
    """Other maps, another overlay, or none."""
    failed = Signal(object)
    """A `StainloomError`: the map that was asked for cannot be read."""

    def __init__(self, viewer: napari.Viewer, layers: CaseLayers) -> None:
        self._viewer = viewer
        self._layers = layers
        self._asked = 0
        self._wanted: Overlay | None = None
        self.last = CLASSES
        self.maps: MapsView | None = None
        self.opacity = OPACITY
        self.spread = WEIGHT_RANGE

    @property
    def shown(self) -> Overlay | None:
        """The overlay on the screen; one that is still being read counts."""
        if self._wanted is not None:
            return self._wanted
        on = self._layers.shown(self._viewer)
        return CLASSES if on.predicted else on.overlay

    def take(self, maps: MapsView | None, *, now: bool = False) -> None:
        """Show other maps as the present ones were shown; None: there are none any more."""
        shown = self.shown
        self.maps = maps
        keep = maps is not None and shown is not None and shown in overlays_of(maps)
        self.show(shown if keep else None, now=now)
        self._drop_hidden()

    def show(self, overlay: Overlay | None, *, now: bool = False) -> None:
        """Lay one map over the slides, or none.

        Parameters
        ----------
        overlay
            One of `overlays_of` the maps; None takes the map off.
        now
            Whether to wait until it is there; else it comes in a moment, and the window goes on meanwhile.
        """
        self._asked += 1
        self._wanted = None
        if overlay is None or self.maps is None:
            self._hide_but(None)
            self.changed.emit()
            return
        self.last = overlay
        if overlay == CLASSES:
            self._put_classes(self.maps)
        elif now:
            self._put_shares(self.maps, overlay, overlay_values(self.maps, overlay))
        else:
            self._wanted = overlay
            self._read(self._asked, self.maps, overlay)
        self.changed.emit()

    def set_opacity(self, opacity: float) -> None:
        """How strongly the map covers the slides, 0 to 1."""
        self.opacity, before = opacity, self.shown
        for layer in self._own():
            with layer.events.opacity.blocker(self._tell):
                layer.opacity = opacity
        if self.shown != before:
            self.changed.emit()

    def set_spread(self, ends: tuple[float, float]) -> None:
        """Which weights have the first and the last colour: 0 and 1, or nearer ones where all are alike."""
        self.spread = ends
        layer = self._there(self._layers.shares)
        if layer is not None and self._layers.overlay is not None:
            self._colour(layer, self._layers.overlay)
            self.changed.emit()

    def _colour(self, layer: Image, overlay: Overlay) -> None:
        ends = self.spread if overlay.kind == "weight" else WEIGHT_RANGE
        if tuple(layer.contrast_limits) != ends:
            layer.contrast_limits = ends

    def _own(self) -> list[Layer]:
        return [layer for layer in (self._layers.predicted, self._layers.shares) if layer is not None]

    def _read(self, number: int, maps: MapsView, overlay: Overlay) -> None:
        def take(found: tuple[Any, StainloomError | None]) -> None:
            values, error = found
            if number != self._asked:
                return  # another map was asked for meanwhile
            self._wanted = None
            if error is not None:
                self.failed.emit(error)
            else:
                self._put_shares(maps, overlay, values)
            self.changed.emit()

        worker = create_worker(_values, maps, overlay, _start_thread=False)
        worker.returned.connect(take)
        worker.start()

    def _put_classes(self, maps: MapsView) -> None:
        layer = self._there(self._layers.predicted)
        if layer is None:
            self._layers.predicted = predicted_layer(maps)
            self._add(self._layers.predicted)
        elif layer.data is not maps.class_map:
            fill_predicted(layer, maps)
        self._hide_but(self._layers.predicted)

    def _put_shares(self, maps: MapsView, overlay: Overlay, values: Any) -> None:
        self._layers.overlay = overlay
        layer = self._there(self._layers.shares)
        if layer is None:
            self._layers.shares = shares_layer(maps, overlay, values)
            self._add(self._layers.shares)
        else:
            fill_shares(layer, maps, overlay, values)
        self._colour(self._layers.shares, overlay)
        self._hide_but(self._layers.shares)

    def _drop_hidden(self) -> None:
        """A hidden layer still holds what the maps before said, and its eye in the list would show that."""
        old = [layer for layer in self._own() if not layer.visible]
        active = self._viewer.layers.selection.active
        remove_layers(self._viewer, old)
        if active is not None and active in self._viewer.layers:
            self._viewer.layers.selection.active = active
        if self._layers.predicted in old:
            self._layers.predicted = None
        if self._layers.shares in old:
            self._layers.shares = None

    def _there(self, layer: Layer | None) -> Layer | None:
        """A layer that the user did not take off the list."""
        return layer if layer is not None and layer in self._viewer.layers else None

    def _add(self, layer: Layer) -> None:
        """Put a new layer into the viewer, not shown yet."""
        # A layer that is added becomes the active one, and whoever is painting would paint no more.
        active = self._viewer.layers.selection.active
        layer.opacity, layer.visible = self.opacity, False
        layer.events.visible.connect(self._tell)
        layer.events.opacity.connect(self._tell)
        layers, painted = self._viewer.layers, self._layers.lesions
        # Below the outlines of what is painted.
        layers.insert(layers.index(painted) if painted in layers else len(layers), layer)
        if active is not None and active in self._viewer.layers:
            self._viewer.layers.selection.active = active

    def _tell(self, *_: Any) -> None:
        self.changed.emit()

    def _hide_but(self, shown: Layer | None) -> None:
        for layer in self._own():
            if layer.visible != (layer is shown):
                with layer.events.visible.blocker(self._tell):
                    layer.visible = layer is shown


def _values(maps: MapsView, overlay: Overlay) -> tuple[Any, StainloomError | None]:
    """A map, or why it cannot be read: what a worker raises or returns as an error ends in Qt's event loop."""
    try:
        return overlay_values(maps, overlay), None
    except StainloomError as error:
        return None, error
    except Exception as error:
        _log.exception("a map could not be read")
        return None, StainloomError("the map cannot be read", found=str(error), next="predict again")
