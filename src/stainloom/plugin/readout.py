"""What is under the cursor, in words and numbers: one pixel of the paint and of the maps. Knows no Qt."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stainloom.case.lesions import LesionClass
from stainloom.case.view import CaseView, MapsView
from stainloom.geometry import Scale


@dataclass(frozen=True)
class Readout:
    """One place of a case.

    Attributes
    ----------
    place_um
        (row, col) on the reference.
    painted, predicted
        Short names of the classes; empty where nothing is painted or predicted.
    certainty
        Probability of the predicted class, 0 to 1.
    probabilities, weights
        By class (short name) and by stain, 0 to 1; empty where nothing was predicted.
    """

    place_um: tuple[float, float]
    painted: str = ""
    predicted: str = ""
    certainty: float = 0.0
    probabilities: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """All of it in one line: *12,345 um, 6,789 um  painted MEMA  MEMA 0.81  HE .4 AB-PAS .9*; columns stand first."""
        row, col = self.place_um
        parts = [f"{col:,.0f} µm, {row:,.0f} µm"]
        parts += [f"painted {self.painted}"] if self.painted else []
        return "   ".join([*parts, *([self.network] if self.network else [])])

    @property
    def network(self) -> str:
        """What the network says of it: *MEMA 0.81   HE .4 AB-PAS .9*; empty where nothing was predicted."""
        parts = [f"{self.predicted} {self.certainty:.2f}"] if self.predicted else []
        weights = " ".join(f"{stain} {_tenths(share)}" for stain, share in self.weights.items())
        return "   ".join([*parts, *([weights] if weights else [])])


def _tenths(share: float) -> str:
    return f"{share:.1f}".removeprefix("0") if share < 0.95 else "1"


def read_out(view: CaseView, paint: Any, maps: MapsView | None, place_um: tuple[float, float]) -> Readout:
    """What is at a place of the reference.

    Parameters
    ----------
    view
        The case.
    paint
        Its class raster, at `view.label_um_per_px`, or None.
    maps
        What was predicted over it, or None.
    place_um
        (row, col).
    """
    painted = _class_at(paint, view.label_um_per_px, place_um, view.study.lesions)
    index = None if maps is None else maps.index_at(place_um)
    number = 0 if maps is None or index is None else int(maps.class_map[index])
    if maps is None or index is None or number == 0:
        return Readout(place_um, painted)
    probabilities, weights = maps.shares_at(*index)
    by_class = {lesion.short: float(share) for lesion, share in zip(maps.classes, probabilities, strict=True)}
    predicted = _named(maps.classes, number)
    by_stain = {stain: float(share) for stain, share in zip(maps.weights, weights, strict=True)}
    return Readout(place_um, painted, predicted, by_class.get(predicted, 0.0), by_class, by_stain)


def _class_at(raster: Any, um_per_px: Scale, place_um: tuple[float, float], classes: Iterable[LesionClass]) -> str:
    if raster is None:
        return ""
    row, col = (math.floor(um / step) for um, step in zip(place_um, um_per_px, strict=True))
    if not (0 <= row < raster.shape[0] and 0 <= col < raster.shape[1]):
        return ""
    number = int(raster[row, col])
    return _named(classes, number) if number else ""


def _named(classes: Iterable[LesionClass], number: int) -> str:
    return next((lesion.short for lesion in classes if lesion.id == number), f"class {number}")
