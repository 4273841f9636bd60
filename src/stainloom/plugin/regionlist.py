"""The predicted regions of a case, the least certain first: a click flies there."""

from __future__ import annotations

import logging
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import create_worker

from stainloom.case.predicted import Region, least_certain
from stainloom.case.view import MapsView
from stainloom.plugin.keys import NEXT_REGION_KEY
from stainloom.plugin.lesionlist import swatch
from stainloom.plugin.messages import words
from stainloom.wording import many

_log = logging.getLogger(__name__)

_ROWS_SEEN, _ROW_PX = 6, 24


class RegionList(QWidget):
    """A table of regions that is made beside the window's thread whenever the maps change."""

    wanted = Signal(object)
    """A `Region` to fly to."""

    def __init__(self) -> None:
        super().__init__()
        self.said = words("")
        self.table = QTableWidget(0, 3)
        self.table.setHorizontalHeaderLabels(["Class", "mm\N{SUPERSCRIPT TWO}", "Certainty"])
        self.table.verticalHeader().hide()
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.table.verticalHeader().setDefaultSectionSize(_ROW_PX)
        self.table.setFixedHeight(_ROW_PX * (_ROWS_SEEN + 1))
        self.table.cellClicked.connect(lambda place, _: self._fly(place))
        self.next = QPushButton(f"Next region ({NEXT_REGION_KEY})")
        self.next.clicked.connect(self.fly_to_next)
        head = QHBoxLayout()
        head.addWidget(self.said, 1)
        head.addWidget(self.next)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addLayout(head)
        rows.addWidget(self.table)
        self.regions: tuple[Region, ...] = ()
        self._maps: MapsView | None = None
        self.show_regions_of(None)

    def show_regions_of(self, maps: MapsView | None) -> None:
        """List the regions of other maps; the list comes in a moment."""
        if maps is self._maps and maps is not None:
            return
        self._maps = maps
        self._put((), 0)
        if maps is None:
            return
        worker = create_worker(_regions, maps, _start_thread=False)
        worker.returned.connect(self._take)
        worker.start()

    def fly_to_next(self) -> None:
        """Fly to the region below the chosen one, or to the first."""
        if self.regions:
            self._fly((self.table.currentRow() + 1) % len(self.regions))

    def _take(self, found: tuple[MapsView, tuple[Region, ...], int]) -> None:
        maps, regions, count = found
        if maps is self._maps:
            self._put(regions, count)

    def _put(self, regions: tuple[Region, ...], count: int) -> None:
        self.regions = regions
        self.table.setRowCount(len(regions))
        for row, region in enumerate(regions):
            cells = (region.lesion.short, f"{region.area_mm2:.3f}", f"{region.certainty:.0%}")
            for column, text in enumerate(cells):
                item = QTableWidgetItem(text)
                item.setToolTip(region.lesion.name)
                if column:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                else:
                    item.setIcon(swatch(region.lesion.color))
                self.table.setItem(row, column, item)
        self.table.setCurrentCell(-1, -1)
        self.table.scrollToTop()
        self.setVisible(bool(regions))
        shown = f"{len(regions)} of {count} regions" if count > len(regions) else many(count, "region")
        self.said.setText(f"{shown}, least certain first")

    def _fly(self, row: int) -> None:
        self.table.selectRow(row)
        self.wanted.emit(self.regions[row])


def _regions(maps: MapsView) -> tuple[MapsView, tuple[Region, ...], int]:
    try:
        return (maps, *least_certain(maps))
    except Exception as error:
        # Damaged maps are told of where they are shown; what a worker raises ends in Qt's event loop.
        _log.warning("no list of regions: %s", error)
        nothing: Any = (maps, (), 0)
        return nothing
