"""The Cases dock in a window: slides dropped, corrected and taken in; cases removed; bad input said, and the window goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from stainloom import jobs
from stainloom.plugin import cases as cases_dock
from stainloom.plugin.trial import Step, trial_steps

pytestmark = pytest.mark.screen

SMALL = ("--width-um", "900", "--height-um", "900", "--um-per-px", "2", "--failed-share", "0")


@pytest.fixture(autouse=True)
def _config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAINLOOM_CONFIG", str(tmp_path / "config"))


@pytest.fixture
def docks(make_napari_viewer, qtbot):
    from stainloom.plugin.window import Docks
    from stainloom.plugin.workspace import Workspace

    viewer = make_napari_viewer(show=True)
    made = Docks(Workspace(viewer), ask=lambda title: "stop")
    yield made
    made.workspace.queue.stop()
    qtbot.waitUntil(lambda: not made.workspace._looking, timeout=30_000)
    made.workspace.close_case()


@pytest.fixture
def dock(docks):
    return docks.docks["Cases"]


@pytest.fixture
def scans(tiny_case: Path, tmp_path: Path) -> Path:
    """Two new blocks: one without VG, one whose Masson cannot be told; beside them what is no slide."""
    home = tmp_path / "scans"
    for block, stains in (("B1", ("HE", "AB-PAS", "Masson", "SMA")), ("B2", ("HE", "AB-PAS", "Masson", "SMA", "VG"))):
        (home / block).mkdir(parents=True)
        for stain in stains:
            data = (tiny_case / "slides" / ("S01" if block == "B1" else "S02") / f"{stain}.ome.tif").read_bytes()
            name = "scan 4.tif" if (block, stain) == ("B2", "Masson") else f"{block}_{stain}.tif"
            (home / block / name).write_bytes(data + b"another scan")
    (home / "B1" / "label.jpg").write_bytes(b"x")
    return home


def said(dock) -> str:
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QLabel

    QTest.qWait(30)  # a label that was just added is shown when the event loop turns
    return "\n".join(label.text() for label in dock.messages.findChildren(QLabel) if label.isVisibleTo(dock))


def settle(dock, qtbot) -> None:
    qtbot.waitUntil(lambda: dock._looking is None and dock.workspace.queue.current is None, timeout=120_000)
    qtbot.waitUntil(lambda: dock.workspace.settled, timeout=60_000)


def drop(dock, *paths: Path) -> None:
    """As the window system would: enter, then drop, on the widget that lies under the mouse."""
    from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
    from qtpy.QtGui import QDragEnterEvent, QDropEvent
    from qtpy.QtWidgets import QApplication

    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    under, act, button = dock.widget(), Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
    enter = QDragEnterEvent(QPoint(50, 200), act, data, button, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(under, enter)
    assert enter.isAccepted()
    event = QDropEvent(QPointF(50, 200), act, data, button, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(under, event)
    assert event.isAccepted()


def test_dropped_slides_are_corrected_in_a_table_and_taken_in(dock, tiny_case, scans, qtbot):
    dock.open_study(tiny_case)
    settle(dock, qtbot)
    before = sorted(path.name for path in (tiny_case / "cases").iterdir())
    drop(dock, scans)
    settle(dock, qtbot)
    page = dock.intake
    assert dock.pages.currentWidget() is page
    assert not page.take.isEnabled()
    assert "3 rows" in page.reason.text()  # two patients, one stain
    assert "1 file, each a label" in page.summary.text()
    model = page.view.model()
    scan = model.index(4, 0, model.index(1, 0))
    assert scan.data() == "scan 4.tif"
    model.setData(scan.siblingAtColumn(1), "Masson")
    qtbot.waitUntil(lambda: "2 rows" in page.reason.text())
    page.value.setCurrentText("P7")
    page.fill.click()
    assert "Block B2" not in page.reason.text()
    assert "B1 lacks VG" in page.reason.text()
    assert not page.take.isEnabled()
    assert sorted(path.name for path in (tiny_case / "cases").iterdir()) == before
    page.missing.setChecked(True)
    assert page.take.isEnabled()
    page.take.click()
    settle(dock, qtbot)
    assert dock.pages.currentWidget() is dock.list
    qtbot.waitUntil(lambda: dock.workspace.case is not None, timeout=30_000)
    assert dock.workspace.case.name == "B1"
    found = jobs.survey(tiny_case)
    assert [(case.name, case.patient) for case in found.cases[:2]] == [("B1", "P7"), ("B2", "P7")]
    assert found.case("B2").stains[2].verdict == "not aligned"
    assert "Taken in: B1, B2" in said(dock)


def test_slides_without_a_study_lead_to_a_new_one_first(dock, scans, tmp_path, qtbot):
    drop(dock, scans)
    assert dock.pages.currentWidget() is dock.new
    dock.new.put_at(tmp_path)
    dock.new.name.setText("a/b")
    assert not dock.new.make.isEnabled()
    dock.new.name.setText("mine")
    dock.new.make.click()
    qtbot.waitUntil(lambda: dock.pages.currentWidget() is dock.intake, timeout=60_000)
    assert dock.workspace.state.path == (tmp_path / "mine").resolve()
    assert jobs.survey(tmp_path / "mine").cases == ()


def test_a_study_that_is_dropped_is_opened_and_a_folder_without_slides_is_said(dock, tiny_case, tmp_path, qtbot):
    drop(dock, tiny_case)
    settle(dock, qtbot)
    assert dock.workspace.case.name == "S01"
    (tmp_path / "nothing").mkdir()
    dock.look_at_slides([tmp_path / "nothing"])
    settle(dock, qtbot)
    assert "no slide here" in said(dock)
    assert dock.workspace.case.name == "S01"


def test_a_case_is_removed_only_after_a_question(dock, tiny_case, qtbot):
    dock.open_study(tiny_case)
    settle(dock, qtbot)
    dock.choose(dock.workspace.state.cases[1])
    settle(dock, qtbot)
    dock.list.look()
    dock.ask_to_remove()
    assert "Remove S02" in dock.question.text.text()
    dock.question.no.click()
    settle(dock, qtbot)
    assert (tiny_case / "cases" / "S02").is_dir()
    dock.ask_to_remove()
    dock.question.yes.click()
    settle(dock, qtbot)
    assert [case.name for case in dock.workspace.state.cases] == ["S01", "S03"]
    assert dock.workspace.session is None
    assert len(list((tiny_case / "removed").iterdir())) == 1


def test_a_slide_is_replaced_after_a_question_and_the_case_is_shown_again(dock, tiny_case, scans, qtbot):
    dock.open_study(tiny_case)
    settle(dock, qtbot)
    dock.offer_slide("SMA", scans / "B1" / "B1_SMA.tif")
    dock.question.yes.click()
    settle(dock, qtbot)
    qtbot.waitUntil(lambda: dock.workspace.case is not None, timeout=30_000)
    assert dock.workspace.case.to_align == ("SMA",)
    assert dock.workspace.session.view.case.slide("SMA").path.endswith("B1_SMA.tif")


def test_moved_slides_are_said_and_found(dock, tiny_case, tmp_path, qtbot):
    shutil.move(tiny_case / "slides" / "S01" / "VG.ome.tif", tmp_path / "moved.tif")
    dock.open_study(tiny_case)
    settle(dock, qtbot)
    assert "VG of S01" in dock.list.lost.text()
    assert dock.list.search.isVisibleTo(dock)
    assert "VG" not in dock.workspace.session.layers.stains
    dock.find_slides(tmp_path)
    settle(dock, qtbot)
    assert not dock.list.lost.text()
    assert "VG" in dock.workspace.session.layers.stains


def test_a_case_that_cannot_be_read_leaves_the_others(dock, tiny_case, qtbot):
    (tiny_case / "cases" / "S01" / "case.json").write_text("{}")
    dock.open_study(tiny_case)
    settle(dock, qtbot)
    assert dock.workspace.case.name == "S02"
    dock.choose(dock.workspace.state.cases[0])
    assert "case.json" in said(dock)
    assert dock.workspace.case.name == "S02"


def test_a_newer_study_is_said_and_what_is_open_stays(dock, tiny_case, tmp_path, qtbot):
    dock.open_study(tiny_case)
    settle(dock, qtbot)
    newer = tmp_path / "newer"
    newer.mkdir()
    content = json.loads((tiny_case / "study.json").read_text()) | {"version": 2}
    (newer / "study.json").write_text(json.dumps(content))
    dock.open_study(newer)
    settle(dock, qtbot)
    assert "newer" in said(dock)
    assert dock.workspace.case.name == "S01"


def test_a_study_that_vanishes_while_open_is_said_and_another_opens(dock, tiny_case, simulated_study, qtbot):
    dock.open_study(tiny_case)
    settle(dock, qtbot)
    tiny_case.rename(tiny_case.with_name("gone"))
    dock.choose(dock.workspace.state.cases[1])
    settle(dock, qtbot)
    assert "there is no study here" in said(dock)
    dock.step(1)
    with qtbot.waitSignal(dock.workspace.refused, timeout=30_000):
        dock.workspace.refresh()
    dock.open_study(tiny_case.with_name("gone"))
    settle(dock, qtbot)
    assert dock.workspace.case.name == "S01"
    dock.close_study()
    assert dock.pages.currentWidget() is dock.empty


@pytest.fixture
def quick_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trial of one small block."""
    study = tmp_path / "trial" / "simulated"
    monkeypatch.setattr(cases_dock, "trial_folder", lambda: study)

    def steps(place: Path, *, patients: int, unpainted: int) -> list[Step]:
        first, *_, last = trial_steps(place, patients=1, unpainted=0)
        words = ("simulate", str(place), "--patients", "1", *SMALL)
        return [Step(first.title, words), last]

    monkeypatch.setattr(cases_dock, "trial_steps", steps)
    return study


def test_the_trial_opens_after_its_first_step_and_at_once_the_next_time(dock, quick_trial, qtbot):
    dock.empty.buttons["Try the simulated study"].click()
    assert not dock.empty.buttons["Open a study"].isEnabled()
    qtbot.waitUntil(lambda: dock.workspace.session is not None, timeout=120_000)
    assert dock._chain is not None  # its first case is still worked on
    qtbot.waitUntil(lambda: dock._chain is None, timeout=120_000)
    settle(dock, qtbot)
    assert dock.workspace.case.painted
    dock.close_study()
    made = (quick_trial / "study.json").stat().st_mtime_ns
    dock.empty.buttons["Try the simulated study"].click()
    settle(dock, qtbot)
    assert dock.workspace.case.name == "S01"
    assert (quick_trial / "study.json").stat().st_mtime_ns == made


def test_a_trial_that_was_cancelled_leaves_nothing_in_the_way(dock, quick_trial, qtbot):
    dock.try_it()
    with qtbot.waitSignal(dock.controls.job.progressed, timeout=60_000):
        pass
    dock.controls.cancel.click()
    qtbot.waitUntil(lambda: dock._chain is None, timeout=20_000)
    assert "Cancelled" in said(dock)
    assert list(quick_trial.parent.iterdir()) == []
    assert dock.empty.buttons["Try the simulated study"].isEnabled()


def test_keys_step_from_case_to_case(dock, tiny_case, qtbot):
    dock.open_study(tiny_case)
    settle(dock, qtbot)
    keys = {str(key): act for key, act in dock.workspace.viewer.keymap.items()}
    keys["PageDown"](dock.workspace.viewer)
    qtbot.waitUntil(lambda: dock.workspace.case.name == "S02", timeout=20_000)
    keys["PageUp"](dock.workspace.viewer)
    qtbot.waitUntil(lambda: dock.workspace.case.name == "S01", timeout=20_000)
