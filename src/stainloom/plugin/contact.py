"""A contact sheet: one patch of each class, a row a stain, a column a class."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QFontMetricsF, QImage, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from stainloom.jobs.patchsets import ContactSheet
from stainloom.plugin.charts import edge_of

_NAME_PX = 56
_HEAD_PX = 20
_GAP_PX = 3
_SIDE_MOST_PX = 64


class ContactSheetView(QWidget):
    """Draws a contact sheet as wide as the dock; the mouse tells from which case a patch is."""

    def __init__(self) -> None:
        super().__init__()
        self.sheet: ContactSheet | None = None
        self._pictures: dict[tuple[int, int], QImage] = {}
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Random patches, a row a stain, a column a class")

    def show_sheet(self, sheet: ContactSheet | None) -> None:
        """Show this one, or none."""
        self.sheet = sheet
        self._pictures = {}
        if sheet is not None:
            for col, lesion in enumerate(sheet.classes):
                drawn = sheet.drawn[lesion.id]
                for row, there in enumerate(drawn.present):
                    if there:
                        self._pictures[row, col] = _image(drawn.pixels[row])
        self.setVisible(sheet is not None)
        self.updateGeometry()
        self.update()

    def _side(self) -> float:
        columns = len(self.sheet.classes) if self.sheet is not None else 1
        return min(float(_SIDE_MOST_PX), (self.width() - _NAME_PX) / max(1, columns) - _GAP_PX)

    def sizeHint(self) -> QSize:
        """As high as its rows."""
        rows = len(self.sheet.stains) if self.sheet is not None else 0
        return QSize(200, int(_HEAD_PX + rows * (self._side() + _GAP_PX)) if rows else 0)

    minimumSizeHint = sizeHint

    def resizeEvent(self, event: Any) -> None:
        """Another width makes other squares."""
        super().resizeEvent(event)
        self.updateGeometry()

    def _square(self, row: int, col: int) -> QRectF:
        step = self._side() + _GAP_PX
        return QRectF(_NAME_PX + col * step, _HEAD_PX + row * step, self._side(), self._side())

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw names and patches."""
        if self.sheet is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.setPen(self.palette().color(self.foregroundRole()))
        metrics = QFontMetricsF(painter.font())

        def write(box: QRectF, text: str, align: Qt.AlignmentFlag) -> None:
            short = metrics.elidedText(text, Qt.TextElideMode.ElideRight, box.width())
            painter.drawText(box, int(align | Qt.AlignmentFlag.AlignVCenter), short)

        for col, lesion in enumerate(self.sheet.classes):
            head = QRectF(self._square(0, col).left(), 0, self._side(), _HEAD_PX - 5)
            write(head, lesion.short, Qt.AlignmentFlag.AlignHCenter)
            painter.fillRect(QRectF(head.left(), _HEAD_PX - 4, head.width(), 3), edge_of(QColor(lesion.color)))
        for row, stain in enumerate(self.sheet.stains):
            write(QRectF(0, self._square(row, 0).top(), _NAME_PX - 4, self._side()), stain, Qt.AlignmentFlag.AlignLeft)
            for col in range(len(self.sheet.classes)):
                if (row, col) in self._pictures:
                    painter.drawImage(self._square(row, col), self._pictures[row, col])
                else:
                    painter.drawRect(self._square(row, col).adjusted(0.5, 0.5, -0.5, -0.5))
                    write(self._square(row, col), "none", Qt.AlignmentFlag.AlignHCenter)
        painter.end()

    def event(self, event: Any) -> bool:
        """Tell whose patch is under the mouse."""
        if event.type() == event.Type.ToolTip and self.sheet is not None:
            QToolTip.showText(event.globalPos(), self._said(event.pos()), self)
            return True
        return super().event(event)

    def _said(self, place: Any) -> str:
        assert self.sheet is not None
        for col, lesion in enumerate(self.sheet.classes):
            for row, stain in enumerate(self.sheet.stains):
                if self._square(row, col).contains(place.x(), place.y()):
                    drawn = self.sheet.drawn[lesion.id]
                    lacks = "" if drawn.present[row] else "; the stain is missing, blank or out of focus there"
                    return f"{lesion.name} in {stain}: case {drawn.case}, {drawn.set}{lacks}"
        return ""


def _image(pixels: np.ndarray) -> QImage:
    rows, cols, _ = pixels.shape
    # The copy owns its pixels: QImage keeps no hold of Python's.
    return QImage(np.ascontiguousarray(pixels).tobytes(), cols, rows, 3 * cols, QImage.Format.Format_RGB888).copy()
