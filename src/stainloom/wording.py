"""Counts, lists, sizes and times as people say them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo


def many(count: int, one: str) -> str:
    """A count and its noun: *1 slide*, *1,240 slides*."""
    return f"{count:,} {one}" if count == 1 else f"{count:,} {one}s"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: *HE*, *HE and SMA*, *HE, SMA and VG*; empty without names."""
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def named(names: Sequence[str], most: int = 5) -> str:
    """The first names of many: *S01, S02 and 40 more*."""
    more = len(names) - most
    return listed(names) if more <= 0 else f"{', '.join(names[:most])} and {more:,} more"


def size_of(bytes_: float) -> str:
    """A size on disk: *3 MB*, *1.4 GB*."""
    if bytes_ >= 1e9:
        return f"{bytes_ / 1e9:.1f} GB"
    return f"{bytes_ / 1e6:.0f} MB" if bytes_ >= 1e6 else f"{max(1, round(bytes_ / 1e3))} kB"


DAY = "%d %b %Y"
DAY_AND_TIME = f"{DAY} %H:%M"
"""A form of `moment`: *3 Nov 2026 14:03*."""


def moment(when: str | datetime, form: str = "%Y-%m-%d %H:%M UTC", zone: tzinfo | None = UTC) -> str:
    """A moment for the reader, also from ISO 8601: *2026-11-23 10:00 UTC*; without a zone, as clocks here show it.

    A day that comes first is written without its zero. What is no moment stays as it is.
    """
    try:
        read = datetime.fromisoformat(when) if isinstance(when, str) else when
        said = read.astimezone(zone).strftime(form)
    except (ValueError, OverflowError, OSError):
        return str(when)
    return said.removeprefix("0") if form.startswith("%d") else said


def lasting(seconds: float) -> str:
    """How long something takes: *40 s*, *6 min*, *1.5 h*."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
