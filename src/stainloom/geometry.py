"""Sizes, boxes and pyramids; the only place where um meets px.

um (0, 0) is the outer corner of level-0 pixel (0, 0) of a slide; the centre of pixel i lies at (i + 0.5) * um_per_px.
Axes are (row, col) everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

Scale = tuple[float, float]
"""um per px, (row, col)."""

Pixels = NDArray[np.uint8]
Points = NDArray[np.float64]
"""Points, shape (n, 2), (row, col)."""


@dataclass(frozen=True, slots=True)
class Size:
    """Rows and columns of a picture, in px."""

    rows: int
    cols: int

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols), as numpy wants it."""
        return (self.rows, self.cols)


@dataclass(frozen=True, slots=True)
class Box:
    """A half-open rectangle of pixels of one level: rows row to row + rows, columns col to col + cols."""

    row: int
    col: int
    rows: int
    cols: int

    @property
    def row_end(self) -> int:
        """First row below the box."""
        return self.row + self.rows

    @property
    def col_end(self) -> int:
        """First column right of the box."""
        return self.col + self.cols

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return (self.rows, self.cols)

    @property
    def empty(self) -> bool:
        """Whether the box holds no pixel."""
        return self.rows <= 0 or self.cols <= 0

    def intersect(self, other: Box) -> Box:
        """The pixels both boxes hold; empty (zero rows or columns) where they share none."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        rows, cols = min(self.row_end, other.row_end) - row, min(self.col_end, other.col_end) - col
        return Box(row, col, max(0, rows), max(0, cols))

    def grow(self, margin: int) -> Box:
        """The box with `margin` px more on each side."""
        return Box(self.row - margin, self.col - margin, self.rows + 2 * margin, self.cols + 2 * margin)

    def within(self, outer: Box) -> tuple[slice, slice]:
        """This box as slices into an array that holds `outer`."""
        row, col = self.row - outer.row, self.col - outer.col
        return (slice(row, row + self.rows), slice(col, col + self.cols))


def box_of(mask: NDArray[np.bool_]) -> Box:
    """The smallest box that holds all pixels that are True; empty where none is."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return Box(0, 0, 0, 0)
    return Box(int(rows[0]), int(cols[0]), int(rows[-1] - rows[0]) + 1, int(cols[-1] - cols[0]) + 1)


@dataclass(frozen=True, slots=True)
class BoxUm:
    """A rectangle in um: its corner nearest the origin, and its extent."""

    row_um: float
    col_um: float
    rows_um: float
    cols_um: float

    def corners(self) -> Points:
        """The four corners, shape (4, 2), um, in ring order."""
        top, left = self.row_um, self.col_um
        bottom, right = top + self.rows_um, left + self.cols_um
        return np.array([[top, left], [top, right], [bottom, right], [bottom, left]], dtype=np.float64)


@runtime_checkable
class Pyramid(Protocol):
    """A slide to read from: level 0 is the finest.

    `read(level, box)` gives (rows, cols, channels) uint8 of exactly the box's shape, RGB, white outside the slide.
    """

    @property
    def levels(self) -> tuple[Size, ...]:
        """Size of each level, px."""
        ...

    @property
    def um_per_px(self) -> tuple[Scale, ...]:
        """True um per px of each level, (row, col)."""
        ...

    def read(self, level: int, box: Box) -> Pixels:
        """The pixels of a box of one level."""
        ...


def as_scale(um_per_px: float | Scale) -> Scale:
    """A (row, col) pair of um per px, from a pair or one number for both; must be finite and positive."""
    row, col = (um_per_px, um_per_px) if isinstance(um_per_px, (int, float)) else um_per_px
    if not (math.isfinite(row) and math.isfinite(col) and row > 0 and col > 0):
        raise ValueError(f"um per px must be positive: {um_per_px}")
    return (float(row), float(col))


def size_um(size: Size, um_per_px: Scale) -> tuple[float, float]:
    """Height and width of a picture in um."""
    return (size.rows * um_per_px[0], size.cols * um_per_px[1])


def size_at(extent_um: tuple[float, float], um_per_px: float | Scale) -> Size:
    """The picture in px that covers an extent in um: never smaller than it, never empty."""
    scale = as_scale(um_per_px)
    rows, cols = (max(1, math.ceil(extent / step - 1e-6)) for extent, step in zip(extent_um, scale, strict=True))
    return Size(rows, cols)


def whole(size: Size) -> Box:
    """The box of a whole picture."""
    return Box(0, 0, size.rows, size.cols)


def index_to_um(index: NDArray[Any], um_per_px: Scale) -> Points:
    """Pixel indices (fractional; the centre of pixel i is i) to um. Shape (..., 2)."""
    return (np.asarray(index, dtype=np.float64) + 0.5) * np.asarray(um_per_px)


def um_to_index(points_um: NDArray[Any], um_per_px: Scale) -> Points:
    """um to fractional pixel indices (the centre of pixel i is i). Shape (..., 2)."""
    return np.asarray(points_um, dtype=np.float64) / np.asarray(um_per_px) - 0.5


def edge_to_um(edges: NDArray[Any], um_per_px: Scale) -> Points:
    """Coordinates counted from the outer corner of pixel (0, 0), as files of other programs use them, to um."""
    return np.asarray(edges, dtype=np.float64) * np.asarray(um_per_px)


def um_to_edge(points_um: NDArray[Any], um_per_px: Scale) -> Points:
    """um to coordinates counted from the outer corner of pixel (0, 0)."""
    return np.asarray(points_um, dtype=np.float64) / np.asarray(um_per_px)


def box_to_um(box: Box, um_per_px: Scale) -> BoxUm:
    """The rectangle in um that a box of pixels covers."""
    row, col = um_per_px
    return BoxUm(box.row * row, box.col * col, box.rows * row, box.cols * col)


def um_to_box(box_um: BoxUm, um_per_px: Scale) -> Box:
    """The smallest box of whole pixels that covers a rectangle in um (borders within 1e-6 px count as met)."""
    row = math.floor(box_um.row_um / um_per_px[0] + 1e-6)
    col = math.floor(box_um.col_um / um_per_px[1] + 1e-6)
    row_end = math.ceil((box_um.row_um + box_um.rows_um) / um_per_px[0] - 1e-6)
    col_end = math.ceil((box_um.col_um + box_um.cols_um) / um_per_px[1] - 1e-6)
    return Box(row, col, max(0, row_end - row), max(0, col_end - col))


def centres_um(box: Box, um_per_px: Scale) -> Points:
    """um of the pixel centres of a box, shape (rows, cols, 2)."""
    rows = (np.arange(box.row, box.row_end) + 0.5) * um_per_px[0]
    cols = (np.arange(box.col, box.col_end) + 0.5) * um_per_px[1]
    return np.stack(np.meshgrid(rows, cols, indexing="ij"), axis=-1)


def level_for(pyramid: Pyramid, um_per_px: float) -> int:
    """The coarsest level that is still at least as fine as `um_per_px` (2 % slack), else level 0."""
    fine = [level for level, scale in enumerate(pyramid.um_per_px) if max(scale) <= um_per_px * 1.02]
    return max(fine, default=0)


def tiles(size: Size, tile_px: int) -> Iterator[Box]:
    """Boxes of at most `tile_px` square that cover each pixel of a picture once, row by row."""
    if tile_px < 1:
        raise ValueError(f"a tile has at least one pixel: {tile_px}")
    for row in range(0, size.rows, tile_px):
        for col in range(0, size.cols, tile_px):
            yield Box(row, col, min(tile_px, size.rows - row), min(tile_px, size.cols - col))


def read_padded(array: Pixels, box: Box, fill: int = 255) -> Pixels:
    """A box of an array, `fill` where the box leaves it."""
    frame = Box(0, 0, array.shape[0], array.shape[1])
    inside = box.intersect(frame)
    if inside == box:
        return array[inside.within(frame)]
    result = np.full((box.rows, box.cols, *array.shape[2:]), fill, dtype=array.dtype)
    if not inside.empty:
        result[inside.within(box)] = array[inside.within(frame)]
    return result


class ArrayPyramid:
    """A picture in memory as a `Pyramid`, halved by 2 x 2 means until its longer side is at most `smallest_px`.

    Parameters
    ----------
    array
        Level 0, (rows, cols, 3) uint8.
    um_per_px
        um per px of level 0.
    """

    def __init__(self, array: Pixels, um_per_px: float | Scale, smallest_px: int = 512) -> None:
        if array.ndim != 3 or array.dtype != np.uint8:
            raise ValueError(f"a picture is (rows, cols, channels) uint8: {array.shape} {array.dtype}")
        arrays = [array]
        while max(arrays[-1].shape[:2]) > smallest_px and min(arrays[-1].shape[:2]) > 1:
            arrays.append(halve(arrays[-1]))
        self._arrays = arrays
        scale = as_scale(um_per_px)
        self._um_per_px = tuple((scale[0] * 2**level, scale[1] * 2**level) for level in range(len(arrays)))

    @property
    def levels(self) -> tuple[Size, ...]:
        """Size of each level, px."""
        return tuple(Size(a.shape[0], a.shape[1]) for a in self._arrays)

    @property
    def um_per_px(self) -> tuple[Scale, ...]:
        """um per px of each level."""
        return self._um_per_px

    def read(self, level: int, box: Box) -> Pixels:
        """The pixels of a box of one level, white outside."""
        return read_padded(self._arrays[level], box)


def halve(array: Pixels) -> Pixels:
    """Half the size by 2 x 2 means; an odd last row or column is averaged with itself, so every level starts at um 0."""
    if array.shape[0] % 2 or array.shape[1] % 2:
        array = np.pad(array, ((0, array.shape[0] % 2), (0, array.shape[1] % 2), (0, 0)), mode="edge")
    rows, cols, channels = array.shape
    if channels not in (1, 3, 4):
        return np.concatenate([halve(array[..., at : at + 1]) for at in range(channels)], axis=-1)
    # For an exact half cv2 adds the four and 2 and shifts by 2, the rounded mean, at fifty times numpy's speed.
    half: Any = cv2.resize(array, (cols // 2, rows // 2), interpolation=cv2.INTER_AREA)
    return half.reshape(rows // 2, cols // 2, channels)
