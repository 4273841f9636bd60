"""Counts, lists, sizes and times as people say them."""

from __future__ import annotations

from datetime import UTC

import pytest

from stainloom.wording import lasting, listed, many, moment, size_of


def test_counts_take_their_noun():
    assert (many(1, "slide"), many(0, "slide"), many(1240, "slide")) == ("1 slide", "0 slides", "1,240 slides")


def test_lists_end_in_and():
    assert [listed(names) for names in ([], ["HE"], ["HE", "VG"], ["HE", "SMA", "VG"])] == ["", "HE", "HE and VG", "HE, SMA and VG"]  # fmt: skip


def test_sizes_and_times():
    assert [size_of(n) for n in (10, 3_400_000, 1_440_000_000)] == ["1 kB", "3 MB", "1.4 GB"]
    assert [lasting(s) for s in (0.2, 42, 360, 5400)] == ["1 s", "42 s", "6 min", "1.5 h"]


@pytest.mark.parametrize(
    ("iso", "said"),
    [
        ("2026-11-23T10:00:07+00:00", "2026-11-23 10:00 UTC"),
        ("2026-11-23T10:00:07+01:00", "2026-11-23 09:00 UTC"),
        ("an unknown time", "an unknown time"),
        ("0001-01-01T00:00:00+12:00", "0001-01-01T00:00:00+12:00"),
    ],
)
def test_moments(iso, said):
    assert moment(iso) == said


def test_a_day_that_comes_first_has_no_zero():
    assert moment("2026-11-03T10:00:00+00:00", "%d %b %H:%M", UTC) == "3 Nov 10:00"
