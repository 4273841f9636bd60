"""Labels carried to another section: right places, no invented class; Dice."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stainloom.case.warp import Grid, Warp
from stainloom.geometry import BoxUm
from stainloom.labels.transfer import carry_labels, dice, dice_by_class
from stainloom.progress import Cancelled


def shifted(rows_um: float, cols_um: float) -> Warp:
    return Warp.from_affine(np.array([[1, 0, rows_um], [0, 1, cols_um]], np.float64))


def test_a_shift_by_whole_pixels_is_exact() -> None:
    raster = np.random.default_rng(0).integers(0, 5, (30, 40)).astype(np.uint8)
    carried = carry_labels(raster, 2.0, shifted(6, -4), (60, 80), 2.0)
    assert carried.shape == (30, 40)
    np.testing.assert_array_equal(carried[3:, :38], raster[:27, 2:])
    assert not carried[:3].any()
    assert not carried[:, 38:].any()


def test_a_finer_target_and_a_turn_keep_each_place() -> None:
    raster = np.array([[1, 2], [3, 0]], np.uint8)
    # A quarter turn: (row, col) um goes to (col, 8 - row).
    turn = Warp.from_affine(np.array([[0, 1, 0], [-1, 0, 8]], np.float64))
    carried = carry_labels(raster, 4.0, turn, (8, 8), 2.0)
    np.testing.assert_array_equal(carried, np.kron([[3, 1], [0, 2]], np.ones((2, 2), int)))


def test_where_the_warp_says_nothing_nothing_is_annotated() -> None:
    grid = Grid.covering(BoxUm(0, 0, 100, 40), 20)
    warp = Warp.from_grid(np.eye(2, 3), grid, (100, 100))
    carried = carry_labels(np.full((50, 50), 3, np.uint8), 2.0, warp, (100, 100), 2.0)
    assert (carried[:, :18] == 3).all()
    assert not carried[:, 35:].any()


@settings(max_examples=25, deadline=None)
@given(
    hnp.arrays(np.uint8, (12, 9)),
    st.floats(-math.pi, math.pi),
    st.floats(0.5, 2),
    st.tuples(st.floats(-20, 20), st.floats(-20, 20)),
)
def test_transfer_invents_no_class(
    raster: np.ndarray[Any, Any], angle: float, scale: float, shift: tuple[float, float]
) -> None:
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    warp = Warp.from_affine(np.hstack([turn, np.array([shift]).T]))
    carried = carry_labels(raster, (2.0, 3.0), warp, (31, 25), (1.3, 0.9))
    assert set(np.unique(carried)) <= set(np.unique(raster)) | {0}


def test_boxes_do_not_show_and_cancel_is_heard() -> None:
    raster = np.random.default_rng(1).integers(0, 3, (300, 310)).astype(np.uint8)
    grid = Grid.covering(BoxUm(0, 0, 2500, 2500), 100)
    bend = np.random.default_rng(2).normal(0, 6, grid.displacement_um.shape)
    warp = Warp.from_grid(np.eye(2, 3), grid.with_displacement(bend), (2300, 2300))
    seen: list[tuple[float, float]] = []
    large = carry_labels(raster, 8.0, warp, (2300, 2300), 2.0, progress=lambda d, t, w: seen.append((d, t)))
    assert large.shape == (1150, 1150)
    assert seen == [(n, 4) for n in range(5)]
    np.testing.assert_array_equal(carry_labels(raster, 8.0, warp, (2000, 2000), 2.0), large[:1000, :1000])

    def cancel(done: float, total: float, what: str, slide: str = "") -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        carry_labels(raster, 8.0, warp, (2300, 2300), 2.0, progress=cancel)


def test_odd_input_is_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        carry_labels(np.zeros((3, 3), np.int32), 1.0, shifted(0, 0), (3, 3), 1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="more um per px"):
        carry_labels(np.zeros((3, 3), np.uint8), 1.0, shifted(0, 0), (70_000, 3), 1.0)


def test_dice_of_known_masks() -> None:
    a, b = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    a[:2], b[1:3] = 1, 1
    b[3] = 2
    assert dice(a == 1, b == 1) == 0.5
    assert dice_by_class(a, b) == {1: 0.5, 2: 0.0}
    assert dice(a, a) == 1.0
    assert math.isnan(dice(a == 9, b == 9))
    inside = np.zeros((4, 4), np.bool_)
    inside[1:2] = True
    assert dice(a == 1, b == 1, inside) == 1.0
    with pytest.raises(ValueError, match="one shape"):
        dice(a, b[:2])
