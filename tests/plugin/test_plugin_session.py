"""Tests of a case in a real window: what is drawn, keys, legend, title, pictures, closing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from test_plugin_layers import NAMES, small_case

from stainloom.case.aligned import AlignedStain
from stainloom.case.view import StainView
from stainloom.geometry import ArrayPyramid
from stainloom.plugin.overlay import CLASSES, RESEARCH_ONLY, SIMULATED, Overlay

pytestmark = pytest.mark.screen


def photo(session) -> np.ndarray:
    """The window as (rows, cols, 3) uint8."""
    from stainloom.plugin._napari import photograph

    return pixels(photograph(session.viewer))


def pixels(png: bytes) -> np.ndarray:
    import cv2

    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    return np.ascontiguousarray(picture[..., ::-1])


def canvas_of(session, picture: np.ndarray) -> np.ndarray:
    """The part of a photograph that shows the canvas."""
    from qtpy.QtCore import QPoint

    from stainloom.plugin._napari import canvas_widget, main_window

    widget = canvas_widget(session.viewer)
    at = widget.mapTo(main_window(session.viewer), QPoint(0, 0))
    return picture[at.y() : at.y() + widget.height(), at.x() : at.x() + widget.width()]


def at_um(session, picture: np.ndarray, row_um: float, col_um: float) -> np.ndarray:
    """The pixel of a photograph that shows a place on the reference."""
    canvas = canvas_of(session, picture)
    camera = session.viewer.scene.camera
    row = (row_um - camera.center[-2]) * camera.zoom + canvas.shape[0] / 2
    col = (col_um - camera.center[-1]) * camera.zoom + canvas.shape[1] / 2
    return canvas[round(row), round(col)].astype(int)


def test_each_key_shows_its_stain(opened, qtbot):
    from qtpy.QtCore import Qt

    from stainloom.plugin._napari import canvas_widget

    session = opened(small_case(maps=False))
    for number, name in enumerate(NAMES):
        qtbot.keyClick(canvas_widget(session.viewer), Qt.Key(Qt.Key.Key_F1.value + number))
        assert session.layers.shown(session.viewer).stains == (name,)
        np.testing.assert_allclose(at_um(session, photo(session), 200, 300), 200 - 20 * number, atol=2)


@pytest.mark.parametrize("zoom", [0.7, 3.0])
def test_paint_is_an_outline_under_a_map_as_wide_at_any_zoom_and_filled_without(opened, zoom):
    session = opened(small_case())
    camera, box = session.viewer.scene.camera, np.argwhere(session.layers.lesions.data)
    step = session.layers.lesions.scale
    row, col = ((box.min(axis=0) + box.max(axis=0) + 1) / 2 * step).tolist()
    session.show_overlay(None)
    camera.zoom, camera.center = zoom, (0.0, row, col)
    bare, filled = (photo_of_row(session, row, shown) for shown in (False, True))
    assert (filled != bare).any(axis=1).sum() == pytest.approx(np.ptp(box[:, 1]) * step[1] * zoom, rel=0.1)
    session.show_overlay(CLASSES)
    bare, outlined = (photo_of_row(session, row, shown) for shown in (False, True))
    assert 4 <= (outlined != bare).any(axis=1).sum() <= 8  # both sides of it
    session.show_overlay(None)
    np.testing.assert_array_equal(photo_of_row(session, row, True), filled)


def test_outlines_follow_what_the_user_does_to_the_layers(opened):
    session = opened(small_case())
    lesions = session.layers.lesions
    row = 120.0
    session.viewer.scene.camera.center = (0.0, row, 250.0)
    session.show_overlay(CLASSES)
    bare, outlined = (photo_of_row(session, row, shown) for shown in (False, True))
    lesions.opacity = 0.2
    np.testing.assert_array_equal(photo_of_row(session, row, True), outlined)  # faint paint has a full outline
    lesions.opacity = 0
    np.testing.assert_array_equal(photo_of_row(session, row, True), bare)
    lesions.opacity = 0.5
    session.viewer.layers.remove(lesions)
    session.viewer.layers.append(lesions)
    np.testing.assert_array_equal(photo_of_row(session, row, True), outlined)
    session.layers.predicted.opacity = 0
    assert (photo_of_row(session, row, True) != photo_of_row(session, row, False)).any(axis=1).sum() > 20
    lesions.data[:] = 3
    lesions.refresh()
    session.layers.predicted.opacity = 0.6
    session.looking.show_whole()
    assert 4 <= (photo_of_row(session, row, True) != photo_of_row(session, row, False)).any(axis=1).sum() <= 8


def photo_of_row(session, row_um: float, paint: bool) -> np.ndarray:
    """The pixels of the canvas along a row of the reference, with paint or without."""
    session.layers.lesions.visible = paint
    canvas, camera = canvas_of(session, photo(session)), session.viewer.scene.camera
    return canvas[round((row_um - camera.center[-2]) * camera.zoom + canvas.shape[0] / 2)].astype(int)


def test_paint_lies_on_what_was_painted_to_the_pixel(opened):
    # A black rectangle on the slide, at 0.5 um/px, exactly under the lesion, at 2 um/px: painted over opaquely, no black
    # may look out on any side, whatever level is drawn.
    view = small_case(maps=False)
    slide = np.full((700, 900, 3), 255, np.uint8)
    slide[200:280, 400:600] = 0
    stains = (StainView("HE", AlignedStain("HE", ArrayPyramid(slide, 0.5)), "reference"), *view.stains[1:])
    session = opened(dataclasses.replace(view, stains=stains))
    session.layers.stains["HE"].interpolation2d = "nearest"
    session.layers.lesions.visible = False
    session.look_at((90, 190, 150, 310))
    black = (canvas_of(session, photo(session))[:300].max(axis=-1) < 100).sum()
    assert black > 5000
    session.layers.lesions.visible = True
    session.layers.lesions.opacity = 1.0
    assert (canvas_of(session, photo(session))[:300].max(axis=-1) < 100).sum() == 0


def test_lesions_and_classes_have_the_colours_of_the_legend(opened):
    session = opened(small_case())
    session.layers.lesions.opacity = 1.0
    assert at_um(session, photo(session), 120, 250).tolist() == list(session.view.study.lesion("SMNL").rgb)
    session.layers.lesions.visible = False
    session.show_overlay(CLASSES)
    session.overlay.set_opacity(1.0)
    picture = photo(session)
    assert at_um(session, picture, 50, 100).tolist() == list(session.view.study.lesion("MEMA").rgb)
    assert at_um(session, picture, 200, 200).tolist() == list(session.view.study.lesion("normal").rgb)
    np.testing.assert_allclose(at_um(session, picture, 250, 400), 200, atol=2)


def test_the_legend_is_in_the_picture_and_says_what_is_shown(opened):
    session = opened(small_case(("reference", "good", "check", "good", "missing")))
    panel = session._panel
    assert panel.isVisible()
    place = panel.geometry()
    seen = canvas_of(session, photo(session))[place.top() : place.bottom(), place.left() : place.right()]
    lesion = np.array(session.view.study.lesion("SMNL").rgb)
    assert (np.abs(seen.astype(int) - lesion).max(axis=-1) <= 2).sum() > 100
    session.layers.lesions.visible = False
    seen = canvas_of(session, photo(session))[place.top() : place.bottom(), place.left() : place.right()]
    assert (np.abs(seen.astype(int) - lesion).max(axis=-1) <= 2).sum() == 0
    assert panel.legend.swatches == ()
    session.show_stain("Masson")
    assert any(note.startswith("Masson: ") for note in panel.legend.notes)
    assert session.viewer.status.startswith("Masson: ")
    session.show_overlay(Overlay("weight", "SMA"), now=True)
    assert panel.legend.bar.text.startswith("Weight of SMA")


def test_colours_of_weights_are_spread_on_demand_and_the_legend_says_between_what(opened):
    session = opened(small_case())
    panel = session._panel
    session.show_overlay(Overlay("weight", "SMA"), now=True)
    assert (panel.legend.bar.low, panel.legend.bar.middle) == ("0  nothing", "0.5")
    session.overlay.set_spread((0.2, 0.4))
    assert tuple(session.layers.shares.contrast_limits) == (0.2, 0.4)
    bar = panel.legend.bar
    assert (bar.low, bar.middle, bar.high) == ("0.20", "0.30", "0.40")
    assert "spread" in bar.text
    session.show_overlay(Overlay("certainty"), now=True)  # a probability is always coloured from 0 to 1
    assert tuple(session.layers.shares.contrast_limits) == (0, 1)
    session.show_overlay(Overlay("weight", "VG"), now=True)
    assert tuple(session.layers.shares.contrast_limits) == (0.2, 0.4)


def test_the_legend_stays_in_its_corner_and_lets_the_mouse_through(opened, qtbot):
    from qtpy.QtCore import Qt

    from stainloom.plugin._napari import canvas_widget, main_window, settle

    session = opened(small_case(maps=False))
    panel, canvas = session._panel, canvas_widget(session.viewer)
    assert panel.testAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
    for size in ((1000, 700), (1400, 900)):
        main_window(session.viewer).resize(*size)
        settle(session.viewer)
        assert 0 < canvas.height() - panel.geometry().bottom() < 20
        assert panel.geometry().left() < 20


@pytest.mark.parametrize("simulated", [True, False])
def test_title_and_legend_say_simulated_and_research(opened, simulated):
    session = opened(small_case(simulated=simulated))
    assert (SIMULATED in session.viewer.title) == simulated
    assert RESEARCH_ONLY in session.viewer.title
    assert "P01-A" in session.viewer.title
    assert (SIMULATED in session._panel.legend.notes) == simulated
    assert session.bar.isVisible()


def test_a_missing_stain_is_not_shown_but_said(opened):
    session = opened(small_case(("reference", "good", "good", "good", "missing"), maps=False))
    session.show_stain("VG")
    assert session.layers.shown(session.viewer).stains == ("HE",)
    assert session.viewer.status.startswith("VG: ")


def test_pictures_of_all_that_a_case_can_show(opened):
    from stainloom.plugin.pictures import take_pictures

    session = opened(small_case(("reference", "good", "check", "good", "missing")))
    session.finish()
    before = list(session.viewer.layers), session.layers.shown(session.viewer)
    pictures = list(take_pictures(session))
    assert [p.name for p in pictures] == ["aligned.png", "labels.png", "classes.png", "weights.png"]
    for picture in pictures:
        rows, cols, _ = pixels(picture.png).shape
        assert rows >= 800
        assert cols >= 1280
        assert "Simulated tissue." in picture.caption
    assert "marked so: Masson" in pictures[0].caption
    assert (list(session.viewer.layers), session.layers.shown(session.viewer)) == before


def test_a_case_without_paint_and_prediction_has_only_the_checkerboard(opened):
    from stainloom.plugin.pictures import take_pictures

    session = opened(small_case(labels=False, maps=False))
    assert [picture.name for picture in take_pictures(session)] == ["aligned.png"]


def test_one_map_at_a_time_is_laid_over_and_nothing_before_somebody_asks(opened, qtbot):
    session = opened(small_case())
    layers = session.viewer.layers
    session.finish()
    before = list(layers)
    active = layers.selection.active
    zoom, centre = session.viewer.scene.camera.zoom, session.viewer.scene.camera.center
    session.show_overlay(Overlay("weight", "SMA"))
    assert session.overlay.shown == Overlay("weight", "SMA")
    qtbot.waitUntil(lambda: session.layers.shares is not None, timeout=5000)
    shares = session.layers.shares
    session.show_overlay(Overlay("weight", "VG"))
    qtbot.waitUntil(lambda: session.layers.overlay == Overlay("weight", "VG"), timeout=5000)
    assert session.layers.shares is shares
    assert [layer.name for layer in layers if layer not in before] == ["Weight of VG"]
    assert shares.data[0, 0] == pytest.approx(0.4)
    session.switch_overlay()
    assert session.overlay.shown is None
    session.next_overlay()
    assert [layer.name for layer in session.viewer.layers if layer.visible and layer not in before] == [
        "Predicted class"
    ]
    assert layers.selection.active is active
    assert (session.viewer.scene.camera.zoom, session.viewer.scene.camera.center) == (zoom, centre)


def test_a_map_that_comes_late_does_not_replace_what_was_asked_for_since(opened, qtbot):
    session = opened(small_case())
    session.show_overlay(Overlay("weight", "SMA"))
    session.show_overlay(CLASSES)
    qtbot.wait(300)
    assert session.overlay.shown == CLASSES
    assert session.layers.shares is None


def test_a_map_that_cannot_be_read_is_said(opened, qtbot):
    session = opened(small_case())
    broken = dataclasses.replace(session.maps, weights={"SMA": np.zeros((2, 2), np.float32)})
    session.take_maps(broken)
    said = []
    session.overlay.failed.connect(said.append)
    session.show_overlay(Overlay("weight", "SMA"))
    qtbot.waitUntil(lambda: len(said) == 1, timeout=5000)
    assert "predict again" in str(said[0])
    assert session.overlay.shown is None


def test_the_readout_names_what_is_painted_and_predicted(opened):
    session = opened(small_case())
    here = session.readout((120.0, 250.0))
    assert (here.painted, here.predicted) == ("SMNL", "MEMA")
    assert here.weights["VG"] == pytest.approx(0.4)
    assert here.line.startswith("250 µm, 120 µm   painted SMNL   MEMA 0.00   HE .0")
    nothing = session.readout((-50.0, 10_000.0))
    assert (nothing.painted, nothing.predicted, nothing.weights) == ("", "", {})


def test_the_part_of_the_reference_that_is_on_the_canvas(opened):
    session = opened(small_case())
    session.look_at((100, 150, 160, 250), margin=0)
    top, left, bottom, right = session.box_on_canvas()
    assert top <= 100 < 160 <= bottom
    assert left <= 150 < 250 <= right
    assert min(bottom - top - 60, right - left - 100) == pytest.approx(0, abs=1)
    session.look_at((-5000, -5000, 5000, 5000))
    assert session.box_on_canvas() == (0.0, 0.0, 350.0, 450.0)


def test_a_closed_case_leaves_the_window_as_it_was(opened, window, qtbot):
    from qtpy.QtCore import Qt

    from stainloom.plugin._napari import canvas_widget
    from stainloom.plugin.legend import LegendPanel

    closed = []
    session = opened(dataclasses.replace(small_case(), closing=lambda: closed.append(1)))
    session.close()
    session.close()
    assert closed == [1]
    assert not canvas_widget(window).findChildren(LegendPanel)
    qtbot.keyClick(canvas_widget(window), Qt.Key.Key_F3)
    assert session.layers.shown(window).stains == ("HE",)
    second = opened(small_case())
    qtbot.keyClick(canvas_widget(window), Qt.Key.Key_F3)
    assert second.layers.shown(window).stains == ("Masson",)
    assert session.layers.shown(window).stains == ("HE",)


def test_what_a_case_leaves_on_the_graphics_card_is_deleted_in_the_context_of_the_canvas(opened, window, monkeypatch):
    """In another one, a driver draws the next picture with shaders that are gone."""
    from qtpy.QtGui import QOpenGLContext
    from vispy.gloo.glir import GlirProgram

    from stainloom.plugin._napari import canvas_widget

    deleted_in = []
    delete = GlirProgram.delete

    def watched(program):
        deleted_in.append(QOpenGLContext.currentContext())
        delete(program)

    session = opened(small_case())
    monkeypatch.setattr(GlirProgram, "delete", watched)
    canvas_widget(window).doneCurrent()
    session.close()
    window.layers.clear()
    own = canvas_widget(window).context()
    assert deleted_in
    assert all(context == own for context in deleted_in)
