"""All stains of a case as one picture on the reference grid: what is viewed, cut into patches and predicted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stainloom.case.resample import resample_image, source_places
from stainloom.case.warp import Warp
from stainloom.geometry import Box, Pixels, Pyramid, Scale, as_scale, size_um

Look = Literal["scanned", "normalized"]
"""Colours as they were scanned, or brought to the study's look of the stain where that was done."""


@dataclass(frozen=True)
class AlignedStain:
    """One stain as it lies on the reference.

    Attributes
    ----------
    name
        The stain.
    pyramid
        Its slide.
    warp
        Reference um to its um; None for the reference itself.
    colour
        Normalization of its pixels ((..., 3) uint8 to the same), or None for raw colours.
    """

    name: str
    pyramid: Pyramid
    warp: Warp | None = None
    colour: Callable[[Pixels], Pixels] | None = None

    def read(self, box: Box, um_per_px: float | Scale, look: Look = "normalized") -> Pixels:
        """A box of the reference grid, (rows, cols, 3) uint8; white where the section says nothing."""
        picture = resample_image(self.pyramid, self.warp, box, um_per_px)
        return picture if self.colour is None or look == "scanned" else self.colour(picture)

    def inside(self, box: Box, um_per_px: float | Scale) -> NDArray[np.bool_]:
        """Which pixels of a box of the reference grid lie on this slide, (rows, cols)."""
        places = source_places(self.warp, box, as_scale(um_per_px))
        extent = np.array(size_um(self.pyramid.levels[0], self.pyramid.um_per_px[0]))
        with np.errstate(invalid="ignore"):
            return np.all((places >= 0) & (places <= extent), axis=-1)


@dataclass(frozen=True)
class AlignedCase:
    """The stains of a case, in the study's order; a stain that is missing or left out is None."""

    names: tuple[str, ...]
    stains: tuple[AlignedStain | None, ...]

    def read(self, box: Box, um_per_px: float | Scale) -> Pixels:
        """A box of the reference grid in all stains, (stains, rows, cols, 3) uint8; white where a stain is missing."""
        result = np.full((len(self.stains), box.rows, box.cols, 3), 255, np.uint8)
        for number, stain in enumerate(self.stains):
            if stain is not None:
                result[number] = stain.read(box, um_per_px)
        return result

    def inside(self, box: Box, um_per_px: float | Scale) -> NDArray[np.bool_]:
        """Where each stain has its slide, (stains, rows, cols)."""
        result = np.zeros((len(self.stains), box.rows, box.cols), np.bool_)
        for number, stain in enumerate(self.stains):
            if stain is not None:
                result[number] = stain.inside(box, um_per_px)
        return result
