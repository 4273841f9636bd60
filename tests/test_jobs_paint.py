"""Paint of a case held by a window: kept stroke by stroke, carried box by box as the whole is carried."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from stainloom import jobs
from stainloom.errors import CaseError, LabelError
from stainloom.geometry import Box
from stainloom.io.casefile import StudyFolder
from stainloom.jobs.opening import read_snapshot
from stainloom.labels.transfer import carry_labels


def painted(paint: jobs.Paint, box: Box, class_id: int) -> None:
    after = np.full(box.shape, class_id, np.uint8)
    paint.raster[box.row : box.row_end, box.col : box.col_end] = after
    paint.keep(box, after, what="brush", class_id=class_id)


def test_what_is_kept_is_there_when_the_case_is_opened_again(tiny_case):
    paint = jobs.Paint.open(tiny_case, "S01")
    box = Box(40, 60, 30, 20)
    before = paint.stroke
    painted(paint, box, 2)
    assert paint.stroke == before + 1
    assert 2 in {lesion.class_id for lesion in paint.lesions()}
    paint.close()
    again = jobs.Paint.open(tiny_case, "S01")
    assert (again.raster[40:70, 60:80] == 2).all()
    box, pixels = again.undo()
    assert (box.row, box.col) == (40, 60)
    assert not (pixels == 2).any()
    again.close()


def test_keeping_the_same_twice_is_one_stroke(tiny_case):
    paint = jobs.Paint.open(tiny_case, "S01")
    painted(paint, Box(40, 60, 30, 20), 2)
    number = paint.stroke
    painted(paint, Box(30, 50, 60, 40).intersect(Box(40, 60, 30, 20)), 2)
    assert paint.stroke == number
    paint.close()


def test_a_case_that_is_held_can_be_looked_at_and_says_by_whom(tiny_case):
    first = jobs.Paint.open(tiny_case, "S01")
    painted(first, Box(40, 60, 30, 20), 2)
    first.snapshot()
    second = jobs.Paint.open(tiny_case, "S01")
    assert "held by" in second.refusal
    assert (second.raster == first.raster).all()
    with pytest.raises(LabelError, match="nothing can be painted"):
        second.keep(Box(0, 0, 1, 1), np.ones((1, 1), np.uint8), what="brush", class_id=1)
    second.close()
    first.close()
    third = jobs.Paint.open(tiny_case, "S01")
    assert third.refusal == ""
    third.close()


def test_jobs_of_others_read_what_the_holder_wrote_down(tiny_case):
    paint = jobs.Paint.open(tiny_case, "S01")
    painted(paint, Box(40, 60, 30, 20), 2)
    id = paint.snapshot()
    folder = StudyFolder.open(tiny_case)
    assert read_snapshot(folder, folder.case("S01")).labels_id == id
    outcome = jobs.transfer(tiny_case, cases=["S01"], workers=1)
    assert len(outcome.changed) == 4
    with pytest.raises(CaseError, match="in use"):
        jobs.import_annotations(tiny_case, "S01", empty_geojson(tiny_case))
    paint.close()


def empty_geojson(study):
    file = study.parent / "none.geojson"
    file.write_text('{"type": "FeatureCollection", "features": []}', encoding="utf-8")
    return file


def test_a_store_that_cannot_be_read_is_never_shown_as_empty(tiny_case):
    folder = StudyFolder.open(tiny_case)
    store = folder.labels_path("S01")
    store.write_bytes(b"not a store" * 100)
    paint = jobs.Paint.open(tiny_case, "S01")
    assert paint.raster is None
    assert paint.refusal
    paint.close()


def test_a_case_that_was_never_painted_gets_its_store_with_the_first_stroke(tiny_case):
    folder = StudyFolder.open(tiny_case)
    for file in folder.case_path("S02").glob("labels*"):
        file.unlink()
    paint = jobs.Paint.open(tiny_case, "S02")
    assert not paint.raster.any()
    assert not folder.labels_path("S02").exists()
    assert paint.snapshot() == ""
    painted(paint, Box(1, 2, 3, 4), 1)
    paint.snapshot()
    assert jobs.survey(tiny_case).case("S02").painted
    paint.undo()
    paint.snapshot()
    assert not jobs.survey(tiny_case).case("S02").painted
    paint.close()


def test_paint_carried_box_by_box_is_paint_carried_at_once(tiny_case):
    folder = StudyFolder.open(tiny_case)
    paint = jobs.Paint.open(tiny_case, "S01")
    carrying = jobs.Carrying(paint)
    assert carrying.stains == ("AB-PAS", "Masson", "SMA", "VG")
    for lesion in paint.lesions():
        for stain in carrying.stains:
            carrying.carry(lesion.box, stain)
    random = np.random.default_rng(5)
    for _ in range(25):
        rows, cols = (int(n) for n in random.integers(1, 120, 2))
        row, col = (int(random.integers(0, side - n)) for side, n in zip(paint.raster.shape, (rows, cols), strict=True))
        painted(paint, Box(row, col, rows, cols), int(random.integers(0, 6)))
        for stain in carrying.stains:
            carrying.carry(Box(row, col, rows, cols), stain)
    case = folder.case("S01")
    for stain in carrying.stains:
        warp = folder.current_warp("S01", stain)[0]
        whole = carry_labels(paint.raster, paint.um_per_px, warp, case.slide(stain).size_um, paint.um_per_px)
        assert whole.any()
        np.testing.assert_array_equal(carrying.raster(stain), whole)
    paint.close()


def test_carried_paint_is_stored_as_the_job_stores_it(tiny_case):
    folder = StudyFolder.open(tiny_case)
    jobs.transfer(tiny_case, cases=["S01"], workers=1)
    by_job = {stain: folder.carried("S01", stain) for stain in folder.study.moving}
    paint = jobs.Paint.open(tiny_case, "S01")
    carrying = jobs.Carrying(paint)
    for stain in carrying.stains:
        for lesion in paint.lesions():
            carrying.carry(lesion.box, stain)
        assert not carrying.save(stain, paint.snapshot())  # the job stored the same
        np.testing.assert_array_equal(carrying.raster(stain), by_job[stain].raster)
    paint.close()


def test_paint_that_lies_carried_on_the_disk_is_read_and_what_does_not_is_carried(tiny_case, monkeypatch):
    jobs.transfer(tiny_case, cases=["S01"], workers=1)
    folder = StudyFolder.open(tiny_case)
    stored = folder.carried("S01", "SMA").raster
    with closing(jobs.Paint.open(tiny_case, "S01")) as paint:
        carrying = jobs.Carrying(paint)
        assert carrying.stored("SMA")
        assert not carrying.filled("SMA")
        assert not carrying.raster("SMA").any()
        with monkeypatch.context() as patch:
            patch.setattr(carrying, "_carry", lambda *_: pytest.fail("it lies on the disk"))
            carrying.fill("SMA")
        np.testing.assert_array_equal(carrying.raster("SMA"), stored)
        painted(paint, Box(5, 5, 40, 40), 3)
        assert not carrying.stored("VG")
        carrying.carry(Box(5, 5, 40, 40), "VG")
        again = jobs.Carrying(paint)
        again.fill("VG")
        np.testing.assert_array_equal(carrying.raster("VG"), again.raster("VG"))
        assert (carrying.raster("VG") != folder.carried("S01", "VG").raster).any()
    id = folder.carried("S01", "Masson").id
    (folder.case_path("S01") / "carried" / "Masson" / id / "carried.json").write_text("{}")
    with closing(jobs.Paint.open(tiny_case, "S01")) as paint:
        carrying = jobs.Carrying(paint)
        carrying.fill("Masson")  # damaged: carried anew
        assert carrying.raster("Masson").any()


def test_filling_that_nobody_waits_for_ends_and_stores_nothing(tiny_case):
    folder = StudyFolder.open(tiny_case)
    with closing(jobs.Paint.open(tiny_case, "S01")) as paint:
        painted(paint, Box(40, 60, 30, 20), 2)
        labels_id = paint.snapshot()
        carrying = jobs.Carrying(paint)
        carrying.abandon()
        carrying.fill("VG")
        assert not carrying.filled("VG")
        assert not carrying.raster("VG").any()
        assert not carrying.save("VG", labels_id)
        assert folder.carried_ids("S01", "VG") is None


def test_a_snapshot_is_written_only_where_the_disk_has_none_of_this_paint(tiny_case):
    folder = StudyFolder.open(tiny_case)
    path = folder.snapshot_path("S01")
    with closing(jobs.Paint.open(tiny_case, "S01")) as paint:
        paint.snapshot()
    written = path.stat().st_mtime_ns
    with closing(jobs.Paint.open(tiny_case, "S01")) as paint:
        assert paint.snapshot() == paint.labels_id
        assert path.stat().st_mtime_ns == written
        painted(paint, Box(1, 2, 30, 40), 1)
        paint.snapshot()
        assert path.stat().st_mtime_ns != written
    path.write_bytes(b"nothing")
    with closing(jobs.Paint.open(tiny_case, "S01")) as paint:
        paint.snapshot()
        assert read_snapshot(folder, folder.case("S01")).labels_id == paint.labels_id
