"""Every job of the road, cancelled, stopped with its window and killed: no process is left, results are whole or absent."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stainloom import jobs
from stainloom.plugin.job import Job, JobQueue

pytestmark = pytest.mark.screen

SMALL = ("--features", "32", "--epoch-samples", "64", "--threads", "1", "--batch", "16", "--warmup-steps", "5")
ROAD = {
    "simulate": ("--patients", "40"),
    "register": (),
    "transfer": (),
    "normalize": (),
    "export": (),
    "train": (*SMALL, "--most-epochs", "400", "--learn-epochs", "400"),
    "predict": (),
    "report": (),
}


@pytest.fixture(scope="module")
def walked(aligned_study, tmp_path_factory) -> Path:
    """A study with something for every job to do."""
    home = tmp_path_factory.mktemp("walked")
    shutil.copytree(aligned_study.parent, home, dirs_exist_ok=True)
    study = home / "study"
    steps = (
        ("normalize", str(study)),
        ("export", str(study)),
        ("train", str(study), *SMALL, "--most-epochs", "3", "--learn-epochs", "3"),
    )
    for words in steps:
        ended = subprocess.run(
            [sys.executable, "-m", "stainloom.cli", *words], capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr[-1500:]
    return study


@pytest.fixture
def study(walked, tmp_path) -> Path:
    """A copy of it."""
    shutil.copytree(walked.parent, tmp_path / "study")
    return tmp_path / "study" / "study"


def under_way(name: str, study: Path, qtbot) -> Job:
    """A job that has begun to work."""
    target = study.with_name("another") if name == "simulate" else study
    job = Job(name, [name, str(target), *ROAD[name]])
    with qtbot.waitSignal(job.progressed, timeout=120_000):
        job.start()
    return job


def processes(job: Job) -> bool:
    """Whether anything of a job is left: it, or a worker that it started."""
    try:
        os.killpg(job._child.pid, 0)
    except ProcessLookupError:
        return False
    return True


def whole(study: Path, before: jobs.StudyState, job: Job) -> None:
    """The study opens, and holds what it held and whole new results: nothing half-made, nothing lost."""
    left = [path for path in study.parent.rglob("*") if path.name.startswith(".") and path.name.endswith(".part")]
    # A job that a busy machine gave no time to answer was killed; what it had begun is swept by the next of its kind.
    assert left == [] or job._child.returncode == -signal.SIGKILL
    after = jobs.survey(study)
    assert not [case.problem for case in after.cases if case.problem]
    assert set(after.runs) >= set(before.runs)
    assert set(after.patchsets) >= set(before.patchsets)
    for case in after.cases:
        view = jobs.open_view(study, case.name)
        view.close()


@pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX's")
@pytest.mark.parametrize("name", ROAD)
def test_cancel_ends_every_job_and_leaves_whole_results(name, study, qtbot):
    before = jobs.survey(study)
    job = under_way(name, study, qtbot)
    began = time.monotonic()
    with qtbot.waitSignal(job.ended, timeout=20_000) as ended:
        job.cancel()
    took = time.monotonic() - began
    assert ended.args[0].ending in ("cancelled", "done")
    qtbot.waitUntil(lambda: not processes(job), timeout=3000)
    whole(study, before, job)
    keep_figure(f"cancel {name}", took)


def keep_figure(name: str, seconds: float) -> None:
    """How long it took, for whoever asks by naming a file in STAINLOOM_CANCELS."""
    if place := os.environ.get("STAINLOOM_CANCELS"):
        file = Path(place)
        kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        file.write_text(json.dumps({**kept, name: round(seconds, 3)}, indent=1), encoding="utf-8")


@pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX's")
@pytest.mark.parametrize("name", ROAD)
def test_a_window_that_stops_every_job_leaves_no_process(name, study, qtbot):
    before = jobs.survey(study)
    job, queue = under_way(name, study, qtbot), JobQueue()
    queue.current = job
    queue.stop()
    assert not job.running
    qtbot.waitUntil(lambda: not processes(job), timeout=3000)
    whole(study, before, job)


@pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX's")
@pytest.mark.parametrize("name", ["register", "train"])
def test_a_job_killed_from_outside_is_told_and_leaves_no_worker(name, study, qtbot):
    job = under_way(name, study, qtbot)
    with qtbot.waitSignal(job.ended, timeout=20_000) as ended:
        os.kill(job._child.pid, signal.SIGKILL)
    assert ended.args[0].ending == "died"
    assert "ended from outside" in ended.args[0].problems[0]["what"]
    qtbot.waitUntil(lambda: not processes(job), timeout=10_000)
    assert not [case.problem for case in jobs.survey(study).cases if case.problem]
