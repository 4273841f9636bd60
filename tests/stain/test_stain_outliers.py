"""Slides whose dyes are far from the study's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stainloom.stain.density import unit
from stainloom.stain.fit import StainFit, triple
from stainloom.stain.outliers import odd_fits

TARGET = StainFit(
    "HE", ("haematoxylin", "eosin"), tuple(triple(v) for v in unit(np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]]))), (1.2, 0.8), (240.0,) * 3
)  # fmt: skip


def turned(degrees: float) -> StainFit:
    """The target with its first dye turned in the plane of red and green."""
    angle, (red, green, blue) = np.radians(degrees), TARGET.vectors[0]
    moved = (red * np.cos(angle) - green * np.sin(angle), red * np.sin(angle) + green * np.cos(angle), blue)
    return replace(TARGET, vectors=(moved, TARGET.vectors[1]))


def stronger(*times: float) -> StainFit:
    return replace(TARGET, strengths=tuple(s * t for s, t in zip(TARGET.strengths, times, strict=True)))


def test_what_is_usual_is_not_named():
    usual = {f"S{n}": turned(n) for n in range(8)} | {"strong": stronger(1.9, 0.6)}
    assert odd_fits(usual, TARGET) == {}
    assert odd_fits({}, TARGET) == {}


def test_a_dye_of_another_hue_strength_or_a_faint_slide_is_named_in_words():
    fits = {f"S{n}": turned(0.5 * n) for n in range(8)}
    found = odd_fits(fits | {"hue": turned(25), "strong": stronger(2.5, 1), "weak": stronger(1, 0.4), "faint": stronger(0.3, 0.4)}, TARGET)  # fmt: skip
    assert found == {
        "hue": "haematoxylin of another hue",
        "strong": "haematoxylin 2.5 times as strong",
        "weak": "eosin 2.5 times weaker",
        "faint": "faint, dyes up to 3.3 times weaker",
    }


def test_in_a_study_of_many_hues_the_same_turn_is_usual():
    assert odd_fits({f"S{n}": turned(3 * n) for n in range(9)}, TARGET) == {}
