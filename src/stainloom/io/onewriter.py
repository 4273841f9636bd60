"""One writer to a file of labels: a hold that nobody loses by accident."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_held: set[tuple[int, int]] = set()


class HeldElsewhereError(Exception):
    """Another writer holds the file."""


class Hold:
    """A file held for writing until `release`.

    Parameters
    ----------
    path
        The file; it must exist.

    Raises
    ------
    HeldElsewhereError
        Where this or another process holds it.

    Notes
    -----
    SQLite's own locks are not enough on POSIX systems: a process loses them as soon as *anything* in it closes the same
    file, a checksum or a copy for instance, and a second writer walks in (it did, in a test). So the file is locked by
    `flock` as well, which belongs to one descriptor, and what this process holds is remembered so that it never opens
    it twice. Where a file system knows no `flock`, SQLite's locks remain.
    """

    def __init__(self, path: Path) -> None:
        refuse_if_held_here(path)
        self._handle: int | None = None
        found = path.stat()
        self._key = (found.st_dev, found.st_ino)
        if sys.platform != "win32":
            with suppress(PermissionError, OSError):
                self._handle = os.open(path, os.O_RDWR)
            if self._handle is not None:
                try:
                    _lock(self._handle, fcntl.LOCK_EX)
                except HeldElsewhereError:
                    os.close(self._handle)
                    raise
        _held.add(self._key)

    def release(self) -> None:
        """Let go; after the database connection was closed, or that would lose its locks."""
        _held.discard(self._key)
        handle, self._handle = self._handle, None
        if handle is not None:
            if sys.platform != "win32":
                # A forked child may share the descriptor, and with it the lock.
                with suppress(OSError):
                    fcntl.flock(handle, fcntl.LOCK_UN)
            os.close(handle)


def refuse_if_held_here(path: Path) -> None:
    """`HeldElsewhereError` where this process holds the file: it must not even be opened to look at."""
    found = path.stat()
    if (found.st_dev, found.st_ino) in _held:
        raise HeldElsewhereError(str(path))


def refuse_if_held(path: Path) -> None:
    """`HeldElsewhereError` where any process holds the file."""
    refuse_if_held_here(path)
    if sys.platform != "win32":
        handle = os.open(path, os.O_RDONLY)
        try:
            _lock(handle, fcntl.LOCK_SH)
        finally:
            os.close(handle)


def _lock(handle: int, kind: int) -> None:
    if sys.platform != "win32":
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HeldElsewhereError from error
        except OSError:
            return
