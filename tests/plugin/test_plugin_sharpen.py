"""Moves in a real window: nothing is waited for, fine tiles are drawn when they come, layers come in turn."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from stainloom.case.aligned import AlignedStain
from stainloom.case.case import Case
from stainloom.case.study import PROTOCOLS, Study
from stainloom.case.view import CaseView, StainView
from stainloom.case.warp import Warp
from stainloom.geometry import ArrayPyramid

pytestmark = pytest.mark.screen

ROWS, COLS = 3000, 4000


class Gated(ArrayPyramid):
    """A slide whose finest levels are read only when they are let, as from a slow disk."""

    def __init__(self, seed: int, gate: threading.Event) -> None:
        ramp = np.linspace(0, 180, ROWS)[:, None] + np.linspace(0, 50, COLS) + seed
        picture = np.repeat(ramp[..., None], 3, axis=-1).astype(np.uint8)
        picture[::2, ::2] += 20
        super().__init__(picture, 0.5)
        self.picture, self._gate = picture, gate

    def read(self, level, box):
        if level < 2:
            self._gate.wait(20)
        return super().read(level, box)


@pytest.fixture
def gate():
    opened = threading.Event()
    yield opened
    opened.set()


@pytest.fixture
def session(make_napari_viewer, qtbot, gate):
    from stainloom.plugin.session import Session

    viewer = make_napari_viewer(show=True)
    viewer.window.resize(900, 700)
    names = [stain.name for stain in PROTOCOLS[0].stains]
    stains = tuple(
        StainView(
            name,
            AlignedStain(name, Gated(number, gate), None if number == 0 else Warp.from_affine()),
            "good" if number else "reference",
        )
        for number, name in enumerate(names)
    )
    painted = np.zeros((750, 1000), np.uint8)
    view = CaseView(Study(PROTOCOLS[0]), Case("A", "P", "A"), stains, painted, (2.0, 2.0))
    made = Session.open(viewer, view)
    made.first = [layer.name for layer in viewer.layers]
    yield made
    gate.set()
    made.close()


def shown(layer) -> np.ndarray:
    return layer._slice.image.raw


def exact(layer) -> np.ndarray:
    (top, left), (bottom, right) = layer.corner_pixels
    return layer.data[layer.data_level].read(_box(top, left, bottom + 1, right + 1))


def _box(top, left, bottom, right):
    from stainloom.geometry import Box

    return Box(int(top), int(left), int(bottom - top), int(right - left))


def test_the_reference_and_the_paint_come_first_and_the_other_stains_in_turn(session, qtbot):
    assert session.first == ["HE", "Lesions"]
    session.viewer.layers.selection.active = session.layers.lesions
    qtbot.waitUntil(lambda: len(session.viewer.layers) == 7, timeout=20_000)
    assert [layer.name for layer in session.viewer.layers] == [
        *(stain.name for stain in PROTOCOLS[0].stains),
        "Checkerboard",
        "Lesions",
    ]
    assert session.viewer.layers.selection.active is session.layers.lesions


def test_a_stain_that_is_shown_before_its_turn_comes_at_once(session):
    session.show_stain("SMA")
    assert session.layers.stains["SMA"] in session.viewer.layers
    assert session.layers.shown(session.viewer).stains == ("SMA",)
    session.finish()
    assert [layer.name for layer in session.viewer.layers][:5] == [stain.name for stain in PROTOCOLS[0].stains]
    assert session.layers.shown(session.viewer).stains == ("SMA",)


def test_a_move_waits_for_no_tile_and_becomes_sharp(session, qtbot, gate):
    from qtpy.QtWidgets import QApplication

    session.finish()
    layer = session.layers.stains["HE"]
    camera = session.viewer.scene.camera
    qtbot.waitUntil(lambda: layer.data_level >= 1, timeout=10_000)
    camera.center, camera.zoom = (0.0, 700.0, 900.0), 2.5
    QApplication.processEvents()
    session.viewer.window._qt_viewer.canvas.native.repaint()
    assert layer.data_level == 0
    assert not session.settled  # a tile that is waited for is there, or the gate gave up after 20 s
    coarse = shown(layer).copy()
    gate.set()
    qtbot.waitUntil(lambda: session.settled, timeout=20_000)
    QApplication.processEvents()
    np.testing.assert_array_equal(shown(layer), exact(layer))
    assert (coarse != shown(layer)).any()
    # Coarse, but of the same place: never further off than the pattern that only the finest level has.
    assert np.abs(coarse.astype(int) - shown(layer)).max() <= 24
    visual = session.viewer.window._qt_viewer.canvas.layer_to_visual[layer]
    np.testing.assert_array_equal(visual._data, shown(layer))


def test_a_hidden_stain_is_sliced_where_the_view_is_when_it_is_shown(session, qtbot, gate):
    from qtpy.QtWidgets import QApplication

    gate.set()
    session.finish()
    qtbot.waitUntil(lambda: session.settled, timeout=20_000)
    camera = session.viewer.scene.camera
    camera.center, camera.zoom = (0.0, 500.0, 600.0), 2.0
    QApplication.processEvents()
    session.show_stain("VG")
    QApplication.processEvents()
    qtbot.waitUntil(lambda: session.settled, timeout=20_000)
    reference, layer = session.layers.stains["HE"], session.layers.stains["VG"]
    assert layer.data_level == reference.data_level == 0
    np.testing.assert_array_equal(layer.corner_pixels, reference.corner_pixels)
    # A stain that was hidden hears of its place when the event loop turns: it may be called settled a moment before.
    qtbot.waitUntil(lambda: np.array_equal(shown(layer), exact(layer)), timeout=20_000)


def test_levels_are_chosen_by_the_pixels_of_the_screen(session, qtbot, gate):
    from qtpy.QtWidgets import QApplication

    from stainloom.plugin._napari import slice_by_screen

    gate.set()
    session.finish()
    layer = session.layers.stains["HE"]
    camera = session.viewer.scene.camera
    camera.zoom = 0.45  # px of the canvas for each um: level 0 has 2
    qtbot.waitUntil(lambda: session.settled, timeout=20_000)
    QApplication.processEvents()
    logical = layer.data_level
    slice_by_screen(session.viewer, layer, session.renderer.for_screen, lambda: 2.0)
    camera.zoom = 0.46
    QApplication.processEvents()
    session.viewer.window._qt_viewer.canvas.native.repaint()
    qtbot.waitUntil(lambda: layer.data_level == logical - 1, timeout=5_000)
    assert logical == 2


def test_what_is_around_the_view_and_the_other_stains_are_rendered_ahead(session, qtbot, gate):
    gate.set()
    session.finish()
    camera = session.viewer.scene.camera
    camera.center, camera.zoom = (0.0, 700.0, 900.0), 2.0
    qtbot.waitUntil(lambda: session.settled, timeout=20_000)
    vg = session.layers.stains["VG"]

    def ready() -> bool:
        layer = session.layers.stains["HE"]
        (top, left), (bottom, right) = layer.corner_pixels
        level = vg.data[layer.data_level]
        return all(session.renderer.kept(level.key(t)) is not None for t in level.tiles(_box(top, left, bottom, right)))

    qtbot.waitUntil(ready, timeout=20_000)
    assert not vg.visible
