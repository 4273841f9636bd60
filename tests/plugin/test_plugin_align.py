"""The Align dock: a row per stain, and a stain turned by hand with real mouse and keys on the canvas."""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_plugin_workspace import docks as docks

from stainloom import jobs
from stainloom.case.warp import Warp
from stainloom.io.casefile import StudyFolder
from stainloom.plugin.align import LAID

pytestmark = pytest.mark.screen


@pytest.fixture
def align(docks, tiny_case, qtbot):
    """The Align dock on a study whose stains are aligned, at the front."""
    folder = StudyFolder.open(tiny_case)
    failed = Warp.from_affine(np.array([[1.0, 0.0, 5.0], [0.0, 1.0, 5.0]]))
    folder.save_warp("S01", "VG", failed, {"verdict": "failed", "message": "No place fits."})
    docks.workspace.open_study(tiny_case)
    docks.show("Align")
    qtbot.wait(50)
    yield docks.docks["Align"]
    qtbot.waitUntil(lambda: not docks.workspace.thumbnails._busy, timeout=20_000)


def said(dock) -> str:
    from qtpy.QtWidgets import QApplication, QLabel

    QApplication.processEvents()
    return "\n".join(label.text() for label in dock.messages.findChildren(QLabel) if not label.isHidden())


def settled(align, qtbot) -> None:
    qtbot.waitUntil(lambda: align.controls.job is None and align.workspace.settled, timeout=120_000)


def by_hand(align, qtbot, stain: str):
    align.panel.rows[stain].buttons["by hand"].click()
    qtbot.waitUntil(lambda: align.panel.page is not None, timeout=20_000)
    qtbot.wait(50)
    return align.panel.hand


def canvas_of(align):
    from stainloom.plugin._napari import canvas_widget

    return canvas_widget(align.workspace.viewer)


def on_canvas(align, place_um):
    """Where a place of the reference lies on the canvas, a QPoint and what it stands for, um."""
    from qtpy.QtCore import QPoint

    viewer = align.workspace.viewer
    rows, cols = viewer.canvas.size
    camera = viewer.scene.camera
    centre = np.array(camera.center[-2:])
    row, col = (np.asarray(place_um) - centre) * camera.zoom + np.array([rows, cols]) / 2
    point = QPoint(round(col), round(row))
    return point, (np.array([point.y(), point.x()]) - np.array([rows, cols]) / 2) / camera.zoom + centre


def drag(align, qtbot, start_um, end_um, button=None) -> tuple[np.ndarray, np.ndarray]:
    """Drag on the canvas with the mouse; the places, um, that were really pressed and released."""
    from qtpy.QtCore import QEvent, QPointF, Qt
    from qtpy.QtGui import QMouseEvent
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QApplication

    button = button or Qt.MouseButton.LeftButton
    canvas = canvas_of(align)
    (first, first_um), (last, last_um) = on_canvas(align, start_um), on_canvas(align, end_um)
    QTest.mousePress(canvas, button, Qt.KeyboardModifier.NoModifier, first)
    for step in range(1, 5):
        at = QPointF(first + (last - first) * (step / 4))
        # QTest.mouseMove sends moves without a pressed button.
        move = QMouseEvent(
            QEvent.Type.MouseMove, at, canvas.mapToGlobal(at), Qt.MouseButton.NoButton, button, Qt.KeyboardModifier.NoModifier
        )  # fmt: skip
        QApplication.sendEvent(canvas, move)
        qtbot.wait(20)
    QTest.mouseRelease(canvas, button, Qt.KeyboardModifier.NoModifier, last)
    qtbot.wait(20)
    return first_um, last_um


def drawn(hand) -> np.ndarray:
    """Where the layer draws three corners of the slide, um."""
    scale = np.array(hand.layer.scale)
    corners = np.array([[-0.5, -0.5], [99.5, -0.5], [-0.5, 199.5]])
    return np.array([hand.layer.data_to_world(corner) for corner in corners]), (corners + 0.5) * scale


# Rows


def test_a_row_per_stain_says_how_far_it_can_be_trusted(align, qtbot):
    rows = align.panel.rows
    assert list(rows) == ["HE", "AB-PAS", "Masson", "SMA", "VG"]
    assert rows["SMA"].verdict.text() == "\N{CHECK MARK}  aligned"
    assert rows["VG"].verdict.text() == "\N{MULTIPLICATION SIGN}  could not be aligned"
    assert "No place fits." in rows["VG"].message.text()
    assert align.controls.run.text() == "Nothing to align"
    assert not any(button.isVisible() for button in rows["HE"].buttons.values())
    qtbot.waitUntil(lambda: all(not rows[name].picture.icon().isNull() for name in list(rows)[1:]), timeout=30_000)
    align.anew.setChecked(True)
    assert align.controls.run.text() == "Align 4 stains anew"


def test_a_warning_of_the_open_case_stands_in_its_row_alone(align):
    assert align.panel.shows("S01, VG: failed. No place fits.")
    assert not align.panel.shows("S02, VG: failed. No place fits.")
    assert not align.panel.shows("S01: nothing to align")


def test_a_click_on_a_row_shows_the_stain_and_one_on_its_picture_the_checkerboard(align, qtbot):
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    session, rows = align.workspace.session, align.panel.rows
    QTest.mouseClick(rows["SMA"].message, Qt.MouseButton.LeftButton)
    assert session.layers.stains["SMA"].visible
    assert rows["SMA"].title.text().endswith(" SMA")
    rows["Masson"].picture.click()
    assert session.layers.pair.visible
    assert session.layers.pair.name == "Checkerboard of Masson with HE"
    assert [name for name, layer in session.layers.stains.items() if layer.visible] == []
    rows["VG"].picture.click()
    assert session.layers.pair.name == "Checkerboard of VG (FAILED) with HE"
    boards = ["Checkerboard", "Checkerboard of VG (FAILED) with HE"]
    qtbot.waitUntil(lambda: [str(each) for each in session.viewer.layers if "Checker" in str(each)] == boards)
    assert len(np.unique(np.asarray(session.layers.pair.data[-1]).reshape(-1, 3), axis=0)) > 50
    session.show_stain("SMA")
    assert not session.layers.pair.visible


def test_pictures_are_made_anew_when_the_alignment_changes(align, tiny_case, qtbot):
    row = align.panel.rows["SMA"]
    qtbot.waitUntil(lambda: not row.picture.icon().isNull(), timeout=30_000)
    before = row.picture.icon().pixmap(200, 200).toImage()
    start = jobs.keep_laid(tiny_case, "S01", "SMA", np.array([[-1.0, 0, 900], [0, -1.0, 900]]))
    align.workspace.take_changes(jobs.lay(tiny_case, "S01", "SMA", start).changed)
    qtbot.waitUntil(lambda: row.picture.icon().pixmap(200, 200).toImage() != before, timeout=30_000)
    assert row.verdict.text() == "!  check, by hand"


def test_what_failed_is_in_no_picture_of_all_stains(align):
    session = align.workspace.session
    session.show_checkerboard()
    shown = session.layers.checkerboard
    usable = [stain.name for stain in session.view.stains if stain.usable]
    assert "VG" not in usable
    assert len(usable) == 4
    failed = np.asarray(session.layers.stains["VG"].data[-1])
    seen = np.asarray(shown.data[-1])
    others = [np.asarray(session.layers.stains[name].data[-1]) for name in usable]
    assert all((seen == other).all(axis=-1).mean() > 0.1 for other in others)
    only_failed = (seen == failed).all(axis=-1) & ~np.any([(seen == other).all(axis=-1) for other in others], axis=0)
    assert not only_failed.any()


def test_a_stain_in_doubt_is_found_right_and_to_be_looked_at_again(align, tiny_case, qtbot):
    folder = StudyFolder.open(tiny_case)
    warp, _ = folder.current_warp("S01", "SMA")
    id = folder.save_warp("S01", "SMA", warp, {"verdict": "check", "message": "Only a fifth agrees"})
    align.workspace.take_changes([f"cases/S01/warps/SMA/{id}"])
    row = align.panel.rows["SMA"]
    qtbot.waitUntil(row.right.isVisible, timeout=20_000)
    assert [name for name, other in align.panel.rows.items() if other.right.isVisible()] == ["SMA"]
    assert row.verdict.text() == "!  check"
    row.right.click()
    qtbot.waitUntil(
        lambda: align.panel.rows["SMA"].verdict.text() == "\N{CHECK MARK}  aligned, looked at", timeout=20_000
    )
    qtbot.waitUntil(lambda: align.workspace.settled, timeout=20_000)
    assert align.workspace.session.looking.stain_view("SMA").trusted
    from qtpy.QtWidgets import QPushButton

    assert "Next: Colour" in {button.text() for button in align.messages.findChildren(QPushButton)}
    align.panel.rows["SMA"].right.click()
    qtbot.waitUntil(lambda: align.panel.rows["SMA"].verdict.text() == "!  check", timeout=20_000)
    qtbot.waitUntil(lambda: align.workspace.settled, timeout=20_000)


def test_a_stain_is_left_out_and_taken_in_again(align, tiny_case, qtbot):
    row = align.panel.rows["SMA"]
    row.buttons["leave out"].click()
    qtbot.waitUntil(lambda: row.verdict.text().endswith("left out"), timeout=20_000)
    settled(align, qtbot)
    assert "SMA is left out of case S01" in said(align)
    assert "SMA" not in align.workspace.session.layers.stains
    assert StudyFolder.open(tiny_case).case("S01").left_out == ("SMA",)
    assert row.buttons["take in"].isVisible()
    assert not row.buttons["by hand"].isVisible()
    row.buttons["take in"].click()
    qtbot.waitUntil(lambda: row.verdict.text().endswith("aligned"), timeout=20_000)
    settled(align, qtbot)
    assert "SMA" in align.workspace.session.layers.stains


def test_one_stain_is_aligned_again_and_the_others_stay(align, tiny_case, qtbot):
    folder = StudyFolder.open(tiny_case)
    found = folder.current_warp("S01", "VG")
    folder.save_warp("S01", "VG", found[0], {"verdict": "good", "message": ""})
    failed = Warp.from_affine(np.array([[1.0, 0.0, 5.0], [0.0, 1.0, 5.0]]))
    folder.save_warp("S01", "AB-PAS", failed, {"verdict": "failed", "message": ""})
    align.workspace.take_changes(["cases/S01/warps"])
    settled(align, qtbot)
    before = {stain: folder.current_warp_id("S01", stain) for stain in folder.study.moving}
    align.panel.rows["AB-PAS"].buttons["again"].click()
    assert not align.panel.rows["SMA"].buttons["again"].isEnabled()
    settled(align, qtbot)
    after = {stain: folder.current_warp_id("S01", stain) for stain in folder.study.moving}
    assert [stain for stain in before if before[stain] != after[stain]] == ["AB-PAS"]
    assert align.panel.rows["AB-PAS"].verdict.text() == "\N{CHECK MARK}  aligned"
    assert align.panel.rows["SMA"].buttons["again"].isEnabled()
    assert align.controls.run.text() == "Nothing to align"
    assert not align.controls.run.isEnabled()


# By hand


def test_a_drag_shifts_the_stain_by_exactly_as_much(align, qtbot):
    hand = by_hand(align, qtbot, "SMA")
    assert hand.active
    start = hand.laying.affine
    before, _ = drawn(hand)
    first, last = drag(align, qtbot, (300.0, 300.0), (420.0, 610.0))
    assert np.linalg.norm(last - first) > 200
    after, own = drawn(hand)
    assert np.allclose(after - before, last - first, atol=1e-6)
    # What is drawn is what would be saved.
    assert np.allclose(Warp.from_affine(hand.laying.affine).points(after), own, atol=1e-6)
    camera = align.workspace.viewer.scene.camera
    assert on_canvas(align, (300.0, 300.0))[1] == pytest.approx(first), f"the view moved to {camera.center}"
    align.panel.page.undo.click()
    assert np.array_equal(hand.laying.affine, start)


def test_a_drag_with_the_right_button_or_on_the_ring_turns_it_about_its_tissue(align, qtbot):
    from qtpy.QtCore import Qt

    hand = by_hand(align, qtbot, "SMA")
    centre, before = hand.laying.centre_um, hand.laying.degrees
    zoom = align.workspace.viewer.scene.camera.zoom
    first, last = drag(align, qtbot, centre + [0, 200], centre + [200, 0], Qt.MouseButton.RightButton)
    from stainloom.plugin.laying import turn_between

    turned = turn_between(first, last, centre)
    assert turned == pytest.approx(90, abs=2)
    # The centre that is drawn lies at a fraction of a pixel: napari's camera keeps its place in single precision.
    assert hand.laying.degrees - before == pytest.approx(turned, abs=1e-3)
    assert np.allclose(hand.laying.centre_um, centre, atol=1e-6)
    assert align.workspace.viewer.scene.camera.zoom == zoom
    on_ring = 56 / zoom
    first, last = drag(align, qtbot, centre + [0, on_ring], centre + [-on_ring, 0])
    assert turn_between(first, last, centre) == pytest.approx(-90, abs=3)
    assert hand.laying.degrees == pytest.approx(before + turned + turn_between(first, last, centre), abs=2e-3)


def test_keys_nudge_turn_undo_and_flicker(align, qtbot):
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    hand = by_hand(align, qtbot, "SMA")
    canvas, start = canvas_of(align), hand.laying.affine
    um = 2 / align.workspace.viewer.scene.camera.zoom
    before = hand.laying.centre_um
    QTest.keyClick(canvas, Qt.Key.Key_Right)
    QTest.keyClick(canvas, Qt.Key.Key_Down, Qt.KeyboardModifier.ShiftModifier)
    assert np.allclose(hand.laying.centre_um - before, [10 * um, um])
    turned = hand.laying.degrees
    QTest.keyClick(canvas, Qt.Key.Key_W)
    assert hand.laying.degrees == pytest.approx(turned + 1)
    QTest.keyPress(canvas, Qt.Key.Key_QuoteLeft)
    assert hand.layer.opacity == 0
    QTest.keyRelease(canvas, Qt.Key.Key_QuoteLeft)
    assert hand.layer.opacity == 0.5
    for _ in range(3):
        QTest.keyClick(canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert np.array_equal(hand.laying.affine, start)
    QTest.keyClick(canvas, Qt.Key.Key_F3)
    assert align.workspace.session.layers.stains["Masson"].visible
    assert hand.layer.visible
    assert hand.active


def test_space_held_moves_the_view_and_not_the_stain(align, qtbot):
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    hand = by_hand(align, qtbot, "SMA")
    start, centre = hand.laying.affine, align.workspace.viewer.scene.camera.center
    QTest.keyPress(canvas_of(align), Qt.Key.Key_Space)
    drag(align, qtbot, (300.0, 300.0), (420.0, 610.0))
    QTest.keyRelease(canvas_of(align), Qt.Key.Key_Space)
    assert np.array_equal(hand.laying.affine, start)
    assert align.workspace.viewer.scene.camera.center != centre
    drag(align, qtbot, (300.0, 300.0), (420.0, 610.0))
    assert not np.array_equal(hand.laying.affine, start)


def test_buttons_turn_mirror_centre_start_elsewhere_and_reset(align, qtbot):
    hand = by_hand(align, qtbot, "SMA")
    page, start = align.panel.page, hand.laying.affine
    turned = hand.laying.degrees
    page.moves["90\N{DEGREE SIGN} right"].click()
    assert hand.laying.degrees == pytest.approx(turned + 90)
    page.moves["Mirror"].click()
    assert hand.laying.mirrored
    assert page.turn.prefix() == "mirrored, "
    page.turn.setValue(12.5)
    assert hand.laying.degrees == pytest.approx(12.5)
    page.moves["Centre on HE"].click()
    assert np.allclose(hand.laying.centre_um, page._reference_um)
    page.reset.click()
    assert np.array_equal(hand.laying.affine, start)
    assert not page.reset.isEnabled()
    page.start.setCurrentText("as on its own glass")
    page.start.activated.emit(page.start.currentIndex())
    assert np.array_equal(hand.laying.affine, np.eye(2, 3))
    for _ in range(6):
        page.undo.click()
    assert np.array_equal(hand.laying.affine, start)
    assert not page.undo.isEnabled()


def test_used_as_it_is_it_is_saved_as_it_was_drawn(align, tiny_case, qtbot):
    hand = by_hand(align, qtbot, "VG")
    assert align.panel.page.start.currentText() == "as on its own glass"
    page = align.panel.page
    page.moves["Mirror"].click()
    drag(align, qtbot, (300.0, 300.0), (340.0, 390.0))
    page.turn.setValue(37.25)
    (shown, own), affine = drawn(hand), hand.laying.affine
    page.ends["use"].click()
    assert align.panel.page is None
    qtbot.waitUntil(lambda: "by hand" in align.panel.rows["VG"].verdict.text(), timeout=20_000)
    settled(align, qtbot)
    warp, quality = StudyFolder.open(tiny_case).current_warp("S01", "VG")
    assert np.abs(warp.points(shown) - own).max() < 1e-6
    assert np.array_equal(warp.affine, affine)
    assert quality["verdict"] == "check"
    assert align.panel.rows["VG"].verdict.text() == "!  check, by hand"
    assert align.controls.run.text() == "Nothing to align"
    layer = align.workspace.session.layers.stains["VG"]
    assert layer.visible
    assert hand.layer not in align.workspace.viewer.layers


def test_refined_from_a_rough_place_it_finds_the_exact_one(align, tiny_case, simulated_study, qtbot):
    from test_jobs_aligning import missed_um, nearest_affine, tissue_of, truth_of

    places, truth = tissue_of(tiny_case, "S01"), truth_of(simulated_study, "S01", "SMA")
    hand = by_hand(align, qtbot, "SMA")
    hand.laying.put(nearest_affine(truth, places))
    hand.laying.turn(5)
    hand.laying.shift(30, 40)
    assert missed_um(Warp.from_affine(hand.laying.affine), truth, places) > 35
    align.panel.page.ends["refine"].click()
    qtbot.waitUntil(lambda: align.controls.job is not None, timeout=20_000)
    settled(align, qtbot)
    warp, quality = StudyFolder.open(tiny_case).current_warp("S01", "SMA")
    assert quality["verdict"] == "good"
    assert quality["levels"][0]["method"] == "given start"
    assert missed_um(warp, truth, places) < 6
    assert align.panel.rows["SMA"].verdict.text() == "\N{CHECK MARK}  aligned, by hand"


def test_cancel_keeps_nothing(align, tiny_case, qtbot):
    warps = tiny_case / "cases" / "S01" / "warps" / "SMA"
    before = sorted(path.name for path in warps.rglob("*"))
    hand = by_hand(align, qtbot, "SMA")
    assert not align.form.isVisible()
    hand.laying.turn(20)
    align.panel.page.ends["cancel"].click()
    assert "SMA is as it was." in said(align)
    assert align.panel.page is None
    assert align.form.isVisible()
    assert align.panel.rows["SMA"].isVisible()
    assert sorted(path.name for path in warps.rglob("*")) == before
    assert align.workspace.session.layers.stains["SMA"].visible


def test_another_case_ends_it_and_says_so(align, qtbot):
    hand = by_hand(align, qtbot, "SMA")
    hand.laying.turn(20)
    place = hand.laying.affine
    align.workspace.step(1)
    qtbot.waitUntil(lambda: align.panel.page is None, timeout=20_000)
    assert "Turning SMA by hand ended with its case; SMA is as it was. Where you had laid it is kept" in said(align)
    assert hand.layer not in align.workspace.viewer.layers
    by_hand(align, qtbot, "SMA")  # of the other case: nobody laid this one
    assert LAID not in align.panel.page._starts
    align.workspace.step(-1)
    qtbot.waitUntil(lambda: align.panel.page is None, timeout=20_000)
    assert "kept" not in said(align)
    by_hand(align, qtbot, "SMA")
    assert np.array_equal(align.panel.page._starts[LAID], place)
    align.workspace.close_case()
    assert align.panel.page is None
    assert len(align.workspace.viewer.layers) == 0


def test_a_result_of_another_job_does_not_end_it(align, qtbot):
    hand = by_hand(align, qtbot, "SMA")
    hand.laying.turn(20)
    affine = hand.laying.affine
    align.panel.page.through.setValue(80)
    align.workspace.take_changes(["cases/S01/normalization/HE.json"])
    qtbot.waitUntil(lambda: align.panel.hand is not hand, timeout=20_000)
    now = align.panel.hand
    assert now is not hand
    assert now.laying.affine is affine
    assert now.layer.opacity == pytest.approx(0.2)
    assert [layer.name for layer in align.workspace.viewer.layers].count("SMA, turned by hand") == 1
    drag(align, qtbot, (300.0, 300.0), (340.0, 390.0))
    align.panel.page.undo.click()
    assert np.array_equal(now.laying.affine, affine)
    settled(align, qtbot)


def test_painting_takes_the_mouse_and_the_dock_says_so(align, qtbot):
    hand = by_hand(align, qtbot, "SMA")
    start = hand.laying.affine
    lesions = align.workspace.session.layers.lesions
    align.workspace.viewer.layers.selection.active = lesions
    assert not hand.active
    assert "Another layer is selected" in align.panel.page.banner.text()
    drag(align, qtbot, (300.0, 300.0), (340.0, 390.0))
    assert np.array_equal(hand.laying.affine, start)
    align.panel.page.go_on.click()
    assert hand.active
    drag(align, qtbot, (300.0, 300.0), (340.0, 390.0))
    assert not np.array_equal(hand.laying.affine, start)


def test_without_its_layer_it_ends(align, qtbot):
    hand = by_hand(align, qtbot, "SMA")
    align.workspace.viewer.layers.remove(hand.layer)
    assert align.panel.page is None
    assert "The layer of SMA was taken away" in said(align)


def test_what_cannot_be_read_is_a_message(align, tiny_case, qtbot):
    (tiny_case / "cases" / "S01" / "warps" / "SMA" / "by-hand.json").write_text(json.dumps({"affine": "x"}))
    align.panel.rows["SMA"].buttons["by hand"].click()
    qtbot.waitUntil(lambda: "by-hand.json" in said(align), timeout=20_000)
    assert align.panel.page is None
