"""The strip above the canvas: a button a stain, one or side by side, aligned or as scanned, how near, how turned."""

from __future__ import annotations

import math
from collections.abc import Callable

from qtpy.QtCore import QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QFont, QFontMetricsF, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QAbstractButton, QButtonGroup, QFrame, QHBoxLayout, QMenu, QSizePolicy, QToolButton, QWidget
from superqt import QFlowLayout

from stainloom.case.view import StainView
from stainloom.plugin.keys import TURN_DEG
from stainloom.plugin.looking import CHECKERBOARD, GRID, SINGLE, Looking
from stainloom.plugin.overlay import SIGNS, caution, stain_key
from stainloom.plugin.session import Session
from stainloom.plugin.workspace import Workspace

BUTTON_PX = 26
_PAD_PX = 7
_GAP_PX = 5
_FONT_PX = 12  # as in the style
_STYLE = """
#stainloom-strip { background: #262930; }
#stainloom-strip QToolButton {
    background: #3A3E47; color: #F0F1F2; border: 1px solid #4A4F5A; border-radius: 3px; padding: 1px 3px;
    margin: 0px; min-height: 20px; min-width: 10px; font-size: 12px;
}
#stainloom-strip QToolButton:hover { background: #4A4F5A; }
#stainloom-strip QToolButton:checked { background: #45618F; border: 1px solid #8FB3EA; font-weight: bold; }
#stainloom-strip QToolButton:disabled { color: #7C828C; }
#stainloom-strip QToolButton::menu-indicator { image: none; }
"""
_SWAP = "\N{LEFTWARDS ARROW OVER RIGHTWARDS ARROW}"
_FRAME_TIP = (
    "How the stain lies now. A click changes between aligned (as it was laid on the reference) and as scanned (on its own "
    "glass, with the paint carried there), at the same place of the tissue (H)"
)
_WORDS = {"good": "aligned", "check": "aligned, but look at it", "reference": "the reference: all others lie on it"}


class StainStrip(QWidget):
    """How the case is looked at, to see and to change.

    Parameters
    ----------
    workspace
        What is open.
    """

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self.setObjectName("stainloom-strip")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setStyleSheet(_STYLE)
        self.workspace = workspace
        self.stains: dict[str, StainButton] = {}
        self._session: Session | None = None
        self._flow = QFlowLayout(self)
        self._flow.setContentsMargins(4, 3, 4, 3)
        self._flow.setHorizontalSpacing(_GAP_PX)
        self._flow.setVerticalSpacing(3)
        policy = QSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.modes = self._switch(
            (SINGLE, "Single", "One stain at a time (Escape goes back here)"),
            (GRID, "Grid", "All aligned stains side by side, moved together (J). Paint in the single view"),
            (CHECKERBOARD, "Checker", "All aligned stains in one picture, cell by cell (K)"),
        )
        self.frame = _tool(f"As scanned {_SWAP}", _FRAME_TIP)
        self.frame.setCheckable(True)
        self.frame.clicked.connect(lambda: self._act(Looking.toggle_scanned))
        self._flow.addWidget(self.frame)
        for name, button in self.modes.items():
            button.clicked.connect(lambda _, name=name: self._act(lambda looking: looking.set_mode(name)))
        self.magnification = self._magnification()
        self.turn = self._turn()
        self._controls = [self._flow.itemAt(number).widget() for number in range(self._flow.count())]
        _keep_room(self.magnification, "0.0888x \N{MIDDLE DOT} 888 µm/px")
        _keep_room(self.turn, "-180\N{DEGREE SIGN}")
        _keep_room(self.frame, f"As scanned {_SWAP}")
        # At once, so that Qt draws it together with the slide: it puts the whole window together each time.
        workspace.viewer.scene.camera.events.zoom.connect(self._look_near)
        workspace.case_changed.connect(self.take_case)
        self.take_case()

    def _switch(self, *entries: tuple[str, str, str]) -> dict[str, QToolButton]:
        box = QFrame()
        row = QHBoxLayout(box)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(1)
        group = QButtonGroup(box)
        made = {}
        for name, text, tip in entries:
            made[name] = button = _tool(text, tip)
            button.setCheckable(True)
            group.addButton(button)
            row.addWidget(button)
        self._flow.addWidget(box)
        return made

    def _magnification(self) -> QToolButton:
        button = _tool(
            "", "How near: as of a microscope, and µm per pixel of the screen. Keys 8, 9 and 0; Home: all of it"
        )
        menu = QMenu(button)
        for magnification, key in ((4, "8"), (10, "9"), (40, "0")):
            text = f"{magnification}x   ({10 / magnification:g} µm a pixel)\t{key}"
            menu.addAction(text, lambda m=magnification: self._act(lambda looking: looking.magnify(m)))
        menu.addAction("The whole section\tHome", lambda: self._act(Looking.show_whole))
        button.setMenu(menu)
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self._flow.addWidget(button)
        return button

    def _turn(self) -> QToolButton:
        box = QFrame()
        row = QHBoxLayout(box)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(1)
        left = _tool("\N{ANTICLOCKWISE OPEN CIRCLE ARROW}", "Turn the view to the left (Q; with Shift 1 degree)")
        angle = _tool("", "How far the view is turned; a click sets it straight (Shift+Home)")
        right = _tool("\N{CLOCKWISE OPEN CIRCLE ARROW}", "Turn the view to the right (W; with Shift 1 degree)")
        left.clicked.connect(lambda: self._act(lambda looking: looking.turn_by(-TURN_DEG)))
        right.clicked.connect(lambda: self._act(lambda looking: looking.turn_by(TURN_DEG)))
        angle.clicked.connect(lambda: self._act(lambda looking: looking.turn_to(0)))
        for button in (left, angle, right):
            row.addWidget(button)
        for button in (left, right):
            button.setFixedWidth(26)
        self._flow.addWidget(box)
        return angle

    def _act(self, act: Callable[[Looking], object]) -> None:
        if self._session is not None:
            act(self._session.looking)
        self.look()

    def take_case(self) -> None:
        """Show the stains of another case, or none."""
        if self._session is not None:
            self._session.shown_changed.disconnect(self.look)
        self._session = session = self.workspace.session
        for button in self.stains.values():
            self._flow.removeWidget(button)
            button.deleteLater()
        self.stains = {}
        if session is not None:
            session.shown_changed.connect(self.look)
            for control in self._controls:
                self._flow.removeWidget(control)
            for number, stain in enumerate(session.view.stains):
                button = StainButton(stain, stain_key(number), _name_px(len(session.view.stains)))
                button.chosen.connect(self._choose)
                self.stains[stain.name] = button
                self._flow.addWidget(button)
            for control in self._controls:
                self._flow.addWidget(control)
        self.setVisible(session is not None)
        self.look()

    def _choose(self, name: str, over: bool) -> None:
        self._act(lambda looking: looking.lay_over(name) if over else looking.show(name))

    def look(self) -> None:
        """Show what is on the screen now."""
        if self._session is None:
            return
        looking = self._session.looking
        shown = self._session.layers.shown(self.workspace.viewer)
        for name, button in self.stains.items():
            seen = name in shown.stains or name == shown.scanned or (shown.checkerboard and button.stain.usable)
            paired = bool(shown.pair) and name in (shown.pair, looking.reference)
            button.show_as(shown=seen or paired, overlay=name == looking.overlay)
        self.modes[CHECKERBOARD if shown.pair else looking.mode].setChecked(True)
        scanned = looking.scanned and not shown.pair
        self.frame.setText(f"{'As scanned' if scanned else 'Aligned'} {_SWAP}")
        self.frame.setChecked(scanned)
        self.frame.setEnabled(looking.mode == SINGLE)
        self._look_near()

    def _look_near(self, *_: object) -> None:
        if self._session is None:
            return
        field = self._session.looking.field
        um = f"{field.um_per_px:.2g}" if field.um_per_px < 100 else f"{field.um_per_px:.0f}"
        self.magnification.setText(f"{field.magnification:.3g}x \N{MIDDLE DOT} {um} µm/px")
        self.turn.setText(f"{field.turn_deg:.0f}\N{DEGREE SIGN}")
        self.turn.setEnabled(field.turn_deg != 0)


class StainButton(QAbstractButton):
    """A stain: its key, its name, how far it is aligned as sign and colour, whether it is shown.

    Parameters
    ----------
    stain
        The stain in this case.
    key
        The key that shows it, or empty.
    most_px
        How much room its name may take; a longer one loses its middle.
    """

    chosen = Signal(str, bool)
    """Its name, and whether it is to be laid over what is shown."""

    def __init__(self, stain: StainView, key: str, most_px: int) -> None:
        super().__init__()
        self.stain, self.key = stain, key
        self.shown = self.overlay = False
        self.sign, self._color = SIGNS[stain.verdict]
        said = _WORDS.get(stain.verdict) or caution(stain).removeprefix(f"{stain.name}: ")
        keys = f"\n{key} shows it, Shift+{key} or a click with Shift lays it over" if key else ""
        self.setToolTip(f"{stain.name}: {said}{keys}")
        self.setAccessibleName(f"{stain.name}, {stain.verdict}")
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._font = QFont(self.font())
        self._font.setPixelSize(13)
        self._bold = QFont(self._font)
        self._bold.setBold(True)
        self._small = QFont(self._font)
        self._small.setPixelSize(11)
        self.name = QFontMetricsF(self._bold).elidedText(stain.name, Qt.TextElideMode.ElideMiddle, most_px)

    def show_as(self, *, shown: bool, overlay: bool) -> None:
        """Say whether it is on the screen."""
        if (shown, overlay) != (self.shown, self.overlay):
            self.shown, self.overlay = shown, overlay
            self.update()

    def sizeHint(self) -> QSize:
        """Wide enough for its key, its name and its sign."""
        width = 2 * _PAD_PX
        width += QFontMetricsF(self._bold).horizontalAdvance(self.name) + _GAP_PX
        width += QFontMetricsF(self._small).horizontalAdvance(self.key) + _GAP_PX
        width += QFontMetricsF(self._bold).horizontalAdvance("\N{CHECK MARK}") + 2
        return QSize(int(width) + 1, BUTTON_PX)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """A click shows it; with Shift it is laid over."""
        if self.isDown() and self.rect().contains(event.position().toPoint()):
            self.chosen.emit(self.stain.name, bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier))
        super().mouseReleaseEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Key, name, sign; a bright frame where it is shown, a broken one where it is laid over."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        frame = QColor("#8FB3EA") if self.shown or self.overlay else QColor("#4A4F5A")
        style = Qt.PenStyle.DashLine if self.overlay else Qt.PenStyle.SolidLine
        painter.setPen(QPen(frame, 2 if self.shown else 1, style))
        painter.setBrush(QColor("#45618F") if self.shown and not self.overlay else QColor("#3A3E47"))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), 3, 3)
        place = QRectF(self.rect()).adjusted(_PAD_PX, 0, -_PAD_PX, 0)
        for text, font, color in (
            (self.key, self._small, "#B4BAC4"),
            (self.name, self._bold if self.shown else self._font, "#FFFFFF"),
        ):
            painter.setFont(font)
            painter.setPen(QColor(color))
            painter.drawText(place, int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft), text)
            place.setLeft(place.left() + QFontMetricsF(font).horizontalAdvance(text) + (_GAP_PX if text else 0))
        painter.setFont(self._bold)
        painter.setPen(QColor(self._color))
        painter.drawText(place, int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight), self.sign)
        painter.end()


def _name_px(stains: int) -> int:
    """How wide a name may be: twelve long ones would take half the canvas."""
    return 140 if stains <= 6 else 84


def _keep_room(button: QToolButton, longest: str) -> None:
    """Fix a button's size for its longest text: where one changes its size, Qt lays out all of the window anew."""
    font = QFont(button.font())
    font.setPixelSize(_FONT_PX)
    font.setBold(True)
    width = math.ceil(QFontMetricsF(font).horizontalAdvance(longest)) + 6
    # By style: one of the window would undo what the button was told itself.
    button.setStyleSheet(f"min-width: {width}px; max-width: {width}px; min-height: 23px; max-height: 23px")


def _tool(text: str, tip: str) -> QToolButton:
    button = QToolButton()
    button.setText(text)
    button.setToolTip(tip)
    button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return button
