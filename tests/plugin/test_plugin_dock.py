"""The dock that is a form and a Run, with real children: run, wait, fail, cancel, and what it says."""

from __future__ import annotations

import pytest
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QLabel
from test_plugin_form import Example

from stainloom.plugin.controls import time_left
from stainloom.plugin.dock import JobDock, JobSpec, Plan
from stainloom.plugin.job import Job, JobQueue, Result

pytestmark = pytest.mark.screen


class Desk(QObject):
    """What a dock needs of a workspace."""

    state_changed, case_changed = Signal(), Signal()
    dock_wanted = Signal(str)

    def __init__(self):
        super().__init__()
        self.queue = JobQueue(self)
        self.state = None

    def run(self, title, words, ended):
        job = Job(title, words)
        job.ended.connect(ended)
        self.queue.add(job)
        return job


@pytest.fixture
def desk(qtbot):
    return Desk()


@pytest.fixture
def make(qtbot, desk):
    def made(*words: str, missing: str = "") -> JobDock:
        plan = Plan("Do it", "All is ready.", words, missing, remedy="Cases" if missing else "")
        spec = JobSpec("Example", "For trying.", Example, lambda desk, everything: plan, lambda result: "It is done.")
        dock = JobDock(desk, spec)
        qtbot.addWidget(dock)
        dock.show()
        return dock

    return made


def said(dock: JobDock) -> str:
    return "\n".join(label.text() for label in dock.messages.findChildren(QLabel))


def run(dock: JobDock, qtbot) -> None:
    dock.start()
    qtbot.waitUntil(lambda: dock.controls.job is None, timeout=60_000)


def test_a_run_that_is_done_says_so(make, qtbot, tmp_path):
    dock = make("study", "new", str(tmp_path / "study"))
    assert dock.controls.run.isEnabled()
    run(dock, qtbot)
    assert "It is done." in said(dock)
    assert dock.controls.run.isEnabled()
    assert not dock.controls.bar.isVisible()


def test_a_run_that_fails_says_what_and_what_next(make, qtbot, tmp_path):
    dock = make("study", "show", str(tmp_path / "nowhere"))
    run(dock, qtbot)
    assert "there is no study here" in said(dock)
    assert "Next: " in said(dock)


def test_what_is_missing_is_said_and_where_to_do_it(make, qtbot, desk):
    dock = make(missing="Open a study first.")
    assert dock.state.text() == "Open a study first."
    assert not dock.controls.run.isEnabled()
    with qtbot.waitSignal(desk.dock_wanted) as wanted:
        dock.first.click()
    assert wanted.args == ["Cases"]
    assert dock.mend.isHidden()


def test_a_wrong_value_makes_run_grey(make):
    dock = make("study", "show", "x")
    dock.form.rows["rounds"].editor.setText("99")
    assert not dock.controls.run.isEnabled()
    dock.form.reset()
    assert dock.controls.run.isEnabled()


def test_a_second_run_waits_and_says_for_what_and_can_be_cancelled(make, qtbot, tmp_path):
    long = make("simulate", str(tmp_path / "study"), "--workers", "1", "--patients", "40")
    second = make("study", "new", str(tmp_path / "other"))
    long.start()
    second.start()
    assert second.controls.stage.text() == "Waits for: Do it"
    second.controls.cancel.click()
    assert "Cancelled" in said(second)
    with qtbot.waitSignal(long.controls.job.ended, timeout=20_000):
        long.controls.cancel.click()
    assert "Cancelled" in said(long)
    assert list(tmp_path.iterdir()) == []


def test_many_messages_fold_into_details(make):
    dock = make("x")
    dock.messages.say_result(Result("done", warnings=tuple(f"slide {k}" for k in range(9))), "It is done.")
    assert "and 4 more" in said(dock)
    assert dock.messages.findChildren(QLabel)[0].text().endswith("It is done.")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3, "a few seconds left"), (42, "40 s left"), (300, "5 min left"), (7200, "2.0 h left")],
)
def test_time_left_is_said_as_people_say_it(seconds, words):
    assert time_left(seconds) == words
