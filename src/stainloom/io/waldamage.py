"""Whether a write-ahead log of SQLite lost transactions that were acknowledged, which SQLite itself does not tell."""

from __future__ import annotations

import struct
import sys
from array import array

_HEADER, _FRAME = 32, 24
_MAGIC = (0x377F0682, 0x377F0683)


def wal_damage(data: bytes) -> str | None:
    """What is wrong with the content of a `-wal` file, or None.

    Parameters
    ----------
    data
        The whole file.

    Notes
    -----
    SQLite reads a log up to the first frame whose checksum fails and drops the rest silently, because that is what an
    interrupted write leaves. But a write can only be interrupted in the last transaction: where a whole transaction
    stands *behind* the failing frame, and is not the last thing in the log, one that was acknowledged is lost. A log
    without a valid header is dropped as a whole; the header is flushed before the first frame, so with frames behind it
    that is damage as well. Damage in the last transaction cannot be told from an interrupted write.

    References
    ----------
    https://www.sqlite.org/fileformat2.html#the_write_ahead_log
    """
    if len(data) <= _HEADER or not any(data):
        return None
    magic, _, page, _, *salts_and_sums = struct.unpack(">8I", data[:_HEADER])
    salts, sums = data[16:24], tuple(salts_and_sums[2:])
    if magic not in _MAGIC:
        return "its header is not what was written"
    big = bool(magic & 1)
    if _checksum(data[:24], (0, 0), big) != sums:
        return "its header is not what was written"
    step = _FRAME + (65_536 if page == 1 else page)
    running, commits, last_commit, last_frame, broken = sums, 0, -1, -1, False
    for start in range(_HEADER, len(data) - step + 1, step):
        head = data[start : start + _FRAME]
        if not broken:
            running = _checksum(head[:8], running, big)
            running = _checksum(data[start + _FRAME : start + step], running, big)
            broken = head[8:16] != salts or running != struct.unpack(">2I", head[16:24])
        if broken and head[8:16] == salts:
            last_frame = start
            if head[4:8] != b"\0\0\0\0":
                commits, last_commit = commits + 1, start
    if commits > 1 or (commits == 1 and last_frame > last_commit):
        return "a stroke in it is not what was written, and others follow it"
    return None


def _checksum(data: bytes, sums: tuple[int, ...], big: bool) -> tuple[int, int]:
    words = array("I", data)
    if big != (sys.byteorder == "big"):
        words.byteswap()
    first, second = sums
    both = iter(words)
    for even, odd in zip(both, both, strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
