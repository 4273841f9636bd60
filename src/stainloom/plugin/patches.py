"""Below Run of the Patches dock: what would be cut, before anything is written; the patch sets, and how their patches look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import QTimer, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QVBoxLayout

from stainloom.jobs import contact_sheet, patchsets
from stainloom.jobs.patchsets import PatchSetState
from stainloom.jobs.survey import StudyState
from stainloom.patches.select import LACKS_STAIN, OFF_SLIDE, OFF_TISSUE, TOO_LITTLE_LESION, TOO_SMALL
from stainloom.plugin.charts import BarChart, BarRow
from stainloom.plugin.contact import ContactSheetView
from stainloom.plugin.dock import Panel
from stainloom.plugin.form import options
from stainloom.plugin.glance import Glance
from stainloom.plugin.job import Job, Result
from stainloom.plugin.messages import words
from stainloom.plugin.workspace import Workspace
from stainloom.wording import DAY_AND_TIME, listed, many, moment, named, size_of

SETS = {"train": "training", "validation": "validation", "test": "test"}
_DEBOUNCE_MS = 700
_AT_ONCE_MOST = 100
_PATIENTS_NAMED = 8
_WHY = {
    TOO_SMALL: "at the edge of a lesion, where no whole window fits",
    TOO_LITTLE_LESION: "with too little of the lesion in them",
    OFF_SLIDE: "that reach over the edge of the HE slide",
    OFF_TISSUE: "on glass, not on tissue",
    LACKS_STAIN: "where a stain is missing",
}


class PatchesPanel(Panel):
    """Class by set as a chart before anything is written; then the patch sets and a contact sheet.

    Parameters
    ----------
    workspace
        What is open.
    """

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self.counted = words("")
        self.count = QPushButton("Count the windows")
        self.count.clicked.connect(self._start)
        self.chart = BarChart("Windows of each class by set")
        self.told = words("")
        self.heading = words("Patches on disk:")
        self.sets = QComboBox()
        self.sets.setAccessibleName("Patch set")
        self.sets.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.sets.currentIndexChanged.connect(self._show_set)
        self.about = words("")
        self.sheet = ContactSheetView()
        self.another, self.folder = QPushButton("Another sample"), QPushButton("Open its folder")
        self.another.clicked.connect(self._draw_another)
        self.folder.clicked.connect(self._open_folder)
        buttons = QHBoxLayout()
        buttons.addWidget(self.another)
        buttons.addWidget(self.folder)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        for part in (self.counted, self.count, self.chart, self.told, self.heading, self.sets, self.about, self.sheet):
            rows.addWidget(part)
        rows.addLayout(buttons)
        self._job: Job | None = None
        self._key: Any = None
        self._exporting = False
        self._seed = 0
        self.found: tuple[PatchSetState, ...] = ()
        self._state: Any = None
        self._wait = QTimer(self)
        self._wait.setSingleShot(True)
        self._wait.setInterval(_DEBOUNCE_MS)
        self._wait.timeout.connect(self._start)
        self._listed, self._drawn = Glance(self), Glance(self)
        self._listed.seen.connect(self._take_sets)
        self._listed.failed.connect(lambda error: self.about.setText(str(error)))
        self._drawn.seen.connect(self._take_sheet)
        self._drawn.failed.connect(self._no_sheet)
        workspace.saving_changed.connect(self._painted)
        self._show_set()
        self.count.hide()

    # What would be cut

    def look(self) -> None:
        """Count anew where settings, cases or paint are others than those that were counted; list patch sets anew."""
        if not self.isVisible() or self.form is None:
            return
        state = self.workspace.state
        if state is not self._state:
            self._state = state
            if state is not None:
                self.workspace.when_written(lambda _: self._listed.ask(lambda: patchsets(state.path)))
            else:
                self._take_sets(())
        key = None if self.plan.missing or self.form.problem else (self._command(), *_cut_from(state))
        if key == self._key or self._exporting:
            return
        self._key = key
        self._stop()
        if key is None:
            self.counted.setText("")
            self._show_counts({})
        elif len(self.plan.words) > 2 * _AT_ONCE_MOST:
            self.counted.setText("So many cases take a while to count.")
            self.count.show()
        else:
            self._wait.start()

    def showEvent(self, event: Any) -> None:
        """Nothing is counted before somebody looks."""
        super().showEvent(event)
        self._state = None
        self.look()

    def follow(self, job: Job) -> None:
        """The machine is for the export now."""
        self._exporting = True
        if self._job is not None or self._wait.isActive():
            self._key = None
        self._stop()

    def take(self, result: Result) -> None:
        """What was counted holds; what was not counted to its end is counted again."""
        self._exporting = False

    def _painted(self, *_: Any) -> None:
        """What was counted is older than the paint."""
        self._key = None
        self.look()

    def _command(self) -> tuple[str, ...]:
        assert self.form is not None
        return (*self.plan.words, *options(self.form.changes()), "--preview", "--workers", "1")

    def _start(self) -> None:
        if self.form is None or self.plan.missing or self.form.problem or not self.isVisible():
            self._key = None
            return
        self.count.hide()
        self._stop()
        self.counted.setText("Counting what would be cut \N{HORIZONTAL ELLIPSIS}")
        job = self.workspace.run_aside(
            "Count the windows", list(self._command()), lambda result: self._end(job, result)
        )
        job.progressed.connect(self._progress)
        self._job = job

    def _stop(self) -> None:
        self._wait.stop()
        if self._job is not None:
            job, self._job = self._job, None
            job.cancel()

    def _progress(self, share: float, what: str, slide: str) -> None:
        if self.sender() is self._job:
            self.counted.setText(f"Counting what would be cut: {100 * share:.0f} %")

    def _end(self, job: Job, result: Result) -> None:
        if job is not self._job:
            return
        self._job = None
        figures = result.figures
        said = [str(problem["detail"]) for problem in result.problems[:3]] + list(result.warnings[:3])
        if figures:
            self.counted.setText(_counted(figures))
        else:
            self.counted.setText("")
        self._show_counts(figures, said)

    def _show_counts(self, figures: Mapping[str, Any], said: list[str] | None = None) -> None:
        colors = self._colors()
        classes = figures.get("classes", {})
        names = list(SETS) if figures.get("patients") else [""]
        rows = [
            BarRow(name, colors.get(name, "#9AA0A8"), tuple(counts.get(each, 0) for each in names))
            for name, counts in classes.items()
        ]
        self.chart.show_counts([SETS.get(name, "") for name in names], rows)
        checks = [f"! {text}" for text in said or ()]
        self.told.setText("\n".join([*checks, *told_lines(figures)]))

    def _colors(self) -> dict[str, str]:
        session = self.workspace.session
        return {} if session is None else {lesion.short: lesion.color for lesion in session.view.study.lesions}

    # What was cut

    def _take_sets(self, found: tuple[PatchSetState, ...]) -> None:
        chosen = self.sets.currentData()
        newest = found[0].id if found and {one.id for one in self.found} != {one.id for one in found} else chosen
        self.found = found
        self.beware(old_patches(found))
        self.sets.blockSignals(True)
        self.sets.clear()
        for one in found:
            sign = "\N{MULTIPLICATION SIGN} " if one.problem else "! " if one.outdated else ""
            self.sets.addItem(f"{sign}{moment(one.made, DAY_AND_TIME, None)}   {many(one.windows, 'window')}", one.id)
        self.sets.setCurrentIndex(max(0, self.sets.findData(newest)) if found else -1)
        self.sets.blockSignals(False)
        self._show_set()

    def chosen(self) -> PatchSetState | None:
        """The patch set that is looked at."""
        return next((one for one in self.found if one.id == self.sets.currentData()), None)

    def _show_set(self, *_: Any) -> None:
        one = self.chosen()
        for part in (self.heading, self.sets, self.another, self.folder):
            part.setVisible(one is not None)
        self.sheet.show_sheet(None)
        if one is None:
            self.about.setText("No patches are written yet." if self.workspace.state is not None else "")
            return
        self.about.setText("\n".join(set_lines(one)))
        self.another.setEnabled(not one.problem)
        if not one.problem:
            self._ask_for_sheet(one.id)

    def _draw_another(self) -> None:
        one = self.chosen()
        if one is not None:
            self._seed += 1
            self._ask_for_sheet(one.id)

    def _ask_for_sheet(self, id: str) -> None:
        state, seed = self.workspace.state, self._seed
        if state is not None:
            self._drawn.ask(lambda: (id, contact_sheet(state.path, id, seed)))

    def _take_sheet(self, found: tuple[str, Any]) -> None:
        id, sheet = found
        one = self.chosen()
        if one is not None and one.id == id:
            self.sheet.show_sheet(sheet)

    def _no_sheet(self, error: Any) -> None:
        self.sheet.show_sheet(None)
        self.about.setText(f"{self.about.text()}\n\N{MULTIPLICATION SIGN} {error}")

    def _open_folder(self) -> None:
        one = self.chosen()
        if one is not None and not QDesktopServices.openUrl(QUrl.fromLocalFile(str(one.path))):
            self.about.setText(f"{self.about.text()}\nNo program of this machine opens folders: {one.path}")


def _cut_from(state: StudyState | None) -> list[Any]:
    """What decides which windows are cut, as far as the study's state says it; paint tells of itself."""
    cases = state.cases if state is not None else ()
    return [(case.name, [(s.verdict, s.made_from, s.normalized) for s in case.stains]) for case in cases]


def _counted(figures: Mapping[str, Any]) -> str:
    patients = sum(len(names) for names in figures.get("patients", {}).values())
    of = f" of {many(patients, 'patient')}" if patients else f" of {many(int(figures['cases']), 'case')}"
    windows = many(int(figures["windows"]), "window")
    return f"An export cuts {windows} (places, seen in all stains){of}: {size_of(figures['bytes'])} on disk."


def told_lines(figures: Mapping[str, Any]) -> list[str]:
    """Who is in which set, what was left out and why, and what is tight: one line each."""
    if not figures:
        return []
    lines = [
        f"{SETS[name].capitalize()}: {named(figures['patients'][name], _PATIENTS_NAMED)}"
        for name in SETS
        if name in figures["patients"]
    ]
    left_out = sorted(figures["left_out"].items(), key=lambda item: -item[1])
    if left_out:
        lines += ["", "Left out:"]
        lines += [f"{many(count, 'window')} {_WHY.get(reason, reason)}" for reason, count in left_out]
    lacking = sorted(figures["missing"].items(), key=lambda item: -item[1])
    if lacking:
        lines += ["", "Taken, but without a stain that is missing, blank, not aligned or out of focus there:"]
        lines += [f"{stain} in {many(count, 'window')}" for stain, count in lacking]
    free = figures.get("free_bytes")
    if free is not None and free < figures["bytes"]:
        lines += ["", f"! The disk has {size_of(free)} left: too little for these patches."]
    return lines


def old_patches(found: Sequence[PatchSetState]) -> str:
    """What the latest patches do not know, one sentence; empty where they are as the cases are now."""
    old = found[0].outdated if found else ()
    return f"The latest patches are {listed(old)}: export again before you train." if old else ""


def set_lines(one: PatchSetState) -> list[str]:
    """A patch set in words: how many windows of whom, whether it is out of date, where it lies."""
    if one.problem:
        return [f"\N{MULTIPLICATION SIGN} {one.problem}", str(one.path)]
    sets = ", ".join(f"{count:,} {SETS.get(name, name)}" for name, count in one.sets.items())
    old = [f"! {text[0].upper()}{text[1:]}." for text in one.outdated]
    said = old if old else ["\N{CHECK MARK} Up to date with paint, alignment and colours."]
    return [*said, f"Windows: {sets}; {size_of(one.bytes)}.", f"Lies in {one.path}"]
