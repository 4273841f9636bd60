"""The intake: slides recognised behind the window, corrected in a table, and taken in by a job."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget
from superqt.utils import create_worker

from stainloom import jobs
from stainloom.errors import CaseError, StainloomError
from stainloom.jobs.intake import Intake
from stainloom.plugin.intaketable import BLOCK, CASE, EACH_CASE, PATIENT, SCALE, STAIN, IntakeTable
from stainloom.plugin.intakeview import IntakeView
from stainloom.plugin.messages import words
from stainloom.progress import Cancelled

_log = logging.getLogger(__name__)

_REPORT_S = 0.1
_FILL = {"Patient": PATIENT, "Block": BLOCK, "Stain": STAIN, "µm per px": SCALE, "Case": CASE}
_SELECTED, _CASES, _EVERY = "the selected rows", "their cases", "all rows"
_PRIVACY = (
    "Patient takes a pseudonym, the same for all blocks of one patient, never a name or a date of birth. "
    "Slides stay where they are."
)


class Looking(QObject):
    """Slides being recognised in a thread: reads headers only, and can be stopped between two files.

    Parameters
    ----------
    study
        The study that they may go into.
    sources
        Folders, tables, slides.
    """

    progressed = Signal(float, str, str)
    """Share of the whole, what is being done, to which slide: as a `Job` says it."""
    ended = Signal(object, object)
    """An `Intake` and None, or None and why not (a `StainloomError`); None and None where it was stopped."""
    seconds_left = None

    def __init__(self, study: Path, sources: Sequence[Path], parent: QObject) -> None:
        super().__init__(parent)
        self._sources = tuple(sources)
        self._study = study
        self._stop = threading.Event()
        self._last = 0.0

    def start(self) -> None:
        """Begin; `ended` always follows."""
        worker = create_worker(self._look, _start_thread=False)
        worker.returned.connect(lambda found: self.ended.emit(*found))
        worker.start()

    def cancel(self) -> None:
        """Stop at the next file."""
        self._stop.set()

    def _look(self) -> tuple[Intake | None, StainloomError | None]:
        try:
            return jobs.look_at_slides(self._study, self._sources, progress=self._progress), None
        except Cancelled:
            return None, None
        except StainloomError as error:
            return None, error
        except Exception as error:
            _log.exception("the slides could not be looked at")
            return None, CaseError("the slides could not be looked at", found=str(error), next="check their disk")

    def _progress(self, done: float, total: float, what: str) -> None:
        if self._stop.is_set():
            raise Cancelled
        if time.monotonic() - self._last > _REPORT_S:
            self._last = time.monotonic()
            self.progressed.emit(done / total if total else 0.0, what, "")


class IntakePage(QWidget):
    """The table, how to fill many cells at once, and *Take in*."""

    wanted = Signal(object, bool)
    """The `IntakeTable` to be taken in, and whether stains may be missing."""
    left = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.table: IntakeTable | None = None
        self.view = IntakeView()
        self.view.setMinimumHeight(220)
        self.summary, self.reason = words(""), words("")
        self.reason.setStyleSheet("font-weight: bold")
        self.missing = QCheckBox("Take in cases that lack stains")
        self.take = QPushButton("Take in")
        self.take.setMinimumHeight(36)
        self.back = QPushButton("Back")
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addWidget(self.summary)
        rows.addWidget(self.view, 1)
        rows.addWidget(words("Double-click a cell to correct it, or fill many at once:"))
        rows.addLayout(self._make_fill())
        rows.addWidget(words(_PRIVACY))
        rows.addWidget(self.reason)
        rows.addWidget(self.missing)
        buttons = QHBoxLayout()
        buttons.addWidget(self.take, 3)
        buttons.addWidget(self.back, 1)
        rows.addLayout(buttons)
        self.missing.toggled.connect(self.look)
        self.take.clicked.connect(lambda: self.wanted.emit(self.table, self.missing.isChecked()))
        self.back.clicked.connect(self.left)

    def _make_fill(self) -> QVBoxLayout:
        self.what, self.value, self.where = QComboBox(), QComboBox(), QComboBox()
        self.what.addItems(list(_FILL))
        self.value.setEditable(True)
        self.value.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.value.setMinimumContentsLength(8)
        self.where.addItems([_SELECTED, _CASES, _EVERY])
        for box, name in ((self.what, "What to fill"), (self.value, "Value"), (self.where, "Which rows")):
            box.setAccessibleName(name)
        self.fill = QPushButton("Fill")
        self.out = QPushButton("Take rows out")
        self.out.setToolTip("Leaves the selected rows out of the table (Delete). Files are not touched.")
        upper, lower = QHBoxLayout(), QHBoxLayout()
        upper.addWidget(self.what)
        upper.addWidget(QLabel("="))
        upper.addWidget(self.value, 1)
        lower.addWidget(QLabel("in"))
        lower.addWidget(self.where, 1)
        lower.addWidget(self.fill)
        lower.addWidget(self.out)
        self.what.currentTextChanged.connect(self._offer_values)
        self.fill.clicked.connect(self._fill)
        self.out.clicked.connect(lambda: self.view.model().take_out(self.view.chosen()))
        rows = QVBoxLayout()
        rows.addLayout(upper)
        rows.addLayout(lower)
        return rows

    def show_intake(self, intake: Intake) -> None:
        """Show what was recognised."""
        self.table = IntakeTable(intake)
        model = self.view.show_table(self.table)
        model.arranged.connect(self.look)
        self.view.selectionModel().selectionChanged.connect(self._look_at_selection)
        self.missing.setChecked(False)
        self._offer_values()
        self.look()

    def look(self) -> None:
        """Say how much there is, and why it cannot be taken in yet."""
        if self.table is None:
            return
        self.summary.setText(self.table.summary())
        reason = self.table.reason(self.missing.isChecked())
        self.reason.setText(reason)
        self.reason.setVisible(bool(reason))
        self.missing.setVisible(bool(self.table.faults.missing))
        self.missing.setText(f"Take in cases that lack stains ({len(self.table.faults.missing)})")
        count = len(self.table.groups)
        self.take.setText(f"Take in {count} {'case' if count == 1 else 'cases'}")
        self.take.setEnabled(not reason)
        self.take.setToolTip(reason)
        self._look_at_selection()

    def _look_at_selection(self, *_) -> None:
        chosen = bool(self.view.selectionModel().hasSelection())
        self.out.setEnabled(chosen)
        if not chosen:
            self.where.setCurrentText(_EVERY)
        elif self.where.currentText() == _EVERY:
            self.where.setCurrentText(_SELECTED)

    def _offer_values(self, *_) -> None:
        what = _FILL[self.what.currentText()]
        self.value.clear()
        if what == STAIN and self.table is not None:
            self.value.addItems(self.table.study.stain_names)
        elif what in (PATIENT, BLOCK):
            self.value.addItem(EACH_CASE)
        self.value.setCurrentText("" if what != STAIN else self.value.itemText(0))
        self.value.setEditable(what != STAIN)

    def _fill(self) -> None:
        if self.table is None:
            return
        where, numbers = self.where.currentText(), self.view.chosen()
        if where == _EVERY:
            numbers = list(range(len(self.table.guesses)))
        elif where == _CASES:
            cases = {self.table.guesses[number].case for number in numbers}
            numbers = [number for case in cases for number in self.table.groups[case]]
        self.view.model().fill(_FILL[self.what.currentText()], self.value.currentText(), numbers)
