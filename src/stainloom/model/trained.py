"""What a training says while it runs, and what it gives."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import stainloom
from stainloom.case.lesions import LesionClass
from stainloom.case.run import Arrays, Outcome, Run, TrainState
from stainloom.model.settings import TrainSettings
from stainloom.settings import as_json


@dataclass(frozen=True)
class EpochFigures:
    """One line of metrics.

    Attributes
    ----------
    epoch
        From 1.
    passes
        Samples shown since the start.
    rate
        Step size at its end.
    train_loss, train_accuracy
        Over the epoch, with dropout.
    validation_loss, validation_accuracy, validation_balanced_accuracy
        After the epoch.
    prior_loss
        Validation loss of a guess by the class mix of the training set.
    best
        Whether these are the best weights so far.
    seconds
        Since the start, pauses left out.
    """

    epoch: int
    passes: int
    rate: float
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    validation_balanced_accuracy: float
    prior_loss: float
    best: bool
    seconds: float


@dataclass(frozen=True, eq=False)
class TrainResult:
    """What a training gave.

    Attributes
    ----------
    outcome
        `learned`, or `did not learn`: such weights are no result.
    weights
        The best by validation loss, float32 by name.
    figures
        What was measured, JSON.
    history
        One row an epoch.
    mean, std
        (stains, channels), of the training pixels.
    stains, classes
        In the order of branches and outputs.
    settings
        As they were used.
    size_px
        Side of a patch.
    seed, threads
        Both together determine the weights.
    state
        Where a limit ended it: gives its state, from which it can be trained longer.
    """

    outcome: Outcome
    weights: Arrays
    figures: Mapping[str, Any]
    history: tuple[Mapping[str, float], ...]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    stains: tuple[str, ...]
    classes: tuple[LesionClass, ...]
    settings: TrainSettings
    size_px: int
    seed: int
    threads: int
    state: Callable[[], TrainState] | None = None

    def run(
        self, *, um_per_px: float, patchset: str, simulated: bool, one_patient: bool = False, normalized: bool = False
    ) -> Run:
        """The run to save; see `Run` for what only the caller knows."""
        return Run(
            stains=self.stains,
            classes=self.classes,
            settings=as_json(self.settings),
            size_px=self.size_px,
            um_per_px=um_per_px,
            mean=self.mean,
            std=self.std,
            weights=self.weights,
            outcome=self.outcome,
            figures=self.figures,
            history=self.history,
            patchset=patchset,
            seed=self.seed,
            threads=self.threads,
            simulated=simulated,
            one_patient=one_patient,
            normalized=normalized,
            versions={
                "stainloom": stainloom.__version__,
                "torch": str(torch.__version__),
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
        )
