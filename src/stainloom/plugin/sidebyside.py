"""All aligned stains side by side in napari's grid, with linked cameras; and back again exactly as it was."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from stainloom.geometry import Scale
from stainloom.plugin.layers import CaseLayers
from stainloom.plugin.painted import paint_over

_SPACING_PX = 4


class SideBySide:
    """The grid of one case.

    Parameters
    ----------
    viewer, layers
        Of the session.
    label_um_per_px
        Of the painted layer.
    """

    def __init__(self, viewer: Any, layers: CaseLayers, label_um_per_px: Scale) -> None:
        self.viewer, self.layers, self._label_um_per_px = viewer, layers, label_um_per_px
        self._visible: dict[Any, bool] = {}
        self._active: Any = None
        self._grid: tuple[Any, ...] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the stains are side by side now."""
        return self._grid is not None

    def open(self, names: Collection[str], active: str) -> None:
        """Give each stain a cell, with the paint in it where paint is shown."""
        grid, painted = self.viewer.canvas.grid, self.layers.lesions
        self._visible = {layer: layer.visible for layer in self.viewer.layers}
        self._active = self.viewer.layers.selection.active
        self._grid = (grid.stride, grid.shape, grid.spacing)
        if painted is not None and painted.visible:
            paint_over(self.layers, self._label_um_per_px)
        wanted = [self.layers.stains[name] for name in names]
        for layer in self.viewer.layers:
            seen = any(layer is one for one in wanted)
            if layer.visible != seen:
                layer.visible = seen
        self.viewer.layers.selection.active = self.layers.stains[active]
        grid.stride, grid.shape, grid.spacing = 1, (-1, -1), _SPACING_PX
        grid.enabled = True

    def close(self) -> None:
        """Show what was shown before."""
        self.give_back_grid()
        for layer, visible in self._visible.items():
            if layer in self.viewer.layers and layer.visible != visible:
                layer.visible = visible
        if self._active in self.viewer.layers:
            self.viewer.layers.selection.active = self._active
        self._visible, self._active = {}, None

    def give_back_grid(self) -> None:
        """One canvas, and the user's own settings of napari's grid."""
        if self._grid is None:
            return
        grid = self.viewer.canvas.grid
        grid.enabled = False
        grid.stride, grid.shape, grid.spacing = self._grid
        self._grid = None
        paint_over(self.layers, None)
