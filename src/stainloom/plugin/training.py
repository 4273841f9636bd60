"""Below Run of the Train dock: what will be trained on, live curves, trainings left behind, and the table of runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QTimer, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
)

from stainloom.io.trainings import Training
from stainloom.jobs import patchsets, settings_of, stop_training, trained
from stainloom.jobs.patchsets import PatchSetState
from stainloom.jobs.trained import RunState, Trained, limits_of_training
from stainloom.plugin.charts import CurveChart, Estimate, EstimateChart, epoch_curves
from stainloom.plugin.dock import Panel
from stainloom.plugin.form import options
from stainloom.plugin.glance import Glance
from stainloom.plugin.job import Job, Result
from stainloom.plugin.messages import words
from stainloom.plugin.patches import old_patches
from stainloom.plugin.runwords import (
    TICK,
    basis_said,
    called,
    compared_runs,
    comparison_said,
    elsewhere_said,
    interrupted_said,
    interval_of,
    run_cells,
    run_lines,
    runs_said,
)
from stainloom.plugin.workspace import Workspace
from stainloom.settings import describe
from stainloom.wording import DAY_AND_TIME, many, moment

if TYPE_CHECKING:
    from stainloom.model.settings import TrainSettings

_LOOK_MS = 2000
_LOSS_TIP = (
    "Loss: how wrong the network is; less is better. It learns from the training patients; validation is of patients that it "
    "does not learn from. Each epoch ends with a look at these. Where validation rises while training falls, it learns its "
    "patients by heart: the best epoch is kept."
)
_RIGHT_TIP = (
    "How many windows it calls right, of the training patients and of the validation patients, after each epoch."
)
_TABLE_LEAST_PX, _TABLE_MOST_PX = 120, 260


class TrainPanel(Panel):
    """Curves of what is trained, what was left running or interrupted, and what came of earlier trainings.

    Parameters
    ----------
    workspace
        What is open.
    """

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self.basis = words("")
        self.each = QPushButton("Train fused and each single stain")
        self.each.setToolTip("One training of all ticked stains together, then one of each alone, one after another")
        self.each.clicked.connect(self._train_each)
        self.left_over = words("")
        self.go_on = QPushButton("Go on with the interrupted training")
        self.go_on.clicked.connect(self._go_on)
        self.ended_early = words("")
        self.elsewhere = words("")
        self.stop = QPushButton("Stop it and keep its state")
        self.stop.clicked.connect(self._stop_elsewhere)
        self.curves_of = words("")
        self.loss, self.accuracy = CurveChart("Loss by epoch"), CurveChart("Share right by epoch")
        self.loss.setToolTip(_LOSS_TIP)
        self.accuracy.setToolTip(_RIGHT_TIP)
        self.heading = words("")
        self.table = _make_table()
        self.table.itemSelectionChanged.connect(self._show_run)
        self.details = words("")
        self.details.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.use, self.report = QPushButton("Predict with this run"), QPushButton("Open report")
        self.use.setToolTip("Predictions in Review are made with it")
        self.use.clicked.connect(self._use)
        self.report.clicked.connect(self._open_report)
        self.longer = QPushButton("Train it longer")
        self.longer.setToolTip(
            "Goes on where this run stopped; minutes, epochs and passes of the form count from there"
        )
        self.longer.clicked.connect(self._train_longer)
        self.compared = words("")
        self.chart = EstimateChart("Share right on test patients")
        self._lay_out()
        self.seen = Trained()
        self._live: list[Mapping[str, float]] = []
        self._job: Job | None = None
        self._stopping = ""
        self._state: Any = None
        self._glance = Glance(self)
        self._glance.seen.connect(self._take)
        self._glance.failed.connect(lambda error: self.details.setText(str(error)))
        self._patches = Glance(self)
        self._patches.seen.connect(self._take_patches)
        self._clock = QTimer(self)
        self._clock.setInterval(_LOOK_MS)
        self._clock.timeout.connect(self._ask)
        workspace.run_chosen.connect(lambda _: self._show_run())
        self._show_all()

    def _lay_out(self) -> None:
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        for part in (
            self.basis, self.each, self.elsewhere, self.stop, self.left_over, self.go_on, self.ended_early, self.longer,
            self.curves_of, self.loss, self.accuracy, self.heading, self.table, self.details,
        ):  # fmt: skip
            rows.addWidget(part)
        buttons = QHBoxLayout()
        for button in (self.use, self.report):
            buttons.addWidget(button)
        rows.addLayout(buttons)
        rows.addWidget(self.compared)
        rows.addWidget(self.chart)

    # What is so

    def look(self) -> None:
        """Show what will be trained on, and look for runs where the study changed."""
        state = self.workspace.state
        latest = state.latest if state is not None else None
        self.basis.setText("" if latest is None else basis_said(latest, self._stains(), self.seen.runs))
        # While it trains, its curves are what is looked at.
        rests = self._job is None
        self.basis.setVisible(bool(self.basis.text()) and rests)
        self.each.setVisible(latest is not None and len(self._stains()) > 1 and rests)
        self.each.setText(f"Train fused and each single stain ({many(len(self._stains()) + 1, 'training')})")
        self.each.setEnabled(self.ready)
        self.go_on.setEnabled(self.ready)
        self.longer.setEnabled(self.ready)
        if state is not self._state and self.isVisible():
            self._state = state
            self._ask()
            self._look_at_patches()

    def showEvent(self, event: Any) -> None:
        """Nothing is looked for before somebody looks."""
        super().showEvent(event)
        self._state = None
        self.look()
        self._clock.start()

    def hideEvent(self, event: Any) -> None:
        """Nobody looks."""
        super().hideEvent(event)
        self._clock.stop()

    def cancelled(self, usual: str) -> str:
        """A training that was stopped in its first epoch has nothing to go on with."""
        return usual if self._live else "Cancelled before the first epoch ended: nothing was learned yet."

    def _look_at_patches(self) -> None:
        state = self.workspace.state
        if state is not None and state.patchsets:
            self.workspace.when_written(lambda _: self._patches.ask(lambda: patchsets(state.path)))
        else:
            self.beware("")

    def _take_patches(self, found: Sequence[PatchSetState]) -> None:
        caution = old_patches(found)
        self.beware(caution, "Patches" if caution else "")

    def _stains(self) -> tuple[str, ...]:
        """The stains that are ticked."""
        latest = self.workspace.state.latest if self.workspace.state is not None else None
        if latest is None or self.form is None or self.form.problem:
            return ()
        return self.form.settings().stains or latest.stains

    def _ask(self) -> None:
        state = self.workspace.state
        if state is None:
            self._take(Trained())
        elif not self._glance.busy:
            self._glance.ask(lambda: trained(state.path))

    def _take(self, found: Trained) -> None:
        ended = {one.key for one in self.seen.under_way} - {one.key for one in found.under_way}
        new = {run.id for run in found.runs} != {run.id for run in self.seen.runs}
        self.seen = found
        if new or self.table.property("wanted"):
            self._fill_table()
        if ended and self._job is None:
            self._stopping = ""
            self.workspace.refresh()
        self._show_all()

    def _show_all(self) -> None:
        other = self._elsewhere()
        interrupted = self.seen.interrupted[0] if self.seen.interrupted else None
        for part in (self.elsewhere, self.stop):
            part.setVisible(other is not None)
        for part in (self.left_over, self.go_on):
            part.setVisible(interrupted is not None and self._job is None)
        if other is not None:
            self.elsewhere.setText(elsewhere_said(other, self._stopping == other.key))
            self.stop.setEnabled(self._stopping != other.key)
        if interrupted is not None:
            self.left_over.setText(interrupted_said(interrupted))
        early = self._to_go_on if self._job is None else None
        for part in (self.ended_early, self.longer):
            part.setVisible(early is not None)
        if early is not None:
            when = moment(early.made, DAY_AND_TIME, None) if early.made is not None else early.id
            self.ended_early.setText(
                f"A limit ended {called(early.stains)}, {when}: trained longer, it may get better."
            )
        self.heading.setText(runs_said(self.seen.runs))
        for part in (self.heading, self.table):
            part.setVisible(bool(self.seen.runs))
        self._show_run()
        self.look()

    @property
    def _to_go_on(self) -> RunState | None:
        """The run that can be trained longer: the one whose state is kept, unless there are newer patches to learn from."""
        latest = self.workspace.state.latest if self.workspace.state is not None else None
        patchset = latest.id if latest is not None else ""
        return next((run for run in self.seen.runs if run.settings is not None and run.patchset == patchset), None)

    def _elsewhere(self) -> Training | None:
        """A training that this window did not start."""
        own = self._job.process if self._job is not None else 0
        return next((one for one in self.seen.under_way if one.process != own), None)

    # Trainings

    def follow(self, job: Job) -> None:
        """Draw its curves from the first epoch on."""
        self._job, self._live = job, []
        job.measured.connect(self._measured)
        job.ended.connect(lambda _: self._ended(job))
        self.table.clearSelection()
        self.table.setProperty("shown", None)
        self._show_all()

    def take(self, result: Result) -> None:
        """Look for the new run, and show it."""
        run = result.figures.get("run")
        if run:
            self.table.setProperty("wanted", run)
        self._state = None

    def _ended(self, job: Job) -> None:
        if self._job is job:
            self._job = None
            self._ask()
            self._show_all()

    def _measured(self, row: dict[str, float]) -> None:
        if self.sender() is self._job:
            self._live.append(row)
            self._show_curves()

    def _train_each(self) -> None:
        assert self.form is not None
        stains = self._stains()
        other = {name: value for name, value in self.form.changes().items() if name != "stains"}
        choices = [stains, *((stain,) for stain in stains)]
        self.asked.emit(
            [
                (f"Train {called(chosen)}", [*self.plan.words, *options({**other, "stains": tuple(chosen)})])
                for chosen in choices
            ]
        )

    def _go_on(self) -> None:
        found = self.seen.interrupted[0]
        self._resume("Go on with the training", found.patchset, found.settings, {})

    def _train_longer(self) -> None:
        run = self._to_go_on
        if run is not None and run.settings is not None:
            self._resume(f"Train {called(run.stains)} longer", run.patchset, run.settings, spent_by(run))

    def _resume(self, title: str, patchset: str, settings: TrainSettings, spent: Mapping[str, float]) -> None:
        """Go on with the limits of the form, which count from what was spent."""
        state = self.workspace.state
        assert state is not None
        assert self.form is not None
        limits = {name: self.form.rows[name].value() for name in sorted(limits_of_training(settings))}
        most = {field.name: field.most for field in describe(settings_of("train"))}
        for name, so_far in spent.items():
            if limits.get(name):  # 0 is no limit
                limits[name] = type(limits[name])(min(limits[name] + so_far, most[name] or math.inf))
        command = [
            "train",
            str(state.path),
            "--resume",
            "--patchset",
            patchset,
            *options({**changed_settings(settings), **limits}),
        ]
        self.asked.emit([(title, command)])

    def _stop_elsewhere(self) -> None:
        other, state = self._elsewhere(), self.workspace.state
        if other is not None and state is not None:
            self._stopping = other.key
            stop_training(state.path, other.key)
            self._show_all()

    # Curves and runs

    def _show_curves(self) -> None:
        """Of the run that is selected, else of what is trained, else of the latest run."""
        run, other = self.selected(), self._elsewhere()
        level = best = None
        if run is None and self._job is not None:
            title, history = f"{self._job.title}: so far.", self._live
        elif run is None and other is not None:
            title, history = f"{called(other.stains)}, outside this window: so far.", list(other.history)
        else:
            run = run or next((one for one in self.seen.runs if one.history), None)
            history = list(run.history) if run is not None else []
            title = (
                f"{called(run.stains)}, {moment(run.made, DAY_AND_TIME, None)}" if run is not None and run.made else ""
            )
        there = bool(history) or self._job is not None
        if history:
            bests = [row["epoch"] for row in history if row.get("best")]
            best = bests[-1] if bests else None
            if "prior_loss" in history[-1]:
                level = (history[-1]["prior_loss"], "guessing")
        self.curves_of.setText(f"Loss (above) and share right (below). {title}" if there else "")
        self.loss.show_curves(epoch_curves(history, "loss"), best=best, level=level)
        self.accuracy.show_curves(epoch_curves(history, "accuracy"), best=best, percent=True)
        for part in (self.curves_of, self.loss, self.accuracy):
            part.setVisible(there)

    def selected(self) -> RunState | None:
        """The run that is selected in the table."""
        chosen = self.table.selectionModel().selectedRows()
        return self.seen.runs[chosen[0].row()] if chosen and chosen[0].row() < len(self.seen.runs) else None

    def _fill_table(self) -> None:
        wanted = self.table.property("wanted")
        before = wanted or self.table.property("shown")
        if wanted in {run.id for run in self.seen.runs}:
            self.table.setProperty("wanted", None)
        self.table.blockSignals(True)
        self.table.clearSelection()
        self.table.setRowCount(len(self.seen.runs))
        for row, run in enumerate(self.seen.runs):
            for column, text in enumerate(run_cells(run)):
                item = QTableWidgetItem(text)
                item.setToolTip("\n".join(run_lines(run)))
                self.table.setItem(row, column, item)
            if run.id == before:
                self.table.selectRow(row)
        self.table.blockSignals(False)
        self.table.resizeRowsToContents()
        high = self.table.verticalHeader().length() + self.table.horizontalHeader().height() + 4
        self.table.setFixedHeight(max(_TABLE_LEAST_PX, min(_TABLE_MOST_PX, high)))

    def _show_run(self) -> None:
        run = self.selected()
        self.table.setProperty("shown", run.id if run is not None else None)
        lines = run_lines(run) if run is not None else []
        if run is not None and run.id == self.workspace.chosen_run:
            lines.append(f"{TICK} Review predicts with this run.")
        latest = self.workspace.state.latest if self.workspace.state is not None else None
        if run is not None and run.settings is not None and latest is not None and run.patchset != latest.id:
            lines.append("It learned from older patches, so it cannot be trained longer: train anew on the latest.")
        self.details.setText("\n".join(lines) or ("Click a run to see its curves." if self.seen.runs else ""))
        self.details.setVisible(bool(self.details.text()))
        self.use.setVisible(run is not None)
        self.use.setEnabled(run is not None and run.usable and run.id != self.workspace.chosen_run)
        self.report.setVisible(run is not None and run.report is not None)
        self._show_curves()
        self._show_comparison(run)

    def _show_comparison(self, run: RunState | None) -> None:
        found = compared_runs(self.seen.runs, run.tested_on if run is not None else "")
        estimates = [
            Estimate(called(one.stains), one.test.accuracy, interval_of(one.test), len(one.stains) > 1)
            for one in found
            if one.test is not None
        ]
        shown = len(estimates) > 1
        self.chart.show_estimates(estimates if shown else [], found[0].test.chance if shown and found[0].test else None)
        self.compared.setText(comparison_said(found) if shown else "")
        self.compared.setVisible(shown)
        self.chart.setVisible(shown)

    def _use(self) -> None:
        run = self.selected()
        if run is not None:
            self.workspace.choose_run(run.id)

    def _open_report(self) -> None:
        run = self.selected()
        if (
            run is not None
            and run.report is not None
            and not QDesktopServices.openUrl(QUrl.fromLocalFile(str(run.report)))
        ):
            self.details.setText(f"{self.details.text()}\nNo program of this machine opens it: {run.report}")


def _make_table() -> QTableWidget:
    table = QTableWidget(0, 3)
    table.setHorizontalHeaderLabels(["Run", "Right on test", "Outcome"])
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    table.verticalHeader().hide()
    header = table.horizontalHeader()
    header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
    table.setAccessibleName("Runs of this study, newest first")
    return table


def changed_settings(settings: TrainSettings) -> dict[str, Any]:
    """The settings of a training that are not the usual ones: what its command line has to say."""
    return {
        field.name: getattr(settings, field.name)
        for field in describe(settings_of("train"))
        if getattr(settings, field.name) != field.default
    }


def spent_by(run: RunState) -> dict[str, float]:
    """What a run has spent of each limit."""
    passes = run.history[-1].get("passes", 0) if run.history else 0
    return {"most_epochs": len(run.history), "most_passes": passes, "stop_after_minutes": round(run.seconds / 60, 2)}
