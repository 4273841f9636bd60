"""Sections laid on one another: known warps, turns and mirror images, real landmarks, and pairs that do not belong together."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from stainloom.case.resample import resample_image
from stainloom.case.warp import Grid, Warp
from stainloom.errors import RegistrationError
from stainloom.geometry import ArrayPyramid, BoxUm, Points, size_um, whole
from stainloom.register import register as register_module
from stainloom.register.picture import Picture
from stainloom.register.register import Registration, refine_lesions, register
from stainloom.register.rigid import Candidate, Rough, find_rough
from stainloom.register.settings import RegisterSettings

UM = 4.0
QUICK = RegisterSettings(work_px=400)


def section(seed: int, rows: int = 300, cols: int = 400) -> np.ndarray:
    """A piece of tissue with an outline of its own, holes and structure of several sizes, on glass."""
    rng = np.random.default_rng(seed)
    noise = sum(
        cv2.GaussianBlur(rng.standard_normal((rows, cols)), (0, 0), s) * s * a
        for s, a in ((2, 1.0), (5, 1.0), (14, 1.2), (40, 2.0))
    )
    row, col = np.mgrid[:rows, :cols]
    outline = np.hypot((row - rows * 0.5) / (rows * 0.36), (col - cols * 0.48) / (cols * 0.38))
    shape = outline + 0.25 * cv2.GaussianBlur(rng.standard_normal((rows, cols)), (0, 0), 25) * 25
    tissue = cv2.GaussianBlur((shape < 1).astype(np.float64), (0, 0), 1.0)
    density = tissue * np.clip(0.35 + 0.16 * noise, 0.05, 1.0)
    rgb = 245 * 10 ** -(density[..., None] * np.array([0.6, 1.0, 0.4]))
    return np.clip(rgb, 0, 255).astype(np.uint8)


def cut_from(rgb: np.ndarray, turn_degrees: float, mirrored: bool, bend_um: float) -> tuple[ArrayPyramid, Warp]:
    """The same tissue as another slide, in other colours; and the true warp from the first slide to it."""
    fixed = ArrayPyramid(rgb, UM)
    height, width = size_um(fixed.levels[0], fixed.um_per_px[0])
    side = math.hypot(height, width) + 80
    c, s = math.cos(math.radians(turn_degrees)), math.sin(math.radians(turn_degrees))
    linear = np.array([[c, -s], [s, c]]) @ np.diag([1.0, -1.0 if mirrored else 1.0])
    affine = np.hstack([linear, (np.array([side, side]) / 2 - linear @ [height / 2, width / 2])[:, None]])
    grid = Grid.covering(BoxUm(0, 0, height, width), 20.0)
    row, col = grid.nodes_um[..., 0], grid.nodes_um[..., 1]
    bend = bend_um * np.stack([np.sin(col / width * 5 + 1), np.cos(row / height * 4 + col / width * 2)], axis=-1)
    truth = Warp.from_grid(affine, grid.with_displacement(bend), (side, side))
    px = math.ceil(side / UM)
    other = np.clip(255 - (255 - rgb.astype(np.float64)[..., [2, 1, 0]]) * 0.8, 0, 255).astype(np.uint8)
    size = whole(ArrayPyramid(np.zeros((px, px, 3), np.uint8), UM).levels[0])
    return ArrayPyramid(resample_image(ArrayPyramid(other, UM), truth.inverse(), size, UM), UM), truth


def on_tissue(rgb: np.ndarray) -> Points:
    """Places on the tissue, um."""
    return (np.argwhere(rgb.min(axis=-1) < 215)[::41] + 0.5) * UM


@pytest.mark.parametrize(("turn", "mirrored"), [(25, False), (163, True)])
def test_a_known_warp_is_found_at_any_turn(turn: float, mirrored: bool) -> None:
    rgb = section(3)
    moving, truth = cut_from(rgb, turn, mirrored, 12.0)
    result = register(ArrayPyramid(rgb, UM), moving, QUICK)
    places = on_tissue(rgb)
    missed = np.linalg.norm(result.warp.points(places) - truth.points(places), axis=1)
    assert np.median(missed) < 2.0
    assert np.quantile(missed, 0.95) < 8.0
    assert result.quality.verdict == "good"
    assert (np.linalg.det(result.warp.steps[0].affine[:, :2]) < 0) == mirrored


def test_same_input_same_bytes_whatever_the_threads_inverse_consistent_and_unfolded() -> None:
    rgb = section(4)
    moving, _ = cut_from(rgb, 40, False, 15.0)
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        first = register(ArrayPyramid(rgb, UM), moving, QUICK)
        cv2.setNumThreads(3)
        second = register(ArrayPyramid(rgb, UM), moving, QUICK)
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)
    assert first.warp.id == second.warp.id
    assert first.quality == second.quality
    places = on_tissue(rgb)
    back = first.warp.inverse().points(first.warp.points(places))
    assert np.nanmedian(np.linalg.norm(back - places, axis=1)) < 0.5
    down, right = (first.warp.points(places + step) - first.warp.points(places) for step in ([2.0, 0.0], [0.0, 2.0]))
    assert (down[:, 0] * right[:, 1] - down[:, 1] * right[:, 0]).min() > 0.2, "the map folds the tissue"
    json.dumps(first.quality.as_dict(), allow_nan=False)


def test_a_mirror_image_that_comes_first_at_the_low_level_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = section(3)
    moving, truth = cut_from(rgb, 25, False, 12.0)
    places = on_tissue(rgb)

    def other_side_first(fixed: Picture, other: Picture, **how: object) -> Rough:
        found = find_rough(fixed, other)
        centre = places.mean(axis=0)
        linear = found.best.affine[:, :2] @ np.diag([1.0, -1.0])
        shift = found.best.affine @ np.append(centre, 1.0) - linear @ centre
        wrong = Candidate("search", np.hstack([linear, shift[:, None]]), 2.0)
        return Rough(wrong, (found.best,), found.named, 1.0)

    monkeypatch.setattr(register_module, "find_rough", other_side_first)
    result = register(ArrayPyramid(rgb, UM), moving, QUICK)
    missed = np.linalg.norm(result.warp.points(places) - truth.points(places), axis=1)
    assert np.median(missed) < 2.0
    assert result.quality.verdict == "good"
    assert result.quality.lead < 1.0  # that of the contest
    assert result.quality.levels[0].figures["score"] < 2.0  # what is written down is of the one that won


@pytest.mark.parametrize("which", ["reference", "moving"])
def test_an_empty_slide_is_an_error_that_names_it(which: str) -> None:
    glass = ArrayPyramid(np.full((200, 200, 3), 240, np.uint8), UM)
    tissue = ArrayPyramid(section(1), UM)
    pair = (glass, tissue) if which == "reference" else (tissue, glass)
    with pytest.raises(RegistrationError, match=f"no tissue on the {which} slide"):
        register(*pair, QUICK)


@pytest.mark.parametrize(("first", "second"), [(1, 2), (6, 7)])
def test_sections_of_other_tissue_are_never_good(first: int, second: int) -> None:
    moving, _ = cut_from(section(second), 30, False, 5.0)
    try:
        result: Registration | None = register(ArrayPyramid(section(first), UM), moving, QUICK)
    except RegistrationError:
        return
    assert result is not None
    assert not result.quality.trusted
    assert result.quality.message


def test_a_given_start_replaces_the_search() -> None:
    rgb = section(3)
    moving, truth = cut_from(rgb, 70, True, 8.0)
    result = register(ArrayPyramid(rgb, UM), moving, QUICK, start=truth)
    places = on_tissue(rgb)
    assert np.median(np.linalg.norm(result.warp.points(places) - truth.points(places), axis=1)) < 2.0
    assert result.quality.levels[0].method == "given start"


def test_lesions_are_refined_inside_their_boxes_only() -> None:
    rgb = section(3)
    moving, truth = cut_from(rgb, 15, False, 14.0)
    height, width = size_um(ArrayPyramid(rgb, UM).levels[0], (UM, UM))
    off = np.array([[0, 0, 9.0], [0, 0, -7.0]])
    wrong = truth.then(Warp.from_affine(np.eye(2, 3) + off))
    box = BoxUm(height * 0.4, width * 0.35, 260.0, 360.0)
    result = refine_lesions(ArrayPyramid(rgb, UM), moving, wrong, [box], QUICK)
    assert result.warp.id != wrong.id
    inside = box.corners().mean(axis=0) + np.random.default_rng(0).uniform(-80, 80, (50, 2))
    before = np.linalg.norm(wrong.points(inside) - truth.points(inside), axis=1)
    after = np.linalg.norm(result.warp.points(inside) - truth.points(inside), axis=1)
    assert np.median(after) < 0.4 * np.median(before)
    outside = np.array([[20.0, 20.0], [height - 20, width - 20], [box.row_um, 30.0]])
    assert np.allclose(result.warp.points(outside), wrong.points(outside), atol=1e-6)


def test_refining_without_lesions_is_an_error() -> None:
    rgb = section(3)
    with pytest.raises(RegistrationError, match="no lesion"):
        refine_lesions(ArrayPyramid(rgb, UM), ArrayPyramid(rgb, UM), Warp.from_affine(), [], QUICK)


def _landmarks(folder: Path, stain: str) -> np.ndarray:
    with open(folder / "landmarks" / f"{stain}.csv", newline="") as file:
        rows = [[float(v) for v in row] for row in list(csv.reader(file))[1:] if row]
    return np.array(sorted(rows))[:80, [2, 1]] * 0.1 * 3.48


@pytest.mark.real
@pytest.mark.parametrize("stain", ["CD31", "proSPC"])
def test_real_sections_come_within_a_hundredth_of_the_diagonal(lung_case: Path, stain: str) -> None:
    slides = [ArrayPyramid(np.asarray(Image.open(lung_case / f"{n}.jpg").convert("RGB")), 3.48) for n in ("HE", stain)]
    result = register(*slides)
    missed = np.linalg.norm(result.warp.points(_landmarks(lung_case, "HE")) - _landmarks(lung_case, stain), axis=1)
    diagonal = math.hypot(*size_um(slides[1].levels[0], (3.48, 3.48)))
    assert np.median(missed) / diagonal < 0.010
    assert result.quality.verdict == "good"


def laid_beside(truth: Warp, places: Points, turn_degrees: float, off_um: tuple[float, float]) -> Warp:
    """Where a hand laid the section: about right, turned and shifted beside the true position."""
    c, s = math.cos(math.radians(turn_degrees)), math.sin(math.radians(turn_degrees))
    linear = np.array([[c, s], [-s, c]])
    centre = places.mean(axis=0)
    missed = np.hstack([linear, (centre - linear @ centre + np.array(off_um))[:, None]])
    return Warp.from_affine(missed).then(Warp.from_affine(truth.affine))


@pytest.mark.parametrize(("turn", "mirrored"), [(25, False), (163, True)])
@pytest.mark.parametrize(("off_degrees", "off_um"), [(5, (35, 35)), (-12, (-90, 60))])
def test_a_start_laid_by_hand_is_made_good(
    turn: float, mirrored: bool, off_degrees: float, off_um: tuple[float, float]
) -> None:
    rgb = section(3)
    moving, truth = cut_from(rgb, turn, mirrored, 12.0)
    places = on_tissue(rgb)
    start = laid_beside(truth, places, off_degrees, off_um)
    assert np.median(np.linalg.norm(start.points(places) - truth.points(places), axis=1)) > 40
    result = register(ArrayPyramid(rgb, UM), moving, QUICK, start=start)
    missed = np.linalg.norm(result.warp.points(places) - truth.points(places), axis=1)
    assert np.median(missed) < 2.0
    assert np.quantile(missed, 0.95) < 8.0
    assert result.quality.verdict == "good"


@pytest.mark.parametrize("wrong", ["turned", "mirrored", "other tissue"])
def test_a_wrong_start_wins_over_the_search_and_is_never_good(wrong: str) -> None:
    rgb = section(3)
    moving, truth = cut_from(section(5) if wrong == "other tissue" else rgb, 25, False, 8.0)
    centre = on_tissue(rgb).mean(axis=0)
    linear = {"turned": np.diag([-1.0, -1.0]), "mirrored": np.diag([1.0, -1.0])}.get(wrong, np.eye(2))
    over = Warp.from_affine(np.hstack([linear, (centre - linear @ centre)[:, None]]))
    start = over.then(Warp.from_affine(truth.affine))
    result = register(ArrayPyramid(rgb, UM), moving, QUICK, start=start)
    assert not result.quality.trusted
    between = result.warp.affine[:, :2] @ np.linalg.inv(start.affine[:, :2])
    assert np.linalg.det(between) > 0
    assert abs(math.degrees(math.atan2(between[1, 0], between[0, 0]))) < 25
