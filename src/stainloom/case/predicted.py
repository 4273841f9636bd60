"""Connected regions of a class map, and how sure the network was of each: what a reviewer walks through."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from stainloom.case.lesions import LesionClass
from stainloom.case.view import MapsView

LEAST_MM2 = 0.005
"""What makes a region: smaller ones are specks, of which every map has thousands."""


@dataclass(frozen=True)
class Region:
    """A connected part of a section that is predicted to be of one class.

    Attributes
    ----------
    lesion
        The class.
    area_mm2
        Its area.
    certainty
        Mean probability of that class over it, 0 to 1.
    edges_um
        Top, left, bottom and right on the reference.
    """

    lesion: LesionClass
    area_mm2: float
    certainty: float
    edges_um: tuple[float, float, float, float]


def least_certain(maps: MapsView, *, most: int = 200, least_mm2: float = LEAST_MM2) -> tuple[tuple[Region, ...], int]:
    """The regions of a prediction that the network was least sure of.

    Parameters
    ----------
    maps
        The prediction.
    most
        How many are given.
    least_mm2
        What makes a region; pixels that touch at a corner belong together.

    Returns
    -------
    The regions, the least certain first (of equals the larger), and how many there are in all.
    """
    found: list[Region] = []
    for number, lesion in enumerate(maps.classes):
        mask = (maps.class_map == lesion.id).astype(np.uint8)
        if mask.any():
            found += _regions_of(maps, lesion, mask, number, least_mm2)
    found.sort(key=lambda region: (region.certainty, -region.area_mm2))
    return tuple(found[:most]), len(found)


def _regions_of(
    maps: MapsView, lesion: LesionClass, mask: np.ndarray, number: int, least_mm2: float
) -> Iterable[Region]:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    inside = np.flatnonzero(mask.ravel())
    shares = maps.probability(number).ravel()[inside]
    sums = np.bincount(labels.ravel()[inside], weights=shares, minlength=count)
    (row_um, col_um), (top, left) = maps.um_per_px, maps.origin_um
    for one in range(1, count):
        col, row, cols, rows, area = (int(value) for value in stats[one])
        if area * row_um * col_um / 1e6 >= least_mm2:
            edges = (top + row * row_um, left + col * col_um, top + (row + rows) * row_um, left + (col + cols) * col_um)
            yield Region(lesion, area * row_um * col_um / 1e6, float(sums[one]) / area, edges)
