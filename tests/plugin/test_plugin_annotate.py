"""Painting: from napari's labels layer into the store and the other stains, whatever the disk does."""

from __future__ import annotations

import re
import time
from contextlib import closing

import numpy as np
import pytest
from napari.layers import Labels

from stainloom import jobs
from stainloom.errors import LabelError
from stainloom.labels.transfer import carry_labels
from stainloom.plugin.annotate import Painter

pytestmark = pytest.mark.screen


@pytest.fixture
def opened(tiny_case, qtbot):
    painters = []

    def open_(case: str = "S01") -> Painter:
        paint = jobs.Paint.open(tiny_case, case)
        painter = Painter(paint, paint.folder.study.classes)
        painters.append(painter)
        if paint.raster is not None:
            painter.realign(jobs.Carrying(paint))
            painter.attach(Labels(paint.raster, scale=paint.um_per_px))
        return painter

    yield open_
    for painter in painters:
        painter.close()
        assert painter.wait()


def stroke(painter: Painter, places, class_id: int | None = None) -> None:
    layer = painter.layer
    layer.mode = "paint"
    with layer.block_history():
        last = places[0]
        for place in places:
            layer._draw(painter.chosen if class_id is None else class_id, last, place)
            last = place


def settled(painter: Painter, qtbot) -> None:
    qtbot.waitUntil(lambda: not painter.unsaved and not painter._turning and not painter._turns, timeout=20_000)


def test_a_stroke_is_on_the_disk_and_said_to_be(opened, qtbot):
    painter = opened()
    said = []
    painter.saving_changed.connect(lambda text, fine: said.append((text, fine)))
    before = painter.paint.stroke
    painter.choose(3)
    stroke(painter, [(20, 20), (20, 60)])
    settled(painter, qtbot)
    assert painter.paint.stroke == before + 1
    assert painter.paint.differs(painter.layer.data).empty
    assert said[-1][0].startswith("saved ")
    assert said[-1][1]
    assert 3 in painter.areas_px


def test_each_tool_of_the_layer_is_kept(opened, qtbot):
    painter = opened()
    layer = painter.layer
    painter.choose(4)
    layer.paint_polygon([(10, 10), (10, 50), (50, 50), (50, 10)], 4)
    settled(painter, qtbot)
    assert painter.paint.differs(layer.data).empty
    layer.fill((30, 30), 5)
    settled(painter, qtbot)
    assert painter.paint.differs(layer.data).empty
    assert layer.data[30, 30] == 5
    layer.mode = "erase"
    layer.paint((30, 30), 0)
    settled(painter, qtbot)
    assert painter.paint.differs(layer.data).empty
    assert layer.data[30, 30] == 0


def test_undo_takes_back_the_last_corner_of_a_polygon_and_no_paint(opened, qtbot):
    painter = opened()
    painter.choose(2)
    stroke(painter, [(20, 20), (20, 40)])
    settled(painter, qtbot)
    painted = painter.layer.data.copy()
    painter.layer.mode = "polygon"
    polygon, mouse = painter.layer._overlays["polygon"], [61.0, 61.0]
    polygon.points = [[50.5, 50.5], [50.5, 60.5], mouse]
    painter.undo()
    assert [list(point) for point in polygon.points] == [[50.5, 50.5], mouse]
    painter.undo()
    assert not len(polygon.points)
    settled(painter, qtbot)
    assert (painter.layer.data == painted).all()
    painter.undo()
    settled(painter, qtbot)
    assert (painter.layer.data != painted).any()


def test_a_stroke_that_goes_on_is_kept_in_parts(opened, qtbot):
    painter = opened()
    painter.choose(2)
    layer = painter.layer
    layer.mode = "paint"
    before = painter.paint.stroke
    with layer.block_history():
        layer._draw(2, (20, 20), (20, 40))
        qtbot.waitUntil(lambda: painter.paint.stroke == before + 1, timeout=20_000)
        layer._draw(2, (20, 40), (60, 40))
    settled(painter, qtbot)
    assert painter.paint.stroke == before + 2
    assert painter.paint.differs(layer.data).empty


def test_a_stroke_that_is_given_up_leaves_nothing(opened, qtbot):
    painter = opened()
    painter.choose(2)
    layer = painter.layer
    layer.mode = "paint"
    clean = layer.data.copy()
    before = painter.paint.stroke
    layer._begin_stroke()
    layer._draw(2, (20, 20), (20, 40))
    qtbot.waitUntil(lambda: painter.paint.stroke == before + 1, timeout=20_000)
    layer._abort_stroke()
    settled(painter, qtbot)
    np.testing.assert_array_equal(layer.data, clean)
    qtbot.waitUntil(lambda: painter.paint.differs(layer.data).empty, timeout=20_000)


def test_undo_and_redo_come_from_the_store_also_after_opening_anew(opened, qtbot):
    painter = opened()
    clean = painter.layer.data.copy()
    painter.choose(2)
    stroke(painter, [(20, 20), (20, 60)])
    settled(painter, qtbot)
    drawn = painter.layer.data.copy()
    painter.close()
    assert painter.wait()
    again = opened()
    np.testing.assert_array_equal(again.layer.data, drawn)
    asked, turned = [], []
    again.asked.connect(asked.append)
    again.turned.connect(turned.append)
    again.undo()
    settled(again, qtbot)
    np.testing.assert_array_equal(again.layer.data, drawn)  # an older stroke goes only when it is asked for again
    assert "older stroke, from before this case was opened: brush" in asked[-1]
    again.undo()
    settled(again, qtbot)
    np.testing.assert_array_equal(again.layer.data, drawn)  # the second of a double press answers nothing
    qtbot.wait(700)
    again.undo()
    settled(again, qtbot)
    np.testing.assert_array_equal(again.layer.data, clean)
    assert asked[-1] == ""
    assert re.match(r"Taken back: brush \S+ of \d\d:\d\d\.", turned[-1])
    again.undo()
    settled(again, qtbot)
    np.testing.assert_array_equal(again.layer.data, clean)  # each older stroke has a question of its own
    assert "simulated outline" in asked[-1]
    again.redo()
    settled(again, qtbot)
    assert asked[-1] == ""
    assert turned[-1].startswith("Made again: brush")
    np.testing.assert_array_equal(again.layer.data, drawn)


def test_an_older_stroke_is_asked_for_again_after_a_new_one(opened, qtbot):
    painter = opened()  # painted by the simulation
    asked = []
    painter.asked.connect(asked.append)
    painter.undo()
    settled(painter, qtbot)
    painter.choose(2)
    stroke(painter, [(20, 20), (20, 60)])
    settled(painter, qtbot)
    painter.undo()
    settled(painter, qtbot)
    drawn = painter.layer.data.copy()
    painter.undo()
    settled(painter, qtbot)
    np.testing.assert_array_equal(painter.layer.data, drawn)
    assert [bool(text) for text in asked] == [True, False, True]


def test_a_locked_class_is_neither_painted_over_nor_painted_with(opened, qtbot):
    painter = opened()
    refused = []
    painter.refused.connect(refused.append)
    painter.choose(2)
    stroke(painter, [(20, 20), (20, 60)])
    settled(painter, qtbot)
    before = painter.layer.data.copy()
    painter.lock(2, True)
    painter.choose(3)
    stroke(painter, [(20, 40), (80, 40)])
    settled(painter, qtbot)
    assert (painter.layer.data[before == 2] == 2).all()
    assert (painter.layer.data == 3).any()
    painter.choose(2)
    stroke(painter, [(100, 100), (100, 120)])
    assert "locked" in refused[-1].what
    painter.lock(2, False)
    stroke(painter, [(100, 100), (100, 120)])
    assert painter.layer.data[100, 110] == 2


def test_a_number_that_is_no_class_does_not_paint(opened, qtbot):
    painter = opened()
    refused = []
    painter.refused.connect(refused.append)
    before = painter.layer.data.copy()
    painter.layer.selected_label = 77
    stroke(painter, [(20, 20), (20, 60)])
    np.testing.assert_array_equal(painter.layer.data, before)
    assert "no class" in refused[-1].what


def test_a_disk_that_refuses_is_said_and_tried_again_until_it_takes_the_stroke(opened, qtbot, monkeypatch):
    painter = opened()
    keep = painter.paint.keep
    full = [True]

    def keep_or_refuse(*args, **more):
        if full[0]:
            raise LabelError("the disk is full: this stroke was not kept", next="free some space on this disk")
        return keep(*args, **more)

    monkeypatch.setattr(painter.paint, "keep", keep_or_refuse)
    painter.choose(2)
    stroke(painter, [(20, 20), (20, 60)])
    qtbot.waitUntil(lambda: painter.trouble is not None, timeout=20_000)
    assert painter.saving == ("NOT SAVED: the disk is full: this stroke was not kept", False)
    assert (painter.layer.data[20, 20:60] == 2).all()  # it stays on the screen
    stroke(painter, [(60, 20), (60, 60)])
    told = []
    painter.prepare(told.append)
    assert told[0].what.startswith("the disk is full")  # no job sees half of it
    painter.undo()
    assert (painter.layer.data[60, 20:60] == 2).all()
    full[0] = False
    settled(painter, qtbot)
    assert painter.saving[1]
    assert painter.paint.differs(painter.layer.data).empty


def test_a_job_is_told_when_all_strokes_are_written_down(opened, qtbot):
    painter = opened()
    painter.choose(2)
    told = []
    stroke(painter, [(20, 20), (20, 60)])
    painter.prepare(told.append)
    qtbot.waitUntil(lambda: told == [None], timeout=20_000)
    from stainloom.jobs.opening import read_snapshot

    found = read_snapshot(painter.paint.folder, painter.paint.case)
    np.testing.assert_array_equal(found.raster, painter.layer.data)


def test_paint_is_carried_to_the_other_stains_as_it_is_painted(opened, qtbot):
    painter = opened()
    carried = painter.carrier.raster("Masson")[0]
    qtbot.waitUntil(lambda: bool((carried > 0).any()), timeout=20_000)
    before = int((carried == 5).sum())
    with qtbot.waitSignal(painter.carrier.carried, timeout=20_000):
        painter.choose(5)
        stroke(painter, [(200, 200), (200, 260)])
    qtbot.waitUntil(lambda: int((painter.carrier.raster("Masson")[0] == 5).sum()) > before, timeout=20_000)
    assert painter.carrier.raster("HE") is None


def test_when_the_hand_rests_jobs_find_the_paint_carried(opened, qtbot):
    painter = opened("S02")
    painter.choose(5)
    stroke(painter, [(200, 200), (200, 260)])
    settled(painter, qtbot)
    folder = painter.paint.folder

    def stored() -> bool:
        ids = folder.carried_ids("S02", "VG")
        return ids is not None and ids[0] == painter.paint._store.labels_id

    qtbot.waitUntil(stored, timeout=30_000)
    np.testing.assert_array_equal(folder.carried("S02", "VG").raster, painter.carrier.raster("VG")[0])


def test_closing_in_the_middle_of_painting_loses_nothing(opened, qtbot):
    painter = opened()
    painter.choose(2)
    stroke(painter, [(20, 20), (20, 60)])
    stroke(painter, [(60, 20), (60, 60)])
    drawn = painter.layer.data.copy()
    painter.close()
    assert painter.wait()
    again = opened()
    np.testing.assert_array_equal(again.layer.data, drawn)


def test_a_class_that_left_the_study_keeps_its_paint_and_is_shown(tiny_case, opened, qtbot):
    import json

    file = tiny_case / "study.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    gone = content["lesions"][0]["id"]
    paint = jobs.Paint.open(tiny_case, "S01")
    held = {lesion.class_id for lesion in paint.lesions()}
    if gone not in held:
        raster = paint.raster
        raster[5:15, 5:15] = gone
        from stainloom.geometry import Box

        paint.keep(Box(5, 5, 10, 10), raster[5:15, 5:15].copy(), what="brush", class_id=gone)
    paint.close()
    content["lesions"] = content["lesions"][1:]
    file.write_text(json.dumps(content), encoding="utf-8")
    painter = opened()
    shown = {lesion.id: lesion for lesion in painter.classes}
    assert "no longer" in shown[gone].name
    assert (painter.layer.data == gone).any()
    assert painter.layer.colormap.map(np.uint8(gone))[3] == 1  # not transparent


@pytest.mark.parametrize("last", ["stroke", "undo"])
def test_what_is_under_way_at_closing_is_not_called_carried(opened, tiny_case, qtbot, monkeypatch, last):
    painter = opened()
    painter.choose(4)
    stroke(painter, [(100, 20), (100, 40)])
    settled(painter, qtbot)
    painter.carrier.raster("Masson")
    qtbot.waitUntil(lambda: painter.carrier._carrying.filled("Masson"), timeout=20_000)
    keep = painter.paint.keep
    monkeypatch.setattr(painter.paint, "keep", lambda *args, **more: (time.sleep(0.3), keep(*args, **more))[1])
    if last == "stroke":
        stroke(painter, [(60, 20), (60, 80)])
    else:
        painter.undo()
    painter.close()
    assert painter.wait()
    with closing(jobs.Paint.open(tiny_case, "S01")) as paint:
        carrying = jobs.Carrying(paint)
        for stain in carrying.stains:
            carrying.fill(stain)
            warp = paint.folder.current_warp("S01", stain)[0]
            size = paint.case.slide(stain).size_um
            whole = carry_labels(paint.raster, paint.um_per_px, warp, size, paint.um_per_px)
            np.testing.assert_array_equal(carrying.raster(stain), whole)
