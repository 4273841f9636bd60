"""Images and labels through a warp, tile by tile, in one interpolation."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stainloom.case.warp import Warp
from stainloom.geometry import (
    Box,
    Pixels,
    Points,
    Pyramid,
    Scale,
    Size,
    as_scale,
    box_to_um,
    centres_um,
    index_to_um,
    level_for,
    tiles,
    um_to_box,
    whole,
)

Floats = NDArray[np.float64]

_NODE_PX = 16
# cv2.remap knows 32 places between two pixels: rounding to them here keeps a box equal to that box of the whole.
_REMAP_STEPS = 32
_TILE_PX = 512
_SOURCE_PX_MOST = 96_000_000


def source_places(warp: Warp | None, box: Box, um_per_px: Scale) -> Points:
    """Where the pixel centres of a target box lie on the source, um, shape (rows, cols, 2); NaN where undefined.

    Parameters
    ----------
    warp
        Target um to source um; None is the identity.
    box
        Pixels of the target grid.
    um_per_px
        Of the target grid.

    Notes
    -----
    The warp is evaluated every 16 px, on nodes that stand at the same places whatever the box, and interpolated
    linearly; cells with an undefined node are evaluated pixel by pixel. So any box equals that box of the whole.
    """
    return np.stack(_source_planes(warp, box, um_per_px), axis=-1)


def _source_planes(warp: Warp | None, box: Box, um_per_px: Scale) -> list[Floats]:
    """The same as two planes, rows and columns: half the time of one array of pairs, and what cv2 wants."""
    if warp is None:
        return [np.ascontiguousarray(plane) for plane in np.moveaxis(centres_um(box, um_per_px), -1, 0)]
    first_row, first_col = box.row // _NODE_PX, box.col // _NODE_PX
    node_rows = np.arange(first_row, (box.row_end - 1) // _NODE_PX + 2)
    node_cols = np.arange(first_col, (box.col_end - 1) // _NODE_PX + 2)
    index = np.stack(np.meshgrid(node_rows * _NODE_PX, node_cols * _NODE_PX, indexing="ij"), axis=-1)
    nodes = warp.points(index_to_um(index, um_per_px))
    row_place = np.arange(box.row, box.row_end) / _NODE_PX - first_row
    col_place = np.arange(box.col, box.col_end) / _NODE_PX - first_col
    row, col = row_place.astype(np.intp), col_place.astype(np.intp)
    down, right = (row_place - row)[:, None], col_place - col
    planes = []
    for axis in (0, 1):
        values = np.ascontiguousarray(nodes[..., axis])
        along = values[row] * (1 - down) + values[row + 1] * down
        plane = np.take(along, col, axis=1)
        plane *= 1 - right
        beyond = np.take(along, col + 1, axis=1)
        beyond *= right
        plane += beyond
        planes.append(plane)
    undefined = ~np.isfinite(planes[0])
    if undefined.any():
        exact = warp.points(centres_um(box, um_per_px)[undefined])
        for axis in (0, 1):
            planes[axis][undefined] = exact[:, axis]
    return planes


def resample_image(pyramid: Pyramid, warp: Warp | None, box: Box, um_per_px: float | Scale, fill: int = 255) -> Pixels:
    """A box of the target grid, filled from a slide.

    Parameters
    ----------
    pyramid
        The slide to read from.
    warp
        Target um to slide um (for an aligned view: the stain's warp from the reference); None is the identity.
    box
        Pixels of the target grid.
    um_per_px
        Of the target grid.
    fill
        Value where the warp says nothing or the slide ends.

    Returns
    -------
    (rows, cols, 3) uint8.

    Notes
    -----
    Bilinear, from the coarsest level that is as fine as the target; where the slide has no level near it, blocks of that
    level are averaged first, so that coarse pictures of slides without a pyramid do not alias.
    """
    scale = as_scale(um_per_px)
    result = np.full((box.rows, box.cols, 3), fill, np.uint8)
    step = _source_step(warp, box, scale)
    level = level_for(pyramid, step)
    if warp is None and fill == 255 and pyramid.um_per_px[level] == scale:
        return pyramid.read(level, box)
    shrink = max(1, int(step / max(pyramid.um_per_px[level]) + 0.02))
    for tile in tiles(Size(box.rows, box.cols), max(32, _TILE_PX // shrink)):
        target = Box(box.row + tile.row, box.col + tile.col, tile.rows, tile.cols)
        result[tile.within(whole(Size(box.rows, box.cols)))] = _resample_tile(
            pyramid, warp, target, scale, level, shrink, fill
        )
    return result


def _source_step(warp: Warp | None, box: Box, um_per_px: Scale) -> float:
    """um on the source per target px: the target's own, times the affine parts' scale."""
    step = max(um_per_px)
    if warp is not None:
        for part in warp.steps:
            step *= float(np.sqrt(abs(np.linalg.det(part.affine[:, :2]))))
    return step


def _resample_tile(
    pyramid: Pyramid, warp: Warp | None, box: Box, um_per_px: Scale, level: int, shrink: int, fill: int
) -> Pixels:
    planes = _source_planes(warp, box, um_per_px)
    defined = np.isfinite(planes[0])
    if not defined.any():
        return np.full((box.rows, box.cols, 3), fill, np.uint8)
    source_scale = pyramid.um_per_px[level]
    size = pyramid.levels[level]
    lows, lengths = [], []
    for plane, um, side in zip(planes, source_scale, size.shape, strict=True):
        _to_index(plane, um * shrink)
        low = int(np.floor(plane.min() if defined.all() else np.nanmin(plane))) - 1
        high = int(np.ceil(plane.max() if defined.all() else np.nanmax(plane))) + 2
        most = -(-side // shrink) + 1
        lows.append(min(max(low, -1), most))
        lengths.append(min(max(high, -1), most) - lows[-1])
    rows, cols = lengths
    if rows <= 0 or cols <= 0:
        return np.full((box.rows, box.cols, 3), fill, np.uint8)
    if rows * cols * shrink * shrink > _SOURCE_PX_MOST:
        raise ValueError(f"a tile of {box.shape} px would read {rows * shrink} x {cols * shrink} px of the slide")
    block = Box(lows[0] * shrink, lows[1] * shrink, rows * shrink, cols * shrink)
    source = pyramid.read(level, block)
    if fill != 255:
        source = _fill_outside(source, block, size, fill)
    if shrink > 1:
        source = np.asarray(cv2.resize(source, (cols, rows), interpolation=cv2.INTER_AREA), np.uint8)
    for plane, low in zip(planes, lows, strict=True):
        plane -= low
        if not defined.all():
            plane[~defined] = -10
    row_map, col_map = (plane.astype(np.float32) for plane in planes)
    border = (fill, fill, fill, fill)
    return np.asarray(
        cv2.remap(source, col_map, row_map, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=border),
        np.uint8,
    )


def _to_index(plane: Floats, um_per_px: float) -> None:
    """um to pixel indices, rounded to the steps of cv2; in place."""
    plane /= um_per_px
    plane -= 0.5
    plane *= _REMAP_STEPS
    np.rint(plane, out=plane)
    plane /= _REMAP_STEPS


def _fill_outside(source: Pixels, block: Box, size: Size, fill: int) -> Pixels:
    result = np.full_like(source, fill)
    inside = block.intersect(whole(size))
    result[inside.within(block)] = source[inside.within(block)]
    return result


def resample_labels(
    raster: NDArray[np.uint8], raster_um_per_px: Scale, warp: Warp | None, box: Box, um_per_px: float | Scale
) -> NDArray[np.uint8]:
    """A box of the target grid, filled from a label raster: the label whose pixel holds each target centre; 0 elsewhere.

    Parameters
    ----------
    raster
        (rows, cols) uint8 on the source.
    raster_um_per_px
        um per px of the raster.
    warp
        Target um to source um (to carry HE's labels to a stain: the inverse of the stain's warp); None is the identity.
    box, um_per_px
        Pixels of the target grid, and its scale.

    Returns
    -------
    (rows, cols) uint8; never a label that the raster has not.
    """
    scale = as_scale(um_per_px)
    result = np.zeros((box.rows, box.cols), np.uint8)
    frame = whole(Size(box.rows, box.cols))
    for tile in tiles(Size(box.rows, box.cols), _TILE_PX):
        target = Box(box.row + tile.row, box.col + tile.col, tile.rows, tile.cols)
        result[tile.within(frame)] = _labels_tile(raster, raster_um_per_px, source_places(warp, target, scale))
    return result


def _labels_tile(raster: NDArray[np.uint8], um_per_px: Scale, places: Points) -> NDArray[np.uint8]:
    index = np.floor(places / np.asarray(um_per_px) + 1e-9)
    inside = np.all((index >= 0) & (index < np.array(raster.shape)), axis=-1)
    result = np.zeros(places.shape[:2], np.uint8)
    chosen: NDArray[Any] = index[inside].astype(np.intp)
    result[inside] = raster[chosen[:, 0], chosen[:, 1]]
    return result


def overview(pyramid: Pyramid, um_per_px: float) -> Pixels:
    """A whole slide at one scale, (rows, cols, 3) uint8; at most 64 Mpx."""
    extent = box_to_um(whole(pyramid.levels[0]), pyramid.um_per_px[0])
    box = um_to_box(extent, (um_per_px, um_per_px))
    if box.rows * box.cols > 64_000_000:
        raise ValueError(f"an overview of {box.shape} px is no overview: take more um per px than {um_per_px}")
    return resample_image(pyramid, None, box, um_per_px)
