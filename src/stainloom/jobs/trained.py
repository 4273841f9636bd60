"""What was trained and what is being trained: runs, trainings under way, trainings that were interrupted. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stainloom.errors import StainloomError
from stainloom.io.casefile import StudyFolder
from stainloom.io.trainings import Training, ask_to_stop, list_trainings
from stainloom.jobs.runs import misfit
from stainloom.jobs.training import training_key

if TYPE_CHECKING:
    from stainloom.model.settings import TrainSettings


@dataclass(frozen=True)
class HeldOut:
    """How good a run is on patients that it never saw.

    Attributes
    ----------
    windows, patients
        How many of each.
    accuracy, balanced
        Share of the windows that were right; mean over the classes of the share that was found.
    interval
        95 % range of the accuracy over patients drawn with replacement; None where it was not measured.
    chance
        What guessing the largest class gives; None where it was not measured.
    windows_id
        Tells whether others were tested on the same windows; empty of runs from before this was kept.
    """

    windows: int
    patients: int
    accuracy: float
    balanced: float
    interval: tuple[float, float] | None = None
    chance: float | None = None
    windows_id: str = ""

    @classmethod
    def of(cls, figures: Mapping[str, Any]) -> HeldOut:
        """From the figures of a run; `KeyError`, `TypeError` or `ValueError` where they are none."""
        interval, chance = figures.get("accuracy_interval"), figures.get("chance")
        return cls(
            int(figures["samples"]),
            len(figures["patients"]),
            float(figures["accuracy"]),
            float(figures["balanced_accuracy"]),
            None if interval is None else (float(interval[0]), float(interval[1])),
            None if chance is None else float(chance),
            str(figures.get("windows_id", "")),
        )


@dataclass(frozen=True)
class RunState:
    """A trained run, as a list shows it.

    Attributes
    ----------
    id, made
        Its id, and when it was made (local time).
    stains
        What it was trained on; more than one: fused.
    classes
        Short names of what it tells apart.
    patchset
        Id of its patches.
    outcome
        `learned` or `did not learn`; empty where it cannot be read.
    test
        On the test patients; None where none were held out.
    history
        One row an epoch.
    best_epoch
        Whose weights were kept.
    control
        `none`, or which control it is.
    seconds
        How long it took.
    report
        Its report, where one was written.
    problem
        Why it cannot be used in this study, one sentence; empty where it can.
    settings
        What it was trained with, where a limit ended it and its state is kept: it can be trained longer.
    """

    id: str
    made: datetime | None = None
    stains: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    patchset: str = ""
    outcome: str = ""
    test: HeldOut | None = None
    history: tuple[Mapping[str, float], ...] = ()
    best_epoch: int = 0
    control: str = "none"
    seconds: float = 0.0
    report: Path | None = None
    problem: str = ""
    settings: TrainSettings | None = None

    @property
    def tested_on(self) -> str:
        """The same for runs whose figures compare: that of their test windows, else of their patches."""
        return (self.test.windows_id if self.test is not None else "") or self.patchset

    @property
    def usable(self) -> bool:
        """Whether predictions may be made with it."""
        return not self.problem and self.outcome == "learned" and self.control == "none"


@dataclass(frozen=True)
class Interrupted:
    """A training of which a state was kept, and that does not run.

    Attributes
    ----------
    key
        Which training it is.
    patchset, settings
        What it goes on with.
    history
        One row an epoch so far.
    kept
        When its state was written (local time).
    """

    key: str
    patchset: str
    settings: TrainSettings
    history: tuple[Mapping[str, float], ...]
    kept: datetime


@dataclass(frozen=True)
class Trained:
    """All of a study: runs newest first, trainings under way, interrupted ones newest first."""

    runs: tuple[RunState, ...] = ()
    under_way: tuple[Training, ...] = ()
    interrupted: tuple[Interrupted, ...] = ()


def limits_of_training(settings: TrainSettings) -> frozenset[str]:
    """Names of the settings that may differ when this training is gone on with: when it stops, and what it may use."""
    from stainloom.model.settings import MAY_CHANGE

    # A cool-down has its way from the end.
    return frozenset(MAY_CHANGE - {"most_passes"} if settings.cool_down else MAY_CHANGE)


def trained(study: Path) -> Trained:
    """Look at what a study trained and trains; a run that cannot be used is in the list with its reason."""
    folder = StudyFolder.open(study)
    running = list_trainings(folder.path / "runs")
    busy = {training.key for training in running}
    kept = [found for found in _kept(folder) if found.key not in busy]
    runs, ended = [], set()
    for id in reversed(folder.runs()):
        run = _run(folder, id)
        state = next((one for one in kept if (one.patchset, one.history) == (run.patchset, run.history)), None)
        if state is not None and state.key not in ended:
            ended.add(state.key)
            run = replace(run, settings=state.settings)
        runs.append(run)
    return Trained(tuple(runs), running, tuple(found for found in kept if found.key not in ended))


def report_of(study: Path, run: str) -> Path | None:
    """The report of a run; None where none was written."""
    path = StudyFolder.open(study).report_path(run)
    return path if path.is_file() else None


def stop_training(study: Path, key: str) -> None:
    """Ask a training that this window did not start to keep its state and end."""
    ask_to_stop(StudyFolder.open(study).path / "runs", key)


def _run(folder: StudyFolder, id: str) -> RunState:
    from stainloom.io.runs import load_run

    try:
        run = load_run(folder.run_path(id), weights=False)
        return RunState(
            id,
            _made(id, folder.run_path(id) / "run.json"),
            run.stains,
            tuple(lesion.short for lesion in run.classes),
            run.patchset,
            run.outcome,
            HeldOut.of(run.figures["test"]) if run.figures.get("test") else None,
            run.history,
            int(run.figures.get("best_epoch") or 0),
            str(run.settings.get("control", "none")),
            float(run.figures.get("seconds") or 0),
            report_of(folder.path, id),
            misfit(folder, run.stains),
        )
    except StainloomError as error:
        return RunState(id, problem=str(error))
    except (TypeError, ValueError, KeyError, IndexError) as error:
        return RunState(id, problem=f"its figures cannot be read: {error}")


def _made(id: str, path: Path) -> datetime:
    """An id begins with the time, UTC; that of a renamed folder does not."""
    try:
        return datetime.strptime(id[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC).astimezone()
    except ValueError:
        return datetime.fromtimestamp(path.stat().st_mtime).astimezone()


def _kept(folder: StudyFolder) -> list[Interrupted]:
    """Trainings with a state, newest first: that of one which a limit ended has the history of its run."""
    from stainloom.io.runs import list_states
    from stainloom.model.settings import settings_from

    found = []
    for key, (facts, kept) in list_states(folder.path / "runs").items():
        try:
            settings = settings_from(facts["settings"])
            patchset = next(id for id in folder.patchsets() if training_key(id, settings) == key)
            rows = tuple({str(name): float(value) for name, value in row.items()} for row in facts["history"])
        except (StainloomError, KeyError, StopIteration, TypeError, ValueError, AttributeError):
            continue  # damaged, of another version, or of patches that are gone: it cannot go on
        found.append(Interrupted(key, patchset, settings, rows, datetime.fromtimestamp(kept).astimezone()))
    return sorted(found, key=lambda one: one.kept, reverse=True)
