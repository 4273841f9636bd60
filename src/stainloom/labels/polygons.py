"""Outlines on pixel edges from a raster, and the same pixels back from the outlines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stainloom.case.regions import components
from stainloom.geometry import Box, Points, Scale, Size, as_scale, edge_to_um, um_to_edge, whole

Part = tuple[Points, ...]
"""One polygon: its outer ring, then its holes. A ring is (n, 2), (row, col), closed (the last point is the first)."""

_CROSSINGS_AT_ONCE = 4_000_000


@dataclass(frozen=True, eq=False)
class Outline:
    """One connected region of a raster as polygons on pixel edges.

    Attributes
    ----------
    class_id
        The class.
    parts
        The polygons, in px of the raster counted from its outer corner: row r has its edges at r and r + 1. Parts of one
        outline touch at corners only.
    box
        The smallest box that holds the region.
    area_px
        Its pixels.
    """

    class_id: int
    parts: tuple[Part, ...]
    box: Box
    area_px: int


def raster_to_polygons(raster: NDArray[Any]) -> tuple[Outline, ...]:
    """The outlines of all regions of a raster, exact.

    Parameters
    ----------
    raster
        Class ids, (rows, cols) uint8, 0 is outside; or a mask, which is class 1.

    Returns
    -------
    One outline a region (eight neighbours), in the order of `find_regions`. Outer rings run clockwise on the screen,
    holes the other way.

    Notes
    -----
    Every ring is simple: it meets no point twice. Pixels that only touch at a corner become parts of one outline, and a
    hole that touches the border at a corner stays a hole; so other programs take the polygons as valid.
    `fill_polygons` of all rings gives the same pixels again.
    """
    if raster.ndim != 2 or raster.dtype not in (np.uint8, np.bool_):
        raise ValueError(f"a raster is (rows, cols) uint8 or bool: {raster.shape} {raster.dtype}")
    raster = raster.view(np.uint8) if raster.dtype == np.bool_ else raster
    numbers, found = components(raster)
    frame = whole(Size(*raster.shape))
    return tuple(
        Outline(part.class_id, _trace(numbers[part.box.within(frame)] == number, part.box), part.box, part.area_px)
        for number, part in enumerate(found, start=1)
    )


def _trace(mask: NDArray[np.bool_], box: Box) -> tuple[Part, ...]:
    """The polygons of one region, in px of the raster that the box lies in."""
    count, pieces = cv2.connectedComponents(mask.view(np.uint8), connectivity=4, ltype=cv2.CV_32S)
    rings = [ring for walk in _walks(mask) for ring in _simple(walk)]
    outer: dict[int, Points] = {}
    holes: dict[int, list[Points]] = {label: [] for label in range(1, count)}
    for ring in rings:
        points = np.array(ring, np.float64)
        label = int(pieces[_pixel_beside(points)])
        if _signed_area(points) > 0:
            outer[label] = points
        else:
            holes[label].append(points)
    offset = np.array([box.row, box.col], np.float64)
    return tuple(
        tuple(_closed(ring) + offset for ring in (outer[label], *sorted(holes[label], key=lambda h: tuple(h[0]))))
        for label in sorted(outer)
    )


def _walks(mask: NDArray[np.bool_]) -> list[list[tuple[int, int]]]:
    """Closed walks along the pixel edges, by their corners, the region on the right hand on the screen.

    Notes
    -----
    Along a row of pixel corners the turning points pair up: the first starts an edge, the second ends it. So do those
    of a column. A corner where two pixels touch diagonally turns twice; each of its two turns stays with one pixel.
    """
    padded = np.pad(mask, 1)
    a, b, c, d = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    odd = a ^ b ^ c ^ d
    falling, rising = a & d & ~b & ~c, b & c & ~a & ~d
    row, col = np.nonzero(odd | falling | rising)
    twice = (falling | rising)[row, col]
    # A turn: corner, and whether its edges lead left (else right) and up (else down).
    top, bottom = b[row, col] != a[row, col], d[row, col] != c[row, col]
    left = a[row, col] != c[row, col]
    left_one = np.where(twice, True, left)
    up_one = np.where(twice, falling[row, col], top & ~bottom)
    rows = np.concatenate([row, row[twice]])
    cols = np.concatenate([col, col[twice]])
    lefts = np.concatenate([left_one, np.zeros(int(twice.sum()), np.bool_)])
    ups = np.concatenate([up_one, ~up_one[twice]])
    return _linked(rows, cols, lefts, ups, padded)


def _linked(
    rows: NDArray[np.intp],
    cols: NDArray[np.intp],
    lefts: NDArray[np.bool_],
    ups: NDArray[np.bool_],
    padded: NDArray[np.bool_],
) -> list[list[tuple[int, int]]]:
    # Two turns at one corner: the one that leads left ends an edge before the other one starts the next.
    along = np.lexsort((~lefts, cols, rows)).reshape(-1, 2)
    down = np.lexsort((~ups, rows, cols)).reshape(-1, 2)
    beside, above = np.empty(len(rows), np.intp), np.empty(len(rows), np.intp)
    beside[along[:, 0]], beside[along[:, 1]] = along[:, 1], along[:, 0]
    above[down[:, 0]], above[down[:, 1]] = down[:, 1], down[:, 0]
    # Clockwise on the screen: an edge that runs right has the region below it.
    start = along[:, 0]
    below = padded[rows[start] + 1, cols[start] + 1]
    firsts = np.where(below, start, along[:, 1])
    next_turn = above[beside].tolist()
    middle = beside.tolist()
    points = list(zip(rows.tolist(), cols.tolist(), strict=True))
    seen = bytearray(len(points))
    walks = []
    for first in firsts[np.lexsort((cols[firsts], rows[firsts]))].tolist():
        if seen[first]:
            continue
        walk = []
        turn = first
        while not seen[turn]:
            seen[turn] = 1
            walk += [points[turn], points[middle[turn]]]
            turn = next_turn[turn]
        walks.append(walk)
    return walks


def _simple(walk: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """A walk cut where it meets a corner again: rings that meet no point twice."""
    if len(set(walk)) == len(walk):
        return [walk]
    rings = []
    path: list[tuple[int, int]] = []
    place: dict[tuple[int, int], int] = {}
    for point in walk:
        if point in place:
            start = place[point]
            rings.append(path[start:])
            for passed in path[start + 1 :]:
                del place[passed]
            del path[start + 1 :]
        else:
            place[point] = len(path)
            path.append(point)
    rings.append(path)
    return rings


def _pixel_beside(ring: Points) -> tuple[int, int]:
    """A pixel of the region at the ring's first edge: on its right hand on the screen."""
    (row, col), (row_next, col_next) = ring[0], ring[1]
    step_row, step_col = np.sign(row_next - row), np.sign(col_next - col)
    # Right hand of (0, 1), which runs right, is down: (1, 0).
    middle_row, middle_col = row + step_row / 2 + step_col / 2, col + step_col / 2 - step_row / 2
    return int(np.floor(middle_row)), int(np.floor(middle_col))


def _signed_area(ring: Points) -> float:
    """Positive where a ring runs clockwise on the screen."""
    following = np.roll(ring, -1, axis=0)
    return float(np.sum(ring[:, 1] * following[:, 0] - following[:, 1] * ring[:, 0])) / 2


def _closed(ring: Points) -> Points:
    return np.concatenate([ring, ring[:1]])


def fill_polygons(rings: Iterable[Points], size: Size) -> NDArray[np.bool_]:
    """The pixels whose centres lie inside rings, by the even-odd rule: holes are rings inside rings.

    Parameters
    ----------
    rings
        Each (n, 2), (row, col) in px counted from the raster's outer corner; closed or not. May leave the raster.
    size
        Of the raster.

    Returns
    -------
    (rows, cols) bool.

    Notes
    -----
    A centre that lies exactly on an edge belongs to the side right of and below it; so polygons that share an edge
    share no pixel and leave none out. `cv2.fillPoly` paints its border too: 1.75 % of real outlines' pixels differ.
    """
    several = list(rings)
    mask = np.zeros(size.shape, np.bool_)
    box = _box_of(several, size)
    if not box.empty:
        mask[box.within(whole(size))] = _fill(several, box)
    return mask


def fill_parts(parts: Sequence[Part], size: Size) -> tuple[Box, NDArray[np.bool_]]:
    """The pixels of one object of several polygons: the smallest box that can hold them, and its pixels.

    Parts that overlap are both inside, as GeoJSON means them. An object that holds no pixel centre gives an empty box.
    """
    box = _box_of([ring for part in parts for ring in part[:1]], size)
    mask = np.zeros(box.shape, np.bool_)
    for part in parts:
        inner = _box_of(part[:1], size)
        if not inner.empty:
            mask[inner.within(box)] |= _fill(part, inner)
    if not mask.any():
        return Box(0, 0, 0, 0), np.zeros((0, 0), np.bool_)
    return box, mask


def rescale(parts: Sequence[Part], from_um_per_px: float | Scale, to_um_per_px: float | Scale) -> tuple[Part, ...]:
    """The same outlines in px of another scale; both rasters start at um (0, 0)."""
    source, target = as_scale(from_um_per_px), as_scale(to_um_per_px)
    return tuple(tuple(um_to_edge(edge_to_um(ring, source), target) for ring in part) for part in parts)


def _box_of(rings: Sequence[Points], size: Size) -> Box:
    """The box, inside the raster, of all pixels whose centres can lie inside."""
    filled = [np.asarray(ring, np.float64) for ring in rings if len(ring)]
    if not filled:
        return Box(0, 0, 0, 0)
    points = np.concatenate(filled)
    if not np.all(np.isfinite(points)):
        raise ValueError("a ring has a point that is no number")
    limit = np.array(size.shape)
    low = np.clip(np.floor(points.min(axis=0)), 0, limit).astype(int)
    high = np.clip(np.ceil(points.max(axis=0)), 0, limit).astype(int)
    rows, cols = (int(n) for n in np.maximum(high - low, 0))
    return Box(int(low[0]), int(low[1]), rows, cols) if rows and cols else Box(0, 0, 0, 0)


def _fill(rings: Iterable[Points], box: Box) -> NDArray[np.bool_]:
    """Even-odd at the pixel centres of a box."""
    turns = np.zeros((box.rows, box.cols + 1), np.uint8)
    flat = turns.ravel()
    for ring in rings:
        points = np.asarray(ring, np.float64) - (box.row + 0.5, box.col + 0.5)
        start, stop = points, np.roll(points, -1, axis=0)
        upper = np.where((start[:, 0] <= stop[:, 0])[:, None], start, stop)
        lower = np.where((start[:, 0] <= stop[:, 0])[:, None], stop, start)
        first = np.clip(np.ceil(upper[:, 0]), 0, box.rows).astype(np.int64)
        spans = np.clip(np.ceil(lower[:, 0]), 0, box.rows).astype(np.int64) - first
        crossing = np.flatnonzero(spans > 0)
        for some in _batches(crossing, spans):
            count = spans[some]
            row = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first[some], count)
            slope = (lower[some, 1] - upper[some, 1]) / (lower[some, 0] - upper[some, 0])
            col = np.repeat(upper[some, 1], count) + (row - np.repeat(upper[some, 0], count)) * np.repeat(slope, count)
            place = np.clip(np.ceil(col), 0, box.cols).astype(np.int64)
            np.bitwise_xor.at(flat, row * (box.cols + 1) + place, np.uint8(1))
    return np.bitwise_xor.accumulate(turns, axis=1)[:, :-1].view(np.bool_)


def _batches(edges: NDArray[np.int64], spans: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Edges in portions whose crossings fit in memory."""
    if edges.size == 0:
        return []
    portion = np.cumsum(spans[edges]) // _CROSSINGS_AT_ONCE
    return np.split(edges, np.flatnonzero(np.diff(portion)) + 1)
