"""One job in a child process: progress, cancel, result, error; and the queue of a study, one job at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from qtpy.QtCore import QObject, QTimer, Signal

from stainloom.errors import StainloomError

KILL_AFTER_MS = 3000
_LOG_LINES = 400
_LOW = 5
_SETTLED_SHARE, _SETTLED_S = 0.02, 3.0

Ending = Literal["done", "failed", "cancelled", "died"]
_ENDINGS: dict[int, Ending] = {0: "done", 1: "failed", 2: "failed", 3: "cancelled"}


@dataclass(frozen=True)
class Result:
    """How a job ended.

    Attributes
    ----------
    ending
        `done`; `failed` (some or all of it, see `problems`); `cancelled`; `died` (ended from outside, or crashed).
    changed
        What it wrote, paths below the study.
    figures, text
        What it measured, for programs and for readers.
    warnings
        What the user should check.
    problems
        What failed: `what`, `slide`, `stain`, `expected`, `found`, `next`, `detail`.
    log
        The end of all else that it wrote: for *Details*.
    """

    ending: Ending
    changed: tuple[str, ...] = ()
    figures: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    warnings: tuple[str, ...] = ()
    problems: tuple[dict[str, Any], ...] = ()
    log: str = ""


def start_child(words: Sequence[str]) -> subprocess.Popen[str]:
    """Start the command line with these words; its input and outputs are pipes of text. `OSError` where it does not start.

    Notes
    -----
    The window goes first where both want a core: software rendering waits for threads of its own.
    """
    pipe = subprocess.PIPE
    child = subprocess.Popen(
        [sys.executable, "-m", "stainloom.cli", *words],
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        encoding="utf-8",
        errors="replace",
        # A session of its own: Ctrl+C in the terminal that napari was started from is not meant for it.
        start_new_session=True,
        creationflags=getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0),
    )
    if hasattr(os, "setpriority"):
        with suppress(OSError):  # it may have ended already
            os.setpriority(os.PRIO_PROCESS, child.pid, _LOW)
    return child


class Job(QObject):
    """A job of the command line as a child process; what contracts.md calls jobs and the window.

    Parameters
    ----------
    title
        What it does, for the reader: *Align 4 stains*.
    words
        The command line behind `stainloom`; `--json --control` is added here.

    Notes
    -----
    Not a QProcess: that one kills its child when the window goes, and a training may be left running.
    """

    progressed = Signal(float, str, str)
    """Share of the whole, what is being done, to which slide."""
    measured = Signal(dict)
    """Figures that it tells while it runs: of a training, one line of metrics."""
    ended = Signal(object)
    """A `Result`, once."""
    _heard = Signal(str)
    _gone = Signal(int)

    def __init__(self, title: str, words: Sequence[str], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._rests: float | None = None
        self.title = title
        self.words = tuple(words)
        self.share = 0.0
        self._first: tuple[float, float] | None = None
        self._child: subprocess.Popen[str] | None = None
        self._log = deque[str](maxlen=_LOG_LINES)
        self._said: dict[str, Any] = {}
        self._warnings: list[str] = []
        self._problems: list[dict[str, Any]] = []
        self._cancelling = self._detached = self._over = False
        self._last = QTimer(self)
        self._last.setSingleShot(True)
        self._last.setInterval(KILL_AFTER_MS)
        self._last.timeout.connect(self.kill)
        self._heard.connect(self._take)
        self._gone.connect(self._finish)

    def start(self) -> None:
        """Start the child; `ended` always follows, unless it is detached."""
        if self._cancelling:
            QTimer.singleShot(0, lambda: self._end("cancelled"))
            return
        try:
            self._child = start_child([*self.words, "--json", "--control"])
        except OSError as error:
            self._problems.append(_problem("the job could not be started", found=str(error), next="try it again"))
            QTimer.singleShot(0, lambda: self._end("failed"))
            return
        threading.Thread(target=self._listen, args=(self._child,), daemon=True).start()

    def fail(self, error: StainloomError) -> None:
        """End it before it began; whoever asked for it hears so when the event loop turns, as of every end."""
        self._problems.append({**error.as_dict(), "detail": str(error)})
        QTimer.singleShot(0, lambda: self._end("failed"))

    @property
    def running(self) -> bool:
        """Whether the child is there."""
        return self._child is not None and self._child.poll() is None

    @property
    def process(self) -> int:
        """Number of the child; 0 before it started."""
        return 0 if self._child is None else self._child.pid

    @property
    def seconds_left(self) -> float | None:
        """How long it will still take by what it took so far; None while nobody can say."""
        if not self.running or self._rests is not None or self._first is None:
            return None
        passed, gained = time.monotonic() - self._first[0], self.share - self._first[1]
        if gained < _SETTLED_SHARE or passed < _SETTLED_S:
            return None
        return passed * (1 - self.share) / gained

    def cancel(self) -> None:
        """Ask it to stop; after three seconds without an end it is killed. What it had not finished is gone."""
        if self._cancelling:
            return
        self._cancelling = True
        if self.running:
            self._say("cancel")
            self._last.start()

    def kill(self) -> None:
        """End it at once."""
        if self._child is not None:
            self._child.kill()

    def pause(self) -> None:
        """Ask it to rest."""
        self._rests = self._rests or time.monotonic()
        self._say("pause")

    def resume(self) -> None:
        """Ask it to go on; the rest does not count as time that it took."""
        if self._rests is not None:
            if self._first is not None:
                self._first = (self._first[0] + time.monotonic() - self._rests, self._first[1])
            self._rests = None
        self._say("resume")

    def finish(self) -> None:
        """Ask a training to end early, with the best that it has learned; it goes on until it has learned something."""
        self._say("finish")

    def detach(self) -> None:
        """Leave it running when this window is gone; it is no longer ours, and `ended` does not follow."""
        self._detached = True
        self._say("detach")

    def abandon(self) -> None:
        """End it at once, and tell nobody: for a job that only looks, when its window goes."""
        self._detached = self._cancelling = True
        self.kill()

    def wait(self, milliseconds: int) -> bool:
        """Wait for its end while the window is closing; whether it came."""
        if self._child is None:
            return True
        try:
            self._child.wait(milliseconds / 1000)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _say(self, word: str) -> None:
        if self.running:
            assert self._child is not None
            assert self._child.stdin is not None
            with suppress(OSError, ValueError):  # it ended this moment
                self._child.stdin.write(f"{word}\n")
                self._child.stdin.flush()

    def _listen(self, child: subprocess.Popen[str]) -> None:
        """In a thread: hand every line to the window's thread."""
        errors = threading.Thread(target=self._listen_to_errors, args=(child,), daemon=True)
        errors.start()
        assert child.stdout is not None
        with suppress(RuntimeError):  # the window is gone
            for line in child.stdout:
                self._heard.emit(line)
            errors.join()
            code = child.wait()
            for pipe in (child.stdin, child.stdout, child.stderr):
                with suppress(OSError):
                    pipe.close()
            self._gone.emit(code)

    def _listen_to_errors(self, child: subprocess.Popen[str]) -> None:
        assert child.stderr is not None
        for line in child.stderr:
            self._log.append(line)

    def _take(self, line: str) -> None:
        try:
            ((kind, content),) = json.loads(line).items()
            if kind == "progress":
                self._take_progress(content)
            elif kind == "figures":
                self.measured.emit({**content})
            elif kind == "warning":
                self._warnings.append(str(content["text"]))
            elif kind == "error":
                self._problems.append({**_problem("the job failed"), **content})
            elif kind == "result":
                self._said = {**content}
        except (ValueError, KeyError, TypeError, AttributeError):
            self._log.append(line)  # no line of a job, so it belongs to the log

    def _take_progress(self, content: dict[str, Any]) -> None:
        done, total = float(content["done"]), float(content["total"])
        self.share = min(1.0, max(0.0, done / total)) if total > 0 else 1.0
        if self.share > 0 and (self._first is None or self.share < self._first[1]):
            # What came before was getting ready; what goes on with something begins in the middle, and may fall back.
            self._first = (time.monotonic(), self.share)
        self.progressed.emit(self.share, str(content["what"]), str(content.get("slide") or ""))

    def _finish(self, code: int) -> None:
        self._last.stop()
        if self._cancelling and code != 0:
            self._end("cancelled")
        elif code not in _ENDINGS:
            found = "most often the machine ran out of memory, or somebody ended the process"
            following = "run it again; what it had finished before is kept"
            self._problems.append(_problem("the job was ended from outside", found=found, next=following))
            self._end("died")
        else:
            if _ENDINGS[code] == "failed" and not self._problems:
                found, following = "".join(self._log).strip()[-300:], "look at the details"
                self._problems.append(_problem("the job did not begin", found=found, next=following))
            self._end(_ENDINGS[code])

    def _end(self, ending: Ending) -> None:
        if self._over or self._detached:
            return
        self._over = True
        said = self._said
        self.ended.emit(
            Result(
                ending,
                tuple(str(path) for path in said.get("changed", ())),
                dict(said.get("figures", {})),
                str(said.get("text", "")),
                tuple(self._warnings),
                tuple(self._problems),
                "".join(self._log),
            )
        )


def _problem(what: str, **more: str) -> dict[str, Any]:
    error = StainloomError(what, **more)
    return {**error.as_dict(), "detail": str(error)}


class JobQueue(QObject):
    """The jobs of one study, one at a time, in the order of asking.

    Parameters
    ----------
    prepare
        Called with each job when its turn has come: starts it, now or later, or fails it. Jobs read what the window has
        written down by then.
    """

    changed = Signal()
    """Another job runs or waits, or none."""

    def __init__(self, parent: QObject | None = None, prepare: Callable[[Job], None] = Job.start) -> None:
        super().__init__(parent)
        self._prepare = prepare
        self._waiting: list[Job] = []
        self.current: Job | None = None

    @property
    def waiting(self) -> tuple[Job, ...]:
        """Jobs that were asked for and have not begun."""
        return tuple(self._waiting)

    def add(self, job: Job) -> None:
        """Start a job now, or when those before it have ended."""
        job.setParent(self)
        job.ended.connect(lambda _, job=job: self._next(job))
        self._waiting.append(job)
        self._next(None)

    def drop(self, job: Job) -> None:
        """Cancel a job: end it where it runs, forget it where it waits."""
        if job in self._waiting:
            self._waiting.remove(job)
            job.ended.emit(Result("cancelled"))
            self.changed.emit()
        else:
            job.cancel()

    def stop(self, milliseconds: int = KILL_AFTER_MS) -> None:
        """End everything: for a window that closes. Returns when no child is left."""
        waiting, self._waiting = self._waiting, []
        for job in waiting:
            job.deleteLater()
        if self.current is not None:
            self.current.cancel()
            if not self.current.wait(milliseconds):
                self.current.kill()
                self.current.wait(milliseconds)

    def detach(self) -> None:
        """Leave what runs running; what waits is forgotten."""
        self._waiting.clear()
        if self.current is not None and self.current.running:
            self.current.detach()
        elif self.current is not None:
            self.current.cancel()

    def _next(self, ended: Job | None) -> None:
        if ended is not None and ended is self.current:
            self.current = None
            ended.deleteLater()
        if self.current is None and self._waiting:
            self.current = self._waiting.pop(0)
            self._prepare(self.current)
        self.changed.emit()
