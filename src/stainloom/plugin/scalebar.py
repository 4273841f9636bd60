"""The scale bar in the corner of the canvas."""

from __future__ import annotations

import math

import napari
from qtpy.QtCore import QEvent, QObject, QRectF, Qt
from qtpy.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPaintEvent
from qtpy.QtWidgets import QWidget

from stainloom.plugin._napari import canvas_widget

_MARGIN_PX = 14
_PAD_PX = 8
_FONT_PX = 13
_BAR_PX = 4
_LENGTH_MOST_PX = 150.0
_STEPS = (1.0, 2.0, 5.0)


class ScaleBar(QWidget):
    """A length of 1, 2 or 5 times a power of ten, as long as it is on the screen, and what it is in um or mm.

    Parameters
    ----------
    viewer
        A viewer with a window, its world in um.

    Notes
    -----
    napari's own bar takes a third of the time of a zoom: it compiles a shader and renders its text anew each time.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__(canvas_widget(viewer))
        self.setObjectName("stainloom-scale-bar")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._camera = viewer.scene.camera
        self._font = QFont(self.font())
        self._font.setPixelSize(_FONT_PX)
        self.text, self.length_px = "", 0.0
        self._camera.events.zoom.connect(self.look)
        self.parentWidget().installEventFilter(self)
        self.look()
        self.show()

    def look(self, *_: object) -> None:
        """Show the scale of now."""
        zoom = self._camera.zoom
        if zoom <= 0 or not math.isfinite(zoom):
            return
        length_um = round_length(_LENGTH_MOST_PX / zoom)
        self.text, self.length_px = in_words(length_um), length_um * zoom
        self._settle()
        self.update()

    def leave(self) -> None:
        """Take it off the canvas for good."""
        self._camera.events.zoom.disconnect(self.look)
        self.parentWidget().removeEventFilter(self)
        self.hide()
        self.setParent(None)
        self.deleteLater()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Stay in the corner when the canvas changes its size."""
        if watched is self.parent() and event.type() == QEvent.Type.Resize:
            self._settle()
        return False

    def _settle(self) -> None:
        canvas = self.parentWidget()
        metrics = QFontMetricsF(self._font)
        width = math.ceil(max(self.length_px, metrics.horizontalAdvance(self.text))) + 2 * _PAD_PX
        height = math.ceil(metrics.height()) + _BAR_PX + 2 * _PAD_PX
        self.setGeometry(
            canvas.width() - width - _MARGIN_PX, max(0, canvas.height() - height - _MARGIN_PX), width, height
        )
        self.raise_()

    def paintEvent(self, event: QPaintEvent) -> None:
        """White on a dark panel, as the legend is: stains are light."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(20, 22, 26, 225))
        painter.drawRoundedRect(QRectF(self.rect()), 6, 6)
        painter.setBrush(QColor("#FFFFFF"))
        left, below = (self.width() - self.length_px) / 2, self.height() - _PAD_PX - _BAR_PX
        painter.drawRect(QRectF(left, below, self.length_px, _BAR_PX))
        painter.setFont(self._font)
        painter.setPen(QColor("#FFFFFF"))
        above = QRectF(0, _PAD_PX / 2, self.width(), below - _PAD_PX / 2)
        painter.drawText(above, int(Qt.AlignmentFlag.AlignCenter), self.text)
        painter.end()


def round_length(most: float) -> float:
    """The longest length of 1, 2 or 5 times a power of ten that is no longer than `most` (above 0)."""
    power = 10.0 ** math.floor(math.log10(most))
    return max((step * power for step in _STEPS if step * power <= most * (1 + 1e-9)), default=power)


def in_words(length_um: float) -> str:
    """A length for the reader: um up to a millimetre, then mm."""
    return f"{length_um / 1000:g} mm" if length_um >= 1000 else f"{length_um:g} \N{MICRO SIGN}m"
