"""Fits of known mixtures, of real pictures, and of slides that cannot be fitted."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from stainloom.case.stains import AB_PAS, HE, MASSON, SMA, VG, Dye, Stain
from stainloom.errors import SlideError
from stainloom.geometry import Pixels
from stainloom.stain.density import angle_deg, colour, unit
from stainloom.stain.fit import NormalizeSettings
from stainloom.stain.macenko import fit_stain

GLASS = np.array([243.0, 240.0, 245.0])


def mixture(vectors: np.ndarray, count: int = 20_000, seed: int = 0, pure: float = 0.1) -> Pixels:
    """Pixels of random amounts of dyes; a share of them pure in each."""
    generator = np.random.default_rng(seed)
    amounts = generator.gamma(2.0, 0.2, (count, len(vectors)))
    for k in range(len(vectors)):
        chosen = generator.random(count) < pure
        amounts[chosen] = 0
        amounts[chosen, k] = generator.uniform(0.3, 1.2, chosen.sum())
    return colour(amounts @ vectors, GLASS)


@pytest.mark.parametrize("stain", [HE, SMA])
def test_two_known_dyes_are_found_in_the_stains_order(stain: Stain) -> None:
    published = unit([dye.direction for dye in stain.dyes])
    true = unit(published + [[0.08, -0.05, 0.06], [0.12, -0.05, 0.05]])
    fit = fit_stain(mixture(true), stain, glass=GLASS)
    assert fit.dyes == tuple(dye.name for dye in stain.dyes)
    for found, right in zip(fit.vectors, true, strict=True):
        assert angle_deg(found, right) < 1.5
    assert fit.residual < 0.01
    assert not fit.warnings


@pytest.mark.parametrize(("stain", "seed"), [(AB_PAS, 3), (MASSON, 1), (MASSON, 2), (VG, 3)])
def test_three_turned_dyes_are_found_better_than_published(stain: Stain, seed: int) -> None:
    published = unit([dye.direction for dye in stain.dyes])
    true = unit(np.maximum(published + np.random.default_rng(seed).normal(0, 0.05, (3, 3)), 0))
    fit = fit_stain(mixture(true), stain, glass=GLASS)
    before = [angle_deg(p, t) for p, t in zip(published, true, strict=True)]
    after = [angle_deg(v, t) for v, t in zip(fit.vectors, true, strict=True)]
    assert max(after) < 1.5
    assert np.mean(after) < np.mean(before)


def test_three_dyes_in_one_plane_fall_back_to_the_published_and_say_so() -> None:
    published = unit([dye.direction for dye in MASSON.dyes])
    flat = np.array([published[0], published[1], unit(published[0] + published[1])])
    fit = fit_stain(mixture(flat), MASSON, glass=GLASS)
    assert np.allclose(fit.matrix, published)
    assert any("cannot be told apart" in text for text in fit.warnings)


def test_a_direction_of_three_stops_at_its_limit_and_says_so() -> None:
    published = unit([dye.direction for dye in VG.dyes])
    true = published.copy()
    true[1] = unit([0.6, 0.1, 0.8])
    fit = fit_stain(mixture(true), VG, NormalizeSettings(turn_most_deg=5), glass=GLASS)
    assert all(angle_deg(v, p) <= 5.01 for v, p in zip(fit.vectors, published, strict=True))
    assert any("picric acid" in text and "as is allowed (5 degrees" in text for text in fit.warnings)


def test_one_dye_alone_is_named_and_the_other_stays_published() -> None:
    published = unit([dye.direction for dye in SMA.dyes])
    fit = fit_stain(mixture(published[:1], pure=0), SMA, glass=GLASS)
    assert any("only one dye" in text and "haematoxylin" in text for text in fit.warnings)
    assert angle_deg(fit.vectors[1], published[1]) < 1e-4
    assert angle_deg(fit.vectors[0], published[0]) < 1


def test_a_stain_of_one_dye() -> None:
    stain = Stain("blue", (), (Dye("blue", (0.8, 0.5, 0.1)),))
    fit = fit_stain(mixture(unit([[0.75, 0.55, 0.2]]), pure=0), stain, glass=GLASS)
    assert angle_deg(fit.vectors[0], (0.75, 0.55, 0.2)) < 1


def test_glass_alone_is_refused_by_name() -> None:
    empty = np.full((100, 100, 3), 243, np.uint8)
    with pytest.raises(SlideError, match=r"stain HE.*0 of 10000"):
        fit_stain(empty, HE)
    with pytest.raises(SlideError):
        fit_stain(np.zeros((0, 3), np.uint8), HE)


def test_light_pixels_brighter_than_glass_do_no_harm() -> None:
    published = unit([dye.direction for dye in HE.dyes])
    pixels = np.concatenate([mixture(published), np.full((5_000, 3), 255, np.uint8)])
    fit = fit_stain(pixels, HE, glass=GLASS)
    assert all(angle_deg(v, p) < 1.5 for v, p in zip(fit.vectors, published, strict=True))


def test_the_same_pixels_give_the_same_fit_whatever_their_number() -> None:
    published = unit([dye.direction for dye in HE.dyes])
    pixels = mixture(published, 60_000)
    assert fit_stain(pixels, HE, glass=GLASS) == fit_stain(pixels, HE, glass=GLASS)
    assert fit_stain(pixels, HE, glass=GLASS).sampled_px == 50_000


def test_pixels_of_another_shape_are_a_programmers_mistake() -> None:
    with pytest.raises(ValueError, match="uint8"):
        fit_stain(np.zeros((4, 4, 3)), HE)  # type: ignore[arg-type]


@pytest.mark.real
@pytest.mark.parametrize(
    "name", ["HE_source.png", "HE_target.png", "HE_reference.png", "kidney_HE.png", "liver_HE_a.jpg"]
)
def test_real_he_lies_near_the_published_dyes(real_data: Path, name: str) -> None:
    # authors differ by up to 29 degrees in eosin
    picture = cv2.imread(str(real_data / "stains" / name))[..., ::-1]
    fit = fit_stain(np.ascontiguousarray(picture), HE)
    haematoxylin, eosin = (angle_deg(v, d.direction) for v, d in zip(fit.vectors, HE.dyes, strict=True))
    assert haematoxylin < 10
    assert eosin < 30
    assert haematoxylin < angle_deg(fit.vectors[0], HE.dyes[1].direction)
    assert not fit.warnings
    assert fit.residual < 0.03
