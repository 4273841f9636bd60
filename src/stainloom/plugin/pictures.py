"""Pictures of the window, each with a sentence on what it proves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Layer

from stainloom.case.aligned import AlignedStain
from stainloom.case.resample import resample_labels
from stainloom.case.view import StainView
from stainloom.geometry import size_at, size_um, whole
from stainloom.plugin import layers as case_layers
from stainloom.plugin._napari import main_window, outline_labels, photograph, settle
from stainloom.plugin.layers import checkerboard_cell_um, lesion_extent_um, place
from stainloom.plugin.overlay import CLASSES, Overlay, class_colormap
from stainloom.plugin.pyramid import ReferenceGrid, checkerboard_turn, stain_levels
from stainloom.plugin.session import Session

WINDOW_PX, SMALL_PX = (1760, 1000), (1280, 800)
"""The window's usual size, and the least one in which every dock has its room."""

_TEXT_COLOR = "#101010"


@dataclass(frozen=True)
class Picture:
    """A photograph of the window.

    Attributes
    ----------
    name
        File name.
    caption
        One sentence on what it proves.
    png
        The file's bytes.
    """

    name: str
    caption: str
    png: bytes


def take_pictures(session: Session) -> Iterator[Picture]:
    """Photograph what a case can show: stains aligned, labels carried, class map, one weight map.

    Parameters
    ----------
    session
        A case in a window; its layers are as before when the last picture was taken.

    Yields
    ------
    One picture of each kind for which the case has something to show: without paint no labels, without a prediction no
    maps.
    """
    main_window(session.viewer).resize(*WINDOW_PX)
    settle(session.viewer)
    visible = {layer: layer.visible for layer in session.layers}
    overlay = session.overlay.shown
    try:
        for take in (_aligned, _labels, _classes, _weights):
            for layer in session.layers:
                layer.visible = False
            yield from take(session)
    finally:
        for layer in [layer for layer in session.layers if layer not in visible]:
            session.viewer.layers.remove(layer)
        session.show_overlay(overlay, now=True)
        for layer, was in visible.items():
            layer.visible = was


def _aligned(session: Session) -> Iterator[Picture]:
    if session.layers.checkerboard is None:
        return
    session.show_checkerboard()
    cells = _cell_names(session)
    session.viewer.add_layer(cells)
    session.viewer.layers.selection.active = session.layers.checkerboard
    height, width = _reference_um(session)
    session.look_at((0.25 * height, 0.25 * width, 0.75 * height, 0.75 * width))
    present = [stain for stain in session.view.stains if stain.aligned is not None and stain.usable]
    doubtful = [stain.name for stain in present if not stain.trusted]
    trusted = [stain.name for stain in present if stain.trusted]
    caption = (
        f"{len(present)} of {len(session.view.stains)} stains cell by cell on the reference grid: where a stain is aligned, layers of tissue and "
        f"edges run on from cell to cell. Aligned: {', '.join(trusted)}"
        + (f"; to be checked, and marked so: {', '.join(doubtful)}." if doubtful else ".")
    )
    yield Picture("aligned.png", _said(session, caption), photograph(session.viewer))
    session.viewer.layers.remove(cells)


def _cell_names(session: Session) -> Layer:
    grid = ReferenceGrid.of(session.view.reference.pyramid)
    cell = checkerboard_cell_um(grid)
    height, width = _reference_um(session)
    names = [s.name if s.trusted else f"{s.name} !" for s in session.view.stains if s.aligned is not None and s.usable]
    cells = [(row, col) for row in range(int(np.ceil(height / cell))) for col in range(int(np.ceil(width / cell)))]
    words = [names[checkerboard_turn(row, col, len(names))] for row, col in cells]
    return _words("Stain of each cell", [((row + 0.04) * cell, (col + 0.04) * cell) for row, col in cells], words)


def _words(name: str, places_um: list[tuple[float, float]], words: list[str], color: str = _TEXT_COLOR) -> Layer:
    return Layer.create(
        np.array(places_um),
        {
            "name": name,
            "size": 1,
            "face_color": "transparent",
            "border_color": "transparent",
            "opacity": 1.0,
            "features": {"word": words},
            "text": {"string": "{word}", "size": 11, "color": color, "anchor": "lower_left"},
            "units": case_layers.UNITS,
        },
        "points",
    )


def _labels(session: Session) -> Iterator[Picture]:
    extent = lesion_extent_um(session.view)
    other = _most_telling(session)
    if session.layers.lesions is None or extent is None or other is None:
        return
    session.show_stain(session.view.reference.name)
    session.layers.lesions.visible = True
    height, width = _reference_um(session)
    shift = width * 1.04
    beside = _carried_beside(session, other, shift)
    for layer in beside:
        session.viewer.add_layer(layer)
    session.viewer.layers.selection.active = session.layers.lesions
    own = size_um(other.aligned.pyramid.levels[0], other.aligned.pyramid.um_per_px[0])
    # Empty space below, so that the legend stands under the slides and not on them.
    session.look_at((-0.05 * height, 0.0, 1.5 * max(height, own[0]), shift + own[1]))
    outline_labels(session.viewer, beside[1], True)
    caption = (
        f"Left, lesions painted on {session.view.reference.name}; right, the same lesions carried through the alignment "
        f"onto {other.name} as it lies on its own glass, turned and bent: nobody painted a second time."
    )
    yield Picture("labels.png", _said(session, caption), photograph(session.viewer))
    for layer in beside:
        session.viewer.layers.remove(layer)


def _most_telling(session: Session) -> StainView | None:
    """The aligned stain to show paint carried to: a trusted one where there is one."""
    moved = [s for s in session.view.stains if s.aligned is not None and s.aligned.warp is not None]
    return next((stain for stain in moved if stain.trusted), moved[0] if moved else None)


def _carried_beside(session: Session, stain: StainView, shift_um: float) -> list[Layer]:
    aligned, view = stain.aligned, session.view
    grid = ReferenceGrid.of(aligned.pyramid)
    own = AlignedStain(stain.name, aligned.pyramid, None, aligned.colour)
    scale = view.label_um_per_px
    box = whole(size_at(size_um(aligned.pyramid.levels[0], aligned.pyramid.um_per_px[0]), scale))
    carried = resample_labels(view.labels, scale, aligned.warp.inverse(), box, scale)
    glass = Layer.create(
        stain_levels(own, grid, session.renderer),
        {
            "name": f"{case_layers.stain_layer_name(stain)} on its own glass",
            "rgb": True,
            "multiscale": True,
            "interpolation2d": "linear",
            **place(grid.um_per_px[0], (0.0, shift_um)),
        },
        "image",
    )
    outlines = Layer.create(
        carried,
        {
            "name": f"{case_layers.LESIONS} in {stain.name}",
            "colormap": class_colormap(view.study.lesions),
            "opacity": 1.0,
            **place(scale, (0.0, shift_um)),
        },
        "labels",
    )
    outlines.editable = False
    height, _ = _reference_um(session)
    heads = [
        f"{view.reference.name}: painted",
        f"{stain.name}: carried" + ("" if stain.trusted else f" ({stain.verdict})"),
    ]
    words = _words("Heads", [(-0.045 * height, 0.0), (-0.045 * height, shift_um)], heads, "white")
    return [glass, outlines, words]


def _classes(session: Session) -> Iterator[Picture]:
    if session.maps is None:
        return
    session.show_stain(session.view.reference.name)
    painted = session.layers.lesions
    if painted is not None:
        painted.visible = True  # as outlines: what somebody called it, around what the network calls it
    session.show_overlay(CLASSES)
    session.viewer.layers.selection.active = session.layers.predicted
    session.look_at(_whole_reference(session), beside_legend=True)
    caption = (
        f"What the network predicts for each place of {session.view.reference.name} from {len(session.maps.weights)} stains together, in the "
        "colours of the legend; where nothing was predicted the slide shows through."
        + (" Outlines: what was painted." if painted is not None else "")
    )
    yield Picture("classes.png", _said(session, caption), photograph(session.viewer))


def _weights(session: Session) -> Iterator[Picture]:
    maps = session.maps
    if maps is None or not maps.weights:
        return
    predicted = maps.class_map > 0

    def spread(stain: str) -> float:
        values = maps.weight(stain)[predicted]
        return float(values.std()) if values.size else 0.0

    stain = max(maps.weights, key=spread)
    session.show_stain(session.view.reference.name)
    session.show_overlay(Overlay("weight", stain), now=True)
    session.viewer.layers.selection.active = session.layers.shares
    session.look_at(_whole_reference(session), beside_legend=True)
    values = maps.weight(stain)[predicted]
    low, high = (float(v) for v in np.quantile(values, (0.05, 0.95))) if values.size else (0.0, 0.0)
    caption = (
        f"How much the network attends to {stain} at each place, from 0 to 1: here mostly {low:.2f} to {high:.2f}, the "
        "stain whose weight varies most over this section."
    )
    yield Picture("weights.png", _said(session, caption), photograph(session.viewer))


def _reference_um(session: Session) -> tuple[float, float]:
    pyramid = session.view.reference.pyramid
    return size_um(pyramid.levels[0], pyramid.um_per_px[0])


def _whole_reference(session: Session) -> tuple[float, float, float, float]:
    return (0.0, 0.0, *_reference_um(session))


def _said(session: Session, caption: str) -> str:
    return caption + (" Simulated tissue." if session.view.simulated else "")


def captions(pictures: list[Picture]) -> dict[str, Any]:
    """The captions of pictures by file name, as `captions.json` holds them."""
    return {picture.name: picture.caption for picture in pictures}
