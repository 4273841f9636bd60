"""A look at a whole slide: its glass, and a sample of its tissue."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stainloom.case.resample import overview
from stainloom.case.stains import Stain
from stainloom.errors import SlideError
from stainloom.geometry import Box, Pixels, Points, Pyramid, level_for
from stainloom.progress import Progress, silent
from stainloom.stain.density import Floats
from stainloom.stain.fit import NormalizeSettings, StainFit
from stainloom.stain.macenko import fit_stain
from stainloom.tissue import background, tissue_mask

_OVERVIEW_PX_MOST = 4_000_000
_SAMPLE_BOX_PX = 32
_PX_A_BOX = 256


def glass_of(pyramid: Pyramid, *, um_per_px: float = 16.0) -> Floats:
    """The colour of a slide's empty glass, (3,), from an overview."""
    return background(overview(pyramid, _overview_um(pyramid, um_per_px)))


def _overview_um(pyramid: Pyramid, um_per_px: float) -> float:
    size, scale = pyramid.levels[0], pyramid.um_per_px[0]
    area_um2 = size.rows * scale[0] * size.cols * scale[1]
    finest = max(um_per_px, max(scale))
    return max(finest, math.sqrt(area_um2 / _OVERVIEW_PX_MOST))


def sample_tissue(
    pyramid: Pyramid,
    settings: NormalizeSettings | None = None,
    *,
    um_per_px: float = 4.0,
    progress: Progress = silent,
) -> Pixels:
    """Pixels of tissue from all over a slide.

    Parameters
    ----------
    pyramid
        The slide.
    settings
        How many pixels, at which scale, and the seed.
    um_per_px
        Scale of the overview on which tissue is found.

    Returns
    -------
    (n, 3) uint8, at most `settings.sample_px`.

    Raises
    ------
    SlideError
        Where the slide shows no tissue.

    Notes
    -----
    Small boxes around random places of the tissue are read, never a whole level of a large slide. The same seed gives
    the same pixels.
    """
    chosen = settings or NormalizeSettings()
    step = _overview_um(pyramid, um_per_px)
    mask = tissue_mask(overview(pyramid, step), (step, step))
    places = np.argwhere(mask)
    if len(places) == 0:
        raise SlideError(
            "no tissue is found", expected="stained tissue on glass", next="look at the slide, or leave it out"
        )
    generator = np.random.default_rng(chosen.seed)
    count = max(1, math.ceil(chosen.sample_px / _PX_A_BOX))
    centres = (places[generator.integers(0, len(places), count)] + generator.random((count, 2))) * step
    level = level_for(pyramid, chosen.sample_um)
    found = []
    for number, centre in enumerate(centres):
        progress(number, count, "looking at tissue")
        found.append(_tissue_near(pyramid, level, centre, mask, step, generator))
    pixels = np.concatenate(found)
    return pixels[generator.permutation(len(pixels))[: chosen.sample_px]]


def _tissue_near(
    pyramid: Pyramid,
    level: int,
    centre_um: Points,
    mask: NDArray[np.bool_],
    step: float,
    generator: np.random.Generator,
) -> Pixels:
    scale = pyramid.um_per_px[level]
    row, col = (int(c / s) - _SAMPLE_BOX_PX // 2 for c, s in zip(centre_um, scale, strict=True))
    box = Box(row, col, _SAMPLE_BOX_PX, _SAMPLE_BOX_PX)
    picks = generator.permutation(_SAMPLE_BOX_PX**2)
    index = np.stack(np.divmod(picks, _SAMPLE_BOX_PX), axis=-1)
    where = np.floor((index + 0.5 + [row, col]) * scale / step).astype(np.intp)
    size = pyramid.levels[level]
    inside = np.all((where >= 0) & (where < mask.shape), axis=1)
    inside &= np.all((index + [row, col] >= 0) & (index + [row, col] < size.shape), axis=1)
    inside[inside] = mask[where[inside, 0], where[inside, 1]]
    kept = index[inside][:_PX_A_BOX]
    return pyramid.read(level, box)[kept[:, 0], kept[:, 1]]


def fit_slide(
    pyramid: Pyramid, stain: Stain, settings: NormalizeSettings | None = None, *, progress: Progress = silent
) -> StainFit:
    """The fit of a whole slide: its glass, a sample of its tissue, and `fit_stain` on them; errors as there."""
    return fit_stain(sample_tissue(pyramid, settings, progress=progress), stain, settings, glass=glass_of(pyramid))
