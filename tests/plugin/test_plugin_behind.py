"""Tests of tiles rendered behind the window: order, what is given up, faults, the end."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from stainloom.io.tiles import TileCache
from stainloom.plugin.behind import Asker, Behind

PIXELS = np.zeros((2, 2, 3), np.uint8)


class Rig:
    """One thread that renders only when it is let."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(1)
        self.behind = Behind(TileCache(1 << 20), self.pool, 1)
        self.made: list[str] = []
        self.go = threading.Event()

    def tile(self, key: str):
        def make() -> np.ndarray:
            self.go.wait(10)
            self.made.append(key)
            if key.startswith("bad"):
                raise OSError("the disk is gone")
            return PIXELS.copy()

        return key, make

    def tiles(self, *keys: str):
        return [self.tile(key) for key in keys]

    def settle(self) -> None:
        self.go.set()
        end = time.monotonic() + 10
        while (self.behind._at_work or not self.behind.idle) and time.monotonic() < end:
            time.sleep(0.002)


@pytest.fixture
def rig():
    made = Rig()
    yield made
    made.go.set()
    made.behind.close()
    made.pool.shutdown()


def test_tiles_come_to_whoever_asked_and_are_handed_out_once(rig):
    asker, told = Asker(), []
    rig.behind.arrived = told.append
    rig.behind.want(asker, rig.tiles("a", "b"))
    assert not rig.behind.idle
    assert rig.behind.take(asker) == {}
    rig.settle()
    assert told == [asker, asker]
    assert sorted(rig.behind.take(asker)) == ["a", "b"]
    assert rig.behind.take(asker) == {}


def test_who_moves_on_leaves_no_queue_behind(rig):
    asker = Asker()
    rig.behind.want(asker, rig.tiles("a1", "a2", "a3", "a4"))
    rig.behind.want(asker, rig.tiles("b1", "b2"))
    rig.settle()
    assert rig.made[-2:] == ["b1", "b2"]
    assert len(rig.made) <= 3  # one of the first view may have been begun
    assert sorted(rig.behind.take(asker)) == ["b1", "b2"]


def test_who_asked_last_comes_first_and_what_is_ahead_comes_last(rig):
    first, last = Asker(), Asker()
    rig.behind.want(first, rig.tiles("begun"))
    rig.behind.want(first, rig.tiles("a"))
    rig.behind.want(last, rig.tiles("b1", "b2"))
    rig.behind.ahead(rig.tiles("c"))
    rig.settle()
    assert rig.made[-4:] == ["b1", "b2", "a", "c"]


def test_a_new_view_gives_up_what_was_rendered_ahead(rig):
    rig.behind.ahead(rig.tiles("a1", "a2", "a3"))
    assert rig.behind.idle  # nobody waits
    rig.behind.want(Asker(), rig.tiles("b"))
    rig.settle()
    assert "a3" not in rig.made
    assert rig.made[-1] == "b"


def test_a_tile_that_cannot_be_rendered_is_told_and_the_others_come(rig):
    asker, errors = Asker(), []
    rig.behind.failed = errors.append
    rig.behind.want(asker, rig.tiles("bad", "good"))
    rig.settle()
    came = rig.behind.take(asker)
    assert came["bad"] is None
    assert came["good"] is not None
    assert [str(error) for error in errors] == ["the disk is gone"]
    assert rig.behind.idle


def test_after_closing_nothing_is_begun(rig):
    rig.behind.want(Asker(), rig.tiles("a", "b", "c"))
    rig.behind.close()
    rig.settle()
    rig.behind.want(Asker(), rig.tiles("d"))
    time.sleep(0.05)
    assert set(rig.made) <= {"a"}


def test_many_threads_render_each_tile_once():
    pool = ThreadPoolExecutor(4)
    behind, made, lock = Behind(TileCache(1 << 24), pool, 4), [], threading.Lock()

    def tile(key: int):
        def make() -> np.ndarray:
            with lock:
                made.append(key)
            return PIXELS.copy()

        return key, make

    askers = [Asker() for _ in range(5)]
    for asker in askers:
        behind.want(asker, [tile(key) for key in range(200)])
    end = time.monotonic() + 20
    while not behind.idle and time.monotonic() < end:
        time.sleep(0.002)
    assert sorted(made) == list(range(200))
    assert all(len(behind.take(asker)) == 200 for asker in askers)
    behind.close()
    pool.shutdown()
