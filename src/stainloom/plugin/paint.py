"""The Paint dock: palette, tools, brush, and the lesions that are there."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QSignalBlocker, QSize, Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QButtonGroup,
    QCheckBox,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from stainloom.case.lesions import LesionClass
from stainloom.case.regions import Lesion
from stainloom.errors import StainloomError
from stainloom.geometry import Box
from stainloom.plugin.annotate import Painter
from stainloom.plugin.dock import Dock
from stainloom.plugin.lesionlist import SWATCH_PX, LesionList, swatch
from stainloom.plugin.looking import SINGLE
from stainloom.plugin.messages import words
from stainloom.plugin.workspace import Workspace
from stainloom.wording import listed, many

_TOOLS = (
    ("paint", "Brush", "Drag with the left button to paint, with the right button around a place to fill it. Key P"),
    ("erase", "Eraser", "Drag over paint to take it away. Key E"),
    ("polygon", "Polygon", "Click corner by corner, do not drag; a double click closes and fills it"),
    ("fill", "Fill", "Click a painted region to give it the class that is chosen. Key F"),
    ("pick", "Pick", "Click paint to choose its class. Key L"),
    ("pan_zoom", "Move", "Drag to move the slide, turn the wheel to zoom; while painting hold Space. Key Z"),
)
_BRUSH_LEAST_UM, _BRUSH_MOST_UM = 4.0, 4000.0
_BRUSH_UM = 120.0
_HARMLESS = ("pan_zoom", "pick")
_ROWS_SEEN = 9
_PALETTE = ("", "Class", "Key", "mm²", "Show", "Lock")


class PaintDock(Dock):
    """Paint lesions once, on the reference.

    Parameters
    ----------
    workspace
        What is open.
    name, purpose
        Of the dock.
    """

    def __init__(self, workspace: Workspace, name: str, purpose: str) -> None:
        super().__init__(workspace, name, purpose)
        self._painter: Painter | None = None
        self._seen, self._laid_down = False, ""
        self.first = QPushButton("Go to Cases")
        self.first.clicked.connect(lambda: workspace.dock_wanted.emit("Cases"))
        self.again = QPushButton("Try to paint again")
        self.again.clicked.connect(self._open_again)
        self.body = QWidget()
        self.palette_table = _make_palette()
        self.palette_table.cellClicked.connect(self._choose)
        self.unpainted = QPushButton()
        self.unpainted.hide()
        self.unpainted.clicked.connect(lambda: workspace.show_place(self._unpainted, ""))
        self._unpainted = ""
        self.lesion_table = LesionList()
        self.lesion_table.wanted.connect(self._fly)
        self._lay_out()
        for part in (self.first, self.again, self.body, self.messages, self.unpainted):
            self.rows.addWidget(part)
        self.rows.addStretch()
        workspace.saving_changed.connect(self._say_state)
        self.look()

    def _lay_out(self) -> None:
        grid = QGridLayout(self.body)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.addWidget(words("Class to paint with: click a row, or press its key."), 0, 0)
        grid.addWidget(self.palette_table, 1, 0)
        tools = QGridLayout()
        self.tools: dict[str, QPushButton] = {}
        group = QButtonGroup(self)
        for number, (mode, name, tip) in enumerate(_TOOLS):
            button = QPushButton(name)
            button.setCheckable(True)
            button.setToolTip(tip)
            button.clicked.connect(lambda _, mode=mode: self._take_tool(mode))
            group.addButton(button)
            self.tools[mode] = button
            tools.addWidget(button, number // 3, number % 3)
        self.how = words("")
        self.how.setStyleSheet("color: #9AA0A8")
        # As high for a short text as for a long one: what is below must not move under the mouse.
        self.how.setMinimumHeight(2 * self.how.fontMetrics().lineSpacing())
        self.how.setAlignment(Qt.AlignmentFlag.AlignTop)
        tools.addWidget(self.how, tools.rowCount(), 0, 1, 3)
        grid.addLayout(tools, 2, 0)
        self.brush = QDoubleSpinBox()
        self.brush.setRange(_BRUSH_LEAST_UM, _BRUSH_MOST_UM)
        self.brush.setDecimals(0)
        self.brush.setSingleStep(20)
        self.brush.setSuffix(" µm")
        self.brush.setValue(_BRUSH_UM)
        self.brush.setToolTip("Diameter of brush and eraser. Keys [ and ], or Alt and the mouse")
        self.brush.setAccessibleName("Brush, µm")
        self.brush.valueChanged.connect(self._size_brush)
        self.undo, self.redo = QPushButton("Undo"), QPushButton("Redo")
        self.undo.setToolTip("Ctrl+Z. A stroke from before the case was opened is asked about")
        self.redo.setToolTip("Ctrl+Shift+Z")
        self.undo.clicked.connect(lambda: self._act(Painter.undo))
        self.redo.clicked.connect(lambda: self._act(Painter.redo))
        line = QHBoxLayout()
        line.addWidget(QLabel("Brush"))
        line.addWidget(self.brush, 1)
        line.addWidget(self.undo)
        line.addWidget(self.redo)
        grid.addLayout(line, 3, 0)
        self.elsewhere = QCheckBox("Show in other stains")
        self.elsewhere.setChecked(True)
        self.elsewhere.setToolTip("Whether the paint lies over the other aligned stains too")
        self.elsewhere.toggled.connect(self._show_elsewhere)
        grid.addWidget(self.elsewhere, 4, 0)
        self.lesion_heading = words("")
        grid.addWidget(self.lesion_heading, 5, 0)
        grid.addWidget(self.lesion_table, 6, 0)

    def look(self) -> None:
        """Show the case that is open: its palette, or why nothing can be painted."""
        self._follow(self.workspace.painter)
        painter = self._painter
        session = self.workspace.session
        shown = painter is not None and session is not None and session.layers.lesions is not None
        self.first.setVisible(painter is None)
        self.again.setVisible(painter is not None and bool(painter.read_only))
        self.body.setVisible(shown)
        self.body.setEnabled(shown and painter is not None and not painter.read_only)
        if session is not None:
            session.shown_changed.connect(self._show_elsewhere, unique=True)
        self._say_state()
        if painter is not None and shown:
            self._show_palette()
            self._show_lesions()
            self._show_tool()
            self._size_brush()
            if self._seen:
                self._take_up()

    def _be_seen(self, seen: bool) -> None:
        super()._be_seen(seen)
        self._seen = seen
        if seen:
            self._take_up()
        else:
            self._lay_down()

    def _take_up(self) -> None:
        """What is painted on is what keys and mouse mean, where it is on the screen as it can be painted."""
        painter, session = self._painter, self.workspace.session
        layer = None if painter is None or painter.read_only else painter.layer
        if layer is None or session is None or layer not in self.workspace.viewer.layers:
            return
        if session.looking.mode == SINGLE and not session.looking.on_glass:
            self.workspace.viewer.layers.selection.active = layer
            if self._laid_down:
                layer.mode, self._laid_down = self._laid_down, ""

    def _lay_down(self) -> None:
        """No stroke by accident while another dock is looked at."""
        layer = None if self._painter is None else self._painter.layer
        if layer is not None and str(layer.mode) not in _HARMLESS:
            self._laid_down = str(layer.mode)
            layer.mode = "pan_zoom"

    def _follow(self, painter: Painter | None) -> None:
        if painter is self._painter:
            layer = None if painter is None else painter.layer
        else:
            self._painter = painter
            layer = None if painter is None else painter.layer
            self.messages.clear()
            if painter is not None:
                painter.painted.connect(self._show_painted)
                painter.classes_changed.connect(self._show_palette)
                painter.refused.connect(self._say_refused)
                painter.asked.connect(self._ask)
        if layer is not None:
            layer.events.mode.connect(self._show_tool)
            layer.events.brush_size.connect(self._read_brush)

    def _say_state(self, *_: object) -> None:
        painter, case = self._painter, self.workspace.case
        if painter is None:
            self.unpainted.hide()
            self.state.setText("Open a case first.")
            return
        self._offer_unpainted()
        name = painter.paint.case.name if case is None else case.name
        if painter.read_only:
            self.state.setText(f"{name}: {painter.read_only}")
            return
        text, fine = painter.saving
        area = sum(painter.areas_px.values()) * _pixel_mm2(painter)
        count = len(painter.lesions)
        said = f"{many(count, 'painted area')}, {area:.2f} mm²" if count else "nothing painted yet"
        waits = () if case is None else case.to_align
        later = (
            f" Carried into {listed(waits)} as soon as Align has aligned {'it' if len(waits) == 1 else 'them'}."
            if waits
            else ""
        )
        self.state.setText(f"{name}: {said}; {text if fine else '! ' + text}.{later}")

    def _offer_unpainted(self) -> None:
        """Who has painted this case looks for the next that has no paint."""
        state, case = self.workspace.state, self.workspace.case
        cases = () if state is None else state.cases
        left = (one.name for one in cases if one.looked and not one.painted and not one.problem and one is not case)
        self._unpainted = next(left, "")
        self.unpainted.setVisible(bool(self._unpainted and case is not None and self._painter.areas_px))
        self.unpainted.setText(f"Next without paint: {self._unpainted}")

    def _say_refused(self, error: StainloomError) -> None:
        self.messages.say_alone("failed", str(error))

    def _ask(self, text: str) -> None:
        self.messages.clear()
        if text:
            self.messages.say("check", text)

    # The palette

    def _show_palette(self) -> None:
        painter, table = self._painter, self.palette_table
        if painter is None:
            return
        classes = [lesion for lesion in painter.classes if lesion.on or painter.areas_px.get(lesion.id)]
        table.setRowCount(len(classes))
        self._classes = classes
        for row, lesion in enumerate(classes):
            self._show_class(row, lesion, painter)
            if lesion.id == painter.chosen:
                table.selectRow(row)
        _fit_height(table)

    def _show_class(self, row: int, lesion: LesionClass, painter: Painter) -> None:
        table = self.palette_table
        place = painter.classes.index(lesion)
        area = painter.areas_px.get(lesion.id, 0) * _pixel_mm2(painter)
        texts = ("", lesion.short, str(place + 1) if place < 9 else "", f"{area:.2f}" if area else "", "", "")
        for column, text in enumerate(texts):
            item = table.item(row, column)
            if item is None:
                item = QTableWidgetItem()
                table.setItem(row, column, item)
            item.setText(text)
            item.setToolTip(lesion.name)
            if column > 1:
                item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
        table.item(row, 0).setIcon(swatch(lesion.color))
        shown, locked = lesion.id not in painter.hidden, lesion.id in painter.locked
        self._put_switch(row, 4, shown, f"Show {lesion.short} on the slide", self._show_on_slide)
        self._put_switch(row, 5, locked, f"Keep {lesion.short} from being painted over or erased", self._keep_as_it_is)

    def _put_switch(self, row: int, column: int, on: bool, tip: str, act: Callable[[int, bool], None]) -> None:
        box = self.palette_table.cellWidget(row, column)
        if box is None:
            box = QCheckBox()
            box.setStyleSheet("margin-left: 8px")
            box.toggled.connect(lambda on: act(row, on))
            self.palette_table.setCellWidget(row, column, box)
        with QSignalBlocker(box):
            box.setChecked(on)
        box.setToolTip(tip)

    def _show_on_slide(self, row: int, on: bool) -> None:
        if self._painter is not None:
            self._painter.hide(self._classes[row].id, not on)

    def _keep_as_it_is(self, row: int, on: bool) -> None:
        if self._painter is not None:
            self._painter.lock(self._classes[row].id, on)

    def _choose(self, row: int, column: int) -> None:
        if self._painter is not None and column < 4:
            self._painter.choose(self._classes[row].id)
            self._activate()

    def _activate(self) -> None:
        painter, session = self._painter, self.workspace.session
        if painter is not None and painter.layer is not None and session is not None:
            session.finish()
            self.workspace.viewer.layers.selection.active = painter.layer

    # Tools

    def _take_tool(self, mode: str) -> None:
        if self._painter is not None and self._painter.layer is not None:
            self._activate()
            self._painter.layer.mode = mode

    def _show_tool(self, *_: object) -> None:
        layer = None if self._painter is None else self._painter.layer
        mode = "" if layer is None else str(layer.mode)
        if mode in self.tools:
            self.tools[mode].setChecked(True)
            self.how.setText(self.tools[mode].toolTip())

    def _size_brush(self, *_: object) -> None:
        painter = self._painter
        if painter is not None and painter.layer is not None:
            wanted = max(1, round(self.brush.value() / painter.paint.um_per_px[0]))
            if painter.layer.brush_size != wanted:
                painter.layer.brush_size = wanted

    def _read_brush(self, *_: object) -> None:
        painter = self._painter
        if painter is not None and painter.layer is not None:
            size_um = painter.layer.brush_size * painter.paint.um_per_px[0]
            if abs(size_um - self.brush.value()) > painter.paint.um_per_px[0] / 2:
                self.brush.setValue(size_um)

    def _act(self, act: Callable[[Painter], None]) -> None:
        if self._painter is not None:
            self.messages.clear()
            act(self._painter)

    def _show_elsewhere(self, *_: object) -> None:
        session = self.workspace.session
        if session is None or session.layers.lesions is None or self.elsewhere.isChecked():
            if session is not None and session.layers.lesions is not None and self.sender() is self.elsewhere:
                session.layers.lesions.visible = True
            return
        reference = session.layers.stains.get(session.view.reference.name)
        session.layers.lesions.visible = reference is None or reference.visible

    # What is painted

    def _show_painted(self) -> None:
        self._show_palette()
        self._show_lesions()
        self._say_state()

    def _show_lesions(self) -> None:
        painter = self._painter
        if painter is None:
            return
        self.undo.setEnabled(painter.paint.undoable)
        self.redo.setEnabled(painter.paint.redoable)
        self.lesion_heading.setText("Painted areas, the largest first; a click shows one." if painter.lesions else "")
        classes = {lesion.id: lesion for lesion in painter.classes}
        self.lesion_table.show_lesions(painter.lesions, classes, _pixel_mm2(painter))

    def _fly(self, lesion: Lesion) -> None:
        painter, session = self._painter, self.workspace.session
        if painter is not None and session is not None:
            box, (high, wide) = lesion.box, painter.paint.um_per_px
            around = box.grow(max(box.rows, box.cols) // 2)
            session.look_at(_edges_um(around, high, wide))

    def _open_again(self) -> None:
        painter = self._painter
        if painter is None:
            return
        try:
            self.workspace.reopen()
        except StainloomError as error:
            self.messages.say_error(error)


def _edges_um(box: Box, row_um: float, col_um: float) -> tuple[float, float, float, float]:
    return (box.row * row_um, box.col * col_um, box.row_end * row_um, box.col_end * col_um)


def _pixel_mm2(painter: Painter) -> float:
    rows, cols = painter.paint.um_per_px
    return rows * cols / 1e6


def _make_palette() -> QTableWidget:
    table = QTableWidget(0, len(_PALETTE))
    table.setHorizontalHeaderLabels(list(_PALETTE))
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setIconSize(QSize(SWATCH_PX, SWATCH_PX))
    table.verticalHeader().hide()
    header = table.horizontalHeader()
    header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
    return table


def _fit_height(table: QTableWidget) -> None:
    """As high as its rows, so that a dock has one scroll bar and not three."""
    rows = min(table.rowCount(), _ROWS_SEEN)
    height = table.horizontalHeader().sizeHint().height() + sum(table.rowHeight(row) for row in range(rows)) + 4
    table.setFixedHeight(height)
