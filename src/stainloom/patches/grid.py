"""Windows over a rectangle: which whole ones fit, and how many smaller ones are left at its edges."""

from __future__ import annotations

from stainloom.geometry import Box


def windows_in(box: Box, size_px: int) -> tuple[tuple[Box, ...], tuple[Box, ...]]:
    """Cut a rectangle into windows, from its first row and column on.

    Parameters
    ----------
    box
        The rectangle, px of the patch grid.
    size_px
        Edge of a window.

    Returns
    -------
    The whole windows, and the smaller ones left at the last rows and columns. Together they cover each pixel once.
    """
    if size_px < 1:
        raise ValueError(f"a window has at least one pixel: {size_px}")
    whole: list[Box] = []
    smaller: list[Box] = []
    for row in range(box.row, box.row_end, size_px):
        for col in range(box.col, box.col_end, size_px):
            window = Box(row, col, min(size_px, box.row_end - row), min(size_px, box.col_end - col))
            (whole if window.shape == (size_px, size_px) else smaller).append(window)
    return tuple(whole), tuple(smaller)
