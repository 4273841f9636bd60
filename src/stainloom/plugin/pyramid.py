"""A stain as napari wants it: warped to the reference and normalized, tile by tile, only where somebody looks."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np

from stainloom.case.aligned import AlignedStain, Look
from stainloom.geometry import Box, Pixels, Pyramid, Scale, Size, size_at, size_um, whole
from stainloom.io.tiles import TileCache
from stainloom.plugin.behind import Asker, Behind, Wanted

TILE_PX = 512
CACHE_BYTES = 160 << 20
_COARSEST_PX = 512
_PX_MOST = 64_000_000
_THREADS = 2
_NICE = 5
_UNKNOWN = 160
"""Gray of a tile that cannot be read: no tissue looks like it."""


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
        self.behind = Behind(self._tiles, self._pool, threads)
        """Tiles that layers on the screen wait for, and those that they may need next."""

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

    def kept(self, key: Hashable) -> Pixels | None:
        """A tile where it is there already, read-only."""
        return self._tiles.kept(key)

    @property
    def on_screen(self) -> bool:
        """Whether this thread slices for the screen just now: see `for_screen`."""
        return getattr(_here, "on_screen", None) is self

    @contextmanager
    def for_screen(self) -> Iterator[None]:
        """Within it, levels are not waited for: they give what is there now, and ask for the rest behind the window."""
        before = getattr(_here, "on_screen", None)
        _here.on_screen = self
        try:
            yield
        finally:
            _here.on_screen = before

    def close(self) -> None:
        """Stop the threads; layers that are still drawn show white."""
        self._closed = True
        self.behind.close()
        self._pool.shutdown(wait=True, cancel_futures=True)


_here = threading.local()


def _start_thread() -> None:
    _here.rendering = True
    # Where cores are few, whoever moves the slide goes first. Only Linux knows a niceness of one thread.
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
    # OpenCV would start a thread per core in each of ours.
    cv2.setNumThreads(1)


class OnScreen:
    """What one layer shows: one box of one of its levels, some tiles of it still as coarse as they could be had.

    All levels of a layer share it. It is used on the thread that slices only.
    """

    def __init__(self) -> None:
        self.asker = Asker()
        self._tiles: dict[Hashable, Box] = {}
        self._box = Box(0, 0, 0, 0)
        self._pixels = np.zeros((0, 0, 3), np.uint8)

    def show(self, level: TiledLevel, box: Box, renderer: Renderer) -> Pixels:
        """The pixels of a box, at once: fine where fine tiles are there, else coarser ones of the same place.

        Asked again for the same box, it fills in the tiles that came meanwhile, in the very same array: so what is on the
        screen needs no room in the cache.
        """
        tiles = {level.key(tile): tile for tile in level.tiles(box)}
        if box != self._box or tiles.keys() != self._tiles.keys():
            self._begin(level, box, tiles, renderer)
        else:
            for key, pixels in renderer.behind.take(self.asker).items():
                self._fill(tiles[key], pixels)
        return self._pixels

    def _begin(self, level: TiledLevel, box: Box, tiles: dict[Hashable, Box], renderer: Renderer) -> None:
        self._box, self._tiles, self._pixels = box, tiles, np.empty((*box.shape, 3), np.uint8)
        missing = []
        for key, tile in tiles.items():
            pixels = renderer.kept(key)
            if pixels is None:
                missing.append(tile)
                pixels = level.coarse(tile)
            self._fill(tile, pixels)
        # From the middle outwards: that is where somebody looks.
        row, col = box.row + box.rows / 2, box.col + box.cols / 2
        missing.sort(key=lambda t: (t.row + t.rows / 2 - row) ** 2 + (t.col + t.cols / 2 - col) ** 2)
        renderer.behind.want(self.asker, [level.wanted(tile) for tile in missing])

    def _fill(self, tile: Box, pixels: Pixels | None) -> None:
        shared = tile.intersect(self._box)
        self._pixels[shared.within(self._box)] = _UNKNOWN if pixels is None else pixels[shared.within(tile)]


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
    coarser
        The next level of the same picture, of exactly half as many rows and columns; None for the coarsest.
    draw_scanned
        Renders a tile in the colours that were scanned, where these differ.

    Notes
    -----
    An index gives exact pixels and waits for them. Only where napari slices for the screen (`Renderer.for_screen`) nothing
    is waited for but the coarsest level: coarser tiles of the same place stand in until the fine ones are rendered, and
    whoever listens to `Renderer.behind` is told.
    """

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(
        self,
        size: Size,
        draw: Callable[[Box], Pixels],
        renderer: Renderer,
        coarser: TiledLevel | None = None,
        draw_scanned: Callable[[Box], Pixels] | None = None,
    ) -> None:
        self._size = size
        self._draw = {"normalized": draw, **({} if draw_scanned is None else {"scanned": draw_scanned})}
        self._coarser = coarser
        self._whole: dict[Hashable, Pixels] = {}
        self.renderer = renderer
        self.on_screen = OnScreen() if coarser is None else coarser.on_screen
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

    def key(self, tile: Box, look: Look | None = None) -> Hashable:
        """What names a tile in the cache, in the renderer's colours unless others are asked."""
        return (self, self._colours(look), tile)

    def wanted(self, tile: Box, look: Look | None = None) -> Wanted:
        """A tile and what renders it, as the cache wants them."""
        # Settled before any thread draws: a switch in between must not file a tile under the other colours.
        draw = self._draw[self._colours(look)]
        return self.key(tile, look), lambda: np.ascontiguousarray(draw(tile))

    def _colours(self, look: Look | None) -> str:
        asked = look or self.renderer.look
        return asked if asked in self._draw else "normalized"

    def tiles(self, box: Box) -> list[Box]:
        """The tiles that a box touches, row by row."""
        frame = whole(self._size)
        inside = box.intersect(frame)
        rows = range(inside.row // TILE_PX * TILE_PX, inside.row_end, TILE_PX)
        cols = range(inside.col // TILE_PX * TILE_PX, inside.col_end, TILE_PX)
        return [Box(row, col, TILE_PX, TILE_PX).intersect(frame) for row in rows for col in cols]

    def read(self, box: Box, look: Look | None = None) -> Pixels:
        """The pixels of a box inside the level, (rows, cols, 3) uint8; waits until all of them are rendered."""
        self._refuse_whole_slides(box)
        result = np.full((*box.shape, 3), 255, np.uint8)
        if box.empty or self.renderer.closed:
            return result
        places = self.tiles(box)
        wanted = [self.wanted(tile, look) for tile in places]
        for tile, pixels in zip(places, self.renderer.tiles(wanted), strict=True):
            shared = tile.intersect(box)
            result[shared.within(box)] = pixels[shared.within(tile)]
        return result

    def show(self, box: Box) -> Pixels:
        """The pixels of a box as far as they are there, at once; the rest is rendered behind the window."""
        self._refuse_whole_slides(box)
        if box.empty or self.renderer.closed:
            return np.full((*box.shape, 3), 255, np.uint8)
        if self._coarser is None:
            return self._coarsest()[box.within(whole(self._size))]
        return self.on_screen.show(self, box, self.renderer)

    def coarse(self, tile: Box) -> Pixels:
        """A tile made of the finest coarser tile that is there; nothing is rendered for it but the coarsest level, once."""
        if self._coarser is None:
            return self._coarsest()[tile.within(whole(self._size))]
        half = Box(tile.row // 2, tile.col // 2, -(-tile.rows // 2), -(-tile.cols // 2))
        (outer,) = self._coarser.tiles(half)
        pixels = self.renderer.kept(self._coarser.key(outer))
        part = self._coarser.coarse(half) if pixels is None else pixels[half.within(outer)]
        larger = cv2.resize(part, (2 * half.cols, 2 * half.rows), interpolation=cv2.INTER_LINEAR)
        return np.asarray(larger, np.uint8)[: tile.rows, : tile.cols]

    def _coarsest(self) -> Pixels:
        frame = whole(self._size)
        key = self.key(frame)
        if key not in self._whole:
            self._whole[key] = self.read(frame)
        return self._whole[key]

    def _refuse_whole_slides(self, box: Box) -> None:
        if box.rows * box.cols > _PX_MOST:
            raise ValueError(
                f"{box.rows} x {box.cols} px of a slide are not read in one piece: look at a coarser level"
            )

    def __getitem__(self, key: Any) -> Any:
        parts = list(key) if isinstance(key, tuple) else [key]
        if Ellipsis in parts:
            at = parts.index(Ellipsis)
            parts[at : at + 1] = [slice(None)] * (3 - len(parts) + 1)
        parts += [slice(None)] * (3 - len(parts))
        spans = [_span(part, n) for part, n in zip(parts[:2], self.shape[:2], strict=True)]
        (row, row_end), (col, col_end) = spans
        box = Box(row, col, row_end - row, col_end - col)
        picture = self._painted(self.show(box) if self.renderer.on_screen else self.read(box), box)
        # What is left of each index: its step, or the one row or column of a plain number.
        left = tuple(slice(None, None, p.step) if isinstance(p, slice) else 0 for p in parts[:2])
        return picture[(*left, parts[2])]

    def unpainted(self) -> Pixels:
        """The whole level, without paint."""
        frame = whole(self._size)
        return self.read(frame) if self._coarser is not None else self._coarsest()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        picture = self._painted(self.unpainted(), whole(self._size))
        return picture.astype(self.dtype if dtype is None else dtype, copy=bool(copy))

    def _painted(self, picture: Pixels, box: Box) -> Pixels:
        if self.paint is None:
            return picture
        # What is kept of the slide stays as it is.
        picture = picture.copy()
        self.paint(picture, box)
        return picture


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

    def level(number: int, coarser: TiledLevel | None) -> TiledLevel:
        scale = grid.um_per_px[number]
        scanned = None if stain.colour is None else lambda box: stain.read(box, scale, "scanned")
        return TiledLevel(grid.sizes[number], lambda box: stain.read(box, scale), renderer, coarser, scanned)

    return _levels(level, len(grid.sizes))


def _levels(level: Callable[[int, TiledLevel | None], TiledLevel], count: int) -> list[TiledLevel]:
    result: list[TiledLevel] = []
    for number in reversed(range(count)):
        result.insert(0, level(number, result[0] if result else None))
    return result


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

    def level(number: int, coarser: TiledLevel | None) -> TiledLevel:
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

        return TiledLevel(
            grid.sizes[number],
            partial(draw, look="normalized"),
            renderer,
            coarser,
            partial(draw, look="scanned"),
        )

    return _levels(level, len(grid.sizes))


def checkerboard_turn(row: Any, col: Any, stains: int) -> Any:
    """Which stain a cell shows: neighbours differ, and every row has all stains."""
    return (2 * row + col) % stains if stains > 2 else (row + col) % stains
