"""The same work over many cases, in as many processes as the machine has cores, with one progress bar and a Cancel."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for_process
from queue import Empty
from typing import Any, TypeVar

import cv2
from threadpoolctl import threadpool_limits

from stainloom.errors import StainloomError
from stainloom.progress import Cancelled, Progress, part, silent

Task = TypeVar("Task")
Result = TypeVar("Result")
Work = Callable[[Task, Progress], Result]

_POLL_S = 0.05
_AHEAD = 2


def cores() -> int:
    """How many processes this machine runs at a time."""
    counted = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, counted)


def over(
    tasks: Sequence[Task], work: Work[Task, Result], *, workers: int | None = None, progress: Progress = silent
) -> Iterator[tuple[Task, Result | StainloomError]]:
    """Do the same work for each task, results in the order of the tasks.

    Parameters
    ----------
    tasks
        What to work on; small, picklable (paths and names, never pixels). The `slide` of a task, where it has one, is
        what the bar says is being worked on.
    work
        A function of a module, `work(task, progress) -> result`.
    workers
        Processes; None takes one a core, 1 works in this process.
    progress
        One bar over all tasks.

    Yields
    ------
    (task, result), or (task, error) where the work failed as `StainloomError`: one bad case does not stop the others.

    Raises
    ------
    Cancelled
        Where the bar said so; the processes have ended by then.
    """
    count = min(workers or cores(), max(1, len(tasks)))
    if count == 1:
        yield from _here(tasks, work, progress)
    else:
        yield from _apart(tasks, work, count, progress)


def _here(
    tasks: Sequence[Task], work: Work[Task, Result], progress: Progress
) -> Iterator[tuple[Task, Result | StainloomError]]:
    for number, task in enumerate(tasks):
        share = part(progress, number / len(tasks), (number + 1) / len(tasks), _slide_of(task))
        try:
            with threadpool_limits(1):
                result: Result | StainloomError = work(task, share)
        except StainloomError as error:
            result = error
        yield task, result


def _apart(
    tasks: Sequence[Task], work: Work[Task, Result], count: int, progress: Progress
) -> Iterator[tuple[Task, Result | StainloomError]]:
    # spawn: fork would copy locks of threads that hold them, and torch's thread pools do not survive it.
    context = multiprocessing.get_context("spawn")
    stop, news = context.Event(), context.Queue()
    shares = [0.0] * len(tasks)
    what = slide = ""
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(stop, news))
    running: dict[int, Future[Result]] = {}
    try:
        submitted = 0
        for number, task in enumerate(tasks):
            while submitted < min(len(tasks), number + count + _AHEAD):
                running[submitted] = pool.submit(_run, work, tasks[submitted], submitted)
                submitted += 1
            future = running.pop(number)
            while not future.done():
                wait([future, *running.values()], timeout=_POLL_S, return_when=FIRST_COMPLETED)
                latest = _drain(news, shares)
                if latest is not None and latest[1]:
                    what, slide = latest[1], _slide_of(tasks[latest[0]])
                progress(sum(shares), len(tasks), what, slide)
            shares[number] = 1.0
            progress(sum(shares), len(tasks), what, slide)
            try:
                result: Result | StainloomError = future.result()
            except StainloomError as error:
                result = error
            except BrokenProcessPool as error:
                raise StainloomError(
                    "a process of this job was ended from outside",
                    found="most often the machine ran out of memory",
                    next="start the job again with --workers 1; what was finished before is kept",
                ) from error
            yield task, result
    except BaseException:
        # Whoever cancels waits for no import and no step of a worker: each tidies up at once (see `_end`).
        stop.set()
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        news.close()
        news.join_thread()


def _slide_of(task: object) -> str:
    return str(getattr(task, "slide", ""))


def _drain(news: Any, shares: list[float]) -> tuple[int, str] | None:
    """Take what the processes said; the number of the task that spoke last, and its words."""
    latest = None
    while True:
        try:
            number, share, what = news.get_nowait()
        except Empty:
            return latest
        shares[number] = max(shares[number], share)
        latest = (number, what)


_stop: Any = None
_news: Any = None
_working = False


def _begin(stop: Any, news: Any) -> None:
    global _stop, _news
    _stop, _news = stop, news
    signal.signal(signal.SIGTERM, _end)
    cv2.setNumThreads(1)
    # Threads of linear algebra that wait for one another doubled the CPU seconds of an alignment.
    threadpool_limits(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end(number: int, frame: Any) -> None:
    """Asked to end: leave no half-made result behind."""
    if not _working:
        os._exit(1)
    raise Cancelled


def _end_with(sentinel: int) -> None:
    """A worker whose parent was killed would wait for work for ever."""
    wait_for_process([sentinel])
    os._exit(1)


def _run(work: Work[Task, Result], task: Task, number: int) -> Result:
    def tell(done: float, total: float, what: str, slide: str = "") -> None:
        if _stop.is_set():
            raise Cancelled
        _news.put((number, min(1.0, done / total) if total > 0 else 1.0, what))

    global _working
    _working = True
    try:
        tell(0, 1, "")
        return work(task, tell)
    finally:
        _working = False
