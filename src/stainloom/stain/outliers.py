"""Slides whose dyes are far from what is usual for their stain in the study."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stainloom.stain.density import Floats
from stainloom.stain.fit import StainFit

_STRENGTH_TIMES = 2.0
_TURN_LEAST_DEG = 15.0
_SPREADS = 3.5
_TO_DEVIATION = 1.4826


def odd_fits(fits: Mapping[str, StainFit], target: StainFit) -> dict[str, str]:
    """What is unusual about a slide's dyes, in words; slides with nothing unusual are not named.

    Parameters
    ----------
    fits
        Of one stain, by case.
    target
        The study's look of that stain.

    Notes
    -----
    A dye is unusual that is more than twice as strong or as weak as in the study's look, or whose colour is turned from
    it by 15 degrees and by 3.5 robust deviations (from the median turn of the study's slides). On 200 simulated slides
    sharp ones had 0.6 to 1.7 times the strength; turns reached 4 degrees with two dyes and 15 with three.

    References
    ----------
    B. Iglewicz, D. C. Hoaglin, How to Detect and Handle Outliers, ASQC 1993 (the 3.5).
    """
    if not fits:
        return {}
    turns = np.array([_turns(fit, target) for fit in fits.values()])
    middle = np.median(turns, axis=0)
    spread = _TO_DEVIATION * np.median(np.abs(turns - middle), axis=0)
    limits = np.maximum(_TURN_LEAST_DEG, middle + _SPREADS * spread)
    found = {}
    for (name, fit), turn in zip(fits.items(), turns, strict=True):
        said = _faint(fit, target) or _strengths(fit, target)
        said += [f"{dye} of another hue" for dye, much in zip(fit.dyes, turn > limits, strict=True) if much]
        if said:
            found[name] = ", ".join(said)
    return found


def _turns(fit: StainFit, target: StainFit) -> Floats:
    """By how many degrees each dye's colour is turned."""
    cosine = np.clip((fit.matrix * target.matrix).sum(axis=1), -1.0, 1.0)
    result: Floats = np.degrees(np.arccos(cosine))
    return result


def _faint(fit: StainFit, target: StainFit) -> list[str]:
    """One word where most of the dyes are weak: a faded or thin slide rather than a dye that differs."""
    weaker = [usual / own for own, usual in zip(fit.strengths, target.strengths, strict=True)]
    faint = sum(times > _STRENGTH_TIMES for times in weaker) * 2 > len(weaker) > 1
    return [f"faint, dyes up to {max(weaker):.1f} times weaker"] if faint else []


def _strengths(fit: StainFit, target: StainFit) -> list[str]:
    said = []
    for dye, own, usual in zip(fit.dyes, fit.strengths, target.strengths, strict=True):
        times = own / usual
        if not 1 / _STRENGTH_TIMES <= times <= _STRENGTH_TIMES:
            said.append(f"{dye} {times:.1f} times as strong" if times > 1 else f"{dye} {1 / times:.1f} times weaker")
    return said
