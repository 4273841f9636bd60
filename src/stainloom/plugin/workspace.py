"""The study that is open in one viewer: its state, the case shown, its queue of jobs. Docks look here and nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import napari
from napari.qt.threading import create_worker
from qtpy.QtCore import QObject, QTimer, Signal

from stainloom import jobs
from stainloom.errors import StainloomError
from stainloom.jobs.survey import CaseState, StudyState
from stainloom.plugin.job import Job, JobQueue, Result
from stainloom.plugin.session import Session
from stainloom.plugin.thumbnails import Thumbnails

_log = logging.getLogger(__name__)


class Workspace(QObject):
    """One study in one viewer.

    Parameters
    ----------
    viewer
        A viewer with a window.
    """

    state_changed = Signal()
    """The study was looked at anew: another study, another result."""
    case_changed = Signal()
    """Another case is shown, or none."""
    refused = Signal(object)
    """A `StainloomError` that no dock asked for: a study that vanished, a case that cannot be opened."""
    dock_wanted = Signal(str)
    """Name of the dock that does what is missing."""
    saving_changed = Signal(str, bool)
    """What is so of the paint, for the status line: *saved 14:03* and True, or *NOT SAVED: the disk is full* and False."""

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self.state: StudyState | None = None
        self.session: Session | None = None
        self.queue = JobQueue(self)
        self.thumbnails = Thumbnails(self)
        self._looking = False
        self._again = False

    @property
    def case(self) -> CaseState | None:
        """The case that is shown, as the study last was."""
        if self.session is None or self.state is None:
            return None
        try:
            return self.state.case(self.session.view.case.name)
        except KeyError:
            return None

    def open_study(self, study: Path, case: str | None = None) -> None:
        """Open a study and show a case of it, the first unless one is named; `StainloomError` where it is none."""
        self.state = jobs.survey(study)
        self.state_changed.emit()
        names = [found.name for found in self.state.cases if not found.problem]
        if case is not None or names:
            self.open_case(case or names[0])
        else:
            self.close_case()

    def open_case(self, name: str) -> None:
        """Show another case; the one before is closed when the new one is open."""
        assert self.state is not None
        view = jobs.open_view(self.state.path, name)
        self._clear()
        self.session = Session.open(self.viewer, view)
        self.case_changed.emit()

    def close_case(self) -> None:
        """Show none."""
        if self.session is None:
            return
        self._clear()
        self.case_changed.emit()

    def _clear(self) -> None:
        if self.session is None:
            return
        session, self.session = self.session, None
        layers = [layer for layer in session.layers if layer in self.viewer.layers]
        session.close()
        for layer in layers:
            self.viewer.layers.remove(layer)

    def step(self, by: int) -> None:
        """Show the next case (1) or the one before (-1); at the ends it stays."""
        if self.state is None or self.session is None:
            return
        names = [case.name for case in self.state.cases if not case.problem]
        place = names.index(self.session.view.case.name) + by
        if 0 <= place < len(names):
            self.open_case(names[place])

    def refresh(self) -> None:
        """Look at the study anew, off the window's thread; `state_changed` when it is done."""
        if self.state is None:
            return
        if self._looking:
            self._again = True
            return
        self._looking = True
        worker = create_worker(_look, self.state.path, _start_thread=False)
        worker.returned.connect(self._take_state)
        worker.finished.connect(self._looked)
        worker.start()

    def _take_state(self, found: tuple[StudyState | None, StainloomError | None]) -> None:
        state, error = found
        if error is not None:
            self.refused.emit(error)
        elif state is not None and self.state is not None and state.path == self.state.path:
            self.state = state
            self.state_changed.emit()

    def _looked(self) -> None:
        self._looking = False
        if self._again:
            self._again = False
            QTimer.singleShot(0, self.refresh)

    def run(self, title: str, words: list[str], ended: Callable[[Result], Any]) -> Job:
        """Ask for a job; it starts when those before it have ended, and the study is looked at anew after it."""
        job = Job(title, words)
        job.ended.connect(ended)
        job.ended.connect(self._take_result)
        self.queue.add(job)
        return job

    def _take_result(self, result: Result) -> None:
        self.take_changes(result.changed)

    def take_changes(self, changed: Sequence[str]) -> None:
        """Look at the study anew, and at the case shown where something wrote to it: at the same place, the same stain."""
        self.refresh()
        if self.session is None:
            return
        name = self.session.view.case.name
        if not any(path.startswith(f"cases/{name}/") for path in changed):
            return
        camera = self.viewer.scene.camera
        centre, zoom = camera.center, camera.zoom
        shown = [stain for stain, layer in self.session.layers.stains.items() if layer.visible]
        try:
            self.open_case(name)
        except StainloomError as error:
            self.refused.emit(error)
            return
        if shown:
            self.session.show_stain(shown[0])
        camera.center, camera.zoom = centre, zoom


def _look(study: Path) -> tuple[StudyState | None, StainloomError | None]:
    """The state of a study, or why it cannot be told: what a worker raises or returns as an error ends in Qt's event loop."""
    try:
        return jobs.survey(study), None
    except StainloomError as error:
        return None, error
    except Exception as error:
        _log.exception("the study could not be looked at")
        return None, StainloomError("the study cannot be read", found=str(error), next="check its disk")
