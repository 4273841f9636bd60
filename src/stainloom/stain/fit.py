"""What is known of one slide's dyes, and the reference that a study's slides are brought to."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Interval

from stainloom.errors import CaseError
from stainloom.stain.density import Floats, unit

STRENGTH_MOST = 10.0

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class NormalizeSettings:
    """How stains are separated and normalized.

    Attributes
    ----------
    method
        `macenko` separates the dyes and brings each to its usual strength; `none` leaves colours as they were scanned.
    percentile
        How far from the edge of the colours a pure dye is taken, per cent; robust against single odd pixels.
    least_density
        Pixels with a mean optical density (log 10) below this are glass and are not used.
    sample_px
        How many tissue pixels of a slide are looked at.
    sample_um
        um per px at which they are read.
    strength_percentile
        Which percentile of a dye's amount counts as its strength.
    turn_most_deg
        Three dyes only: how far a direction may turn away from the published one, degrees.
    least_detail
        A slide whose structures are coarser than this share of what is usual in its study counts as out of focus: it is
        shown, and kept from patches and predictions. 0: none does.
    seed
        Of the random choice of pixels.
    """

    method: Literal["macenko", "none"] = "macenko"
    percentile: Annotated[float, Interval(ge=0.1, le=10)] = 1.0
    least_density: Annotated[float, Interval(ge=0.02, le=0.5)] = 0.10
    sample_px: Annotated[int, Interval(ge=1_000, le=1_000_000)] = 50_000
    sample_um: Annotated[float, Interval(ge=0.1, le=16)] = 1.0
    strength_percentile: Annotated[float, Interval(ge=80, le=100)] = 99.0
    turn_most_deg: Annotated[float, Interval(ge=0, le=45)] = 20.0
    least_detail: Annotated[float, Interval(ge=0, le=1)] = 0.45
    seed: Annotated[int, Interval(ge=0, le=2**31 - 1)] = 0


@dataclass(frozen=True)
class StainFit:
    """The dyes of one slide, or of the reference that slides are brought to.

    Attributes
    ----------
    stain
        Name of the stain.
    dyes
        Names of its dyes, in the stain's order.
    vectors
        Direction of each dye: optical density in R, G, B, length 1.
    strengths
        The 99th percentile of each dye's amount.
    background
        The colour of empty glass, R, G, B.
    sampled_px
        How many pixels were looked at.
    residual
        Root mean square of the optical density that the dyes leave unexplained.
    detail
        How fine the slide's structures are, see `stain.sample.TissueSample`; 0 where that could not be told.
    detail_um
        um per px that was looked at.
    warnings
        What its user ought to know; empty when all went well.
    """

    stain: str
    dyes: tuple[str, ...]
    vectors: tuple[Vector, ...]
    strengths: tuple[float, ...]
    background: Vector
    sampled_px: int = 0
    residual: float = 0.0
    detail: float = 0.0
    detail_um: float = 0.0
    warnings: tuple[str, ...] = ()

    @property
    def matrix(self) -> Floats:
        """The directions as an array, (dyes, 3)."""
        return np.array(self.vectors, np.float64)

    @property
    def condition(self) -> float:
        """How badly errors grow when the dyes are told apart: the condition number of the directions."""
        return float(np.linalg.cond(self.matrix))

    @property
    def id(self) -> str:
        """Hash of the content: 16 hexadecimal digits."""
        text = json.dumps(self.as_dict(), sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def as_dict(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        plain = asdict(self)
        return {key: _plain(value) for key, value in plain.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StainFit:
        """The fit that `as_dict` described; `CaseError` where the values describe none."""
        try:
            return _checked_fit(values)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise CaseError(
                "the numbers of a stain normalization cannot be used",
                found=str(error)[:200],
                next="normalize the stain again",
            ) from error


def _plain(value: Any) -> Any:
    return [_plain(v) for v in value] if isinstance(value, (tuple, list)) else value


def _number(value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"not a number: {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{value} lies outside {low} to {high}")
    return float(value)


def _vector(values: Any, low: float, high: float) -> Vector:
    if not isinstance(values, (list, tuple)) or len(values) != 3:
        raise ValueError(f"not three numbers: {values!r}")
    red, green, blue = (_number(v, low, high) for v in values)
    return (red, green, blue)


def _texts(values: Any, most: int) -> tuple[str, ...]:
    if not isinstance(values, (list, tuple)) or len(values) > most:
        raise ValueError(f"not a list of at most {most} texts: {values!r}")
    if not all(isinstance(v, str) and len(v) <= 1000 for v in values):
        raise ValueError(f"not a list of texts: {values!r}")
    return tuple(values)


def _checked_fit(values: Mapping[str, Any]) -> StainFit:
    known = set(StainFit.__dataclass_fields__)
    if set(values) != known:
        raise ValueError(f"expected exactly the fields {sorted(known)}, found {sorted(values)}")
    dyes = _texts(values["dyes"], 3)
    (stain,) = _texts([values["stain"]], 1)
    vectors = tuple(_vector(v, -1.0, 1.0) for v in values["vectors"])
    strengths = tuple(_number(v, 1e-6, STRENGTH_MOST) for v in values["strengths"])
    if not 1 <= len(dyes) == len(vectors) == len(strengths):
        raise ValueError(f"{len(dyes)} dyes, {len(vectors)} directions, {len(strengths)} strengths")
    lengths = np.linalg.norm(np.array(vectors), axis=1)
    if np.abs(lengths - 1).max() > 1e-3:
        raise ValueError(f"directions have length 1: {lengths.tolist()}")
    sampled = values["sampled_px"]
    if not isinstance(sampled, int) or isinstance(sampled, bool) or sampled < 0:
        raise ValueError(f"a number of pixels: {sampled!r}")
    return StainFit(
        stain,
        dyes,
        vectors,
        strengths,
        _vector(values["background"], 1, 255),
        sampled,
        _number(values["residual"], 0, 10),
        _number(values["detail"], 0, 10),
        _number(values["detail_um"], 0, 1000),
        _texts(values["warnings"], 20),
    )


def triple(values: Floats) -> Vector:
    """Three numbers of an array as plain floats."""
    red, green, blue = (float(v) for v in values)
    return (red, green, blue)


def reference_fit(fits: Sequence[StainFit]) -> StainFit:
    """The look that all slides of one stain are brought to: the median of their fits, number by number.

    Parameters
    ----------
    fits
        The fits of a study's slides of one stain, in any order.

    Raises
    ------
    ValueError
        Where there are none, or of different stains.
    """
    if not fits:
        raise ValueError("a reference needs at least one fit")
    first = fits[0]
    if any((fit.stain, fit.dyes) != (first.stain, first.dyes) for fit in fits):
        raise ValueError(f"a reference is of one stain: {sorted({fit.stain for fit in fits})}")
    if len(fits) == 1:
        return first
    vectors = unit(np.median([fit.matrix for fit in fits], axis=0))
    strengths = np.median([fit.strengths for fit in fits], axis=0)
    return StainFit(
        first.stain,
        first.dyes,
        tuple(triple(v) for v in vectors),
        tuple(float(s) for s in strengths),
        triple(np.median([fit.background for fit in fits], axis=0)),
        sum(fit.sampled_px for fit in fits),
        float(np.median([fit.residual for fit in fits])),
    )


_SCALE_APART = 1.25
_JUDGED_LEAST = 3


def out_of_focus(fits: Mapping[str, StainFit], least_detail: float) -> frozenset[str]:
    """Slides whose structures are far coarser than what is usual for their stain in the study.

    Parameters
    ----------
    fits
        Of one stain, by case.
    least_detail
        Share of the usual (the median) that is asked; 0 asks nothing.

    Notes
    -----
    Only slides looked at on about the same scale are compared, and only three or more: of two nobody can say which is
    the odd one. On 200 simulated slides the nine out of focus had 0.15 to 0.24 of the usual, all others 0.64 or more.
    """
    blurred = set()
    for name, fit in fits.items():
        alike = [
            other.detail
            for other in fits.values()
            if other.detail > 0 and fit.detail_um / _SCALE_APART <= other.detail_um <= fit.detail_um * _SCALE_APART
        ]
        if fit.detail > 0 and len(alike) >= _JUDGED_LEAST and fit.detail < least_detail * float(np.median(alike)):
            blurred.add(name)
    return frozenset(blurred)
