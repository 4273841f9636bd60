"""Warps: there and back, along one another, in and out of arrays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stainloom.case.warp import Grid, Step, Warp
from stainloom.geometry import BoxUm


def _affine(degrees: float, stretch: float, shift: float) -> np.ndarray:
    turn = np.deg2rad(degrees)
    return np.array(
        [[stretch * np.cos(turn), -np.sin(turn), shift], [stretch * np.sin(turn), np.cos(turn), 200.0 - shift]]
    )


def bent(degrees: float = 20, stretch: float = 1.1, shift: float = 150, strength: float = 8) -> Warp:
    """A warp of a 700 x 900 um section whose moving slide is 1,400 x 1,400 um."""
    grid = Grid.covering(BoxUm(0, 0, 700, 900), 25)
    nodes = grid.nodes_um
    bend = strength * np.stack([np.sin(nodes[..., 1] / 120), np.cos(nodes[..., 0] / 140)], axis=-1)
    return Warp.from_grid(_affine(degrees, stretch, shift), grid.with_displacement(bend), (1400, 1400))


@settings(max_examples=15, deadline=None)
@given(st.floats(-180, 180), st.floats(0.8, 1.25), st.floats(0, 300), st.floats(0, 12))
def test_warp_and_inverse_give_identity(degrees: float, stretch: float, shift: float, strength: float) -> None:
    warp = bent(degrees, stretch, shift, strength)
    points = np.random.default_rng(0).uniform([80, 80], [620, 820], (200, 2))
    there = warp.points(points)
    back = warp.inverse().points(there)
    known = np.isfinite(back[:, 0])
    on_slide = np.all((there > 30) & (there < 1370), axis=1)
    assert known[on_slide].all()
    assert np.abs(back[known] - points[known]).max(initial=0) < 0.5


def test_an_affine_warp_is_inverted_exactly() -> None:
    warp = Warp.from_affine(_affine(33, 1.2, 40))
    points = np.random.default_rng(1).uniform(0, 1000, (50, 2))
    assert warp.residual_um == 0
    assert warp.inverse().points(warp.points(points)) == pytest.approx(points)


def test_outside_its_grid_a_warp_is_undefined_never_guessed() -> None:
    warp = bent()
    assert np.isnan(warp.points(np.array([[-5.0, 10.0], [10.0, 901.0]]))).all()
    assert np.isfinite(warp.points(np.array([[0.0, 0.0], [700.0, 900.0]]))).all()
    assert warp.box(BoxUm(2000, 2000, 10, 10)) is None


def test_composed_warps_keep_their_steps_and_go_one_after_the_other() -> None:
    first, second = bent(5), Warp.from_affine(_affine(-70, 1, 10))
    both = first.then(second)
    points = np.random.default_rng(2).uniform(100, 600, (50, 2))
    assert len(both.steps) == 2
    assert both.points(points) == pytest.approx(second.points(first.points(points)))
    back = both.inverse().points(both.points(points))
    assert np.abs(back - points).max() < 0.5


def test_linear_interpolation_of_the_grid_is_exact_for_a_plane() -> None:
    grid = Grid.covering(BoxUm(0, 0, 100, 100), 10)
    nodes = grid.nodes_um
    warp = Step(np.eye(2, 3), grid.with_displacement(0.5 * nodes))
    assert warp.points(np.array([[33.3, 71.7]])) == pytest.approx(1.5 * np.array([[33.3, 71.7]]), rel=1e-6)


def test_a_warp_survives_the_way_through_arrays_and_its_id_follows_its_content() -> None:
    warp = bent()
    again = Warp.from_arrays(warp.to_arrays())
    assert again.id == warp.id == bent().id
    assert bent(21).id != warp.id
    points = np.array([[300.0, 300.0]])
    assert (again.points(points) == warp.points(points)).all()


def test_a_box_is_carried_to_the_box_that_holds_it() -> None:
    box = Warp.from_affine(np.array([[0.0, 1.0, 10.0], [1.0, 0.0, 20.0]])).box(BoxUm(0, 0, 5, 9))
    assert box == BoxUm(10, 20, 9, 5)


@pytest.mark.parametrize("affine", [np.zeros((2, 3)), np.full((2, 3), np.nan), np.eye(3)])
def test_an_affine_that_is_none_is_refused(affine: np.ndarray) -> None:
    with pytest.raises(ValueError, match="affine"):
        Step(affine)


def test_arrays_that_are_no_warp_are_refused() -> None:
    arrays = bent().to_arrays()
    arrays["forward_0_displacement_um"] = np.zeros((3, 3), np.float32)
    with pytest.raises(ValueError, match="displacements"):
        Warp.from_arrays(arrays)
    with pytest.raises(KeyError):
        Warp.from_arrays({})
