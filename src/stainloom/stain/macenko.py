"""Which directions the dyes of a sample of pixels have, and how strong they are."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np

from stainloom.case.stains import Stain
from stainloom.errors import SlideError
from stainloom.geometry import Pixels
from stainloom.stain.density import Floats, angle_deg, density, unit, unmix
from stainloom.stain.fit import STRENGTH_MOST, NormalizeSettings, StainFit, triple
from stainloom.tissue import background

_LEAST_PX = 200
_ONE_DYE_DEG = 6.0
_FAR_DEG = 45.0
_CONDITION_MOST = 60.0
_ROUNDS = 12
_STRENGTH_LEAST = 0.02


def fit_stain(
    rgb_sample: Pixels, stain: Stain, settings: NormalizeSettings | None = None, *, glass: Floats | None = None
) -> StainFit:
    """The directions and strengths of a slide's dyes.

    Parameters
    ----------
    rgb_sample
        Tissue pixels, (n, 3) uint8, or a picture, (rows, cols, 3).
    stain
        Which dyes to look for; its published directions only say which dye is which (two dyes) or where to start (three).
    settings
        Percentile, threshold, number of pixels, seed.
    glass
        The colour of empty glass, (3,). Without it: the 95th percentile of a picture, the lightest pixels of a sample.

    Returns
    -------
    The fit. What went not quite well stands in its `warnings`.

    Raises
    ------
    SlideError
        Where fewer than 200 pixels are stained at all.

    Notes
    -----
    Two dyes: Macenko's method: the plane of the two main directions of optical density, and in it the directions at the
    first and last percentile of the angle. Where both fall within 6 degrees only one dye is there: the nearer takes the
    fitted direction, the other its published one, and a warning says so.

    Three dyes: telling three dyes apart is ill-conditioned (condition numbers of 8 to 34 for published directions), and
    no plane holds them. Without their strength, mixtures of three dyes fill a triangle: from the published corners on,
    each corner moves to the median of the pixels farthest from the opposite side, a few rounds, and never further than
    `turn_most_deg`. A warning says where that limit was met; if the triangle collapses or turns over, the published
    directions are kept. On mixtures with pure pixels this is right within a degree for AB-PAS and Van Gieson; Masson's
    iron haematoxylin and methyl blue can be taken for each other where the slide differs much from the published ones.

    References
    ----------
    M. Macenko et al., A method for normalizing histology slides for quantitative analysis, ISBI 2009, 1107-1110,
    doi 10.1109/ISBI.2009.5193250.
    """
    chosen = settings or NormalizeSettings()
    pixels, white = _pixels_and_glass(rgb_sample, glass)
    generator = np.random.default_rng(chosen.seed)
    if len(pixels) > chosen.sample_px:
        pixels = pixels[generator.permutation(len(pixels))[: chosen.sample_px]]
    densities = density(pixels, white)
    dense = densities[densities.mean(axis=1) > chosen.least_density]
    if len(dense) < _LEAST_PX:
        raise SlideError(
            "too little stained tissue to tell the dyes apart",
            stain=stain.name,
            expected=f"{_LEAST_PX} pixels of a mean optical density above {chosen.least_density}",
            found=f"{len(dense)} of {len(pixels)}",
            next="look at the slide; for a pale one lower the density threshold, or leave this stain out of the case",
        )
    published = unit([dye.direction for dye in stain.dyes])
    vectors, warnings = _METHODS[len(published)](dense, published, stain, chosen)
    amounts = unmix(dense, vectors)
    strengths = np.percentile(amounts, chosen.strength_percentile, axis=0)
    for dye, strength in zip(stain.dyes, strengths, strict=True):
        if strength < _STRENGTH_LEAST:
            warnings.append(f"{dye.name} is hardly found on this slide")
    residual = float(np.sqrt(np.mean((dense - amounts @ vectors) ** 2)))
    return StainFit(
        stain.name,
        tuple(dye.name for dye in stain.dyes),
        tuple(triple(v) for v in vectors),
        tuple(float(np.clip(s, _STRENGTH_LEAST, STRENGTH_MOST)) for s in strengths),
        triple(white),
        sampled_px=len(pixels),
        residual=residual,
        warnings=tuple(warnings),
    )


def _pixels_and_glass(rgb: Pixels, glass: Floats | None) -> tuple[Pixels, Floats]:
    if rgb.dtype != np.uint8 or rgb.ndim not in (2, 3) or rgb.shape[-1] != 3:
        raise ValueError(f"pixels are (n, 3) or (rows, cols, 3) uint8: {rgb.shape} {rgb.dtype}")
    pixels = rgb.reshape(-1, 3)
    if glass is not None:
        return pixels, np.clip(np.asarray(glass, np.float64), 1, 255)
    if len(pixels) == 0:
        return pixels, np.full(3, 255.0)
    if rgb.ndim == 3:
        return pixels, background(rgb)
    return pixels, np.maximum(np.quantile(pixels, 0.999, axis=0), 200.0)


def _one_dye(dense: Floats, published: Floats, stain: Stain, settings: NormalizeSettings) -> tuple[Floats, list[str]]:
    return unit(np.median(unit(dense), axis=0))[None], []


def _two_dyes(dense: Floats, published: Floats, stain: Stain, settings: NormalizeSettings) -> tuple[Floats, list[str]]:
    _, axes = np.linalg.eigh(dense.T @ dense)
    first, second = axes[:, 2], axes[:, 1]
    first = first if first.sum() >= 0 else -first
    phi = np.arctan2(dense @ second, dense @ first)
    low, high = np.percentile(phi, [settings.percentile, 100 - settings.percentile])
    ends = [unit(np.maximum(math.cos(p) * first + math.sin(p) * second, 0)) for p in (low, high)]
    order = max(permutations(range(2)), key=lambda o: sum(float(ends[o[k]] @ published[k]) for k in range(2)))
    vectors = np.array([ends[k] for k in order])
    names = [dye.name for dye in stain.dyes]
    if angle_deg(*ends) < _ONE_DYE_DEG:
        middle = unit(ends[0] + ends[1])
        there = int(np.argmax(published @ middle))
        vectors = published.copy()
        vectors[there] = middle
        return vectors, [
            f"only one dye is seen, taken for {names[there]}; for {names[1 - there]} the published colour is used"
        ]
    turned = [angle_deg(v, p) for v, p in zip(vectors, published, strict=True)]
    return vectors, [
        f"{name} lies {turn:.0f} degrees from its published colour"
        for name, turn in zip(names, turned, strict=True)
        if turn > _FAR_DEG
    ]


def _three_dyes(
    dense: Floats, published: Floats, stain: Stain, settings: NormalizeSettings
) -> tuple[Floats, list[str]]:
    tints = _tint(np.maximum(dense, 0))
    vectors = published
    most = max(_CONDITION_MOST, 1.5 * float(np.linalg.cond(published)))
    for _ in range(_ROUNDS):
        shares = tints @ np.linalg.inv(_tint(vectors))
        purest = shares >= np.percentile(shares, 100 - settings.percentile, axis=0)
        aims = np.array([unit(np.median(tints[purest[:, k]], axis=0)) for k in range(3)])
        vectors = np.array([_turned(a, p, settings.turn_most_deg) for a, p in zip(aims, published, strict=True)])
        mirrored = np.linalg.det(vectors) * np.linalg.det(published) <= 0
        if mirrored or np.linalg.cond(vectors) > most:
            return published, ["the three dyes cannot be told apart on this slide; their published colours are used"]
    return vectors, [
        f"{dye.name} looks as unlike its published colour as is allowed ({settings.turn_most_deg:.0f} degrees between their "
        "directions): compare raw and normalized; where normalized looks wrong, allow less by *Turn most*, and normalize anew"
        for dye, vector, start in zip(stain.dyes, vectors, published, strict=True)
        if angle_deg(vector, start) > settings.turn_most_deg - 0.1
    ]


def _tint(densities: Floats) -> Floats:
    """Densities without their strength: a triangle's plane, in which mixtures of three dyes fill the triangle."""
    return densities / densities.sum(axis=-1, keepdims=True)


def _turned(vector: Floats, start: Floats, most_deg: float) -> Floats:
    """The vector, or on its way from the start the direction at the largest angle allowed."""
    turn = math.radians(angle_deg(vector, start))
    if turn <= math.radians(most_deg):
        return vector
    share = math.radians(most_deg) / turn
    return unit(math.sin((1 - share) * turn) * start + math.sin(share * turn) * vector)


_METHODS = {1: _one_dye, 2: _two_dyes, 3: _three_dyes}
