"""The list of cases: one row a case, drawn as it is scrolled to, so that two thousand cost no more than twenty."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QRect, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QColor, QFont, QKeyEvent, QPainter, QPalette, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from stainloom.jobs.survey import CaseState, StainState
from stainloom.plugin.overlay import SIGNS
from stainloom.plugin.thumbnails import Thumbnails
from stainloom.plugin.workspace import Workspace
from stainloom.wording import listed

TICK, CHECK, OPEN = "\N{CHECK MARK}", "!", "\N{MIDDLE DOT}"
_THUMB_PX, _ROW_PX, _TICK_PX = 44, 52, 34
_STILL_MS = 120
_CASE = Qt.ItemDataRole.UserRole


@dataclass(frozen=True)
class Step:
    """A step of the work: its heading, its word, whether a case is through it, and what it is to be looked at for."""

    heading: str
    word: str
    done: Callable[[CaseState], bool]
    caution: Callable[[CaseState], str] = lambda case: ""


STEPS = (
    Step(
        "Align",
        "aligned",
        lambda case: case.aligned,
        lambda case: f"look at {listed(case.to_check)} in Align" if case.to_check else "",
    ),
    Step("Paint", "painted", lambda case: case.painted),
    Step(
        "Patch",
        "exported",
        lambda case: case.exported,
        lambda case: "its paint, an alignment or its colours changed since: export again" if case.patches_old else "",
    ),
    Step(
        "Map",
        "predicted",
        lambda case: case.predicted,
        lambda case: "an alignment or its colours changed since: predict again" if case.maps_old else "",
    ),
    Step(
        "Seen",
        "reviewed",
        lambda case: case.reviewed or case.review_old,
        lambda case: "its maps or its paint changed since: look again" if case.review_old else "",
    ),
)
"""The steps of the work, in their order."""

ALL = "All cases"
FILTERS: dict[str, Callable[[CaseState], bool]] = {
    ALL: lambda case: True,
    **{f"Not {step.word}": lambda case, step=step: not step.done(case) for step in STEPS},
    "To be checked": lambda case: any(step.done(case) and step.caution(case) for step in STEPS),
    "Slides not found": lambda case: bool(case.lost),
    "Slides replaced": lambda case: any(stain.changed for stain in case.stains),
    "Cannot be read": lambda case: bool(case.problem),
}
"""What the list may be narrowed to."""


_SIGN = {verdict: sign for verdict, (sign, _) in SIGNS.items()}
ABOUT_SIGNS = (
    f"A sign a stain: {_SIGN['reference']} the reference, {_SIGN['good']} aligned, {_SIGN['check']} to be looked at, "
    f"{_SIGN['failed']} failed, {_SIGN['not aligned']} not yet, {_SIGN['missing']} none. "
    f"In the columns: {TICK} done, {CHECK} to be looked at, {OPEN} not yet."
)
"""What the signs in the list mean."""


def chosen(cases: Sequence[CaseState], text: str, missing: str) -> tuple[CaseState, ...]:
    """Cases whose name or patient holds a text, and that lack what is asked for."""
    sought, test = text.strip().casefold(), FILTERS[missing]
    return tuple(c for c in cases if sought in f"{c.name}\n{c.patient}".casefold() and test(c))


def said_of_stain(stain: StainState) -> str:
    """One stain of a case in words, for tooltips."""
    if stain.changed:
        return f"{stain.name}: another file lies in its place"
    error = f", landmarks {stain.error_um:.0f} µm apart" if stain.error_um is not None else ""
    lost = "" if stain.found else "; its file is not found"
    return f"{stain.name}: {stain.verdict}{error}{lost}"


def signs_of(case: CaseState) -> list[tuple[str, str]]:
    """A sign and a colour for each stain: a file that is gone or another goes before how it is aligned."""
    lost, other = ("?", SIGNS["failed"][1]), ("\N{NOT EQUAL TO}", SIGNS["failed"][1])
    return [other if stain.changed else SIGNS[stain.verdict] if stain.found else lost for stain in case.stains]


def _sign(case: CaseState, column: int) -> str:
    step = STEPS[column - 1]
    if not step.done(case):
        return OPEN
    return CHECK if step.caution(case) else TICK


class CaseModel(QAbstractTableModel):
    """The cases that the filter lets through."""

    def __init__(self) -> None:
        super().__init__()
        self.cases: tuple[CaseState, ...] = ()

    def show(self, cases: Sequence[CaseState]) -> bool:
        """Show other cases; False where the same ones only changed, so that selection and place stay."""
        same = [case.name for case in cases] == [case.name for case in self.cases]
        if same:
            self.cases = tuple(cases)
            if cases:
                self.dataChanged.emit(self.index(0, 0), self.index(len(cases) - 1, len(STEPS)))
        else:
            self.beginResetModel()
            self.cases = tuple(cases)
            self.endResetModel()
        return not same

    def row_of(self, name: str) -> int:
        """The row of a case, or -1."""
        return next((row for row, case in enumerate(self.cases) if case.name == name), -1)

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self.cases)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        return 1 + len(STEPS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return "Case" if section == 0 else STEPS[section - 1].heading
        if role == Qt.ItemDataRole.ToolTipRole:
            return "Case, patient, and a sign a stain" if section == 0 else f"Which cases are {STEPS[section - 1].word}"
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        case, column = self.cases[index.row()], index.column()
        if role == _CASE:
            return case
        if role == Qt.ItemDataRole.DisplayRole:
            if column == 0:
                return case.name if case.patient in ("", case.name) else f"{case.name} ({case.patient})"
            return "" if case.problem or not case.looked else _sign(case, column)
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._tip(case, column)
        if role == Qt.ItemDataRole.TextAlignmentRole and column:
            return Qt.AlignmentFlag.AlignCenter
        return None

    def _tip(self, case: CaseState, column: int) -> str:
        if case.problem or column == 0:
            return case.problem or "\n".join(said_of_stain(stain) for stain in case.stains)
        step = STEPS[column - 1]
        if not step.done(case):
            return f"{case.name}: not {step.word}"
        caution = step.caution(case)
        return f"{case.name}: {step.word}" + (f"; {caution}" if caution else "")


class CaseDelegate(QStyledItemDelegate):
    """Draws a case: its reference as a thumbnail, name and patient, and a sign a stain.

    Parameters
    ----------
    picture
        The thumbnail of a case, or None where it is not there yet.
    """

    def __init__(self, picture: Callable[[CaseState], QPixmap | None], parent: QWidget) -> None:
        super().__init__(parent)
        self._picture = picture

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        case: CaseState = index.data(_CASE)
        painter.save()
        chosen = bool(option.state & QStyle.StateFlag.State_Selected)
        if chosen:
            painter.fillRect(option.rect, option.palette.color(QPalette.ColorRole.Highlight))
        role = QPalette.ColorRole.HighlightedText if chosen else QPalette.ColorRole.Text
        box = option.rect.adjusted(4, 4, -2, -4)
        self._draw_picture(painter, case, QRect(box.left(), box.top(), _THUMB_PX, box.height()))
        text = box.adjusted(_THUMB_PX + 6, 0, 0, 0)
        upper, lower = QRect(text), QRect(text)
        upper.setHeight(text.height() // 2)
        lower.setTop(upper.bottom())
        painter.setPen(option.palette.color(role))
        self._draw_name(painter, option.font, case, upper)
        self._draw_state(painter, option.font, case, lower)
        painter.restore()

    def _draw_picture(self, painter: QPainter, case: CaseState, box: QRect) -> None:
        picture = self._picture(case)
        if picture is None:
            painter.fillRect(box, QColor(128, 128, 128, 60))
            return
        shown = picture.scaled(
            box.size(), Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
        )
        painter.drawPixmap(box.center() - shown.rect().center(), shown)

    def _draw_name(self, painter: QPainter, font: QFont, case: CaseState, box: QRect) -> None:
        bold = QFont(font)
        bold.setBold(True)
        painter.setFont(bold)
        name = painter.fontMetrics().elidedText(case.name, Qt.TextElideMode.ElideMiddle, box.width())
        painter.drawText(box, Qt.AlignmentFlag.AlignVCenter, name)
        used = painter.fontMetrics().horizontalAdvance(name) + 6
        painter.setFont(font)
        rest = box.adjusted(used, 0, 0, 0)
        if case.patient not in ("", case.name) and rest.width() > 20:
            patient = painter.fontMetrics().elidedText(case.patient, Qt.TextElideMode.ElideRight, rest.width())
            painter.drawText(rest, Qt.AlignmentFlag.AlignVCenter, patient)

    def _draw_state(self, painter: QPainter, font: QFont, case: CaseState, box: QRect) -> None:
        painter.setFont(font)
        if case.problem or not case.looked:
            if case.problem:
                painter.setPen(QColor(SIGNS["failed"][1]))
            said = "\N{MULTIPLICATION SIGN} cannot be read" if case.problem else "\N{HORIZONTAL ELLIPSIS}"
            painter.drawText(box, Qt.AlignmentFlag.AlignVCenter, said)
            return
        step = min(18, box.width() // max(1, len(case.stains)))
        for number, (sign, color) in enumerate(signs_of(case)):
            painter.setPen(QColor(color))
            place = QRect(box.left() + number * step, box.top(), step, box.height())
            painter.drawText(place, Qt.AlignmentFlag.AlignVCenter, sign)

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        return QSize(_THUMB_PX + 120, _ROW_PX)


class CaseList(QTableView):
    """The list; a click or Enter chooses a case.

    Parameters
    ----------
    workspace
        What is open.
    """

    wanted = Signal(object)
    """A `CaseState` that the user chose."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self.workspace = workspace
        self.cases = CaseModel()
        self.setModel(self.cases)
        self._kept: dict[str, QPixmap] = {}
        self._still = QTimer(self)
        self._still.setSingleShot(True)
        self._still.setInterval(_STILL_MS)
        self._still.timeout.connect(self.viewport().update)
        self.setItemDelegateForColumn(0, CaseDelegate(self._picture, self))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self._lay_out()
        self.clicked.connect(lambda index: self.wanted.emit(self.cases.cases[index.row()]))
        # Pictures are made for what somebody looks at, not for what flies past.
        self.verticalScrollBar().valueChanged.connect(lambda _: self._still.start())
        thumbnails: Thumbnails = workspace.thumbnails
        thumbnails.ready.connect(self._still.start)

    def _lay_out(self) -> None:
        self.verticalHeader().hide()
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.verticalHeader().setDefaultSectionSize(_ROW_PX)
        header = self.horizontalHeader()
        header.setMinimumSectionSize(_TICK_PX)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSectionsClickable(False)
        header.setHighlightSections(False)
        font = header.font()
        font.setPointSizeF(max(7.0, font.pointSizeF() * 0.82))
        header.setFont(font)
        for column in range(1, 1 + len(STEPS)):
            self.setColumnWidth(column, _TICK_PX)

    def show_cases(self, cases: Sequence[CaseState], shown: str | None) -> None:
        """Show these cases, the one on the canvas selected; the place in the list stays where it can."""
        place = self.verticalScrollBar().value()
        selected = self.selected()
        if self.cases.show(cases):
            self._kept.clear()
            self.verticalScrollBar().setValue(place)
        row = self.cases.row_of(shown or (selected.name if selected else ""))
        if row >= 0 and row != self.currentIndex().row():
            self.selectRow(row)
            self.scrollTo(self.cases.index(row, 0))

    def selected(self) -> CaseState | None:
        """The case of the row that is selected."""
        row = self.currentIndex().row()
        return self.cases.cases[row] if 0 <= row < len(self.cases.cases) else None

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter opens the row that the arrow keys chose."""
        case = self.selected()
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and case is not None:
            self.wanted.emit(case)
            return
        super().keyPressEvent(event)

    def _picture(self, case: CaseState) -> QPixmap | None:
        state = self.workspace.state
        reference = next((stain for stain in case.stains if stain.verdict == "reference" and stain.found), None)
        if state is None or reference is None:
            return None
        if self._still.isActive():
            return self._kept.get(case.name)
        picture = self.workspace.thumbnails.get(
            state.path, case.name, reference.name, px=2 * _THUMB_PX, made_from=reference.made_from
        )
        if picture is not None:
            self._kept[case.name] = picture
        return picture or self._kept.get(case.name)
