"""A whole section stays whole in its window, whatever size the window takes, until somebody looks closer."""

from __future__ import annotations

import math

import napari

from stainloom.plugin.field import Field
from stainloom.plugin.looking import Looking

_SAME = 1e-3


class WholeInView:
    """Shows the whole section anew when the room for it changes, where it was shown whole before.

    A window is often as large as it will be only a moment after its first picture.

    Parameters
    ----------
    viewer, looking
        Which shows the whole section now.
    """

    def __init__(self, viewer: napari.Viewer, looking: Looking) -> None:
        self._viewer, self._looking = viewer, looking
        self._whole = looking.field
        viewer.canvas.events.size.connect(self.fit)

    def leave(self) -> None:
        """Look at nothing any more."""
        self._viewer.canvas.events.size.disconnect(self.fit)

    def fit(self) -> None:
        """Show the whole section anew, unless somebody looks closer."""
        if _same(self._looking.field, self._looking.whole or self._whole):
            self._looking.show_whole()


def _same(one: Field, other: Field) -> bool:
    close = math.isclose(one.zoom, other.zoom, rel_tol=_SAME) and one.turn_deg == other.turn_deg
    return close and math.dist(one.centre_um, other.centre_um) * one.zoom < 1
