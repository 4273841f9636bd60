"""um and px, boxes and pyramids in memory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stainloom.geometry import (
    ArrayPyramid,
    Box,
    BoxUm,
    Pyramid,
    Size,
    as_scale,
    box_to_um,
    centres_um,
    index_to_um,
    level_for,
    size_at,
    tiles,
    um_to_box,
    um_to_index,
    whole,
)

boxes = st.builds(Box, st.integers(-50, 50), st.integers(-50, 50), st.integers(1, 40), st.integers(1, 40))
scales = st.floats(0.05, 20)


@given(boxes, scales, scales)
def test_a_box_of_pixels_survives_the_way_to_um_and_back(box: Box, row: float, col: float) -> None:
    assert um_to_box(box_to_um(box, (row, col)), (row, col)) == box


@given(st.floats(-1e4, 1e4), scales)
def test_an_index_survives_the_way_to_um_and_back(index: float, scale: float) -> None:
    there = index_to_um(np.array([[index, index]]), (scale, 2 * scale))
    assert um_to_index(there, (scale, 2 * scale)) == pytest.approx(np.array([[index, index]]), abs=1e-6)


def test_the_centre_of_the_first_pixel_lies_half_a_pixel_from_the_corner() -> None:
    assert index_to_um(np.array([[0.0, 0.0]]), (0.5, 2.0)).tolist() == [[0.25, 1.0]]
    assert centres_um(Box(1, 2, 1, 1), (0.5, 2.0)).tolist() == [[[0.75, 5.0]]]


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 33))
def test_tiles_cover_each_pixel_once(rows: int, cols: int, tile: int) -> None:
    seen = np.zeros((rows, cols), int)
    for box in tiles(Size(rows, cols), tile):
        seen[box.within(Box(0, 0, rows, cols))] += 1
    assert (seen == 1).all()


@given(boxes, boxes)
def test_an_intersection_lies_in_both_boxes(one: Box, other: Box) -> None:
    shared = one.intersect(other)
    assert shared == other.intersect(one)
    if not shared.empty:
        assert one.row <= shared.row
        assert shared.row_end <= min(one.row_end, other.row_end)


def test_a_size_in_um_is_covered_and_never_empty() -> None:
    assert size_at((10.0, 9.1), 2.0) == Size(5, 5)
    assert size_at((0.1, 0.1), 2.0) == Size(1, 1)


def test_a_scale_must_be_positive_and_finite() -> None:
    assert as_scale(2) == (2.0, 2.0)
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="positive"):
            as_scale(wrong)


def test_a_picture_in_memory_is_a_pyramid_with_true_scales_and_white_outside() -> None:
    picture = np.zeros((301, 700, 3), np.uint8)
    pyramid = ArrayPyramid(picture, 0.5, smallest_px=200)
    assert isinstance(pyramid, Pyramid)
    assert pyramid.levels == (Size(301, 700), Size(151, 350), Size(76, 175))
    assert pyramid.um_per_px[2] == (2.0, 2.0)
    read = pyramid.read(0, Box(-1, -1, 3, 3))
    assert read[0].min() == 255
    assert read[1:, 1:].max() == 0
    assert (level_for(pyramid, 2.0), level_for(pyramid, 1.9), level_for(pyramid, 0.1)) == (2, 1, 0)
    assert pyramid.read(0, Box(1000, 1000, 2, 2)).min() == 255


def test_corners_of_a_rectangle_go_round() -> None:
    assert BoxUm(1, 2, 3, 4).corners().tolist() == [[1, 2], [1, 6], [4, 6], [4, 2]]
    assert whole(Size(3, 4)) == Box(0, 0, 3, 4)
