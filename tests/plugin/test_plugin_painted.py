"""Paint drawn into the pictures of the stains, without a window: where it lies, and that it comes off again."""

from __future__ import annotations

import numpy as np
import pytest
from test_plugin_layers import small_case

from stainloom.geometry import Box
from stainloom.plugin import layers as case_layers
from stainloom.plugin.painted import paint_over
from stainloom.plugin.pyramid import Renderer


@pytest.fixture
def case():
    from napari.components import ViewerModel

    renderer = Renderer()
    view = small_case(maps=False)
    yield view, case_layers.add_case(ViewerModel(), view, renderer)
    renderer.close()


def test_paint_lies_where_it_was_painted_at_every_level(case):
    view, layers = case
    layers.lesions.opacity = 1.0
    paint_over(layers, view.label_um_per_px)
    color = view.study.lesion("SMNL").rgb
    for layer in layers.stains.values():
        for number, level in enumerate(layer.data):
            picture = level[:]
            rows, cols = (np.arange(n) + 0.5 for n in picture.shape[:2])
            um = 0.5 * 2**number
            inside = ((rows * um >= 100) & (rows * um < 140))[:, None] & ((cols * um >= 200) & (cols * um < 300))[None]
            np.testing.assert_array_equal((picture == color).all(axis=-1), inside)
    assert layers.painted_over


def test_paint_is_as_transparent_as_the_painted_layer_and_comes_off(case):
    view, layers = case
    level = layers.stains["HE"].data[0]
    before = level[200:280, 400:600]
    layers.lesions.opacity = 0.25
    paint_over(layers, view.label_um_per_px)
    mixed = np.round(0.75 * before + 0.25 * np.array(view.study.lesion("SMNL").rgb))
    np.testing.assert_array_equal(level[200:280, 400:600], mixed)
    np.testing.assert_array_equal(level.read(Box(200, 400, 80, 200)), before)
    paint_over(layers, None)
    np.testing.assert_array_equal(level[200:280, 400:600], before)
    assert not layers.painted_over
