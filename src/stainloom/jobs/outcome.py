"""What a job did, and a job on one slide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stainloom.errors import StainloomError


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


@dataclass(frozen=True)
class SlideTask:
    """Work on one slide of one case, or on all of them where no stain is named."""

    study: Path
    case: str
    stain: str
    settings: Any = None
    refine: bool = False
    start: Path | None = None

    @property
    def slide(self) -> str:
        """Case and stain, as a progress bar names them."""
        return f"{self.case} {self.stain}".rstrip()
