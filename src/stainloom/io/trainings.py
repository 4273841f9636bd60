"""Trainings under way: a small file beside the runs says who trains, on what and how far, and takes the word *stop*."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from stainloom import __version__
from stainloom.errors import ModelError, StainloomError
from stainloom.io.files import process_alive, read_json, write_json

_log = logging.getLogger(__name__)

_STALE_S = 60.0
_BEAT_S = 1.0
_WRITE_S = 5.0


@dataclass(frozen=True)
class Training:
    """A training under way.

    Attributes
    ----------
    key
        Which training it is: the name of its state.
    host, process, since
        Where it runs, and since when (UTC, ISO 8601).
    patchset, stains
        What it is trained on.
    share, what
        How far it is, 0 to 1, and in words; at most five seconds old.
    seconds_left
        How long it may still take; None while nobody can say.
    history
        One row an epoch, as in `metrics.csv`.
    heartbeat_s
        Seconds since it last showed that it lives.
    """

    key: str
    host: str
    process: int
    since: str
    patchset: str
    stains: tuple[str, ...]
    share: float
    what: str
    seconds_left: float | None
    history: tuple[Mapping[str, float], ...]
    heartbeat_s: float

    @property
    def gone(self) -> bool:
        """Whether it ended without a word: its process is no more, or silent for a minute."""
        ended = self.host == socket.gethostname() and not process_alive(self.process)
        return ended or self.heartbeat_s > _STALE_S


class TrainingFile:
    """What a training says of itself while it runs; made by `under_way`.

    Notes
    -----
    The file's time of change is the heartbeat. A disk that refuses it does not stop the training.
    """

    def __init__(self, path: Path, patchset: str, stains: tuple[str, ...]) -> None:
        self._path = path
        self._facts = {
            "format": "stainloom training under way",
            "version": 1,
            "program": __version__,
            "host": socket.gethostname(),
            "process": os.getpid(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "patchset": patchset,
            "stains": list(stains),
        }
        self._history: list[dict[str, float]] = []
        self._share, self._what = 0.0, ""
        self._first: tuple[float, float] | None = None
        self._beaten = self._written = 0.0
        self._stop = False

    def add(self, row: Mapping[str, float]) -> None:
        """Another line of metrics."""
        self._history.append({name: float(value) for name, value in row.items()})
        if time.monotonic() - self._written >= _BEAT_S:
            self.write()

    def tell(self, done: float, total: float, what: str) -> None:
        """How far it is; written now and then."""
        self._share, self._what = (min(1.0, done / total) if total > 0 else 1.0), what
        now = time.monotonic()
        if self._first is None or self._share < self._first[1]:
            self._first = (now, self._share)
        if now - self._beaten < _BEAT_S:
            return
        self._beaten = now
        self._stop = self._stop or _stop_file(self._path).exists()
        if now - self._written >= _WRITE_S:
            self.write()
        else:
            with suppress(OSError):
                os.utime(self._path)

    @property
    def stop_asked(self) -> bool:
        """Whether somebody said `ask_to_stop`."""
        return self._stop

    def write(self) -> None:
        """Say how it stands."""
        self._written = time.monotonic()
        told = {"share": self._share, "what": self._what, "seconds_left": self._left(), "history": self._history}
        try:
            write_json(self._path, {**self._facts, **told}, ModelError)
        except StainloomError as error:
            _log.warning("nobody else can see this training: %s", error)

    def _left(self) -> float | None:
        if self._first is None or self._share - self._first[1] < 0.02:
            return None
        began, from_share = self._first
        return (time.monotonic() - began) * (1 - self._share) / (self._share - from_share)

    def close(self) -> None:
        """It ended."""
        for path in (self._path, _stop_file(self._path)):
            with suppress(OSError):
                path.unlink(missing_ok=True)


@contextmanager
def under_way(parent: Path, key: str, patchset: str, stains: tuple[str, ...]) -> Iterator[TrainingFile]:
    """Show that a training runs, until the block ends; `ModelError` where this very training runs already."""
    path = _file(parent, key)
    found = _read(path)
    if found is not None and not found.gone:
        raise ModelError(
            "this very training is running already",
            found=f"process {found.process} on {found.host}, since {found.since}",
            next="wait for it, or stop it there",
        )
    parent.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):
        _stop_file(path).unlink(missing_ok=True)
    told = TrainingFile(path, patchset, stains)
    told.write()
    try:
        yield told
    finally:
        told.close()


def list_trainings(parent: Path) -> tuple[Training, ...]:
    """The trainings that run now, by their files below `runs/`; those that died are not among them."""
    found = [_read(path) for path in sorted(parent.glob(".running-*.json"))]
    return tuple(training for training in found if training is not None and not training.gone)


def ask_to_stop(parent: Path, key: str) -> None:
    """Say *stop* to a training, on whatever machine it runs: within seconds it keeps its state and ends."""
    with suppress(OSError):
        _stop_file(_file(parent, key)).touch()


def _file(parent: Path, key: str) -> Path:
    return parent / f".running-{key}.json"


def _stop_file(path: Path) -> Path:
    return path.with_suffix(".stop")


def _read(path: Path) -> Training | None:
    try:
        beat = time.time() - path.stat().st_mtime
        content = read_json(path, error_type=ModelError)
        left = content["seconds_left"]
        return Training(
            path.stem.removeprefix(".running-"),
            str(content["host"]),
            int(content["process"]),
            str(content["since"]),
            str(content["patchset"]),
            tuple(str(stain) for stain in content["stains"]),
            float(content["share"]),
            str(content["what"]),
            None if left is None else float(left),
            tuple({str(name): float(value) for name, value in row.items()} for row in content["history"]),
            beat,
        )
    except (OSError, StainloomError, KeyError, TypeError, ValueError, AttributeError):
        return None  # it ended this moment, or is of another version
