"""A cache of decoded tiles: bounded in bytes, one decode per tile; made and handed in by whoever opens slides."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

from stainloom.geometry import Pixels

MIB = 1024 * 1024


class _Decode:
    """One decode in progress: those who ask for the same tile meanwhile wait here."""

    __slots__ = ("done", "error", "forgotten", "pixels")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.pixels: Pixels | None = None
        self.error: BaseException | None = None
        self.forgotten = False


class TileCache:
    """Decoded tiles of all open slides, the least recently used dropped first.

    One cache serves every slide of a session or job, so that its bound holds for all of them together. Safe from any
    number of threads: a tile is decoded once however many ask for it at a time, and no lock is held while it decodes
    (so making one tile may ask for others).

    Parameters
    ----------
    max_bytes
        Bytes of pixels kept at most. A tile larger than this is handed out but not kept.

    Raises
    ------
    ValueError
        For a negative bound.
    """

    def __init__(self, max_bytes: int = 512 * MIB) -> None:
        if max_bytes < 0:
            raise ValueError(f"a cache holds no less than 0 bytes: {max_bytes}")
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, Pixels] = OrderedDict()
        self._making: dict[Hashable, _Decode] = {}
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """Bytes of pixels kept now."""
        return self._bytes

    def get(self, key: Hashable, make: Callable[[], Pixels]) -> Pixels:
        """The tile of a key, from the cache or made now.

        Parameters
        ----------
        key
            What names the tile. A slide uses `(owner, level, row, col)`, so that `forget(owner)` finds its tiles.
        make
            Decodes the tile; called at most once at a time per key. What it raises reaches everyone who waits for this
            tile, and is not kept: the next to ask tries again.

        Returns
        -------
        The tile, read-only.
        """
        while True:
            with self._lock:
                pixels = self._kept.get(key)
                if pixels is not None:
                    self._kept.move_to_end(key)
                    return pixels
                decode = self._making.get(key)
                if decode is None:
                    mine = self._making[key] = _Decode()
                    break
            decode.done.wait()
            if decode.pixels is not None:
                return decode.pixels
            if isinstance(decode.error, Exception):
                raise decode.error
            # Its thread was interrupted, which is no fault of the tile: ask again.
        return self._make(key, mine, make)

    def kept(self, key: Hashable) -> Pixels | None:
        """The tile of a key where it is kept now, read-only; None otherwise, and nothing is made."""
        with self._lock:
            pixels = self._kept.get(key)
            if pixels is not None:
                self._kept.move_to_end(key)
            return pixels

    def _make(self, key: Hashable, decode: _Decode, make: Callable[[], Pixels]) -> Pixels:
        try:
            pixels = make()
            pixels.flags.writeable = False
            decode.pixels = pixels
        except BaseException as error:
            decode.error = error
            raise
        finally:
            with self._lock:
                if self._making.get(key) is decode:
                    del self._making[key]
                if decode.pixels is not None and not decode.forgotten:
                    self._keep(key, decode.pixels)
            decode.done.set()
        return pixels

    def _keep(self, key: Hashable, pixels: Pixels) -> None:
        if pixels.nbytes > self._max_bytes:
            return
        self._kept[key] = pixels
        self._bytes += pixels.nbytes
        while self._bytes > self._max_bytes:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= dropped.nbytes

    def forget(self, owner: object) -> None:
        """Drop the tiles of a closed slide: all keys that are tuples starting with `owner`, also those being made."""
        with self._lock:
            for key in [key for key in self._kept if _owned(key, owner)]:
                self._bytes -= self._kept.pop(key).nbytes
            for key in [key for key in self._making if _owned(key, owner)]:
                self._making.pop(key).forgotten = True


def _owned(key: Hashable, owner: object) -> bool:
    return isinstance(key, tuple) and len(key) > 0 and key[0] is owner
