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

from stainloom.case.run import is_guessing
from stainloom.io.trainings import Training
from stainloom.jobs import patchsets, settings_of, stop_training, trained
from stainloom.jobs.patchsets import PatchSetState
from stainloom.jobs.trained import HeldOut, Interrupted, RunState, Trained, limits_of_training
from stainloom.plugin.charts import CurveChart, Estimate, EstimateChart, epoch_curves
from stainloom.plugin.dock import Panel, time_left, words
from stainloom.plugin.form import options
from stainloom.plugin.glance import Glance
from stainloom.plugin.job import Job, Result
from stainloom.plugin.patches import old_patches
from stainloom.plugin.workspace import Workspace
from stainloom.settings import describe
from stainloom.wording import DAY_AND_TIME, lasting, listed, many, moment

if TYPE_CHECKING:
    from stainloom.model.settings import TrainSettings

_LOOK_MS = 2000
_TABLE_LEAST_PX, _TABLE_MOST_PX = 120, 260
_TICK, _CROSS = "\N{CHECK MARK}", "\N{MULTIPLICATION SIGN}"
_FEW_PATIENTS = 10


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
        self.heading = words("")
        self.table = _make_table()
        self.table.itemSelectionChanged.connect(self._show_run)
        self.details = words("")
        self.details.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.use, self.report = QPushButton("Use this run"), QPushButton("Open report")
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
                f"A limit ended {_called(early.stains)}, {when}: trained longer, it may get better."
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
                (f"Train {_called(chosen)}", [*self.plan.words, *options({**other, "stains": tuple(chosen)})])
                for chosen in choices
            ]
        )

    def _go_on(self) -> None:
        found = self.seen.interrupted[0]
        self._resume("Go on with the training", found.patchset, found.settings, {})

    def _train_longer(self) -> None:
        run = self._to_go_on
        if run is not None and run.settings is not None:
            self._resume(f"Train {_called(run.stains)} longer", run.patchset, run.settings, spent_by(run))

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
            title, history = f"{_called(other.stains)}, outside this window: so far.", list(other.history)
        else:
            run = run or next((one for one in self.seen.runs if one.history), None)
            history = list(run.history) if run is not None else []
            title = (
                f"{_called(run.stains)}, {moment(run.made, DAY_AND_TIME, None)}" if run is not None and run.made else ""
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
            lines.append(f"{_TICK} Review predicts with this run.")
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
        found = compared_runs(self.seen.runs, run.patchset if run is not None else "")
        estimates = [
            Estimate(_called(one.stains), one.test.accuracy, _interval(one.test), len(one.stains) > 1)
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


def _called(stains: Sequence[str]) -> str:
    """*5 stains fused*, *HE alone*."""
    return f"{len(stains)} stains fused" if len(stains) > 1 else f"{stains[0]} alone" if stains else "a run"


def basis_said(latest: PatchSetState, stains: Sequence[str], runs: Sequence[RunState]) -> str:
    """When and for what the patches were cut, when a training ends, and how long the last one of as many stains took."""
    training = latest.sets.get("train", 0)
    said = (
        f"Patches of {moment(latest.made, DAY_AND_TIME, None)}, {training:,} of the windows for training. "
        "It ends by itself when the validation loss falls no more"
    )
    alike = next((run for run in runs if len(run.stains) == len(stains) and run.seconds > 0 and run.history), None)
    if alike is None:
        return f"{said}."
    took = f"{lasting(alike.seconds)} for {many(len(alike.history), 'epoch')}"
    return f"{said}; the last one of {many(len(stains), 'stain')} took {took}."


def elsewhere_said(training: Training, stopping: bool) -> str:
    """A training that another process does, in words."""
    left = f", {time_left(training.seconds_left)}" if training.seconds_left is not None else ""
    said = f"A training of {_called(training.stains)} runs outside this window ({training.host}, since {moment(training.since)}): {100 * training.share:.0f} %{left}. {training.what}"
    return f"{said} \N{EM DASH} stopping" if stopping else said


def interrupted_said(found: Interrupted) -> str:
    """A training that can go on, in words."""
    stains = _called(found.settings.stains) if found.settings.stains else "all stains"
    control = f" ({found.settings.control})" if found.settings.control != "none" else ""
    return f"A training of {stains}{control} was interrupted after {many(len(found.history), 'epoch')}; its state of {moment(found.kept, DAY_AND_TIME, None)} is kept. It goes on with the limits of the form."


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


def run_cells(run: RunState) -> tuple[str, str, str]:
    """A row of the table: when and what, how good, whether it can be used."""
    when = moment(run.made, DAY_AND_TIME, None) if run.made is not None else run.id
    name = f"{when}\n{_called(run.stains)}" if run.stains else when
    if run.problem:
        return name, "", f"{_CROSS} cannot\nbe used"
    right = "not tested" if run.test is None else f"{100 * run.test.accuracy:.0f} %"
    if run.test is not None and (interval := _interval(run.test)) is not None:
        right += f"\n{100 * interval[0]:.0f} to {100 * interval[1]:.0f} %"
    if run.control != "none":
        return name, right, f"! control:\n{run.control}"
    if run.outcome != "learned":
        return name, right, f"{_CROSS} did not\nlearn"
    # It learned its training patients; what counts is patients that it never saw.
    test = run.test
    guessed = test is not None and is_guessing(test.accuracy, test.chance, test.balanced, len(run.classes))
    return name, right, "! no better\nthan guessing" if guessed else f"{_TICK} learned"


def _interval(test: HeldOut) -> tuple[float, float] | None:
    """The range of a figure over patients; over one patient there is none that says anything."""
    return test.interval if test.patients > 1 else None


def run_lines(run: RunState) -> list[str]:
    """A run in words."""
    if run.problem:
        return [f"{_CROSS} {run.id} cannot be used. {run.problem}"]
    lines = [f"{_called(run.stains)}: {listed(run.stains)}", f"Tells apart {listed(run.classes)}."]
    if run.test is not None:
        lines.append(test_said(run.test))
    else:
        lines.append("Not tested: no patient was held out, or it did not learn.")
    lines.append(
        f"Best epoch {run.best_epoch} of {len(run.history)}, in {lasting(run.seconds)}; patch set {run.patchset[:8]}; run {run.id}."
    )
    return lines


def test_said(test: HeldOut) -> str:
    """How good a run is on its test patients, in words."""
    said = (
        f"Test: {many(test.windows, 'window')} of {many(test.patients, 'patient')}; {100 * test.accuracy:.1f} % right, "
        f"{100 * test.balanced:.1f} % balanced over classes"
    )
    said += f"; guessing the largest class: {100 * test.chance:.1f} %." if test.chance is not None else "."
    if test.interval is None:
        return said
    low, high = (100 * end for end in test.interval)
    few = f", which over {many(test.patients, 'patient')} says little" if test.patients < _FEW_PATIENTS else ""
    return f"{said} Range: {low:.0f} to {high:.0f} %{few}."


def runs_said(runs: Sequence[RunState]) -> str:
    """The heading of the list of runs: with whether their figures were measured on the same windows."""
    if len({run.patchset for run in runs if run.test is not None}) < 2:
        return "Runs, newest first:"
    return (
        "Runs, newest first. Not all were tested on the same patches: what they have right compares only roughly, "
        "and not at all where an export said that patients changed sets."
    )


def compared_runs(runs: Sequence[RunState], patchset: str = "") -> list[RunState]:
    """The latest usable fused run on a patch set, then the latest of each single stain on the same; without a name, on that of the latest fused run."""
    tested = [run for run in runs if run.usable and run.test and (not patchset or run.patchset == patchset)]
    fused = next((run for run in tested if len(run.stains) > 1), None)
    if fused is None:
        return []
    single = {run.stains[0]: run for run in reversed(tested) if len(run.stains) == 1 and run.patchset == fused.patchset}
    return [fused, *(single[stain] for stain in fused.stains if stain in single)]


def comparison_said(found: Sequence[RunState]) -> str:
    """Fused against the best single stain, in words."""
    measured = {run.stains: run.test.accuracy for run in found if run.test is not None}
    best = max((stains for stains in measured if len(stains) == 1), key=lambda stains: measured[stains])
    gain = 100 * (measured[found[0].stains] - measured[best])
    complete = all(run.test is not None and run.test.interval for run in found)
    unsaid = "" if complete else " Runs without a whisker were made before intervals were measured."
    return f"Fused: {gain:+.0f} points against the best single stain ({best[0]}), on the same test windows.{unsaid}"
