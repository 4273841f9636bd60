"""The same work over many tasks, here and in processes."""

from __future__ import annotations

import os

import pytest
from threadpoolctl import threadpool_info

from stainloom.errors import SlideError
from stainloom.progress import Cancelled, Progress
from stainloom.workers import cores, over


def _square(task: int, progress: Progress) -> tuple[int, int]:
    progress(1, 2, f"half of {task}")
    if task == 3:
        raise SlideError("the slide is empty", slide="HE.tif", next="scan it again")
    return task * task, os.getpid()


def _threads(task: int, progress: Progress) -> int:
    import numpy as np

    np.ones((4, 4)) @ np.ones((4, 4))
    return max(info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas")


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_and_one_failure_stops_nobody(workers: int) -> None:
    seen: list[float] = []
    results = list(
        over(
            list(range(6)),
            _square,
            workers=workers,
            progress=lambda done, total, what, slide="": seen.append(done / total),
        )
    )
    assert [task for task, _ in results] == list(range(6))
    assert [value[0] for task, value in results if task != 3] == [0, 1, 4, 16, 25]
    failure = results[3][1]
    assert isinstance(failure, SlideError)
    assert (failure.slide, failure.next) == ("HE.tif", "scan it again")
    assert str(failure) == "the slide is empty (file HE.tif). Next: scan it again."
    here = {value[1] for task, value in results if task != 3} == {os.getpid()}
    assert here == (workers == 1)
    assert seen == sorted(seen)
    assert seen[-1] <= 1


@pytest.mark.parametrize("workers", [1, 2])
def test_a_cancel_ends_it(workers: int) -> None:
    def stop(done: float, total: float, what: str, slide: str = "") -> None:
        if done > 0:
            raise Cancelled

    with pytest.raises(Cancelled):
        list(over(list(range(20)), _square, workers=workers, progress=stop))


@pytest.mark.parametrize("workers", [1, 2])
def test_linear_algebra_has_one_thread_a_worker(workers: int) -> None:
    assert {value for _, value in over([0, 1], _threads, workers=workers)} == {1}


def test_there_is_at_least_one_core() -> None:
    assert cores() >= 1
