"""A case as napari layers; the only file that knows what layers are called."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer

from stainloom.case.aligned import AlignedStain
from stainloom.case.view import CaseView, MapsView, StainView
from stainloom.geometry import Scale
from stainloom.plugin.overlay import WEIGHT_COLORMAP, WEIGHT_RANGE, Shown, class_colormap, predicted_weight
from stainloom.plugin.pyramid import ReferenceGrid, Renderer, checkerboard_levels, stain_levels

if TYPE_CHECKING:
    from napari.components import ViewerModel

LESIONS = "Lesions"
PREDICTED = "Predicted class"
CHECKERBOARD = "Checkerboard of aligned stains"
UNITS = ("um", "um")
_MARK = "stainloom"
_tokens = count(1)
_SETTABLE = ("name", "metadata", "scale", "translate", "opacity", "gamma", "blending")

LayerData = tuple[Any, dict[str, Any], str]
"""What napari calls a layer data tuple: data, keywords of the layer, its type."""


def stain_layer_name(stain: StainView, simulated: bool = False) -> str:
    """What a stain's layer is called: the stain, and what is wrong with it."""
    remarks = [*([] if stain.trusted else [stain.verdict.upper()]), *(["simulated"] if simulated else [])]
    return stain.name + (f" ({', '.join(remarks)})" if remarks else "")


def weight_layer_name(stain: str) -> str:
    """What the map of a stain's weight is called."""
    return f"Weight of {stain}"


@dataclass
class CaseLayers:
    """The layers of one case in one viewer.

    Attributes
    ----------
    stains
        By stain name; a stain without a slide has none.
    weights
        By stain name.
    checkerboard, lesions, predicted
        None where the case has none.
    """

    stains: dict[str, Image] = field(default_factory=dict)
    weights: dict[str, Image] = field(default_factory=dict)
    checkerboard: Image | None = None
    lesions: Labels | None = None
    predicted: Labels | None = None

    def __iter__(self) -> Any:
        yield from self.stains.values()
        yield from (layer for layer in (self.checkerboard, self.lesions, self.predicted) if layer is not None)
        yield from self.weights.values()

    def shown(self, viewer: ViewerModel) -> Shown:
        """What of it is on the screen: layers that the user removed are not."""

        def on(layer: Layer | None) -> bool:
            return layer is not None and layer.visible and layer in viewer.layers

        return Shown(
            tuple(name for name, layer in self.stains.items() if on(layer)),
            on(self.checkerboard),
            on(self.lesions),
            on(self.predicted),
            tuple(name for name, layer in self.weights.items() if on(layer)),
        )


def case_layer_data(view: CaseView, renderer: Renderer, *, say_simulated: bool = False) -> list[LayerData]:
    """All layers of a case as data for napari, the reference first; only the reference and what was painted are visible.

    Parameters
    ----------
    view
        The opened case.
    renderer
        Shared by all layers.
    say_simulated
        Whether names of stains say that they are simulated: where neither title nor legend can.

    Notes
    -----
    All layers lie on the reference slide's own um, each with its own scale and half a pixel of translation, because
    napari places pixel centres. `collect` finds the layers again by a mark in their metadata.
    """
    token = next(_tokens)
    grid = ReferenceGrid.of(view.reference.pyramid)
    levels = {s.name: stain_levels(s.aligned, grid, renderer) for s in view.stains if s.aligned is not None}
    result: list[LayerData] = []
    for stain in view.stains:
        if stain.name in levels:
            visible = stain.verdict == "reference"
            keywords = _picture(
                stain_layer_name(stain, say_simulated and view.simulated), grid, visible, token, "stain", stain.name
            )
            result.append((levels[stain.name], keywords, "image"))
    aligned = [levels[stain.name] for stain in view.stains if stain.name in levels and stain.usable]
    if len(aligned) > 1:
        cells = checkerboard_levels(aligned, grid, checkerboard_cell_um(grid), renderer)
        result.append((cells, _picture(CHECKERBOARD, grid, False, token, "checkerboard"), "image"))
    if view.labels is not None:
        result.append((view.labels, _lesions(view, token), "labels"))
    if view.maps is not None:
        result += _maps(view.maps, token)
    return result


def slide_layer_data(slide: AlignedStain, renderer: Renderer) -> LayerData:
    """One slide by itself, on its own grid."""
    grid = ReferenceGrid.of(slide.pyramid)
    keywords = {"name": slide.name, "rgb": True, "multiscale": True, "interpolation2d": "linear"}
    return stain_levels(slide, grid, renderer), {**keywords, **place(grid.um_per_px[0])}, "image"


def checkerboard_cell_um(grid: ReferenceGrid) -> float:
    """Side of a checkerboard cell: ten along the longer side of the reference."""
    size, scale = grid.sizes[0], grid.um_per_px[0]
    return max(size.rows * scale[0], size.cols * scale[1]) / 10


def place(um_per_px: Scale, origin_um: tuple[float, float] = (0.0, 0.0)) -> dict[str, Any]:
    """Keywords that lay a picture on the reference: scale, translation of its first pixel's centre, units."""
    translate = tuple(origin + scale / 2 for origin, scale in zip(origin_um, um_per_px, strict=True))
    return {"scale": um_per_px, "translate": translate, "units": UNITS}


def _mark(token: int, role: str, stain: str = "") -> dict[str, Any]:
    return {_MARK: {"case": token, "role": role, "stain": stain}}


def _picture(name: str, grid: ReferenceGrid, visible: bool, token: int, role: str, stain: str = "") -> dict[str, Any]:
    return {
        "name": name,
        "rgb": True,
        "multiscale": True,
        "visible": visible,
        "interpolation2d": "linear",
        "metadata": _mark(token, role, stain),
        **place(grid.um_per_px[0]),
    }


def _lesions(view: CaseView, token: int) -> dict[str, Any]:
    return {
        "name": LESIONS,
        "colormap": class_colormap(view.study.lesions),
        "features": _names(view.study.lesions),
        "opacity": 0.5,
        "metadata": _mark(token, "lesions"),
        **place(view.label_um_per_px),
    }


def _names(classes: Iterable[Any]) -> dict[str, list[Any]]:
    rows = [(0, "not annotated", "")] + [(lesion.id, lesion.short, lesion.name) for lesion in classes]
    index, short, name = (list(column) for column in zip(*rows, strict=True))
    return {"index": index, "class": short, "name": name}


def _maps(maps: MapsView, token: int) -> list[LayerData]:
    where = place(maps.um_per_px, maps.origin_um)
    predicted = {
        "name": PREDICTED,
        "colormap": class_colormap(maps.classes),
        "features": _names(maps.classes),
        "opacity": 0.55,
        "visible": False,
        "metadata": _mark(token, "predicted"),
        **where,
    }
    result: list[LayerData] = [(maps.class_map, predicted, "labels")]
    for stain in maps.weights:
        keywords = {
            "name": weight_layer_name(stain),
            "colormap": WEIGHT_COLORMAP,
            "contrast_limits": WEIGHT_RANGE,
            "opacity": 0.8,
            "visible": False,
            "metadata": _mark(token, "weight", stain),
            **where,
        }
        result.append((predicted_weight(maps, stain), keywords, "image"))
    return result


def make_case(view: CaseView, renderer: Renderer, spare: Iterable[Layer] = ()) -> list[Layer]:
    """All layers of a case, not yet in a viewer.

    Parameters
    ----------
    view, renderer
        As in `case_layer_data`.
    spare
        Layers of the case that was shown before. Its pictures are filled anew, hidden, and stay in their viewer: napari
        takes ten times as long to remove a layer and add one, and keeps 2 MB of each for good.
    """
    left = {_role(layer): layer for layer in spare if isinstance(layer, Image) and _MARK in layer.metadata}
    made = []
    for data, keywords, kind in case_layer_data(view, renderer):
        mark = keywords["metadata"][_MARK]
        layer = left.pop((mark["role"], mark["stain"]), None) if kind == "image" else None
        if layer is None or layer.multiscale != keywords.get("multiscale", False):
            layer = Layer.create(data, keywords, kind)
        else:
            _fill(layer, data, keywords)
        made.append(layer)
    return made


def _role(layer: Layer) -> tuple[str, str]:
    mark = layer.metadata[_MARK]
    return mark["role"], mark["stain"]


def _fill(layer: Image, data: Any, keywords: dict[str, Any]) -> None:
    """Make a layer as if it was created anew, whatever the user did to it, but hidden."""
    layer.visible = False
    layer.data = data
    if layer.multiscale:
        # napari starts with all of the coarsest level, and keeps the box of the picture before.
        layer.corner_pixels = np.array([[0, 0], [side - 1 for side in data[-1].shape[:2]]])
    usual = {"opacity": 1.0, "gamma": 1.0, "blending": "translucent"}
    for key, value in {**usual, **keywords}.items():
        if key in _SETTABLE:
            setattr(layer, key, value)


def add_case(viewer: ViewerModel, view: CaseView, renderer: Renderer) -> CaseLayers:
    """Add all layers of a case to a viewer and show the um."""
    layers = make_case(view, renderer)
    for layer in layers:
        viewer.add_layer(layer)
    return collect(layers)


def collect(layers: Iterable[Layer]) -> CaseLayers:
    """The layers of a case among others, also those that napari made from `case_layer_data`: the latest case wins.

    Notes
    -----
    Painted and predicted labels are made read-only: nothing in this window keeps a stroke, and paint that looks kept but
    is not would be lost on closing.
    """
    marked = [(layer, layer.metadata[_MARK]) for layer in layers if _MARK in layer.metadata]
    latest = max((mark["case"] for _, mark in marked), default=0)
    found = CaseLayers()
    for layer, mark in marked:
        if mark["case"] != latest:
            continue
        if mark["role"] == "stain":
            found.stains[mark["stain"]] = layer
        elif mark["role"] == "weight":
            found.weights[mark["stain"]] = layer
        else:
            setattr(found, mark["role"], layer)
    for labels in (found.lesions, found.predicted):
        if labels is not None:
            labels.editable = False
    return found


def show_stain(layers: CaseLayers, name: str) -> bool:
    """Show one stain and hide the others; False, and nothing changes, where the case has no picture of it."""
    if name not in layers.stains:
        return False
    _show_only(layers, layers.stains[name])
    return True


def show_checkerboard(layers: CaseLayers) -> bool:
    """Show the aligned stains cell by cell; False where the case has fewer than two."""
    if layers.checkerboard is None:
        return False
    _show_only(layers, layers.checkerboard)
    return True


def _show_only(layers: CaseLayers, picture: Layer) -> None:
    # The new one first, so that there is never nothing; only what changes, because napari rebuilds its scene (20 ms) even
    # where a layer that is hidden is hidden again.
    pictures = [*layers.stains.values(), *([layers.checkerboard] if layers.checkerboard is not None else [])]
    for layer in sorted(pictures, key=lambda layer: layer is not picture):
        if layer.visible != (layer is picture):
            layer.visible = layer is picture


def lesion_extent_um(view: CaseView) -> tuple[float, float, float, float] | None:
    """Rows and columns in um (top, left, bottom, right) that hold all painted lesions; None without paint."""
    if view.labels is None or not view.labels.any():
        return None
    rows, cols = np.nonzero(view.labels.any(axis=1))[0], np.nonzero(view.labels.any(axis=0))[0]
    row_um, col_um = view.label_um_per_px
    return (rows[0] * row_um, cols[0] * col_um, (rows[-1] + 1) * row_um, (cols[-1] + 1) * col_um)
