"""The verbs of the pathologist, one function each: open, call a room, save. Both faces call these and nothing below."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from stainloom.case.aligned import AlignedCase, AlignedStain
from stainloom.case.case import Case
from stainloom.case.view import CaseView, MapsView, StainView
from stainloom.errors import CaseError, LabelError, ModelError, PatchError, StainloomError
from stainloom.geometry import BoxUm, box_to_um, size_at, whole
from stainloom.io.casefile import StudyFolder
from stainloom.io.tiles import TileCache
from stainloom.progress import Progress, part, silent
from stainloom.settings import as_json
from stainloom.workers import over

if TYPE_CHECKING:
    from stainloom.io.slides import OpenedSlide
    from stainloom.io.snapshot import Labels
    from stainloom.model.settings import PredictSettings, TrainSettings
    from stainloom.patches.select import PatchSettings
    from stainloom.register.register import RegisterSettings
    from stainloom.sample.aorta import SimulationSettings
    from stainloom.stain.normalize import NormalizeSettings

_CACHE_BYTES = 256 * 2**20
_NORMALIZER = "macenko"


@dataclass(frozen=True)
class Outcome:
    """What a job did.

    Attributes
    ----------
    changed
        What it wrote: paths below the study, or ids.
    figures
        Measured values, JSON-ready.
    text
        The same for a reader, a few lines.
    warnings
        What the user should check.
    problems
        Slides or cases that failed while the others went on.
    """

    changed: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    warnings: tuple[str, ...] = ()
    problems: tuple[StainloomError, ...] = ()


def settings_of(job: str) -> type:
    """The settings dataclass of a job, by the name of its subcommand. Loads no torch."""
    if job == "simulate":
        from stainloom.sample.aorta import SimulationSettings

        return SimulationSettings
    if job == "register":
        from stainloom.register.register import RegisterSettings

        return RegisterSettings
    if job == "normalize":
        from stainloom.stain.normalize import NormalizeSettings

        return NormalizeSettings
    if job == "export":
        from stainloom.patches.select import PatchSettings

        return PatchSettings
    from stainloom.model.settings import PredictSettings, TrainSettings

    return {"train": TrainSettings, "predict": PredictSettings}[job]
