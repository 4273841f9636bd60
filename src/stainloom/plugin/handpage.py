"""The page of the Align dock while a stain is laid by hand: what the mouse does, buttons for each move, and the ways out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QPushButton,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from stainloom.plugin.hand import Hand
from stainloom.plugin.laying import Affine
from stainloom.plugin.messages import words

_BANNER = "QFrame#banner { border: 2px solid #E69F00; border-radius: 4px; }"
_MOUSE = (
    "<b>Drag</b> shifts it. <b>Drag the ring</b>, or drag with the right button, to turn it about the cross. "
    "<b>Arrow keys</b> nudge it, <b>Q</b> and <b>W</b> turn it; with Shift they go far, or turn finely. "
    "Hold <b>`</b> to see {reference} alone, and <b>Space</b> to move the view."
)


class HandPage(QWidget):
    """Moves, undo, and the three ways to end.

    Parameters
    ----------
    hand
        What is moved.
    starts
        Places to begin at, by what they are called; the first is where it lies now.
    reference_um
        Where the reference's tissue has its centre, (row, col).
    """

    refine = Signal()
    use = Signal()
    cancel = Signal()

    def __init__(self, hand: Hand, starts: Mapping[str, Affine], reference_um: np.ndarray) -> None:
        super().__init__()
        self.hand = hand
        self._starts = dict(starts)
        self._reference_um = reference_um
        self._showing = False
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(8)
        for part in (self._make_banner(), self._make_moves(), self._make_form(), self._make_back(), self._make_ends()):
            rows.addWidget(part)
        # In the dock as on the slide: a shortcut of the page reaches where the layer's key does not.
        undo = QShortcut(QKeySequence(QKeySequence.StandardKey.Undo), self)
        undo.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        undo.activated.connect(lambda: self.hand.laying.undo())
        self.look()

    def take(self, hand: Hand) -> None:
        """Go on with another picture of the same stain: the case was opened anew."""
        self.hand = hand
        hand.opacity = 1 - self.through.value() / 100
        hand.changed.connect(self.look)
        self.look()

    def _make_banner(self) -> QWidget:
        frame = QFrame()
        frame.setObjectName("banner")
        frame.setStyleSheet(_BANNER)
        rows = QVBoxLayout(frame)
        reference = self.hand.session.view.reference.name
        self.banner = words("")
        self.banner.setStyleSheet("font-weight: bold")
        self.go_on = QPushButton(f"Go on moving {self.hand.stain}")
        self.go_on.clicked.connect(lambda: self.hand.take_up())
        for part in (self.banner, words(_MOUSE.format(reference=reference)), self.go_on):
            rows.addWidget(part)
        self.hand.changed.connect(self.look)
        return frame

    def _make_moves(self) -> QWidget:
        frame = QWidget()
        grid = QGridLayout(frame)
        grid.setContentsMargins(0, 0, 0, 0)
        reference = self.hand.session.view.reference.name
        self.moves: dict[str, QPushButton] = {}
        for number, (text, tip, act) in enumerate((
            ("\N{ANTICLOCKWISE OPEN CIRCLE ARROW}  90\N{DEGREE SIGN} left", "A quarter turn against the clock", lambda: self.hand.laying.turn(-90)),
            ("\N{CLOCKWISE OPEN CIRCLE ARROW}  90\N{DEGREE SIGN} right", "A quarter turn with the clock", lambda: self.hand.laying.turn(90)),
            ("\N{LEFT RIGHT ARROW}  Mirror", "The section was mounted the other side up", lambda: self.hand.laying.mirror()),
            (f"+  Centre on {reference}", "Tissue on tissue, by their centres", lambda: self.hand.laying.bring_to(self._reference_um)),
        )):  # fmt: skip
            button = self._button(text, act, tip)
            self.moves[text.split("  ")[1]] = button
            grid.addWidget(button, number // 2, number % 2)
        return frame

    def _make_form(self) -> QWidget:
        frame = QWidget()
        form = QFormLayout(frame)
        form.setContentsMargins(0, 0, 0, 0)
        self.turn = QDoubleSpinBox()
        self.turn.setRange(-180, 180)
        self.turn.setDecimals(2)
        self.turn.setSingleStep(0.25)
        self.turn.setWrapping(True)
        self.turn.setSuffix(" \N{DEGREE SIGN}")
        self.turn.setKeyboardTracking(False)
        self.turn.setToolTip("Clockwise, in degrees; the arrows go by a quarter of a degree")
        self.turn.valueChanged.connect(self._turn_to)
        self.turn.lineEdit().installEventFilter(self)
        self.through = QSlider(Qt.Orientation.Horizontal)
        self.through.setRange(0, 100)
        self.through.setValue(50)
        self.through.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.through.valueChanged.connect(self._see_through)
        self.start = QComboBox()
        self.start.addItems(list(self._starts))
        self.start.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.start.activated.connect(self._start_at)
        form.addRow("Turned by", self.turn)
        form.addRow("See through", self.through)
        form.addRow("Start at", self.start)
        return frame

    def _make_back(self) -> QWidget:
        frame = QWidget()
        row = QHBoxLayout(frame)
        row.setContentsMargins(0, 0, 0, 0)
        self.undo = self._button("Undo", lambda: self.hand.laying.undo(), "Take back the last move (Ctrl+Z)")
        self.reset = self._button(
            "Reset", lambda: self._start_at(), "Back to where it started; Undo takes this back too"
        )
        row.addWidget(self.undo)
        row.addWidget(self.reset)
        return frame

    def _make_ends(self) -> QWidget:
        frame = QWidget()
        rows = QVBoxLayout(frame)
        rows.setContentsMargins(0, 0, 0, 0)
        self.ends = {
            "refine": self._button("Refine from here", self.refine.emit, "Find the exact place near this one"),
            "use": self._button("Use as it is", self.use.emit, "Keep this place without refining it: its verdict is check"),
            "cancel": self._button("Cancel", self.cancel.emit, "Leave everything as it was"),
        }  # fmt: skip
        self.ends["refine"].setStyleSheet("font-weight: bold; padding: 6px")
        beside = QHBoxLayout()
        beside.addWidget(self.ends["use"])
        beside.addWidget(self.ends["cancel"])
        rows.addWidget(self.ends["refine"])
        rows.addLayout(beside)
        rows.addWidget(
            words(
                "Refining searches up to 15\N{DEGREE SIGN} and a tenth of the slide around this place, and judges it."
            )
        )
        return frame

    def _button(self, text: str, act, tip: str) -> QPushButton:
        button = QPushButton(text)
        button.setToolTip(tip)
        # The arrow keys and Ctrl+Z stay with the slide.
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        button.clicked.connect(lambda *_: act())
        return button

    def look(self) -> None:
        """Show where it lies now."""
        hand = self.hand
        reference = hand.session.view.reference.name
        now = (
            f", see-through over {reference}. Nothing is kept yet."
            if hand.active
            else ". Another layer is selected: mouse and keys do not move it now."
        )
        self.banner.setText(f"Turning {hand.stain} by hand{now}")
        self.go_on.setVisible(not hand.active)
        self._showing = True
        self.turn.setValue(hand.laying.degrees)
        self._showing = False
        self.turn.setPrefix("mirrored, " if hand.laying.mirrored else "")
        self.undo.setEnabled(hand.laying.undoable)
        self.reset.setEnabled(hand.laying.changed)

    def may_refine(self, may: bool) -> None:
        """Refining waits until the job that runs from this dock has ended."""
        self.ends["refine"].setEnabled(may)
        self.ends["refine"].setText("Refine from here" if may else "Refine from here (when the job has ended)")

    def _turn_to(self, degrees: float) -> None:
        if not self._showing:
            self.hand.laying.turn_to(degrees)

    def _see_through(self, share: int) -> None:
        self.hand.opacity = 1 - share / 100

    def _start_at(self, *_: int) -> None:
        self.hand.laying.start = self._starts[self.start.currentText()]
        self.hand.laying.put(self.hand.laying.start)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Leave Ctrl+Z in the field of degrees to the page: a move is undone, not a digit."""
        return bool(event.type() == QEvent.Type.ShortcutOverride and event.matches(QKeySequence.StandardKey.Undo))
