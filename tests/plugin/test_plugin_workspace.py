"""A study open in one viewer, all docks beside it."""

from __future__ import annotations

import shutil
import threading

import pytest

from stainloom import jobs
from stainloom.errors import CaseError, LabelError

pytestmark = pytest.mark.screen


@pytest.fixture
def docks(make_napari_viewer, qtbot):
    from stainloom.plugin.window import Docks
    from stainloom.plugin.workspace import Workspace

    viewer = make_napari_viewer(show=True)
    made = Docks(Workspace(viewer), ask=lambda title: made.answer)
    made.answer = "stop"
    yield made
    made.workspace.queue.stop()
    made.workspace.close_case()
    qtbot.wait(200)  # what was put off, and threads that end, hold the window


def settled(workspace, qtbot) -> None:
    qtbot.waitUntil(lambda: workspace.settled, timeout=20_000)


@pytest.fixture
def gate(monkeypatch):
    """Holds up what reads a case beside the window's thread until it is set."""
    free, open_view, window = threading.Event(), jobs.open_view, threading.current_thread()

    def open_later(study, case, **more):
        assert threading.current_thread() is window or free.wait(20)
        return open_view(study, case, **more)

    monkeypatch.setattr(jobs, "open_view", open_later)
    yield free
    free.set()


def test_a_study_opens_with_its_first_case_and_the_list_shows_it(docks, tiny_case, qtbot):
    docks.workspace.open_study(tiny_case)
    workspace = docks.workspace
    assert workspace.case.name == "S01"
    listed = docks.docks["Cases"].list.list.cases
    assert [listed.index(row, 0).data() for row in range(listed.rowCount())] == ["S01 (P01)", "S02 (P02)", "S03 (P03)"]
    assert listed.index(0, 1).data() == "\N{CHECK MARK}"  # aligned
    workspace.session.finish()
    layers = len(workspace.viewer.layers)
    docks.docks["Cases"].step(1)
    qtbot.waitUntil(lambda: workspace.case.name == "S02" and workspace.session.settled, timeout=20_000)
    assert len(workspace.viewer.layers) >= layers
    for _ in range(4):
        docks.docks["Cases"].step(1)
    qtbot.waitUntil(lambda: workspace.case.name == "S03", timeout=20_000)


def test_who_steps_on_quickly_opens_the_last_case_alone(docks, tiny_case, qtbot, monkeypatch):
    docks.workspace.open_study(tiny_case)
    workspace = docks.workspace
    read, put = [], []
    open_view = jobs.open_view
    monkeypatch.setattr(
        jobs, "open_view", lambda study, case, **more: read.append(case) or open_view(study, case, **more)
    )
    workspace.case_changed.connect(lambda: put.append(workspace.case and workspace.case.name))
    for name in ("S02", "S01", "S02", "S03", "S02", "S03"):
        workspace.ask_for_case(name)
    qtbot.waitUntil(lambda: not workspace._opening and workspace.case.name == "S03", timeout=20_000)
    assert read == ["S02", "S03"]
    assert put == ["S03"]
    workspace.close_case()
    assert put == ["S03", None]


def test_a_case_that_cannot_be_opened_is_a_message_and_the_one_shown_stays(docks, tiny_case, qtbot):
    docks.workspace.open_study(tiny_case)
    workspace = docks.workspace
    shutil.rmtree(tiny_case / "cases" / "S02")
    with qtbot.waitSignal(workspace.refused, timeout=20_000) as refused:
        workspace.ask_for_case("S02")
    assert isinstance(refused.args[0], CaseError)
    qtbot.waitUntil(lambda: not workspace._opening)
    assert workspace.session.view.case.name == "S01"


def test_the_next_case_takes_the_layers_of_the_one_before_and_leaves_nothing_of_it(docks, tiny_case, qtbot):
    import gc
    import weakref

    from qtpy.QtWidgets import QApplication

    def left(planted):
        """What is still alive of a case after the next one was opened."""
        session = workspace.session
        session.finish()
        session.show_stain("VG")
        levels = session.layers.stains["VG"].data
        found = [weakref.ref(one) for one in (session, session.view, session.renderer, levels[0])]
        planted.append(levels[0])
        if len(planted) < 2:
            planted.clear()
        del session, levels
        workspace.step(1)
        qtbot.waitUntil(lambda: not workspace._opening, timeout=20_000)
        workspace.session.finish()
        # Pictures and paint of the case before may still be on their way in threads.
        for _ in range(30):
            qtbot.wait(100)
            QApplication.sendPostedEvents(None, 52)  # what was put off with deleteLater
            gc.collect()
            if all(one() is None for one in found):
                break
        return [one for one in found if one() is not None]

    docks.workspace.open_study(tiny_case)
    workspace = docks.workspace
    layer = workspace.session.layers.stains["VG"]
    layer.opacity, layer.name = 0.3, "mine"
    assert left([]) == []
    assert workspace.case.name == "S02"
    assert workspace.session.layers.stains["VG"] is layer
    assert (layer.opacity, layer.name, layer.visible) == (1.0, "VG", False)
    assert left([None]) != []  # the same check sees a level that somebody holds on to


def test_a_folder_that_is_no_study_is_a_message(docks, tmp_path, qtbot):
    docks.docks["Cases"].open_study(tmp_path)
    assert docks.workspace.state is None
    assert docks.docks["Cases"].pages.currentWidget() is docks.docks["Cases"].empty


def test_a_job_from_its_dock_changes_the_study_and_the_view_stays(docks, tiny_case, qtbot):
    docks.workspace.open_study(tiny_case)
    workspace = docks.workspace
    workspace.session.show_stain("VG")
    workspace.viewer.scene.camera.zoom = 2.5
    colour = docks.docks["Colour"]
    assert colour.controls.run.text() == "Normalize all 3 cases"
    assert colour.state.text() == "0 of 3 cases normalized."
    colour.start()
    qtbot.waitUntil(lambda: colour.controls.job is None, timeout=120_000)
    settled(workspace, qtbot)
    assert colour.state.text() == "3 of 3 cases normalized."
    assert workspace.session.layers.stains["VG"].visible
    assert workspace.viewer.scene.camera.zoom == pytest.approx(2.5)


def test_a_study_that_vanishes_is_a_message(docks, tiny_case, qtbot):
    docks.workspace.open_study(tiny_case)
    shutil.rmtree(tiny_case / "cases")
    (tiny_case / "study.json").unlink()
    with qtbot.waitSignal(docks.workspace.refused, timeout=20_000) as refused:
        docks.workspace.refresh()
    assert isinstance(refused.args[0], CaseError)
    settled(docks.workspace, qtbot)


@pytest.mark.parametrize("answer", ["stop", "stay"])
def test_closing_during_a_job_asks_once(docks, tmp_path, qtbot, answer):
    from qtpy.QtGui import QCloseEvent
    from qtpy.QtWidgets import QApplication

    from stainloom.plugin._napari import main_window

    docks.answer = answer
    job = docks.workspace.run("Simulate", ["simulate", str(tmp_path / "study"), "--workers", "1"], lambda result: None)
    with qtbot.waitSignal(job.progressed, timeout=60_000):
        pass
    event = QCloseEvent()
    taken = docks.eventFilter(main_window(docks.workspace.viewer), event)
    assert taken is (answer == "stay")
    assert job.running is (answer == "stay")
    docks.workspace.queue.stop()
    QApplication.processEvents()
    assert not job.running
    assert list(tmp_path.iterdir()) == []


def test_what_changes_while_a_case_is_opened_anew_is_seen_too(docks, tiny_case, qtbot, monkeypatch):
    workspace = docks.workspace
    docks.workspace.open_study(tiny_case)
    settled(workspace, qtbot)
    read, open_view = [], jobs.open_view
    monkeypatch.setattr(
        jobs, "open_view", lambda study, case, **more: read.append(case) or open_view(study, case, **more)
    )
    workspace.take_changes(["cases/S01/normalization/HE.json"])
    workspace.take_changes(["cases/S01/normalization/VG.json"])
    qtbot.waitUntil(lambda: len(read) == 2, timeout=20_000)
    settled(workspace, qtbot)
    assert read == ["S01", "S01"]
    assert workspace.case.name == "S01"


def test_what_was_read_before_the_case_was_closed_is_not_shown(docks, tiny_case, qtbot, gate):
    workspace = docks.workspace
    workspace.open_study(tiny_case)
    settled(workspace, qtbot)
    workspace.take_changes(["cases/S01/normalization/HE.json"])
    workspace.close_case()
    workspace.open_case("S01")
    session, painter = workspace.session, workspace.painter
    gate.set()
    qtbot.waitUntil(lambda: not workspace._opening, timeout=20_000)
    assert (workspace.session, workspace.painter) == (session, painter)
    before = painter.paint.stroke
    painter.layer.paint((20, 20), 2)
    qtbot.waitUntil(lambda: painter.paint.stroke == before + 1, timeout=20_000)
    assert painter.paint.differs(painter.layer.data).empty


def test_no_other_study_is_opened_while_paint_is_not_saved(docks, tiny_case, qtbot, tmp_path):
    workspace = docks.workspace
    workspace.open_study(tiny_case)
    settled(workspace, qtbot)
    workspace.painter.trouble = LabelError("the disk is full")
    other = shutil.copytree(tiny_case, tmp_path / "other")
    for open_other in (lambda: workspace.open_study(other), workspace.close_study, lambda: workspace.open_case("S02")):
        with pytest.raises(LabelError, match="not saved"):
            open_other()
    assert workspace.state.path == tiny_case
    assert workspace.session.view.case.name == "S01"
    workspace.painter.trouble = None
    workspace.open_study(other)
    assert workspace.state.path == other


def test_the_case_shown_is_read_anew_where_another_could_not_be_opened(docks, tiny_case, qtbot, monkeypatch):
    workspace = docks.workspace
    workspace.open_study(tiny_case)
    settled(workspace, qtbot)
    free, read, open_view = threading.Event(), [], jobs.open_view

    def open_later(study, case, **more):
        read.append(case)
        if case == "S02":
            assert free.wait(20)
            raise CaseError("the disk is gone")
        return open_view(study, case, **more)

    monkeypatch.setattr(jobs, "open_view", open_later)
    workspace.ask_for_case("S02")
    workspace.take_changes(["cases/S01/normalization/HE.json"])
    free.set()
    qtbot.waitUntil(lambda: read == ["S02", "S01"], timeout=20_000)
    settled(workspace, qtbot)
    assert workspace.session.view.case.name == "S01"


def test_a_case_that_is_removed_while_it_opens_is_let_go(docks, tiny_case, qtbot, gate):
    workspace, dock = docks.workspace, docks.docks["Cases"]
    workspace.open_study(tiny_case)
    settled(workspace, qtbot)
    dock.choose(workspace.state.cases[1])
    dock._change("Remove S02", ["case", "remove", str(tiny_case), "S02"], "S02", gone=True)
    gate.set()
    qtbot.waitUntil(lambda: [case.name for case in workspace.state.cases] == ["S01", "S03"], timeout=60_000)
    settled(workspace, qtbot)
    assert workspace.session is None
    assert not (tiny_case / "cases" / "S02").exists()


def test_a_message_about_a_slide_leads_to_it(docks, tiny_case, qtbot):
    from qtpy.QtWidgets import QPushButton

    workspace, dock = docks.workspace, docks.docks["Align"]
    workspace.open_study(tiny_case)
    dock.messages.say("check", "S09, VG: a case that the study has not.")
    assert not dock.messages.findChildren(QPushButton)
    dock.messages.say("failed", "S02, VG: it could not be aligned.")
    (button,) = dock.messages.findChildren(QPushButton)
    assert button.text() == "Show VG of S02"
    button.click()
    qtbot.waitUntil(lambda: workspace.session.view.case.name == "S02", timeout=20_000)
    shown = workspace.session.layers.shown(workspace.viewer)
    assert shown.pair == "VG"
