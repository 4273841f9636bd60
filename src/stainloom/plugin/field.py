"""The field of view: what of the plane the canvas shows, from the camera's centre, zoom and turn. Knows no Qt.

Places are (row, col) in um, places on the canvas (x, y) in px from its middle; a turn is in degrees, clockwise on the screen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

UM_PER_PX_AT_1X = 10.0
"""A field at 10x has 1 um per pixel of the screen, one at 40x 0.25 um: how scanners are spoken of."""

Place = tuple[float, float]

_SHRUNK_MOST = 0.75
"""A picture smaller than this share of what it could be is no longer worth what is uncovered by it."""


@dataclass(frozen=True)
class Field:
    """Where the canvas looks.

    Attributes
    ----------
    centre_um
        (row, col) of what is in its middle.
    zoom
        px of the screen per um.
    turn_deg
        How far the view is turned, clockwise.
    """

    centre_um: Place
    zoom: float
    turn_deg: float = 0.0

    @property
    def um_per_px(self) -> float:
        """um per pixel of the screen."""
        return 1 / self.zoom

    @property
    def magnification(self) -> float:
        """As of a microscope: 10 is 1 um per pixel of the screen."""
        return UM_PER_PX_AT_1X * self.zoom

    def um(self, offset_px: Place) -> Place:
        """What lies at a point of the canvas."""
        x, y = offset_px
        cos, sin = _turn(self.turn_deg)
        across, down = (x * cos + y * sin) / self.zoom, (y * cos - x * sin) / self.zoom
        return (self.centre_um[0] + down, self.centre_um[1] + across)

    def px(self, place_um: Place) -> Place:
        """Where on the canvas a place lies."""
        down, across = ((place - centre) * self.zoom for place, centre in zip(place_um, self.centre_um, strict=True))
        cos, sin = _turn(self.turn_deg)
        return (across * cos - down * sin, across * sin + down * cos)

    def corners_um(self, width_px: float, height_px: float) -> list[Place]:
        """The corners of a canvas of this size: top left, top right, bottom right, bottom left."""
        x, y = width_px / 2, height_px / 2
        return [self.um(corner) for corner in ((-x, -y), (x, -y), (x, y), (-x, y))]

    def changed(
        self, *, zoom: float | None = None, turn_deg: float | None = None, about_px: Place = (0.0, 0.0)
    ) -> Field:
        """The same field zoomed or turned about a point of the canvas: what lies there stays there."""
        place = self.um(about_px)
        moved = replace(
            self,
            zoom=self.zoom if zoom is None else zoom,
            turn_deg=self.turn_deg if turn_deg is None else upright(turn_deg),
        )
        missed = moved.um(about_px)
        centre = tuple(at + want - got for at, want, got in zip(moved.centre_um, place, missed, strict=True))
        return replace(moved, centre_um=(centre[0], centre[1]))


def zoom_of(magnification: float) -> float:
    """px of the screen per um at a magnification."""
    return magnification / UM_PER_PX_AT_1X


def around(
    edges_um: tuple[float, float, float, float], width_px: float, height_px: float, turn_deg: float, margin: float
) -> Field:
    """The field that holds a rectangle (top, left, bottom, right in um), however it is turned."""
    top, left, bottom, right = edges_um
    rows, cols = max(bottom - top, 1e-6), max(right - left, 1e-6)
    cos, sin = (abs(part) for part in _turn(turn_deg))
    zoom = min(width_px / (cols * cos + rows * sin), height_px / (cols * sin + rows * cos)) * (1 - 2 * margin)
    return Field(((top + bottom) / 2, (left + right) / 2), zoom, turn_deg)


def clear_of_corner(
    edges_um: tuple[float, float, float, float], canvas_px: Place, corner_px: Place, margin: float
) -> Field:
    """The upright field that holds a rectangle, above or beside what covers the lower left corner of the canvas.

    Parameters
    ----------
    edges_um
        Top, left, bottom, right.
    canvas_px, corner_px
        Height and width of the canvas, and of what is covered; zero where nothing is.
    margin
        Share of the free part that is left on each side.

    Returns
    -------
    Field
        As near the middle as it may be; below what covers it where it would be much smaller beside it.
    """
    height, width = canvas_px
    covered_rows, covered_cols = corner_px
    full = around(edges_um, width, height, 0.0, margin)
    above = _moved(edges_um, around(edges_um, width, height - covered_rows, 0.0, margin), canvas_px, (covered_rows, 0))
    beside = _moved(edges_um, around(edges_um, width - covered_cols, height, 0.0, margin), canvas_px, (0, covered_cols))
    clear = max(above, beside, key=lambda field: (field.zoom, -math.dist(field.centre_um, full.centre_um)))
    return clear if clear.zoom > _SHRUNK_MOST * full.zoom else full


def _moved(edges_um: tuple[float, float, float, float], field: Field, canvas_px: Place, covered_px: Place) -> Field:
    """The field moved up and right, until what covers the canvas from below and from the left covers no rectangle."""
    sides = (edges_um[2] - edges_um[0], edges_um[3] - edges_um[1])
    up, right = (
        max(0.0, covered - (room - side * field.zoom) / 2) if covered else 0.0
        for side, room, covered in zip(sides, canvas_px, covered_px, strict=True)
    )
    return replace(field, centre_um=field.um((-right, up)))


def upright(turn_deg: float) -> float:
    """The same turn between -180 (not included) and 180."""
    turned = math.fmod(turn_deg, 360)
    if turned > 180:
        return turned - 360
    return turned + 360 if turned <= -180 else turned


def _turn(degrees: float) -> tuple[float, float]:
    return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
