"""A section laid by hand: moves about its tissue's centre, every one undone, and the affine that a warp is made of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stainloom.case.warp import Warp
from stainloom.plugin.laying import Laying, turn_between

CENTRE = (420.0, 310.0)
START = np.array([[0.98, 0.17, 40.0], [-0.16, 1.01, -25.0]])
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("turn"), st.floats(-180, 180)),
        st.tuples(st.just("mirror")),
        st.tuples(st.just("shift"), st.floats(-3000, 3000), st.floats(-3000, 3000)),
    ),
    max_size=12,
)


def laid(*moves: tuple, start: np.ndarray = START) -> Laying:
    laying = Laying(start, CENTRE)
    for name, *amounts in moves:
        getattr(laying, name)(*amounts)
    return laying


@given(MOVES)
def test_every_move_is_undone_and_the_way_back_is_the_inverse(moves):
    laying = laid(*moves)
    assert np.allclose(Warp.from_affine(laying.affine).inverse().affine, laying.backward, atol=1e-6)
    assert laying.mirrored == (sum(move[0] == "mirror" for move in moves) % 2 == 1)
    for _ in moves:
        assert laying.undoable
        laying.undo()
    assert not laying.undoable
    assert np.array_equal(laying.affine, START)
    assert not laying.changed


@given(MOVES, st.floats(-180, 180))
def test_turning_and_mirroring_leave_the_centre_of_the_tissue_where_it_is(moves, degrees):
    laying = laid(*moves)
    before = laying.centre_um
    laying.turn(degrees)
    laying.mirror()
    assert np.allclose(laying.centre_um, before, atol=1e-6)
    assert np.allclose(Warp.from_affine(laying.affine).points(before), CENTRE, atol=1e-6)


@given(st.floats(-179, 179), st.booleans())
def test_degrees_say_how_far_it_is_turned(degrees, mirrored):
    laying = laid(*([("mirror",)] if mirrored else []), start=np.eye(2, 3))
    laying.turn(degrees)
    assert laying.degrees == pytest.approx(degrees, abs=1e-6)
    laying.turn_to(33.0)
    assert laying.degrees == pytest.approx(33.0, abs=1e-6)


def test_clockwise_is_clockwise_on_the_screen():
    laying = laid(("turn", 90.0), start=np.eye(2, 3))
    above = np.array(CENTRE) - [100.0, 0.0]
    right = np.array(CENTRE) + [0.0, 100.0]
    assert np.allclose(laying.backward[:, :2] @ above + laying.backward[:, 2], right)
    assert turn_between(above, right, np.array(CENTRE)) == pytest.approx(90.0)
    assert turn_between(right, above, np.array(CENTRE)) == pytest.approx(-90.0)


def test_a_drag_is_one_move_however_many_steps_it_has():
    laying = laid()
    since = laying.affine
    for step in range(1, 6):
        laying.shift(10.0 * step, -4.0 * step, since)
    assert np.allclose(laying.centre_um, Laying(START, CENTRE).centre_um + [50.0, -20.0])
    since = laying.affine
    for step in range(1, 4):
        laying.turn(5.0 * step, since)
    assert laying.degrees == pytest.approx(Laying(START, CENTRE).degrees + 15.0)
    laying.undo()
    assert np.array_equal(laying.affine, since)
    laying.undo()
    assert np.array_equal(laying.affine, START)
    laying.undo()
    assert np.array_equal(laying.affine, START)


def test_it_can_be_laid_elsewhere_and_brought_over_a_place():
    told = []
    laying = Laying(START, CENTRE, lambda: told.append(1))
    laying.bring_to(np.array([1000.0, 2000.0]))
    assert np.allclose(laying.centre_um, [1000.0, 2000.0])
    laying.put(np.eye(2, 3))
    assert np.allclose(laying.centre_um, CENTRE)
    laying.undo()
    assert np.allclose(laying.centre_um, [1000.0, 2000.0])
    assert len(told) == 3


@given(MOVES)
def test_what_the_moves_come_to_is_the_warp_to_a_millionth_of_a_um(moves):
    # The same moves one after another on the picture that is drawn, in their own words.
    drawn = np.vstack([np.linalg.inv(np.vstack([START, [0, 0, 1]]))[:2], [0, 0, 1]])
    for name, *amounts in moves:
        centre = (drawn @ [*CENTRE, 1.0])[:2]
        motion = np.eye(3)
        if name == "shift":
            motion[:2, 2] = amounts
        else:
            angle = np.radians(amounts[0]) if name == "turn" else 0.0
            motion[:2, :2] = (
                np.diag([1.0, -1.0])
                if name == "mirror"
                else [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
            )
            motion[:2, 2] = centre - motion[:2, :2] @ centre
        drawn = motion @ drawn
    places = np.random.default_rng(0).uniform(0, 3000, (50, 2))
    known = np.hstack([places, np.ones((50, 1))]) @ np.linalg.inv(drawn)[:2].T
    assert np.abs(Warp.from_affine(laid(*moves).affine).points(places) - known).max() < 1e-6
