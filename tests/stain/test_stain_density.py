"""Optical density and dye amounts: there and back."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import nnls

from stainloom.case.stains import HE, MASSON, STAINS
from stainloom.stain.density import angle_deg, colour, density, remix, unit, unmix


@settings(max_examples=30, deadline=None)
@given(
    arrays(np.uint8, st.tuples(st.integers(1, 9), st.just(3))),
    st.tuples(*[st.floats(180, 255)] * 3),
)
def test_density_and_back_gives_the_same_colour(rgb: np.ndarray, glass: tuple[float, float, float]) -> None:
    white = np.array(glass)
    assert np.array_equal(colour(density(rgb, white), white), rgb)


def test_glass_has_no_density_and_darker_is_denser() -> None:
    glass = np.array([240.0, 230.0, 250.0])
    assert np.allclose(density(np.array([[240, 230, 250]], np.uint8), glass), 0)
    assert (density(np.array([[24, 23, 25]], np.uint8), glass) > 0.9).all()
    assert (density(np.array([[255, 255, 255]], np.uint8), glass) < 0).all()


def test_unmixing_what_was_mixed_gives_the_amounts() -> None:
    generator = np.random.default_rng(1)
    for stain in STAINS:
        vectors = unit([dye.direction for dye in stain.dyes])
        amounts = generator.random((200, len(vectors)))
        amounts[:50, 0] = 0
        assert np.allclose(unmix(remix(amounts, vectors), vectors), amounts, atol=1e-8)


def test_unmixing_equals_the_reference_solver() -> None:
    generator = np.random.default_rng(2)
    vectors = unit([dye.direction for dye in MASSON.dyes])
    mixed = generator.normal(0.3, 0.4, (60, 3))
    expected = np.array([nnls(vectors.T, one)[0] for one in mixed])
    assert np.allclose(unmix(mixed, vectors), expected, atol=1e-8)


def test_angles() -> None:
    assert angle_deg((1, 0, 0), (0, 2, 0)) == 90
    assert angle_deg(HE.dyes[0].direction, HE.dyes[0].direction) < 1e-5
