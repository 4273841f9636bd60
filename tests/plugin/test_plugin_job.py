"""Jobs as real child processes: their end in every way that there is, and the queue."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from stainloom.plugin.job import Job, JobQueue, Result

pytestmark = pytest.mark.screen

LONG = ("--patients", "40", "--workers", "1")


def end_of(job: Job, qtbot, timeout: int = 60_000) -> Result:
    with qtbot.waitSignal(job.ended, timeout=timeout) as ended:
        if not job.running:
            job.start()
    return ended.args[0]


def under_way(study: Path, qtbot) -> Job:
    """A long job that has begun to work."""
    job = Job("Simulate", ["simulate", str(study), *LONG])
    with qtbot.waitSignal(job.progressed, timeout=60_000, check_params_cb=lambda share, what, slide: share > 0):
        job.start()
    return job


def test_a_job_that_is_done(qtbot, tmp_path):
    result = end_of(Job("Make", ["study", "new", str(tmp_path / "study")]), qtbot)
    assert (result.ending, result.problems) == ("done", ())
    assert (tmp_path / "study" / "study.json").exists()


def test_a_job_that_fails_says_what_and_what_next(qtbot, tmp_path):
    result = end_of(Job("Show", ["study", "show", str(tmp_path / "nowhere")]), qtbot)
    assert result.ending == "failed"
    (problem,) = result.problems
    assert problem["what"]
    assert problem["next"]


def test_words_that_no_job_takes_come_back_in_the_details(qtbot, tmp_path):
    result = end_of(Job("Show", ["study", "show", str(tmp_path), "--nonsense"]), qtbot)
    assert result.ending == "failed"
    assert "--nonsense" in result.log
    assert result.problems[0]["what"] == "the job did not begin"


def test_cancel_ends_a_job_before_it_is_killed_and_leaves_nothing(qtbot, tmp_path):
    job = under_way(tmp_path / "study", qtbot)
    assert job.share > 0
    with qtbot.waitSignal(job.ended, timeout=5000) as ended:
        job.cancel()
    assert ended.args[0].ending == "cancelled"
    assert job._child.returncode == 3  # it ended by itself
    assert list(tmp_path.iterdir()) == []


def test_a_job_killed_from_outside_is_a_message(qtbot, tmp_path):
    job = under_way(tmp_path / "study", qtbot)
    with qtbot.waitSignal(job.ended, timeout=10_000) as ended:
        job.kill()
    assert ended.args[0].ending == "died"
    assert "what it had finished before is kept" in ended.args[0].problems[0]["next"]


def test_a_queue_runs_one_at_a_time_and_forgets_what_was_dropped(qtbot, tmp_path):
    queue = JobQueue()
    first, second, third = (Job(name, ["study", "new", str(tmp_path / name)]) for name in ("a", "b", "c"))
    order: list[str] = []
    for job in (first, second, third):
        job.ended.connect(lambda result, job=job: order.append(f"{job.title} {result.ending}"))
        queue.add(job)
    assert queue.current is first
    assert queue.waiting == (second, third)
    queue.drop(second)
    qtbot.waitUntil(lambda: len(order) == 3, timeout=60_000)
    assert order == ["b cancelled", "a done", "c done"]
    assert queue.current is None
    assert not (tmp_path / "b").exists()


def test_a_queue_that_stops_leaves_no_child(qtbot, tmp_path):
    queue = JobQueue()
    job = under_way(tmp_path / "study", qtbot)
    queue.current = job
    queue.stop()
    assert not job.running
    assert list(tmp_path.iterdir()) == []


def test_a_detached_job_ends_whole_when_its_window_is_gone(qtbot, tmp_path):
    small = ("--patients", "2", "--width-um", "600", "--height-um", "600", "--um-per-px", "2", "--workers", "1")
    job = Job("Simulate", ["simulate", str(tmp_path / "study"), *small])
    with qtbot.waitSignal(job.progressed, timeout=60_000):
        job.start()
    job.detach()
    child = job._child
    job.ended.connect(lambda result: pytest.fail("a detached job is no longer this window's"))
    # As at the end of the window's process: nobody reads or writes any more.
    child.stdin.close()
    assert child.wait(120) == 0
    assert (tmp_path / "study" / "study.json").exists()


def test_time_left_counts_from_where_the_work_began_without_rests_and_anew_where_it_fell_back(qtbot, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("stainloom.plugin.job.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(Job, "running", True)
    job = Job("Train", [])
    monkeypatch.setattr(job, "_say", lambda word: None)

    def at(second: float, share: float) -> float | None:
        now[0] = second
        job._take_progress({"done": share, "total": 1.0, "what": "training"})
        return job.seconds_left

    assert at(0, 0.0) is None  # getting ready
    assert at(100, 0.4) is None  # it goes on with something, and begins in the middle
    assert at(160, 0.5) == pytest.approx(300)
    job.pause()
    assert job.seconds_left is None
    now[0] = 3760
    job.resume()
    assert job.seconds_left == pytest.approx(300)
    assert at(3761, 0.2) is None  # a better epoch puts the end off
    assert at(3821, 0.3) == pytest.approx(420)
