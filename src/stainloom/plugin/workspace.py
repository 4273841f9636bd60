"""The study that is open in one viewer: its state, the case shown, its queue of jobs. Docks look here and nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
from napari.layers import Layer
from napari.qt.threading import create_worker
from qtpy.QtCore import QObject, QTimer, Signal

from stainloom import jobs
from stainloom.case.view import CaseView
from stainloom.errors import StainloomError
from stainloom.jobs.survey import CaseState, StudyState
from stainloom.plugin._napari import remove_layers
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
        self._asked = ""
        self._opening = False

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
        self._asked = ""
        self._put(jobs.open_view(self.state.path, name))

    def _put(self, view: CaseView) -> None:
        self.session = Session.open(self.viewer, view, spare=self._leave())
        self.case_changed.emit()

    def ask_for_case(self, name: str) -> None:
        """Show another case when its files are open, which is done off the window's thread; who asks again is served last."""
        self._asked = name
        if not self._opening:
            self._open_asked()

    def _open_asked(self) -> None:
        if self.state is None or not self._asked:
            return
        self._opening = True
        worker = create_worker(_read, self.state.path, self._asked, _start_thread=False)
        worker.returned.connect(self._take_view)
        worker.finished.connect(self._opened)
        worker.start()

    def _take_view(self, found: tuple[CaseView | None, str, StainloomError | None]) -> None:
        view, name, error = found
        wanted, self._asked = name == self._asked, self._asked if name != self._asked else ""
        if view is not None and not wanted:
            view.close()
        elif view is not None:
            self._put(view)
        elif wanted and error is not None:
            self.refused.emit(error)

    def _opened(self) -> None:
        self._opening = False
        if self._asked:
            QTimer.singleShot(0, self._open_asked)

    def close_case(self) -> None:
        """Show none."""
        self._asked = ""
        if self.session is None:
            return
        remove_layers(self.viewer, self._leave())
        self.case_changed.emit()

    def _leave(self) -> list[Layer]:
        """Close the case that is shown; its layers, white now, are still in the viewer."""
        if self.session is None:
            return []
        session, self.session = self.session, None
        layers = list(session.layers)
        session.close()
        return layers

    def step(self, by: int) -> None:
        """Show the next case (1) or the one before (-1); at the ends it stays. Several steps in a row open the last alone."""
        if self.state is None or self.session is None:
            return
        names = [case.name for case in self.state.cases if not case.problem]
        place = names.index(self._asked or self.session.view.case.name) + by
        if 0 <= place < len(names):
            self.ask_for_case(names[place])

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
        """Look at the study anew, and at the case shown where the job wrote to it: at the same place, the same stain."""
        self.refresh()
        if self.session is None:
            return
        name = self.session.view.case.name
        if not any(path.startswith(f"cases/{name}/") for path in result.changed):
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


def _read(study: Path, name: str) -> tuple[CaseView | None, str, StainloomError | None]:
    """A case opened in a worker, or why it cannot be."""
    try:
        return jobs.open_view(study, name), name, None
    except StainloomError as error:
        return None, name, error
    except Exception as error:
        _log.exception("a case could not be opened")
        return None, name, StainloomError(f"case {name} cannot be opened", found=str(error), next="check its disk")


def _look(study: Path) -> tuple[StudyState | None, StainloomError | None]:
    """The state of a study, or why it cannot be told: what a worker raises or returns as an error ends in Qt's event loop."""
    try:
        return jobs.survey(study), None
    except StainloomError as error:
        return None, error
    except Exception as error:
        _log.exception("the study could not be looked at")
        return None, StainloomError("the study cannot be read", found=str(error), next="check its disk")
