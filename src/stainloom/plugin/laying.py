"""A section laid on the reference by hand: turned, mirrored, shifted, and every move undone. Knows no window."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Affine = NDArray[np.float64]
"""(2, 3), (row, col), um to um."""

_KEPT_MOST = 500


class Laying:
    """Where a section lies, as reference um to its own um: what a warp wants.

    Parameters
    ----------
    start
        Where it lies before anything is moved.
    centre_um
        Centre of the tissue on its own slide, (row, col): it is turned and mirrored about this.
    moved
        Called after every change.

    Notes
    -----
    Nothing is scaled: sections of one block have one size, and what shrank differently is for the refinement to find.
    """

    def __init__(
        self, start: Affine, centre_um: tuple[float, float], moved: Callable[[], object] = lambda: None
    ) -> None:
        self.start = np.asarray(start, np.float64)
        self.affine = self.start
        self.moved = moved
        self._centre = np.asarray(centre_um, np.float64)
        self._undo: list[Affine] = []

    @property
    def backward(self) -> Affine:
        """Its own um to reference um: how it is drawn."""
        back = np.linalg.inv(self.affine[:, :2])
        return np.hstack([back, -back @ self.affine[:, 2:]])

    @property
    def centre_um(self) -> NDArray[np.float64]:
        """Where the centre of its tissue lies on the reference now."""
        drawn = self.backward
        return drawn[:, :2] @ self._centre + drawn[:, 2]

    @property
    def mirrored(self) -> bool:
        """Whether it lies the other side up."""
        return bool(np.linalg.det(self.affine[:, :2]) < 0)

    @property
    def degrees(self) -> float:
        """How far it is turned clockwise on the screen, -180 to 180, apart from its mirror image and its proportions."""
        left, _, right = np.linalg.svd(self.backward[:, :2])
        turn = left @ right
        if self.mirrored:
            turn = turn @ np.diag([1.0, -1.0])
        return math.degrees(math.atan2(turn[0, 1], turn[0, 0]))

    @property
    def changed(self) -> bool:
        """Whether it lies elsewhere than at the start."""
        return not np.allclose(self.affine, self.start, rtol=0, atol=1e-9)

    @property
    def undoable(self) -> bool:
        """Whether there is a move to undo."""
        return bool(self._undo)

    def turn(self, degrees: float, since: Affine | None = None) -> None:
        """Turn it clockwise on the screen about its tissue's centre."""
        angle = math.radians(degrees)
        c, s = math.cos(angle), math.sin(angle)
        self._about(np.array([[c, s], [-s, c]]), since)

    def turn_to(self, degrees: float) -> None:
        """Turn it until `degrees` is this."""
        self.turn(degrees - self.degrees)

    def mirror(self) -> None:
        """Turn it over, left to right on the screen, about its tissue's centre."""
        self._about(np.diag([1.0, -1.0]), None)

    def shift(self, rows_um: float, cols_um: float, since: Affine | None = None) -> None:
        """Shift it over the reference, down and to the right."""
        self._move(np.array([[1.0, 0.0, rows_um], [0.0, 1.0, cols_um]]), since)

    def bring_to(self, place_um: NDArray[np.float64]) -> None:
        """Shift its tissue's centre to a place on the reference."""
        self.shift(*(place_um - self.centre_um))

    def put(self, affine: Affine) -> None:
        """Lay it somewhere else altogether."""
        self._undo = [*self._undo[-_KEPT_MOST:], self.affine]
        self._take(np.asarray(affine, np.float64))

    def undo(self) -> None:
        """Take back the last move; without one nothing happens."""
        if self._undo:
            self._take(self._undo.pop())

    def _about(self, linear: NDArray[np.float64], since: Affine | None) -> None:
        centre = self._centre_under(self.affine if since is None else since)
        self._move(np.hstack([linear, (centre - linear @ centre)[:, None]]), since)

    def _centre_under(self, affine: Affine) -> NDArray[np.float64]:
        return np.linalg.solve(affine[:, :2], self._centre - affine[:, 2])

    def _move(self, motion: Affine, since: Affine | None) -> None:
        """Move what is drawn by a motion over the reference; with `since` the moves from there on count as one."""
        before = self.affine if since is None else since
        if not self._undo or self._undo[-1] is not before:
            self._undo = [*self._undo[-_KEPT_MOST:], before]
        linear = before[:, :2] @ np.linalg.inv(motion[:, :2])
        self._take(np.hstack([linear, (before[:, 2] - linear @ motion[:, 2])[:, None]]))

    def _take(self, affine: Affine) -> None:
        self.affine = affine
        self.moved()


def turn_between(first: NDArray[np.float64], second: NDArray[np.float64], centre: NDArray[np.float64]) -> float:
    """Degrees, clockwise on the screen, by which one place (row, col) is turned about a centre to point to another."""
    (row, col), (later_row, later_col) = first - centre, second - centre
    turned = math.degrees(math.atan2(later_row, later_col) - math.atan2(row, col))
    return (turned + 180) % 360 - 180
