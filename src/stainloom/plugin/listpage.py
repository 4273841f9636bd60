"""What the Cases dock shows of an open study: filter, list, steps from case to case, and what can be done with cases."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLineEdit, QMenu, QPushButton, QVBoxLayout, QWidget

from stainloom.jobs.survey import CaseState, StudyState
from stainloom.plugin.caselist import ABOUT_SIGNS, FILTERS, CaseList, chosen
from stainloom.plugin.messages import words
from stainloom.plugin.workspace import Workspace

NEXT_KEY, PREVIOUS_KEY = "PageDown", "PageUp"
_NAMED_MOST = 3


class ListPage(QWidget):
    """The cases of the open study.

    Parameters
    ----------
    workspace
        What is open.
    """

    step_wanted = Signal(int)
    folder_wanted = Signal()
    table_wanted = Signal()
    slide_wanted = Signal(str)
    """A stain of the selected case that another file is to take the place of."""
    removal_wanted = Signal()
    search_wanted = Signal()
    open_wanted = Signal()
    new_wanted = Signal()
    closing_wanted = Signal()

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self.workspace = workspace
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addLayout(self._make_filter())
        self.lost, self.changed = words(""), words("")
        self.search = QPushButton("Find moved slides\N{HORIZONTAL ELLIPSIS}")
        self.search.clicked.connect(self.search_wanted)
        self.hint = words("No case yet. Drop a folder of scanned slides here, or take slides in below.")
        self.list = CaseList(workspace)
        self.list.setMinimumHeight(180)
        rows.addWidget(self.lost)
        rows.addWidget(self.search)
        rows.addWidget(self.changed)
        rows.addWidget(self.hint)
        rows.addWidget(self.list, 1)
        self.signs = words(ABOUT_SIGNS)
        self.signs.setStyleSheet("color: #9AA0A8")
        rows.addWidget(self.signs)
        self.none = words("No case is like that.")
        rows.addWidget(self.none)
        rows.addLayout(self._make_steps())
        rows.addLayout(self._make_menus())

    def _make_filter(self) -> QHBoxLayout:
        self.text, self.kind = QLineEdit(), QComboBox()
        self.text.setPlaceholderText("Find a case or patient")
        self.text.setClearButtonEnabled(True)
        self.kind.addItems(list(FILTERS))
        self.kind.setAccessibleName("Which cases")
        self.text.textChanged.connect(self.look)
        self.kind.currentTextChanged.connect(self.look)
        row = QHBoxLayout()
        row.addWidget(self.text, 1)
        row.addWidget(self.kind)
        return row

    def _make_steps(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self.steps: dict[int, QPushButton] = {}
        for text, key, by in (("Previous case", "PgUp", -1), ("Next case", "PgDn", 1)):
            button = QPushButton(f"{text}  [{key}]")
            button.setToolTip(f"{key}, while the slide has the focus")
            button.clicked.connect(lambda _, by=by: self.step_wanted.emit(by))
            self.steps[by] = button
            row.addWidget(button)
        return row

    def _make_menus(self) -> QHBoxLayout:
        row = QHBoxLayout()
        ellipsis = "\N{HORIZONTAL ELLIPSIS}"
        self._menus: list[QMenu] = []
        slides = self._menu(row, "Take in slides")
        slides.addAction(f"From a folder{ellipsis}", self.folder_wanted.emit)
        slides.addAction(f"From a table (CSV){ellipsis}", self.table_wanted.emit)
        case = self._menu(row, "This case")
        self._stains = case.addMenu("Replace or add a slide")
        case.addAction(f"Remove from the study{ellipsis}", self.removal_wanted.emit)
        study = self._menu(row, "Study")
        study.addAction(f"Open another{ellipsis}", self.open_wanted.emit)
        study.addAction(f"New study{ellipsis}", self.new_wanted.emit)
        study.addAction(f"Find moved slides{ellipsis}", self.search_wanted.emit)
        study.addAction("Close", self.closing_wanted.emit)
        case.aboutToShow.connect(self._offer_stains)
        return row

    def _menu(self, row: QHBoxLayout, text: str) -> QMenu:
        button = QPushButton(text)
        menu = QMenu(button)
        button.setMenu(menu)
        self._menus.append(menu)
        row.addWidget(button, 1)
        return menu

    def _offer_stains(self) -> None:
        self._stains.clear()
        case = self.list.selected()
        for stain in case.stains if case is not None else ():
            act: Callable[[], None] = lambda name=stain.name: self.slide_wanted.emit(name)  # noqa: E731
            there = stain.verdict != "missing" or stain.changed
            self._stains.addAction(f"{stain.name} (replace)" if there else f"{stain.name} (add)", act)
        self._stains.setEnabled(case is not None and bool(case.stains))

    def look(self, *_) -> None:
        """Show the cases as they are now."""
        state = self.workspace.state
        if state is None:
            return
        shown = self.workspace.case
        found = chosen(state.cases, self.text.text(), self.kind.currentText())
        self.list.show_cases(found, shown.name if shown is not None else None)
        self.hint.setVisible(not state.cases)
        self.signs.setVisible(bool(found))
        self.none.setVisible(bool(state.cases) and not found)
        said = said_lost(state)
        self.lost.setText(said)
        self.lost.setVisible(bool(said))
        other = said_changed(state)
        self.changed.setText(other)
        self.changed.setVisible(bool(other))
        self.search.setVisible(bool(said))
        for by, button in self.steps.items():
            button.setEnabled(self.workspace.session is not None and beside(state, shown, by))


def beside(state: StudyState, shown: CaseState | None, by: int) -> bool:
    """Whether there is a case before or behind the one that is shown."""
    names = [case.name for case in state.cases if not case.problem]
    return shown is not None and shown.name in names and 0 <= names.index(shown.name) + by < len(names)


def said_lost(state: StudyState) -> str:
    """Which slides are not where the study says, one sentence; empty where all are."""
    lost = [f"{stain} of {case.name}" for case in state.cases for stain in case.lost]
    if not lost:
        return ""
    slides = "1 slide is" if len(lost) == 1 else f"{len(lost)} slides are"
    return f"? {slides} not where the study says: {_first(lost)}. Connect the disk, or find them."


def said_changed(state: StudyState) -> str:
    """Which slides are other files now, and what to do; empty where none is."""
    changed = [f"{stain.name} of {case.name}" for case in state.cases for stain in case.stains if stain.changed]
    if not changed:
        return ""
    return (
        f"\N{NOT EQUAL TO} Another file lies in the place of {_first(changed)}; its alignment no longer holds. Put the first "
        "file back, or choose This case > Replace or add a slide."
    )


def _first(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED_MOST} more" if len(names) > _NAMED_MOST else ""
    return ", ".join(names[:_NAMED_MOST]) + more
