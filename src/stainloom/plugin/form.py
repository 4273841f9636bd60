"""Settings to form to settings: one row a field, a wrong value said beside it while it is typed."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QGridLayout,
    QLabel,
    QLineEdit,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from stainloom.settings import Field, check, describe

_UNITS = {"um": "µm", "px": "px", "deg": "degrees", "mm2": "mm²", "mb": "MB", "bytes": "bytes", "minutes": "minutes"}
_WRONG = "#F0B23C"
_TICKS_A_LINE = 3
_MORE, _LESS = "More settings", "Fewer settings"

_USUAL = "The usual values suit most studies. What one does is said where the mouse rests on it."
_UNLIMITED = "no limit"
"""What a 0 is called where the help of a field says so."""


def label_of(field: Field) -> str:
    """A setting's name for a reader, its unit behind a comma: `turn_most_deg` is *Turn most, degrees*."""
    words = field.name.split("_")
    per = words[-3:] == ["um", "per", "px"]
    unit = "µm per px" if per else _UNITS.get(words[-1], "")
    rest = words[:-3] if per else words[:-1] if unit else words
    if not rest:
        return unit
    text = " ".join(rest).capitalize()
    return f"{text}, {unit}" if unit else text


def _help_of(field: Field) -> str:
    return re.sub(r"\bum\b", _UNITS["um"], field.help)


def bounds_of(field: Field) -> str:
    """What a field may hold, in words; empty where anything goes."""
    if field.choices:
        return "one of " + ", ".join(str(choice) for choice in field.choices)
    if field.least is None or field.most is None:
        return ""
    number = "whole numbers" if field.kind is int else "numbers"
    return f"{number} from {field.least:g} to {field.most:g}"


class _Ticks(QWidget):
    """Names to tick."""

    changed = Signal()

    def __init__(self, names: Sequence[str], ticked: Sequence[str]) -> None:
        super().__init__()
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(2)
        self.boxes = {name: QCheckBox(name) for name in names}
        for number, (name, box) in enumerate(self.boxes.items()):
            box.setChecked(name in ticked)
            box.toggled.connect(self.changed)
            grid.addWidget(box, number // _TICKS_A_LINE, number % _TICKS_A_LINE)

    @property
    def ticked(self) -> tuple[str, ...]:
        """In the order of the names."""
        return tuple(name for name, box in self.boxes.items() if box.isChecked())

    def tick(self, names: Sequence[str]) -> None:
        """Tick these and no others."""
        for name, box in self.boxes.items():
            box.setChecked(name in names)


class _Row(QWidget):
    """One field: its editor, and what is wrong with what it holds."""

    changed = Signal()

    def __init__(self, field: Field) -> None:
        super().__init__()
        self.field = field
        self.problem = ""
        self.editor = _editor(field)
        self._message = QLabel()
        self._message.setWordWrap(True)
        self._message.setStyleSheet(f"color: {_WRONG}")
        self._message.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.editor)
        layout.addWidget(self._message)
        tip = "\n".join(
            part for part in (_help_of(field), bounds_of(field), f"Usually: {_text(field.default)}") if part
        )
        self.editor.setToolTip(tip)
        self.editor.setAccessibleName(label_of(field))
        self.put(field.default)
        _changes(self.editor).connect(self._look)

    def put(self, value: Any) -> None:
        """Show a value."""
        if isinstance(self.editor, _Ticks):
            self.editor.tick(tuple(self.editor.boxes) if value is None else value)
        elif isinstance(self.editor, QCheckBox):
            self.editor.setChecked(bool(value))
        elif isinstance(self.editor, QComboBox):
            self.editor.setCurrentIndex(self.field.choices.index(value))
        else:
            self.editor.setText(_UNLIMITED if value == 0 and self._may_be_unlimited else _text(value))

    @property
    def _may_be_unlimited(self) -> bool:
        return f"0: {_UNLIMITED}" in self.field.help

    def value(self) -> Any:
        """What the editor holds; `ValueError` in the user's words where it is nothing that the field can take."""
        if isinstance(self.editor, _Ticks):
            return self._ticked(self.editor)
        if isinstance(self.editor, QCheckBox):
            return self.editor.isChecked()
        if isinstance(self.editor, QComboBox):
            return self.field.choices[self.editor.currentIndex()]
        text = self.editor.text().strip()
        if self.field.many:
            parts = [part.strip() for part in text.split(",") if part.strip()]
            return tuple(self._one(part) for part in parts) if parts or not self.field.optional else None
        if not text and self.field.optional:
            return None
        if text.lower() in ("", _UNLIMITED) and self._may_be_unlimited:
            return self.field.kind(0)
        return self._one(text)

    def offer(self, names: Sequence[str]) -> bool:
        """Let these be ticked instead of typed; whether that is another choice than before."""
        ticks = self.editor if isinstance(self.editor, _Ticks) else None
        if ticks is not None and tuple(ticks.boxes) == tuple(names):
            return False
        before = names if ticks is None or self.value() is None else ticks.ticked
        old, self.editor = self.editor, _Ticks(names, before)
        self.editor.setToolTip(old.toolTip())
        self.editor.setAccessibleName(old.accessibleName())
        self.layout().replaceWidget(old, self.editor)
        old.hide()
        old.deleteLater()
        self.editor.changed.connect(self._look)
        return True

    def _ticked(self, ticks: _Ticks) -> tuple[str, ...] | None:
        if not ticks.ticked:
            raise ValueError("Tick at least one")
        return None if self.field.optional and len(ticks.ticked) == len(ticks.boxes) else ticks.ticked

    def say(self, problem: str) -> None:
        """Say what is wrong, or with an empty text nothing."""
        self.problem = problem
        self._message.setText(f"! {problem}" if problem else "")
        self._message.setVisible(bool(problem))

    def _one(self, text: str) -> Any:
        if self.field.kind is str:
            return text
        try:
            number = self.field.kind(text.replace(",", "."))
        except ValueError:
            raise ValueError(f"Takes {bounds_of(self.field) or 'a number'}") from None
        low, high = self.field.least, self.field.most
        if not math.isfinite(number) or (low is not None and number < low) or (high is not None and number > high):
            raise ValueError(f"Takes {bounds_of(self.field)}")
        return number

    def _look(self, *_: Any) -> None:
        try:
            self.value()
        except ValueError as error:
            self.say(str(error))
        else:
            self.say("")
        self.changed.emit()


class SettingsForm(QWidget):
    """A form of a settings dataclass: a few fields at once, the others under *More settings*.

    Parameters
    ----------
    settings
        The dataclass.
    basic
        Fields that are always shown, at most six, in this order.
    hidden
        Fields that somebody else sets; they are not shown.
    """

    changed = Signal()
    """Another value, or another problem."""

    def __init__(self, settings: type, basic: Iterable[str] = (), hidden: Iterable[str] = ()) -> None:
        super().__init__()
        self._settings = settings
        fields = {field.name: field for field in describe(settings) if field.name not in set(hidden)}
        first = list(basic)
        if unknown := [name for name in first if name not in fields]:
            raise ValueError(f"{settings.__name__} has no such field to show: {unknown}")
        self.rows = {name: _Row(fields[name]) for name in [*first, *(n for n in fields if n not in first)]}
        self._together = QLabel()
        self._together.setWordWrap(True)
        self._together.setStyleSheet(f"color: {_WRONG}")
        self._together.hide()
        self._more = QToolButton()
        self._more.setText(_MORE)
        self._more.setCheckable(True)
        self._more.setAutoRaise(True)
        self._rest = QWidget()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(_form(self.rows[name] for name in first))
        rest = [row for name, row in self.rows.items() if name not in first]
        if rest:
            layout.addWidget(self._more)
            inner = QVBoxLayout(self._rest)
            inner.setContentsMargins(0, 0, 0, 0)
            usual = QLabel(_USUAL)
            usual.setWordWrap(True)
            inner.addWidget(usual)
            inner.addLayout(_form(rest))
            layout.addWidget(self._rest)
        layout.addWidget(self._together)
        self._rest.hide()
        self._more.toggled.connect(self._unfold)
        for row in self.rows.values():
            row.changed.connect(self._look)

    @property
    def problem(self) -> str:
        """What keeps these values from being settings, one sentence; empty where nothing does."""
        for row in self.rows.values():
            if row.problem:
                return f"{label_of(row.field)}: {row.problem}"
        try:
            self.settings()
        except ValueError as error:
            return str(error)
        return ""

    def settings(self) -> Any:
        """The settings that the form holds; `ValueError` where it holds none."""
        return check(self._settings, {name: row.value() for name, row in self.rows.items()})

    def changes(self) -> dict[str, Any]:
        """The values that differ from the usual ones, by field: what a command line has to say."""
        values = {name: row.value() for name, row in self.rows.items()}
        return {name: value for name, value in values.items() if value != self.rows[name].field.default}

    def put(self, values: Mapping[str, Any]) -> None:
        """Show these values; fields that they lack keep theirs."""
        for name in values.keys() & self.rows.keys():
            self.rows[name].put(values[name])

    def offer(self, name: str, choices: Sequence[str]) -> None:
        """Let a field of many take these by ticks; without a choice it stays as it is."""
        if choices and self.rows[name].offer(choices):
            self.rows[name]._look()

    def reset(self) -> None:
        """Show the usual values."""
        for row in self.rows.values():
            row.put(row.field.default)

    def _unfold(self, shown: bool) -> None:
        self._more.setText(_LESS if shown else _MORE)
        self._rest.setVisible(shown)

    def _look(self) -> None:
        # A wrong value that is folded away would make Run grey for no reason that anybody sees.
        if any(row.problem and self._rest.isAncestorOf(row) for row in self.rows.values()):
            self._more.setChecked(True)
        alone = any(row.problem for row in self.rows.values())
        together = "" if alone else self.problem
        self._together.setText(f"! {together}" if together else "")
        self._together.setVisible(bool(together))
        self.changed.emit()


def options(changes: Mapping[str, Any]) -> list[str]:
    """Changed settings as words of the command line."""
    words: list[str] = []
    for name, value in changes.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        elif isinstance(value, tuple):
            words += [f"--{option}", *(str(item) for item in value)]
        elif value is not None:
            words += [f"--{option}", str(value)]
    return words


def _form(rows: Iterable[_Row]) -> QFormLayout:
    form = QFormLayout()
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
    for row in rows:
        label = QLabel(label_of(row.field))
        label.setToolTip(row.editor.toolTip())
        label.setBuddy(row.editor)
        form.addRow(label, row)
    return form


def _editor(field: Field) -> QWidget:
    if field.kind is bool and not field.many:
        return QCheckBox()
    if field.choices and not field.many:
        box = QComboBox()
        box.addItems([str(choice) for choice in field.choices])
        return box
    line = QLineEdit()
    line.setPlaceholderText("all" if field.optional and field.many else bounds_of(field))
    return line


def _changes(editor: QWidget) -> Any:
    if isinstance(editor, QCheckBox):
        return editor.toggled
    if isinstance(editor, QComboBox):
        return editor.currentIndexChanged
    return editor.textChanged


def _text(value: Any) -> str:
    if value is None or value is dataclasses.MISSING:
        return ""
    if isinstance(value, (tuple, list)):
        return ", ".join(_text(item) for item in value)
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else repr(value)
