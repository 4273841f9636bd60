"""Tissue is found, glass is not."""

import numpy as np

from stainloom.tissue import background, mean_density, tissue_mask


def _slide() -> np.ndarray:
    rng = np.random.default_rng(1)
    picture = rng.normal(240, 2, (200, 300, 3))
    picture[50:150, 80:220] = rng.normal(150, 20, (100, 140, 3))
    picture[10:12, 10:12] = 60
    return np.clip(picture, 0, 255).astype(np.uint8)


def test_the_piece_is_found_and_the_speck_dropped() -> None:
    mask = tissue_mask(_slide(), (8.0, 8.0))
    assert mask[60:140, 90:210].all()
    assert not mask[:40].any()
    assert mask.sum() < 1.1 * 100 * 140


def test_empty_glass_has_no_tissue() -> None:
    rng = np.random.default_rng(2)
    glass = np.clip(rng.normal(240, 2, (200, 200, 3)), 0, 255).astype(np.uint8)
    assert tissue_mask(glass, (8.0, 8.0)).sum() == 0


def test_a_slide_full_of_tissue_is_all_tissue() -> None:
    rng = np.random.default_rng(3)
    full = np.clip(rng.normal(120, 10, (100, 100, 3)), 0, 255).astype(np.uint8)
    assert tissue_mask(full, (8.0, 8.0)).mean() > 0.99


def test_density_is_zero_on_glass_and_one_at_a_tenth() -> None:
    picture = np.full((1, 2, 3), 249, np.uint8)
    picture[0, 1] = 24
    glass = background(picture[:, :1])
    density = mean_density(picture, glass)
    assert density[0, 0] == 0
    assert abs(density[0, 1] - 1) < 1e-6
