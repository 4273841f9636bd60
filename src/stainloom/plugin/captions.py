"""What is written on the canvas side by side: the stain and its verdict in each cell, and the mouse's place in all of them."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QWidget

from stainloom.plugin._napari import canvas_widget, cells, mouse_px
from stainloom.plugin.looking import GRID
from stainloom.plugin.overlay import SIGNS
from stainloom.plugin.session import Session
from stainloom.plugin.workspace import Workspace

_FONT_PX = 13
_EDGE_PX, _PAD_PX = 4, 7
_POINTER = QPolygonF(
    [QPointF(x, y) for x, y in ((0, 0), (0, 16), (4, 12.5), (6.5, 18), (9, 17), (6.5, 11.5), (11.5, 11))]
)
"""A mouse pointer, its tip at (0, 0): the same place of the tissue in each cell."""


class Captions(QWidget):
    """Lets the mouse through; there only while the stains are shown side by side.

    Parameters
    ----------
    workspace
        What is open.
    """

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(canvas_widget(workspace.viewer))
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self.workspace, self.viewer = workspace, workspace.viewer
        self._session: Session | None = None
        self._font = QFont(self.font())
        self._font.setPixelSize(_FONT_PX)
        self._font.setBold(True)
        self.parentWidget().installEventFilter(self)
        self.viewer.cursor.events.position.connect(self._moved)
        workspace.case_changed.connect(self.take_case)
        self.hide()

    def take_case(self) -> None:
        """Write about another case."""
        if self._session is not None:
            self._session.looking.changed.disconnect(self.look)
        self._session = self.workspace.session
        if self._session is not None:
            self._session.looking.changed.connect(self.look)
        self.look()

    def look(self) -> None:
        """Be there where the stains are shown side by side."""
        there = self._session is not None and self._session.looking.mode == GRID
        self.setVisible(there)
        if there:
            self.setGeometry(self.parentWidget().rect())
            self.raise_()
            self.update()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Cover the canvas when it changes its size."""
        if watched is self.parent() and event.type() == QEvent.Type.Resize and self.isVisible():
            self.setGeometry(self.parentWidget().rect())
        return False

    def _moved(self) -> None:
        if self.isVisible():
            self.update()

    def written(self) -> list[tuple[QRectF, str, str, str]]:
        """Each cell's place on the canvas, its stain, and its verdict's sign and word."""
        if self._session is None:
            return []
        names = {id(layer): name for name, layer in self._session.layers.stains.items()}
        result = []
        for number, place in cells(self.viewer):
            name = names.get(id(self.viewer.layers[number]))
            if name is not None:
                verdict = self._session.looking.stain_view(name).verdict
                said = {"good": "aligned"}.get(verdict, verdict)
                result.append((QRectF(*place), name, SIGNS[verdict][0], said))
        return result

    def paintEvent(self, event: QPaintEvent) -> None:
        """Write the captions and draw the pointers."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(self._font)
        found = mouse_px(self.viewer)
        mouse = None if found is None else QPointF(*found)
        for place, name, sign, said in self.written():
            self._caption(painter, place, name, sign, said)
            if mouse is not None:
                self._draw_pointer(painter, place.center() + mouse)
        painter.end()

    def _caption(self, painter: QPainter, place: QRectF, name: str, sign: str, said: str) -> None:
        metrics = QFontMetricsF(self._font)
        room = place.width() - 2 * _EDGE_PX - 2 * _PAD_PX
        room -= metrics.horizontalAdvance(sign) + _PAD_PX
        name = metrics.elidedText(name, Qt.TextElideMode.ElideMiddle, room)
        word = said if metrics.horizontalAdvance(name + said) + _PAD_PX <= room else ""
        color = QColor(_color(sign))
        parts = [(sign, color), (name, QColor("#FFFFFF")), *([(word, color)] if word else [])]
        width = sum(metrics.horizontalAdvance(text) + _PAD_PX for text, _ in parts) + _PAD_PX
        box = QRectF(place.left() + _EDGE_PX, place.top() + _EDGE_PX, width, metrics.height() + 6)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(20, 22, 26, 215))
        painter.drawRoundedRect(box, 4, 4)
        left = box.left() + _PAD_PX
        for text, ink in parts:
            painter.setPen(ink)
            painter.drawText(QRectF(left, box.top(), box.width(), box.height()), Qt.AlignmentFlag.AlignVCenter, text)
            left += metrics.horizontalAdvance(text) + _PAD_PX

    def _draw_pointer(self, painter: QPainter, at: QPointF) -> None:
        painter.setPen(QPen(QColor("#000000"), 1.4))
        painter.setBrush(QColor("#FFE14D"))
        painter.drawPolygon(_POINTER.translated(at))

    def leave(self) -> None:
        """Listen no longer."""
        self.viewer.cursor.events.position.disconnect(self._moved)
        self.parentWidget().removeEventFilter(self)


def _color(sign: str) -> str:
    return next(color for known, color in SIGNS.values() if known == sign)
