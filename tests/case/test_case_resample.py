"""Pictures and labels through a warp."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stainloom.case.resample import overview, resample_image, resample_labels
from stainloom.case.warp import Grid, Warp
from stainloom.geometry import ArrayPyramid, Box, BoxUm, Size

_RNG = np.random.default_rng(0)
_PICTURE = _RNG.integers(0, 255, (300, 400, 3), dtype=np.uint8)
_LABELS = _RNG.integers(0, 4, (150, 200), dtype=np.uint8)


def _bent() -> Warp:
    grid = Grid.covering(BoxUm(-100, -100, 700, 700), 50)
    nodes = grid.nodes_um
    bend = 6 * np.stack([np.sin(nodes[..., 1] / 90), np.cos(nodes[..., 0] / 80)], axis=-1)
    turn = np.deg2rad(12)
    affine = np.array([[np.cos(turn), -np.sin(turn), 20.0], [np.sin(turn), np.cos(turn), -10.0]])
    return Warp.from_grid(affine, grid.with_displacement(bend), (300, 400))


def test_without_a_warp_at_its_own_scale_a_picture_is_itself() -> None:
    pyramid = ArrayPyramid(_PICTURE, 0.5)
    assert (resample_image(pyramid, None, Box(0, 0, 300, 400), 0.5) == _PICTURE).all()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 200), st.integers(0, 300), st.integers(1, 150), st.integers(1, 150))
def test_any_box_alone_equals_that_box_of_the_whole(row: int, col: int, rows: int, cols: int) -> None:
    pyramid, warp = ArrayPyramid(_PICTURE, 1.0), _bent()
    box = Box(row, col, rows, cols)
    frame = Box(0, 0, 400, 500)
    assert (
        resample_image(pyramid, warp, box, 1.0) == resample_image(pyramid, warp, frame, 1.0)[box.within(frame)]
    ).all()
    carried = resample_labels(_LABELS, (2.0, 2.0), warp, frame, 1.0)
    assert (resample_labels(_LABELS, (2.0, 2.0), warp, box, 1.0) == carried[box.within(frame)]).all()


def test_carried_labels_invent_no_class_and_nothing_beyond_the_raster() -> None:
    raster = np.where(_LABELS > 1, 7, 0).astype(np.uint8)
    carried = resample_labels(raster, (2.0, 2.0), _bent(), Box(-50, -50, 500, 600), 1.0)
    assert set(np.unique(carried)) == {0, 7}
    assert carried[0, 0] == 0


def test_labels_at_half_the_scale_lie_where_the_picture_lies() -> None:
    raster = np.zeros((10, 10), np.uint8)
    raster[2, 3] = 1
    fine = resample_labels(raster, (2.0, 2.0), None, Box(0, 0, 20, 20), 1.0)
    assert np.argwhere(fine).tolist() == [[4, 6], [4, 7], [5, 6], [5, 7]]


def test_a_shift_by_whole_pixels_is_exact_and_white_beyond() -> None:
    pyramid = ArrayPyramid(_PICTURE, 1.0)
    warp = Warp.from_affine(np.array([[1.0, 0, 10], [0, 1.0, 20]]))
    moved = resample_image(pyramid, warp, Box(0, 0, 300, 400), 1.0)
    assert (moved[:290, :380] == _PICTURE[10:, 20:]).all()
    assert moved[290:].min() == 255
    assert resample_image(pyramid, warp, Box(0, 0, 300, 400), 1.0, fill=0)[290:].max() == 0


class _OneLevel(ArrayPyramid):
    """A slide without a pyramid."""

    @property
    def levels(self) -> tuple[Size, ...]:
        return super().levels[:1]

    @property
    def um_per_px(self) -> tuple[tuple[float, float], ...]:
        return super().um_per_px[:1]


def test_a_coarse_view_of_a_slide_without_a_pyramid_does_not_alias() -> None:
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[::2] = 200
    coarse = overview(_OneLevel(stripes, 1.0), 16.0)
    assert coarse.shape == (32, 32, 3)
    assert np.abs(coarse[2:-2, 2:-2].astype(int) - 100).max() <= 1


def test_an_overview_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no overview"):
        overview(ArrayPyramid(_PICTURE, 1.0), 0.01)
