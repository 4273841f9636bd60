"""Labels of the reference carried into another stain's own frame, and how well two label rasters agree."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stainloom.case.resample import resample_labels
from stainloom.case.warp import Warp
from stainloom.geometry import Scale, as_scale, size_at, tiles, whole
from stainloom.progress import Progress, silent

_TILE_PX = 1024
_SIDE_MOST_PX = 65_536


def carry_labels(
    raster: NDArray[np.uint8],
    raster_um_per_px: float | Scale,
    warp: Warp,
    moving_um: tuple[float, float],
    um_per_px: float | Scale,
    *,
    progress: Progress = silent,
) -> NDArray[np.uint8]:
    """What was painted on the reference, as it lies on a moving section, in that section's own frame.

    Parameters
    ----------
    raster
        Class ids on the reference, (rows, cols) uint8; its outer corner is um (0, 0).
    raster_um_per_px
        Of `raster`.
    warp
        Reference um to moving um; its inverse is used.
    moving_um
        Height and width of the moving slide.
    um_per_px
        Of the result.

    Returns
    -------
    (rows, cols) uint8 that covers the moving slide; its outer corner is um (0, 0) there. 0 where the warp is undefined
    or nothing was painted; never a class that `raster` does not hold.

    Notes
    -----
    Each pixel takes the class at the place its centre comes from: nothing is averaged, so no class can appear between
    two others. Where an undefined warp cuts a lesion, the rest is *not annotated*.
    """
    if raster.ndim != 2 or raster.dtype != np.uint8:
        raise ValueError(f"labels are (rows, cols) uint8: {raster.shape} {raster.dtype}")
    scale = as_scale(um_per_px)
    size = size_at(moving_um, scale)
    if max(size.shape) > _SIDE_MOST_PX:
        raise ValueError(f"carried labels of {size.shape} px: take more um per px than {scale}")
    back = warp.inverse()
    result = np.zeros(size.shape, np.uint8)
    boxes = list(tiles(size, _TILE_PX))
    for number, box in enumerate(boxes):
        progress(number, len(boxes), "carrying labels")
        result[box.within(whole(size))] = resample_labels(raster, as_scale(raster_um_per_px), back, box, scale)
    progress(len(boxes), len(boxes), "carrying labels")
    return result


def dice(a: NDArray[Any], b: NDArray[Any], inside: NDArray[np.bool_] | None = None) -> float:
    """Dice's coefficient of two masks of one shape, 0 to 1; NaN where both are empty (nothing says that they agree).

    Parameters
    ----------
    a, b
        Masks: True, or not 0, is inside.
    inside
        Where to look; None is everywhere (lost tissue is left out this way).

    References
    ----------
    Dice, Ecology 26 (1945) 297-302, doi 10.2307/1932409.
    """
    if a.shape != b.shape or (inside is not None and inside.shape != a.shape):
        raise ValueError(f"masks of one shape: {a.shape} {b.shape} {None if inside is None else inside.shape}")
    first, second = a != 0, b != 0
    if inside is not None:
        first, second = first & inside, second & inside
    total = int(np.count_nonzero(first)) + int(np.count_nonzero(second))
    return 2 * int(np.count_nonzero(first & second)) / total if total else math.nan


def dice_by_class(
    a: NDArray[np.uint8], b: NDArray[np.uint8], inside: NDArray[np.bool_] | None = None
) -> dict[int, float]:
    """Dice's coefficient of each class that either raster holds, by class id; 0 is no class."""
    classes = sorted({*np.unique(a).tolist(), *np.unique(b).tolist()} - {0})
    return {int(class_id): dice(a == class_id, b == class_id, inside) for class_id in classes}
