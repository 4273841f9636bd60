"""Slides looked at before they are taken in: recognised into a table that a person corrects, checked, and handed on as a CSV."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stainloom.case.case import Case
from stainloom.case.study import Study
from stainloom.errors import CaseError, StainloomError
from stainloom.io.casefile import StudyFolder
from stainloom.io.faults import Faults, find_faults
from stainloom.io.recognize import Guess, Recognized, recognize
from stainloom.progress import Progress, silent

__all__ = ["Faults", "Guess", "Intake", "Recognized", "drop_table", "find_faults", "look_at_slides", "write_table"]


@dataclass(frozen=True)
class Intake:
    """Slides that may be taken into a study.

    Attributes
    ----------
    study
        Its stains.
    known
        Its cases, those that can be read.
    found
        The slides, and what was left out.
    """

    study: Study
    known: tuple[Case, ...]
    found: Recognized


def look_at_slides(study: Path, sources: Sequence[Path], *, progress: Progress = silent) -> Intake:
    """Recognise the slides of folders and tables. Writes nothing; see `stainloom.io.recognize.recognize`."""
    folder = StudyFolder.open(study)
    for source in sources:
        if (source / "study.json").is_file():
            raise CaseError("this folder is a study", slide=source.name, next="open it with Open another study")
    known = []
    for name in folder.case_names():
        with suppress(StainloomError):
            known.append(folder.case(name))
    return Intake(folder.study, tuple(known), recognize(sources, folder.study, progress))


def write_table(guesses: Sequence[Guess]) -> Path:
    """The corrected table as a CSV in a temporary folder, for `case add`; `drop_table` takes it away."""
    from stainloom.io.table import Row, write_csv

    file = Path(tempfile.mkdtemp(prefix="stainloom-intake-")) / "slides.csv"
    write_csv(
        file,
        [Row(one.case, one.patient, one.block, one.stain or "", one.path, one.um_per_px) for one in guesses],
    )
    return file


def drop_table(file: Path) -> None:
    """Take a table of `write_table` away."""
    shutil.rmtree(file.parent, ignore_errors=True)
