"""The panel that lists the keys: what *?* in a dock opens."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QDialog, QFrame, QGridLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

_SIZE_PX = (560, 620)


class KeysPanel(QDialog):
    """All keys by heading; stays open beside the work.

    Parameters
    ----------
    parent, canvas
        The main window, and where it listens to keys: Escape there closes the panel first.
    """

    def __init__(self, parent: QWidget, canvas: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Tool)
        self.setWindowTitle("Stainloom: keys")
        self.resize(*_SIZE_PX)
        self._area = QScrollArea()
        self._area.setWidgetResizable(True)
        self._area.setFrameShape(QFrame.Shape.NoFrame)
        self._area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addWidget(self._area)
        canvas.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Close at Escape, whoever has the focus."""
        escape = (
            event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent) and event.key() == Qt.Key.Key_Escape
        )
        if not (escape and self.isVisible()):
            return False
        self.hide()
        return True

    def say(self, groups: dict[str, list[tuple[str, str]]]) -> None:
        """List keys and what they do under headings."""
        page = QWidget()
        grid = QGridLayout(page)
        grid.setContentsMargins(14, 10, 14, 14)
        grid.setHorizontalSpacing(16)
        grid.setVerticalSpacing(5)
        grid.setColumnStretch(1, 1)
        for heading, entries in groups.items():
            title = QLabel(f"<b>{heading}</b>")
            title.setContentsMargins(0, 8, 0, 0)
            grid.addWidget(title, grid.rowCount(), 0, 1, 2)
            for press, does in entries:
                row = grid.rowCount()
                grid.addWidget(_line(press, wrap=False), row, 0, Qt.AlignmentFlag.AlignTop)
                grid.addWidget(_line(does, wrap=True), row, 1)
        grid.setRowStretch(grid.rowCount(), 1)
        self._area.setWidget(page)


def _line(text: str, *, wrap: bool) -> QLabel:
    label = QLabel(text)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(wrap)
    return label
