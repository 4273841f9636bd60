"""One stain in the Align dock: a checkerboard with the reference, how far it can be trusted, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QIcon, QPixmap
from qtpy.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QPushButton, QSizePolicy, QToolButton, QVBoxLayout

from stainloom.jobs.survey import StainState
from stainloom.plugin.messages import words
from stainloom.plugin.overlay import SIGNS

_SAID = {"good": "aligned", "check": "check", "failed": "could not be aligned"}
_MEANS = {
    "check": "Click the picture: do structures run on across the edges? If not, turn it by hand or leave it out.",
    "failed": "It counts as missing until it is aligned: turn it by hand, or leave it out.",
    "not aligned": "It lies as on its own glass.",
    "left out": "Not used from now on. Its alignment is kept, for the day you take it back in.",
}
_STYLE = """
QFrame#stain {{ border: 1px solid {edge}; border-radius: 4px; }}
QFrame#stain QToolButton#name {{ font-weight: bold; border: none; padding: 0; }}
"""


class StainRow(QFrame):
    """A stain of the case that is shown.

    Parameters
    ----------
    name
        The stain.
    reference
        What it is laid on.
    """

    PICTURE_PX = 92
    chosen = Signal()
    picture_chosen = Signal()
    again = Signal()
    by_hand = Signal()
    left_out = Signal()
    taken_in = Signal()
    accepted = Signal(bool)
    """Somebody looked at it and found it right, or takes that back."""

    def __init__(self, name: str, reference: str) -> None:
        super().__init__()
        self.name = name
        self._marked: bool | None = None
        self._reference = reference
        self._shown: tuple[Any, ...] = ()
        self.setObjectName("stain")
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.picture = QToolButton()
        self.picture.setAutoRaise(True)
        self.picture.setFixedSize(self.PICTURE_PX + 6, round(self.PICTURE_PX * 0.78) + 6)
        self.picture.setIconSize(QSize(self.PICTURE_PX, self.PICTURE_PX))
        self.picture.clicked.connect(self.picture_chosen)
        self.title = QToolButton()
        self.title.setObjectName("name")
        self.title.setText(name)
        self.title.setToolTip(f"Show {name}")
        self.title.clicked.connect(self.chosen)
        self.verdict, self.error, self.message = words(""), words(""), words("")
        self.buttons = {
            "again": self._button("Align again", self.again.emit, "From the start, this stain alone"),
            "by hand": self._button("Turn by hand", self.by_hand.emit, "Turn, mirror and shift it yourself"),
            "leave out": self._button("Leave out", self.left_out.emit, "Use this case without this stain"),
            "take in": self._button("Take it in again", self.taken_in.emit, "Use this case with this stain"),
        }
        self.right = self._button(
            "I have looked: it is right",
            self._say_right,
            "",
        )
        self._arrange()
        self.mark(False)

    def _arrange(self) -> None:
        head = QHBoxLayout()
        head.addWidget(self.title)
        head.addWidget(self.verdict, 1)
        text = QVBoxLayout()
        text.setSpacing(2)
        text.addLayout(head)
        text.addWidget(self.error)
        text.addWidget(self.message)
        text.addStretch()
        actions = QHBoxLayout()
        actions.setSpacing(4)
        for button in self.buttons.values():
            actions.addWidget(button)
        rows = QGridLayout(self)
        rows.setContentsMargins(6, 6, 6, 6)
        rows.setColumnStretch(1, 1)
        rows.addWidget(self.picture, 0, 0, Qt.AlignmentFlag.AlignTop)
        rows.addLayout(text, 0, 1)
        rows.addWidget(self.right, 1, 0, 1, 2)
        rows.addLayout(actions, 2, 0, 1, 2)

    def _button(self, text: str, does: Callable[[], object], tip: str) -> QPushButton:
        button = QPushButton(text)
        button.setToolTip(tip)
        button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        button.clicked.connect(lambda: does())
        return button

    def show_state(self, stain: StainState, *, busy: bool) -> None:
        """Show how far the stain can be trusted; while a job runs, no other can be asked for here."""
        if self._shown == (stain, busy):
            return
        self._shown = (stain, busy)
        sign, colour = SIGNS[stain.verdict]
        said = "the reference" if stain.verdict == "reference" else _SAID.get(stain.verdict, stain.verdict)
        how = {"by hand": stain.by_hand, "looked at": stain.accepted} if stain.there else {}
        self.verdict.setText(", ".join([f"{sign}  {said}", *(word for word, so in how.items() if so)]))
        self.verdict.setStyleSheet(f"color: {colour}; font-weight: bold")
        self._say(self.error, _error(stain))
        self._say(self.message, self._means(stain))
        moves = stain.there and stain.verdict != "reference" and stain.found
        self.buttons["again"].setText("Align" if stain.verdict == "not aligned" else "Align again")
        self.buttons["again"].setVisible(moves)
        self.buttons["again"].setEnabled(not busy)
        self.buttons["by hand"].setVisible(moves)
        self.right.setVisible(moves and stain.in_doubt)
        self.right.setText("Take that back: to be checked" if stain.accepted else "I have looked: it is right")
        self.right.setToolTip(
            "You found it right; now it needs a check again"
            if stain.accepted
            else "It counts as aligned from now on, and is warned about no more"
        )
        self.right.setEnabled(not busy)
        self.buttons["leave out"].setVisible(stain.there and stain.verdict != "reference")
        self.buttons["take in"].setVisible(stain.verdict == "left out")
        self.picture.setVisible(stain.verdict not in ("missing", "reference"))
        self.picture.setToolTip(f"Show {self.name} and {self._reference} in one checkerboard")

    def _means(self, stain: StainState) -> str:
        if not stain.found:
            return f"Its file is not found: relocate the study. {stain.message}".rstrip()
        if stain.verdict == "reference":
            return stain.message or "All others are laid on it."
        if stain.verdict in ("good", "missing"):
            return stain.message if stain.verdict == "missing" else ""
        told = "" if stain.verdict in ("not aligned", "left out") else stain.message
        return f"{told} {_MEANS[stain.verdict]}".strip()

    def _say_right(self) -> None:
        self.accepted.emit(not self._shown[0].accepted)

    def _say(self, label: Any, text: str) -> None:
        label.setText(text)
        label.setVisible(bool(text))

    def show_picture(self, picture: QPixmap | None) -> None:
        """Show a checkerboard; without one the old one stays until the new one is made."""
        if picture is not None:
            self.picture.setIcon(QIcon(picture))

    def mark(self, shown: bool) -> None:
        """Say whether this stain is the one on the screen."""
        # A new style costs Qt milliseconds, and this is asked at each change of what is shown.
        if shown == self._marked:
            return
        self._marked = shown
        self.setStyleSheet(_STYLE.format(edge="#E8E8E8" if shown else "#5A5F66"))
        self.title.setText(f"\N{BLACK RIGHT-POINTING SMALL TRIANGLE} {self.name}" if shown else self.name)

    def mousePressEvent(self, event: Any) -> None:
        """A press anywhere on the row shows the stain."""
        self.chosen.emit()
        super().mousePressEvent(event)


def _error(stain: StainState) -> str:
    return "" if stain.error_um is None or not stain.there else f"Landmarks {stain.error_um:.0f} µm apart (median)."
