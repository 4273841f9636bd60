"""What a prediction comes to: connected regions and how sure the network was of each, and the mean weights of the stains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from stainloom.case.lesions import LesionClass
from stainloom.case.view import MapsView

LEAST_MM2 = 0.005
"""What makes a region: smaller ones are specks, of which every map has thousands."""

_TAIL = 0.01


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


@dataclass(frozen=True)
class MeanWeights:
    """How much of each stain a network let through over one case.

    Attributes
    ----------
    stains
        The stains that were there, in the order of the means.
    overall
        Mean weight of each stain where it was there and anything was predicted, 0 to 1.
    by_class
        By class id: the same where that class was predicted; NaN where the stain was missing all over it. Classes that were
        nowhere predicted are not in it.
    spread
        The weights of all stains lie between these, but for one in a hundred at each end.
    """

    stains: tuple[str, ...]
    overall: tuple[float, ...]
    by_class: Mapping[int, tuple[float, ...]]
    spread: tuple[float, float]


def mean_weights(maps: MapsView) -> MeanWeights | None:
    """The mean weights of a prediction; None where nothing was predicted."""
    inside = np.flatnonzero(maps.class_map)
    ids = maps.class_map.ravel()[inside]
    stains, overall, rows = [], [], []
    ends = []
    for stain in maps.weights:
        weights = maps.weight(stain).ravel()[inside]
        there = weights > 0  # a stain that is missing in a place weighs nothing there
        if there.any():
            sums = np.bincount(ids, weights=weights, minlength=256)
            counts = np.bincount(ids[there], minlength=256)
            stains.append(stain)
            overall.append(float(sums.sum() / there.sum()))
            rows.append(np.divide(sums, counts, out=np.full(256, np.nan), where=counts > 0))
            ends.append(np.quantile(weights[there], (_TAIL, 1 - _TAIL)))
    if not stains:
        return None
    return MeanWeights(
        tuple(stains),
        tuple(overall),
        {int(id): tuple(float(means[id]) for means in rows) for id in np.unique(ids)},
        (float(min(low for low, _ in ends)), float(max(high for _, high in ends))),
    )


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
