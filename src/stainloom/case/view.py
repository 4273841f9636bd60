"""A case as the window shows it: every stain with its verdict, what was painted, what was predicted. Opens no file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from stainloom.case.aligned import AlignedStain
from stainloom.case.case import Case
from stainloom.case.lesions import LesionClass
from stainloom.case.study import Study
from stainloom.geometry import Scale

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
        What the verdict means, one sentence; empty for the reference and for good ones.
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
        (classes, rows, cols), in the order of `classes`; float of 0 to 1 or uint8 of 0 to 255.
    weights
        By stain: (rows, cols) float32, 0 to 1: how much the network attended to that stain.
    classes
        The classes of the run.
    realigned
        Stains that were aligned anew, came in or dropped out since: the maps are as they were then.
    """

    run: str
    um_per_px: Scale
    origin_um: tuple[float, float]
    class_map: NDArray[np.uint8]
    probabilities: NDArray[Any]
    weights: Mapping[str, NDArray[np.float32]]
    classes: tuple[LesionClass, ...]
    realigned: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape = self.class_map.shape
        if len(shape) != 2 or self.class_map.dtype != np.uint8:
            raise ValueError(f"a class map is (rows, cols) uint8: {shape} {self.class_map.dtype}")
        if self.probabilities.shape != (len(self.classes), *shape):
            raise ValueError(
                f"probabilities are (classes, rows, cols) = {(len(self.classes), *shape)}: {self.probabilities.shape}"
            )
        for stain, weight in self.weights.items():
            if weight.shape != shape:
                raise ValueError(f"the weights of {stain} are {shape}: {weight.shape}")


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
    carried_at
        By stain: the um per px of the labels carried into that stain's own frame, where they exist and are current.
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
    carried_at: Mapping[str, Scale] = field(default_factory=dict)
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
