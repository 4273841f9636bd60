"""What a section is turned about, drawn over the slides: a cross, and a ring with a mark that turns with the section."""

from __future__ import annotations

import math

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, QPointF, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QWidget

_RING_PX, _CROSS_PX, _MARK_PX, _GRIP_PX = 56, 7, 6, 9
_LINE = QColor("#E69F00")
_EDGE = QColor(0, 0, 0, 160)


class Pivot(QWidget):
    """The centre and turn of what a hand moves, over the whole canvas; mouse and keys go through it.

    Parameters
    ----------
    canvas
        The widget that the slides are drawn on.
    """

    def __init__(self, canvas: QWidget) -> None:
        super().__init__(canvas)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._row = self._col = self._degrees = 0.0
        self._canvas = canvas
        canvas.installEventFilter(self)
        self.resize(canvas.size())
        self.show()

    def on_ring(self, row: float, col: float) -> bool:
        """Whether a place of the canvas, px, lies on the ring: what is dragged there is turned."""
        return abs(math.hypot(row - self._row, col - self._col) - _RING_PX) <= _GRIP_PX

    @property
    def place(self) -> tuple[float, float]:
        """(row, col) of the centre on the canvas, px."""
        return self._row, self._col

    def show_at(self, row: float, col: float, degrees: float) -> None:
        """Draw the centre at a place of the canvas, px, and how far the section is turned clockwise."""
        if (row, col, degrees) != (self._row, self._col, self._degrees):
            self._row, self._col, self._degrees = row, col, degrees
            self.update()

    def leave(self) -> None:
        """Be gone."""
        if isalive(self._canvas):
            self._canvas.removeEventFilter(self)
        if isalive(self):
            self.hide()
            self.deleteLater()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Cover the canvas whatever its size."""
        if event.type() == QEvent.Type.Resize:
            self.resize(self._canvas.size())
        return False

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw cross, ring and mark, each with a dark edge: it must be seen on tissue and on glass."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        middle = QPointF(self._col, self._row)
        angle = math.radians(self._degrees - 90)
        mark = middle + QPointF(math.cos(angle), math.sin(angle)) * _RING_PX
        for colour, width in ((_EDGE, 4), (_LINE, 2)):
            painter.setPen(QPen(colour, width))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawEllipse(middle, _RING_PX, _RING_PX)
            painter.drawLine(middle - QPointF(_CROSS_PX, 0), middle + QPointF(_CROSS_PX, 0))
            painter.drawLine(middle - QPointF(0, _CROSS_PX), middle + QPointF(0, _CROSS_PX))
            painter.setBrush(_LINE)
            painter.drawEllipse(mark, _MARK_PX, _MARK_PX)
        painter.end()
