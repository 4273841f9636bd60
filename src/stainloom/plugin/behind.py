"""Tiles rendered behind the window: what is looked at first, then what may be looked at next; what nobody wants any more never."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

from stainloom.geometry import Pixels
from stainloom.io.tiles import TileCache

_log = logging.getLogger(__name__)

Make = Callable[[], Pixels]
Wanted = tuple[Hashable, Make]
"""The key of a tile, and what renders it."""


@dataclass(eq=False)
class Asker:
    """Who waits for tiles: one picture on the screen.

    Attributes
    ----------
    came
        Tiles that came since it last took them, by key; None where a tile could not be rendered.
    """

    came: dict[Hashable, Pixels | None] = field(default_factory=dict)
    waiting: set[Hashable] = field(default_factory=set)
    queue: deque[Wanted] = field(default_factory=deque)


class Behind:
    """Renders tiles in the threads of a pool and says when they are there.

    Parameters
    ----------
    tiles
        Keeps what was rendered.
    pool
        Its threads; others may use them too, so no more tasks than threads wait in it.
    threads
        How many tiles are rendered at once.

    Notes
    -----
    Pictures that asked last come first. Asking again replaces what the same picture asked for and what was rendered
    ahead: who moves on quickly leaves no queue behind.
    """

    def __init__(self, tiles: TileCache, pool: Executor, threads: int) -> None:
        self._tiles, self._pool, self._threads = tiles, pool, threads
        self._lock = threading.RLock()
        self._askers: list[Asker] = []
        self._ahead: deque[Wanted] = deque()
        self._at_work = 0
        self._closed = False
        self.arrived: Callable[[Asker], None] | None = None
        """Called in a thread of the pool when a tile that somebody waits for is there: before `idle` tells that it is."""
        self.failed: Callable[[Exception], None] | None = None
        """Called in a thread of the pool when a tile could not be rendered."""

    @property
    def idle(self) -> bool:
        """Whether nobody waits for a tile; rendering ahead does not count."""
        with self._lock:
            return not any(asker.waiting for asker in self._askers)

    def want(self, asker: Asker, wanted: Sequence[Wanted]) -> None:
        """Render tiles for a picture, in this order, in place of what it asked for before."""
        with self._lock:
            self._askers = [other for other in self._askers if other is not asker]
            asker.queue, asker.waiting = deque(wanted), {key for key, _ in wanted}
            asker.came.clear()
            self._ahead.clear()
            if wanted:
                self._askers.append(asker)
        self._start()

    def ahead(self, wanted: Sequence[Wanted]) -> None:
        """Render tiles that nobody waits for, while there is nothing else to do."""
        with self._lock:
            self._ahead = deque(wanted)
        self._start()

    def forget(self, asker: Asker) -> None:
        """A picture is not looked at any more."""
        with self._lock:
            self._askers = [other for other in self._askers if other is not asker]
            asker.queue.clear()
            asker.waiting.clear()

    def take(self, asker: Asker) -> dict[Hashable, Pixels | None]:
        """The tiles that came for a picture since it last asked; they are handed out once."""
        with self._lock:
            came, asker.came = asker.came, {}
        return came

    def close(self) -> None:
        """Begin no tile any more."""
        with self._lock:
            self._closed = True
            for asker in self._askers:
                asker.queue.clear()
                asker.waiting.clear()
            self._askers.clear()
            self._ahead.clear()

    def _start(self) -> None:
        with self._lock:
            count = min(self._threads - self._at_work, self._left())
            if self._closed or count <= 0:
                return
            self._at_work += count
        for _ in range(count):
            self._pool.submit(self._work)

    def _left(self) -> int:
        return sum(len(asker.queue) for asker in self._askers) + len(self._ahead)

    def _next(self) -> tuple[Asker | None, Wanted] | None:
        for asker in reversed(self._askers):
            if asker.queue:
                return asker, asker.queue.popleft()
        return (None, self._ahead.popleft()) if self._ahead else None

    def _work(self) -> None:
        """One tile, then the next in a task of its own: who reads a tile in the meantime waits for one, not for all."""
        with self._lock:
            found = self._next()
            if found is None or self._closed:
                self._at_work -= 1
                return
        asker, (key, make) = found
        pixels: Pixels | None = None
        try:
            pixels = self._tiles.get(key, make)
        except Exception as error:
            _log.info("a tile could not be rendered", exc_info=True)
            if self.failed is not None and not self._closed:
                self.failed(error)
        if asker is not None:
            self._hand_over(asker, key, pixels)
        try:
            self._pool.submit(self._work)
        except RuntimeError:  # the pool was shut down meanwhile
            with self._lock:
                self._at_work -= 1

    def _hand_over(self, asker: Asker, key: Hashable, pixels: Pixels | None) -> None:
        with self._lock:
            # A tile that was wanted a moment ago is kept in the cache; only those still waited for are told.
            wanted = key in asker.waiting
            if wanted:
                asker.waiting.discard(key)
                asker.came[key] = pixels
                if self.arrived is not None:
                    self.arrived(asker)
