"""Which map is laid over the slides, and how strongly."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QSizePolicy, QSlider, QWidget

from stainloom.case.view import MapsView
from stainloom.plugin.overlay import NEXT_OVERLAY_KEY, OVERLAY_KEY, Overlay

_KINDS = (
    ("Nothing", None),
    ("Predicted class", "class"),
    ("Certainty (the highest probability)", "certainty"),
    ("Probability of one class", "probability"),
    ("Weight of one stain", "weight"),
)


class OverlayChooser(QWidget):
    """A box for the kind of map, one for the class or stain where there is one to choose, and a slider.

    Notes
    -----
    `put` shows what is so and emits nothing; only what the user does is `chosen` or `opacity_changed`.
    """

    chosen = Signal(object)
    """An `Overlay`, or None for nothing."""
    opacity_changed = Signal(float)
    spread_chosen = Signal(bool)
    """Whether the colours of the weights are spread over those that the case has."""

    def __init__(self) -> None:
        super().__init__()
        self.kind, self.of = QComboBox(), QComboBox()
        for text, kind in _KINDS:
            self.kind.addItem(text, kind)
        self.kind.setToolTip(
            f"{OVERLAY_KEY} takes the map off and lays it over again; {NEXT_OVERLAY_KEY} shows the next"
        )
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setRange(5, 100)
        for box in (self.kind, self.of):
            box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        for editor, name in ((self.kind, "Show"), (self.of, "of"), (self.opacity, "Opacity")):
            editor.setAccessibleName(name)
        self._form = QFormLayout(self)
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        self._form.addRow("Show", self.kind)
        self._form.addRow("of", self.of)
        self._form.addRow("Opacity", self.opacity)
        self.spread = QCheckBox()
        self.spread.setToolTip(
            "Shows where weights differ when they are all alike. The ends are the same for every stain of this case"
        )
        self.spread.toggled.connect(self.spread_chosen)
        self._form.addRow(self.spread)
        self._ends: tuple[float, float] | None = None
        self._names: dict[str, tuple[str, ...]] = {}
        self.kind.activated.connect(self._choose_kind)
        self.of.activated.connect(self._choose)
        self.opacity.valueChanged.connect(lambda value: self.opacity_changed.emit(value / 100))
        self.put(None, None, 0.6)

    def put(self, maps: MapsView | None, shown: Overlay | None, opacity: float) -> None:
        """Show what can be chosen, and what is."""
        self.setEnabled(maps is not None)
        self._names = {}
        if maps is not None:
            self._names = {"probability": tuple(lesion.short for lesion in maps.classes), "weight": tuple(maps.weights)}
        kind = None if shown is None else shown.kind
        self.kind.setCurrentIndex([entry for _, entry in _KINDS].index(kind))
        self._fill(kind, "" if shown is None else shown.of)
        self.opacity.blockSignals(True)
        self.opacity.setValue(round(opacity * 100))
        self.opacity.blockSignals(False)

    def offer_spread(self, ends: tuple[float, float] | None) -> None:
        """Between which weights colours can be spread; None while nobody knows."""
        self._ends = ends
        if ends is not None:
            self.spread.setText(f"Spread the colours over {ends[0]:.2f} to {ends[1]:.2f}")
        self._show_spread()

    def _show_spread(self) -> None:
        self._form.setRowVisible(self.spread, self._ends is not None and self.kind.currentData() == "weight")

    def _fill(self, kind: str | None, of: str) -> None:
        names = self._names.get(kind or "", ())
        if tuple(self.of.itemText(number) for number in range(self.of.count())) != names:
            self.of.clear()
            self.of.addItems(names)
        if of in names:
            self.of.setCurrentIndex(names.index(of))
        self._form.setRowVisible(self.of, bool(names))
        self._show_spread()

    def _choose_kind(self) -> None:
        self._fill(self.kind.currentData(), "")
        self._choose()

    def _choose(self) -> None:
        kind = self.kind.currentData()
        self.chosen.emit(
            None if kind is None else Overlay(kind, self.of.currentText() if self._names.get(kind) else "")
        )
