"""Below Run of the Colour dock: raw or normalized at once, the look of each stain, and all cases before and after."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QAbstractListModel, QModelIndex, QRect, QSize, Qt
from qtpy.QtGui import QColor, QPainter
from qtpy.QtWidgets import (
    QAbstractItemView,
    QButtonGroup,
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QListView,
    QPushButton,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
)

from stainloom.errors import StainloomError
from stainloom.jobs import stain_look
from stainloom.jobs.looks import StainLook
from stainloom.jobs.survey import CaseState, StainState
from stainloom.plugin.dock import Panel
from stainloom.plugin.glance import Glance
from stainloom.plugin.messages import words
from stainloom.plugin.workspace import Workspace
from stainloom.wording import many

_PICTURE_PX = 76
_GAP_PX = 4
_TEXT_PX = 16
_CELL = QSize(2 * _PICTURE_PX + 3 * _GAP_PX, _PICTURE_PX + 2 * _TEXT_PX + 2 * _GAP_PX)
_LIST_PX = 2 * (_PICTURE_PX + 2 * _TEXT_PX + 2 * _GAP_PX) + 8
_ODD_SIGN = "!"


class ColourPanel(Panel):
    """Raw or normalized as a switch that acts at once; per stain its look, and thumbnails with what stands out.

    Parameters
    ----------
    workspace
        What is open.
    """

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self.scanned, self.normalized = QPushButton("Raw"), QPushButton("Normalized")
        self._switch = QButtonGroup(self)
        switch = QHBoxLayout()
        for button, look in ((self.scanned, "scanned"), (self.normalized, "normalized")):
            button.setCheckable(True)
            button.clicked.connect(lambda _, look=look: workspace.show_colours(look))
            self._switch.addButton(button)
            switch.addWidget(button)
        self.reason = words("")
        self.stain = QComboBox()
        self.stain.setAccessibleName("Stain of the pictures below")
        self.stain.currentIndexChanged.connect(self._other_stain)
        self.reference = words("")
        self.odd_only = QCheckBox("Only slides that stand out")
        self.odd_only.toggled.connect(self._fill)
        self.cases = _Cases(workspace)
        self.view = _Pairs(self.cases)
        self.view.clicked.connect(self._open)
        self.problem = words("")
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addWidget(words("Show all stains:"))
        rows.addLayout(switch)
        heads = words("Each case: left raw, right normalized. A click opens it.")
        for part in (self.reason, self.stain, self.reference, self.odd_only, heads, self.view, self.problem):
            rows.addWidget(part)
        self._glance = Glance(self)
        self._glance.seen.connect(self._take_look)
        self._glance.failed.connect(lambda error: self.problem.setText(str(error)))
        self.look_of: StainLook | None = None
        self._seen: Any = None
        workspace.thumbnails.ready.connect(self.view.viewport().update)
        workspace.colours_changed.connect(self._show_switch)

    def look(self) -> None:
        """Show the switch, and ask for the look of the stain where the study changed."""
        self._show_switch()
        state = self.workspace.state
        self.view.setVisible(bool(state and state.cases))
        self.stain.setVisible(bool(state and state.stains))
        if state is None or not self.isVisible():
            return
        if state.stains != tuple(self.stain.itemText(n) for n in range(self.stain.count())):
            self.stain.clear()
            self.stain.addItems(state.stains)
        if state is not self._seen:
            self._seen = state
            self._other_stain()

    def showEvent(self, event: Any) -> None:
        """Nothing is looked at before somebody looks."""
        super().showEvent(event)
        self.look()

    def _show_switch(self) -> None:
        session, case = self.workspace.session, self.workspace.case
        there = session is not None and any(
            s.aligned is not None and s.aligned.colour is not None for s in session.view.stains
        )
        for button in (self.scanned, self.normalized):
            button.setEnabled(there)
        (self.scanned if self.workspace.colours == "scanned" or not there else self.normalized).setChecked(True)
        if session is None:
            self.reason.setText("No case is open.")
        elif not there:
            self.reason.setText(f"{session.view.case.name} is not normalized yet: its colours are raw.")
        else:
            raw = [stain.name for stain in case.stains if stain.there and not stain.normalized] if case else []
            self.reason.setText(f"Raw either way: {', '.join(raw)}." if raw else "")
        self.reason.setVisible(bool(self.reason.text()))

    def _other_stain(self, *_: Any) -> None:
        state, stain = self.workspace.state, self.stain.currentText()
        if state is None or not stain:
            return
        self.look_of = None
        self._fill()
        self._glance.ask(lambda: stain_look(state.path, stain))

    def _take_look(self, look: StainLook) -> None:
        if look.stain != self.stain.currentText():
            return
        self.problem.setText("")
        self.look_of = look
        self._fill()

    def _fill(self, *_: Any) -> None:
        state, look = self.workspace.state, self.look_of
        remarks = dict(look.remarks) if look is not None else {}
        self.odd_only.setVisible(bool(remarks) or self.odd_only.isChecked())
        cases = [case for case in state.cases if not case.problem] if state is not None else []
        if self.odd_only.isChecked():
            cases = [case for case in cases if case.name in remarks]
        self.cases.show_cases(self.stain.currentText(), cases, remarks)
        if look is None:
            self.reference.setText("Looking at the colours of this stain \N{HORIZONTAL ELLIPSIS}")
            return
        swatches = " ".join(
            f'<span style="color:{color}">\N{BLACK SQUARE}</span>&nbsp;{dye}' for dye, color in look.dyes
        )
        odd = f"{many(len(remarks), 'slide')} of {look.stain} stand{'s' if len(remarks) == 1 else ''} out."
        self.reference.setText("<br>".join(part for part in (look.reference, swatches, odd if remarks else "") if part))

    def _open(self, index: QModelIndex) -> None:
        try:
            self.workspace.ask_for_case(self.cases.case(index).name)
            self.problem.setText("")
        except StainloomError as error:
            self.problem.setText(str(error))


class _Cases(QAbstractListModel):
    """The cases of a study with what stands out in one stain; pictures are asked for by whoever draws them."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self.workspace = workspace
        self.stain = ""
        self._cases: list[CaseState] = []
        self._remarks: dict[str, str] = {}

    def show_cases(self, stain: str, cases: list[CaseState], remarks: dict[str, str]) -> None:
        """Show these."""
        if (stain, cases, remarks) == (self.stain, self._cases, self._remarks):
            return
        self.beginResetModel()
        self.stain, self._cases, self._remarks = stain, cases, remarks
        self.endResetModel()

    def case(self, index: QModelIndex) -> CaseState:
        """The case of a cell."""
        return self._cases[index.row()]

    def stain_of(self, index: QModelIndex) -> StainState | None:
        """What is known of the stain in it."""
        return next((stain for stain in self.case(index).stains if stain.name == self.stain), None)

    def remark(self, index: QModelIndex) -> str:
        """Why it stands out; empty where it does not."""
        return self._remarks.get(self.case(index).name, "")

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """One a case."""
        return len(self._cases)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """The name, and in words what the pictures show."""
        case, remark = self.case(index), self.remark(index)
        if role == Qt.ItemDataRole.DisplayRole:
            return case.name
        if role in (Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleDescriptionRole):
            stain = self.stain_of(index)
            if stain is None or not stain.there:
                return f"{case.name} has no {self.stain} slide in use"
            state = "left raw, right normalized" if stain.normalized else "not normalized yet"
            return f"{case.name}, {self.stain}: {state}." + (f" Stands out: {remark}." if remark else "")
        return None


class _Pairs(QListView):
    """Cells that wrap, as many a line as there is room for; only what is seen asks for its pictures."""

    def __init__(self, cases: _Cases) -> None:
        super().__init__()
        self.setModel(cases)
        self.setItemDelegate(_Pair(cases))
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setMovement(QListView.Movement.Static)
        self.setUniformItemSizes(True)
        self.setLayoutMode(QListView.LayoutMode.Batched)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setFixedHeight(_LIST_PX)
        self.setAccessibleName("Slides of this stain, left raw, right normalized; a click opens the case")


class _Pair(QStyledItemDelegate):
    """One case: as scanned, normalized, its name, and what stands out."""

    def __init__(self, cases: _Cases) -> None:
        super().__init__()
        self._cases = cases

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        """All alike."""
        return _CELL

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        """Draw it, with the pictures that are there."""
        painter.save()
        box, workspace = option.rect, self._cases.workspace
        ink = option.palette.color(option.palette.ColorRole.Text)
        here = workspace.case is not None and workspace.case.name == self._cases.case(index).name
        if here or option.state & QStyle.StateFlag.State_MouseOver:
            painter.setPen(QColor(ink) if here else Qt.PenStyle.NoPen)
            painter.setBrush(QColor(ink.red(), ink.green(), ink.blue(), 30))
            painter.drawRoundedRect(box.adjusted(1, 1, -2, -2), 4, 4)
        stain = self._cases.stain_of(index)
        for place, look in enumerate(("scanned", "normalized")):
            left = box.left() + _GAP_PX + place * (_PICTURE_PX + _GAP_PX)
            frame = QRect(left, box.top() + _GAP_PX, _PICTURE_PX, _PICTURE_PX)
            self._draw_picture(painter, frame, ink, stain, index, look)
        line = QRect(box.left() + _GAP_PX, box.top() + _PICTURE_PX + _GAP_PX, box.width() - 2 * _GAP_PX, _TEXT_PX)
        painter.setPen(ink)
        painter.drawText(line, int(Qt.AlignmentFlag.AlignVCenter), self._cases.case(index).name)
        if remark := self._cases.remark(index):
            bold = painter.font()
            bold.setBold(True)
            painter.setFont(bold)
            text = painter.fontMetrics().elidedText(f"{_ODD_SIGN} {remark}", Qt.TextElideMode.ElideRight, line.width())
            painter.drawText(line.translated(0, _TEXT_PX), int(Qt.AlignmentFlag.AlignVCenter), text)
        painter.restore()

    def _draw_picture(
        self, painter: QPainter, frame: QRect, ink: QColor, stain: StainState | None, index: QModelIndex, look: Any
    ) -> None:
        workspace = self._cases.workspace
        picture, said = None, "no slide"
        if stain is not None and stain.there and workspace.state is not None:
            if look == "normalized" and not stain.normalized:
                said = "not yet"
            else:
                # What is shown raw does not change with the normalization.
                made_from = stain.made_from if look == "normalized" else stain.made_from[:1]
                picture = workspace.thumbnails.get(
                    workspace.state.path, self._cases.case(index).name, stain.name, px=_PICTURE_PX, look=look, made_from=made_from
                )  # fmt: skip
                said = "\N{HORIZONTAL ELLIPSIS}"
        if picture is None:
            painter.setPen(QColor(ink.red(), ink.green(), ink.blue(), 120))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(frame.adjusted(0, 0, -1, -1))
            painter.drawText(frame, int(Qt.AlignmentFlag.AlignCenter), said)
            return
        size = picture.size().scaled(frame.size(), Qt.AspectRatioMode.KeepAspectRatio)
        place = QRect(0, 0, size.width(), size.height())
        place.moveCenter(frame.center())
        painter.drawPixmap(place, picture)
