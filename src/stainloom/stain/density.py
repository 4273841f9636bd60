"""Optical density: from colours to dye amounts and back."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stainloom.geometry import Pixels

Floats = NDArray[np.float64]


def density(rgb: Pixels, glass: Floats) -> Floats:
    """Optical density of colours against empty glass, log 10, per channel; negative where lighter than glass.

    Parameters
    ----------
    rgb
        (..., 3) uint8.
    glass
        The colour of empty glass, (3,), 0 to 255.

    Returns
    -------
    (..., 3) float64: -log10((colour + 1) / (glass + 1)).
    """
    table = -np.log10((np.arange(256.0)[:, None] + 1) / (np.asarray(glass, np.float64) + 1))
    return np.stack([table[:, k][rgb[..., k]] for k in range(3)], axis=-1)


def colour(densities: Floats, glass: Floats) -> Pixels:
    """The colours of optical densities over glass: the inverse of `density`, rounded and held within 0 and 255."""
    value = (np.asarray(glass, np.float64) + 1) * 10.0 ** -np.asarray(densities, np.float64) - 1
    return np.clip(np.rint(value), 0, 255).astype(np.uint8)


def unit(vectors: Any) -> Floats:
    """Vectors of length 1, along the last axis."""
    array = np.asarray(vectors, np.float64)
    return array / np.linalg.norm(array, axis=-1, keepdims=True)


def angle_deg(first: Any, second: Any) -> float:
    """The angle between two directions, degrees."""
    return float(np.degrees(np.arccos(np.clip(unit(first) @ unit(second), -1.0, 1.0))))


def unmix(densities: Floats, vectors: Floats) -> Floats:
    """How much of each dye explains each density best, no amount below 0.

    Parameters
    ----------
    densities
        (n, 3).
    vectors
        (k, 3), k = 1 to 3 directions of dyes.

    Returns
    -------
    (n, k) amounts, the exact non-negative least squares: of all sets of dyes the one that leaves the least.

    References
    ----------
    C. L. Lawson, R. J. Hanson, Solving Least Squares Problems (1974), chapter 23, doi 10.1137/1.9781611971217.
    """
    count = len(vectors)
    best = np.zeros((len(densities), count))
    left = np.sum(densities**2, axis=1)
    for size in range(1, count + 1):
        for chosen in combinations(range(count), size):
            part = vectors[list(chosen)]
            amounts = densities @ np.linalg.pinv(part)
            rest = np.sum((densities - amounts @ part) ** 2, axis=1)
            better = (amounts >= 0).all(axis=1) & (rest < left - 1e-15)
            best[better] = 0
            best[np.ix_(better, chosen)] = amounts[better]
            left[better] = rest[better]
    return best


def remix(amounts: Floats, vectors: Floats) -> Floats:
    """The optical density of dye amounts: (n, k) and (k, 3) give (n, 3)."""
    return amounts @ vectors
