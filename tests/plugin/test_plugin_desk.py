"""What stands around the slide: strip, status line, overview, keys while a dock has the focus, and what comes back at the next start."""

from __future__ import annotations

import dataclasses
import json
import tracemalloc

import numpy as np
import pytest
from test_plugin_layers import small_case

from stainloom.case.aligned import AlignedStain
from stainloom.case.stains import Stain
from stainloom.case.view import StainView
from stainloom.geometry import ArrayPyramid

pytestmark = pytest.mark.screen


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("STAINLOOM_CONFIG", str(tmp_path / "config"))


@pytest.fixture
def docks(make_napari_viewer, qtbot):
    from stainloom.plugin._napari import main_window
    from stainloom.plugin.window import Docks
    from stainloom.plugin.workspace import Workspace

    viewer = make_napari_viewer(show=True)
    main_window(viewer).resize(1280, 800)
    made = Docks(Workspace(viewer), ask=lambda title: "stop")
    main_window(viewer).resize(1280, 800)
    yield made
    made.workspace.queue.stop()
    made.workspace.close_case()


def show_case(docks, view) -> None:
    from stainloom.plugin._napari import settle
    from stainloom.plugin.session import Session

    workspace = docks.workspace
    workspace.session = Session.open(workspace.viewer, view)
    workspace.case_changed.emit()
    settle(workspace.viewer)


def twelve_stains():
    """A case of twelve stains with long names."""
    view = small_case(labels=False, maps=False)
    names = ["HE", *(f"Elastica van Gieson {number}" for number in range(2, 13))]
    slide = ArrayPyramid(np.full((200, 300, 3), 180, np.uint8), 0.5)
    stains = tuple(
        StainView(name, AlignedStain(name, slide), "good" if number else "reference")
        for number, name in enumerate(names)
    )
    protocol = dataclasses.replace(view.study.protocol, stains=tuple(Stain(name, (), ()) for name in names))
    return dataclasses.replace(view, study=dataclasses.replace(view.study, protocol=protocol), stains=stains)


# Strip


def test_the_strip_says_what_is_shown_and_a_click_shows_another(docks, qtbot):
    from qtpy.QtCore import Qt

    show_case(docks, small_case(("reference", "good", "check", "failed", "missing"), maps=False))
    strip, session = docks.desk.strip, docks.workspace.session
    assert [(button.key, button.sign) for button in strip.stains.values()] == [
        ("F1", "\N{BLACK CIRCLE}"), ("F2", "\N{CHECK MARK}"), ("F3", "!"), ("F4", "\N{MULTIPLICATION SIGN}"), ("F5", "\N{EN DASH}"),
    ]  # fmt: skip
    qtbot.mouseClick(strip.stains["Masson"], Qt.MouseButton.LeftButton)
    assert [name for name, button in strip.stains.items() if button.shown] == ["Masson"]
    qtbot.mouseClick(strip.stains["HE"], Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ShiftModifier)
    assert session.looking.overlay == "HE"
    assert strip.stains["HE"].overlay
    qtbot.mouseClick(strip.frame, Qt.MouseButton.LeftButton)
    assert session.looking.on_glass
    assert strip.frame.text().startswith("As scanned")
    qtbot.mouseClick(strip.modes["grid"], Qt.MouseButton.LeftButton)
    assert session.looking.mode == "grid"
    qtbot.mouseClick(strip.modes["single"], Qt.MouseButton.LeftButton)
    assert session.looking.mode == "single"
    session.looking.magnify(10)
    session.looking.turn_by(30)
    strip.look()
    assert strip.magnification.text() == "10x \N{MIDDLE DOT} 1 µm/px"
    assert strip.turn.text() == "30\N{DEGREE SIGN}"
    qtbot.mouseClick(strip.turn, Qt.MouseButton.LeftButton)
    assert session.looking.turn_deg == 0


@pytest.mark.parametrize("view", [small_case(maps=False), twelve_stains()], ids=["five", "twelve"])
def test_nothing_of_the_strip_is_cut_off(docks, view):
    from stainloom.plugin._napari import canvas_widget, settle

    show_case(docks, view)
    settle(docks.workspace.viewer)
    strip = docks.desk.strip
    parts = [*strip.stains.values(), *strip._controls]
    assert len(parts) == len(view.stains) + 4
    for part in parts:
        assert strip.rect().contains(part.geometry()), part
        # A button of a fixed size asks for that size, whatever its text needs.
        fixed = part.minimumWidth() == part.maximumWidth()
        needed = part.fontMetrics().horizontalAdvance(part.text()) + 8 if fixed else part.sizeHint().width()
        assert part.width() >= needed
    for one in parts:
        assert not any(one is not other and one.geometry().intersects(other.geometry()) for other in parts)
    assert canvas_widget(docks.workspace.viewer).height() > 350


# Status line


def test_the_status_line_says_place_and_class_and_whether_all_is_saved(docks, qtbot):
    from stainloom.plugin._napari import main_window

    show_case(docks, small_case(maps=False))
    workspace, status = docks.workspace, docks.desk.status
    assert not main_window(workspace.viewer).statusBar().isVisible()
    workspace.viewer.cursor.position = (120.0, 250.0)
    qtbot.waitUntil(lambda: status.found.text_said() == "painted SMNL")
    assert status.place.text_said() == "x 250  y 120 µm"
    workspace.viewer.cursor.position = (20.0, 20.0)
    qtbot.waitUntil(lambda: status.found.text_said() == "not painted")
    workspace.viewer.cursor.position = (-20.0, 20.0)
    qtbot.waitUntil(lambda: status.found.text_said() == "beside the slide")
    workspace.session.looking.lay_over("HE")
    assert status.found.text_said().startswith("HE is the stain that is shown")
    workspace.saving_changed.emit("saved 14:03", True)
    assert status.saved.text_said() == "saved 14:03"
    workspace.saving_changed.emit("NOT SAVED: the disk is full", False)
    assert status.saved.text_said() == "\N{MULTIPLICATION SIGN} NOT SAVED: the disk is full"
    assert status.saved.text() == status.saved.text_said()
    status.say_saved("NOT SAVED: " + "the pulled network share did not answer " * 4, False)
    assert status.saved.minimumWidth() < 300  # nor does it make the window wider than a small screen
    assert "NOT SAVED" in status.saved.text()


def test_the_brush_has_a_ring_and_no_box_on_the_slide(docks, tiny_case):
    from stainloom.plugin._napari import settle

    workspace = docks.workspace
    workspace.open_study(tiny_case)
    viewer, layer = workspace.viewer, workspace.painter.layer
    settle(viewer)
    without = viewer.screenshot(canvas_only=True, flash=False)
    viewer.layers.selection.active = layer
    viewer.mouse_over_canvas = True
    layer.mode = "paint"
    ring = viewer.window._qt_viewer.canvas._viewer_overlay_to_visual[viewer.canvas.overlays._brush_circle][0]
    height, width = viewer.canvas.size
    ring._set_position((width / 2, height / 2))
    assert ring.node.visible
    ring._on_box_change()  # as napari does now and then
    viewer.mouse_over_canvas = False
    assert (viewer.screenshot(canvas_only=True, flash=False) == without).all()


def test_a_move_of_the_mouse_reads_pixels_and_no_raster(docks, qtbot):
    show_case(docks, small_case())
    status, cursor = docks.desk.status, docks.workspace.viewer.cursor
    cursor.position = (20.0, 20.0)
    qtbot.waitUntil(lambda: status.found.text_said().startswith("not painted"))
    cursor.position = (120.0, 250.0)
    tracemalloc.start()
    try:
        status.read()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert status.found.text_said().startswith("painted SMNL")
    assert peak < docks.workspace.session.layers.lesions.data.nbytes / 2


# Keys, and napari's own buttons


def test_the_button_with_the_house_shows_the_whole_section_whatever_lies_elsewhere(docks, qtbot):
    viewer = docks.workspace.viewer
    button = viewer.window._qt_viewer.viewerButtons.resetViewButton
    show_case(docks, small_case(maps=False))
    looking = docks.workspace.session.looking
    viewer.add_points([[5000.0, 5000.0]], visible=False)
    looking.magnify(40)
    looking.turn_to(30)
    button.click()
    height, width = looking.cell_px
    (left, top), (right, bottom) = looking.field.px((0, 0)), looking.field.px(looking.size_um)
    assert max(-left, right) <= width / 2
    assert max(-top, bottom) <= height / 2
    assert max((right - left) / width, (bottom - top) / height) > 0.7
    assert looking.turn_deg == 0
    docks.workspace.close_case()
    viewer.add_points([[0.0, 0.0], [10.0, 10.0]])
    button.click()  # without a case it is napari's own: all layers there are
    assert tuple(viewer.scene.camera.center[-2:]) == pytest.approx((2500, 2500), abs=10)


def test_keys_work_while_a_dock_has_the_focus_but_not_while_typing(docks, qtbot):
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QLineEdit

    show_case(docks, small_case(maps=False))
    session, keys, table = docks.workspace.session, docks.desk.keys, docks.docks["Cases"].list.list
    keys._focus(None, table)
    qtbot.keyClick(table, Qt.Key.Key_F3)
    assert session.looking.stain == "Masson"
    qtbot.keyClick(table, Qt.Key.Key_K)
    assert session.looking.mode == "checkerboard"
    qtbot.keyClick(table, Qt.Key.Key_Escape)
    field = QLineEdit(docks.docks["Cases"])
    keys._focus(table, field)
    qtbot.keyClick(field, Qt.Key.Key_K)
    qtbot.keyClick(field, Qt.Key.Key_9)
    assert field.text() == "k9"
    assert session.looking.mode == "single"
    qtbot.keyClick(field, Qt.Key.Key_F2)
    assert session.looking.stain == "AB-PAS"


def test_every_dock_opens_the_list_of_keys(docks, qtbot):
    from qtpy.QtWidgets import QLabel, QToolButton

    show_case(docks, small_case(maps=False))
    for dock in docks.docks.values():
        button = next(button for button in dock.findChildren(QToolButton) if button.text() == "?")
        button.click()
        assert docks.desk.help.isVisible()
        said = [label.text() for label in docks.desk.help.findChildren(QLabel)]
        assert "Show a stain: HE, AB-PAS, Masson, SMA, VG" in said
        docks.desk.help.close()


def test_escape_closes_the_list_of_keys_before_it_steps_back(docks, qtbot):
    from qtpy.QtCore import Qt

    from stainloom.plugin._napari import canvas_widget

    show_case(docks, small_case(maps=False))
    looking, canvas = docks.workspace.session.looking, canvas_widget(docks.workspace.viewer)
    looking.show_checkerboard()
    docks.desk.show_keys()
    qtbot.keyClick(canvas, Qt.Key.Key_Escape)
    assert (docks.desk.help.isVisible(), looking.mode) == (False, "checkerboard")
    qtbot.keyClick(canvas, Qt.Key.Key_Escape)
    assert looking.mode == "single"


def test_the_legend_covers_nothing_of_a_case_that_is_opened_unless_somebody_looks_closer(docks, qtbot):
    show_case(docks, small_case(maps=False))
    looking, panel = docks.workspace.session.looking, legend_of(docks)
    height, _ = looking.viewer.canvas.size
    edge = looking.field.px((looking.size_um[0], 0))[1] + height / 2
    assert panel.legend.swatches
    assert edge <= panel.y() + 1
    docks.desk.fold_legend()
    assert looking.field.px((looking.size_um[0], 0))[1] + height / 2 > edge
    looking.magnify(10)
    near = looking.field
    docks.desk.fold_legend()
    assert looking.field == near


# Overview


def test_the_overview_shows_the_section_and_a_click_moves_there(docks, qtbot):
    from qtpy.QtCore import QPoint, Qt

    show_case(docks, small_case(maps=False))
    overview, looking = docks.desk.overview, docks.workspace.session.looking
    qtbot.waitUntil(lambda: ("HE", False) in overview._pictures)
    looking.show_whole()
    assert not overview.isVisible()
    looking.magnify(40)
    assert overview.isVisible()
    place = QPoint(overview.width() // 4, overview.height() // 2)
    qtbot.mouseClick(overview, Qt.MouseButton.LeftButton, pos=place)
    rows, cols = looking.field.centre_um
    assert (rows, cols) == pytest.approx((350 * place.y() / overview.height(), 450 * place.x() / overview.width()))
    assert looking.field.magnification == pytest.approx(40)
    box = np.array(overview.box_px())
    np.testing.assert_allclose(box.mean(axis=0), (place.x(), place.y()), atol=1)
    looking.show_grid()
    assert not overview.isVisible()


# Memory


def test_case_stain_place_and_turn_come_back(docks, tiny_case, qtbot):
    from stainloom.plugin.memory import last_study

    workspace = docks.workspace
    assert last_study() is None
    workspace.open_study(tiny_case)
    workspace.open_case("S02")
    looking = workspace.session.looking
    looking.show("SMA")
    looking.set_field(dataclasses.replace(looking.field, centre_um=(400.0, 500.0), zoom=1.25, turn_deg=45.0))
    look = looking.look
    workspace.memory.keep()
    workspace.close_case()
    assert last_study() == tiny_case.resolve()
    workspace.open_study(tiny_case)
    assert workspace.case.name == "S02"
    assert workspace.session.looking.look == look
    workspace.open_study(tiny_case, "S01")
    assert workspace.session.looking.look.stain == "HE"


def test_it_is_kept_a_moment_after_the_last_change(docks, tiny_case, qtbot):
    from stainloom.io.windowfile import remembered

    docks.workspace.open_study(tiny_case)
    docks.workspace.session.looking.show("VG")
    qtbot.waitUntil(
        lambda: remembered().get(tiny_case.resolve(), {}).get("look", {}).get("stain") == "VG", timeout=10_000
    )
    kept = json.dumps(remembered()[tiny_case.resolve()])
    assert set(remembered()[tiny_case.resolve()]) == {"case", "look"}
    assert "P01" not in kept


def test_what_a_newer_program_remembers_stays_and_is_said(docks, tiny_case, qtbot):
    from stainloom.io.windowfile import window_file

    window_file().parent.mkdir()
    window_file().write_text('{"format": "stainloom window", "version": 9, "studies": []}')
    before = window_file().read_bytes()
    with qtbot.waitSignal(docks.workspace.refused) as refused:
        docks.workspace.open_study(tiny_case)
    assert "newer Stainloom" in str(refused.args[0])
    docks.workspace.session.looking.show("VG")
    docks.workspace.memory.keep()
    assert window_file().read_bytes() == before


@pytest.mark.parametrize(
    "found",
    [None, 3, {}, {"stain": 3}, {"stain": "HE", "field": {"zoom": 0}}, {"stain": "HE", "field": {"centre_um": ["a", 1], "zoom": 1}}],
)  # fmt: skip
def test_nonsense_in_the_memory_is_no_place_to_look_at(found):
    from stainloom.plugin.memory import look_from

    look = look_from(found)
    assert look is None or look.field is None


def test_a_stain_that_is_gone_is_not_looked_at_again(docks):
    from stainloom.plugin.looking import Look

    show_case(docks, small_case(("reference", "good", "check", "good", "missing"), maps=False))
    looking = docks.workspace.session.looking
    looking.recall(Look("VG"))
    assert looking.stain == "HE"
    looking.recall(Look("Masson", "VG", "single", False, None))
    assert (looking.stain, looking.overlay) == ("Masson", "")


def test_the_legend_folds_to_its_cautions_and_stays_folded_in_the_next_case(docks, tiny_case, qtbot):
    from qtpy.QtCore import Qt

    from stainloom.plugin._napari import canvas_widget

    docks.workspace.open_study(tiny_case, "S01")
    whole = legend_of(docks)
    high = whole.height()
    qtbot.keyClick(canvas_widget(docks.workspace.viewer), Qt.Key.Key_G)
    assert whole.height() < high
    docks.workspace.open_case("S02")
    assert legend_of(docks).height() < high
    qtbot.keyClick(canvas_widget(docks.workspace.viewer), Qt.Key.Key_G)
    assert legend_of(docks).height() == high


def legend_of(docks):
    return docks.workspace.session._panel


def test_a_button_that_turns_gray_leaves_the_keys_to_the_slide(docks, qtbot):
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QComboBox, QPushButton, QVBoxLayout, QWidget

    from stainloom.plugin._napari import canvas_widget, main_window

    viewer = docks.workspace.viewer
    panel = QWidget()
    rows = QVBoxLayout(panel)
    button, choice, question = QPushButton("Go"), QComboBox(), QPushButton("Keep")
    for part in (button, choice, question):
        rows.addWidget(part)
    viewer.window.add_dock_widget(panel, name="panel")
    main_window(viewer).activateWindow()
    button.setFocus()
    qtbot.waitUntil(button.hasFocus)
    qtbot.keyClick(button, Qt.Key.Key_Tab)
    qtbot.waitUntil(choice.hasFocus)
    qtbot.wait(50)
    assert choice.hasFocus()
    button.setFocus()
    qtbot.waitUntil(button.hasFocus)
    button.setEnabled(False)
    qtbot.waitUntil(canvas_widget(viewer).hasFocus)
    button.setEnabled(True)
    button.setFocus()
    qtbot.waitUntil(button.hasFocus)
    question.setFocus()
    button.setEnabled(False)
    qtbot.wait(50)
    assert question.hasFocus()  # given on purpose
    viewer.window.remove_dock_widget(panel)
    panel.deleteLater()
