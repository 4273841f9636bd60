"""The Cases dock: a study to open or to try, and its cases with what is done and what is not."""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_documents_path
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QStackedWidget,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from stainloom.errors import StainloomError
from stainloom.jobs.survey import CaseState, StainState
from stainloom.plugin.dock import Dock, JobControls, words
from stainloom.plugin.job import Job, Result
from stainloom.plugin.overlay import SIGNS
from stainloom.plugin.workspace import Workspace

_STEPS = ("aligned", "painted", "exported", "predicted")
_HEADINGS = ("Align", "Paint", "Patch", "Map")
_TICK = "\N{CHECK MARK}"
_TRIAL = ("--patients", "4", "--width-um", "1600", "--height-um", "1200", "--seed", "1", "--failed-share", "0")
"""A trial study: large enough for a split by patient, small enough for two minutes."""


class CasesDock(Dock):
    """Three large buttons while no study is open; then its cases.

    Parameters
    ----------
    workspace
        What is open.
    name, purpose
        Of the dock.
    """

    def __init__(self, workspace: Workspace, name: str, purpose: str) -> None:
        super().__init__(workspace, name, purpose)
        self.pages = QStackedWidget()
        self.empty, self.list = self._make_empty(), self._make_list()
        self.pages.addWidget(self.empty)
        self.pages.addWidget(self.list)
        self.controls = JobControls()
        self.controls.run.hide()
        self.controls.hide()
        self.controls.cancel.clicked.connect(self._cancel)
        for part in (self.pages, self.controls, self.messages):
            self.rows.addWidget(part)
        workspace.refused.connect(self.messages.say_error)
        self._trial: list[tuple[str, tuple[str, ...]]] = []
        self.look()

    def _make_empty(self) -> QWidget:
        page = QWidget()
        rows = QVBoxLayout(page)
        rows.setContentsMargins(0, 0, 0, 0)
        self.buttons: dict[str, QPushButton] = {}
        for title, text, act in (
            ("Try the simulated study", "Four blocks of aorta in five stains, painted. Takes about two minutes.", self.try_it),
            ("Open a study", "A folder that Stainloom made.", self.ask_for_study),
        ):  # fmt: skip
            button = QPushButton(title)
            button.setMinimumHeight(48)
            button.clicked.connect(act)
            self.buttons[title] = button
            rows.addWidget(button)
            rows.addWidget(words(text))
        rows.addWidget(words("Research use only; not for diagnosis."))
        rows.addStretch()
        return page

    def _make_list(self) -> QWidget:
        page = QWidget()
        rows = QVBoxLayout(page)
        rows.setContentsMargins(0, 0, 0, 0)
        self.table = QTableWidget(0, 2 + len(_STEPS))
        self.table.setHorizontalHeaderLabels(["Case", "Stains", *_HEADINGS])
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.verticalHeader().hide()
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.table.cellClicked.connect(self._choose)
        buttons = QHBoxLayout()
        for text, by in (("\N{LEFTWARDS ARROW} Previous case", -1), ("Next case \N{RIGHTWARDS ARROW}", 1)):
            button = QPushButton(text)
            button.clicked.connect(lambda _, by=by: self.step(by))
            buttons.addWidget(button)
        another = QPushButton("Open another study")
        another.clicked.connect(self.ask_for_study)
        rows.addWidget(self.table)
        rows.addLayout(buttons)
        rows.addWidget(another)
        return page

    def look(self) -> None:
        """Show the cases as they are now."""
        state = self.workspace.state
        self.pages.setCurrentWidget(self.empty if state is None else self.list)
        if state is None:
            self.state.setText("No study is open.")
            return
        done = sum(case.aligned and case.painted for case in state.cases)
        simulated = " SIMULATED." if state.simulated else ""
        self.state.setText(
            f"{state.path.name}: {len(state.cases)} case{'' if len(state.cases) == 1 else 's'}, {done} aligned and painted.{simulated}"
        )
        self.table.setRowCount(len(state.cases))
        shown = self.workspace.case
        for row, case in enumerate(state.cases):
            self._show_case(row, case)
            if shown is not None and case.name == shown.name:
                self.table.selectRow(row)

    def _show_case(self, row: int, case: CaseState) -> None:
        cells = [f"{case.name} ({case.patient})" if case.patient != case.name else case.name]
        cells.append(" ".join(SIGNS[stain.verdict][0] for stain in case.stains))
        cells += [_TICK if getattr(case, step) else "" for step in _STEPS]
        tip = case.problem or "\n".join(_said(stain) for stain in case.stains)
        for column, text in enumerate(cells):
            item = QTableWidgetItem(text)
            item.setToolTip(tip)
            if column:
                item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
            if case.problem:
                item.setForeground(QColor(SIGNS["failed"][1]))
            self.table.setItem(row, column, item)

    def ask_for_study(self) -> None:
        """Let the user choose a folder, and open it."""
        chosen = QFileDialog.getExistingDirectory(self, "Open a study: the folder that holds study.json")
        if chosen:
            self.open_study(Path(chosen))

    def open_study(self, study: Path) -> None:
        """Open a study, or say why not."""
        self.messages.clear()
        try:
            self.workspace.open_study(study)
        except StainloomError as error:
            self.messages.say_error(error)

    def step(self, by: int) -> None:
        """Show the next case or the one before."""
        self._open(lambda: self.workspace.step(by))

    def _choose(self, row: int, _: int) -> None:
        state = self.workspace.state
        if state is not None and not state.cases[row].problem:
            self._open(lambda: self.workspace.open_case(state.cases[row].name))

    def _open(self, act) -> None:
        self.messages.clear()
        try:
            act()
        except StainloomError as error:
            self.messages.say_error(error)

    # The simulated study

    def try_it(self) -> None:
        """Simulate a study in the user's documents, align it, normalize it, and open it; an earlier one is opened at once."""
        study = trial_folder()
        if (study / "study.json").is_file():
            self.open_study(study)
            return
        path = str(study)
        self._trial = [
            ("Simulate four cases", ("simulate", path, *_TRIAL)),
            ("Align them", ("register", path)),
            ("Bring their colours together", ("normalize", path)),
        ]
        for button in self.buttons.values():
            button.setEnabled(False)
        self._next_step()

    def _next_step(self) -> None:
        title, command = self._trial.pop(0)
        self.controls.show()
        self.controls.follow(self.workspace.run(title, list(command), self._step_ended))

    def _step_ended(self, result: Result) -> None:
        if result.ending == "done" and self._trial:
            self._next_step()
            return
        self._trial = []
        self.controls.hide()
        for button in self.buttons.values():
            button.setEnabled(True)
        if result.ending == "done":
            self.open_study(trial_folder())
        else:
            self.messages.clear()
            self.messages.say_result(result, "")

    def _cancel(self) -> None:
        job: Job | None = self.controls.job
        if job is not None:
            self.workspace.queue.drop(job)


def trial_folder() -> Path:
    """Where the simulated study lies that *Try the simulated study* makes."""
    return user_documents_path() / "Stainloom" / "simulated"


def _said(stain: StainState) -> str:
    error = f", landmarks {stain.error_um:.0f} um apart" if stain.error_um is not None else ""
    lost = "" if stain.found else "; its file is not found"
    return f"{stain.name}: {stain.verdict}{error}{lost}"
