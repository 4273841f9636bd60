"""A question in the dock: nothing is done before it is answered."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtWidgets import QFrame, QHBoxLayout, QPushButton, QVBoxLayout

from stainloom.plugin.messages import words


class Question(QFrame):
    """What would happen, and two buttons; hidden while nothing is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.text = words("")
        self.yes, self.no = QPushButton(), QPushButton()
        self._act: Callable[[], object] | None = None
        rows = QVBoxLayout(self)
        rows.addWidget(self.text)
        buttons = QHBoxLayout()
        buttons.addWidget(self.yes)
        buttons.addWidget(self.no)
        rows.addLayout(buttons)
        self.yes.clicked.connect(self._answer)
        self.no.clicked.connect(self.drop)
        self.drop()

    def ask(self, text: str, yes: str, no: str, act: Callable[[], object]) -> None:
        """Ask; `act` is called where the answer is yes. Another question takes the place of one not answered."""
        self.text.setText(text)
        self.yes.setText(yes)
        self.no.setText(no)
        self._act = act
        self.show()
        self.no.setFocus()

    def drop(self) -> None:
        """Ask nothing any more."""
        self._act = None
        self.hide()

    def _answer(self) -> None:
        act = self._act
        self.drop()
        if act is not None:
            act()
