"""What the Align dock shows of its own: a row per stain, and what can be done for each; or the page of the one under the hand."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtWidgets import QVBoxLayout, QWidget
from superqt.utils import create_worker

from stainloom import jobs
from stainloom.case.aligned import AlignedStain
from stainloom.case.resample import overview
from stainloom.errors import StainloomError
from stainloom.geometry import size_um
from stainloom.plugin.dock import Panel
from stainloom.plugin.hand import Hand
from stainloom.plugin.handpage import HandPage
from stainloom.plugin.job import Job, Result
from stainloom.plugin.laying import Affine, Laying
from stainloom.plugin.messages import words
from stainloom.plugin.stainrow import StainRow
from stainloom.plugin.workspace import Workspace
from stainloom.tissue import tissue_mask

_log = logging.getLogger(__name__)

_CENTRE_PX = 300
LAST, LAID, GLASS = "its last alignment", "where it was laid last", "as on its own glass"


class AlignPanel(Panel):
    """The stains of the case that is shown, and the one that is laid by hand.

    Parameters
    ----------
    workspace
        What is open.
    """

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self.rows: dict[str, StainRow] = {}
        self.hand: Hand | None = None
        self.page: HandPage | None = None
        self._busy = False
        self._case: tuple[Path, str] | None = None
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(6)
        self._list = QWidget()
        self._list_layout = QVBoxLayout(self._list)
        self._list_layout.setContentsMargins(0, 0, 0, 0)
        self._list_layout.setSpacing(6)
        self._layout.addWidget(self._list)
        workspace.thumbnails.ready.connect(self._look_at_pictures)
        workspace.case_changed.connect(self._follow_case)

    # A row per stain

    def look(self) -> None:
        """Show the stains of the case as they are now."""
        case = self.workspace.case
        if list(self.rows) != ([] if case is None else [stain.name for stain in case.stains]):
            self._make_rows()
        if self.page is not None:
            self.page.may_refine(not self._busy)
        if case is None or self.page is not None:
            return
        for stain in case.stains:
            self.rows[stain.name].show_state(stain, busy=self._busy)
        self._look_at_pictures()
        self._look_at_shown()

    def _make_rows(self) -> None:
        while (item := self._list_layout.takeAt(0)) is not None:
            if item.widget() is not None:
                item.widget().hide()
                item.widget().deleteLater()
        self.rows = {}
        case = self.workspace.case
        if case is None:
            return
        self._list_layout.addWidget(words(f"Checkerboards with {self._reference}: click one to see it large."))
        for stain in case.stains:
            row = StainRow(stain.name, self._reference)
            row.chosen.connect(partial(self._show_stain, stain.name))
            row.picture_chosen.connect(partial(self._show_pair, stain.name))
            row.again.connect(partial(self.align_again, stain.name))
            row.by_hand.connect(partial(self.turn_by_hand, stain.name))
            row.left_out.connect(partial(self.leave_out, stain.name))
            row.accepted.connect(partial(self.accept, stain.name))
            row.taken_in.connect(partial(self.leave_out, stain.name, undo=True))
            self.rows[stain.name] = row
            self._list_layout.addWidget(row)

    @property
    def _reference(self) -> str:
        return self.workspace.session.view.reference.name

    def _look_at_pictures(self) -> None:
        case, state = self.workspace.case, self.workspace.state
        if case is None or not self.isVisible() or self.page is not None:
            return
        for stain in case.stains:
            if stain.verdict in ("missing", "reference") or stain.name not in self.rows:
                continue
            picture = self.workspace.thumbnails.get(
                state.path,
                case.name,
                stain.name,
                px=2 * StainRow.PICTURE_PX,
                checkered=True,
                made_from=(*stain.made_from, self._of_reference()),
            )
            self.rows[stain.name].show_picture(picture)

    def _of_reference(self) -> Any:
        return next((stain.made_from for stain in self.workspace.case.stains if stain.verdict == "reference"), None)

    def _look_at_shown(self) -> None:
        session = self.workspace.session
        if session is None or not self.isVisible():
            return
        shown = session.layers.shown(session.viewer)
        for name, row in self.rows.items():
            row.mark(name in shown.stains or name == shown.pair)

    def showEvent(self, event: Any) -> None:
        """Look for pictures only now that somebody sees them."""
        super().showEvent(event)
        self.look()

    def _show_stain(self, name: str) -> None:
        if self.workspace.session is not None:
            self.workspace.session.show_stain(name)

    def _show_pair(self, name: str) -> None:
        if self.workspace.session is None:
            return
        self.workspace.session.show_pair(name)

    # What can be done for one stain

    def align_again(self, name: str) -> None:
        """Align one stain of the case from the start."""
        state, case = self.workspace.state, self.workspace.case
        known = next(stain for stain in case.stains if stain.name == name)
        title = f"Align {name}" if known.verdict == "not aligned" else f"Align {name} again"
        self.run_wanted.emit(title, ["register", str(state.path), "--case", case.name, "--stain", name])

    def leave_out(self, name: str, *, undo: bool = False) -> None:
        """Leave a stain out of the case, or take it in again."""
        state, case = self.workspace.state, self.workspace.case
        self._quickly(partial(jobs.leave_out, state.path, case.name, name, undo=undo), self._done)

    def accept(self, name: str, right: bool) -> None:
        """Say that somebody looked at a stain to be checked and found it right, or take that back."""
        state, case = self.workspace.state, self.workspace.case
        self._quickly(partial(jobs.accept, state.path, case.name, name, undo=not right), self._done)

    def _done(self, outcome: jobs.Outcome) -> None:
        self.said.emit("done", f"{outcome.text}.")
        self.workspace.take_changes(outcome.changed)

    def shows(self, warning: str) -> bool:
        """What is said of a stain of the case that is open stands in its row."""
        case = self.workspace.case
        return case is not None and any(warning.startswith(f"{case.name}, {stain.name}: ") for stain in case.stains)

    def follow(self, job: Job) -> None:
        """While a job of this dock runs no other is asked for."""
        self._busy = True

    def take(self, result: Result) -> None:
        """It ended."""
        self._busy = False

    # By hand

    def turn_by_hand(self, name: str) -> None:
        """Let the user lay a stain on the reference."""
        state, session = self.workspace.state, self.workspace.session
        stain = next(view for view in session.view.stains if view.name == name)
        if self.page is not None or stain.aligned is None:
            return
        self.said.emit("check", f"Reading {name}\N{HORIZONTAL ELLIPSIS}")
        case = session.view.case.name

        def prepare() -> tuple[tuple[float, float], tuple[float, float], Affine | None]:
            centres = [tissue_centre(each) for each in (stain.aligned, session.view.reference)]
            return centres[0], centres[1], jobs.laid(state.path, case, name)

        def begin(found: Any) -> None:
            if self.workspace.session is session and self.page is None:
                self._begin(name, stain, *found)
            else:
                self.said.emit("check", f"{name} is not turned by hand: its case was opened anew meanwhile.")

        self._quickly(prepare, begin)

    def _begin(self, name: str, stain: Any, centre: Any, reference_centre: Any, laid: Affine | None) -> None:
        starts: dict[str, Affine] = {}
        warp = stain.aligned.warp
        if warp is not None and stain.usable:
            starts[LAST] = warp.affine
        if laid is not None:
            starts[LAID] = laid
        starts[GLASS] = np.eye(2, 3)
        if warp is not None and not stain.usable:
            starts[LAST] = warp.affine
        session = self.workspace.session
        self.hand = Hand(session, name, Laying(next(iter(starts.values())), centre))
        self.hand.removed.connect(self._lose_layer)
        self._case = (self.workspace.state.path, session.view.case.name)
        self.page = HandPage(self.hand, starts, np.asarray(reference_centre))
        self.page.refine.connect(self.refine)
        self.page.use.connect(self.use)
        self.page.cancel.connect(self.cancel)
        self._list.hide()
        self._layout.addWidget(self.page)
        self.alone_wanted.emit(True)

    def refine(self) -> None:
        """Refine the stain from where it lies now, and be done with the hand."""
        study, case = self._case
        name = self.hand.stain

        def run(start: Path) -> None:
            words = ["register", str(study), "--case", case, "--stain", name, "--start-from", str(start)]
            self.run_wanted.emit(f"Refine {name} from where it was laid", words)

        self._quickly(partial(jobs.keep_laid, study, case, name, self.hand.laying.affine), run)
        self._end(name)

    def use(self) -> None:
        """Use the stain as it lies now, and be done with the hand."""
        study, case = self._case
        name = self.hand.stain

        def keep(affine: Affine) -> jobs.Outcome:
            return jobs.lay(study, case, name, jobs.keep_laid(study, case, name, affine))

        def done(outcome: jobs.Outcome) -> None:
            self.said.emit("check", f"{name} lies as you laid it. It was not refined: look at its checkerboard.")
            self.workspace.take_changes(outcome.changed)

        self._quickly(partial(keep, self.hand.laying.affine), done)
        self._end(name)

    def cancel(self) -> None:
        """Be done with the hand, and keep nothing."""
        name = self.hand.stain
        self._end(name)
        self.said.emit("done", f"{name} is as it was.")

    def _lose_layer(self) -> None:
        name = self.hand.stain
        self._end(name)
        self.said.emit(
            "check", f"The layer of {name} was taken away, so turning it by hand ended; {name} is as it was."
        )

    def _end(self, show: str | None = None) -> None:
        hand, page = self.hand, self.page
        self.hand = self.page = self._case = None
        hand.let_go()
        hand.deleteLater()
        page.hide()
        page.deleteLater()
        self._list.show()
        self.alone_wanted.emit(False)
        session = self.workspace.session
        if show is not None and session is not None:
            session.show_stain(show)
            session.viewer.layers.selection.active = session.layers.stains.get(show)
        self.look()

    def _follow_case(self) -> None:
        """Stay with a case that was opened anew; with another case or none, end and say so."""
        session, state = self.workspace.session, self.workspace.state
        if session is not None:
            session.shown_changed.connect(self._look_at_shown)
        if self.page is None:
            return
        name = self.hand.stain
        again = session is not None and (state.path, session.view.case.name) == self._case
        if again and any(view.name == name and view.aligned is not None for view in session.view.stains):
            laying = self.hand.laying
            self.hand.let_go()
            self.hand.deleteLater()
            self.hand = Hand(session, name, laying)
            self.hand.removed.connect(self._lose_layer)
            self.page.take(self.hand)
            return
        place = self._keep_place()
        self._end()
        said = f"Turning {name} by hand ended with its case; {name} is as it was. {place}".rstrip()
        self.said.emit("check", said)
        self.workspace.said.emit(said)

    def _keep_place(self) -> str:
        """Keep where the hand laid a stain whose case is left; at once, since the window may be closing. What came of it."""
        study, case = self._case
        if not self.hand.laying.changed:
            return ""
        try:
            jobs.keep_laid(study, case, self.hand.stain, self.hand.laying.affine)
        except StainloomError as error:
            return f"Where you had laid it could not be kept: {error}"
        return f"Where you had laid it is kept: turn it by hand again, and begin {LAID}."

    # Work under a second, beside the window

    def _quickly(self, act: Callable[[], Any], done: Callable[[Any], None]) -> None:
        def take(found: tuple[Any, StainloomError | None]) -> None:
            result, error = found
            if error is not None:
                self.said.emit("failed", str(error))
            else:
                done(result)

        worker = create_worker(_tried, act, _start_thread=False)
        worker.returned.connect(take)
        worker.start()


def _tried(act: Callable[[], Any]) -> tuple[Any, StainloomError | None]:
    """What something gives, or why not: what a worker raises ends in Qt's event loop."""
    try:
        return act(), None
    except StainloomError as error:
        return None, error
    except Exception as error:
        _log.exception("the dock could not do what was asked for")
        return None, StainloomError("this could not be done", found=str(error), next="try it again")


def tissue_centre(stain: AlignedStain) -> tuple[float, float]:
    """Where the tissue of a slide has its centre, (row, col) um; the slide's middle where it shows none."""
    extent = size_um(stain.pyramid.levels[0], stain.pyramid.um_per_px[0])
    um = max(max(extent) / _CENTRE_PX, *stain.pyramid.um_per_px[0])
    mask = tissue_mask(overview(stain.pyramid, um), (um, um))
    if not mask.any():
        return extent[0] / 2, extent[1] / 2
    row, col = (np.argwhere(mask).mean(axis=0) + 0.5) * um
    return float(row), float(col)
