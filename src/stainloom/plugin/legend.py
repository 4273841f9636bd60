"""The legend on the slide: a Qt child of the canvas that lets the mouse through."""

from __future__ import annotations

from collections.abc import Callable

from napari.utils.colormaps import ensure_colormap
from qtpy.QtCore import QEvent, QObject, QRect, QRectF, Qt
from qtpy.QtGui import QColor, QFont, QFontMetricsF, QLinearGradient, QPainter, QPaintEvent, QPixmap
from qtpy.QtWidgets import QWidget

from stainloom.plugin.overlay import RESEARCH_ONLY, SIGNS, SIMULATED, WEIGHT_COLORMAP, Bar, Legend, StainLine, Swatch

_MARGIN_PX = 14
_CELL_MARGIN_PX = 6
_PAD_PX = 10
_WIDTH_MOST_PX = 390
_FONT_PX = 13
_LINE_PX = 19
_GAP_PX = 6
_BAR_PX = 14
_SWATCH_PX = 30
_COLOURS = "Colours"
_QUIET = "#9AA0A8"

Row = tuple[float, Callable[[QPainter, QRectF], None]]
"""Height of a row of the legend, and what draws it."""


class LegendPanel(QWidget):
    """Says what is on the screen: stains and their verdicts, classes, a weight's colour bar, cautions.

    Parameters
    ----------
    canvas
        The widget that the slides are drawn on; the panel stays in its lower left corner.
    """

    def __init__(self, canvas: QWidget) -> None:
        super().__init__(canvas)
        self.setObjectName("stainloom-legend")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self._font = QFont(self.font())
        self._font.setPixelSize(_FONT_PX)
        self._bold = QFont(self._font)
        self._bold.setBold(True)
        self.legend = Legend()
        self._folded, self._key = False, ""
        self._rows: list[Row] = []
        self._picture: QPixmap | None = None
        self._cell: QRect | None = None
        canvas.installEventFilter(self)

    def say(self, legend: Legend) -> None:
        """Show another legend."""
        if legend != self.legend:
            self.legend = legend
            self._say_anew()

    def _say_anew(self) -> None:
        self._rows = self._lay_out(self._shown)
        self._settle()
        self.setVisible(bool(self._rows))
        self._picture = None
        self.update()

    def fold(self, folded: bool, key: str) -> None:
        """Leave only the cautions on the slide, or show all again; the key that does so is said."""
        self._folded, self._key = folded, key
        self._say_anew()

    @property
    def _shown(self) -> Legend:
        if not self._folded:
            return self.legend
        return Legend(notes=tuple(note for note in self.legend.notes if not note.startswith(_COLOURS)))

    def stand_in(self, cell: QRect | None) -> None:
        """Stand in a part of the canvas that shows nothing; None is the corner of the whole."""
        if cell != self._cell:
            self._cell = cell
            self._say_anew()

    @property
    def corner_px(self) -> tuple[float, float]:
        """Height and width of the lower left corner of the canvas that it covers; zero where it stands elsewhere."""
        if self.isHidden() or self._cell is not None:
            return (0.0, 0.0)
        return (self.parentWidget().height() - self.y(), self.geometry().right())

    def leave(self) -> None:
        """Take the panel off the canvas for good."""
        self.parentWidget().removeEventFilter(self)
        self.hide()
        self.setParent(None)
        self.deleteLater()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Stay in the corner when the canvas changes its size."""
        if watched is self.parent() and event.type() == QEvent.Type.Resize:
            self._settle()
        return False

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw what was drawn before: Qt asks for it at each move of the slide below."""
        ratio = self.devicePixelRatioF()
        size = self.size() * ratio
        if self._picture is None or self._picture.size() != size:
            self._picture = QPixmap(size)
            self._picture.setDevicePixelRatio(ratio)
            self._picture.fill(Qt.GlobalColor.transparent)
            self._draw(self._picture)
        painter = QPainter(self)
        painter.drawPixmap(0, 0, self._picture)
        painter.end()

    def _draw(self, picture: QPixmap) -> None:
        """The rows on a dark, nearly opaque panel: stains are light, so white text would vanish on them."""
        painter = QPainter(picture)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(20, 22, 26, 225))
        painter.drawRoundedRect(QRectF(self.rect()), 6, 6)
        top = float(_PAD_PX)
        for height, draw in self._rows:
            draw(painter, QRectF(_PAD_PX, top, self.width() - 2 * _PAD_PX, height))
            top += height
        painter.end()

    def _settle(self) -> None:
        canvas, cell = self.parentWidget(), self._cell
        height = int(sum(height for height, _ in self._rows)) + 2 * _PAD_PX
        if cell is None:
            self.setGeometry(_MARGIN_PX, max(0, canvas.height() - height - _MARGIN_PX), self._width, height)
        else:
            self.setGeometry(cell.left() + _CELL_MARGIN_PX, cell.top() + _CELL_MARGIN_PX, self._width, height)
        self.raise_()

    @property
    def _width(self) -> int:
        room = self.parentWidget().width() - 2 * _MARGIN_PX
        if self._cell is not None:
            room = self._cell.width() - 2 * _CELL_MARGIN_PX
        return min(_WIDTH_MOST_PX if self._shown.stains or self._shown.bar else self._natural_width, max(120, room))

    @property
    def _natural_width(self) -> int:
        """Room for the longest line, as far as lines may be long."""
        said, bold, plain = self._shown, QFontMetricsF(self._bold), QFontMetricsF(self._font)
        lines = [plain.horizontalAdvance(swatch.text) + _SWATCH_PX for swatch in said.swatches]
        lines += [bold.horizontalAdvance(text) for text in (said.heading, *said.notes, self._about_key)]
        return min(_WIDTH_MOST_PX, round(max(lines, default=0.0)) + 2 * _PAD_PX + 2)

    def _lay_out(self, legend: Legend) -> list[Row]:
        rows = [self._stain_row(line) for line in legend.stains]
        if legend.swatches:
            rows += [_gap(), self._wrapped_row(legend.heading, self._bold, "#FFFFFF")]
            rows += [self._swatch_row(swatch) for swatch in legend.swatches]
        if legend.bar is not None:
            rows += [_gap(), self._wrapped_row(legend.bar.text, self._bold, "#FFFFFF"), self._bar_row(legend.bar)]
        if legend.notes:
            rows.append(_gap())
            rows += [self._note_row(note) for note in legend.notes]
        if rows and self._key:
            rows.append(self._wrapped_row(self._about_key, self._font, _QUIET))
        return rows

    @property
    def _about_key(self) -> str:
        return f"{self._key}: what the colours mean" if self._folded else f"{self._key} folds this away"

    def _stain_row(self, line: StainLine) -> Row:
        sign, color = SIGNS[line.verdict]

        def draw(painter: QPainter, box: QRectF) -> None:
            if line.shown:
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(QColor(255, 255, 255, 38))
                painter.drawRoundedRect(box.adjusted(-4, 0, 4, 0), 3, 3)
            _write(painter, box, line.key, self._font, _QUIET)
            _write(painter, box.adjusted(34, 0, 0, 0), line.name, self._bold if line.shown else self._font, "#FFFFFF")
            _write(painter, box.adjusted(150, 0, 0, 0), sign, self._bold, color)
            said = {"good": "aligned"}.get(line.verdict, line.verdict)
            _write(painter, box.adjusted(172, 0, 0, 0), said, self._font, color)

        return _LINE_PX, draw

    def _swatch_row(self, swatch: Swatch) -> Row:
        def draw(painter: QPainter, box: QRectF) -> None:
            painter.setPen(QColor("#FFFFFF"))
            painter.setBrush(QColor(swatch.color))
            painter.drawRect(QRectF(box.left() + 0.5, box.top() + 3.5, 20, 11))
            _write(painter, box.adjusted(_SWATCH_PX, 0, 0, 0), swatch.text, self._font, "#FFFFFF", elide=True)

        return _LINE_PX, draw

    def _bar_row(self, bar: Bar) -> Row:
        def draw(painter: QPainter, box: QRectF) -> None:
            strip = QRectF(box.left() + 0.5, box.top() + 2.5, box.width() - 1, _BAR_PX)
            colors = QLinearGradient(strip.left(), 0, strip.right(), 0)
            for number, rgba in enumerate(ensure_colormap(WEIGHT_COLORMAP).map([k / 32 for k in range(33)])):
                colors.setColorAt(number / 32, QColor.fromRgbF(*(float(v) for v in rgba)))
            painter.setPen(QColor("#FFFFFF"))
            painter.setBrush(colors)
            painter.drawRect(strip)
            below = box.adjusted(0, _BAR_PX + 4, 0, 0)
            _write(painter, below, bar.low, self._font, "#FFFFFF")
            _write(painter, below, bar.middle, self._font, "#FFFFFF", align=Qt.AlignmentFlag.AlignHCenter)
            _write(painter, below, bar.high, self._font, "#FFFFFF", align=Qt.AlignmentFlag.AlignRight)

        return _BAR_PX + 4 + _LINE_PX, draw

    def _note_row(self, note: str) -> Row:
        color = {SIMULATED: "#F0E442", RESEARCH_ONLY: _QUIET}.get(
            note, _QUIET if note.startswith(_COLOURS) else "#F0B23C"
        )
        return self._wrapped_row(note, self._bold if note == SIMULATED else self._font, color)

    def _wrapped_row(self, text: str, font: QFont, color: str) -> Row:
        width = self._width - 2 * _PAD_PX
        wrap = int(Qt.TextFlag.TextWordWrap)
        height = QFontMetricsF(font).boundingRect(QRectF(0, 0, width, 1000), wrap, text).height()

        def draw(painter: QPainter, box: QRectF) -> None:
            painter.setFont(font)
            painter.setPen(QColor(color))
            painter.drawText(box, wrap, text)

        return max(_LINE_PX, height + 3), draw


def _gap() -> Row:
    return _GAP_PX, lambda painter, box: None


def _write(
    painter: QPainter,
    box: QRectF,
    text: str,
    font: QFont,
    color: str,
    *,
    align: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignLeft,
    elide: bool = False,
) -> None:
    painter.setFont(font)
    painter.setPen(QColor(color))
    if elide:
        text = QFontMetricsF(font).elidedText(text, Qt.TextElideMode.ElideRight, box.width())
    line = QRectF(box.left(), box.top(), box.width(), _LINE_PX)
    painter.drawText(line, int(align | Qt.AlignmentFlag.AlignVCenter), text)
