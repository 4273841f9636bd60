"""The Review dock: which run, predict, look at its maps one by one, and say that a case was looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import QTimer, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QWidget
from superqt.utils import create_worker

from stainloom import jobs
from stainloom.case.predicted import MeanWeights
from stainloom.errors import StainloomError
from stainloom.plugin.bars import ReadoutBars
from stainloom.plugin.chooser import OverlayChooser
from stainloom.plugin.controls import JobControls
from stainloom.plugin.dock import Dock
from stainloom.plugin.frame import Frame
from stainloom.plugin.job import Result
from stainloom.plugin.keys import NEXT_REGION_KEY
from stainloom.plugin.messages import Act, words
from stainloom.plugin.overlay import CLASSES, WEIGHT_RANGE
from stainloom.plugin.regionlist import RegionList
from stainloom.plugin.reviewing import (
    around,
    detail_words,
    is_as_scanned,
    is_reviewed_so,
    map_notes,
    mark_problem,
    other_run,
    run_problem,
    run_title,
    run_words,
    state_words,
    title_of,
    view_problem,
    what_is_missing,
)
from stainloom.plugin.weighttable import WeightTable
from stainloom.plugin.workspace import Workspace

_MOVE_MS = 40
_SAID_MOST = 2


class ReviewDock(Dock):
    """Which run, what to predict with it, which of its maps is shown, what is under the cursor, and *reviewed*.

    Parameters
    ----------
    workspace
        What is open.
    name, purpose
        Of the dock.
    """

    def __init__(self, workspace: Workspace, name: str, purpose: str) -> None:
        super().__init__(workspace, name, purpose)
        self.open_page = QDesktopServices.openUrl
        self.messages.most = _SAID_MOST  # what is below it is needed too
        self._session: Any = None
        self._outdated: tuple[str, ...] = ()
        self._busy = self._seen = False
        self.frame = Frame(workspace.viewer)
        self._make_run()
        self._make_predict()
        self._make_look()
        self._make_review()
        self.rows.addStretch()
        self._clock = QTimer(self)
        self._clock.setSingleShot(True)
        self._clock.setInterval(_MOVE_MS)
        self._clock.timeout.connect(self._read_out)
        workspace.viewer.cursor.events.position.connect(self._moved)
        workspace.viewer.scene.camera.events.connect(self._camera_moved)
        workspace.predicted.changed.connect(self.look)
        workspace.queue.changed.connect(self.look)
        self.look()

    # What it is made of

    def _make_run(self) -> None:
        self.run = QComboBox()
        self.run.setAccessibleName("Which run")
        self.run.activated.connect(lambda row: self.workspace.choose_run(self.run.itemData(row)))
        self._run_shown = ""
        self.other = QPushButton()
        self.other.setToolTip("The same place stays on the canvas: change to and fro to compare")
        self.other.clicked.connect(lambda: self.workspace.choose_run(self._other))
        self._other = ""
        self.run_said = words("")
        self.first = QPushButton()
        self.first.clicked.connect(lambda: self.workspace.dock_wanted.emit(self._remedy))
        self._remedy = ""
        for part in (self.run, self.other, self.run_said, self.first):
            self.rows.addWidget(part)

    def _make_predict(self) -> None:
        self.view, self.case, self.every = (QPushButton() for _ in range(3))
        self.view.clicked.connect(self.predict_view)
        self.case.clicked.connect(lambda: self._predict(False))
        self.every.clicked.connect(lambda: self._predict(True))
        self.why = words("")
        self.detail = QComboBox()
        self.detail.setAccessibleName("Detail")
        self.detail.setToolTip("A view joins the maps that this run has of this case, in their detail")
        self._usual_px = jobs.settings_of("predict")().stride_px
        for stride in (self._usual_px // 2, self._usual_px, self._usual_px * 2):
            self.detail.addItem("", stride)
        self.detail.setCurrentIndex(1)
        self.controls = JobControls()
        self.controls.run.hide()
        self.controls.cancel.clicked.connect(self.cancel)
        self.controls.hide()
        self.rows.addWidget(words("Predict"))
        self.rows.addLayout(_row(self.view, self.case, self.every))
        self.again = QPushButton("Predict again")
        self.again.clicked.connect(lambda: self._predict(False))
        self.outdated = words("")
        for part in (self.why, self.detail, self.controls, self.outdated, self.again):
            self.rows.addWidget(part)

    def _make_look(self) -> None:
        self.chooser = OverlayChooser()
        self.chooser.chosen.connect(self._show)
        self.chooser.opacity_changed.connect(self._set_opacity)
        self.chooser.spread_chosen.connect(self._spread)
        self.bars = ReadoutBars()
        self.weights = WeightTable()
        self.weights.found.connect(self._take_weights)
        self._ends: tuple[float, float] | None = None
        self.regions = RegionList()
        self.regions.wanted.connect(self._fly)
        self.workspace.viewer.bind_key(NEXT_REGION_KEY, lambda _: self.regions.fly_to_next(), overwrite=True)
        # What is said of a prediction would push its map's chooser away from the mouse.
        for part in (self.chooser, self.bars, self.messages):
            self.rows.addWidget(part)

    def _make_review(self) -> None:
        self.mark = QPushButton()
        self.mark.clicked.connect(self._mark)
        self.report, self.read = QPushButton("Write the report"), QPushButton("Open it")
        self.report.setToolTip("Figures, confusion matrix and pictures of this run")
        self.report.clicked.connect(self._report)
        self.read.clicked.connect(lambda: self._open_report(self.workspace.predicted.report))
        self.rows.addWidget(self.mark)
        self.rows.addLayout(_row(self.report, self.read))
        for part in (self.regions, self.weights):
            self.rows.addWidget(part)

    # What is so now

    def look(self, *_: Any) -> None:
        """Show what is so now: another study, another case, another run, other maps."""
        self._follow_session()
        self._show_runs()
        self._show_maps()
        self._show_buttons()

    def _follow_session(self) -> None:
        session = self.workspace.session
        if session is self._session:
            return
        self._session = session
        self.frame.hide()
        if session is not None:
            session.shown_changed.connect(self._show_overlay)
            session.overlay.failed.connect(self.messages.say_error)
            self._offer_map()

    def _show_runs(self) -> None:
        predicted = self.workspace.predicted
        if predicted.run != self._run_shown and self.controls.job is None:
            # What was said of another run would be taken for this one's.
            self.messages.clear()
        self._run_shown = predicted.run
        self.run.clear()
        for run in reversed(predicted.runs):
            self.run.addItem(run_title(run), run.id)
        for id in reversed([id for id in (*predicted.with_maps, predicted.run) if id]):
            if self.run.findData(id) < 0:
                self.run.addItem(title_of(id, predicted.runs), id)
        self.run.setCurrentIndex(self.run.findData(predicted.run))
        self.run.setVisible(self.run.count() > 0)
        self.run_said.setText(run_words(predicted.facts, predicted.run, self._patient))
        self.run_said.setVisible(bool(predicted.run))
        self._other, said = other_run(predicted)
        self.other.setText(said)
        self.other.setVisible(bool(said))
        um_per_px = 1.0 if predicted.facts is None else predicted.facts.um_per_px
        for row in range(self.detail.count()):
            self.detail.setItemText(row, detail_words(self.detail.itemData(row), um_per_px, self._usual_px))

    @property
    def _patient(self) -> str:
        return "" if self.workspace.case is None else self.workspace.case.patient

    def _show_maps(self) -> None:
        workspace, predicted = self.workspace, self.workspace.predicted
        maps, session = predicted.maps, workspace.session
        notes = [] if predicted.error is None else [str(predicted.error)]
        outdated = () if maps is None else maps.outdated
        if outdated and outdated != self._outdated and self.controls.job is None:
            # What was said of the prediction was said of what lay on the slides then.
            self.messages.clear()
        self._outdated = outdated
        if maps is not None and session is not None:
            notes += map_notes(maps, session.view)
        self.outdated.setText("\n".join(f"!  {note}" for note in notes))
        self.outdated.setVisible(bool(notes))
        self.again.setVisible(bool(maps is not None and maps.outdated))
        self.bars.setVisible(maps is not None)
        if maps is not None:
            self.bars.put_names(tuple(maps.weights), maps.classes)
        self.regions.show_regions_of(maps)
        self.weights.show_weights_of(maps)
        self._read_out()
        self._show_overlay()

    def _show_overlay(self) -> None:
        session = self.workspace.session
        if session is None:
            self.chooser.put(None, None, 0.6)
            return
        self.chooser.put(session.maps, session.overlay.shown, session.overlay.opacity)
        if is_as_scanned(session):
            self.frame.hide()  # places of the reference are others on a stain's own glass

    def _show_buttons(self) -> None:
        workspace = self.workspace
        missing, self._remedy = what_is_missing(workspace)
        self.first.setVisible(bool(self._remedy))
        self.first.setText(f"Go to {self._remedy}")
        self.state.setText(missing or state_words(workspace))
        busy = self.controls.job is not None
        # Until the runs were looked at anew, nobody knows which one is meant.
        ready = bool(workspace.predicted.run) and not (missing or busy or run_problem(workspace))
        self.controls.setVisible(busy)
        cases = 0 if workspace.state is None else len([case for case in workspace.state.cases if not case.problem])
        self.view.setText("This view")
        self.case.setText("This case")
        self.every.setText(f"All {cases} cases" if cases > 1 else "All cases")
        self.why.setText("" if missing or busy else run_problem(workspace))
        self.why.setVisible(bool(self.why.text()))
        self.view.setEnabled(False)
        if ready:
            self._show_view_problem()
        for button in (self.case, self.again):
            button.setEnabled(ready and workspace.session is not None)
        self.every.setEnabled(ready and cases > 0)
        reviewed, why = is_reviewed_so(workspace), mark_problem(workspace)
        self.mark.setText("Not reviewed after all" if reviewed else "Mark this case as reviewed")
        self.mark.setEnabled(not self._busy and (reviewed or not why))
        self.mark.setToolTip(
            "" if reviewed else why or "You looked at this map and at the paint; the same button takes it back"
        )
        facts, report = workspace.predicted.facts, workspace.predicted.report
        self.report.setEnabled(facts is not None and facts.learned and not busy)
        self.report.setText("Write the report" if report is None else "Write the report anew")
        self.read.setVisible(report is not None)
        self.read.setToolTip("" if report is None else str(report))

    def _show_view_problem(self) -> None:
        why = view_problem(self.workspace)
        self.view.setEnabled(not why)
        self.why.setText(why)
        self.why.setVisible(bool(why))

    def _camera_moved(self, *_: Any) -> None:
        # Whether there is tissue to predict on the canvas only matters to who looks at this dock.
        if self.isVisible() and not self._clock.isActive():
            self._clock.start()

    def _be_seen(self, seen: bool) -> None:
        super()._be_seen(seen)
        self._seen = seen
        if not seen:
            self.frame.hide()
        self._offer_map()

    def _offer_map(self) -> None:
        if self._seen and self._session is not None:
            self.workspace.memory.show_map(CLASSES)

    # Predicting

    def predict_view(self) -> None:
        """Predict the part of the reference that is on the canvas."""
        workspace = self.workspace
        assert workspace.state is not None
        assert workspace.session is not None
        top, left, bottom, right = workspace.session.box_on_canvas()
        name, run = workspace.session.view.case.name, workspace.predicted.run
        self.messages.clear()
        box = (top, left, bottom - top, right - left)
        job = workspace.warm.predict(workspace.state.path, run, name, box, self.detail.currentData())
        job.ended.connect(self._view_ended)
        self.controls.follow(job)
        self.look()

    def _view_ended(self, result: Result) -> None:
        self._end(result, "This view is predicted.")
        if result.ending == "done":
            self._show_classes_when_there()
            self.workspace.predicted.look()
            self.workspace.refresh()

    def _predict(self, everything: bool) -> None:
        workspace = self.workspace
        assert workspace.state is not None
        command = ["predict", str(workspace.state.path), "--run", workspace.predicted.run]
        title = self.every.text().replace("All", "Predict all")
        if not everything:
            assert workspace.session is not None
            name = workspace.session.view.case.name
            command += ["--case", name]
            title = f"Predict {name}"
        self._ask(title, [*command, "--stride-px", str(self.detail.currentData())], self._predicted)

    def _ask(self, title: str, command: list[str], ended: Any) -> None:
        queue = self.workspace.queue
        before = [*([queue.current] if queue.current else []), *queue.waiting]
        self.messages.clear()
        job = self.workspace.run(title, command, ended)
        self.controls.follow(job, before[-1].title if before else "")
        self.look()

    def _predicted(self, result: Result) -> None:
        count = len(result.figures.get("cases", ()))
        self._end(result, f"{count} case{'' if count == 1 else 's'} predicted.")
        if result.changed:
            self._show_classes_when_there()

    def _show_classes_when_there(self) -> None:
        """Who predicts wants to see it: the class map is laid over where no map is, as soon as it is read."""
        session, predicted = self.workspace.session, self.workspace.predicted

        def show() -> None:
            if session is self.workspace.session and predicted.maps is not None:
                predicted.changed.disconnect(show)
                if session.overlay.shown is None:
                    session.show_overlay(CLASSES)

        if session is not None and session.overlay.shown is None:
            predicted.changed.connect(show)

    def _end(self, result: Result, done: str, act: Act | None = None) -> None:
        self.controls.rest()
        self.messages.say_result(result, done, act=act)
        self.look()

    def cancel(self) -> None:
        """Stop what runs, or forget it where it waits."""
        job = self.controls.job
        if job is self.workspace.warm.job:
            self.workspace.warm.cancel()
        elif job is not None:
            self.workspace.queue.drop(job)

    # Looking

    def _show(self, overlay: Any) -> None:
        if self.workspace.session is not None:
            self.workspace.session.show_overlay(overlay)

    def _set_opacity(self, opacity: float) -> None:
        if self.workspace.session is not None:
            self.workspace.session.overlay.set_opacity(opacity)

    def _take_weights(self, found: MeanWeights | None) -> None:
        self._ends = None if found is None or found.spread[0] >= found.spread[1] else found.spread
        self.chooser.offer_spread(self._ends)
        self._spread()

    def _spread(self, *_: Any) -> None:
        if self.workspace.session is not None:
            wanted = self._ends if self.chooser.spread.isChecked() else None
            self.workspace.session.overlay.set_spread(wanted or WEIGHT_RANGE)

    def _fly(self, region: Any) -> None:
        session = self.workspace.session
        if session is None:
            return
        if session.overlay.shown is None:
            session.show_overlay(CLASSES)
        session.look_at(around(region.edges_um))
        self.frame.put(region.edges_um)

    def _moved(self, *_: Any) -> None:
        if self.isVisible() and not self._clock.isActive():
            self._clock.start()

    def _read_out(self) -> None:
        session = self.workspace.session
        if session is None or session.maps is None or is_as_scanned(session):
            self.bars.put(None)
        else:
            row, col = self.workspace.viewer.cursor.position[-2:]
            self.bars.put(session.readout((float(row), float(col))))
        if self.case.isEnabled():
            self._show_view_problem()

    # Reviewed, and the report

    def _mark(self) -> None:
        state, case = self.workspace.state, self.workspace.case
        if state is None or case is None or self._busy:
            return
        self._busy = True
        run, undo = self.workspace.predicted.run, is_reviewed_so(self.workspace)

        def begin(error: StainloomError | None) -> None:
            if error is not None:
                self._marked(error)
                self._rested()
                return
            worker = create_worker(_mark, state.path, case.name, run, undo, _start_thread=False)
            worker.returned.connect(self._marked)
            worker.finished.connect(self._rested)
            worker.start()

        self.workspace.when_written(begin)

    def _marked(self, error: StainloomError | None) -> None:
        # Where it worked, the state above and the button say so.
        self.messages.clear()
        if error is not None:
            self.messages.say_error(error)
        self.workspace.refresh()

    def _rested(self) -> None:
        self._busy = False
        self.look()

    def _report(self) -> None:
        state = self.workspace.state
        if state is not None:
            command = ["report", str(state.path), "--run", self.workspace.predicted.run]
            self._ask("Write the report", command, self._reported)

    def _reported(self, result: Result) -> None:
        state = self.workspace.state
        page = state.path / result.changed[0] if state is not None and result.changed else None
        if result.ending == "done" and page is not None:
            self._end(result, f"The report is written: {page}")
            self._open_report(page)
        else:
            self._end(result, "The report is written.")

    def _open_report(self, page: Path | None) -> None:
        if page is not None and not self.open_page(QUrl.fromLocalFile(str(page))):
            self.messages.clear()
            self.messages.say("check", f"No program of this machine opens the report. It lies here: {page}")


def _mark(study: Path, case: str, run: str, undo: bool) -> StainloomError | None:
    try:
        if undo:
            jobs.unmark_reviewed(study, case)
        else:
            jobs.mark_reviewed(study, case, run_id=run)
        return None
    except StainloomError as error:
        return error
    except Exception as error:
        return StainloomError(f"case {case} could not be marked", found=str(error), next="try it again")


def _row(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget, 1)
    return row
