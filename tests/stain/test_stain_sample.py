"""Samples of tissue from slides."""

import cv2
import numpy as np
import pytest

from stainloom.case.stains import HE
from stainloom.errors import SlideError
from stainloom.geometry import ArrayPyramid, Box, Pixels
from stainloom.progress import Cancelled
from stainloom.stain.density import angle_deg, colour, unit
from stainloom.stain.fit import NormalizeSettings
from stainloom.stain.sample import fit_slide, glass_of, sample_tissue

GLASS = np.array([244.0, 242.0, 246.0])
SETTINGS = NormalizeSettings(sample_px=5_000)


class Watched(ArrayPyramid):
    """A slide that remembers its largest read."""

    largest_px = 0

    def read(self, level: int, box: Box) -> Pixels:
        if level == 0:
            self.largest_px = max(self.largest_px, box.rows * box.cols)
        return super().read(level, box)


@pytest.fixture(scope="module")
def slide() -> Watched:
    generator = np.random.default_rng(0)
    vectors = unit([dye.direction for dye in HE.dyes])
    picture = np.empty((1600, 2000, 3), np.uint8)
    picture[:] = np.rint(GLASS)
    amounts = generator.gamma(2.0, 0.2, (800, 1000, 2))
    for k in range(2):
        pure = generator.random(amounts.shape[:2]) < 0.1
        amounts[pure] = 0
        amounts[pure, k] = 0.8
    picture[400:1200, 500:1500] = colour(amounts @ vectors, GLASS)
    return Watched(picture, 1.0)


def test_only_tissue_is_sampled_in_small_reads(slide: Watched) -> None:
    slide.largest_px = 0
    pixels = sample_tissue(slide, SETTINGS).pixels
    assert pixels.shape == (5_000, 3)
    assert slide.largest_px <= 64 * 64
    # at the rim the mask, four um coarse, may hold a little glass
    assert np.mean((pixels == np.rint(GLASS)).all(axis=1)) < 0.02


def test_the_same_seed_gives_the_same_pixels(slide: Watched) -> None:
    first, again = sample_tissue(slide, SETTINGS), sample_tissue(slide, SETTINGS)
    assert np.array_equal(first.pixels, again.pixels)
    assert first.detail == again.detail
    assert not np.array_equal(first.pixels, sample_tissue(slide, NormalizeSettings(sample_px=5_000, seed=1)).pixels)


@pytest.mark.parametrize("um_per_px", [0.5, 1.0])
def test_a_blurred_slide_has_less_detail_whatever_its_scale_and_dye(um_per_px: float) -> None:
    rng = np.random.default_rng(3)
    texture = cv2.resize(
        rng.random((500, 500)), None, fx=2 / um_per_px, fy=2 / um_per_px, interpolation=cv2.INTER_CUBIC
    )

    def slide(blur_um: float, strength: float) -> ArrayPyramid:
        dyed = texture if blur_um == 0 else cv2.GaussianBlur(texture, (0, 0), blur_um / um_per_px)
        amounts = np.dstack([0.2 + strength * dyed, 0.1 + 0 * dyed])
        return ArrayPyramid(colour(amounts @ unit([dye.direction for dye in HE.dyes]), GLASS), um_per_px)

    sharp = sample_tissue(slide(0, 0.6), SETTINGS).detail
    assert sample_tissue(slide(0, 0.3), SETTINGS).detail == pytest.approx(sharp, rel=0.15)
    assert sample_tissue(slide(2.5, 0.6), SETTINGS).detail < 0.4 * sharp


def test_airy_tissue_is_looked_at_too() -> None:
    rng = np.random.default_rng(4)
    walls = cv2.GaussianBlur(rng.random((400, 400)), (0, 0), 2) > 0.505
    amounts = np.dstack([0.6 * walls * rng.random(walls.shape), 0.3 * walls])
    pixels = colour(amounts @ unit([dye.direction for dye in HE.dyes]), GLASS)
    sharp = sample_tissue(ArrayPyramid(pixels, 3.5), SETTINGS)
    blurred = sample_tissue(ArrayPyramid(cv2.GaussianBlur(pixels, (0, 0), 1.5), 3.5), SETTINGS)
    assert sharp.detail_um == 3.5
    assert 0 < blurred.detail < 0.5 * sharp.detail


def test_a_slide_is_fitted_with_its_own_glass(slide: Watched) -> None:
    assert np.abs(glass_of(slide) - GLASS).max() < 1.5
    fit = fit_slide(slide, HE, SETTINGS)
    for found, dye in zip(fit.vectors, HE.dyes, strict=True):
        assert angle_deg(found, dye.direction) < 2
    assert np.abs(np.subtract(fit.background, GLASS)).max() < 1.5


def test_an_empty_slide_is_refused() -> None:
    with pytest.raises(SlideError, match="no tissue"):
        sample_tissue(ArrayPyramid(np.full((600, 600, 3), 244, np.uint8), 1.0), SETTINGS)


def test_it_can_be_stopped(slide: Watched) -> None:
    def stop(done: float, total: float, what: str, slide: str = "") -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        sample_tissue(slide, SETTINGS, progress=stop)
