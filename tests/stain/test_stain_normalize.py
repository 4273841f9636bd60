"""Slides brought to the reference's look."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stainloom.case.stains import HE, MASSON, STAINS, VG
from stainloom.errors import CaseError
from stainloom.stain.density import colour, density, unit
from stainloom.stain.fit import StainFit
from stainloom.stain.macenko import fit_stain
from stainloom.stain.normalize import NORMALIZERS, Normalization


def published(stain, strengths=None, background=(243.0, 240.0, 246.0)) -> StainFit:  # type: ignore[no-untyped-def]
    vectors = tuple(tuple(float(x) for x in unit(dye.direction)) for dye in stain.dyes)
    names = tuple(dye.name for dye in stain.dyes)
    return StainFit(stain.name, names, vectors, strengths or (0.8,) * len(names), background)  # type: ignore[arg-type]


ALL = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize("stain", STAINS, ids=lambda s: s.name)
@pytest.mark.parametrize("name", sorted(NORMALIZERS))
def test_to_its_own_look_nothing_changes(stain, name: str) -> None:  # type: ignore[no-untyped-def]
    fit = published(stain)
    assert np.array_equal(NORMALIZERS[name](fit, fit)(ALL), ALL)


@pytest.mark.parametrize("stain", STAINS, ids=lambda s: s.name)
def test_pure_white_stays_white(stain) -> None:  # type: ignore[no-untyped-def]
    change = Normalization(published(stain), published(stain, background=(220.0, 230.0, 225.0)))
    white = np.full((5, 7, 3), 255, np.uint8)
    assert np.array_equal(change(white), white)
    almost = np.full((5, 7, 3), 254, np.uint8)
    assert (change(almost) < 250).all()


def test_two_dyes_mixed_in_one_look_come_out_as_in_the_other() -> None:
    source = published(HE, (0.9, 0.4))
    turned = tuple(tuple(float(x) for x in unit(v)) for v in source.matrix + [[0.05, -0.04, 0.06], [0.1, -0.05, 0.1]])
    target = replace(source, vectors=turned, strengths=(0.6, 0.6), background=(235.0, 236.0, 237.0))
    shares = np.random.default_rng(1).random((500, 2))
    before = colour(shares * source.strengths @ source.matrix, np.array(source.background))
    after = colour(shares * target.strengths @ target.matrix, np.array(target.background))
    found = Normalization(source, target)(before)
    # 0.01 of pull towards no change, and rounding to 256 levels before
    assert np.abs(found.astype(int) - after).max() <= 6
    assert np.abs(found.astype(int) - after).mean() < 2


@pytest.mark.parametrize("stain", [HE, MASSON, VG], ids=lambda s: s.name)
def test_the_tables_equal_the_map_in_optical_density(stain) -> None:  # type: ignore[no-untyped-def]
    source = published(stain)
    count = len(source.dyes)
    target = published(stain, tuple(0.5 + 0.3 * k for k in range(count)), (230.0, 232.0, 228.0))
    change = Normalization(source, target)
    direct = colour(density(ALL, np.array(source.background)) @ change.map.T, np.array(target.background))
    assert np.abs(change(ALL).astype(int) - direct).max() <= 1


@pytest.mark.parametrize("stain", STAINS, ids=lambda s: s.name)
def test_the_map_keeps_what_the_dyes_do_not_explain(stain) -> None:  # type: ignore[no-untyped-def]
    count = len(stain.dyes)
    change = Normalization(published(stain), published(stain, tuple(0.4 + 0.4 * k for k in range(count))))
    values = np.linalg.svd(change.map, compute_uv=False)
    assert values.min() > 0.2
    assert values.max() < 4


def test_there_and_back_gives_the_same_picture() -> None:
    one, other = published(HE, (0.9, 0.4)), published(HE, (0.7, 0.5), (250.0, 250.0, 250.0))
    amounts = np.random.default_rng(4).random((40, 40, 2)) * 0.6
    picture = colour(amounts @ one.matrix, np.array(one.background))
    back = Normalization(other, one)(Normalization(one, other)(picture))
    assert np.abs(back.astype(int) - picture).max() <= 4


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=3), st.integers(0, 2**31))
def test_any_shape_and_any_part_give_the_same_pixels(shape: list[int], seed: int) -> None:
    change = Normalization(published(HE), published(HE, (0.5, 1.0)))
    pixels = np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)
    kept = pixels.copy()
    found = change(pixels)
    assert found.shape == pixels.shape
    assert np.array_equal(pixels, kept)
    assert np.array_equal(found[..., ::-1, :], change(pixels[..., ::-1, :]))


def test_a_large_picture_equals_its_parts() -> None:
    change = Normalization(published(HE), published(HE, (0.5, 1.0)))
    large = np.random.default_rng(5).integers(0, 256, (300, 200, 3), dtype=np.uint8)
    assert np.array_equal(change(large)[120:], change(large[120:]))


def test_a_dye_is_never_blown_up_without_limit() -> None:
    change = Normalization(published(HE, (0.8, 0.02)), published(HE, (0.8, 2.0)))
    assert np.linalg.norm(change.map @ change.source.matrix[1]) < 3.2


def test_as_json_and_back() -> None:
    change = Normalization(published(HE), published(HE, (0.5, 1.0)))
    again = Normalization.from_dict(json.loads(json.dumps(change.as_dict())))
    assert again == change
    assert again.id == change.id
    assert np.array_equal(again(ALL), change(ALL))


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": 2},
        {"stain": "SMA"},
        {"source": 3},
        {"method": "other"},
        {"more": 1},
        {"target": published(VG).as_dict()},
    ],
)
def test_a_file_that_describes_no_normalization_is_refused(wrong: dict[str, object]) -> None:
    values = {**Normalization(published(HE), published(HE)).as_dict(), **wrong}
    with pytest.raises(CaseError, match="normalize the stain again"):
        Normalization.from_dict(values)


def test_stains_are_not_mixed() -> None:
    with pytest.raises(ValueError, match="cannot look like"):
        Normalization(published(HE), published(VG))


@pytest.mark.real
def test_a_real_pair_comes_nearer_in_colour_and_in_its_fit(real_data: Path) -> None:
    source, target = (
        np.ascontiguousarray(cv2.imread(str(real_data / "stains" / f"HE_{name}.png"))[..., ::-1])
        for name in ("source", "target")
    )
    first, aim = fit_stain(source, HE), fit_stain(target, HE)
    changed = Normalization(first, aim)(source)
    again = fit_stain(changed, HE, glass=np.array(aim.background))
    assert np.abs(np.subtract(again.strengths, aim.strengths)).max() < 0.1
    assert all(np.dot(a, b) > np.cos(np.radians(4)) for a, b in zip(again.vectors, aim.vectors, strict=True))
    glass = np.quantile(source.reshape(-1, 3), 0.98, axis=0), np.quantile(changed.reshape(-1, 3), 0.98, axis=0)
    goal = np.quantile(target.reshape(-1, 3), 0.98, axis=0)
    assert np.abs(glass[1] - goal).mean() < np.abs(glass[0] - goal).mean()
