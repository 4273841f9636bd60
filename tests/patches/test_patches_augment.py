"""Turned and shifted crops."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stainloom.geometry import Box
from stainloom.patches.augment import context_needed_px, draw_shifts, turn_crop

TURNS = (0, 60, 90, 180, 270)


@pytest.mark.parametrize(("turn", "quarters"), [(0, 0), (90, 1), (180, 2), (270, 3), (360, 0)])
def test_quarter_turns_are_exact(turn: int, quarters: int) -> None:
    square = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), dtype=np.uint8)
    expected = np.rot90(square[:, 12:40, 7:35], quarters, axes=(1, 2))
    assert np.array_equal(turn_crop(square, turn, (2, -3), 28), expected)


@pytest.mark.parametrize("turn", [60, 30, 200, 345])
def test_a_known_pattern_comes_out_turned(turn: int) -> None:
    # a dot at a known place, counter-clockwise as seen
    square = np.zeros((1, 64, 64, 3), np.uint8)
    away = np.array([-9.0, 5.0])
    place = 31.5 + away
    cv2.circle(square[0], (round(place[1]), round(place[0])), 2, (255, 255, 255), -1)
    centre = np.argwhere(square[0, ..., 0] > 0).mean(axis=0) - 31.5
    found = turn_crop(square, turn, (0, 0), 40)[0, ..., 0].astype(float)
    rows, cols = np.indices(found.shape)
    seen = np.array([(rows * found).sum(), (cols * found).sum()]) / found.sum() - 19.5
    angle = np.radians(turn)
    expected = [
        centre[0] * np.cos(angle) - centre[1] * np.sin(angle),
        centre[0] * np.sin(angle) + centre[1] * np.cos(angle),
    ]
    assert np.abs(seen - expected).max() < 0.1


def test_a_slant_turn_agrees_with_quarter_turns_of_it() -> None:
    square = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (48, 48, 3), dtype=np.uint8), (0, 0), 2)[None]
    direct = turn_crop(square, 150, (0, 0), 28)
    turned_before = turn_crop(np.rot90(square, 1, axes=(1, 2)), 60, (0, 0), 28)
    assert np.abs(direct.astype(int) - turned_before).max() <= 2


@settings(max_examples=60, deadline=None)
@given(st.integers(8, 60), st.integers(0, 9), st.integers(0, 359), st.sampled_from([(1, 1), (1, -1), (-1, 1), (0, 1)]))
def test_no_corner_is_empty(size: int, shift: int, turn: int, way: tuple[int, int]) -> None:
    edge = context_needed_px(size, shift, (turn,))
    edge += (edge - size) % 2
    black = np.full((1, edge, edge, 3), 200, np.uint8)
    found = turn_crop(black, turn, (way[0] * shift, way[1] * shift), size)
    assert (found == 200).all()


def test_with_less_context_a_corner_is_empty() -> None:
    edge = context_needed_px(28, 4, (45,)) - 4
    found = turn_crop(np.full((1, edge, edge, 3), 200, np.uint8), 45, (4, 0), 28)
    assert (found < 200).any()


def test_the_default_needs_less_than_48_px_and_no_less_than_40() -> None:
    assert 40 <= context_needed_px(28, 4, TURNS) <= 48


def test_shifts_depend_on_place_turn_and_seed_alone() -> None:
    boxes = [Box(28 * k, 5, 28, 28) for k in range(300)]
    all_at_once = draw_shifts(boxes, TURNS, 4, 7)
    assert np.array_equal(all_at_once[::-1], draw_shifts(boxes[::-1], TURNS, 4, 7))
    assert np.array_equal(all_at_once[17:18], draw_shifts(boxes[17:18], TURNS, 4, 7))
    assert not np.array_equal(all_at_once, draw_shifts(boxes, TURNS, 4, 8))
    assert (all_at_once[:, 0] == 0).all()
    values, counts = np.unique(all_at_once[:, 1:], return_counts=True)
    assert values.tolist() == list(range(-4, 5))
    assert counts.min() > 180  # of 267 expected
    assert abs(np.corrcoef(all_at_once[:, 1, 0], all_at_once[:, 2, 1])[0, 1]) < 0.2


def test_negative_places_are_no_trouble() -> None:
    assert draw_shifts([Box(-5, -9, 28, 28)], TURNS, 4, 0).shape == (1, 5, 2)
