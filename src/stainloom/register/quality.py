"""How well two sections were aligned, and whether to trust it, without knowing a single true pair of points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from stainloom.geometry import Points
from stainloom.register.picture import Mask, Picture, boxed, carry_by_places, local_correlation

Verdict = Literal["good", "check", "failed"]

WINDOW_PX = 31
# Chosen on right and wrong pairs (turned, mirrored, shifted, other tissue); a wrong pair must not be called good.
_AGREEMENT_GOOD = 0.33
_AGREEMENT_FAILED = 0.15
_CORRELATION_GOOD = 0.19
_CORRELATION_FAILED = 0.09
_EXPLAINED_GOOD = 0.55
_EXPLAINED_FAILED = 0.25
_LEAD_GOOD = 0.02
# Of the correlation itself. Of 24 slides of another patient (simulated, HE of one case and a stain of the next) those whose fine
# structure seemed to agree had less than 0.08, of 24 right ones all but one more than 0.15.
_LEAD_SHARE_GOOD = 0.12
_LEAD_CLEAR = 0.05
_FOLDED_MOST = 0.001


@dataclass(frozen=True)
class LevelReport:
    """What one level of a registration did.

    Attributes
    ----------
    name
        `low`, `middle` or `high`.
    method
        What gave its result.
    succeeded
        Whether the level improved on what it was given.
    fell_back_to
        What stands in for it where it did not; else empty.
    figures
        Its own figures by name.
    """

    name: str
    method: str
    succeeded: bool
    fell_back_to: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        return {
            "name": self.name,
            "method": self.method,
            "succeeded": self.succeeded,
            "fell_back_to": self.fell_back_to,
            "figures": {name: round(float(value), 4) for name, value in self.figures.items()},
        }


@dataclass(frozen=True)
class Quality:
    """How far an alignment can be trusted.

    Attributes
    ----------
    verdict
        `good`: use it. `check`: look before use. `failed`: do not use it.
    levels
        What each level did.
    agreement
        Mean agreement in [0, 1] of forward and backward flow straight from the affine, over the tissue.
    local_correlation
        Mean local correlation of the gray values after alignment, [-1, 1].
    explained
        Share of the reference's tissue that lies on tissue of the moving section, [0, 1].
    lead
        By how much the position found beats the best other turn or mirror image, in local correlation, after all levels
        where that came near; 1 where the position was given.
    message
        The verdict in plain words.
    """

    verdict: Verdict
    levels: tuple[LevelReport, ...]
    agreement: float
    local_correlation: float
    explained: float
    lead: float
    message: str

    @property
    def trusted(self) -> bool:
        """Whether the verdict is good."""
        return self.verdict == "good"

    def as_dict(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        return {
            "verdict": self.verdict,
            "trusted": self.trusted,
            "message": self.message,
            "agreement": round(self.agreement, 4),
            "local_correlation": round(self.local_correlation, 4),
            "explained": round(self.explained, 4),
            "lead": round(self.lead, 4),
            "levels": [level.as_dict() for level in self.levels],
        }


def measure(reference: Picture, moving: Picture, places: Points) -> tuple[float, float]:
    """Local correlation and the share of tissue explained, under a map between two pictures of one scale."""
    carried, inside = carry_by_places(moving.soft(1.0), places)
    correlation, weight = local_correlation(reference.soft(1.0), carried, inside, WINDOW_PX)
    weight = weight * boxed(reference.tissue, WINDOW_PX)
    value = float((correlation * weight).sum() / max(float(weight.sum()), 1e-6))
    return value, explained(reference.tissue, moving.tissue, places)


def explained(reference: Mask, moving: Mask, places: Points) -> float:
    """Share of the reference's tissue that lies on tissue of the moving section."""
    on, _ = carry_by_places(moving.astype(np.float32), places)
    return float((on[reference] > 0.5).mean())


def assess(
    levels: tuple[LevelReport, ...],
    agreement: float,
    local_correlation: float,
    explained: float,
    lead: float,
    folded: float,
) -> Quality:
    """The verdict from the figures.

    Parameters
    ----------
    levels
        What each level did.
    agreement, local_correlation, explained, lead
        As in `Quality`.
    folded
        Share of the tissue where the map still folds.
    """
    doubts = _doubts(agreement, local_correlation, explained, lead, folded)
    unsure = agreement < _AGREEMENT_GOOD
    hopeless = (
        agreement < _AGREEMENT_FAILED
        or local_correlation < _CORRELATION_FAILED
        or explained < _EXPLAINED_FAILED
        or (unsure and (local_correlation < _CORRELATION_GOOD or lead < _LEAD_CLEAR))
    )
    verdict: Verdict = "failed" if hopeless else "check" if doubts else "good"
    said = {
        "good": "The sections agree in their fine structure",
        "check": "Look at the checkerboard before using this alignment: " + "; ".join(doubts),
        "failed": "Do not use this alignment: " + "; ".join(doubts),
    }[verdict]
    return Quality(verdict, levels, agreement, local_correlation, explained, lead, said + ".")


def _doubts(agreement: float, correlation: float, explained: float, lead: float, folded: float) -> list[str]:
    found = []
    if agreement < _AGREEMENT_GOOD:
        found.append(
            f"fine structure agrees in only {agreement:.0%} of the tissue (a sure alignment has {_AGREEMENT_GOOD:.0%})"
        )
    if correlation < _CORRELATION_GOOD:
        found.append(f"dark and light places hardly follow one another (local correlation {correlation:.2f})")
    if explained < _EXPLAINED_GOOD:
        found.append(f"only {explained:.0%} of the reference's tissue lies on tissue of this section")
    if lead < max(_LEAD_GOOD, _LEAD_SHARE_GOOD * correlation):
        found.append("another turn or the mirror image fits nearly as well")
    if folded > _FOLDED_MOST:
        found.append("the alignment folds the tissue in places")
    return found
