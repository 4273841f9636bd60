"""Outlines and pixels: the same pixels there and back, valid rings, the right side of every edge."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from stainloom.geometry import Box, Size
from stainloom.labels.polygons import Outline, fill_parts, fill_polygons, raster_to_polygons, rescale

RASTERS = hnp.arrays(
    np.uint8,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14),
    elements=st.sampled_from([0, 0, 1, 1, 7]),
)


def rings_of(outline: Outline) -> list[Any]:
    return [ring for part in outline.parts for ring in part]


def filled(outlines: tuple[Outline, ...], shape: tuple[int, int]) -> np.ndarray[Any, Any]:
    raster = np.zeros(shape, np.uint8)
    for outline in outlines:
        mask = fill_polygons(rings_of(outline), Size(*shape))
        assert not raster[mask].any()
        raster[mask] = outline.class_id
    return raster


def area(ring: np.ndarray[Any, Any]) -> float:
    """Positive clockwise on the screen (the rows run down)."""
    row, col = ring[:-1].T
    return float(np.sum(col * np.roll(row, -1) - np.roll(col, -1) * row)) / 2


@settings(max_examples=150, deadline=None)
@given(RASTERS)
def test_a_raster_comes_back_from_its_outlines(raster: np.ndarray[Any, Any]) -> None:
    outlines = raster_to_polygons(raster)
    np.testing.assert_array_equal(filled(outlines, raster.shape), raster)
    for outline in outlines:
        assert sum(area(ring) for ring in rings_of(outline)) == outline.area_px
        box, mask = fill_parts(outline.parts, Size(*raster.shape))
        assert box == outline.box
        assert mask.sum() == outline.area_px


@settings(max_examples=150, deadline=None)
@given(RASTERS)
def test_rings_are_closed_simple_and_turn_the_right_way(raster: np.ndarray[Any, Any]) -> None:
    for outline in raster_to_polygons(raster):
        for part in outline.parts:
            for number, ring in enumerate(part):
                np.testing.assert_array_equal(ring[0], ring[-1])
                corners = [tuple(point) for point in ring[:-1]]
                assert len(set(corners)) == len(corners)
                assert (area(ring) > 0) == (number == 0)
                steps = np.diff(ring, axis=0)
                assert ((steps != 0).sum(axis=1) == 1).all()
                # A corner at every point: no needless ones.
                assert ((steps[:, 0] != 0) != (np.roll(steps, 1, axis=0)[:, 0] != 0)).all()


def test_a_ring_with_a_hole_by_hand() -> None:
    mask = np.zeros((6, 7), np.bool_)
    mask[1:5, 2:6] = True
    mask[2:4, 3:5] = False
    ((outline),) = raster_to_polygons(mask)
    assert (outline.class_id, outline.box, outline.area_px) == (1, Box(1, 2, 4, 4), 12)
    ((outer, hole),) = outline.parts
    assert {tuple(p) for p in outer} == {(1, 2), (1, 6), (5, 6), (5, 2)}
    assert {tuple(p) for p in hole} == {(2, 3), (2, 5), (4, 5), (4, 3)}


def test_pixels_that_touch_at_a_corner_are_one_outline_of_two_parts() -> None:
    (outline,) = raster_to_polygons(np.eye(2, dtype=np.uint8))
    assert len(outline.parts) == 2
    assert [len(part) for part in outline.parts] == [1, 1]


def test_a_hole_at_the_border_corner_stays_a_hole() -> None:
    mask = np.array([[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1]], np.uint8)
    (outline,) = raster_to_polygons(mask)
    assert [len(part) for part in outline.parts] == [2]
    np.testing.assert_array_equal(fill_polygons(rings_of(outline), Size(4, 4)), mask.astype(bool))


def test_large_blobs_come_back() -> None:
    field = ndimage.gaussian_filter(np.random.default_rng(1).standard_normal((700, 900)), 4)
    raster = np.digitize(field, [-0.02, 0.05]).astype(np.uint8)
    np.testing.assert_array_equal(filled(raster_to_polygons(raster), raster.shape), raster)


# Filling


def inside_by_hand(ring: np.ndarray[Any, Any], row: float, col: float) -> bool:
    """Even-odd by a ray to the left, one edge at a time."""
    result = False
    for (r0, c0), (r1, c1) in itertools.pairwise(ring):
        if (r0 <= row) != (r1 <= row):
            crossing = c0 + (row - r0) * (c1 - c0) / (r1 - r0)
            assume(abs(crossing - col) > 1e-9)  # on the edge within rounding, either side is right
            result ^= bool(crossing <= col)
    return result


@settings(max_examples=80, deadline=None)
@given(
    hnp.arrays(np.float64, (7, 2), elements=st.floats(-4, 14, allow_nan=False).map(lambda v: round(v, 2))),
)
def test_filling_agrees_with_the_rule_pixel_by_pixel(points: np.ndarray[Any, Any]) -> None:
    # Quarter steps beside hundredths would meet centres within rounding: keep every point off the half grid.
    ring = np.concatenate([points + 0.003, points[:1] + 0.003])
    expected = [[inside_by_hand(ring, row + 0.5, col + 0.5) for col in range(11)] for row in range(9)]
    found = fill_polygons([ring], Size(9, 11))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(fill_polygons([ring[:-1]], Size(9, 11)), expected)


def test_neighbours_share_no_pixel_and_leave_none_out() -> None:
    # Their common edge runs through pixel centres.
    left = np.array([[0, 0], [0, 3.5], [8, 3.5], [8, 0], [0, 0]])
    right = np.array([[0, 3.5], [0, 8], [8, 8], [8, 3.5], [0, 3.5]])
    slanted = np.array([[0.5, 0.5], [7.5, 7.5], [7.5, 0.5], [0.5, 0.5]])
    other = np.array([[0.5, 0.5], [0.5, 7.5], [7.5, 7.5], [0.5, 0.5]])
    one, two = fill_polygons([left], Size(8, 8)), fill_polygons([right], Size(8, 8))
    assert (one ^ two).all()
    three, four = fill_polygons([slanted], Size(8, 8)), fill_polygons([other], Size(8, 8))
    assert not (three & four).any()
    assert (three | four).sum() == 49


def test_overlapping_parts_are_both_inside_and_outside_is_cut() -> None:
    square = np.array([[-5.0, -5], [-5, 4], [4, 4], [4, -5], [-5, -5]])
    box, mask = fill_parts([(square,), (square + 2,)], Size(10, 10))
    assert box == Box(0, 0, 6, 6)
    assert mask.sum() == 16 + 36 - 16
    empty, none = fill_parts([(square + 40,)], Size(10, 10))
    assert empty.empty
    assert none.size == 0
    assert not fill_polygons([square - 20], Size(10, 10)).any()
    with pytest.raises(ValueError, match="no number"):
        fill_polygons([np.array([[0, 0], [np.nan, 1], [3, 3.0]])], Size(5, 5))
    with pytest.raises(ValueError, match="uint8 or bool"):
        raster_to_polygons(np.zeros((3, 3), np.int32))


def test_outlines_in_another_scale_give_the_same_pixels_back() -> None:
    raster = np.random.default_rng(2).integers(0, 3, (40, 50)).astype(np.uint8)
    slide_um, label_um = (0.2523, 0.2521), (2.0, 2.0)
    back = np.zeros_like(raster)
    for outline in raster_to_polygons(raster):
        on_slide = rescale(outline.parts, label_um, slide_um)
        assert on_slide[0][0][0] == pytest.approx(outline.parts[0][0][0] * np.array(label_um) / slide_um)
        box, mask = fill_parts(rescale(on_slide, slide_um, label_um), Size(40, 50))
        back[box.row : box.row_end, box.col : box.col_end][mask] = outline.class_id
    np.testing.assert_array_equal(back, raster)


@pytest.mark.real
def test_real_objects_come_back_to_the_pixel(real_data: Path) -> None:
    # Their rings at level 0; the same pixels come back from the outlines that we would write.
    files = sorted((real_data / "annotations").glob("qupath_geojson*/*.json"))
    objects = 0
    for file in files:
        content = json.loads(file.read_text())
        for feature in content if isinstance(content, list) else [content]:
            if feature["geometry"]["type"] != "Polygon":
                continue
            rings = [np.array(ring, np.float64)[:, ::-1] for ring in feature["geometry"]["coordinates"]]
            corner = np.floor(rings[0].min(axis=0)) - 2
            rings = [ring - corner for ring in rings]
            size = Size(*(int(v) + 3 for v in rings[0].max(axis=0)))
            mask = fill_polygons(rings, size)
            assert mask.sum() == pytest.approx(abs(area(rings[0])), rel=0.01, abs=6)
            (outline,) = raster_to_polygons(mask)
            np.testing.assert_array_equal(fill_polygons(rings_of(outline), size), mask)
            objects += 1
    assert objects == 9
