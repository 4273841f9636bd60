"""What an opened slide is, and how one that is kept in tiles answers a read by box."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

import numpy as np

from stainloom.errors import SlideError
from stainloom.geometry import Box, Pixels, Pyramid, Scale, Size, as_scale, halve, whole
from stainloom.io.tiles import TileCache

OVERVIEW_PX = 512
"""Every slide gets levels until the longer side is at most this, px."""


@dataclass(frozen=True)
class SlideFacts:
    """What the header of a slide says.

    Attributes
    ----------
    size
        Level 0, px.
    um_per_px
        Of level 0, (row, col); None where the file does not state it.
    levels
        How many levels the file holds.
    format
        What kind of file it is, for the user.
    """

    size: Size
    um_per_px: Scale | None
    levels: int
    format: str


@runtime_checkable
class OpenedSlide(Pyramid, Protocol):
    """A `Pyramid` over an open file; a context manager that closes it. Every method is safe from any thread."""

    @property
    def path(self) -> Path:
        """The file."""
        ...

    def close(self) -> None:
        """Give the file back and drop its tiles from the cache. Reading afterwards is a ValueError."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def stated_scale(
    stated: float | Scale | None, found: Scale | None, path: Path, stain: str | None, what_found: str = ""
) -> Scale:
    """The user's um per px where given, else the file's.

    Raises
    ------
    SlideError
        Where neither is there: a scale is never guessed.
    """
    if stated is not None:
        return as_scale(stated)
    if found is None:
        raise SlideError(
            "This slide does not say how large its pixels are",
            slide=path.name,
            stain=stain,
            expected="µm per px in the file",
            found=what_found or "none",
            next="give it with --um-per-px, for example --um-per-px 0.5",
        )
    return found


class OpenGuard:
    """Keeps a file open while it is read, and says so when it is closed: a closed file number may belong to another file."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._idle = threading.Condition()
        self._readers = 0
        self._closed = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold the file open.

        Raises
        ------
        ValueError
            When it has been closed.
        """
        with self._idle:
            if self._closed:
                raise ValueError(f"read of a closed slide: {self._name}")
            self._readers += 1
        try:
            yield
        finally:
            with self._idle:
                self._readers -= 1
                if not self._readers:
                    self._idle.notify_all()

    def close(self) -> bool:
        """Refuse further reads and wait for those under way. True for the first to call."""
        with self._idle:
            first = not self._closed
            self._closed = True
            while self._readers:
                self._idle.wait()
            return first


@dataclass(frozen=True)
class StoredLevel:
    """One level as a file keeps it.

    Attributes
    ----------
    size
        px.
    tile
        Rows and columns of one tile, px; the last ones of a row or column may hang over.
    um_per_px
        True um per px, (row, col).
    """

    size: Size
    tile: Size
    um_per_px: Scale


class TiledSlide(ABC):
    """An opened slide whose levels are kept in tiles; levels that the file lacks are halved from the coarsest, on demand.

    Parameters
    ----------
    path
        The file.
    levels
        Those of the file, the finest first.
    cache
        Keeps the decoded tiles.

    Notes
    -----
    The added levels go down to `OVERVIEW_PX`. Each of their tiles is made from four tiles of the level below, through the
    cache, so memory stays bounded; the first look at a whole slide without levels decodes all of it once.
    """

    def __init__(self, path: Path, levels: Sequence[StoredLevel], cache: TileCache) -> None:
        self._path = path
        self._cache = cache
        self._owner = object()  # not self: the cache must not keep a slide alive
        self._stored = len(levels)
        self._levels = (*levels, *_halved_levels(levels[-1]))
        self._guard = OpenGuard(path.name)

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def levels(self) -> tuple[Size, ...]:
        """Size of each level, px."""
        return tuple(level.size for level in self._levels)

    @property
    def um_per_px(self) -> tuple[Scale, ...]:
        """True um per px of each level, (row, col)."""
        return tuple(level.um_per_px for level in self._levels)

    def read(self, level: int, box: Box) -> Pixels:
        """The pixels of a box of one level, RGB, exactly the box's shape, white outside the slide.

        Raises
        ------
        SlideError
            When the file is damaged where the box lies.
        ValueError
            For a level that does not exist, a box of negative size, a closed slide.
        """
        if not 0 <= level < len(self._levels):
            raise ValueError(f"levels are 0 to {len(self._levels) - 1}: {level}")
        if box.rows < 0 or box.cols < 0:
            raise ValueError(f"a box has no negative size: {box}")
        with self._guard.reading():
            return self._read(level, box)

    def _read(self, level: int, box: Box) -> Pixels:
        size, tile = self._levels[level].size, self._levels[level].tile
        frame = whole(size)
        inside = box.intersect(frame)
        pixels = np.empty((box.rows, box.cols, 3), np.uint8)
        if inside != box:
            pixels[:] = 255
        if inside.empty:
            return pixels
        for row in range(inside.row // tile.rows, (inside.row_end - 1) // tile.rows + 1):
            for col in range(inside.col // tile.cols, (inside.col_end - 1) // tile.cols + 1):
                place = Box(row * tile.rows, col * tile.cols, tile.rows, tile.cols).intersect(frame)
                part = place.intersect(inside)
                pixels[part.within(box)] = self._tile(level, row, col, place)[part.within(place)]
        return pixels

    def _tile(self, level: int, row: int, col: int, place: Box) -> Pixels:
        if level < self._stored:
            return self._cache.get((self._owner, level, row, col), lambda: self._decode(level, row, col, place))
        finer = Box(2 * place.row, 2 * place.col, 2 * place.rows, 2 * place.cols)
        finer = finer.intersect(whole(self._levels[level - 1].size))
        return self._cache.get((self._owner, level, row, col), lambda: halve(self._read(level - 1, finer)))

    @abstractmethod
    def _decode(self, level: int, row: int, col: int, place: Box) -> Pixels:
        """The pixels of one stored tile, RGB, exactly `place` (the tile's box, cut at the edge of the level)."""

    @abstractmethod
    def _release(self) -> None:
        """Give the file back; called once, when nobody reads."""

    def close(self) -> None:
        """Give the file back, once those who read have ended, and drop its tiles from the cache."""
        if self._guard.close():
            self._release()
            self._cache.forget(self._owner)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _halved_levels(coarsest: StoredLevel) -> list[StoredLevel]:
    levels = [coarsest]
    while max(levels[-1].size.shape) > OVERVIEW_PX and min(levels[-1].size.shape) > 1:
        size, scale = levels[-1].size, levels[-1].um_per_px
        half = Size((size.rows + 1) // 2, (size.cols + 1) // 2)
        levels.append(StoredLevel(half, Size(512, 512), (scale[0] * 2, scale[1] * 2)))
    return levels[1:]


def level_scale(size0: Size, size: Size, um_per_px: Scale) -> Scale:
    """True um per px of a level, from the sizes of level 0 and of it.

    Notes
    -----
    Writers round the size of a level up or down, so the ratio of the sizes is off by up to one pixel of the level, and
    positions far from the origin with it. Where one power of two, else one whole number, explains both sides within that
    rounding, it is the factor; else the ratio of the sizes is.
    """
    ratios = np.array(size0.shape) / np.array(size.shape)
    mean = float(np.sqrt(ratios.prod()))
    for factor in (2.0 ** round(np.log2(mean)), float(round(mean))):
        if np.all(np.abs(np.array(size0.shape) / factor - np.array(size.shape)) < 1):
            return (um_per_px[0] * factor, um_per_px[1] * factor)
    return (um_per_px[0] * float(ratios[0]), um_per_px[1] * float(ratios[1]))
