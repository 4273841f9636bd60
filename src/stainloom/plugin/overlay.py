"""What the colours on a slide mean: colour maps of classes and weights, and the legend that says so. Knows no Qt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from napari.utils.colormaps import DirectLabelColormap

from stainloom.case.lesions import LesionClass
from stainloom.case.view import CaseView, MapsView, StainView, Verdict

WEIGHT_COLORMAP = "viridis"
WEIGHT_RANGE = (0.0, 1.0)
RESEARCH_ONLY = "Research use only"
SIMULATED = "SIMULATED tissue"

SIGNS: dict[Verdict, tuple[str, str]] = {
    "reference": ("\N{BLACK CIRCLE}", "#FFFFFF"),
    "good": ("\N{CHECK MARK}", "#56D8A5"),
    "check": ("!", "#F0B23C"),
    "failed": ("\N{MULTIPLICATION SIGN}", "#FF7A4D"),
    "not aligned": ("\N{MULTIPLICATION SIGN}", "#FF7A4D"),
    "left out": ("\N{EN DASH}", "#A8A8A8"),
    "missing": ("\N{EN DASH}", "#A8A8A8"),
}
"""A sign and a colour for each verdict: a state is never told by colour alone."""


@dataclass(frozen=True)
class StainLine:
    """One stain in the legend: its key, name, verdict, and whether it is the one on the screen."""

    key: str
    name: str
    verdict: Verdict
    shown: bool


@dataclass(frozen=True)
class Swatch:
    """One colour of a map: `color` is `#rrggbb`."""

    color: str
    text: str


@dataclass(frozen=True)
class Bar:
    """A colour bar of 0 to 1: what it measures, and how its ends are to be read."""

    text: str
    low: str
    high: str


@dataclass(frozen=True)
class Legend:
    """All that the legend says, from top to bottom.

    Attributes
    ----------
    stains
        Every stain of the study, also those that are missing.
    heading
        What the swatches are; empty without swatches.
    swatches
        Classes on the screen.
    bar
        The weight on the screen, or None.
    notes
        Sentences below: what is wrong with the stain on the screen, what is simulated.
    """

    stains: tuple[StainLine, ...] = ()
    heading: str = ""
    swatches: tuple[Swatch, ...] = ()
    bar: Bar | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shown:
    """What is on the screen now.

    Attributes
    ----------
    stains
        Names of the stains shown.
    checkerboard
        Whether the aligned stains are shown in one checkerboard.
    lesions, predicted
        Whether painted labels and the class map are shown.
    weights
        Names of the stains whose weight is shown.
    scanned
        The stain that is shown as it lies on its own glass; empty where all lies on the reference.
    """

    stains: tuple[str, ...] = ()
    checkerboard: bool = False
    lesions: bool = False
    predicted: bool = False
    weights: tuple[str, ...] = ()
    scanned: str = ""


@dataclass(frozen=True)
class Present:
    """Which class ids a case has at all, found once: looking through the rasters takes 40 ms."""

    painted: frozenset[int] = frozenset()
    predicted: frozenset[int] = frozenset()

    @classmethod
    def of(cls, view: CaseView) -> Present:
        """Look through the rasters of a case."""
        return cls(_ids(view.labels), _ids(None if view.maps is None else view.maps.class_map))


def _ids(raster: np.ndarray | None) -> frozenset[int]:
    if raster is None:
        return frozenset()
    return frozenset(np.flatnonzero(np.bincount(raster.ravel(), minlength=256)).tolist()) - {0}


def class_colormap(classes: Iterable[LesionClass]) -> DirectLabelColormap:
    """The colours of class ids; 0 and unknown ids are transparent."""
    clear = np.zeros(4, np.float32)
    colors: defaultdict[int | None, np.ndarray] = defaultdict(lambda: clear)
    colors[None] = colors[0] = clear
    for lesion in classes:
        colors[lesion.id] = np.array([*lesion.rgb, 255], np.float32) / 255
    return DirectLabelColormap(color_dict=colors)


def class_colours(colormap: DirectLabelColormap) -> np.ndarray:
    """The colours of class ids 0 to 255 as (256, 3) uint8."""
    return np.array([np.round(np.asarray(colormap.map(number))[:3] * 255) for number in range(256)], np.uint8)


def predicted_weight(maps: MapsView, stain: str) -> np.ndarray:
    """The weight of a stain, (rows, cols) float32, 0 to 1; NaN, which is drawn transparent, where nothing was predicted."""
    return np.where(maps.class_map > 0, maps.weights[stain], np.nan).astype(np.float32)


def stain_key(number: int) -> str:
    """The key that shows a stain, counted from 0: F1 to F12, then none."""
    return f"F{number + 1}" if number < 12 else ""


def legend(view: CaseView, shown: Shown, present: Present) -> Legend:
    """The legend of a case for what is on the screen now."""
    lines = tuple(
        StainLine(stain_key(n), stain.name, stain.verdict, _looked_at(stain, shown))
        for n, stain in enumerate(view.stains)
    )
    heading, swatches = _swatches(view, shown, present)
    return Legend(lines, heading, swatches, _bar(shown), _notes(view, shown))


def _looked_at(stain: StainView, shown: Shown) -> bool:
    if stain.aligned is None:
        return False
    return (shown.checkerboard and stain.usable) or stain.name in shown.stains or stain.name == shown.scanned


def _swatches(view: CaseView, shown: Shown, present: Present) -> tuple[str, tuple[Swatch, ...]]:
    ids: set[int] = set()
    headings = []
    classes: Sequence[LesionClass] = view.study.lesions
    if shown.lesions and view.labels is not None:
        ids |= present.painted
        headings.append("painted")
    if shown.predicted and view.maps is not None:
        ids |= present.predicted
        classes = _joined(classes, view.maps.classes)
        headings.append(f"predicted by run {view.maps.run}")
    swatches = tuple(Swatch(lesion.color, _called(lesion)) for lesion in classes if lesion.id in ids)
    return ("Classes " + " and ".join(headings) if swatches else ""), swatches


def _called(lesion: LesionClass) -> str:
    return lesion.name if lesion.name.lower().startswith(lesion.short.lower()) else f"{lesion.short}  {lesion.name}"


def _joined(first: Sequence[LesionClass], second: Sequence[LesionClass]) -> list[LesionClass]:
    known = {lesion.id for lesion in first}
    return [*first, *(lesion for lesion in second if lesion.id not in known)]


def _bar(shown: Shown) -> Bar | None:
    if not shown.weights:
        return None
    return Bar("Weight of " + ", ".join(shown.weights), "0  ignored", "fully used  1")


def _notes(view: CaseView, shown: Shown) -> tuple[str, ...]:
    notes = []
    if shown.scanned:
        notes.append(
            f"{shown.scanned} as it lies on its own glass. Paint is laid on {view.reference.name}: H goes back"
        )
    for stain in view.stains:
        doubted = not stain.trusted or (stain.verdict == "reference" and stain.message)
        if doubted and (stain.aligned is None or _looked_at(stain, shown)):
            notes.append(caution(stain))
    if view.maps is not None and view.maps.realigned and (shown.predicted or shown.weights):
        notes.append(f"Predicted before {', '.join(view.maps.realigned)} changed: predict again")
    if view.simulated:
        notes.append(SIMULATED)
    notes.append(RESEARCH_ONLY)
    return tuple(notes)


def caution(stain: StainView) -> str:
    """One sentence on why a stain is not to be trusted here."""
    plain = {
        "check": "its alignment needs a check",
        "failed": "its alignment failed, so places do not match",
        "not aligned": "it is not aligned yet and lies as on its own glass",
        "left out": "it was left out of this case",
        "missing": "the case has no slide of it",
        "reference": "",
        "good": "",
    }[stain.verdict]
    return f"{stain.name}: {stain.message or plain}"
