"""Sample data: one simulated block of the aortic wall in five stains, aligned."""

from __future__ import annotations

from pathlib import Path

from napari.utils import progress
from platformdirs import user_cache_path
from qtpy.QtCore import QEventLoop

from stainloom import __version__
from stainloom.errors import CaseError
from stainloom.plugin.job import Job, JobQueue, Result
from stainloom.plugin.layers import LayerData
from stainloom.plugin.trial import Chain, trial_steps


def simulated_aorta() -> list[LayerData]:
    """One simulated block, made and aligned on first use and kept in the user's cache folder."""
    from stainloom import jobs
    from stainloom.plugin.reader import open_in_window

    return open_in_window(jobs.open_view(make_sample(sample_folder()), None))


def sample_folder() -> Path:
    """Where the sample of this version is kept."""
    return user_cache_path("stainloom", appauthor=False) / "samples" / f"aorta-{__version__}"


def make_sample(folder: Path) -> Path:
    """The study of the sample, made where it is not there yet: whole or not at all.

    Notes
    -----
    The jobs run as child processes, as all jobs do: they would freeze the window, and no process with a window may load
    what training needs.
    """
    from stainloom.io.files import new_folder

    study = folder / "study"
    if not (study / "study.json").is_file():
        with new_folder(folder) as beside:
            result = _wait_for(Chain(trial_steps(beside / "study", patients=1), _run_in(JobQueue())))
            if result.ending != "done":
                raise CaseError(
                    "the simulated sample could not be made",
                    found=str(result.problems[0]["what"]) if result.problems else f"the job was {result.ending}",
                    next="free some disk space, or run 'stainloom demo' to see the whole message",
                )
    return study


def _run_in(queue: JobQueue):
    def run(title, words, ended):
        job = Job(title, words)
        job.ended.connect(ended)
        queue.add(job)
        return job

    return run


def _wait_for(chain: Chain) -> Result:
    """Run jobs to their end; the window draws meanwhile, and takes no input."""
    results: list[Result] = []
    loop = QEventLoop()
    chain.ended.connect(results.append)
    chain.ended.connect(loop.quit)
    with progress(total=len(chain.steps), desc="Simulated aorta") as bar:
        chain.started.connect(lambda job, _: bar.set_description(f"Simulated aorta: {job.title}"))
        chain.done.connect(lambda _: bar.update(1))
        chain.start()
        loop.exec(QEventLoop.ProcessEventsFlag.ExcludeUserInputEvents)
    return results[0]
