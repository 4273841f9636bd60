"""What else OpenSlide opens (Hamamatsu, Leica, MIRAX, Ventana, Philips, Trestle, JPEG 2000 SVS): tile by tile, cached."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import openslide

from stainloom.errors import SlideError
from stainloom.geometry import Box, Pixels, Scale, Size
from stainloom.io.opened import SlideFacts, StoredLevel, TiledSlide, level_scale, stated_scale
from stainloom.io.picture import on_white
from stainloom.io.tiles import TileCache

OWN_FORMATS = frozenset({"aperio", "generic-tiff"})
"""OpenSlide's names for what `tiff.py` reads by itself, unless the compression is one that it leaves to OpenSlide."""

_TILE_PX = 512
_LARGEST_TILE_PX = 4096


def format_of(path: Path) -> str | None:
    """OpenSlide's name of the file's format, None where it does not know it."""
    try:
        found: str | None = openslide.OpenSlide.detect_format(path)
    except openslide.OpenSlideError:
        return None
    return found


def opens(path: Path, head: bytes) -> bool:
    """Whether OpenSlide knows the file."""
    return format_of(path) is not None


def describe(path: Path, stain: str | None) -> SlideFacts:
    """What the header says; nothing is decoded."""
    with _open(path, stain) as slide:
        cols, rows = slide.dimensions
        return SlideFacts(Size(rows, cols), _stated(slide), slide.level_count, f"OpenSlide {format_of(path)}")


def open_with_openslide(
    path: Path, cache: TileCache, um_per_px: float | Scale | None, stain: str | None
) -> ForeignSlide:
    """A slide that OpenSlide reads.

    Raises
    ------
    SlideError
        When OpenSlide refuses it, or it states no um per px and none is given.
    """
    slide = _open(path, stain)
    try:
        scale = stated_scale(um_per_px, _stated(slide), path, stain, "no openslide.mpp-x and mpp-y")
        return ForeignSlide(path, slide, scale, cache, stain)
    except BaseException:
        slide.close()
        raise


class ForeignSlide(TiledSlide):
    """A slide that OpenSlide decodes, kept in this program's cache. Its label, macro and barcode are never asked for."""

    def __init__(self, path: Path, slide: Any, um_per_px: Scale, cache: TileCache, stain: str | None = None) -> None:
        first = Size(slide.dimensions[1], slide.dimensions[0])
        stored = []
        for level, (cols, rows) in enumerate(slide.level_dimensions):
            scale = level_scale(first, Size(rows, cols), um_per_px)
            stored.append(StoredLevel(Size(rows, cols), _tile(slide, level), scale))
        super().__init__(path, stored, cache)
        self._slide = slide
        self._stain = stain

    def _release(self) -> None:
        self._slide.close()

    def _decode(self, level: int, row: int, col: int, place: Box) -> Pixels:
        factor = self._slide.level_downsamples[level]
        corner = (round(place.col * factor), round(place.row * factor))
        try:
            region = np.asarray(self._slide.read_region(corner, level, (place.cols, place.rows)))
        except openslide.OpenSlideError as error:
            raise SlideError(
                "A tile of this slide is damaged",
                slide=self.path.name,
                stain=self._stain,
                expected=f"a picture of {place.cols} x {place.rows} px at column {place.col}, row {place.row}",
                found=str(error),
                next="copy the file again from its source; it must be opened anew after this",
            ) from error
        alpha = region[..., 3:]
        if alpha.min() == 255:
            return np.ascontiguousarray(region[..., :3])
        return on_white(region[..., :3], alpha)


def _open(path: Path, stain: str | None) -> Any:
    try:
        return openslide.OpenSlide(path)
    except openslide.OpenSlideError as error:
        raise SlideError(
            "OpenSlide cannot open this slide",
            slide=path.name,
            stain=stain,
            expected="a whole slide of a known scanner",
            found=str(error),
            next="copy the file again from its source, or export it as OME-TIFF",
        ) from error


def _stated(slide: Any) -> Scale | None:
    scale = []
    for name in (openslide.PROPERTY_NAME_MPP_Y, openslide.PROPERTY_NAME_MPP_X):
        try:
            scale.append(float(slide.properties.get(name, "nan")))
        except ValueError:
            return None
    if not all(math.isfinite(each) and each > 0 for each in scale):
        return None
    return (scale[0], scale[1])


def _tile(slide: Any, level: int) -> Size:
    """The file's own tile where it has a usable one: other cuts would decode each of its tiles several times."""
    sides = []
    for side in ("height", "width"):
        text = slide.properties.get(f"openslide.level[{level}].tile-{side}", "")
        px = int(text) if text.isdigit() and 0 < int(text) <= _LARGEST_TILE_PX else _TILE_PX
        sides.append(px * max(1, _TILE_PX // px))
    return Size(sides[0], sides[1])
