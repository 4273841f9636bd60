"""Paint drawn into the pictures of the stains: side by side there is one layer of paint and a cell for every stain."""

from __future__ import annotations

import numpy as np

from stainloom.geometry import Box, Pixels, Scale
from stainloom.plugin._napari import read_anew
from stainloom.plugin.layers import CaseLayers
from stainloom.plugin.overlay import class_colours


class PaintOver:
    """Draws class ids over one level of a picture.

    Parameters
    ----------
    raster, raster_um_per_px
        Class ids on the reference, (rows, cols) uint8, 0 is not painted.
    colours
        (256, 3) uint8 by class id.
    opacity
        0 to 1.
    um_per_px
        Of the level.
    """

    def __init__(
        self, raster: np.ndarray, raster_um_per_px: Scale, colours: np.ndarray, opacity: float, um_per_px: Scale
    ) -> None:
        self._raster, self._raster_um_per_px = raster, raster_um_per_px
        self._colours, self._opacity, self._um_per_px = colours.astype(np.float32), opacity, um_per_px

    def __call__(self, picture: Pixels, box: Box) -> None:
        """Draw over the pixels of a box of the level."""
        rows = self._index(box.row, box.rows, 0)
        cols = self._index(box.col, box.cols, 1)
        inside = np.ix_(rows < self._raster.shape[0], cols < self._raster.shape[1])
        ids = np.zeros(picture.shape[:2], np.uint8)
        ids[inside] = self._raster[np.ix_(rows[rows < self._raster.shape[0]], cols[cols < self._raster.shape[1]])]
        painted = ids > 0
        if painted.any():
            mixed = (1 - self._opacity) * picture[painted] + self._opacity * self._colours[ids[painted]]
            picture[painted] = np.round(mixed).astype(np.uint8)

    def _index(self, start: int, count: int, axis: int) -> np.ndarray:
        centres = (np.arange(start, start + count) + 0.5) * self._um_per_px[axis]
        return (centres / self._raster_um_per_px[axis]).astype(np.intp)


def paint_over(layers: CaseLayers, raster_um_per_px: Scale | None) -> None:
    """Draw the paint of a case into the pictures of its stains; None takes it off again, where there is any."""
    painted, was = layers.lesions, layers.painted_over
    layers.painted_over = raster_um_per_px is not None and painted is not None
    if not (was or layers.painted_over):
        return
    colours = class_colours(painted.colormap)
    for layer in layers.stains.values():
        for data, factors in zip(layer.data, layer.downsample_factors, strict=True):
            data.paint = None
            if layers.painted_over:
                scale = (float(layer.scale[0] * factors[0]), float(layer.scale[1] * factors[1]))
                data.paint = PaintOver(np.asarray(painted.data), raster_um_per_px, colours, painted.opacity, scale)
        read_anew(layer)
