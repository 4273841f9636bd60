"""Shares of a progress bar."""

import pytest

from stainloom.progress import part


def test_a_part_reports_its_share_of_the_whole() -> None:
    seen: list[float] = []
    inner = part(lambda done, total, what, slide="": seen.append(done / total), 0.2, 0.6)
    for done in (0, 5, 10, 20):
        inner(done, 10, "aligning")
    assert seen == pytest.approx([0.2, 0.4, 0.6, 0.6])


def test_a_share_outside_the_bar_is_refused() -> None:
    with pytest.raises(ValueError, match="share"):
        part(lambda done, total, what, slide="": None, 0.5, 1.5)
