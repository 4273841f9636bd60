"""A look at a whole slide: its glass, and a sample of its tissue."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

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
_FINE_UM = 2.0
_BOX_TISSUE_LEAST = 0.5


def glass_of(pyramid: Pyramid, *, um_per_px: float = 16.0) -> Floats:
    """The colour of a slide's empty glass, (3,), from an overview."""
    return background(overview(pyramid, _overview_um(pyramid, um_per_px)))


def _overview_um(pyramid: Pyramid, um_per_px: float) -> float:
    size, scale = pyramid.levels[0], pyramid.um_per_px[0]
    area_um2 = size.rows * scale[0] * size.cols * scale[1]
    finest = max(um_per_px, max(scale))
    return max(finest, math.sqrt(area_um2 / _OVERVIEW_PX_MOST))


@dataclass(frozen=True, eq=False)
class TissueSample:
    """A look at a slide's tissue.

    Attributes
    ----------
    pixels
        (n, 3) uint8.
    detail
        How fine its structures are, 0 (all smooth) to about 1 (neighbours have nothing in common): mean square of the
        difference of places 2 um apart (a pixel, where pixels are larger), over twice the variance, in optical density,
        of tissue within 32 px; 0 where the slide shows too little of it.
    detail_um
        um per px that was looked at: only slides of about the same can be compared.
    """

    pixels: Pixels
    detail: float
    detail_um: float


def sample_tissue(
    pyramid: Pyramid,
    settings: NormalizeSettings | None = None,
    *,
    um_per_px: float = 4.0,
    progress: Progress = silent,
) -> TissueSample:
    """Pixels of tissue from all over a slide, and how fine its structures are.

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
    At most `settings.sample_px` pixels.

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
    down_um, along_um = pyramid.um_per_px[level]
    apart = (max(1, round(_FINE_UM / down_um)), max(1, round(_FINE_UM / along_um)))
    found, squares = [], np.zeros(2)
    for number, centre in enumerate(centres):
        progress(number, count, "looking at tissue")
        pixels, box, inside = _tissue_near(pyramid, level, centre, mask, step, generator)
        found.append(pixels)
        squares += _fine_and_all(box, inside, apart)
    pixels = np.concatenate(found)
    detail = float(squares[0] / squares[1]) if squares[1] > 0 else 0.0
    return TissueSample(
        pixels[generator.permutation(len(pixels))[: chosen.sample_px]], detail, (down_um + along_um) / 2
    )


def _fine_and_all(box: Pixels, inside: NDArray[np.bool_], apart: tuple[int, int]) -> Floats:
    """Mean square difference of tissue so many px apart along rows and columns, and twice its variance."""
    if inside.mean() < _BOX_TISSUE_LEAST:
        return np.zeros(2)
    dark = np.log10(256.0 / (box.mean(axis=-1) + 1))
    rows, cols = apart
    both_down, both_along = inside[rows:] & inside[:-rows], inside[:, cols:] & inside[:, :-cols]
    if not (both_down.any() and both_along.any()):
        return np.zeros(2)
    down, along = (dark[rows:] - dark[:-rows])[both_down], (dark[:, cols:] - dark[:, :-cols])[both_along]
    return np.array([(np.mean(down**2) + np.mean(along**2)) / 2, 2 * dark[inside].var()])


def _tissue_near(
    pyramid: Pyramid,
    level: int,
    centre_um: Points,
    mask: NDArray[np.bool_],
    step: float,
    generator: np.random.Generator,
) -> tuple[Pixels, Pixels, NDArray[np.bool_]]:
    """Pixels of tissue around a place, the whole box of them, and which of it is tissue."""
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
    read = pyramid.read(level, box)
    tissue = np.zeros((_SAMPLE_BOX_PX, _SAMPLE_BOX_PX), np.bool_)
    tissue[index[inside, 0], index[inside, 1]] = True
    return read[kept[:, 0], kept[:, 1]], read, tissue


def fit_slide(
    pyramid: Pyramid, stain: Stain, settings: NormalizeSettings | None = None, *, progress: Progress = silent
) -> StainFit:
    """The fit of a whole slide: its glass, a sample of its tissue, and `fit_stain` on them; errors as there."""
    sample = sample_tissue(pyramid, settings, progress=progress)
    fit = fit_stain(sample.pixels, stain, settings, glass=glass_of(pyramid))
    return replace(fit, detail=sample.detail, detail_um=sample.detail_um)
