"""The lesions that are painted on a case, the largest first: a click flies there. Thousands cost no more than a few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

from stainloom.case.lesions import LesionClass
from stainloom.case.regions import Lesion
from stainloom.plugin.charts import edge_of

_HEADINGS = ("Area", "Class", "mm\N{SUPERSCRIPT TWO}")
_CLASS, _AREA = 1, 2
SWATCH_PX = 16
_ROWS_SEEN = 6
_ALIGNED_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


class LesionList(QTableView):
    """A table of lesions, as high as its rows up to six."""

    wanted = Signal(object)
    """A `Lesion` to fly to."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = _Rows(self)
        self.setModel(self.rows)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setIconSize(QSize(SWATCH_PX, SWATCH_PX))
        self.verticalHeader().hide()
        header = self.horizontalHeader()
        # A width by contents would be measured over all rows each time a lesion is painted.
        for column, text in enumerate(("88888", "", "88.888")):
            self.setColumnWidth(
                column, header.fontMetrics().horizontalAdvance(max(text, _HEADINGS[column], key=len)) + 20
            )
        header.setSectionResizeMode(_CLASS, QHeaderView.ResizeMode.Stretch)
        self.clicked.connect(lambda index: self.wanted.emit(self.rows.lesions[index.row()]))

    def show_lesions(self, lesions: Sequence[Lesion], classes: Mapping[int, LesionClass], pixel_mm2: float) -> None:
        """List other lesions; `pixel_mm2` is the area of a pixel of the raster that they were found in."""
        self.rows.put(tuple(sorted(lesions, key=lambda lesion: -lesion.area_px)), classes, pixel_mm2)
        self.setVisible(bool(lesions))
        seen = sum(self.rowHeight(row) for row in range(min(len(lesions), _ROWS_SEEN)))
        self.setFixedHeight(self.horizontalHeader().sizeHint().height() + seen + 4)


class _Rows(QAbstractTableModel):
    def __init__(self, parent: LesionList) -> None:
        super().__init__(parent)
        self.lesions: tuple[Lesion, ...] = ()
        self._classes: Mapping[int, LesionClass] = {}
        self._pixel_mm2 = 0.0

    def put(self, lesions: tuple[Lesion, ...], classes: Mapping[int, LesionClass], pixel_mm2: float) -> None:
        self.beginResetModel()
        self.lesions, self._classes, self._pixel_mm2 = lesions, classes, pixel_mm2
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.lesions)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(_HEADINGS)

    def headerData(self, section: int, orientation: Any, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        there = orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole
        return _HEADINGS[section] if there else None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        lesion = self.lesions[index.row()]
        kind = self._classes.get(lesion.class_id)
        if role == Qt.ItemDataRole.DisplayRole:
            area = f"{lesion.area_px * self._pixel_mm2:.3f}"
            return (str(lesion.id), kind.short if kind else "", area)[index.column()]
        if role == Qt.ItemDataRole.DecorationRole and index.column() == _CLASS and kind is not None:
            return swatch(kind.color)
        if role == Qt.ItemDataRole.ToolTipRole and kind is not None:
            return kind.name
        return _ALIGNED_RIGHT if role == Qt.ItemDataRole.TextAlignmentRole and index.column() == _AREA else None


def swatch(color: str) -> QIcon:
    """A square of the colour of a class; the same where its row is chosen or grey, which Qt would tint."""
    picture = QPixmap(SWATCH_PX, SWATCH_PX)
    picture.fill(edge_of(QColor(color)))
    painter = QPainter(picture)
    painter.fillRect(picture.rect().adjusted(1, 1, -1, -1), QColor(color))
    painter.end()
    icon = QIcon(picture)
    for mode in (QIcon.Mode.Selected, QIcon.Mode.Disabled):
        icon.addPixmap(picture, mode)
    return icon
