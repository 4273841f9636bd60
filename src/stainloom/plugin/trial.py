"""The simulated study that a newcomer tries, and the same as sample data: which jobs make it, one after another, and where it lies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_documents_path
from qtpy.QtCore import QObject, QTimer, Signal

from stainloom.plugin.job import Job, Result

FIRST = "S01"
_SIMULATION = ("--width-um", "1600", "--height-um", "1200", "--seed", "1", "--failed-share", "0", "--lesions", "2")
"""A seed whose first case aligns well, and lesions enough for each set to hold every class, whichever patients it gets."""


@dataclass(frozen=True)
class Step:
    """One job: what it does, for the reader, and its command line behind `stainloom`."""

    title: str
    words: tuple[str, ...]


def trial_steps(study: Path, *, patients: int, unpainted: int = 0) -> list[Step]:
    """Jobs that make a simulated study and align its first case; after the first of them the study can be opened."""
    blocks = "one block" if patients == 1 else f"{patients} blocks"
    made = ("simulate", str(study), "--patients", str(patients), "--unpainted", str(unpainted), *_SIMULATION)
    return [
        Step(f"Simulate {blocks}", made),
        Step(f"Align {FIRST}", ("register", str(study), "--case", FIRST)),
        Step(f"Normalize the colours of {FIRST}", ("normalize", str(study), "--case", FIRST)),
    ]


def trial_folder() -> Path:
    """Where the study of *Try the simulated study* lies: where it is already, else in the first place that is free.

    Notes
    -----
    A place is free where neither a study nor its truth lies; so nothing that is left there can stand in the way.
    """
    home = user_documents_path() / "Stainloom"
    number = 1
    while True:
        place = home / ("simulated" if number == 1 else f"simulated-{number}")
        if (place / "study.json").is_file() or not (place.exists() or place.with_name(f"{place.name}.truth").exists()):
            return place
        number += 1


class Chain(QObject):
    """Jobs one after another; the first that does not end well is the last.

    Parameters
    ----------
    steps
        The jobs.
    run
        Starts one: title, command line, what to call when it has ended.
    """

    started = Signal(object, int)
    """A `Job`, and its place from 0."""
    done = Signal(int)
    """The job at this place ended well."""
    ended = Signal(object)
    """The `Result` of the last job that ran."""

    def __init__(
        self,
        steps: Sequence[Step],
        run: Callable[[str, list[str], Callable[[Result], None]], Job],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.steps = tuple(steps)
        self._run = run
        self._place = -1

    def start(self) -> None:
        """Begin with the first."""
        self._place += 1
        step = self.steps[self._place]
        self.started.emit(self._run(step.title, list(step.words), self._take), self._place)

    def _take(self, result: Result) -> None:
        if result.ending == "done":
            self.done.emit(self._place)
            if self._place + 1 < len(self.steps):
                # Not before all have heard of this end: they would take the next job for the one that ended.
                QTimer.singleShot(0, self.start)
                return
        self.ended.emit(result)
