"""The mean weight of each stain where each class was predicted: which stains the network listens to for what."""

from __future__ import annotations

import logging
import math
from typing import Any

from napari.utils.colormaps import ensure_colormap
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QVBoxLayout, QWidget
from superqt.utils import create_worker

from stainloom.case.predicted import MeanWeights, mean_weights
from stainloom.case.view import MapsView
from stainloom.plugin.bars import ABOUT_WEIGHTS
from stainloom.plugin.lesionlist import swatch
from stainloom.plugin.messages import words
from stainloom.plugin.overlay import WEIGHT_COLORMAP

_log = logging.getLogger(__name__)

_ROW_PX = 24
_FLAT = 0.1
_DARK_BELOW = 0.6
_STEPS = 64


class WeightTable(QWidget):
    """A row a class, a column a stain; made beside the window's thread whenever the maps change."""

    found = Signal(object)
    """`MeanWeights` of the maps, or None."""

    def __init__(self) -> None:
        super().__init__()
        self.heading = words("Mean weight of each stain, by predicted class")
        self.heading.setToolTip(ABOUT_WEIGHTS)
        self.table = QTableWidget(0, 0)
        self.table.setAccessibleName(self.heading.text())
        self.table.verticalHeader().hide()
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.table.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.table.verticalHeader().setDefaultSectionSize(_ROW_PX)
        self.table.setToolTip(ABOUT_WEIGHTS)
        self.said = words("")
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        for part in (self.heading, self.table, self.said):
            rows.addWidget(part)
        colors = ensure_colormap(WEIGHT_COLORMAP).map([number / _STEPS for number in range(_STEPS + 1)])
        self._colors = [QColor.fromRgbF(*(float(part) for part in rgba)) for rgba in colors]
        self._maps: MapsView | None = None
        self.show_weights_of(None)

    def show_weights_of(self, maps: MapsView | None) -> None:
        """Show the weights of other maps; they come in a moment."""
        if maps is self._maps and maps is not None:
            return
        self._maps = maps
        self._put(None)
        if maps is None:
            return
        worker = create_worker(_weights, maps, _start_thread=False)
        worker.returned.connect(self._take)
        worker.start()

    def _take(self, found: tuple[MapsView, MeanWeights | None]) -> None:
        maps, weights = found
        if maps is self._maps:
            self._put(weights)

    def _put(self, weights: MeanWeights | None) -> None:
        self.setVisible(weights is not None)
        self.found.emit(weights)
        if weights is None or self._maps is None:
            return
        stains = tuple(weights.stains)
        classes = [lesion for lesion in self._maps.classes if lesion.id in weights.by_class]
        self.table.setColumnCount(1 + len(stains))
        self.table.setHorizontalHeaderLabels(["Class", *stains])
        self.table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
        self.table.clearContents()
        self.table.setRowCount(len(classes))
        for row, lesion in enumerate(classes):
            name = QTableWidgetItem(swatch(lesion.color), lesion.short)
            name.setToolTip(lesion.name)
            self.table.setItem(row, 0, name)
            for column, mean in enumerate(weights.by_class[lesion.id], start=1):
                if math.isfinite(mean):
                    self.table.setItem(row, column, self._cell(mean))
        self.table.setFixedHeight(self.table.horizontalHeader().sizeHint().height() + _ROW_PX * len(classes) + 4)
        self.said.setText(weights_said(weights))

    def _cell(self, mean: float) -> QTableWidgetItem:
        item = QTableWidgetItem(f"{mean:.2f}")
        item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
        item.setBackground(self._colors[round(mean * _STEPS)])
        item.setForeground(QColor("#FFFFFF" if mean < _DARK_BELOW else "#101114"))
        return item


def weights_said(weights: MeanWeights) -> str:
    """What the weights come to, in words."""
    means = dict(zip(weights.stains, weights.overall, strict=True))
    cells = [mean for row in weights.by_class.values() for mean in row if math.isfinite(mean)]
    if max(cells) - min(cells) < _FLAT:
        return (
            f"No stain stands out: all means lie between {min(cells):.2f} and {max(cells):.2f}. A training that was short, "
            "or classes that any stain tells apart, leave the weights so."
        )
    most, least = max(means, key=lambda stain: means[stain]), min(means, key=lambda stain: means[stain])
    return (
        f"The network lets most through of what it found in {most} ({means[most]:.2f} on average), least of {least} "
        f"({means[least]:.2f}). This is no ranking: it may decide by a stain of which it lets little through. What a stain is worth "
        "alone is told by *Train fused and each single stain*."
    )


def _weights(maps: MapsView) -> tuple[MapsView, MeanWeights | None]:
    try:
        return maps, mean_weights(maps)
    except Exception as error:
        # Damaged maps are told of where they are shown; what a worker raises ends in Qt's event loop.
        _log.warning("no table of weights: %s", error)
        nothing: Any = None
        return maps, nothing
