"""Regions of a prediction, the least certain first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stainloom.case.lesions import LESIONS
from stainloom.case.predicted import least_certain, mean_weights
from stainloom.case.view import MapsView


def maps_of(class_map: np.ndarray, certainty: np.ndarray) -> MapsView:
    """Maps of 100 um a pixel whose classes are certain as given."""
    classes = LESIONS[:2]
    probabilities = [np.where(class_map == lesion.id, certainty, 0.1).astype(np.float32) for lesion in classes]
    weights = {"HE": np.zeros(class_map.shape, np.float32)}
    return MapsView("run", (100.0, 100.0), (50.0, 20.0), class_map, probabilities, weights, classes)


def test_regions_come_with_area_class_certainty_and_place() -> None:
    class_map, certainty = np.zeros((20, 30), np.uint8), np.full((20, 30), 0.9)
    class_map[2:6, 3:8] = LESIONS[0].id
    class_map[10:12, 20:25] = LESIONS[1].id
    certainty[10:12, 20:25] = np.linspace(0.3, 0.5, 10).reshape(2, 5)
    (unsure, sure), count = least_certain(maps_of(class_map, certainty))
    assert count == 2
    assert (unsure.lesion, sure.lesion) == (LESIONS[1], LESIONS[0])
    assert (unsure.area_mm2, sure.area_mm2) == (pytest.approx(0.1), pytest.approx(0.2))
    assert (unsure.certainty, sure.certainty) == (pytest.approx(0.4), pytest.approx(0.9))
    assert unsure.edges_um == (1050.0, 2020.0, 1250.0, 2520.0)


def test_corners_join_specks_are_left_out_and_the_list_has_an_end() -> None:
    class_map = np.zeros((60, 60), np.uint8)
    class_map[::4, ::4] = LESIONS[0].id
    class_map[1, 1] = LESIONS[0].id
    maps = maps_of(class_map, np.full(class_map.shape, 0.5))
    found, count = least_certain(maps, most=7)
    assert (len(found), count) == (7, 225)
    assert least_certain(maps, least_mm2=0.015)[1] == 1
    assert least_certain(maps_of(np.zeros((5, 5), np.uint8), np.ones((5, 5)))) == ((), 0)


def test_a_place_outside_of_the_maps_has_no_pixel() -> None:
    maps = maps_of(np.ones((20, 30), np.uint8), np.full((20, 30), 0.5))
    assert maps.index_at((50.0, 20.0)) == (0, 0)
    assert maps.index_at((2049.9, 3019.9)) == (19, 29)
    assert maps.index_at((49.9, 20.0)) is None
    assert maps.index_at((50.0, 3020.0)) is None


def test_mean_weights_are_told_by_class_where_the_stain_was_there() -> None:
    class_map = np.zeros((10, 20), np.uint8)
    class_map[:, :10], class_map[:4, 10:] = LESIONS[0].id, LESIONS[1].id
    maps = maps_of(class_map, np.full(class_map.shape, 0.5))
    vg = np.where(class_map == LESIONS[0].id, 0.6, 0.2).astype(np.float32)
    vg[:, :5] = 0
    vg[9, 19] = 1  # where nothing was predicted
    sma = np.where(class_map == LESIONS[0].id, 0.5, 0).astype(np.float32)
    found = mean_weights(replace(maps, weights={"HE": np.zeros_like(vg), "VG": vg, "SMA": sma}))
    assert found is not None
    assert found.stains == ("VG", "SMA")
    assert found.overall == (pytest.approx((50 * 0.6 + 40 * 0.2) / 90), pytest.approx(0.5))
    assert found.by_class[LESIONS[0].id] == (pytest.approx(0.6), pytest.approx(0.5))
    assert found.by_class[LESIONS[1].id][0] == pytest.approx(0.2)
    assert np.isnan(found.by_class[LESIONS[1].id][1])
    assert found.spread == (pytest.approx(0.2), pytest.approx(0.6))


def test_where_nothing_was_predicted_there_are_no_mean_weights() -> None:
    maps = maps_of(np.zeros((4, 4), np.uint8), np.zeros((4, 4)))
    assert mean_weights(maps) is None
    assert mean_weights(maps_of(np.ones((4, 4), np.uint8), np.zeros((4, 4)))) is None  # HE weighs nothing
