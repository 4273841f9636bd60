"""A turned view in napari, which has none in 2D: the camera turns the scene, so um stay um and every layer stays where it is.

Checked against napari 0.9.2 and vispy 0.16. Private to `_napari.py`, which puts it in place.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from napari._vispy.camera import MouseToggledPanZoomCamera
from napari._vispy.canvas import VispyCanvas


class TurnedCamera(MouseToggledPanZoomCamera):
    """The camera of one viewbox: pans and zooms as before, and turns the scene about the middle of the viewbox.

    Notes
    -----
    napari and vispy ask the scene's transform where a mouse is, so painting, picking and zooming hit what is under it. Only
    dragging asks the transform before the turn.
    """

    turn_deg = 0.0

    def _set_scene_transform(self, tr: Any) -> None:
        if self.turn_deg:
            x, y = self._viewbox.rect.center
            tr.translate((-x, -y))
            tr.rotate(self.turn_deg, (0, 0, 1))
            tr.translate((x, y))
        super()._set_scene_transform(tr)

    def viewbox_mouse_event(self, event: Any) -> None:
        """Drag what is under the mouse; all else as before."""
        dragged = event.type == "mouse_move" and event.press_event is not None and not event.mouse_event.modifiers
        if not (self.turn_deg and dragged and self.interactive and self.mouse_pan) or event.handled:
            super().viewbox_mouse_event(event)
            return
        before, now = (np.asarray(one.pos, float)[:2] for one in (event.last_event, event))
        if 1 in event.buttons:
            self.pan(self._under(before) - self._under(now))
        elif 2 in event.buttons:
            scale = (1 + self.zoom_factor) ** ((before - now) * np.array([1, -1]))
            self.zoom(scale, self._under(np.asarray(event.press_event.pos, float)[:2]))
        event.handled = True

    def _under(self, place_px: np.ndarray) -> np.ndarray:
        return np.asarray(self._scene_transform.imap(place_px))[:2]


class TurnedCanvas(VispyCanvas):
    """napari's canvas, with cameras that turn, also those of its grid."""

    turn_deg = 0.0
    _reading = False

    def turn(self, degrees: float) -> None:
        """Turn the view clockwise, from how the slide lies."""
        self.turn_deg = degrees
        self._hand_on()
        self.native.update()

    def _hand_on(self) -> None:
        for camera in (self.camera, *self.grid_cameras):
            flat = camera._2D_camera
            if not isinstance(flat, TurnedCamera):
                flat.__class__ = TurnedCamera
            if flat.turn_deg != self.turn_deg:
                flat.turn_deg = self.turn_deg
                flat.view_changed()

    def _init_or_update_grid(self) -> None:
        super()._init_or_update_grid()
        self._hand_on()

    def on_draw(self, event: Any = None) -> None:
        """As before, but layers are asked for all that a turned view shows."""
        try:
            super().on_draw(event)
        finally:
            self._reading = False

    @property
    def _viewbox_corners_in_world(self) -> np.ndarray:
        if not self.turn_deg:
            return super()._viewbox_corners_in_world
        # napari takes two corners of the canvas for those of an upright box, which a turned one is not. It asks just
        # before it tells the layers what to load, and for nothing else.
        self._reading = True
        view = self.grid_views[0] if self.viewer.canvas.grid.enabled and self.grid_views else self.view
        width, height = view.rect.size
        corners = [
            self._map_canvas2world(corner, view) for corner in ((0, 0), (width, 0), (0, height), (width, height))
        ]
        return np.array([np.min(corners, axis=0), np.max(corners, axis=0)])

    @property
    def _current_viewbox_size(self) -> tuple[float, float]:
        width, height = super()._current_viewbox_size
        if not (self._reading and self.turn_deg):
            return (width, height)
        # The upright box around a turned view has more pixels than the view: measured by the view, it would be drawn
        # from a coarser level than the same view before it was turned.
        cos, sin = abs(math.cos(math.radians(self.turn_deg))), abs(math.sin(math.radians(self.turn_deg)))
        return (width * cos + height * sin, width * sin + height * cos)
