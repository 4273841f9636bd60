"""Windows over a rectangle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stainloom.geometry import Box
from stainloom.patches.grid import windows_in


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(0, 90), st.integers(0, 90), st.integers(1, 40))
def test_windows_and_remainders_cover_each_pixel_once(row: int, col: int, rows: int, cols: int, size: int) -> None:
    box = Box(row, col, rows, cols)
    whole, smaller = windows_in(box, size)
    seen = np.zeros((rows, cols), int)
    for window in whole + smaller:
        seen[window.within(box)] += 1
    assert (seen == 1).all()
    assert all(window.shape == (size, size) for window in whole)
    assert all(window.rows < size or window.cols < size for window in smaller)
    assert len(whole) == (rows // size) * (cols // size)


def test_a_window_without_pixels_is_a_programmers_mistake() -> None:
    with pytest.raises(ValueError, match="0"):
        windows_in(Box(0, 0, 5, 5), 0)
