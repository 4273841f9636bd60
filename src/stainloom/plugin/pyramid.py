"""A stain as napari wants it: warped to the reference and normalized, tile by tile, only where somebody looks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np

from stainloom.case.aligned import AlignedStain, Look
from stainloom.geometry import Box, Pixels, Pyramid, Scale, Size, size_at, size_um, tiles
from stainloom.io.tiles import TileCache

TILE_PX = 512
CACHE_BYTES = 256 << 20
_COARSEST_PX = 512
_PX_MOST = 64_000_000
_THREADS = 2


@dataclass(frozen=True)
class ReferenceGrid:
    """The grid that all layers of a case share: each level has exactly twice the um per px of the one before.

    Attributes
    ----------
    sizes
        Size of each level, px. Level 0 is filled up to a multiple of the coarsest step, so that the shapes stand in
        exactly the ratio of the true um per px (napari knows levels by their shapes only).
    um_per_px
        Of each level, (row, col).
    """

    sizes: tuple[Size, ...]
    um_per_px: tuple[Scale, ...]

    @classmethod
    def of(cls, pyramid: Pyramid) -> ReferenceGrid:
        """The grid of a reference slide, from its level 0 down to 512 px."""
        scale = pyramid.um_per_px[0]
        size = size_at(size_um(pyramid.levels[0], scale), scale)
        coarsest = 0
        while max(size.rows, size.cols) > _COARSEST_PX << coarsest:
            coarsest += 1
        rows, cols = (-(-n >> coarsest) for n in (size.rows, size.cols))
        levels = range(coarsest + 1)
        return cls(
            tuple(Size(rows << (coarsest - level), cols << (coarsest - level)) for level in levels),
            tuple((scale[0] * 2**level, scale[1] * 2**level) for level in levels),
        )


class Renderer:
    """Renders tiles in threads and keeps them, for all layers of a case together.

    Parameters
    ----------
    bytes_most
        How many bytes of rendered tiles are kept; the least recently used are dropped first.
    threads
        How many tiles are rendered at once.

    Attributes
    ----------
    look
        The colours that are shown; layers draw the other ones when they are refreshed. Tiles of both are kept.
    """

    def __init__(self, bytes_most: int = CACHE_BYTES, threads: int = _THREADS) -> None:
        self.look: Look = "normalized"
        self._tiles = TileCache(bytes_most)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="stainloom-tile", initializer=_start_thread)
        self._closed = False

    @property
    def bytes(self) -> int:
        """Bytes of the tiles kept now."""
        return self._tiles.bytes

    @property
    def closed(self) -> bool:
        """Whether `close` was called: then nothing is rendered any more."""
        return self._closed

    def tiles(self, wanted: Sequence[tuple[Hashable, Callable[[], Pixels]]]) -> Iterator[Pixels]:
        """The tiles of several keys, in order, each rendered at most once however many ask; read-only."""
        # A tile made of other tiles (a checkerboard) asks from inside the pool, which must not wait for itself.
        if len(wanted) > 1 and not getattr(_here, "rendering", False):
            return self._pool.map(lambda one: self._tiles.get(*one), wanted)
        return (self._tiles.get(*one) for one in wanted)

    def close(self) -> None:
        """Stop the threads; layers that are still drawn show white."""
        self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)


_here = threading.local()


def _start_thread() -> None:
    _here.rendering = True
    # OpenCV would start a thread per core in each of ours.
    cv2.setNumThreads(1)


class TiledLevel:
    """One level as the array that napari slices: nothing is computed before a box of it is asked for.

    Parameters
    ----------
    size
        Rows and columns.
    draw
        Renders a tile: `draw(box) -> (rows, cols, 3) uint8`.
    renderer
        Renders the tiles and keeps them.
    draw_scanned
        Renders a tile in the colours that were scanned, where these differ.
    """

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(
        self,
        size: Size,
        draw: Callable[[Box], Pixels],
        renderer: Renderer,
        draw_scanned: Callable[[Box], Pixels] | None = None,
    ) -> None:
        self._size = size
        self._draw = {"normalized": draw, **({} if draw_scanned is None else {"scanned": draw_scanned})}
        self._renderer = renderer
        self.paint: Callable[[Pixels, Box], None] | None = None
        """Draws over what napari is given, in place; tiles are kept without it."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(rows, cols, 3)."""
        return (self._size.rows, self._size.cols, 3)

    @property
    def size(self) -> int:
        """Number of values."""
        return self._size.rows * self._size.cols * 3

    @property
    def chunks(self) -> tuple[int, int, int]:
        """Size of a tile: napari asks for whole ones."""
        return (TILE_PX, TILE_PX, 3)

    def read(self, box: Box, look: Look | None = None) -> Pixels:
        """The pixels of a box inside the level, (rows, cols, 3) uint8, in the renderer's colours unless others are asked."""
        if box.rows * box.cols > _PX_MOST:
            raise ValueError(
                f"{box.rows} x {box.cols} px of a slide are not read in one piece: look at a coarser level"
            )
        result = np.full((*box.shape, 3), 255, np.uint8)
        if box.empty or self._renderer.closed:
            return result
        places = [tile for tile in tiles(self._size, TILE_PX) if not tile.intersect(box).empty]
        # Settled before any thread draws: a switch in between must not file a tile under the other colours.
        asked = look or self._renderer.look
        colours = asked if asked in self._draw else "normalized"
        wanted = [((self, colours, tile), self._tile(tile, colours)) for tile in places]
        for tile, pixels in zip(places, self._renderer.tiles(wanted), strict=True):
            shared = tile.intersect(box)
            result[shared.within(box)] = pixels[shared.within(tile)]
        return result

    def _tile(self, tile: Box, look: str) -> Callable[[], Pixels]:
        return lambda: np.ascontiguousarray(self._draw[look](tile))

    def __getitem__(self, key: Any) -> Any:
        parts = list(key) if isinstance(key, tuple) else [key]
        if Ellipsis in parts:
            at = parts.index(Ellipsis)
            parts[at : at + 1] = [slice(None)] * (3 - len(parts) + 1)
        parts += [slice(None)] * (3 - len(parts))
        spans = [_span(part, n) for part, n in zip(parts[:2], self.shape[:2], strict=True)]
        (row, row_end), (col, col_end) = spans
        box = Box(row, col, row_end - row, col_end - col)
        picture = self.read(box)
        if self.paint is not None:
            self.paint(picture, box)
        # What is left of each index: its step, or the one row or column of a plain number.
        left = tuple(slice(None, None, p.step) if isinstance(p, slice) else 0 for p in parts[:2])
        return picture[(*left, parts[2])]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(self.dtype if dtype is None else dtype, copy=False)


def _span(part: Any, length: int) -> tuple[int, int]:
    if isinstance(part, slice):
        if (part.step or 1) < 1:
            raise IndexError(f"a slide is read forwards: {part}")
        start, stop, _ = part.indices(length)
        return start, max(start, stop)
    at = int(part)
    if not -length <= at < length:
        raise IndexError(f"{at} lies outside {length}")
    at %= length
    return at, at + 1


def stain_levels(stain: AlignedStain, grid: ReferenceGrid, renderer: Renderer) -> list[TiledLevel]:
    """The levels of one stain on the reference grid, finest first.

    Parameters
    ----------
    stain
        The stain, its warp and its colour.
    grid
        The grid of the case.
    renderer
        Shared by all layers.

    Returns
    -------
    One array a level, (rows, cols, 3) uint8; white where the section says nothing.
    """

    def level(size: Size, um_per_px: Scale) -> TiledLevel:
        scanned = None if stain.colour is None else lambda box: stain.read(box, um_per_px, "scanned")
        return TiledLevel(size, lambda box: stain.read(box, um_per_px), renderer, scanned)

    return [level(size, scale) for size, scale in zip(grid.sizes, grid.um_per_px, strict=True)]


def checkerboard_levels(
    stains: Sequence[Sequence[TiledLevel]], grid: ReferenceGrid, cell_um: float, renderer: Renderer
) -> list[TiledLevel]:
    """All stains in one picture, cell by cell: where they are aligned, structures run on across the edges.

    Parameters
    ----------
    stains
        The levels of each stain, as `stain_levels` gives them.
    grid
        The grid of the case.
    cell_um
        Side of a cell.
    renderer
        Shared by all layers.
    """

    def level(number: int) -> TiledLevel:
        scale = grid.um_per_px[number]

        def draw(box: Box, look: Look) -> Pixels:
            rows = ((np.arange(box.row, box.row_end) + 0.5) * scale[0] / cell_um).astype(np.intp)
            cols = ((np.arange(box.col, box.col_end) + 0.5) * scale[1] / cell_um).astype(np.intp)
            turn = checkerboard_turn(rows[:, None], cols[None, :], len(stains))
            result = np.full((*box.shape, 3), 255, np.uint8)
            for place in np.unique(turn):
                mask = turn == place
                result[mask] = stains[place][number].read(box, look)[mask]
            return result

        return TiledLevel(grid.sizes[number], partial(draw, look="normalized"), renderer, partial(draw, look="scanned"))

    return [level(number) for number in range(len(grid.sizes))]


def checkerboard_turn(row: Any, col: Any, stains: int) -> Any:
    """Which stain a cell shows: neighbours differ, and every row has all stains."""
    return (2 * row + col) % stains if stains > 2 else (row + col) % stains
