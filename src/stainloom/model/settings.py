"""Settings of training and prediction, and the names of backbones and fusions, without torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Interval

from stainloom.errors import ModelError
from stainloom.settings import check

BACKBONE_NAMES: tuple[str, ...] = ("spec",)
"""What turns one stain's patch into features; `spec` is the specification's."""

FUSION_NAMES: tuple[str, ...] = ("se",)
"""What weighs the stains; `se` is squeeze-and-excitation over them."""


MAY_CHANGE = {
    "most_epochs",
    "most_passes",
    "stop_after_minutes",
    "patience_epochs",
    "learn_epochs",
    "threads",
    "save_minutes",
    "memory_mb",
}
"""Settings of a training that may differ when it is resumed."""


@dataclass(frozen=True)
class TrainSettings:
    """Settings of one training.

    Attributes
    ----------
    stains
        Stains to train on, in this order; none: all stains of the patch set. One name gives a single-stain run.
    gray
        Train on gray values instead of colours.
    backbone
        What turns one stain's patch into features.
    fusion
        What weighs the stains.
    features
        Features per stain.
    rate
        Step size of Adam after the warm-up.
    warmup_steps
        Batches over which the step size rises linearly from 0. Without a warm-up the network falls to chance.
    cool_down
        Let the step size fall to zero along half a cosine by the last of `most_passes`; needs `most_passes`.
    batch
        Samples per step.
    dropout
        Share of the fused features that is left out in each training step.
    augmented
        Also train on the turned versions of each sample.
    stain_dropout
        Share of the samples that lose one of their stains each time they are shown: so the network learns to do without
        a stain that is missing or failed.
    epoch_samples
        Samples between two looks at the validation set, at most all training samples; 0: all.
    most_epochs
        Stop after this many epochs.
    most_passes
        Stop after this many samples have been shown (a sample shown twice counts twice); 0: no limit.
    stop_after_minutes
        Stop after this many minutes; 0: no limit. A time limit makes the result depend on the machine's speed.
    patience_epochs
        Stop when the validation loss has not fallen for this many epochs, and for as many as see every sample once, after it
        came below that of the class mix alone. An epoch is `epoch_samples` long.
    learn_epochs
        End as *did not learn* when the validation loss has not come below that of the class mix alone by this epoch.
    validation_samples
        Look at no more validation samples than this (drawn once, by the seed).
    control
        `shuffled labels` trains on labels in random order: a control that must not learn.
    seed
        Of the first weights, the order of samples and the dropout.
    threads
        Threads to compute with; 0: all cores but one. Another number gives slightly different weights.
    save_minutes
        Keep the state of the training at the end of an epoch, at most this often; 0: after every epoch.
    memory_mb
        Hold the training patches in memory when they take no more than this many MB.
    """

    stains: tuple[str, ...] | None = None
    gray: bool = False
    backbone: str = "spec"
    fusion: str = "se"
    features: Annotated[int, Interval(ge=8, le=2048)] = 512
    rate: Annotated[float, Interval(gt=0, le=0.1)] = 0.001
    warmup_steps: Annotated[int, Interval(ge=0, le=10_000)] = 150
    cool_down: bool = False
    batch: Annotated[int, Interval(ge=2, le=1024)] = 64
    dropout: Annotated[float, Interval(ge=0, le=0.95)] = 0.5
    augmented: bool = True
    stain_dropout: Annotated[float, Interval(ge=0, le=1)] = 0.3
    epoch_samples: Annotated[int, Interval(ge=0, le=10_000_000)] = 2_000
    most_epochs: Annotated[int, Interval(ge=1, le=8000)] = 8000
    most_passes: Annotated[int, Interval(ge=0, le=10_000_000_000)] = 0
    stop_after_minutes: Annotated[float, Interval(ge=0, le=100_000)] = 0.0
    patience_epochs: Annotated[int, Interval(ge=1, le=8000)] = 20
    learn_epochs: Annotated[int, Interval(ge=1, le=8000)] = 60
    validation_samples: Annotated[int, Interval(ge=16, le=1_000_000)] = 2000
    control: Literal["none", "shuffled labels"] = "none"
    seed: Annotated[int, Interval(ge=0, le=2**31 - 1)] = 0
    threads: Annotated[int, Interval(ge=0, le=256)] = 0
    save_minutes: Annotated[float, Interval(ge=0, le=1440)] = 5.0
    memory_mb: Annotated[int, Interval(ge=0, le=1_000_000)] = 1024

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONE_NAMES:
            raise ValueError(f"a backbone is one of {BACKBONE_NAMES}: {self.backbone!r}")
        if self.fusion not in FUSION_NAMES:
            raise ValueError(f"a fusion is one of {FUSION_NAMES}: {self.fusion!r}")
        if self.stains is not None and (not self.stains or len(set(self.stains)) != len(self.stains)):
            raise ValueError(f"stains are named once each, at least one: {self.stains}")
        if self.cool_down and not self.most_passes:
            raise ValueError("a cool-down needs most_passes, by whose end the step size is zero")


@dataclass(frozen=True)
class PredictSettings:
    """Settings of one prediction.

    Attributes
    ----------
    stride_px
        Distance of two windows, px of the run's scale: one pixel of the maps.
    batch
        Windows computed together.
    region_px
        Side of the regions that are read at once, px.
    threads
        Threads to compute with; 0: all cores but one.
    """

    stride_px: Annotated[int, Interval(ge=1, le=256)] = 14
    batch: Annotated[int, Interval(ge=1, le=4096)] = 512
    region_px: Annotated[int, Interval(ge=256, le=4096)] = 2048
    threads: Annotated[int, Interval(ge=0, le=256)] = 0


def thread_count(threads: int) -> int:
    """The number of threads that a setting means: itself, or for 0 all cores but one, at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return threads or max(1, cores - 1)


def settings_from(stored: Mapping[str, Any]) -> TrainSettings:
    """Settings that were stored as JSON, every bound checked; `ModelError` names what is wrong."""
    try:
        return check(TrainSettings, stored)
    except ValueError as error:
        raise ModelError(
            "the settings of this training are wrong",
            expected="settings that this version of Stainloom knows, within their bounds",
            found=str(error)[:300],
            next="correct them; a saved run opens with the version of Stainloom that made it",
        ) from error
