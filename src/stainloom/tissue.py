"""Where a slide has tissue."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from stainloom.geometry import Pixels, Scale

_BACKGROUND_QUANTILE = 0.95
_BACKGROUND_LEAST = 200.0
_DENSITY_LEAST = 0.03
_DENSITY_MOST = 0.15


def background(rgb: Pixels) -> NDArray[np.float64]:
    """The colour of empty glass: the 95th percentile of each channel, at least 200 of 255. Shape (3,)."""
    quantiles = np.quantile(rgb.reshape(-1, rgb.shape[-1]), _BACKGROUND_QUANTILE, axis=0)
    return np.maximum(quantiles, _BACKGROUND_LEAST)


def mean_density(rgb: Pixels, glass: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
    """Mean optical density over the channels, log 10, at least 0. Shape (rows, cols)."""
    white = background(rgb) if glass is None else glass
    table = -np.log10((np.arange(256)[:, None] + 1.0) / (white[None, :] + 1.0)).astype(np.float32)
    channels = [np.take(table[:, k], rgb[..., k]) for k in range(rgb.shape[-1])]
    return np.maximum(np.mean(channels, axis=0), 0).astype(np.float32)


def tissue_mask(rgb: Pixels, um_per_px: Scale, least_mm2: float = 0.002) -> NDArray[np.bool_]:
    """Which pixels of an overview show tissue.

    Parameters
    ----------
    rgb
        An overview, (rows, cols, 3) uint8; 4 to 16 um per px is right.
    um_per_px
        Its um per px.
    least_mm2
        Pieces smaller than this, and holes smaller than a tenth of it, are dropped.

    Returns
    -------
    (rows, cols) bool.

    Notes
    -----
    Otsu's threshold on the mean optical density, held between 0.03 and 0.15 so that a slide full of tissue or without
    any is not split at its noise.

    References
    ----------
    N. Otsu, IEEE Trans. Systems, Man and Cybernetics 9 (1979) 62-66, doi 10.1109/TSMC.1979.4310076.
    """
    density = cv2.GaussianBlur(mean_density(rgb), (0, 0), 1.0)
    scaled = np.clip(density * 255, 0, 255).astype(np.uint8)
    otsu, _ = cv2.threshold(scaled, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    mask = density > np.clip(otsu / 255, _DENSITY_LEAST, _DENSITY_MOST)
    px_um2 = um_per_px[0] * um_per_px[1]
    mask = _drop_small(mask, least_mm2 * 1e6 / px_um2)
    return ~_drop_small(~mask, least_mm2 * 1e5 / px_um2)


def _drop_small(mask: NDArray[np.bool_], least_px: float) -> NDArray[np.bool_]:
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= least_px
    keep[0] = False
    kept: NDArray[np.bool_] = keep[parts]
    return kept
