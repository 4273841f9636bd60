"""Connected regions and areas of a class raster."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from stainloom.geometry import Box
from stainloom.labels.regions import class_areas_mm2, find_regions, region_numbers

RASTERS = hnp.arrays(
    np.uint8,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20),
    elements=st.sampled_from([0, 0, 1, 2, 255]),
)


def test_regions_by_hand() -> None:
    raster = np.array(
        [
            [0, 2, 0, 0, 1],
            [2, 0, 0, 1, 0],
            [0, 0, 0, 0, 0],
            [1, 1, 0, 2, 2],
        ],
        np.uint8,
    )
    found = find_regions(raster, (2.0, 5.0))
    assert [(r.id, r.class_id, r.box, r.area_px, r.first) for r in found] == [
        (1, 1, Box(0, 3, 2, 2), 2, (0, 4)),
        (2, 1, Box(3, 0, 1, 2), 2, (3, 0)),
        (3, 2, Box(0, 0, 2, 2), 2, (0, 1)),
        (4, 2, Box(3, 3, 1, 2), 2, (3, 3)),
    ]
    assert found[0].area_mm2 == pytest.approx(2 * 10e-6)
    assert class_areas_mm2(raster, (2.0, 5.0)) == pytest.approx({1: 4e-5, 2: 4e-5})
    np.testing.assert_array_equal(region_numbers(raster)[0], [0, 3, 0, 0, 1])


def test_an_empty_raster_has_no_region() -> None:
    assert find_regions(np.zeros((5, 5), np.uint8), 1.0) == ()
    assert class_areas_mm2(np.zeros((5, 5), np.uint8), 1.0) == {}


@settings(max_examples=150, deadline=None)
@given(RASTERS)
def test_regions_agree_with_another_implementation(raster: np.ndarray[Any, Any]) -> None:
    found = find_regions(raster, 1.0)
    numbers = region_numbers(raster)
    np.testing.assert_array_equal(numbers > 0, raster > 0)
    count = 0
    for class_id in (1, 2, 255):
        labelled, n = ndimage.label(raster == class_id, np.ones((3, 3)))
        count += n
        for region in (r for r in found if r.class_id == class_id):
            mask = labelled == labelled[region.first]
            np.testing.assert_array_equal(mask, numbers == region.id)
            assert mask.sum() == region.area_px
            rows, cols = np.nonzero(mask)
            assert region.box == Box(rows.min(), cols.min(), np.ptp(rows) + 1, np.ptp(cols) + 1)
            assert region.first == (rows[0], cols[0])
    assert len(found) == count
    assert [(r.class_id, r.first) for r in found] == sorted((r.class_id, r.first) for r in found)
    assert sum(class_areas_mm2(raster, 1.0).values()) == pytest.approx(np.count_nonzero(raster) * 1e-6)
