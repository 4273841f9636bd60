"""The cache of decoded tiles: its bound, one decode per tile, failures, forgetting."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stainloom.geometry import Pixels
from stainloom.io.tiles import TileCache


def tile(value: int, size: int = 10) -> Pixels:
    return np.full((size, size, 3), value, np.uint8)


def test_a_tile_is_made_once_and_kept() -> None:
    cache, made = TileCache(10_000), []
    for _ in range(3):
        got = cache.get("a", lambda: made.append(1) or tile(7))  # type: ignore[func-returns-value]
        assert got[0, 0, 0] == 7
    assert len(made) == 1
    assert cache.bytes == 300


def test_the_least_recently_used_goes_first() -> None:
    cache = TileCache(900)
    for key in "abc":
        cache.get(key, lambda: tile(1))
    cache.get("a", lambda: pytest.fail("a was kept"))
    cache.get("d", lambda: tile(1))
    cache.get("a", lambda: pytest.fail("a was used last but one"))
    with pytest.raises(RuntimeError, match="b is gone"):
        cache.get("b", _failing("b is gone"))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40)), max_size=60), st.integers(0, 9_000))
@settings(max_examples=60, deadline=None)
def test_the_bound_holds_whatever_is_asked(asked: list[tuple[int, int]], most: int) -> None:
    cache = TileCache(most)
    for key, size in asked:
        got = cache.get((key, size), lambda key=key, size=size: tile(key, size))  # type: ignore[misc]
        assert got.shape == (size, size, 3)
        assert (got == key).all()
        assert 0 <= cache.bytes <= most


def test_tiles_are_handed_out_read_only() -> None:
    got = TileCache().get("a", lambda: tile(1))
    with pytest.raises(ValueError, match="read-only"):
        got[0, 0, 0] = 2


def test_a_tile_larger_than_the_cache_is_given_but_not_kept() -> None:
    cache = TileCache(100)
    assert cache.get("a", lambda: tile(3)).shape == (10, 10, 3)
    assert cache.bytes == 0


def test_one_decode_however_many_threads_ask() -> None:
    cache, made, together = TileCache(), [], threading.Barrier(8)

    def make() -> Pixels:
        made.append(threading.get_ident())
        time.sleep(0.05)
        return tile(5)

    def ask(_: int) -> Pixels:
        together.wait()
        return cache.get("a", make)

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(ask, range(8)))
    assert len(made) == 1
    assert all(each is got[0] for each in got)


def test_a_failure_reaches_all_who_wait_and_is_not_kept() -> None:
    cache, inside, asked = TileCache(), threading.Event(), threading.Event()

    def fail() -> Pixels:
        inside.set()
        asked.wait(5)
        time.sleep(0.05)
        raise RuntimeError("no tile")

    def second() -> Pixels:
        asked.set()
        return cache.get("a", lambda: pytest.fail("a second decode of the same tile"))

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get, "a", fail)
        inside.wait(5)
        other = pool.submit(second)
        for each in (first, other):
            with pytest.raises(RuntimeError, match="no tile"):
                each.result(5)
    assert cache.get("a", lambda: tile(1))[0, 0, 0] == 1


def test_an_interrupted_thread_does_not_spoil_the_tile_for_others() -> None:
    cache, inside, asked = TileCache(), threading.Event(), threading.Event()

    def interrupted() -> Pixels:
        inside.set()
        asked.wait(5)
        time.sleep(0.05)
        raise KeyboardInterrupt

    def first() -> None:
        with pytest.raises(KeyboardInterrupt):
            cache.get("a", interrupted)

    def second() -> Pixels:
        asked.set()
        return cache.get("a", lambda: tile(9))

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(first)
        inside.wait(5)
        assert pool.submit(second).result(5)[0, 0, 0] == 9
        one.result(5)


def test_forgetting_a_slide_drops_its_tiles_only_also_those_being_made() -> None:
    cache, mine, other = TileCache(), object(), object()
    cache.get((mine, 0, 0, 0), lambda: tile(1))
    cache.get((other, 0, 0, 0), lambda: tile(2))
    inside, go = threading.Event(), threading.Event()

    def slow() -> Pixels:
        inside.set()
        go.wait(5)
        return tile(3)

    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(cache.get, (mine, 0, 0, 1), slow)
        inside.wait(5)
        cache.forget(mine)
        go.set()
        assert late.result(5)[0, 0, 0] == 3
    assert cache.bytes == 300
    assert cache.get((other, 0, 0, 0), lambda: pytest.fail("not mine"))[0, 0, 0] == 2
    assert cache.get((mine, 0, 0, 1), lambda: tile(4))[0, 0, 0] == 4


def test_making_a_tile_may_ask_for_others() -> None:
    cache = TileCache()
    assert cache.get("outer", lambda: cache.get("inner", lambda: tile(6)).copy())[0, 0, 0] == 6


def test_a_negative_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        TileCache(-1)


def _failing(text: str) -> object:
    def make() -> Pixels:
        raise RuntimeError(text)

    return make
