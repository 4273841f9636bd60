"""All keys of the window: what each does, who binds it, and that they also work while a dock has the focus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QMainWindow,
    QPlainTextEdit,
    QTextEdit,
    QWidget,
)

from stainloom.plugin.looking import CHECKERBOARD, GRID, Looking
from stainloom.plugin.overlay import NEXT_OVERLAY_KEY, OVERLAY_KEY

TURN_DEG, FINE_TURN_DEG = 15.0, 1.0


@dataclass(frozen=True)
class Key:
    """A key.

    Attributes
    ----------
    press
        As napari writes it: `Shift-F2`.
    does
        What it does, in a few words.
    group
        Under which heading it is listed.
    act
        What it does to how the case is looked at; None where another part of the window, or napari, binds it.
    release
        What letting go of it does; only keys that are held have one.
    """

    press: str
    does: str
    group: str
    act: Callable[[Looking], Any] | None = None
    release: Callable[[Looking], Any] | None = None


_STAINS, _NEAR, _TURN, _PAINT = "Stains", "Near and far", "Turn", "Paint (while Lesions is the active layer)"
_MAPS = "Predicted maps"
LEGEND_KEY, NEXT_REGION_KEY = "G", "N"

VIEW_KEYS: tuple[Key, ...] = (
    Key("`", "While held: HE (the reference) in place of what is shown; over HE the stain before", _STAINS,
        Looking.flicker_on, Looking.flicker_off),
    Key("H", "Aligned, or as scanned: the stain on its own glass, and back", _STAINS, Looking.toggle_scanned),
    Key("J", "All aligned stains side by side, and back", _STAINS, lambda looking: looking.toggle(GRID)),
    Key("K", "All aligned stains cell by cell (checkerboard), and back", _STAINS, lambda looking: looking.toggle(CHECKERBOARD)),
    Key("Escape", "One step back: out of side by side, checkerboard, overlay, as scanned", _STAINS, Looking.leave),
    Key("8", "4x (2.5 µm a pixel of the screen), about the mouse", _NEAR, lambda looking: looking.magnify(4)),
    Key("9", "10x (1 µm a pixel)", _NEAR, lambda looking: looking.magnify(10)),
    Key("0", "40x (0.25 µm a pixel)", _NEAR, lambda looking: looking.magnify(40)),
    Key("Home", "The whole section, as it lies", _NEAR, Looking.show_whole),
    Key("Q", f"Turn the view {TURN_DEG:.0f} degrees to the left", _TURN, lambda looking: looking.turn_by(-TURN_DEG)),
    Key("W", f"Turn the view {TURN_DEG:.0f} degrees to the right", _TURN, lambda looking: looking.turn_by(TURN_DEG)),
    Key("Shift-Q", "Turn it 1 degree to the left", _TURN, lambda looking: looking.turn_by(-FINE_TURN_DEG)),
    Key("Shift-W", "Turn it 1 degree to the right", _TURN, lambda looking: looking.turn_by(FINE_TURN_DEG)),
    Key("Shift-Home", "Straight again", _TURN, lambda looking: looking.turn_to(0)),
)  # fmt: skip
"""Keys of how a case is looked at, without those of its stains."""

ELSEWHERE: tuple[Key, ...] = (
    Key(LEGEND_KEY, "The legend on the slide: folded, and back", _STAINS),
    Key("Space", "While held: drag the slide, whatever tool is chosen", _NEAR),
    Key("1 to 9", "The class to paint with", _PAINT),
    Key("P", "Brush; with the right button draw around a place to fill it", _PAINT),
    Key("E", "Eraser", _PAINT),
    Key("F", "Fill", _PAINT),
    Key("L", "Pick the class under the mouse", _PAINT),
    Key("Z", "Move the slide", _PAINT),
    Key("[ and ]", "Smaller and larger brush", _PAINT),
    Key(
        "Ctrl+Z, Ctrl+Shift+Z",
        "Take a stroke back (one from before the case was opened is asked about); make it again",
        _PAINT,
    ),
    Key(OVERLAY_KEY, "The map over the slides, off and on again", _MAPS),
    Key(NEXT_OVERLAY_KEY, "The next map: class, probabilities, weights", _MAPS),
    Key(NEXT_REGION_KEY, "The next region of the list in Review", _MAPS),
)
"""Keys that others bind."""


def stain_keys(names: Sequence[str]) -> Iterator[Key]:
    """The keys of the stains of a case: F1 to F12 show one, with Shift they lay it over."""
    for number, name in enumerate(names[:12], 1):
        yield Key(f"F{number}", f"Show {name}", _STAINS, lambda looking, name=name: looking.show(name))
        yield Key(
            f"Shift-F{number}",
            f"Lay {name} over, half transparent",
            _STAINS,
            lambda looking, name=name: looking.lay_over(name),
        )


def listed(names: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """All keys and what they do, by heading, for people; the stains' in two lines."""
    last = f"F{min(12, max(1, len(names)))}"
    rows: dict[str, list[tuple[str, str]]] = {
        _STAINS: [
            (f"F1 to {last}", f"Show a stain: {', '.join(names[:12])}" if names else "Show a stain"),
            (f"Shift+F1 to Shift+{last}", "Lay a stain over, half transparent; again takes it off"),
        ]
    }
    for key in (*VIEW_KEYS, *ELSEWHERE):
        rows.setdefault(key.group, []).append((key.press.replace("Shift-", "Shift+"), key.does))
    return rows


def bind(viewer: Any, looking: Looking, keys: Sequence[Key]) -> Callable[[], None]:
    """Bind keys to a viewer; what comes back takes them off again.

    Notes
    -----
    The manifest's key bindings do nothing in napari 0.9.2, so keys are bound here. napari does not repeat a held key.
    """
    bound = [key for key in keys if key.act is not None]
    for key in bound:
        viewer.bind_key(key.press, _held(key, looking) if key.release else _pressed(key, looking), overwrite=True)

    def unbind() -> None:
        for key in bound:
            viewer.bind_key(key.press, None, overwrite=True)

    return unbind


def _pressed(key: Key, looking: Looking) -> Callable[[Any], None]:
    def act(_: Any) -> None:
        key.act(looking)

    return act


def _held(key: Key, looking: Looking) -> Callable[[Any], Iterator[None]]:
    def act(_: Any) -> Iterator[None]:
        key.act(looking)
        yield
        key.release(looking)

    return act


_TYPED_IN = (QLineEdit, QAbstractSpinBox, QTextEdit, QPlainTextEdit)
_NEVER_TEXT = {Qt.Key.Key_F1.value + number for number in range(12)}


class KeysEverywhere(QObject):
    """Hands the keys of the view to the canvas while a button, a list or a slider of a dock has the focus.

    Parameters
    ----------
    window
        The main window.
    canvas
        Where napari listens to keys.

    Notes
    -----
    A field that is typed in keeps its letters; F1 to F12 are never text. Only the widget with the focus is listened to.
    """

    def __init__(self, window: QMainWindow, canvas: QWidget) -> None:
        super().__init__(window)
        self._window, self._canvas = window, canvas
        self._watched: QWidget | None = None
        ours = [*(key.press for key in VIEW_KEYS), LEGEND_KEY, NEXT_REGION_KEY, OVERLAY_KEY, NEXT_OVERLAY_KEY]
        self._codes = {_code(press) for press in ours} | {
            (code, shift) for code in _NEVER_TEXT for shift in (False, True)
        }
        QApplication.instance().focusChanged.connect(self._focus)
        window.installEventFilter(self)

    def close(self) -> None:
        """Listen no longer."""
        QApplication.instance().focusChanged.disconnect(self._focus)
        self._unwatch()
        self._window.removeEventFilter(self)
        # Qt keeps this object as long as the window, and it must not keep the window.
        del self._window, self._canvas

    def _unwatch(self) -> None:
        if self._watched is not None:
            self._watched.removeEventFilter(self)
            self._watched.destroyed.disconnect(self._forget)
            self._watched = None

    def _focus(self, before: QWidget | None, now: QWidget | None) -> None:
        self._unwatch()
        inside = now is not None and now.window() is self._window and now is not self._window
        if inside and isinstance(before, QAbstractButton):
            QTimer.singleShot(0, lambda: self._leave_gray(before))
        if inside and not (self._canvas is now or self._canvas.isAncestorOf(now)):
            self._watched = now
            now.destroyed.connect(self._forget)
            now.installEventFilter(self)

    def _leave_gray(self, button: QAbstractButton) -> None:
        """Qt gives the focus of a button that turns gray to its neighbour: a list whose choice the next letter would change."""
        if not (isalive(self) and isalive(button) and hasattr(self, "_canvas")) or button.isEnabled():
            return
        if isinstance(QApplication.focusWidget(), (*_TYPED_IN, QComboBox, QAbstractItemView)):
            self._canvas.setFocus()

    def _forget(self) -> None:
        self._watched = None

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Take the keys of the view from the widget with the focus."""
        if event.type() not in (QEvent.Type.KeyPress, QEvent.Type.KeyRelease) or not isinstance(event, QKeyEvent):
            return False
        shift = event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        if shift not in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier):
            return False
        if (event.key(), bool(shift)) not in self._codes:
            return False
        typed_in = isinstance(watched, _TYPED_IN) or (isinstance(watched, QComboBox) and watched.isEditable())
        if typed_in and event.key() not in _NEVER_TEXT:
            return False
        QApplication.sendEvent(self._canvas, event)
        return True


def _code(press: str) -> tuple[int, bool]:
    name = press.removeprefix("Shift-")
    special = {"`": Qt.Key.Key_QuoteLeft, "Escape": Qt.Key.Key_Escape, "Home": Qt.Key.Key_Home}
    found = special.get(name) or getattr(Qt.Key, f"Key_{name}")
    return found.value, press.startswith("Shift-")
