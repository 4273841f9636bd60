"""The verdict from figures: what was measured on right and wrong pairs."""

from __future__ import annotations

import pytest

from stainloom.register.quality import LevelReport, assess

LEVELS = (LevelReport("low", "search", True),)


@pytest.mark.parametrize(
    ("figures", "verdict"),
    [
        ((0.49, 0.21, 0.94, 0.15, 0.0), "good"),  # HE and Ki67, right
        ((0.65, 0.43, 0.95, 0.07, 0.0), "good"),  # simulated HE and SMA, right
        ((0.37, 0.34, 1.00, 0.03, 0.0), "check"),  # simulated HE and AB-PAS of another patient
        ((0.34, 0.66, 1.00, 0.06, 0.0), "check"),  # two noise textures
        ((0.34, 0.11, 0.81, 1.00, 0.0), "check"),  # HE and proSPC upside down, as given by a user
        ((0.51, 0.06, 0.85, 1.00, 0.0), "failed"),  # HE and CD31 shifted
        ((0.25, 0.18, 0.99, 0.02, 0.0), "failed"),  # two simulated patients
        ((0.08, 0.15, 0.15, 0.01, 0.0), "failed"),  # lung and kidney
        ((0.70, 0.50, 0.90, 0.30, 0.01), "check"),  # folded
    ],
)
def test_the_verdict_of_measured_pairs(figures: tuple[float, float, float, float, float], verdict: str) -> None:
    quality = assess(LEVELS, *figures)
    assert quality.verdict == verdict
    assert quality.trusted == (verdict == "good")
    assert quality.as_dict()["verdict"] == verdict


@pytest.mark.parametrize("place", range(4))
def test_a_worse_figure_never_gives_a_better_verdict(place: int) -> None:
    order = ("failed", "check", "good")
    best = [0.8, 0.6, 0.95, 0.3]
    seen = []
    for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        figures = [value * (share if k == place else 1) for k, value in enumerate(best)]
        seen.append(order.index(assess(LEVELS, figures[0], figures[1], figures[2], figures[3], 0.0).verdict))
    assert seen == sorted(seen)
    assert seen[0] < seen[-1] == 2
