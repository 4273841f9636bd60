"""Patches on their way into the network."""

from __future__ import annotations

import numpy as np
import pytest

from stainloom.errors import ModelError
from stainloom.model.dataset import Patches, Samples, Scaling, blank, drop_stains, fit_scaling


def test_the_fake_keeps_the_protocol(make_patches):
    assert isinstance(make_patches(count=10), Patches)


def test_what_is_blank():
    patches = np.full((5, 1, 10, 10, 3), 240, np.uint8)
    patches[1, 0, 0, 0] = 100  # one pixel of dirt
    patches[2, 0, 0, :3] = 100  # three of a hundred: tissue at the rim
    patches[3, ..., 0] = 200  # coloured, though bright in two channels
    patches[4] = 234
    assert blank(patches)[:, 0].tolist() == [True, True, False, False, False]


def test_one_stain_of_a_share_of_the_samples_is_dropped_and_never_the_only_one():
    present = np.ones((4000, 3), np.bool_)
    present[:1000, 1:] = False
    before = present.copy()
    left = drop_stains(present, 0.3, np.random.default_rng(1))
    assert np.array_equal(present, before)
    assert np.array_equal(left[:1000], present[:1000])
    lost = present[1000:] & ~left[1000:]
    assert set(lost.sum(axis=1).tolist()) == {0, 1}
    # 3,000 samples: five standard errors of 0.3 are 0.042, of a third of it 0.028.
    assert abs(lost.any(axis=1).mean() - 0.3) < 0.042
    assert np.abs(lost.mean(axis=0) - 0.1).max() < 0.028
    assert np.array_equal(left, drop_stains(present, 0.3, np.random.default_rng(1)))
    assert np.array_equal(present, drop_stains(present, 0.0, np.random.default_rng(1)))


def test_scaling_gives_zero_mean_and_unit_spread_per_stain_and_channel(make_patches):
    patches = make_patches(count=120)
    patches.pixels[:, 1, ..., 2] //= 3
    samples = Samples(patches, np.arange(120), patches.stain_names)
    scaling = fit_scaling(samples, False, np.random.default_rng(0))
    values, present = scaling.apply(*samples.batch(np.arange(120)))
    assert values.shape == (3, 120, 8, 8, 3)
    assert present.shape == (120, 3)
    assert np.abs(values.numpy().mean(axis=(1, 2, 3))).max() < 1e-4
    assert np.abs(values.numpy().std(axis=(1, 2, 3)) - 1).max() < 1e-4


def test_missing_and_blank_patches_do_not_shift_the_scaling(make_patches):
    patches = make_patches(count=100)
    expected = fit_scaling(Samples(patches, np.arange(50), patches.stain_names), False, np.random.default_rng(0))
    patches.pixels[50:75] = 250
    patches.pixels[75:] = 7
    patches.present[75:] = False
    found = fit_scaling(Samples(patches, np.arange(100), patches.stain_names), False, np.random.default_rng(0))
    assert np.array_equal(found.mean, expected.mean)
    assert np.array_equal(found.std, expected.std)


def test_gray_is_one_channel_with_the_eyes_weights():
    scaling = Scaling(np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32), True)
    patches = np.zeros((1, 1, 8, 8, 3), np.uint8)
    patches[..., 1] = 200
    values, _ = scaling.apply(patches, np.ones((1, 1), np.bool_))
    assert values.shape == (1, 1, 8, 8, 1)
    assert values.numpy() == pytest.approx(0.587 * 200, rel=1e-5)


def test_stains_are_found_by_name_in_any_order(make_patches):
    patches = make_patches(count=40)
    patches.present[:, 2] = False
    samples = Samples(patches, np.array([7, 3]), ("Masson", "HE"))
    pixels, present = samples.batch(np.array([1, 0]))
    assert np.array_equal(pixels, patches.pixels[[3, 7]][:, [2, 0]])
    assert present.tolist() == [[False, True]] * 2
    held = Samples(patches, np.array([7, 3]), ("Masson", "HE"), memory_bytes=10**6)
    assert np.array_equal(held.batch(np.array([1, 0]))[0], pixels)
    with pytest.raises(ModelError, match="lack a stain"):
        Samples(patches, np.arange(3), ("CD31",))


def test_patches_of_another_form_are_a_programmers_mistake(make_patches):
    patches = make_patches(count=10)
    patches.pixels = patches.pixels.astype(np.float32)
    with pytest.raises(ValueError, match="uint8"):
        Samples(patches, np.arange(3), patches.stain_names).batch(np.arange(2))
