"""The table of slides on the screen: a row a case, its slides below, what is wrong written into the row."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QAbstractItemModel, QModelIndex, QRect, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QColor, QFont, QKeyEvent, QPainter
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTreeView,
    QWidget,
)

from stainloom.plugin.intaketable import BLOCK, CASE, PATIENT, SCALE, STAIN, IntakeTable, said_scale
from stainloom.plugin.overlay import SIGNS

_COLUMNS = ("Case\n    file", "Patient\nstain", "Block\num per px")
_OF_CASE, _OF_SLIDE = (CASE, PATIENT, BLOCK), (None, STAIN, SCALE)
_FAULT, _NOTE = Qt.ItemDataRole.UserRole, Qt.ItemDataRole.UserRole + 1
_WIDTHS = (96, 82)
_OPEN_MOST = 300
_WRAP = Qt.TextFlag.TextWordWrap | Qt.AlignmentFlag.AlignTop


class IntakeModel(QAbstractItemModel):
    """An `IntakeTable` for a tree: internal id 0 is a case, n + 1 a slide of the case in row n."""

    arranged = Signal()
    """Rows came, went or changed."""

    def __init__(self, table: IntakeTable) -> None:
        super().__init__()
        self.table = table
        self.cases = list(table.groups)

    def index(self, row: int, column: int, parent: QModelIndex = QModelIndex()) -> QModelIndex:  # noqa: B008
        return self.createIndex(row, column, parent.row() + 1 if parent.isValid() else 0)

    def parent(self, index: QModelIndex = QModelIndex()) -> QModelIndex:  # type: ignore[override]  # noqa: B008
        above = index.internalId() if index.isValid() else 0
        return self.createIndex(int(above) - 1, 0, 0) if above else QModelIndex()

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        if not parent.isValid():
            return len(self.cases)
        return 0 if parent.internalId() or parent.column() else len(self.table.groups[self.cases[parent.row()]])

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        return len(_COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        return _COLUMNS[section] if role == Qt.ItemDataRole.DisplayRole else None

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        shown = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        what = (_OF_SLIDE if index.internalId() else _OF_CASE)[index.column()]
        return shown | Qt.ItemFlag.ItemIsEditable if what else shown

    def slides(self, index: QModelIndex) -> list[int]:
        """Numbers of the slides that a row means: its own, or all of its case."""
        if index.internalId():
            return [self.table.groups[self.cases[int(index.internalId()) - 1]][index.row()]]
        return self.table.groups[self.cases[index.row()]]

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        slide = bool(index.internalId())
        if role in (_FAULT, _NOTE, Qt.ItemDataRole.ToolTipRole):
            return self._said(index, role)
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole):
            return self._slide_text(index, role) if slide else self._case_text(index)
        if role == Qt.ItemDataRole.FontRole and not slide:
            font = QFont()
            font.setBold(True)
            return font
        return None

    def _said(self, index: QModelIndex, role: int) -> str:
        faults = self.table.faults
        if index.internalId():
            (number,) = self.slides(index)
            said = faults.rows.get(number, "")
            return f"{self.table.guesses[number].path}\n{said}" if role == Qt.ItemDataRole.ToolTipRole else said
        case = self.cases[index.row()]
        note = faults.notes.get(case, "")
        if case in faults.missing:
            note = f"{note} Lacks {', '.join(faults.missing[case])}".strip()
        fault = faults.cases.get(case, "")
        return {_FAULT: fault, _NOTE: note}.get(role, f"{case}\n{fault or note}")

    def _case_text(self, index: QModelIndex) -> str:
        case, what = self.cases[index.row()], _OF_CASE[index.column()]
        return case if what == CASE else self.table.of_case(case, what)

    def _slide_text(self, index: QModelIndex, role: int) -> str:
        guess = self.table.guesses[self.slides(index)[0]]
        if index.column() == 0:
            return guess.path.name
        if index.column() == 1:
            return guess.stain or ("" if role == Qt.ItemDataRole.EditRole else "choose")
        return said_scale(guess)

    def setData(self, index: QModelIndex, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        what = (_OF_SLIDE if index.internalId() else _OF_CASE)[index.column()]
        if role != Qt.ItemDataRole.EditRole or what is None or str(value) == self.data(index, role):
            return False
        slides = self.slides(index)
        # The table is arranged anew, and the editor that this comes from must be closed before.
        QTimer.singleShot(0, lambda: self.fill(what, str(value), slides))
        return True

    def fill(self, what: str, value: str, numbers: list[int]) -> None:
        """Write a value into slides."""
        self._arrange(lambda: self.table.fill(what, value, numbers))

    def take_out(self, numbers: list[int]) -> None:
        """Leave slides out."""
        self._arrange(lambda: self.table.take_out(numbers))

    def _arrange(self, act) -> None:
        # One edit may move slides between cases and change what is wrong with any row.
        self.beginResetModel()
        act()
        self.cases = list(self.table.groups)
        self.endResetModel()
        self.arranged.emit()


class _Delegate(QStyledItemDelegate):
    """Stains from a list; a row with something to say is two lines high, the cells in the upper."""

    def __init__(self, stains: tuple[str, ...], parent: QWidget) -> None:
        super().__init__(parent)
        self._stains = stains

    def createEditor(self, parent: QWidget, option: QStyleOptionViewItem, index: QModelIndex) -> QWidget:
        if not (index.internalId() and index.column() == 1):
            return super().createEditor(parent, option, index)
        box = QComboBox(parent)
        box.addItems(self._stains)
        box.activated.connect(lambda _: (self.commitData.emit(box), self.closeEditor.emit(box)))
        return box

    def setEditorData(self, editor: QWidget, index: QModelIndex) -> None:
        if isinstance(editor, QComboBox):
            editor.setCurrentText(str(index.data(Qt.ItemDataRole.EditRole)))
            editor.showPopup()
        else:
            super().setEditorData(editor, index)

    def setModelData(self, editor: QWidget, model: QAbstractItemModel, index: QModelIndex) -> None:
        if isinstance(editor, QComboBox):
            model.setData(index, editor.currentText())
        else:
            super().setModelData(editor, model, index)

    def updateEditorGeometry(self, editor: QWidget, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        super().updateEditorGeometry(editor, self._upper(option, index), index)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        super().paint(painter, self._upper(option, index), index)

    def _upper(self, option: QStyleOptionViewItem, index: QModelIndex) -> QStyleOptionViewItem:
        upper = QStyleOptionViewItem(option)
        upper.rect = QRect(option.rect)
        upper.rect.setHeight(_line(option))
        return upper

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        text = said(index)
        if not text:
            return QSize(40, _line(option))
        box = QRect(0, 0, self.parent().text_width(index), 1000)
        return QSize(40, _line(option) + option.fontMetrics.boundingRect(box, _WRAP, f"! {text}").height() + 4)


def _line(option: QStyleOptionViewItem) -> int:
    return option.fontMetrics.height() + 6


def said(index: QModelIndex) -> str:
    """What is written below the cells of a row."""
    first = index.siblingAtColumn(0)
    return str(first.data(_FAULT) or first.data(_NOTE) or "")


class IntakeView(QTreeView):
    """The table; Delete takes the selected rows out."""

    def __init__(self) -> None:
        super().__init__()
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        trigger = QAbstractItemView.EditTrigger
        self.setEditTriggers(trigger.DoubleClicked | trigger.SelectedClicked | trigger.EditKeyPressed)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setIndentation(14)
        self.setAllColumnsShowFocus(True)

    def show_table(self, table: IntakeTable) -> IntakeModel:
        """Show another table."""
        model = IntakeModel(table)
        model.setParent(self)
        self.setModel(model)
        self.setItemDelegate(_Delegate(table.study.stain_names, self))
        header = self.header()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setStretchLastSection(False)
        for column, width in enumerate(_WIDTHS, 1):
            header.resizeSection(column, width)
        model.arranged.connect(self.unfold)
        self.unfold()
        return model

    def unfold(self) -> None:
        """Open all cases, or, in a large table, those that have something to correct."""
        model = self.model()
        if len(model.table.guesses) <= _OPEN_MOST:
            self.expandAll()
            return
        faulty = {model.table.guesses[number].case for number in model.table.faults.rows}
        for row in [row for row, case in enumerate(model.cases) if case in faulty][:_OPEN_MOST]:
            self.expand(model.index(row, 0))

    def chosen(self) -> list[int]:
        """Numbers of the slides of the selected rows."""
        model = self.model()
        rows = self.selectionModel().selectedRows()
        return sorted({number for index in rows for number in model.slides(index)})

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Delete takes rows out."""
        if event.key() == Qt.Key.Key_Delete and self.model() is not None:
            self.model().take_out(self.chosen())
            return
        super().keyPressEvent(event)

    def drawRow(self, painter: QPainter, options: QStyleOptionViewItem, index: QModelIndex) -> None:
        """Write what is wrong below the cells, over the whole width."""
        super().drawRow(painter, options, index)
        text = said(index)
        if not text:
            return
        wrong = bool(index.siblingAtColumn(0).data(_FAULT))
        painter.save()
        painter.setPen(QColor(SIGNS["failed" if wrong else "check"][1]))
        rect = QRect(options.rect)
        rect.setTop(rect.top() + _line(options))
        rect.setLeft(rect.left() + self._indent(index))
        sign = SIGNS["failed"][0] if wrong else SIGNS["check"][0]
        painter.drawText(rect, _WRAP, f"{sign} {text}")
        painter.restore()

    def text_width(self, index: QModelIndex) -> int:
        """Room for what is written into a row, px."""
        return self.viewport().width() - self._indent(index) - 4

    def _indent(self, index: QModelIndex) -> int:
        return self.indentation() * (2 if index.internalId() else 1) + 4
