"""A trained run and a training that is under way: what both are, as plain data without torch; no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stainloom.case.lesions import LesionClass

Outcome = Literal["learned", "did not learn"]
Arrays = Mapping[str, NDArray[Any]]


_BALANCED_GAIN = 0.05
"""Mean recall over the classes beyond an equal share: less is chance on a few patients."""


@dataclass(frozen=True, eq=False)
class TrainState:
    """A training between two batches, complete: going on from it equals never having stopped, bit for bit.

    Attributes
    ----------
    arrays
        Weights, moments of the optimiser, best weights so far, order of samples, generator state; by name.
    facts
        Everything else, JSON: settings, counts, figures so far.
    """

    arrays: Arrays
    facts: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Run:
    """A trained network with all that is needed to apply it and to say where it came from.

    Attributes
    ----------
    stains
        Names, in the order of the network's branches.
    classes
        What it tells apart, in the order of its outputs.
    settings
        The settings of the training, as JSON.
    size_px, um_per_px
        Side of a patch in px, and its scale.
    mean, std
        Of the training pixels (0 to 255), (stains, channels) float32; one channel where the run is gray.
    weights
        By name, float32.
    outcome
        A run that did not learn is kept for its record and refused for prediction.
    figures
        What was measured, JSON.
    history
        One row an epoch, numbers by name.
    patchset
        Id of the patch set.
    seed, threads
        Both together determine the weights.
    simulated
        Whether the slides were made by the program.
    one_patient
        Whether training and test share a patient: such a run proves nothing about others.
    normalized
        Whether the patches were colour-normalized; prediction must see the same.
    versions
        Of the programs that made it.
    id
        Name of its folder; empty until it is saved.
    """

    stains: tuple[str, ...]
    classes: tuple[LesionClass, ...]
    settings: Mapping[str, Any]
    size_px: int
    um_per_px: float
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    weights: Arrays
    outcome: Outcome
    figures: Mapping[str, Any]
    history: tuple[Mapping[str, float], ...]
    patchset: str
    seed: int
    threads: int
    simulated: bool
    one_patient: bool
    normalized: bool
    versions: Mapping[str, str] = field(default_factory=dict)
    id: str = ""

    @property
    def channels(self) -> int:
        """3 for colour, 1 for gray."""
        return int(self.mean.shape[1])

    @property
    def class_ids(self) -> NDArray[np.uint8]:
        """Ids of the classes, in the order of the outputs."""
        return np.array([lesion.id for lesion in self.classes], np.uint8)


@dataclass(frozen=True, eq=False)
class RunFacts:
    """What a trained run is, without its weights: for lists and choices.

    Attributes
    ----------
    id
        Name of its folder.
    made
        When, UTC, ISO 8601.
    stains, classes, um_per_px, outcome, figures, simulated, one_patient, normalized
        As in `Run`.
    control
        What it was a control for; `none` where it was to learn.
    problem
        Why it cannot be used, one sentence; empty where nothing is known against it.
    """

    id: str
    made: str = ""
    stains: tuple[str, ...] = ()
    classes: tuple[LesionClass, ...] = ()
    um_per_px: float = 1.0
    outcome: Outcome = "learned"
    control: str = "none"
    figures: Mapping[str, Any] = field(default_factory=dict)
    simulated: bool = False
    one_patient: bool = False
    normalized: bool = True
    problem: str = ""

    @property
    def learned(self) -> bool:
        """Whether it is a network to predict with."""
        return not self.problem and self.outcome == "learned" and self.control == "none"

    @property
    def accuracy(self) -> float | None:
        """Share of the test windows that it has right; None where it was not tested."""
        return self._tested("accuracy")

    @property
    def chance(self) -> float | None:
        """What guessing the largest class has right of them."""
        return self._tested("chance")

    @property
    def guesses(self) -> bool:
        """Whether it is no better than guessing on patients that it never saw."""
        return is_guessing(self.accuracy, self.chance, self._tested("balanced_accuracy"), len(self.classes))

    @property
    def held_out(self) -> tuple[str, ...]:
        """The patients that it was tested on, and never saw before."""
        test = self.figures.get("test")
        found = test.get("patients") if isinstance(test, Mapping) else None
        return tuple(str(one) for one in found) if isinstance(found, list) else ()

    def _tested(self, figure: str) -> float | None:
        test = self.figures.get("test")
        found = test.get(figure) if isinstance(test, Mapping) else None
        return found if isinstance(found, float) else None


def is_guessing(accuracy: float | None, chance: float | None, balanced: float | None, classes: int) -> bool:
    """Whether a network does no better than who names the largest class everywhere, over windows and over classes.

    Where one class is nearly all there is, a network that tells the others apart may have fewer windows right than that,
    and is worth its while. False where nothing was measured.
    """
    if accuracy is None or chance is None or balanced is None:
        return False
    return accuracy <= chance and balanced <= 1 / max(1, classes) + _BALANCED_GAIN
