"""Predicting what somebody looks at: one child process that keeps the network, started when it is first needed."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from stainloom.errors import ModelError
from stainloom.plugin.job import KILL_AFTER_MS, Result, start_child

if TYPE_CHECKING:
    from stainloom.plugin.workspace import Workspace

_LOG_LINES = 200
_SETTLED_SHARE, _SETTLED_S = 0.05, 2.0
_CLOSING_S = 2.0


class ViewJob(QObject):
    """One view that is being predicted; what `JobControls` shows of a job."""

    progressed = Signal(float, str, str)
    """Share of the whole, what is being done, to which case."""
    ended = Signal(object)
    """A `Result`, once."""

    def __init__(self, words: dict[str, Any], parent: QObject) -> None:
        super().__init__(parent)
        self.words = words
        self.share = 0.0
        self.began = time.monotonic()
        self.warnings: list[str] = []
        self.problems: list[dict[str, Any]] = []
        self.answered = False

    @property
    def seconds_left(self) -> float | None:
        """How long it will still take by what it took so far; None while nobody can say."""
        passed = time.monotonic() - self.began
        if self.share < _SETTLED_SHARE or passed < _SETTLED_S:
            return None
        return passed * (1 - self.share) / self.share


class WarmChild(QObject):
    """The process behind *Predict this view*: one view at a time, cancel, and an end with the window.

    Parameters
    ----------
    workspace
        What is open.

    Notes
    -----
    It ends by itself when nobody asks for some minutes, when its input ends (the window is gone, however it went), and it
    is let go while a training runs: that one needs the memory, and what comes of it is read anew.
    """

    _heard = Signal(object, str)
    _gone = Signal(object)

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._workspace = workspace
        self._child: subprocess.Popen[str] | None = None
        self._study: Path | None = None
        self._log = deque[str](maxlen=_LOG_LINES)
        self._count = 0
        self.job: ViewJob | None = None
        self._tried_again = self._cancelling = False
        self._last = QTimer(self)
        self._last.setSingleShot(True)
        self._last.setInterval(KILL_AFTER_MS)
        self._last.timeout.connect(self._kill)
        self._heard.connect(self._take)
        self._gone.connect(self._ended)
        workspace.queue.changed.connect(self._make_room)

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._child is not None and self._child.poll() is None

    def predict(
        self, study: Path, run: str, case: str, box_um: tuple[float, float, float, float], stride_px: int
    ) -> ViewJob:
        """Ask for a view (row, column, height, width on the reference): one at a time."""
        if self.job is not None:
            raise ValueError("one view is predicted at a time")
        if self._study != study:
            self.close()
        self._study = study
        self._count += 1
        asked = {"id": self._count, "run": run, "case": case, "box_um": list(box_um), "stride_px": stride_px}
        self.job = ViewJob(asked, self)
        self._tried_again = self._cancelling = False
        QTimer.singleShot(0, self._ask)
        return self.job

    def cancel(self) -> None:
        """Ask for the view no longer; after three seconds without an answer the process is killed."""
        if self.job is not None and not self._cancelling:
            self._cancelling = True
            self._say("cancel")
            self._last.start()

    def close(self) -> None:
        """Let the process go; a view that is being predicted is whole or not there."""
        child, self._child = self._child, None
        self._last.stop()
        if child is not None:
            with suppress(OSError, ValueError):
                child.stdin.close()
            if self.job is None:
                child.kill()  # it waits for a line, and holds nothing
            try:
                child.wait(_CLOSING_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self._end(Result("cancelled"))

    def _make_room(self) -> None:
        now = self._workspace.queue.current
        if now is not None and now.words[:1] == ("train",) and self.job is None:
            self.close()

    def _ask(self) -> None:
        if self.job is None:
            return
        if self._cancelling:
            self._end(Result("cancelled"))
            return
        if not self.running and not self._start():
            return
        self._say(json.dumps({"predict": self.job.words}))

    def _start(self) -> bool:
        self._log.clear()
        try:
            self._child = start_child(["predict", str(self._study), "--serve", "--json"])
        except OSError as error:
            self._fail(ModelError("the prediction could not be started", found=str(error), next="try it again"))
            return False
        if self.job is not None:
            self.job.progressed.emit(0.0, "starting the network, once", "")
        threading.Thread(target=self._listen, args=(self._child,), daemon=True).start()
        return True

    def _say(self, line: str) -> None:
        if self._child is not None:
            with suppress(OSError, ValueError):  # it ended this moment, and `_ended` follows
                self._child.stdin.write(line + "\n")
                self._child.stdin.flush()

    def _kill(self) -> None:
        if self._child is not None:
            self._child.kill()

    def _listen(self, child: subprocess.Popen[str]) -> None:
        """In a thread: hand every line to the window's thread."""
        errors = threading.Thread(target=self._listen_to_errors, args=(child,), daemon=True)
        errors.start()
        with suppress(RuntimeError, ValueError):  # the window is gone
            for line in child.stdout:
                self._heard.emit(child, line)
            errors.join()
            child.wait()
            for pipe in (child.stdin, child.stdout, child.stderr):
                with suppress(OSError):
                    pipe.close()
            self._gone.emit(child)

    def _listen_to_errors(self, child: subprocess.Popen[str]) -> None:
        with suppress(ValueError):
            for line in child.stderr:
                self._log.append(line)

    def _take(self, child: subprocess.Popen[str], line: str) -> None:
        if child is not self._child or self.job is None:
            return
        try:
            ((kind, content),) = json.loads(line).items()
            if kind == "progress":
                self.job.answered = True
                self.job.share = float(content["done"]) / max(float(content["total"]), 1e-9)
                if not self._cancelling:
                    self.job.progressed.emit(self.job.share, str(content["what"]), str(content.get("slide") or ""))
            elif kind == "warning":
                self.job.warnings.append(str(content["text"]))
            elif kind == "error":
                self.job.problems.append(dict(content))
            elif kind == "answer" and content["id"] == self.job.words["id"]:
                self._take_answer(content)
        except (ValueError, KeyError, TypeError, AttributeError):
            self._log.append(line)  # no line of the protocol, so it belongs to the log

    def _take_answer(self, content: dict[str, Any]) -> None:
        job = self.job
        assert job is not None
        changed = tuple(str(path) for path in content["changed"])
        said = dict(content["figures"]), "", tuple(job.warnings), tuple(job.problems), "".join(self._log)
        self._end(Result(content["ending"], changed, *said))

    def _ended(self, child: subprocess.Popen[str]) -> None:
        if child is not self._child:
            return
        self._child = None
        if self.job is None:
            return
        if self._cancelling:
            self._end(Result("cancelled"))
        elif not self.job.answered and not self._tried_again:
            # It had just ended by itself, because nobody had asked for minutes.
            self._tried_again = True
            self._ask()
        else:
            found = "".join(self._log).strip()[-300:] or "most often the machine ran out of memory"
            self._fail(ModelError("the prediction was ended from outside", found=found, next="try it again"))

    def _fail(self, error: ModelError) -> None:
        problem = {**error.as_dict(), "detail": str(error)}
        self._end(Result("failed", problems=(problem,), log="".join(self._log)))

    def _end(self, result: Result) -> None:
        self._last.stop()
        job, self.job = self.job, None
        if job is not None:
            job.ended.emit(result)
            job.deleteLater()
