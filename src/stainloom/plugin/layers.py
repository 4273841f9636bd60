"""A case as napari layers; the only file that knows what layers are called."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer
from numpy.typing import NDArray

from stainloom.case.aligned import AlignedStain
from stainloom.case.view import CaseView, MapsView, StainView
from stainloom.geometry import Scale
from stainloom.plugin.overlay import CLASSES, WEIGHT_COLORMAP, WEIGHT_RANGE, Overlay, Shown, class_colormap
from stainloom.plugin.pyramid import ReferenceGrid, Renderer, checkerboard_levels, stain_levels

if TYPE_CHECKING:
    from napari.components import ViewerModel

LESIONS = "Lesions"
CHECKERBOARD = "Checkerboard"
UNITS = ("um", "um")
_MARK = "stainloom"
_tokens = count(1)
_SETTABLE = ("name", "metadata", "scale", "translate", "opacity", "gamma", "blending")

LayerData = tuple[Any, dict[str, Any], str]
"""What napari calls a layer data tuple: data, keywords of the layer, its type."""


def stain_layer_name(stain: StainView, simulated: bool = False) -> str:
    """What a stain's layer is called: what is wrong with it, and the stain; napari cuts a long name in the middle."""
    wrong = "" if stain.trusted else f"{stain.verdict.upper()}: "
    return f"{wrong}{stain.name}{' (simulated)' if simulated else ''}"


def pair_layer_name(stain: StainView, reference: str) -> str:
    """What the checkerboard of one stain with the reference is called."""
    wrong = "" if stain.trusted else f" ({stain.verdict.upper()})"
    return f"Checkerboard of {stain.name}{wrong} with {reference}"


def hand_layer_name(stain: str) -> str:
    """What a stain is called while a hand lays it on the reference."""
    return f"{stain}, turned by hand"


@dataclass
class CaseLayers:
    """The layers of one case in one viewer.

    Attributes
    ----------
    stains
        By stain name; a stain without a slide has none.
    checkerboard, lesions
        None where the case has none.
    pair
        Checkerboard of one stain with the reference; None until somebody asks for one.
    predicted, shares
        The class map, and the one map of 0 to 1 (`overlay` says of what); None until somebody asks for one.
    glass, carried
        One stain as it lies on its own glass, and the paint carried there; None until somebody asks for it.
    painted_over
        Whether paint is drawn into the pictures of the stains, because side by side there is only one layer of it.
    """

    stains: dict[str, Image] = field(default_factory=dict)
    checkerboard: Image | None = None
    lesions: Labels | None = None
    predicted: Labels | None = None
    shares: Image | None = None
    overlay: Overlay | None = None
    pair: Image | None = None
    glass: Image | None = None
    carried: Labels | None = None
    painted_over: bool = False

    @property
    def pictures(self) -> list[Image]:
        """Those of which one is shown at a time."""
        return [*self.stains.values(), *(layer for layer in (self.checkerboard, self.pair) if layer is not None)]

    def __iter__(self) -> Any:
        yield from self.pictures
        others = (self.lesions, self.predicted, self.shares, self.glass, self.carried)
        yield from (layer for layer in others if layer is not None)

    def shown(self, viewer: ViewerModel) -> Shown:
        """What of it is on the screen: layers that the user removed are not."""

        def on(layer: Layer | None) -> bool:
            # A flicker makes layers transparent, because that is quicker than to hide them.
            return layer is not None and layer.visible and layer.opacity > 0 and layer in viewer.layers

        return Shown(
            tuple(name for name, layer in self.stains.items() if on(layer)),
            on(self.checkerboard),
            on(self.lesions) or on(self.carried) or self.painted_over,
            on(self.predicted),
            self.overlay if on(self.shares) else None,
            self.pair.metadata[_MARK]["stain"] if self.pair is not None and on(self.pair) else "",
            self.glass.metadata[_MARK]["stain"] if on(self.glass) else "",
            WEIGHT_RANGE if self.shares is None else (self.shares.contrast_limits[0], self.shares.contrast_limits[1]),
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


def predicted_layer(maps: MapsView) -> Labels:
    """The class map of a case as a layer of its own; read-only."""
    layer = Labels(
        maps.class_map,
        name=CLASSES.name,
        colormap=class_colormap(maps.classes),
        features=_names(maps.classes),
        **place(maps.um_per_px, maps.origin_um),
    )
    layer.editable = False
    return layer


def shares_layer(maps: MapsView, overlay: Overlay, values: NDArray[np.float32]) -> Image:
    """A weight, a probability or the certainty as a layer of its own, coloured from 0 to 1."""
    return Image(
        values,
        name=overlay.name,
        colormap=WEIGHT_COLORMAP,
        contrast_limits=WEIGHT_RANGE,
        **place(maps.um_per_px, maps.origin_um),
    )


def fill_predicted(layer: Labels, maps: MapsView) -> None:
    """Show the class map of other maps in the layer that is there."""
    layer.data = maps.class_map
    layer.colormap = class_colormap(maps.classes)
    layer.features = _names(maps.classes)
    _move(layer, maps)


def fill_shares(layer: Image, maps: MapsView, overlay: Overlay, values: NDArray[np.float32]) -> None:
    """Show another map of 0 to 1 in the layer that is there: adding one costs 130 to 290 ms."""
    layer.data = values
    layer.name = overlay.name
    _move(layer, maps)


def _move(layer: Layer, maps: MapsView) -> None:
    where = place(maps.um_per_px, maps.origin_um)
    if tuple(layer.scale) != where["scale"] or tuple(layer.translate) != where["translate"]:
        layer.scale, layer.translate = where["scale"], where["translate"]


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
            # napari's key 2 lets a picture be dragged: away from the paint and from the other stains.
            layer.editable = kind != "image"
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
    # Only what changes: napari tells its lists, its controls and its canvas of each, changed or not.
    for key, value in {**usual, **keywords}.items():
        if key in _SETTABLE and not np.array_equal(getattr(layer, key), value):
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
    Painted labels are made read-only: nothing in this window keeps a stroke, and paint that looks kept but
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
        else:
            setattr(found, mark["role"], layer)
    if found.lesions is not None:
        found.lesions.editable = False
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


def show_pair(viewer: ViewerModel, layers: CaseLayers, view: CaseView, renderer: Renderer, name: str) -> bool:
    """Show one stain and the reference cell by cell, however well it is aligned; False where the case has no picture of it.

    The layer is made when somebody asks for it, and takes the place of the one before.
    """
    stain = next(stain for stain in view.stains if stain.name == name)
    if stain.aligned is None or stain.verdict == "reference":
        return False
    if layers.pair is None or layers.pair not in viewer.layers or layers.pair.metadata[_MARK]["stain"] != name:
        grid = ReferenceGrid.of(view.reference.pyramid)
        both = [stain_levels(aligned, grid, renderer) for aligned in (view.reference, stain.aligned)]
        cells = checkerboard_levels(both, grid, checkerboard_cell_um(grid), renderer)
        token = layers.stains[name].metadata[_MARK]["case"]
        keywords = _picture(pair_layer_name(stain, view.reference.name), grid, False, token, "pair", name)
        old, layers.pair = layers.pair, Image(cells, **keywords)
        if old is not None and old in viewer.layers:
            viewer.layers.remove(old)
        viewer.layers.insert(len([layer for layer in layers.pictures if layer in viewer.layers]), layers.pair)
    _show_only(layers, layers.pair)
    return True


def add_by_hand(viewer: ViewerModel, layers: CaseLayers, stain: AlignedStain, renderer: Renderer) -> Image:
    """Add a stain as it lies on its own glass, half transparent over the other pictures; its `affine` lays it elsewhere."""
    grid = ReferenceGrid.of(stain.pyramid)
    layer = Image(
        stain_levels(AlignedStain(stain.name, stain.pyramid, None, stain.colour), grid, renderer),
        name=hand_layer_name(stain.name),
        rgb=True,
        multiscale=True,
        interpolation2d="linear",
        opacity=0.5,
        **place(grid.um_per_px[0]),
    )
    viewer.layers.insert(len([picture for picture in layers.pictures if picture in viewer.layers]), layer)
    return layer


def _show_only(layers: CaseLayers, picture: Layer) -> None:
    # The new one first, so that there is never nothing; only what changes, because napari rebuilds its scene (20 ms) even
    # where a layer that is hidden is hidden again.
    for layer in sorted(layers.pictures, key=lambda layer: layer is not picture):
        if layer.visible != (layer is picture):
            layer.visible = layer is picture


def show_on_glass(
    viewer: ViewerModel, layers: CaseLayers, view: CaseView, stain: StainView, renderer: Renderer
) -> None:
    """Put one stain into the viewer as it lies on its own glass, still hidden: its own pixels on its own um.

    Notes
    -----
    There is one such layer, made when it is first asked for and filled anew for another stain: napari takes five times as
    long to add or remove a layer.
    """
    assert stain.aligned is not None
    own = AlignedStain(stain.name, stain.aligned.pyramid, None, stain.aligned.colour)
    grid = ReferenceGrid.of(own.pyramid)
    levels, name = stain_levels(own, grid, renderer), f"{stain.name} as scanned"
    if layers.glass is None or layers.glass not in viewer.layers:
        token = next(iter(layers.stains.values())).metadata[_MARK]["case"]
        layers.glass = Layer.create(levels, _picture(name, grid, False, token, "glass", stain.name), "image")
        viewer.add_layer(layers.glass)
        return
    layers.glass.data = levels
    for key, value in {"name": name, **place(grid.um_per_px[0])}.items():
        setattr(layers.glass, key, value)
    layers.glass.metadata = {_MARK: {**layers.glass.metadata[_MARK], "stain": stain.name}}


def show_carried(
    viewer: ViewerModel, layers: CaseLayers, view: CaseView, stain: str, raster: np.ndarray, um_per_px: Scale
) -> None:
    """Put the paint that was carried to a stain into the viewer, in that stain's own um; nobody paints on it."""
    name = f"{LESIONS} in {stain}"
    if layers.carried is None or layers.carried not in viewer.layers:
        assert layers.glass is not None
        keywords = {**_lesions(view, layers.glass.metadata[_MARK]["case"]), "name": name, **place(um_per_px)}
        keywords["metadata"] = _mark(layers.glass.metadata[_MARK]["case"], "carried", stain)
        layers.carried = Layer.create(raster, keywords, "labels")
        viewer.add_layer(layers.carried)
    else:
        layers.carried.data = raster
        for key, value in {"name": name, **place(um_per_px)}.items():
            setattr(layers.carried, key, value)
    if layers.lesions is not None:
        layers.carried.opacity = layers.lesions.opacity
    layers.carried.editable = False


def lesion_extent_um(view: CaseView) -> tuple[float, float, float, float] | None:
    """Rows and columns in um (top, left, bottom, right) that hold all painted lesions; None without paint."""
    if view.labels is None or not view.labels.any():
        return None
    rows, cols = np.nonzero(view.labels.any(axis=1))[0], np.nonzero(view.labels.any(axis=0))[0]
    row_um, col_um = view.label_um_per_px
    return (rows[0] * row_um, cols[0] * col_um, (rows[-1] + 1) * row_um, (cols[-1] + 1) * col_um)
