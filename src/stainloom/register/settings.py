"""Settings of the registration: light to import, since every command line and dock reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval


@dataclass(frozen=True)
class RegisterSettings:
    """How sections are laid on one another.

    Attributes
    ----------
    work_px
        Longer side of the pictures that are compared, px. More is finer and slower.
    turns
        How many turns the coarse search tries, each plain and mirrored.
    grid_um
        Distance of the nodes of the warp, um; 0 takes eight pixels of the work picture.
    flow
        Whether the high level (gray-value registration) runs; without it the smooth spline of the middle level stands.
    """

    work_px: Annotated[int, Interval(ge=200, le=3000)] = 900
    turns: Annotated[int, Interval(ge=12, le=360)] = 60
    grid_um: Annotated[float, Interval(ge=0, le=1000)] = 0.0
    flow: bool = True
