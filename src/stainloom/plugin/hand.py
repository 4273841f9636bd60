"""A stain under the user's hand: drawn half transparent over the reference, moved by mouse and keys while one looks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from stainloom.plugin import layers as case_layers
from stainloom.plugin._napari import canvas_widget
from stainloom.plugin.laying import Laying, turn_between
from stainloom.plugin.pivot import Pivot
from stainloom.plugin.session import Session

NUDGE_PX = 2
_FAR = 10
_ARROWS = {"Up": (-1, 0), "Down": (1, 0), "Left": (0, -1), "Right": (0, 1)}
_TURNS = {"Q": -1.0, "W": 1.0}
_FINE = 0.1


class Hand(QObject):
    """One stain of the case that is shown, while it is laid by hand.

    Parameters
    ----------
    session
        The case.
    stain
        Which of its stains; one with a slide, not the reference.
    laying
        Where it lies; the picture follows it.
    """

    changed = Signal()
    """It was moved, or its layer is no longer the one that mouse and keys mean."""
    removed = Signal()
    """The user took its layer away."""

    def __init__(self, session: Session, stain: str, laying: Laying) -> None:
        super().__init__()
        self.session = session
        self.stain = stain
        self.laying = laying
        self._viewer = session.viewer
        self._opacity = 0.5
        aligned = next(view.aligned for view in session.view.stains if view.name == stain)
        self._viewer.canvas.grid.enabled = False
        # A map would lie over both sections that are to be brought together.
        self._map = session.overlay.shown
        if self._map is not None:
            session.show_overlay(None)
        session.show_stain(session.view.reference.name)
        self.layer = case_layers.add_by_hand(self._viewer, session.layers, aligned, session.renderer)
        self.layer.mouse_pan = False
        self.layer.mouse_drag_callbacks.append(self._drag)
        self._bind_keys()
        laying.moved = self._follow
        self._pivot = Pivot(canvas_widget(self._viewer))
        self.layer.mouse_move_callbacks.append(self._point)
        self._viewer.layers.selection.events.active.connect(self._tell)
        self._viewer.layers.events.removed.connect(self._missing)
        self._viewer.scene.camera.events.connect(self._show_pivot)
        self.take_up()
        self._follow()

    @property
    def active(self) -> bool:
        """Whether mouse and keys move it: not while another layer is selected."""
        return self._viewer.layers.selection.active is self.layer

    @property
    def opacity(self) -> float:
        """How much of it covers the reference, 0 to 1."""
        return self._opacity

    @opacity.setter
    def opacity(self, value: float) -> None:
        self._opacity = self.layer.opacity = value

    def take_up(self) -> None:
        """Let mouse and keys move it (again)."""
        self._viewer.layers.selection.active = self.layer
        canvas_widget(self._viewer).setFocus()

    def let_go(self) -> None:
        """Take the picture away; a second time does nothing."""
        if self._pivot is None:
            return
        self._viewer.layers.selection.events.active.disconnect(self._tell)
        self._viewer.layers.events.removed.disconnect(self._missing)
        self._viewer.scene.camera.events.disconnect(self._show_pivot)
        self.laying.moved = lambda: None
        self._pivot.leave()
        self._pivot = None
        if self.layer in self._viewer.layers:
            self._viewer.layers.remove(self.layer)
        if self._map is not None and not self.session.closed:
            self.session.show_overlay(self._map)

    def _follow(self) -> None:
        matrix = np.eye(3)
        matrix[:2] = self.laying.backward
        self.layer.affine = matrix
        self._show_pivot()
        self.changed.emit()

    def _show_pivot(self, *_: Any) -> None:
        if self._pivot is None:
            return
        camera = self._viewer.scene.camera
        rows, cols = self._viewer.canvas.size
        row, col = (self.laying.centre_um - np.asarray(camera.center[-2:])) * camera.zoom
        self._pivot.show_at(rows / 2 + row, cols / 2 + col, self.laying.degrees)

    def _tell(self, *_: Any) -> None:
        self.changed.emit()

    def _missing(self, *_: Any) -> None:
        if self._pivot is not None and self.layer not in self._viewer.layers:
            self.removed.emit()

    # Mouse

    def _drag(self, layer: Any, event: Any) -> Iterator[None]:
        if layer.mouse_pan:
            return
        turning = event.button == 2 or "Shift" in event.modifiers or self._pivot.on_ring(event.pos[1], event.pos[0])
        since, first = self.laying.affine, np.array(event.position[-2:])
        centre = self.laying.centre_um
        moved = False
        yield
        while event.type == "mouse_move":
            moved = True
            self._drag_to(turning, since, first, centre, event)
            yield
        if moved:
            # The last move before the button is let go may have been dropped: napari throttles them.
            self._drag_to(turning, since, first, centre, event)

    def _point(self, layer: Any, event: Any) -> None:
        on_ring = self._pivot.on_ring(event.pos[1], event.pos[0])
        layer.cursor = "pointing" if on_ring else "standard"

    def _drag_to(self, turning: bool, since: Any, first: np.ndarray, centre: np.ndarray, event: Any) -> None:
        now = np.array(event.position[-2:])
        if turning:
            self.laying.turn(turn_between(first, now, centre), since)
        else:
            self.laying.shift(*(now - first), since)

    # Keys: bound on the layer itself, they win over all others while it is the active one, and over none otherwise.

    def _bind_keys(self) -> None:
        for key, (rows, cols) in _ARROWS.items():
            self._bind(key, lambda rows=rows, cols=cols: self._nudge(rows, cols))
            self._bind(f"Shift-{key}", lambda rows=rows, cols=cols: self._nudge(_FAR * rows, _FAR * cols))
        for key, degrees in _TURNS.items():
            self._bind(key, lambda degrees=degrees: self.laying.turn(degrees))
            self._bind(f"Shift-{key}", lambda degrees=degrees: self.laying.turn(_FINE * degrees))
        self._bind("Control-Z", self.laying.undo)
        self.layer.bind_key("`", self._flicker, overwrite=True)
        self.layer.bind_key("Space", self._pan, overwrite=True)

    def _bind(self, key: str, act: Any) -> None:
        self.layer.bind_key(key, lambda _: act(), overwrite=True)

    def _nudge(self, rows: int, cols: int) -> None:
        um = NUDGE_PX / self._viewer.scene.camera.zoom
        self.laying.shift(rows * um, cols * um)

    def _flicker(self, layer: Any) -> Iterator[None]:
        layer.opacity = 0.0
        yield
        layer.opacity = self._opacity

    def _pan(self, layer: Any) -> Iterator[None]:
        layer.mouse_pan = True
        yield
        layer.mouse_pan = False
