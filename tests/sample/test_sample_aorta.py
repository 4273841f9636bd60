"""The simulated study: any box alone, the same bytes for the same seed, and a truth that is true."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stainloom.geometry import Box, Points, index_to_um, um_to_index, whole
from stainloom.sample.aorta import Block, SimulationSettings, simulate_block
from stainloom.sample.cutting import Fold, Tear, cut
from stainloom.sample.section import THIN_PX
from stainloom.sample.staining import SHOWN_ALONE
from stainloom.sample.tissue_model import Area

SMALL = SimulationSettings(
    patients=3,
    width_um=520.0,
    height_um=420.0,
    failed_share=0.0,
    half_turn_share=0.3,
    mirror_share=0.5,
    tear=0.0,
    fold=0.0,
)


@pytest.fixture(scope="module")
def block() -> Block:
    return simulate_block(SMALL, 0)


@pytest.fixture(scope="module")
def scans(block: Block) -> dict[str, np.ndarray]:
    return {name: block.render(name, whole(block.size(name))) for name in ("HE", "VG")}


@given(
    stain=st.sampled_from(["HE", "VG"]),
    row=st.integers(-20, 400),
    col=st.integers(-20, 500),
    rows=st.integers(1, 60),
    cols=st.integers(1, 60),
)
@settings(max_examples=5, deadline=None)
def test_any_box_alone_is_that_box_of_the_whole(
    scans: dict[str, np.ndarray], stain: str, row: int, col: int, rows: int, cols: int
) -> None:
    fresh = simulate_block(SMALL, 0)
    box = Box(row, col, rows, cols)
    alone = fresh.render(stain, box)
    scan = scans[stain]
    expected = np.full((rows, cols, 3), 255, np.uint8)
    inside = box.intersect(Box(0, 0, *scan.shape[:2]))
    if not inside.empty:
        expected[inside.within(box)] = scan[inside.within(Box(0, 0, *scan.shape[:2]))]
    assert np.array_equal(alone, expected)


def test_tiles_join_without_a_seam(block: Block, scans: dict[str, np.ndarray]) -> None:
    scan = scans["HE"].astype(float)
    steps = np.abs(np.diff(scan, axis=1)).mean(axis=(0, 2))
    seam = block._section("HE").tile_px
    ordinary = np.delete(steps, seam - 1)[seam - 40 : seam + 40]
    assert seam < scan.shape[1]
    assert steps[seam - 1] < ordinary.mean() + 4 * ordinary.std()


def test_same_seed_same_bytes_other_seed_or_patient_others(scans: dict[str, np.ndarray]) -> None:
    box = Box(120, 120, 80, 90)
    again = simulate_block(SMALL, 0)
    for name in ("HE", "VG"):
        assert np.array_equal(again.render(name, box), scans[name][box.within(Box(0, 0, *scans[name].shape[:2]))])
    first = again.render("HE", box)
    assert not np.array_equal(first, simulate_block(dataclasses.replace(SMALL, seed=1), 0).render("HE", box))
    assert not np.array_equal(first, simulate_block(SMALL, 1).render("HE", box))


def _found(plain: np.ndarray, dotted: np.ndarray, near_px: Points) -> Points:
    """Middles of the ink, px, found near the places: each pixel counts by the share of it that is ink."""
    centres = []
    for row, col in near_px:
        window = (slice(int(row) - 11, int(row) + 13), slice(int(col) - 11, int(col) + 13))
        before, after = plain[window].astype(float), dotted[window].astype(float)
        ink = after.reshape(-1, 3)[after.sum(axis=2).argmin()]
        share = ((before - after) * (before - ink)).sum(axis=2) / np.maximum(((before - ink) ** 2).sum(axis=2), 100.0)
        share = np.where(share > 0.2, np.clip(share, 0, 1), 0.0)
        rows, cols = np.mgrid[0 : share.shape[0], 0 : share.shape[1]]
        middle = (np.array([(rows * share).sum(), (cols * share).sum()])) / share.sum()
        centres.append((window[0].start + middle[0], window[1].start + middle[1]))
    return np.array(centres)


@pytest.mark.parametrize("number", [0, 1])
def test_dots_planted_in_the_tissue_are_where_the_truth_says(number: int) -> None:
    plain = simulate_block(dataclasses.replace(SMALL, noise=0.5), number)
    rows, cols = np.meshgrid([140.0, 210.0, 280.0], [120.0, 200.0, 280.0, 390.0], indexing="ij")
    dots = np.column_stack([rows.ravel(), cols.ravel()]) + 0.37
    dotted = plain.with_dots(dots)
    scale = plain.um_per_px
    on_glass = plain.glass_warp("HE").inverse().points(dots)
    whole_he = whole(plain.size("HE"))
    seen = _found(plain.render("HE", whole_he), dotted.render("HE", whole_he), um_to_index(on_glass, scale))
    assert np.linalg.norm(seen - um_to_index(on_glass, scale), axis=1).max() < 0.5
    for name in plain.stains[1:]:
        place = whole(plain.size(name))
        expected = um_to_index(plain.truth_warp(name).points(index_to_um(seen, scale)), scale)
        found = _found(plain.render(name, place), dotted.render(name, place), expected)
        assert np.linalg.norm(found - expected, axis=1).max() < 0.5, name


def test_warps_invert_within_a_third_of_a_um(block: Block) -> None:
    for name in block.stains:
        warp = block.glass_warp(name)
        assert warp.residual_um < 0.3
        points = block.landmarks_in_block(200)
        assert np.abs(warp.points(warp.inverse().points(points)) - points).max() < 0.3


def test_bend_of_the_largest_size_still_inverts() -> None:
    bent = dataclasses.replace(SMALL, width_um=900.0, height_um=800.0, bend_um=60.0, turn_deg=180.0)
    assert cut(bent, np.random.default_rng(3), upright=False).glass.residual_um < 0.3


def test_landmarks_are_the_same_places_in_each_stain(block: Block) -> None:
    here = block.landmarks("HE")
    for name in block.stains[1:]:
        there = block.truth_warp(name).points(here)
        assert np.nanmax(np.abs(there - block.landmarks(name))) < 0.6
        assert np.isfinite(there).all()


def test_reference_mask_is_the_painted_one_carried_by_the_truth() -> None:
    block = simulate_block(dataclasses.replace(SMALL, width_um=900.0, height_um=800.0, lesions=4.0), 1)
    painted = block.painted(2.0)
    assert set(np.unique(painted)) > {0}
    for name in ("Masson", "VG"):
        carried = block.reference_mask_in(name, 2.0)
        rows, cols = np.nonzero(carried)
        back = block.truth_warp(name).inverse().points(index_to_um(np.column_stack([rows, cols]), (2.0, 2.0)))
        index = np.floor(back / 2.0).astype(int)
        inside = np.all((index >= 0) & (index < painted.shape), axis=1) & np.isfinite(back[:, 0])
        same = painted[index[inside, 0], index[inside, 1]] == carried[rows[inside], cols[inside]]
        assert same.mean() > 0.97
        own = block.mask(name, 2.0)
        assert own.shape == carried.shape
        both = (own > 0) & (carried > 0)
        # The outline moves with depth, a little: neither the same nor another lesion.
        assert 0.7 < 2 * both.sum() / ((own > 0).sum() + (carried > 0).sum()) < 1.0


def test_lost_tissue_is_bare_glass_and_never_painted() -> None:
    torn = simulate_block(dataclasses.replace(SMALL, width_um=900.0, height_um=700.0, tear=6.0, lesions=4.0), 0)
    seen = 0
    for name in ("HE", "SMA"):
        lost = torn.lost(name, 1.0)
        seen += int(lost.sum())
        scan = torn.render(name, whole(torn.size(name)))
        inner = cv2.erode(lost.astype(np.uint8), np.ones((13, 13), np.uint8)) > 0
        if inner.any():
            assert scan[inner].mean(axis=1).min() > 200, name
    assert seen > 500
    assert not (torn.painted(2.0)[torn.lost("HE", 2.0)] > 0).any()


def test_a_fold_is_darker_and_a_tear_opens_from_its_edge() -> None:
    fold = Fold((100.0, 100.0), 0.0, 10.0, 0.0)
    assert fold.doubled(np.array([100.0]), np.array([100.0]))[0] == 1
    assert fold.doubled(np.array([200.0]), np.array([100.0]))[0] == 0
    tear = Tear((0.0, 50.0), (300.0, 50.0), 20.0, 0.0)
    assert tear.open_um(np.array([10.0]), np.array([50.0]))[0] > 0
    assert tear.open_um(np.array([310.0]), np.array([50.0]))[0] < 0
    assert tear.open_um(np.array([10.0]), np.array([90.0]))[0] < 0


def test_dye_map_is_what_the_tiles_left_behind(block: Block) -> None:
    size = block.size("Masson")
    dyes = block.dyes("Masson", whole(size))
    thin = block.dye_map("Masson")
    assert np.array_equal(thin, dyes[THIN_PX // 2 :: THIN_PX, THIN_PX // 2 :: THIN_PX].astype(np.float16))
    fresh = simulate_block(SMALL, 0)
    assert np.array_equal(fresh.dye_map("Masson"), thin)
    assert dyes.max() > 0.3


def test_pixels_follow_the_dyes() -> None:
    """Without blur, noise and tone the light is ten to the minus dyes times directions."""
    clear = simulate_block(dataclasses.replace(SMALL, blur_um=0.0, noise=0.0), 0)
    box = Box(150, 150, 40, 40)
    scanner = clear._section("HE").scanner
    dyes = clear.dyes("HE", box) @ clear.staining("HE").directions
    light = 10 ** (-dyes) * scanner.light
    expected = 255 * (light + scanner.tone * light * (1 - light))
    assert np.abs(clear.render("HE", box) - expected).max() < 0.6


def _planted(chosen: SimulationSettings) -> Block:
    """A small block with one area of each lesion class."""
    block = simulate_block(chosen, 0)
    places = [(165.0, 120.0), (165.0, 260.0), (165.0, 400.0), (265.0, 190.0), (265.0, 330.0)]
    areas = tuple(
        Area(label, place, (38.0, 52.0), chosen.lesion_strength, np.zeros((1, 4)), (0.0, 0.0))
        for label, place in zip((1, 2, 3, 4, 5), places, strict=True)
    )
    block.tissue.__dict__["areas"] = areas
    return block


@pytest.mark.parametrize("difficulty", ["exclusive", "realistic"])
def test_which_stain_shows_which_lesion(difficulty: str) -> None:
    """The same block with and without lesions: an exclusive stain changes in its own class alone, a realistic one in several."""
    chosen = dataclasses.replace(SMALL, difficulty=difficulty, noise=0.0, turn_deg=0.0)
    ill, well = _planted(chosen), _planted(dataclasses.replace(chosen, lesion_strength=0.0))
    for name in ill.stains if difficulty == "exclusive" else ("HE", "VG"):
        box = whole(ill.size(name))
        change = np.abs(ill.render(name, box).astype(int) - well.render(name, box)).sum(axis=2)
        mask = ill.mask(name, ill.settings.um_per_px)
        assert set(np.unique(mask)) == {0, 1, 2, 3, 4, 5}
        inner = {label: cv2.erode((mask == label).astype(np.uint8), np.ones((15, 15))) > 0 for label in range(1, 6)}
        shown = {label for label, inside in inner.items() if change[inside].mean() > 1.5}
        if difficulty == "exclusive":
            assert shown == {SHOWN_ALONE[name]}
        else:
            assert len(shown) >= 3
        outside = cv2.dilate((mask > 0).astype(np.uint8), np.ones((41, 41))) == 0
        assert change[outside].max() == 0


def test_a_patient_outside_the_study_is_refused() -> None:
    with pytest.raises(ValueError, match="patients 0 to 2: 3"):
        simulate_block(SMALL, 3)


def test_fine_scans_show_the_same_tissue_as_coarse() -> None:
    small = dataclasses.replace(SMALL, width_um=300.0, height_um=300.0, noise=0.0, blur_um=0.3)
    coarse = simulate_block(small, 0)
    fine = simulate_block(dataclasses.replace(small, um_per_px=0.5), 0)
    one = coarse.render("HE", Box(60, 60, 100, 100)).astype(float)
    two = fine.render("HE", Box(120, 120, 200, 200)).astype(float).reshape(100, 2, 100, 2, 3).mean(axis=(1, 3))
    middle = coarse.size("HE").rows / 2 - fine.size("HE").rows / 4
    assert abs(middle) <= 0.5
    assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.9
