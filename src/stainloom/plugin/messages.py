"""What happened, in words: newest first, with a button where something can be done at once, the technical part folded away."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QApplication,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from stainloom.errors import StainloomError
from stainloom.plugin.job import Result

CANCELLED = "Cancelled. Nothing half-made is left behind."
"""What is so after a cancel, where a job says nothing else."""

_SIGNS = {"done": "\N{CHECK MARK}", "check": "!", "failed": "\N{MULTIPLICATION SIGN}"}
COLOURS = {"done": "#56D8A5", "check": "#F0B23C", "failed": "#FF7A4D"}
_SHOWN_MOST = 5

Act = tuple[str, Callable[[], object]]
"""What a button says, and what it does."""


class Messages(QWidget):
    """What happened, to which slide, and what to do: newest first, the technical part folded away."""

    def __init__(self, place_in: Callable[[str], Act | None] = lambda text: None) -> None:
        super().__init__()
        self._place_in = place_in
        self.most = _SHOWN_MOST
        self._rows = QVBoxLayout(self)
        self._rows.setContentsMargins(0, 0, 0, 0)

    def clear(self) -> None:
        """Say nothing."""
        while (item := self._rows.takeAt(0)) is not None:
            if item.widget() is not None:
                # Until Qt deletes it, what it said would shine through what is said now.
                item.widget().hide()
                item.widget().deleteLater()

    def say(self, kind: str, text: str, details: str = "", act: Act | None = None) -> None:
        """Say one thing: `done`, `check` or `failed`; with a button below it where something can be done at once."""
        line = words(f"{_SIGNS[kind]}  {text}")
        line.setStyleSheet(f"color: {COLOURS[kind]}")
        line.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._rows.addWidget(line)
        if (act := act or self._place_in(text)) is not None:
            self._offer(act)
        if details.strip():
            self._rows.addWidget(_Details(details))

    def say_alone(self, kind: str, text: str) -> None:
        """Say one thing, and nothing of what was said before."""
        self.clear()
        self.say(kind, text)

    def say_error(self, error: StainloomError) -> None:
        """Say what an error says."""
        self.say("failed", str(error))

    def say_result(
        self,
        result: Result,
        done: str,
        cancelled: str = CANCELLED,
        act: Act | None = None,
        *,
        fine: bool = True,
    ) -> None:
        """Say how a job ended; `act`: what comes next where it ended well; `fine`: whether all that it gave is good."""
        if result.ending == "cancelled":
            self.say("check", cancelled)
            return
        for problem in result.problems[: self.most]:
            self.say("failed", str(problem["detail"]), result.log)
        if result.ending == "done" or result.changed:
            self.say("done" if fine else "check", done)
        for warning in result.warnings[: self.most]:
            self.say("check", warning)
        left = [*result.problems[self.most :], *result.warnings[self.most :]]
        if left:
            texts = [str(item["detail"]) if isinstance(item, dict) else item for item in left]
            self.say("check", f"and {len(left)} more", "\n".join(texts))
        if act is not None and (result.ending == "done" or result.changed):
            self._offer(act)

    def _offer(self, act: Act) -> None:
        button = QPushButton(act[0])
        button.clicked.connect(act[1])
        self._rows.addWidget(button)


class _Details(QWidget):
    """*Details*: unfolds the technical part and copies it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        rows = QVBoxLayout(self)
        rows.setContentsMargins(18, 0, 0, 0)
        unfold = QToolButton()
        unfold.setText("Details")
        unfold.setCheckable(True)
        unfold.setAutoRaise(True)
        copy = QToolButton()
        copy.setText("Copy")
        copy.setAutoRaise(True)
        copy.clicked.connect(lambda: QApplication.clipboard().setText(text))
        buttons = QHBoxLayout()
        buttons.addWidget(unfold)
        buttons.addWidget(copy)
        buttons.addStretch()
        rows.addLayout(buttons)
        shown = words(text)
        shown.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        rows.addWidget(shown)
        for widget in (shown, copy):
            widget.hide()
            unfold.toggled.connect(widget.setVisible)


def words(text: str) -> QLabel:
    """A text that wraps and asks for no width."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    return label
