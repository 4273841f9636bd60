"""A case as the window shows it: every stain with its verdict, what was painted, what was predicted. Opens no file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from stainloom.case.aligned import AlignedStain
from stainloom.case.case import Case
from stainloom.case.lesions import LesionClass
from stainloom.case.study import Study
from stainloom.geometry import Scale

Shares = NDArray[np.float32]

Verdict = Literal["reference", "good", "check", "failed", "not aligned", "left out", "missing"]
"""How far a stain's place on the reference can be trusted."""

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

USABLE: tuple[Verdict, ...] = ("reference", "good", "check")
"""Verdicts of stains whose pixels are used; the others are missing to jobs, and never shown as aligned."""


def _nothing_to_close() -> None:
    """For a case that holds no file."""


@dataclass(frozen=True, eq=False)
class StainView:
    """One stain of the study in this case.

    Attributes
    ----------
    name
        The stain.
    aligned
        Its pixels on the reference grid; None where the case has no slide of it or the user left it out. Where the
        verdict is *not aligned* or *failed* the slide may be there without a warp: then it lies as on its own glass.
    verdict
        How far its place can be trusted.
    message
        What the verdict means; empty where there is nothing to know.
    """

    name: str
    aligned: AlignedStain | None
    verdict: Verdict
    message: str = ""

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"a verdict is one of {', '.join(VERDICTS)}: {self.verdict!r}")
        if self.verdict in ("reference", "good") and self.aligned is None:
            raise ValueError(f"a stain without a slide cannot be {self.verdict}: {self.name}")

    @property
    def usable(self) -> bool:
        """Whether its pixels lie on the reference, so that they may be shown beside the others' as aligned."""
        return self.verdict in USABLE

    @property
    def trusted(self) -> bool:
        """Whether it may be shown without a word of caution."""
        return self.verdict in ("reference", "good")


@dataclass(frozen=True, eq=False)
class MapsView:
    """What one run predicted for this case, on the reference slide's own um.

    Attributes
    ----------
    run
        Id of the run.
    um_per_px
        Of the maps.
    origin_um
        Outer corner of map pixel (0, 0) on the reference, (row, col).
    class_map
        (rows, cols) uint8: class ids; 0 where nothing was predicted.
    probabilities
        One (rows, cols) a class, in the order of `classes`; float of 0 to 1 or uint8 of 0 to 255. They may be read from
        the disk only when they are asked for.
    weights
        By stain: (rows, cols), as `probabilities`: how much the network attended to that stain. Read as these.
    classes
        The classes of the run.
    realigned
        Stains that were aligned anew, came in or dropped out since: the maps are as they were then.
    recoloured
        Stains whose colours were normalized anew since.
    without
        Stains that the network learned with and that were missing here: what it says is less sure.
    id
        Tells whether these are still the same maps; empty of maps that were never saved.
    pixel
        The probabilities and the weights at one (row, col), as shares of 1, in the order of `classes` and of `weights`;
        None reads them from the arrays.
    """

    run: str
    um_per_px: Scale
    origin_um: tuple[float, float]
    class_map: NDArray[np.uint8]
    probabilities: Sequence[NDArray[Any]]
    weights: Mapping[str, NDArray[Any]]
    classes: tuple[LesionClass, ...]
    realigned: tuple[str, ...] = ()
    recoloured: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    id: str = ""
    pixel: Callable[[int, int], tuple[Shares, Shares]] | None = None

    def __post_init__(self) -> None:
        shape = self.class_map.shape
        if len(shape) != 2 or self.class_map.dtype != np.uint8:
            raise ValueError(f"a class map is (rows, cols) uint8: {shape} {self.class_map.dtype}")
        if len(self.probabilities) != len(self.classes):
            raise ValueError(f"probabilities are one a class, {len(self.classes)}: {len(self.probabilities)}")

    def same_as(self, other: MapsView) -> bool:
        """Whether others show and say the same."""
        return bool(self.id) and self._said == other._said

    @property
    def _said(self) -> tuple[Any, ...]:
        return self.run, self.id, self.classes, self.realigned, self.recoloured

    @property
    def outdated(self) -> tuple[str, ...]:
        """Stains that are no longer as they were when this was predicted."""
        return (*self.realigned, *(stain for stain in self.recoloured if stain not in self.realigned))

    def probability(self, number: int) -> Shares:
        """The probability of one class, (rows, cols) float32, 0 to 1."""
        return self._shares(self.probabilities[number])

    def weight(self, stain: str) -> Shares:
        """The weight of one stain, (rows, cols) float32, 0 to 1."""
        return self._shares(self.weights[stain])

    def certainty(self) -> Shares:
        """The highest probability, (rows, cols) float32, 0 to 1."""
        highest = self.probabilities[0]
        for number in range(1, len(self.probabilities)):
            highest = np.maximum(highest, self.probabilities[number])
        return self._shares(highest)

    def _shares(self, values: NDArray[Any]) -> Shares:
        if values.shape != self.class_map.shape:
            raise ValueError(f"a map of these is {self.class_map.shape}: {values.shape}")
        return as_shares(values)

    def index_at(self, place_um: tuple[float, float]) -> tuple[int, int] | None:
        """The pixel that holds a place on the reference; None outside of the maps."""
        row, col = (
            math.floor((um - origin) / step)
            for um, origin, step in zip(place_um, self.origin_um, self.um_per_px, strict=True)
        )
        rows, cols = self.class_map.shape
        return (row, col) if 0 <= row < rows and 0 <= col < cols else None

    def shares_at(self, row: int, col: int) -> tuple[Shares, Shares]:
        """Probabilities and weights of one pixel, in the order of `classes` and of `weights`."""
        if self.pixel is not None:
            return self.pixel(row, col)
        probabilities = np.array([plane[row, col] for plane in self.probabilities])
        return as_shares(probabilities), as_shares(np.array([plane[row, col] for plane in self.weights.values()]))


def as_shares(values: NDArray[Any]) -> Shares:
    """Shares of 1 as float32: as they are, or of uint8, 0 to 255."""
    return values.astype(np.float32) / np.float32(255) if values.dtype == np.uint8 else values.astype(np.float32)


@dataclass(frozen=True, eq=False)
class CaseView:
    """A case opened for looking at: what `jobs.open_view` gives.

    Attributes
    ----------
    study, case
        What it belongs to.
    stains
        One a stain of the study, in the study's order; also those that are missing.
    labels
        What was painted on the reference: (rows, cols) uint8 class ids, 0 not annotated; None where nothing was.
    label_um_per_px
        um per px of `labels`; their outer corner is um (0, 0).
    maps
        The current prediction, or None.
    simulated
        Whether the slides were made by the program; said wherever they are shown.
    closing
        Closes the files behind the pyramids.
    """

    study: Study
    case: Case
    stains: tuple[StainView, ...]
    labels: NDArray[np.uint8] | None
    label_um_per_px: Scale
    maps: MapsView | None = None
    simulated: bool = False
    closing: Callable[[], None] = _nothing_to_close

    def __post_init__(self) -> None:
        references = [stain.name for stain in self.stains if stain.verdict == "reference"]
        if len(references) != 1:
            raise ValueError(f"a case is shown on one reference: {references}")
        if self.labels is not None and (self.labels.ndim != 2 or self.labels.dtype != np.uint8):
            raise ValueError(f"labels are (rows, cols) uint8: {self.labels.shape} {self.labels.dtype}")

    @property
    def reference(self) -> AlignedStain:
        """The stain that all others lie on."""
        aligned = next(stain.aligned for stain in self.stains if stain.verdict == "reference")
        assert aligned is not None  # StainView refuses a reference without a slide
        return aligned

    def close(self) -> None:
        """Close the slides. Reading them afterwards is an error."""
        self.closing()
