"""What is under the cursor as bars: the weight of each stain and the probability of each class."""

from __future__ import annotations

from napari.utils.colormaps import ensure_colormap
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

from stainloom.case.lesions import LesionClass
from stainloom.plugin.charts import edge_of
from stainloom.plugin.overlay import WEIGHT_COLORMAP
from stainloom.plugin.readout import Readout
from stainloom.plugin.reviewing import place_words

_LINE_PX = 17
_NAME_PX, _NUMBER_PX = 64, 34
_STEPS = 64
ABOUT_WEIGHTS = (
    "The weight of a stain is the share of its features that the network lets through here. Each is "
    "between 0 and 1 by itself: they do not sum to 1, and say nothing of how much a stain decided. Read them as differences "
    "from place to place. The probabilities of the classes sum to 1."
)


class ReadoutBars(QWidget):
    """Two columns of bars from 0 to 1: weights at the left, probabilities at the right; empty bars where nothing is.

    Notes
    -----
    Drawn by hand: a column of labels and progress bars takes 3 ms a move of the mouse, this less than one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setToolTip(ABOUT_WEIGHTS)
        self.readout: Readout | None = None
        self._stains: tuple[str, ...] = ()
        self._classes: tuple[LesionClass, ...] = ()
        colors = ensure_colormap(WEIGHT_COLORMAP).map([number / _STEPS for number in range(_STEPS + 1)])
        self._colors = [QColor.fromRgbF(*(float(part) for part in rgba)) for rgba in colors]

    def put_names(self, stains: tuple[str, ...], classes: tuple[LesionClass, ...]) -> None:
        """The stains and classes that bars are drawn for."""
        if (stains, classes) != (self._stains, self._classes):
            self._stains, self._classes = stains, classes
            self.updateGeometry()
            self.update()

    def put(self, readout: Readout | None) -> None:
        """Show another place."""
        self.readout = readout
        self.update()

    def sizeHint(self) -> QSize:
        """As many lines as the longer column has."""
        return QSize(200, (2 + max(len(self._stains), len(self._classes))) * _LINE_PX)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw both columns."""
        painter = QPainter(self)
        here = self.readout
        half = self.width() / 2
        weights = {} if here is None else here.weights
        shares = {} if here is None else here.probabilities
        # Drawn here too: a label that changes its text has the whole dock laid out anew, 10 ms a move.
        painter.setPen(self.palette().text().color())
        place = QRectF(0, 0, self.width(), _LINE_PX)
        painter.drawText(place, int(Qt.AlignmentFlag.AlignVCenter), "" if here is None else place_words(here))
        self._title(painter, QRectF(0, _LINE_PX, half, _LINE_PX), "Weight of each stain")
        self._title(painter, QRectF(half + 8, _LINE_PX, half - 8, _LINE_PX), "Probability of each class")
        for number, stain in enumerate(self._stains):
            share = weights.get(stain)
            color = None if share is None else self._colors[round(share * _STEPS)]
            self._bar(painter, QRectF(0, (number + 2) * _LINE_PX, half - 4, _LINE_PX), stain, share, color, False)
        for number, lesion in enumerate(self._classes):
            box = QRectF(half + 8, (number + 2) * _LINE_PX, half - 8, _LINE_PX)
            said = here is not None and here.predicted == lesion.short
            self._bar(painter, box, lesion.short, shares.get(lesion.short), QColor(lesion.color), said)
        painter.end()

    def _title(self, painter: QPainter, box: QRectF, text: str) -> None:
        painter.setPen(self.palette().placeholderText().color())
        painter.drawText(box, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), text)

    def _bar(
        self, painter: QPainter, box: QRectF, name: str, share: float | None, color: QColor | None, bold: bool
    ) -> None:
        ink = self.palette().text().color()
        font = painter.font()
        font.setBold(bold)
        painter.setFont(font)
        painter.setPen(ink)
        middle = int(Qt.AlignmentFlag.AlignVCenter)
        fitting = painter.fontMetrics().elidedText(name, Qt.TextElideMode.ElideRight, _NAME_PX - 4)
        painter.drawText(QRectF(box.left(), box.top(), _NAME_PX, box.height()), middle, fitting)
        frame = QRectF(box.left() + _NAME_PX, box.top() + 4, box.width() - _NAME_PX - _NUMBER_PX, box.height() - 8)
        faint = QColor(ink)
        faint.setAlpha(40)
        painter.fillRect(frame, faint)
        if share is not None and color is not None:
            bar = QRectF(frame.left(), frame.top(), frame.width() * share, frame.height())
            painter.fillRect(bar, edge_of(color))
            painter.fillRect(bar.adjusted(1, 1, -1, -1), color)
            number = QRectF(box.right() - _NUMBER_PX, box.top(), _NUMBER_PX, box.height())
            painter.drawText(number, int(Qt.AlignmentFlag.AlignRight) | middle, f"{share:.2f}")
        font.setBold(False)
        painter.setFont(font)
