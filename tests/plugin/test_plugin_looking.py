"""How a case is looked at in a real window: keys, grid, as scanned, turned; paint hits what is under the mouse."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from test_plugin_layers import NAMES, small_case
from test_plugin_session import canvas_of, photo

from stainloom.plugin.overlay import CLASSES

pytestmark = pytest.mark.screen


@pytest.fixture
def aligned(opened, tiny_case):
    """A case bent by known warps, in the window."""
    from stainloom import jobs

    return opened(jobs.open_view(tiny_case, "S01"))


def press(qtbot, session, key: str, shift: bool = False) -> None:
    from qtpy.QtCore import Qt

    from stainloom.plugin._napari import canvas_widget

    modifier = Qt.KeyboardModifier.ShiftModifier if shift else Qt.KeyboardModifier.NoModifier
    qtbot.keyClick(canvas_widget(session.viewer), getattr(Qt.Key, f"Key_{key}"), modifier)


def shown(session) -> tuple[str, ...]:
    return session.layers.shown(session.viewer).stains


def state(session):
    """Everything that has to come back."""
    return (
        {layer.name: (layer.visible, layer.opacity) for layer in session.viewer.layers},
        session.viewer.layers.selection.active,
        session.looking.look,
        tuple(session.viewer.scene.camera.center),
        session.viewer.scene.camera.zoom,
        session.viewer.canvas.grid.enabled,
    )


# Keys


def test_keys_lay_over_and_step_back(opened, qtbot):
    session = opened(small_case(maps=False))
    press(qtbot, session, "F3")
    press(qtbot, session, "F2", shift=True)
    assert shown(session) == ("AB-PAS", "Masson")
    # Half of either: the upper of the two in the list is half transparent.
    assert session.layers.stains["Masson"].opacity == 0.5
    np.testing.assert_allclose(middle_of(session), (180 + 160) / 2, atol=2)
    press(qtbot, session, "Escape")
    assert shown(session) == ("Masson",)
    assert session.layers.stains["Masson"].opacity == 1.0
    press(qtbot, session, "K")
    assert session.layers.checkerboard.visible
    press(qtbot, session, "Escape")
    assert shown(session) == ("Masson",)


def middle_of(session) -> float:
    canvas = canvas_of(session, photo(session))
    return float(canvas[canvas.shape[0] // 2 + 60, canvas.shape[1] // 2 + 60].mean())


def test_fields_of_a_microscope_by_key_about_the_mouse(opened, qtbot):
    from qtpy.QtCore import QPoint

    from stainloom.plugin._napari import canvas_widget, um_at

    session = opened(small_case(maps=False))
    place = QPoint(200, 250)
    qtbot.mouseMove(canvas_widget(session.viewer), place)
    there = um_at(session.viewer, place.x(), place.y())
    for key, um_per_px in (("8", 2.5), ("9", 1.0), ("0", 0.25)):
        press(qtbot, session, key)
        assert session.looking.field.um_per_px == pytest.approx(um_per_px)
        photo(session)
        assert um_at(session.viewer, place.x(), place.y()) == pytest.approx(there, abs=0.1)


def test_escape_leaves_a_mode_also_while_the_painted_layer_is_active(opened, qtbot):
    session = opened(small_case(maps=False))
    session.viewer.layers.selection.active = session.layers.lesions
    session.looking.lay_over("SMA")
    press(qtbot, session, "Escape")
    assert shown(session) == ("HE",)


def test_every_key_is_listed_once_and_bound():
    from stainloom.plugin.keys import VIEW_KEYS, listed, stain_keys

    keys = [key.press for key in (*stain_keys(NAMES), *VIEW_KEYS)]
    assert len(set(keys)) == len(keys)
    rows = [press for entries in listed(NAMES).values() for press, _ in entries]
    assert {key.press.replace("Shift-", "Shift+") for key in VIEW_KEYS} <= set(rows)


def test_a_stain_that_is_not_aligned_is_shown_as_scanned(opened, qtbot):
    session = opened(small_case(("reference", "good", "check", "failed", "missing"), maps=False))
    press(qtbot, session, "F4")
    assert session.looking.on_glass
    assert session.layers.shown(session.viewer).scanned == "SMA"
    assert session._panel.legend.notes[0].startswith("SMA as it lies on its own glass")
    press(qtbot, session, "F2")
    assert shown(session) == ("AB-PAS",)
    session.looking.lay_over("SMA")
    assert session.looking.overlay == ""
    assert session.viewer.status.startswith("SMA cannot be laid over")


# Side by side


def test_side_by_side_shows_paint_in_every_cell_and_goes_back_exactly(opened, qtbot):
    from stainloom.plugin._napari import cells, settle

    session = opened(small_case(maps=False))
    session.looking.show("SMA")
    session.looking.turn_by(15)
    session.viewer.layers.selection.active = session.layers.stains["SMA"]
    before = state(session)
    press(qtbot, session, "J")
    settle(session.viewer)
    assert session.viewer.canvas.grid.enabled
    assert len(cells(session.viewer)) == 5
    session.looking.set_field(dataclasses.replace(session.looking.field, centre_um=(120.0, 250.0), turn_deg=0.0))
    canvas = canvas_of(session, photo(session)).astype(int)
    color = np.array(session.view.study.lesion("SMNL").rgb)
    names = {id(layer): name for name, layer in session.layers.stains.items()}
    seen = []
    for number, (left, top, width, height) in cells(session.viewer):
        name = names[id(session.viewer.layers[number])]
        pixel = canvas[round(top + height / 2), round(left + width / 2)]
        np.testing.assert_allclose(pixel, (200 - 20 * NAMES.index(name)) / 2 + color / 2, atol=3)
        seen.append(name)
    assert seen == list(NAMES)
    press(qtbot, session, "Escape")
    settle(session.viewer)
    assert state(session) == before
    np.testing.assert_allclose(middle_of(session), 140, atol=2)


def test_stains_that_are_not_aligned_have_no_cell(opened):
    from stainloom.plugin._napari import cells, settle

    session = opened(small_case(("reference", "good", "check", "failed", "missing"), maps=False))
    session.looking.show_grid()
    settle(session.viewer)
    assert len(cells(session.viewer)) == 3
    assert session.viewer.status == "Not side by side, because not aligned: SMA, VG"


def test_naparis_own_grid_button_does_what_ours_does(opened, qtbot):
    session = opened(small_case(maps=False))
    session.viewer.canvas.grid.enabled = True
    qtbot.waitUntil(lambda: session.looking.mode == "grid")
    assert [layer.visible for layer in session.layers.stains.values()] == [True] * 5
    session.viewer.canvas.grid.enabled = False
    assert session.looking.mode == "single"
    assert shown(session) == ("HE",)


def test_a_map_that_is_switched_on_side_by_side_is_shown_alone_over_one_stain(opened, qtbot):
    session = opened(small_case())
    session.looking.show("SMA")
    session.looking.show_grid()
    session.show_overlay(CLASSES, now=True)
    qtbot.waitUntil(lambda: session.looking.mode == "single")
    assert session.overlay.shown == CLASSES
    assert shown(session) == ("SMA",)
    assert not session.viewer.canvas.grid.enabled


def test_a_map_that_comes_while_a_stain_is_shown_as_scanned_takes_the_view_back_to_the_reference(opened, qtbot):
    session = opened(small_case())
    session.looking.show("SMA")
    session.looking.show_scanned(True)
    session.show_overlay(CLASSES, now=True)
    qtbot.waitUntil(lambda: not session.looking.on_glass and session.overlay.shown == CLASSES)
    assert shown(session) == ("SMA",)


# Turned


@pytest.mark.parametrize("turn", [0.0, 40.0, -135.0])
def test_paint_hits_what_is_under_the_mouse(opened, qtbot, turn):
    from qtpy.QtCore import QPoint, Qt

    from stainloom.plugin._napari import canvas_widget, settle

    session = opened(small_case(maps=False))
    lesions, canvas = session.layers.lesions, canvas_widget(session.viewer)
    session.looking.set_field(dataclasses.replace(session.looking.field, centre_um=(175, 225), zoom=1.5, turn_deg=turn))
    settle(session.viewer)
    lesions.editable = True
    session.viewer.layers.selection.active = lesions
    lesions.mode, lesions.brush_size, lesions.selected_label = "paint", 1, 2
    place = QPoint(canvas.width() // 2 + 90, canvas.height() // 2 - 40)
    qtbot.mouseMove(canvas, place)
    qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=place)
    qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=place)
    painted = np.argwhere(lesions.data == 2)
    assert len(painted)
    offset = (place.x() - canvas.width() / 2, place.y() - canvas.height() / 2)
    np.testing.assert_allclose((painted.mean(axis=0) + 0.5) * 2, session.looking.field.um(offset), atol=2)
    assert session.looking.turn_deg == turn


@pytest.mark.parametrize("turn", [45.0, 90.0, -120.0])
def test_a_turned_view_is_whole_and_as_sharp(opened, turn):
    session = opened(small_case(maps=False))
    session.layers.lesions.visible = False
    session.looking.set_field(dataclasses.replace(session.looking.field, centre_um=(175, 225), zoom=8, turn_deg=0))
    canvas_of(session, photo(session))
    level = session.layers.stains["HE"].data_level
    session.looking.turn_to(turn)
    canvas = canvas_of(session, photo(session))
    height, width, _ = canvas.shape
    assert session.layers.stains["HE"].data_level == level
    for x in (10, width // 2, width - 10):
        for y in (10, height // 3):
            np.testing.assert_allclose(canvas[y, x], 200, atol=2)


def test_dragging_a_turned_slide_takes_along_what_is_under_the_mouse(opened, qtbot):
    from qtpy.QtCore import QPoint, Qt

    from stainloom.plugin._napari import canvas_widget, settle, um_at

    session = opened(small_case(maps=False))
    session.looking.turn_to(70)
    settle(session.viewer)
    canvas = canvas_widget(session.viewer)
    start, end = QPoint(300, 250), QPoint(420, 330)
    held = um_at(session.viewer, start.x(), start.y())
    qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=start)
    for step in range(1, 5):
        qtbot.mouseMove(canvas, start + (end - start) * (step / 4))
        qtbot.wait(20)
    qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=end)
    settle(session.viewer)
    assert um_at(session.viewer, end.x(), end.y()) == pytest.approx(held, abs=0.5)


# Aligned, and as scanned


def test_as_scanned_keeps_the_place_of_the_tissue(aligned, qtbot):
    session = aligned
    masson = session.looking.stain_view("Masson")
    place, further = (520.0, 610.0), (40.0, -25.0)
    session.looking.show("Masson")
    session.looking.set_field(dataclasses.replace(session.looking.field, centre_um=place, zoom=2.0, turn_deg=30.0))
    press(qtbot, session, "H")
    there = masson.aligned.warp.points(np.array([place]))[0]
    field = session.looking.field
    assert field.centre_um == pytest.approx(tuple(there), abs=1e-3)
    assert (field.zoom, field.turn_deg) == (2.0, 0.0)
    assert np.hypot(*(there - place)) > 5  # a warp that moves nothing would prove nothing
    press(qtbot, session, "H")
    assert session.looking.field.centre_um == pytest.approx(place, abs=1e-3)
    assert (session.looking.field.zoom, session.looking.field.turn_deg) == (2.0, 30.0)
    assert shown(session) == ("Masson",)
    press(qtbot, session, "H")
    moved = tuple(part + by for part, by in zip(field.centre_um, further, strict=True))
    session.looking.set_field(dataclasses.replace(field, centre_um=moved))
    press(qtbot, session, "F5")
    back = masson.aligned.warp.inverse().points(np.array([moved]))
    vg = session.looking.stain_view("VG").aligned.warp.points(back)[0]
    assert session.looking.field.centre_um == pytest.approx(tuple(vg), abs=1e-2)
    assert session.layers.glass.name == "VG as scanned"


def test_what_is_on_the_screen_as_scanned_are_the_slides_own_pixels_with_the_paint_carried(aligned, qtbot):
    from stainloom.geometry import size_um
    from stainloom.labels.transfer import carry_labels

    session, view = aligned, aligned.view
    session.looking.show("SMA")
    session.looking.show_scanned(True)
    qtbot.waitUntil(lambda: session.layers.carried is not None and session.layers.carried.visible, timeout=30_000)
    own = session.looking.stain_view("SMA").aligned
    extent = size_um(own.pyramid.levels[0], own.pyramid.um_per_px[0])
    carried = carry_labels(view.labels, view.label_um_per_px, own.warp, extent, view.label_um_per_px)
    np.testing.assert_array_equal(session.layers.carried.data, carried)
    assert carried.any()
    assert not session.layers.carried.editable
    assert not session.layers.lesions.visible
    assert shown(session) == ()
    from stainloom.case.aligned import AlignedStain
    from stainloom.geometry import Box

    plain = AlignedStain("SMA", own.pyramid, None, own.colour).read(Box(100, 100, 64, 64), own.pyramid.um_per_px[0])
    np.testing.assert_array_equal(session.layers.glass.data[0][100:164, 100:164], plain)


def test_whoever_wants_to_paint_as_scanned_is_taken_back_to_the_reference(aligned, qtbot):
    session = aligned
    session.looking.show("SMA")
    session.looking.show_scanned(True)
    session.viewer.layers.selection.active = session.layers.lesions
    qtbot.waitUntil(lambda: not session.looking.on_glass)
    assert session.layers.lesions.visible
    assert session.viewer.layers.selection.active is session.layers.lesions
    assert session.viewer.status.startswith("Back on HE")


def test_paint_switched_on_by_hand_as_scanned_never_lies_in_the_wrong_place(aligned, qtbot):
    session = aligned
    session.looking.show("SMA")
    session.looking.show_scanned(True)
    session.layers.lesions.visible = True
    assert not session.layers.lesions.visible
    qtbot.waitUntil(lambda: not session.looking.on_glass)
    assert session.layers.lesions.visible
    assert shown(session) == ("SMA",)


def test_the_whole_section_stays_whole_in_a_window_of_another_size_until_somebody_looks_closer(aligned, qtbot):
    from stainloom.plugin._napari import main_window

    looking, window = aligned.looking, main_window(aligned.viewer)
    whole = looking.field_of((0.0, 0.0, *looking.size_um))
    assert looking.field.zoom == pytest.approx(whole.zoom, rel=0.1)
    before = looking.field.zoom
    window.resize(window.width() + 300, window.height() + 250)
    qtbot.waitUntil(lambda: looking.field.zoom > 1.1 * before)
    height, width = looking.cell_px
    (left, top), (right, bottom) = looking.field.px((0, 0)), looking.field.px(looking.size_um)
    assert max(-left, right) <= width / 2
    assert max(-top, bottom) <= height / 2
    assert looking.field == looking.whole
    looking.magnify(20)
    near = looking.field
    window.resize(window.width() - 300, window.height() - 250)
    qtbot.wait(200)
    assert looking.field == near


def test_what_is_looked_at_is_recalled(aligned):
    from stainloom.plugin.memory import look_from

    session = aligned
    session.looking.show("VG")
    session.looking.lay_over("Masson")
    session.looking.set_field(
        dataclasses.replace(session.looking.field, centre_um=(300.0, 400.0), zoom=1.5, turn_deg=75.0)
    )
    look = session.looking.look
    assert look_from(dataclasses.asdict(look)) == look
    session.looking.show("HE")
    session.looking.show_whole()
    session.looking.recall(look)
    assert session.looking.look == look
    assert shown(session) == ("Masson", "VG")


# Flicker


def test_a_held_backtick_shows_the_reference_and_repeats_do_nothing(opened, qtbot):
    from qtpy.QtCore import QEvent, Qt
    from qtpy.QtGui import QKeyEvent
    from qtpy.QtWidgets import QApplication

    from stainloom.plugin._napari import canvas_widget

    session = opened(small_case(maps=False))
    session.looking.show("Masson")
    before = state(session)
    canvas, calls = canvas_widget(session.viewer), []
    session.looking.changed.connect(lambda: calls.append(session.looking.flicker.held))

    def send(kind, repeat=False):
        event = QKeyEvent(kind, Qt.Key.Key_QuoteLeft, Qt.KeyboardModifier.NoModifier, "`", repeat)
        QApplication.sendEvent(canvas, event)

    for _ in range(2):
        send(QEvent.Type.KeyPress)
        assert shown(session) == ("HE",)
        np.testing.assert_allclose(middle_of(session), 200, atol=2)
        told = len(calls)
        for _ in range(5):
            send(QEvent.Type.KeyRelease, repeat=True)
            send(QEvent.Type.KeyPress, repeat=True)
        assert len(calls) == told
        assert shown(session) == ("HE",)
        send(QEvent.Type.KeyRelease)
        assert shown(session) == ("Masson",)
        np.testing.assert_allclose(middle_of(session), 160, atol=2)
    session.looking.flicker.end()
    assert state(session) == before


def test_over_the_reference_a_flicker_shows_the_stain_before(opened):
    session = opened(small_case(maps=False))
    session.looking.show("SMA")
    session.looking.show("HE")
    session.looking.flicker_on()
    assert shown(session) == ("SMA",)
    session.looking.show("VG")
    assert shown(session) == ("VG",)
    assert {layer.opacity for layer in session.layers.stains.values()} == {1.0}
