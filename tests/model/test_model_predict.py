"""Prediction: what is missing has no say, and every window lands where it belongs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stainloom.case.aligned import AlignedCase, AlignedStain
from stainloom.case.warp import Warp
from stainloom.errors import ModelError
from stainloom.geometry import ArrayPyramid, Box
from stainloom.model.predict import MapGrid, evaluate, load_network, predict_region
from stainloom.model.settings import PredictSettings, TrainSettings
from stainloom.model.train import train

QUICK = TrainSettings(features=16, batch=16, warmup_steps=8, rate=0.002, most_epochs=4, threads=1, seed=5)
ONE = PredictSettings(stride_px=5, threads=1)


def trained(patches, **extra):
    result = train(patches, replace(QUICK, **extra))
    assert result.outcome == "learned"
    return result.run(um_per_px=1.0, patchset="tiny", simulated=True)


def case_of(pictures, names, um_per_px=1.0) -> AlignedCase:
    stains = [None if p is None else AlignedStain(n, ArrayPyramid(p, um_per_px)) for n, p in zip(names, pictures)]
    return AlignedCase(tuple(names), tuple(stains))


@pytest.mark.parametrize("stains", [1, 2, 6])
def test_any_number_of_stains_gives_one_weight_each(make_patches, stains):
    patches = make_patches(stains=stains, classes=2)
    run = trained(patches)
    said = evaluate(run, patches, patches.indices("test", False))
    assert said.weights.shape == (24, stains)
    assert np.all((said.weights > 0) & (said.weights < 1))
    assert np.allclose(said.probabilities.sum(axis=1), 1, atol=1e-5)
    assert np.mean(said.predicted == said.truth) > 0.85
    assert np.array_equal(said.predicted, run.class_ids[said.logits.argmax(axis=1)])


def test_gray_learns_and_cannot_see_colour(make_patches):
    patches = make_patches()
    run = trained(patches, gray=True)
    assert run.channels == 1
    index = patches.indices("test", False)
    before = evaluate(run, patches, index)
    assert np.mean(before.predicted == before.truth) > 0.85
    gray = np.round(patches.pixels @ np.array([0.299, 0.587, 0.114]))
    patches.pixels = np.repeat(gray[..., None], 3, axis=-1).astype(np.uint8)
    after = evaluate(run, patches, index)
    assert np.abs(after.logits - before.logits).max() < 0.1


def test_a_missing_stain_has_no_influence_at_all(make_patches, plain_run):
    patches = make_patches()
    run = plain_run
    index = patches.indices("test", False)
    patches.present[:, 1] = False
    first = evaluate(run, patches, index)
    assert np.all(first.weights[:, 1] == 0)
    assert np.all(first.weights[:, [0, 2]] > 0)
    patches.pixels[:, 1] = np.random.default_rng(9).integers(0, 256, patches.pixels[:, 1].shape)
    second = evaluate(run, patches, index)
    assert np.array_equal(first.logits, second.logits)
    assert np.array_equal(first.weights, second.weights)


def test_bare_glass_counts_as_missing(make_patches, plain_run):
    patches = make_patches()
    run = plain_run
    index = patches.indices("test", False)
    patches.pixels[:, 2] = 244
    glass = evaluate(run, patches, index)
    patches.present[:, 2] = False
    assert np.array_equal(glass.logits, evaluate(run, patches, index).logits)
    assert np.all(glass.weights[:, 2] == 0)


def test_a_stain_that_training_missed_in_places_still_learns(make_patches):
    patches = make_patches(count=200)
    patches.present[::4, 0] = False
    run = trained(patches, most_epochs=6)
    said = evaluate(run, patches, patches.indices("test", False))
    assert np.mean(said.predicted == said.truth) > 0.7


def test_a_run_that_does_not_fit_is_refused(make_patches, plain_run):
    patches = make_patches()
    run = plain_run
    index = patches.indices("test", False)
    with pytest.raises(ModelError, match="lack a stain"):
        evaluate(run, make_patches(stains=2), index)
    with pytest.raises(ModelError, match="another size"):
        evaluate(run, make_patches(size=10), index)
    with pytest.raises(ModelError, match="did not learn"):
        load_network(replace(run, outcome="did not learn"))
    with pytest.raises(ModelError, match="do not fit its settings"):
        load_network(replace(run, settings={**run.settings, "features": 32}))
    with pytest.raises(ModelError, match="novel"):
        load_network(replace(run, settings={**run.settings, "novel": 1}))
    broken = {**run.weights, "head.bias": np.full_like(run.weights["head.bias"], np.nan)}
    with pytest.raises(ModelError, match="no numbers"):
        load_network(replace(run, weights=broken))
    picture = np.full((40, 40, 3), 100, np.uint8)
    with pytest.raises(ModelError, match="has not") as error:
        predict_region(run, case_of([picture], ["Ki67"]), Box(0, 0, 40, 40))
    assert error.value.stain == "HE"
    with pytest.raises(ModelError, match="none of the stains"):
        predict_region(run, case_of([None] * 3, run.stains), Box(0, 0, 40, 40))


def test_no_more_memory_than_the_weights_is_taken_for_absurd_settings(plain_run):
    run = plain_run
    with pytest.raises(ModelError, match="cannot be built"):
        load_network(replace(run, settings={**run.settings, "features": 2048}, size_px=4096))


@pytest.fixture(scope="module")
def plain_run(make_patches):
    """A run of three stains and three classes on the plain patches; trained once."""
    return trained(make_patches(count=200), most_epochs=6)


@pytest.fixture
def quarters(plain_run):
    """A run, and a section whose four quarters look like the classes 1, 2, 3 and bare glass."""
    run = plain_run
    rng = np.random.default_rng(4)
    pictures = rng.integers(60, 180, (3, 80, 100, 3))
    pictures[0, 0:40:2, :50] += 60
    pictures[1, 0:40:2, 50:] += 60
    pictures[2, 40::2, :50] += 60
    pictures = np.clip(pictures, 0, 255).astype(np.uint8)
    pictures[:, 40:, 50:] = 245
    return run, pictures


def test_maps_show_the_classes_where_they_are(quarters):
    run, pictures = quarters
    maps = predict_region(run, case_of(pictures, run.stains), Box(0, 0, 80, 100), settings=ONE)
    assert maps.classes.shape == (16, 20)
    inner = [maps.classes[2:7, 2:8], maps.classes[2:7, 12:18], maps.classes[10:15, 2:8]]
    assert [np.mean(part == label) > 0.85 for label, part in zip((1, 2, 3), inner)] == [True] * 3
    assert np.all(maps.classes[10:, 12:] == 0)
    assert np.all(maps.probabilities[:, 10:, 12:] == 0)
    assert np.all(maps.weights[:, 10:, 12:] == 0)
    known = maps.classes > 0
    assert np.allclose(maps.probabilities.sum(axis=0)[known], 1, atol=1e-5)
    assert maps.um_per_px == (5.0, 5.0)
    # Half a pixel off the box where stride and window are not both even or both odd.
    assert maps.origin_um == (-0.5, -0.5)


def test_a_map_pixel_is_centred_on_its_window(quarters):
    run, pictures = quarters
    for stride in (4, 5, 7):
        settings = PredictSettings(stride_px=stride, threads=1)
        box = Box(10, 20, 50, 60)
        grid = MapGrid.over(box, run, settings)
        maps = predict_region(run, case_of(pictures, run.stains), box, settings=settings)
        assert maps.classes.shape == grid.size.shape
        network = load_network(run)
        row, col = 3, 5
        centre = grid.centres_um()[row, col]
        assert np.allclose(centre, np.array(maps.origin_um) + (np.array([row, col]) + 0.5) * stride)
        corner = centre - run.size_px / 2
        assert np.allclose(corner, np.round(corner))
        top, left = np.round(corner).astype(int)
        window = pictures[None, :, top : top + run.size_px, left : left + run.size_px]
        logits, weights = network(window, np.ones((1, 3), np.bool_))
        assert maps.classes[row, col] == run.class_ids[logits[0].argmax()]
        assert np.allclose(maps.weights[:, row, col], weights[0], atol=1e-5)


def test_regions_masks_and_batches_do_not_change_a_window(quarters):
    run, pictures = quarters
    case, box = case_of(pictures, run.stains), Box(0, 0, 80, 100)
    whole = predict_region(run, case, box, settings=ONE)
    mask = np.zeros((16, 20), np.bool_)
    mask[3:9, 4:15] = True
    part = predict_region(run, case, box, mask, replace(ONE, batch=7))
    assert np.array_equal(part.classes, np.where(mask, whole.classes, 0))
    assert np.abs(part.probabilities - np.where(mask, whole.probabilities, 0)).max() < 1e-5
    with pytest.raises(ValueError, match="shape of the maps"):
        predict_region(run, case, box, mask[:-1], ONE)


def test_many_regions_equal_one(make_patches):
    patches = make_patches(stains=1, classes=2)
    run = trained(patches)
    picture = np.random.default_rng(0).integers(60, 200, (300, 400, 3)).astype(np.uint8)
    case = case_of([picture], run.stains)
    settings = PredictSettings(stride_px=20, region_px=256, threads=1)
    many = predict_region(run, case, Box(0, 0, 300, 400), settings=settings)
    one = predict_region(run, case, Box(0, 0, 300, 400), settings=replace(settings, region_px=2048))
    assert np.array_equal(many.classes, one.classes)
    assert np.abs(many.weights - one.weights).max() < 1e-5


def test_a_stain_is_masked_where_its_section_ends(quarters):
    run, pictures = quarters
    shifted = Warp.from_affine(np.array([[1.0, 0, 0], [0, 1.0, -30.0]]))
    stains = [AlignedStain(name, ArrayPyramid(p, 1.0)) for name, p in zip(run.stains, pictures)]
    stains[1] = replace(stains[1], warp=shifted)
    maps = predict_region(run, AlignedCase(run.stains, tuple(stains)), Box(0, 0, 40, 100), settings=ONE)
    # Windows of columns c to c + 8 have the second stain only from column 30 on.
    first = MapGrid.over(Box(0, 0, 40, 100), run, ONE).first[1]
    columns = first + 5 * np.arange(20)
    inner = slice(1, 6)
    assert np.all(maps.weights[1, inner, columns < 30] == 0)
    assert np.all(maps.weights[1, inner, (columns >= 30) & (columns <= 92)] > 0)
    assert np.all(maps.weights[0, inner, (columns >= 0) & (columns <= 92)] > 0)


def test_a_left_out_stain_leaves_the_others_to_decide(quarters):
    run, pictures = quarters
    maps = predict_region(run, case_of([pictures[0], None, pictures[2]], run.stains), Box(0, 0, 80, 100), settings=ONE)
    assert np.all(maps.weights[1] == 0)
    assert np.mean(maps.classes[2:7, 2:8] == 1) > 0.7


def test_maps_too_large_are_refused_before_any_memory_is_taken(quarters):
    run, pictures = quarters
    with pytest.raises(ModelError, match="cannot be made"):
        predict_region(run, case_of(pictures, run.stains), Box(0, 0, 10**6, 10**6), settings=ONE)
