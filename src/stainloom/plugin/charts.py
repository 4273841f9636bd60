"""Small charts drawn for a dock: bars by class and set, curves by epoch, figures with their intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QBrush, QColor, QFontMetricsF, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

BLUE, ORANGE, GREY = "#56B4E9", "#E69F00", "#9AA0A8"

_LINE_PX = 18
_BAR_PX = 9
_CURVE_PX = 130
_LEFT_PX = 52
_GRID_ALPHA = 60
_DARK = 60
_TICKS, _MARK_PX = 4, 30
_RIGHT = Qt.AlignmentFlag.AlignRight
_CENTRE = Qt.AlignmentFlag.AlignHCenter
_LEFT = Qt.AlignmentFlag.AlignLeft


@dataclass(frozen=True)
class BarRow:
    """One class: its name, its colour, and its counts in the order of the chart's sets."""

    name: str
    color: str
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Curve:
    """One line: what it is, its colour, whether it is dashed, and its points."""

    name: str
    color: str
    points: tuple[tuple[float, float], ...]
    dashed: bool = False


@dataclass(frozen=True)
class Estimate:
    """A figure from 0 to 1 with its interval, where it has one; `strong` is drawn filled."""

    name: str
    value: float
    interval: tuple[float, float] | None = None
    strong: bool = False


def edge_of(color: QColor) -> QColor:
    """The edge of a mark of a colour: the colour, or grey where it is too dark to be seen on a dark window."""
    return QColor(GREY) if color.lightness() < _DARK else color


class Chart(QWidget):
    """What all charts share: the theme's own ink, a height of their own, any width."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    @property
    def ink(self) -> QColor:
        """The colour of text in this theme."""
        return self.palette().color(self.foregroundRole())

    def sizeHint(self) -> QSize:
        """As high as its content."""
        return QSize(200, self.content_px())

    minimumSizeHint = sizeHint

    def content_px(self) -> int:
        """How high its content is."""
        return 0

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw it."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self.draw(painter)
        painter.end()

    def draw(self, painter: QPainter) -> None:
        """Draw the content; charts say how."""

    def changed(self) -> None:
        """Another content."""
        self.updateGeometry()
        self.update()

    def write(self, painter: QPainter, box: QRectF, text: str, align: Qt.AlignmentFlag = _LEFT) -> None:
        """One line of text, cut where the box ends."""
        painter.setPen(self.ink)
        short = QFontMetricsF(painter.font()).elidedText(text, Qt.TextElideMode.ElideRight, box.width())
        painter.drawText(box, int(align | Qt.AlignmentFlag.AlignVCenter), short)

    def faint(self) -> QColor:
        """The colour of lines that help the eye."""
        color = QColor(self.ink)
        color.setAlpha(_GRID_ALPHA)
        return color


class BarChart(Chart):
    """Counts of each class in each set: filled, hatched and empty bars, each with its number."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.sets: tuple[str, ...] = ()
        self.rows: tuple[BarRow, ...] = ()

    def show_counts(self, sets: Sequence[str], rows: Sequence[BarRow]) -> None:
        """Show these; every row has a count for each set."""
        self.sets, self.rows = tuple(sets), tuple(rows)
        said = (f"{row.name}: " + ", ".join(f"{n} {s}" for n, s in zip(row.counts, sets, strict=True)) for row in rows)
        self.setAccessibleDescription("; ".join(said))
        self.changed()

    def content_px(self) -> int:
        """A line for the legend, and one bar a set for each class."""
        return (_LINE_PX + 4 + len(self.rows) * self._row_px()) if self.rows else 0

    def _row_px(self) -> int:
        return max(_LINE_PX, len(self.sets) * (_BAR_PX + 2)) + 8

    def draw(self, painter: QPainter) -> None:
        """Draw legend and rows."""
        if not self.rows:
            return
        self._draw_legend(painter)
        small = painter.font()
        small.setPointSizeF(small.pointSizeF() * 0.85)
        metrics = QFontMetricsF(painter.font())
        name_px = min(110.0, max(metrics.horizontalAdvance(row.name) for row in self.rows) + 8)
        number_px = metrics.horizontalAdvance("000,000")
        most = max(1, *(max(row.counts, default=0) for row in self.rows))
        room = max(10.0, self.width() - name_px - number_px)
        top = float(_LINE_PX + 4)
        for row in self.rows:
            self.write(painter, QRectF(0, top, name_px - 6, self._row_px() - 8), row.name)
            painter.save()
            painter.setFont(small)
            for place, count in enumerate(row.counts):
                y = top + place * (_BAR_PX + 2)
                bar = QRectF(name_px, y, max(1.0, room * count / most), _BAR_PX)
                if count:
                    self._draw_bar(painter, bar, QColor(row.color), place)
                self.write(
                    painter, QRectF(bar.right() + 4 if count else name_px, y - 3, number_px, _BAR_PX + 6), f"{count:,}"
                )
            painter.restore()
            top += self._row_px()

    def _draw_legend(self, painter: QPainter) -> None:
        left, metrics = 0.0, QFontMetricsF(painter.font())
        for place, name in enumerate(self.sets):
            if name:
                self._draw_bar(painter, QRectF(left + 0.5, 5, 18, _BAR_PX), QColor(GREY), place)
                width = metrics.horizontalAdvance(name) + 2
                self.write(painter, QRectF(left + 23, 0, width, _LINE_PX), name)
                left += 23 + width + 14

    def _draw_bar(self, painter: QPainter, bar: QRectF, color: QColor, place: int) -> None:
        # All of it in the colour of the edge: a dark bar, filled, would look like an empty one, which is another set.
        seen = edge_of(color)
        painter.setPen(QPen(seen, 1))
        styles = (Qt.BrushStyle.SolidPattern, Qt.BrushStyle.BDiagPattern, Qt.BrushStyle.NoBrush)
        painter.setBrush(QBrush(seen, styles[min(place, 2)]))
        painter.drawRect(bar)


class CurveChart(Chart):
    """Curves over the epochs of a training; a mark at the best epoch, and a level to compare with."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.curves: tuple[Curve, ...] = ()
        self.best: float | None = None
        self.level: tuple[float, str] | None = None
        self.percent = False

    def show_curves(
        self,
        curves: Sequence[Curve],
        *,
        best: float | None = None,
        level: tuple[float, str] | None = None,
        percent: bool = False,
    ) -> None:
        """Show these; values that are no numbers are left out."""
        self.curves = tuple(
            Curve(c.name, c.color, tuple(p for p in c.points if all(map(math.isfinite, p))), c.dashed) for c in curves
        )
        self.best, self.level, self.percent = best, level, percent
        last = [f"{curve.name} {self._said(curve.points[-1][1])}" for curve in self.curves if curve.points]
        self.setAccessibleDescription("; ".join(last))
        self.changed()

    def content_px(self) -> int:
        """Legend, plot, epochs."""
        return _CURVE_PX + 2 * _LINE_PX

    def draw(self, painter: QPainter) -> None:
        """Draw axes, level, best epoch and curves."""
        self._draw_legend(painter)
        plot = QRectF(_LEFT_PX, _LINE_PX + 4, self.width() - _LEFT_PX - 8, _CURVE_PX - 8)
        points = [point for curve in self.curves for point in curve.points]
        if not points:
            self.write(painter, plot, "no epoch is over yet", _CENTRE)
            return
        values = [y for _, y in points] + ([self.level[0]] if self.level else [])
        low, high = (0.0, 1.0) if self.percent else _span(values)
        first, last = min(x for x, _ in points), max(x for x, _ in points)

        def place(x: float, y: float) -> QPointF:
            across = 0.5 if last == first else (x - first) / (last - first)
            return QPointF(
                plot.left() + across * plot.width(), plot.bottom() - (y - low) / (high - low) * plot.height()
            )

        self._draw_axes(painter, plot, (low, high), (first, last))
        if self.level is not None:
            self._draw_level(painter, plot, place(first, self.level[0]).y())
        if self.best is not None and first <= self.best <= last:
            self._draw_best(painter, plot, place(self.best, low).x())
        for curve in self.curves:
            self._draw_curve(painter, curve, [place(*point) for point in curve.points])

    def _said(self, value: float) -> str:
        return f"{100 * value:.0f} %" if self.percent else f"{value:.2f}"

    def _draw_legend(self, painter: QPainter) -> None:
        left, metrics = 0.0, QFontMetricsF(painter.font())
        entries = [
            (_pen(curve), f"{curve.name} {self._said(curve.points[-1][1])}" if curve.points else curve.name)
            for curve in self.curves
        ]
        if self.level is not None:
            entries.append((QPen(self.ink, 1, Qt.PenStyle.DotLine), self.level[1]))
        for pen, text in entries:
            painter.setPen(pen)
            painter.drawLine(QPointF(left, _LINE_PX / 2), QPointF(left + 18, _LINE_PX / 2))
            width = metrics.horizontalAdvance(text) + 2
            self.write(painter, QRectF(left + 22, 0, width, _LINE_PX), text)
            left += 22 + width + 8

    def _draw_axes(
        self, painter: QPainter, plot: QRectF, values: tuple[float, float], epochs: tuple[float, float]
    ) -> None:
        for number in range(_TICKS + 1):
            share = number / _TICKS
            y = plot.bottom() - share * plot.height()
            painter.setPen(QPen(self.faint(), 1))
            painter.drawLine(QPointF(plot.left(), y), QPointF(plot.right(), y))
            if number % 2 == 0:
                value = values[0] + share * (values[1] - values[0])
                self.write(painter, QRectF(0, y - 9, _LEFT_PX - 6, 18), self._said(value), _RIGHT)
        below = QRectF(plot.left(), plot.bottom() + 2, plot.width(), _LINE_PX)
        self.write(painter, below, f"epoch {epochs[0]:.0f}")
        covered = self.best is not None and (epochs[1] - self.best) * plot.width() < _MARK_PX * (epochs[1] - epochs[0])
        if epochs[1] > epochs[0] and not covered:
            self.write(painter, below, f"{epochs[1]:.0f}", _RIGHT)

    def _draw_level(self, painter: QPainter, plot: QRectF, y: float) -> None:
        painter.setPen(QPen(self.ink, 1, Qt.PenStyle.DotLine))
        painter.drawLine(QPointF(plot.left(), y), QPointF(plot.right(), y))

    def _draw_best(self, painter: QPainter, plot: QRectF, x: float) -> None:
        painter.setPen(QPen(self.ink, 1, Qt.PenStyle.DashLine))
        painter.drawLine(QPointF(x, plot.top()), QPointF(x, plot.bottom()))
        mark = QPolygonF(
            [QPointF(x - 5, plot.bottom() + 7), QPointF(x + 5, plot.bottom() + 7), QPointF(x, plot.bottom())]
        )
        painter.setBrush(self.ink)
        painter.drawPolygon(mark)
        width = QFontMetricsF(painter.font()).horizontalAdvance(f"best: {self.best:.0f}") + 2
        left = min(max(x + 8, plot.left() + 62), plot.right() - width - 26)
        self.write(painter, QRectF(left, plot.bottom() + 2, width, _LINE_PX), f"best: {self.best:.0f}")

    def _draw_curve(self, painter: QPainter, curve: Curve, points: list[QPointF]) -> None:
        painter.setPen(_pen(curve))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if len(points) == 1:
            painter.setBrush(QColor(curve.color))
            painter.drawEllipse(points[0], 2.5, 2.5)
        else:
            painter.drawPolyline(QPolygonF(points))


class EstimateChart(Chart):
    """Figures from 0 to 1 below one another, each with its interval, and what guessing gives."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.estimates: tuple[Estimate, ...] = ()
        self.chance: float | None = None

    def show_estimates(self, estimates: Sequence[Estimate], chance: float | None = None) -> None:
        """Show these."""
        self.estimates, self.chance = tuple(estimates), chance
        self.setAccessibleDescription("; ".join(f"{one.name} {100 * one.value:.0f} %" for one in estimates))
        self.changed()

    def content_px(self) -> int:
        """A line each, and the scale."""
        return (len(self.estimates) * (_LINE_PX + 4) + 2 * _LINE_PX) if self.estimates else 0

    def draw(self, painter: QPainter) -> None:
        """Draw a bar each, its interval as a whisker, and chance as a dotted line."""
        if not self.estimates:
            return
        metrics = QFontMetricsF(painter.font())
        name_px = min(130.0, max(metrics.horizontalAdvance(one.name) for one in self.estimates) + 10)
        room = max(10.0, self.width() - name_px - metrics.horizontalAdvance("100 %") - 8)
        bottom = len(self.estimates) * (_LINE_PX + 4.0)
        for place, one in enumerate(self.estimates):
            top = place * (_LINE_PX + 4.0)
            self.write(painter, QRectF(0, top, name_px - 6, _LINE_PX), one.name)
            self._draw_one(painter, one, QRectF(name_px, top, room, _LINE_PX))
        painter.setPen(QPen(self.faint(), 1))
        painter.drawLine(QPointF(name_px, bottom), QPointF(name_px + room, bottom))
        scale = QRectF(name_px, bottom, room, _LINE_PX)
        self.write(painter, scale, "0 %")
        self.write(painter, scale, "100 %", _RIGHT)
        if self.chance is not None:
            x = name_px + self.chance * room
            painter.setPen(QPen(self.ink, 1, Qt.PenStyle.DotLine))
            painter.drawLine(QPointF(x, 0), QPointF(x, bottom))
            said = QRectF(name_px, bottom + _LINE_PX, room, _LINE_PX)
            self.write(painter, said, f"dotted: guessing the largest class, {100 * self.chance:.0f} %")

    def _draw_one(self, painter: QPainter, one: Estimate, box: QRectF) -> None:
        color = QColor(BLUE if one.strong else GREY)
        painter.setPen(QPen(color, 1))
        painter.setBrush(QBrush(color, Qt.BrushStyle.SolidPattern if one.strong else Qt.BrushStyle.BDiagPattern))
        bar = QRectF(box.left(), box.top() + 4, max(1.0, box.width() * one.value), box.height() - 8)
        painter.drawRect(bar)
        right = bar.right()
        if one.interval is not None:
            low, high = (box.left() + box.width() * end for end in one.interval)
            y = bar.center().y()
            painter.setPen(QPen(self.ink, 1.5))
            painter.drawLine(QPointF(low, y), QPointF(high, y))
            for end in (low, high):
                painter.drawLine(QPointF(end, y - 4), QPointF(end, y + 4))
            right = max(right, high)
        self.write(painter, QRectF(right + 5, box.top(), 60, box.height()), f"{100 * one.value:.0f} %")


def epoch_curves(history: Sequence[Mapping[str, float]], figure: str) -> tuple[Curve, ...]:
    """Training and validation of `loss` or `accuracy` by epoch; a curve that was not measured is left out."""
    curves = []
    for name, color, dashed in (("training", BLUE, True), ("validation", ORANGE, False)):
        key = f"{'train' if dashed else name}_{figure}"
        points = tuple((row["epoch"], row[key]) for row in history if key in row and "epoch" in row)
        if points or not history:
            curves.append(Curve(name, color, points, dashed))
    return tuple(curves)


def _pen(curve: Curve) -> QPen:
    return QPen(QColor(curve.color), 2, Qt.PenStyle.DashLine if curve.dashed else Qt.PenStyle.SolidLine)


def _span(values: Sequence[float]) -> tuple[float, float]:
    """A little more than from the least to the largest."""
    low, high = min(values), max(values)
    more = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
    return low - more, high + more
