"""The connected regions of a class raster, and how much area each class has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stainloom.case.regions import components
from stainloom.geometry import Box, Scale, as_scale


@dataclass(frozen=True, slots=True)
class Region:
    """One connected region of one class.

    Attributes
    ----------
    id
        1, 2, 3, ... in the order of `find_regions`; a place in one raster, not the lasting id of a `Lesion`.
    class_id
        The class.
    box
        The smallest box that holds it, px of the raster.
    area_px
        Its pixels.
    area_mm2
        Its area.
    first
        (row, col) of the leftmost pixel of its topmost row.
    """

    id: int
    class_id: int
    box: Box
    area_px: int
    area_mm2: float
    first: tuple[int, int]


def find_regions(raster: NDArray[np.uint8], um_per_px: float | Scale) -> tuple[Region, ...]:
    """The connected regions of each class (eight neighbours), ordered by class, then by first pixel.

    Parameters
    ----------
    raster
        Class ids, (rows, cols) uint8, 0 not annotated.
    um_per_px
        Of the raster.
    """
    _, found = components(raster)
    px_mm2 = _px_mm2(um_per_px)
    return tuple(
        Region(number, part.class_id, part.box, part.area_px, part.area_px * px_mm2, part.first)
        for number, part in enumerate(found, start=1)
    )


def region_numbers(raster: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Which region each pixel belongs to, (rows, cols) int32: the ids of `find_regions`, 0 where not annotated."""
    return components(raster)[0]


def class_areas_mm2(raster: NDArray[np.uint8], um_per_px: float | Scale) -> dict[int, float]:
    """Area of each class that the raster holds, in mm2, by class id; 0 is left out."""
    px_mm2 = _px_mm2(um_per_px)
    counts = np.zeros(256, np.int64)
    # Row by row: bincount turns its input into 64-bit numbers, eight times a whole section.
    for start in range(0, raster.shape[0], 256):
        counts += np.bincount(raster[start : start + 256].ravel(), minlength=256)
    return {int(class_id): int(counts[class_id]) * px_mm2 for class_id in np.flatnonzero(counts) if class_id}


def _px_mm2(um_per_px: float | Scale) -> float:
    row, col = as_scale(um_per_px)
    return row * col * 1e-6
