"""What the colours on a slide mean: colour maps of classes and weights, and the legend that says so. Knows no Qt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from napari.utils.colormaps import DirectLabelColormap

from stainloom.case.aligned import Look
from stainloom.case.lesions import LesionClass
from stainloom.case.view import CaseView, MapsView, Shares, StainView, Verdict
from stainloom.jobs.opening import OUT_OF_FOCUS
from stainloom.wording import listed

WEIGHT_COLORMAP = "viridis"
WEIGHT_RANGE = (0.0, 1.0)
OVERLAY_KEY = "O"
NEXT_OVERLAY_KEY = "Shift-O"
RESEARCH_ONLY = "Research use only"
SIMULATED = "SIMULATED tissue"

SIGNS: dict[Verdict, tuple[str, str]] = {
    "reference": ("\N{BLACK CIRCLE}", "#FFFFFF"),
    "good": ("\N{CHECK MARK}", "#56D8A5"),
    "check": ("!", "#F0B23C"),
    "failed": ("\N{MULTIPLICATION SIGN}", "#FF7A4D"),
    "not aligned": ("\N{WHITE CIRCLE}", "#C8CCD2"),
    "left out": ("\N{EN DASH}", "#A8A8A8"),
    "missing": ("\N{EN DASH}", "#A8A8A8"),
}
"""A sign and a colour for each verdict: a state is never told by colour alone."""


MapKind = Literal["class", "probability", "weight", "certainty"]


@dataclass(frozen=True)
class Overlay:
    """One map that can be laid over the slides.

    Attributes
    ----------
    kind
        `class`: the predicted class; `probability` of one class; `weight` of one stain; `certainty`: the highest
        probability.
    of
        Which class (by its short name) or which stain.
    """

    kind: MapKind
    of: str = ""

    @property
    def name(self) -> str:
        """What its layer is called."""
        return {"class": "Predicted class", "certainty": "Certainty"}.get(
            self.kind, f"{self.kind.capitalize()} of {self.of}"
        )

    def bar(self, ends: tuple[float, float] = WEIGHT_RANGE) -> Bar:
        """How its colours are to be read: those from one end to the other."""
        said, low, high = {
            "weight": (": how much of it the network lets through", "0  nothing", "all of it  1"),
            "probability": (", as the network says", "0  surely not", "surely  1"),
            "certainty": (": probability of the predicted class", "0", "sure  1"),
        }[self.kind]
        if ends == WEIGHT_RANGE:
            return Bar(self.name + said, low, "0.5", high)
        return Bar(
            f"{self.name}{said}. Colours spread over the weights of this case",
            f"{ends[0]:.2f}",
            f"{sum(ends) / 2:.2f}",
            f"{ends[1]:.2f}",
        )


CLASSES = Overlay("class")
"""The predicted class: the one overlay that has a colour a class."""


def overlays_of(maps: MapsView) -> tuple[Overlay, ...]:
    """All that can be laid over the slides from these maps."""
    stains = (Overlay("weight", stain) for stain in maps.weights)
    classes = (Overlay("probability", lesion.short) for lesion in maps.classes)
    return (CLASSES, Overlay("certainty"), *stains, *classes)


def overlay_values(maps: MapsView, overlay: Overlay) -> Shares:
    """What an overlay shows, (rows, cols) float32, 0 to 1; NaN, which is drawn transparent, where nothing was predicted."""
    if overlay.kind == "weight":
        values = maps.weight(overlay.of)
    elif overlay.kind == "probability":
        values = maps.probability([lesion.short for lesion in maps.classes].index(overlay.of))
    else:
        values = maps.certainty()
    values[maps.class_map == 0] = np.nan
    return values


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
    """A colour bar: what it measures, and how its ends and its middle are to be read."""

    text: str
    low: str
    middle: str
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
    overlay
        The weight, probability or certainty that is shown, or None.
    pair
        Name of the stain that is shown with the reference cell by cell; empty where none is.
    scanned
        The stain that is shown as it lies on its own glass; empty where all lies on the reference.
    ends
        The values of the overlay that have the first and the last colour.
    """

    stains: tuple[str, ...] = ()
    checkerboard: bool = False
    lesions: bool = False
    predicted: bool = False
    overlay: Overlay | None = None
    pair: str = ""
    scanned: str = ""
    ends: tuple[float, float] = WEIGHT_RANGE

    @property
    def map(self) -> bool:
        """Whether anything predicted lies over the slides: then paint is drawn as outlines."""
        return self.predicted or self.overlay is not None


@dataclass(frozen=True)
class Present:
    """Which class ids a case has at all, found once: looking through large rasters takes 40 ms."""

    painted: frozenset[int] = frozenset()
    predicted: frozenset[int] = frozenset()

    @classmethod
    def of(cls, view: CaseView, maps: MapsView | None = None) -> Present:
        """Look through the rasters of a case."""
        return cls(_ids(view.labels)).with_maps(maps)

    def with_maps(self, maps: MapsView | None) -> Present:
        """The same paint, with other maps."""
        return Present(self.painted, _ids(None if maps is None else maps.class_map))


def _ids(raster: np.ndarray | None) -> frozenset[int]:
    if raster is None:
        return frozenset()
    # Where numpy counts it copies to int64 first: eight times the raster, and a second for a whole section.
    counts = cv2.calcHist([np.ascontiguousarray(raster)], [0], None, [256], [0, 256])
    return frozenset(np.flatnonzero(counts).tolist()) - {0}


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


def stain_key(number: int) -> str:
    """The key that shows a stain, counted from 0: F1 to F12, then none."""
    return f"F{number + 1}" if number < 12 else ""


def legend(
    view: CaseView, maps: MapsView | None, shown: Shown, present: Present, colours: Look = "normalized"
) -> Legend:
    """The legend of a case, and of maps over it, for what is on the screen now."""
    lines = tuple(
        StainLine(stain_key(n), stain.name, stain.verdict, _looked_at(stain, shown))
        for n, stain in enumerate(view.stains)
    )
    heading, swatches = _swatches(view, maps, shown, present)
    bar = None if shown.overlay is None else shown.overlay.bar(shown.ends)
    return Legend(lines, heading, swatches, bar, _notes(view, maps, shown, colours))


def _looked_at(stain: StainView, shown: Shown) -> bool:
    if stain.aligned is None:
        return False
    paired = bool(shown.pair) and (stain.name == shown.pair or stain.verdict == "reference")
    boarded = shown.checkerboard and stain.usable
    return paired or boarded or stain.name in shown.stains or stain.name == shown.scanned


def _swatches(view: CaseView, maps: MapsView | None, shown: Shown, present: Present) -> tuple[str, tuple[Swatch, ...]]:
    ids: set[int] = set()
    headings = []
    classes: Sequence[LesionClass] = view.study.lesions
    if shown.lesions and view.labels is not None:
        ids |= present.painted
        headings.append("painted (outlines)" if shown.map else "painted")
    if shown.predicted and maps is not None:
        ids |= present.predicted
        classes = _joined(classes, maps.classes)
        headings.append("predicted")
    swatches = tuple(Swatch(lesion.color, _called(lesion)) for lesion in classes if lesion.id in ids)
    return ("Classes " + " and ".join(headings) if swatches else ""), swatches


def _called(lesion: LesionClass) -> str:
    return lesion.name if lesion.name.lower().startswith(lesion.short.lower()) else f"{lesion.short}  {lesion.name}"


def _joined(first: Sequence[LesionClass], second: Sequence[LesionClass]) -> list[LesionClass]:
    known = {lesion.id for lesion in first}
    return [*first, *(lesion for lesion in second if lesion.id not in known)]


def colours_said(view: CaseView, shown: Shown, colours: Look) -> str:
    """Which colours are on the screen; empty where the case has no others than the scanned ones."""
    normalized = {stain.name for stain in view.stains if stain.aligned is not None and stain.aligned.colour is not None}
    seen = [stain.name for stain in view.stains if _looked_at(stain, shown)]
    if not normalized or not seen:
        return ""
    if colours == "scanned":
        return "Colours raw"
    raw = [name for name in seen if name not in normalized]
    return f"Colours normalized; raw in {listed(raw)}" if raw else "Colours normalized"


def _notes(view: CaseView, maps: MapsView | None, shown: Shown, colours: Look) -> tuple[str, ...]:
    said = colours_said(view, shown, colours)
    notes = [said] if said else []
    if shown.scanned:
        notes.append(
            f"{shown.scanned} as it lies on its own glass. Paint is laid on {view.reference.name}: H goes back"
        )
    notes += _cautions([stain for stain in view.stains if stain.aligned is None or _looked_at(stain, shown)])
    if maps is not None and maps.outdated and shown.map:
        notes.append(f"Predicted before {', '.join(maps.outdated)} changed: predict again")
    if maps is not None and maps.without and shown.map:
        notes.append(f"Predicted without {listed(maps.without)}, which this network learned with")
    if view.simulated:
        notes.append(SIMULATED)
    notes.append(RESEARCH_ONLY)
    return tuple(notes)


def _cautions(stains: Sequence[StainView]) -> list[str]:
    """Why stains are not to be trusted: one in its own words, several that are alike in one line, which covers less."""
    doubted = [stain for stain in stains if not stain.trusted or (stain.verdict == "reference" and stain.message)]
    said = {}
    for stain in doubted:
        alike = [other.name for other in doubted if _kind(other) == _kind(stain)]
        said[_kind(stain)] = caution(stain) if len(alike) == 1 else f"{listed(alike)}: {_OF_SEVERAL[stain.verdict]}"
    return list(said.values())


def _kind(stain: StainView) -> str:
    """What stains have in common that one line may say together; one that is used as if it were missing says so itself."""
    return stain.verdict if stain.verdict in _OF_SEVERAL and not stain.message.startswith(OUT_OF_FOCUS) else stain.name


_OF_SEVERAL: dict[Verdict, str] = {
    "check": "alignments to be checked",
    "failed": "alignments failed, so places do not match",
    "not aligned": "not aligned yet, each as on its own glass: press Align",
    "left out": "left out of this case",
    "missing": "the case has no slides of them",
}


def caution(stain: StainView) -> str:
    """One sentence on why a stain is not to be trusted here."""
    plain = {
        "check": "its alignment needs a check",
        "failed": "its alignment failed, so places do not match",
        "not aligned": "it is not aligned yet and lies as on its own glass: press Align",
        "left out": "it was left out of this case",
        "missing": "the case has no slide of it",
        "reference": "",
        "good": "",
    }[stain.verdict]
    said = stain.message or plain
    return said if said.startswith(stain.name) else f"{stain.name}: {said}"
