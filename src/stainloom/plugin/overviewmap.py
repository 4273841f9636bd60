"""The small map in the corner of the canvas: the whole section, and the box of what is looked at. A click moves there."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from qtpy.QtCore import QEvent, QObject, QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen, QPixmap, QPolygonF
from qtpy.QtWidgets import QWidget
from superqt.utils import create_worker

from stainloom.plugin._napari import canvas_widget
from stainloom.plugin.field import Field
from stainloom.plugin.looking import GRID, Looking
from stainloom.plugin.session import Session
from stainloom.plugin.workspace import Workspace

_log = logging.getLogger(__name__)

_MARGIN_PX = 10
_SIDE_MOST_PX = 150
_SHARE_MOST = 0.28
_POINT_PX = 6


class Overview(QWidget):
    """There while one field is looked at that is not the whole section; side by side there is no room for it.

    Parameters
    ----------
    workspace
        What is open.
    """

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(canvas_widget(workspace.viewer))
        self.setObjectName("stainloom-overview")
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setToolTip("The whole section. A click or a drag moves there")
        self.workspace, self.viewer = workspace, workspace.viewer
        self._session: Session | None = None
        self._pictures: dict[tuple[str, bool], QPixmap] = {}
        self._wanted: tuple[str, bool] | None = None
        self._of: tuple[str, bool] | None = None
        self.parentWidget().installEventFilter(self)
        camera = self.viewer.scene.camera
        for event in (camera.events.center, camera.events.zoom):
            event.connect(self._moved)
        workspace.case_changed.connect(self.take_case)
        self.hide()

    def take_case(self) -> None:
        """Show another case."""
        if self._session is not None:
            self._session.looking.changed.disconnect(self.look)
        self._session = self.workspace.session
        self._pictures, self._of = {}, None
        if self._session is not None:
            self._session.looking.changed.connect(self.look)
        self.look()

    @property
    def _looking(self) -> Looking | None:
        return None if self._session is None else self._session.looking

    def look(self) -> None:
        """Show the stain that is looked at."""
        looking = self._looking
        if looking is None or looking.mode == GRID:
            self.hide()
            return
        self._of = (looking.stain, looking.on_glass)
        if self._of not in self._pictures:
            self._draw(self._of)
        self._settle()
        self._moved()

    def _draw(self, of: tuple[str, bool]) -> None:
        assert self._session is not None
        layers = self._session.layers
        layer = layers.glass if of[1] else layers.stains.get(of[0])
        if layer is None or self._wanted == of:
            return
        self._wanted = of
        worker = create_worker(_read, of, layer.data[-1], _start_thread=False)
        worker.returned.connect(self._take)
        worker.start()

    def _take(self, made: tuple[tuple[str, bool], np.ndarray | None]) -> None:
        of, pixels = made
        self._wanted = None
        if pixels is not None and self._session is not None:
            rows, cols, _ = pixels.shape
            picture = QImage(pixels.tobytes(), cols, rows, 3 * cols, QImage.Format.Format_RGB888)
            self._pictures[of] = QPixmap.fromImage(picture)
            self.update()
        if self._of is not None and self._of not in self._pictures and self._of != of:
            self._draw(self._of)

    def _settle(self) -> None:
        looking, canvas = self._looking, self.parentWidget()
        if looking is None:
            return
        height, width = looking.size_um
        most = min(_SIDE_MOST_PX, canvas.width() * _SHARE_MOST, canvas.height() * _SHARE_MOST)
        shrink = most / max(height, width)
        size = (max(24, round(width * shrink)), max(24, round(height * shrink)))
        self.setGeometry(canvas.width() - size[0] - _MARGIN_PX, _MARGIN_PX, *size)
        self.raise_()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Stay in the corner when the canvas changes its size."""
        if watched is self.parent() and event.type() == QEvent.Type.Resize:
            self._settle()
            self._moved()
        return False

    def _moved(self) -> None:
        """A map tells nothing, and only covers tissue, where the canvas shows all of it."""
        looking = self._looking
        if looking is None or looking.mode == GRID:
            return
        box, map_ = QPolygonF([QPointF(*corner) for corner in self.box_px()]), QRectF(self.rect())
        corners = (map_.topLeft(), map_.topRight(), map_.bottomLeft(), map_.bottomRight())
        self.setVisible(not all(box.containsPoint(corner, Qt.FillRule.OddEvenFill) for corner in corners))
        self.update()

    def box_px(self) -> list[tuple[float, float]]:
        """The corners of what is looked at, (x, y) on the map."""
        looking = self._looking
        if looking is None:
            return []
        (height, width), (rows, cols) = looking.size_um, looking.cell_px
        corners = looking.field.corners_um(cols, rows)
        return [(col / width * self.width(), row / height * self.height()) for row, col in corners]

    def paintEvent(self, event: QPaintEvent) -> None:
        """The section, and the box of what is looked at."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        picture = self._pictures.get(self._of) if self._of is not None else None
        if picture is None:
            painter.fillRect(self.rect(), QColor(60, 64, 72, 220))
        else:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            painter.drawPixmap(self.rect(), picture)
        self._draw_box(painter)
        painter.setPen(QPen(QColor("#14161A"), 2))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(QRectF(self.rect()).adjusted(1, 1, -1, -1))
        painter.end()

    def _draw_box(self, painter: QPainter) -> None:
        corners = [QPointF(*corner) for corner in self.box_px()]
        if not corners:
            return
        box = QPolygonF(corners)
        middle = box.boundingRect().center()
        if max(box.boundingRect().width(), box.boundingRect().height()) < _POINT_PX:
            box = QPolygonF(QRectF(middle.x() - _POINT_PX / 2, middle.y() - _POINT_PX / 2, _POINT_PX, _POINT_PX))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for color, width in (("#FFFFFF", 3.5), ("#D0281E", 1.8)):
            painter.setPen(QPen(QColor(color), width))
            painter.drawPolygon(box)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Move there."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._go(event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Move along."""
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._go(event.position())

    def _go(self, place: QPointF) -> None:
        looking = self._looking
        if looking is None:
            return
        height, width = looking.size_um
        share = (place.y() / self.height(), place.x() / self.width())
        row, col = (min(max(part, 0.0), 1.0) * side for part, side in zip(share, (height, width), strict=True))
        looking.set_field(Field((row, col), looking.field.zoom, looking.turn_deg))

    def leave(self) -> None:
        """Listen no longer."""
        camera = self.viewer.scene.camera
        for event in (camera.events.center, camera.events.zoom):
            event.disconnect(self._moved)
        self.parentWidget().removeEventFilter(self)


def _read(of: tuple[str, bool], level: Any) -> tuple[tuple[str, bool], np.ndarray | None]:
    try:
        return of, np.ascontiguousarray(level.unpainted() if hasattr(level, "unpainted") else np.asarray(level))
    except Exception:
        # What a worker raises ends in Qt's event loop; a map without its picture still shows the box.
        _log.exception("no overview of %s", of[0])
        return of, None
