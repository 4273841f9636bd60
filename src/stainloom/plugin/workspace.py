"""The study that is open in one viewer: its state, the case shown, its queue of jobs. Docks look here and nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

import napari
from napari.layers import Layer
from qtpy.QtCore import QObject, QTimer, Signal
from superqt.utils import WorkerBase, create_worker

from stainloom import jobs
from stainloom.case.aligned import Look
from stainloom.case.view import CaseView
from stainloom.errors import LabelError, StainloomError
from stainloom.jobs.survey import CaseState, StudyState
from stainloom.plugin import looking
from stainloom.plugin._napari import main_window, remove_layers
from stainloom.plugin.annotate import Painter
from stainloom.plugin.job import Job, JobQueue, Result
from stainloom.plugin.memory import Memory
from stainloom.plugin.predicted import Predicted
from stainloom.plugin.session import Session
from stainloom.plugin.thumbnails import Thumbnails
from stainloom.plugin.warm import WarmChild

_log = logging.getLogger(__name__)

_LEAVING_MS = 50
_WORKERS_MS = 5000
_PAINTED_MS = 3000
_CASES_A_LOOK = 250
"""Cases after which the lists are told what was seen so far: a look at thousands takes half a minute."""


@dataclass(frozen=True)
class _Wish:
    """A case that is asked for and is not shown yet.

    Attributes
    ----------
    case
        Its name.
    stays
        Whether to look then where one looks now: it is the case that is shown.
    recalls
        Whether to look where one looked when the window was closed last.
    changed
        Whether something wrote to it meanwhile, so that what is being read may be old.
    """

    case: str
    stays: bool = False
    recalls: bool = False
    changed: bool = False


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
    slides_opened = Signal(object)
    """Paths of slides that the user opened or dropped on the window: they may be meant for a study."""
    colours_changed = Signal()
    """Stains are shown as scanned, or normalized: see `colours`."""
    run_chosen = Signal(str)
    """Id of the run that predictions are to be made with: see `chosen_run`."""
    help_wanted = Signal()
    """Somebody asks for the keys."""
    said = Signal(str)
    """One sentence for the status line; an empty one takes back what was said."""
    saving_changed = Signal(str, bool)
    """What is so of the paint, for the status line: *saved 14:03* and True, or *NOT SAVED: the disk is full* and False."""

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__(main_window(viewer))
        self.viewer = viewer
        self.state: StudyState | None = None
        self.session: Session | None = None
        self.painter: Painter | None = None
        self.queue = JobQueue(self, self._start)
        self.thumbnails = Thumbnails(self)
        self.colours: Look = "normalized"
        self.chosen_run = ""
        self._aside: set[Job] = set()
        self.warm = WarmChild(self)
        self.predicted = Predicted(self)
        self.memory = Memory(self)
        self._looking = False
        self._again = False
        self._leaving: list[Painter] = []
        self._wish: _Wish | None = None
        self._opening = False
        self._shown_changed = False
        self._stain_wanted = ("", "", False)
        self._painted = QTimer(self)
        self._painted.setSingleShot(True)
        self._painted.setInterval(_PAINTED_MS)
        self._painted.timeout.connect(self.refresh)
        # What is read before another case was opened or this one closed is not shown: its paint may be closed by then.
        self._turn = 0
        self._gone = Event()

    @property
    def case(self) -> CaseState | None:
        """The case that is shown, as the study last was."""
        if self.session is None or self.state is None:
            return None
        try:
            return self.state.case(self.session.view.case.name)
        except KeyError:
            return None

    @property
    def settled(self) -> bool:
        """Whether nothing is being read, and all that is on the screen is as fine as it will be."""
        return not (self._looking or self._again or self._opening or self._wish) and (
            self.session is None or self.session.settled
        )

    def open_study(self, study: Path, case: str | None = None, *, wait: bool = True) -> None:
        """Open a study and show a case of it: the one that is named, else the one looked at last, else the first.

        `StainloomError` where it is none. Without `wait` the case is read beside the window's thread, and shown then.
        """
        self._refuse_unsaved("")
        state = jobs.survey(study, quick=True)
        # Not before the new one is known to be a study: where it is none, what is open stays.
        self.close_case()
        self.state = state
        self.chosen_run = self.memory.run_of(state.path)
        self.state_changed.emit()
        # A quick look leaves out what takes time.
        self.refresh()
        names = [found.name for found in self.state.cases if not found.problem]
        if case is not None or names:
            last = self.memory.case_of(self.state.path)
            name = case or (last if last in names else names[0])
            if wait:
                self.open_case(name)
                self.memory.recall()
            else:
                self._ask(_Wish(name, recalls=True))
        else:
            self.close_case()

    def try_to_open(self, study: Path, case: str | None = None) -> None:
        """Open a study, or tell the docks why not."""
        try:
            self.open_study(study, case, wait=False)
        except StainloomError as error:
            self.refused.emit(error)

    def close_study(self) -> None:
        """Show no study. `LabelError` where paint of the case that is shown is not saved."""
        self._refuse_unsaved("")
        self.close_case()
        self.state = None
        self.state_changed.emit()

    def open_case(self, name: str) -> None:
        """Show another case; the one before is closed when the new one is open."""
        assert self.state is not None
        self._wish = None
        self._turn += 1
        self._refuse_unsaved(name)
        self._put(*_opened(self.state.path, name, self._paint_of(name), tuple(self._leaving)))

    def _put(self, view: CaseView, paint: jobs.Paint, carrying: jobs.Carrying | None) -> None:
        spare = self._clear()
        if self.painter is None or self.painter.paint is not paint:
            self._leave(self.painter)
            self.painter = self._painter_for(paint)
        self.painter.realign(carrying)
        self.session = Session.open(self.viewer, view, spare=spare)
        self.session.show_colours(self.colours)
        if self.session.layers.lesions is not None:
            self.painter.attach(self.session.layers.lesions)
        self.case_changed.emit()
        self.saving_changed.emit(*self.painter.saving)

    def ask_for_case(self, name: str) -> None:
        """Show another case when its files are open, which is done off the window's thread; who asks again is served last."""
        self._ask(_Wish(name))

    def _ask(self, wish: _Wish) -> None:
        self._refuse_unsaved(wish.case)
        if self.session is None or self.session.view.case.name != wish.case:
            self.viewer.status = f"Opening {wish.case} \N{HORIZONTAL ELLIPSIS}"
        before = self._wish
        self._wish = replace(wish, changed=before is not None and before.changed and before.case == wish.case)
        if not self._opening:
            self._open_wish()

    def _open_wish(self) -> None:
        if self.state is None or self._wish is None:
            return
        self._opening = True
        name = self._wish.case
        held, leaving = self._paint_of(name), tuple(self._leaving)
        worker = create_worker(_read, self.state.path, name, held, leaving, self._turn, self._gone, _start_thread=False)
        worker.returned.connect(self._take_view)
        worker.finished.connect(self._opened)
        worker.start()

    def _take_view(self, found: _Read) -> None:
        opened, (turn, name), error = found
        wish = self._wish if self._wish is not None and (turn, name) == (self._turn, self._wish.case) else None
        if wish is not None:
            self._wish = None
        if opened is not None and wish is not None:
            stay = self._place() if wish.stays else None
            self._put(*opened)
            self._shown_changed = False
            if stay is not None:
                self._go_back(*stay)
            elif wish.recalls:
                self.memory.recall()
            self._show_wanted_stain()
            if wish.changed:
                self._open_anew(name)
        elif opened is not None:
            view, paint, _ = opened
            view.close()
            # One that is left still keeps what was painted last.
            if all(painter is None or painter.paint is not paint for painter in (self.painter, *self._leaving)):
                paint.close()
        elif wish is not None and error is not None:
            self.refused.emit(error)
            if self._shown_changed and self.session is not None:
                self._shown_changed = False
                self._open_anew(self.session.view.case.name)

    def _opened(self) -> None:
        self._opening = False
        if self._wish is not None:
            QTimer.singleShot(0, self._open_wish)

    def close_case(self) -> None:
        """Show none; what was painted is written, and the case is let go."""
        self._wish = None
        self._turn += 1
        if self.session is None:
            return
        remove_layers(self.viewer, self._clear())
        self._leave(self.painter)
        self.painter = None
        self.case_changed.emit()

    def close(self) -> bool:
        """The window is going: show none, and wait until all paint is written; whether it was."""
        self._gone.set()
        # Nobody looks at the study any more because of what changes now.
        self.state = None
        self.stop_looking()
        self.warm.close()
        self.thumbnails.close()
        self.close_case()
        written = all(painter.wait() for painter in self._leaving)
        # A worker that ends after Qt has taken its signals away ends the process with a crash.
        try:
            WorkerBase.await_workers(_WORKERS_MS)
        except RuntimeError:
            _log.warning("something was still being read when the window closed")
        return written

    def _clear(self) -> list[Layer]:
        """Close the case that is shown; its layers, white now, are still in the viewer."""
        if self.session is None:
            return []
        session, self.session = self.session, None
        if self.painter is not None:
            self.painter.detach()
        layers = list(session.layers)
        session.close()
        return layers

    # Painting

    def _refuse_unsaved(self, name: str) -> None:
        """`LabelError` where another case is asked for while the disk refuses paint of this one."""
        now = self.painter
        if now is not None and now.trouble is not None and self._paint_of(name) is None:
            raise LabelError(
                f"what was painted last on case {now.paint.case.name} is not saved",
                found=now.trouble.what,
                next=now.trouble.next or "see to its disk; it is tried again every few seconds",
            )

    def _paint_of(self, name: str) -> jobs.Paint | None:
        """The paint of a case that this window holds already."""
        paint = None if self.painter is None or self.state is None else self.painter.paint
        same = paint is not None and (paint.folder.path, paint.case.name) == (self.state.path, name)
        return paint if same else None

    def _painter_for(self, paint: jobs.Paint) -> Painter:
        painter = Painter(paint, paint.folder.study.classes, self)
        painter.saving_changed.connect(self.saving_changed)
        painter.painted.connect(self._show_painted)
        painter.turned.connect(self.said)
        painter.asked.connect(self.said)
        return painter

    def _leave(self, painter: Painter | None) -> None:
        if painter is None:
            return
        painter.close()
        gone = [other for other in self._leaving if other.wait(0)]
        for other in gone:
            other.deleteLater()
        self._leaving = [*(other for other in self._leaving if other not in gone), painter]

    def _show_painted(self) -> None:
        if self.session is not None and self.painter is not None:
            self.session.show_painted(self.painter.areas_px)
        case = self.case
        if case is not None and (case.reviewed or case.review_old or case.exported or not case.painted):
            self._painted.start()

    def _start(self, job: Job) -> None:
        """Start a job when all that was painted so far is written where jobs read it, and cases that were left are free."""
        if self._opening or not all(painter.wait(0) for painter in self._leaving):
            QTimer.singleShot(_LEAVING_MS, lambda: self._start(job))
            return

        def begin(error: StainloomError | None) -> None:
            if error is None:
                job.start()
            else:
                job.fail(error)

        self.when_written(begin)

    def when_written(self, then: Callable[[StainloomError | None], None]) -> None:
        """Call back when all that was painted so far is written where jobs read it: with None, or with why it is not."""
        if self.painter is None or self.painter.read_only:
            then(None)
        else:
            self.painter.prepare(then)

    def reopen(self) -> None:
        """Open the case that is shown once more: the case may be free now, or its disk back."""
        if self.session is not None:
            name = self.session.view.case.name
            self.close_case()
            self.open_case(name)

    def show_place(self, case: str, stain: str, *, pair: bool = False) -> None:
        """Show a case, and a stain of it, alone or in a checkerboard with the reference: where a message leads to."""
        self._stain_wanted = (case, stain, pair)
        if self.session is not None and self.session.view.case.name == case:
            self._show_wanted_stain()
            return
        try:
            self.ask_for_case(case)
        except StainloomError as error:
            self.refused.emit(error)

    def _show_wanted_stain(self) -> None:
        (case, stain, pair), session = self._stain_wanted, self.session
        self._stain_wanted = ("", "", False)
        if not stain or session is None or session.view.case.name != case:
            return
        if pair and stain != session.looking.reference and session.looking.stain_view(stain).usable:
            session.show_pair(stain)
        else:
            session.show_stain(stain)

    def step(self, by: int) -> None:
        """Show the next case (1) or the one before (-1); at the ends it stays. Several steps in a row open the last alone."""
        if self.state is None or self.session is None:
            return
        names = [case.name for case in self.state.cases if not case.problem]
        shown = self._wish.case if self._wish is not None else self.session.view.case.name
        place = names.index(shown) + by if shown in names else 0
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
            self._again = self._again or not all(case.looked for case in state.cases)
            self.state_changed.emit()

    def _looked(self) -> None:
        self._looking = False
        if self._again:
            QTimer.singleShot(0, self._look_again)

    def _look_again(self) -> None:
        self._again = False
        self.refresh()

    def show_colours(self, look: Look) -> None:
        """Show stains as they were scanned, or normalized where they are; also in cases that are opened later."""
        self.colours = look
        if self.session is not None:
            self.session.show_colours(look)
        self.colours_changed.emit()

    def choose_run(self, run: str) -> None:
        """Predict with this run from now on."""
        self.chosen_run = run
        self.run_chosen.emit(run)

    def run_aside(self, title: str, words: list[str], ended: Callable[[Result], Any]) -> Job:
        """Start a job that only looks, beside the queue: it holds nobody up, and changes nothing."""
        job = Job(title, words, self)
        self._aside.add(job)
        job.ended.connect(lambda _: self._aside.discard(job))
        job.ended.connect(ended)
        self._start(job)
        return job

    def stop_looking(self) -> None:
        """End the jobs that only look: for a window that closes."""
        for job in self._aside:
            job.abandon()
        self._aside.clear()

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
        shown = "" if self.session is None else self.session.view.case.name
        wish = self._wish
        if wish is None and _touched(shown, changed):
            self._open_anew(shown)
        elif wish is not None:
            # Where what is asked for cannot be read, what is shown stays.
            self._wish = replace(wish, changed=wish.changed or _touched(wish.case, changed))
            self._shown_changed = self._shown_changed or _touched(shown, changed)

    @property
    def shown_or_asked(self) -> set[str]:
        """The cases that this window holds, or soon will."""
        shown = [] if self.session is None else [self.session.view.case.name]
        return {*shown, *([self._wish.case] if self._wish is not None else [])}

    def _open_anew(self, name: str) -> None:
        """Open the case that is shown once more, beside the window's thread, and look where one looked before."""
        self._ask(_Wish(name, stays=True))

    def _place(self) -> tuple[looking.Look, bool, bool] | None:
        """What is looked at, whether on its own glass, and whether the paint is in hand."""
        if self.session is None:
            return None
        painting = self.viewer.layers.selection.active is self.session.layers.lesions
        return self.session.looking.look, self.session.looking.on_glass, painting

    def _go_back(self, look: looking.Look, on_glass: bool, painting: bool) -> None:
        """Look at a case that was opened anew as it was looked at before."""
        assert self.session is not None
        self.session.looking.recall(look)
        if self.session.looking.on_glass != on_glass:
            # It was aligned meanwhile: the place looked at was one of its own glass.
            self.session.looking.show_whole()
        if painting and self.session.layers.lesions is not None:
            self.session.finish()
            self.viewer.layers.selection.active = self.session.layers.lesions


_Opened = tuple[CaseView, jobs.Paint, jobs.Carrying | None]
_Read = tuple[_Opened | None, tuple[int, str], StainloomError | None]


def _touched(case: str, changed: Sequence[str]) -> bool:
    """Whether a case has to be read anew. Other maps are taken in place, when the study was looked at: see `predicted`."""
    paths = [path for path in changed if case and path.startswith(f"cases/{case}/")]
    return not all(path.startswith(f"cases/{case}/maps/") for path in paths)


def _opened(study: Path, name: str, paint: jobs.Paint | None, leaving: Sequence[Painter]) -> _Opened:
    """A case, its paint, held, and what carries that; `paint` where this window holds it already.

    Waits for painters that still write there.
    """
    for painter in leaving:
        if (painter.paint.folder.path, painter.paint.case.name) == (study, name):
            painter.wait()
    own = paint or jobs.Paint.open(study, name)
    try:
        carrying = None if own.raster is None else jobs.Carrying(own)
        return jobs.open_view(study, name, with_maps=False, paint=own), own, carrying
    except BaseException:
        if paint is None:
            own.close()
        raise


def _read(
    study: Path, name: str, paint: jobs.Paint | None, leaving: Sequence[Painter], turn: int, gone: Event
) -> _Read:
    """A case opened in a worker, or why it cannot be; let go again where the window is gone meanwhile."""
    try:
        opened = _opened(study, name, paint, leaving)
        if gone.is_set():
            opened[0].close()
            if paint is None:
                opened[1].close()
            return None, (turn, name), None
        return opened, (turn, name), None
    except StainloomError as error:
        return None, (turn, name), error
    except Exception as error:
        _log.exception("a case could not be opened")
        return (
            None,
            (turn, name),
            StainloomError(f"case {name} cannot be opened", found=str(error), next="check its disk"),
        )


def _look(study: Path) -> tuple[StudyState | None, StainloomError | None]:
    """The state of a study, or why it cannot be told: what a worker raises or returns as an error ends in Qt's event loop."""
    try:
        return jobs.survey(study, most=_CASES_A_LOOK), None
    except StainloomError as error:
        return None, error
    except Exception as error:
        _log.exception("the study could not be looked at")
        return None, StainloomError("the study cannot be read", found=str(error), next="check its disk")
