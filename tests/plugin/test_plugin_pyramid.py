"""Tests of slides as napari slices them: levels, tiles, the bound of memory."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stainloom.case.aligned import AlignedStain
from stainloom.case.warp import Warp
from stainloom.geometry import ArrayPyramid, Box, Size, tiles
from stainloom.plugin.pyramid import (
    TILE_PX,
    ReferenceGrid,
    Renderer,
    TiledLevel,
    checkerboard_levels,
    checkerboard_turn,
)
from stainloom.plugin.pyramid import stain_levels as levels_of


@pytest.fixture
def renderer():
    made = Renderer()
    yield made
    made.close()


def noise(rows: int, cols: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (rows, cols, 3), dtype=np.uint8)


@given(rows=st.integers(1, 90_000), cols=st.integers(1, 90_000))
@settings(max_examples=200, deadline=None)
def test_shapes_stand_in_the_ratio_of_um_per_px(rows, cols):
    class Slide:
        levels = (Size(rows, cols),)
        um_per_px = ((0.25, 0.26),)

    grid = ReferenceGrid.of(Slide())
    first = grid.sizes[0]
    assert rows <= first.rows < rows + 2 ** len(grid.sizes)
    assert cols <= first.cols < cols + 2 ** len(grid.sizes)
    assert max(grid.sizes[-1].shape) <= 513
    for size, scale in zip(grid.sizes, grid.um_per_px, strict=True):
        for axis in (0, 1):
            assert first.shape[axis] / size.shape[axis] == scale[axis] / grid.um_per_px[0][axis]


def test_nothing_is_read_before_a_box_is_asked_for(renderer):
    asked: list[Box] = []

    class Slide(ArrayPyramid):
        def read(self, level, box):
            asked.append(box)
            return super().read(level, box)

    level = levels_of(
        AlignedStain("HE", Slide(noise(3000, 2500), 0.5)), ReferenceGrid.of(Slide(noise(3000, 2500), 0.5)), renderer
    )[0]
    assert (level.shape, level.dtype, level.ndim, level.chunks) == ((3000, 2504, 3), np.uint8, 3, (512, 512, 3))
    assert asked == []
    level[600:700, 600:800]
    assert len(asked) == 1
    assert max(asked[0].rows, asked[0].cols) <= TILE_PX + 4


def test_a_tiled_read_equals_the_whole_in_one_piece(renderer):
    turn = Warp.from_affine(np.array([[0.99, -0.05, 30.0], [0.05, 1.01, -20.0]]))
    stain = AlignedStain("VG", ArrayPyramid(noise(1500, 1400), 0.5), turn, lambda rgb: 255 - rgb)
    grid = ReferenceGrid.of(ArrayPyramid(noise(1500, 1400), 0.5))
    for level, size, scale in zip(levels_of(stain, grid, renderer), grid.sizes, grid.um_per_px, strict=True):
        once = stain.read(Box(0, 0, size.rows, size.cols), scale)
        np.testing.assert_array_equal(np.asarray(level), once)
        np.testing.assert_array_equal(level[37:901, 5:333], once[37:901, 5:333])


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_indexing_is_numpys(data):
    array = noise(700, 600)
    quick = Renderer()
    level = TiledLevel(Size(700, 600), lambda box: array[box.row : box.row_end, box.col : box.col_end], quick)

    def index(length):
        ends = st.none() | st.integers(-length - 5, length + 5)
        return st.integers(-length, length - 1) | st.builds(slice, ends, ends, st.sampled_from([None, 1, 2, 7]))

    key = (data.draw(index(700)), data.draw(index(600)), data.draw(st.sampled_from([slice(None), 0, -1, slice(0, 2)])))
    key = key[: data.draw(st.integers(1, 3))]
    np.testing.assert_array_equal(level[key], array[key])
    np.testing.assert_array_equal(level[..., 1], array[..., 1])
    quick.close()


@pytest.mark.parametrize("key", [700, -701, (0, 600), (slice(None, None, -1),)])
def test_an_index_outside_is_refused(renderer, key):
    level = TiledLevel(Size(700, 600), lambda box: np.zeros((*box.shape, 3), np.uint8), renderer)
    with pytest.raises(IndexError):
        level[key]


def test_a_whole_slide_is_never_read_in_one_piece(renderer):
    def draw(box):
        raise AssertionError("a tile of a refused read was rendered")

    level = TiledLevel(Size(40_000, 30_000), draw, renderer)
    with pytest.raises(ValueError, match="coarser level"):
        np.asarray(level)


def test_each_tile_is_rendered_once_however_many_ask():
    renderer = Renderer(threads=4)
    drawn: list[Box] = []
    lock = threading.Lock()

    def draw(box):
        with lock:
            drawn.append(box)
        return np.zeros((*box.shape, 3), np.uint8)

    level = TiledLevel(Size(2000, 2000), draw, renderer)
    askers = [threading.Thread(target=lambda: level[0:1500, 0:1500]) for _ in range(6)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert sorted((b.row, b.col) for b in drawn) == [(r, c) for r in (0, 512, 1024) for c in (0, 512, 1024)]
    renderer.close()


def test_the_bound_of_memory_holds_over_all_layers():
    most = 5 * TILE_PX * TILE_PX * 3
    renderer = Renderer(bytes_most=most)
    levels = [TiledLevel(Size(4096, 4096), lambda box: np.zeros((*box.shape, 3), np.uint8), renderer) for _ in range(3)]
    for level in levels:
        for box in tiles(Size(4096, 4096), 1000):
            level.read(box)
            assert 0 < renderer.bytes <= most
    renderer.close()


def test_after_closing_layers_are_white_and_nothing_is_rendered():
    renderer = Renderer()

    def draw(box):
        raise AssertionError("rendered after closing")

    level = TiledLevel(Size(1000, 1000), draw, renderer)
    renderer.close()
    assert (level[0:1000, 0:1000] == 255).all()


def test_an_error_of_the_slide_reaches_whoever_looks(renderer):
    def draw(box):
        raise OSError("the disk is gone")

    level = TiledLevel(Size(1000, 1000), draw, renderer)
    with pytest.raises(OSError, match="disk is gone"):
        level[0:1000, 0:1000]


def test_the_checkerboard_shows_each_cell_in_its_stain(renderer):
    stains = [AlignedStain(str(n), ArrayPyramid(np.full((1100, 1300, 3), 40 * n, np.uint8), 1.0)) for n in range(5)]
    grid = ReferenceGrid.of(stains[0].pyramid)
    board = checkerboard_levels([levels_of(s, grid, renderer) for s in stains], grid, 100.0, renderer)
    for level, scale in zip(board, grid.um_per_px, strict=True):
        for row, col in ((0, 0), (1, 0), (4, 7), (10, 12)):
            place = tuple(int((n * 100 + 50) / step) for n, step in zip((row, col), scale, strict=True))
            assert level[place].tolist() == [40 * checkerboard_turn(row, col, 5)] * 3


@pytest.mark.parametrize("stains", [2, 3, 4, 5, 7])
def test_neighbouring_cells_differ_and_every_stain_comes(stains):
    rows, cols = np.mgrid[:20, :20]
    turn = checkerboard_turn(rows, cols, stains)
    assert (turn[:, 1:] != turn[:, :-1]).all()
    assert (turn[1:] != turn[:-1]).all()
    assert set(np.unique(turn)) == set(range(stains))


def settle(renderer) -> None:
    end = time.monotonic() + 10
    while not renderer.behind.idle and time.monotonic() < end:
        time.sleep(0.002)


def smooth(rows: int, cols: int) -> np.ndarray:
    """A picture whose coarse levels look like its fine ones."""
    ramp = np.linspace(0, 200, rows)[:, None] + np.linspace(0, 50, cols)
    return np.repeat(ramp[..., None], 3, axis=-1).astype(np.uint8)


def test_slicing_for_the_screen_waits_for_no_tile_and_ends_exact(renderer):
    picture = smooth(3000, 2600)
    stain = AlignedStain("HE", ArrayPyramid(picture, 0.5))
    levels = levels_of(stain, ReferenceGrid.of(stain.pyramid), renderer)
    np.asarray(levels[-1])
    go = threading.Event()
    draw = levels[0]._draw["normalized"]
    levels[0]._draw = {"normalized": lambda box: go.wait(10) and draw(box)}
    with renderer.for_screen():
        first = levels[0][512:2048, 512:2048]
    assert not go.is_set()
    assert np.abs(first.astype(int) - picture[512:2048, 512:2048]).max() < 12  # coarse, and of the same place
    assert (first != picture[512:2048, 512:2048]).any()
    go.set()
    settle(renderer)
    with renderer.for_screen():
        again = levels[0][512:2048, 512:2048]
    np.testing.assert_array_equal(again, picture[512:2048, 512:2048])
    assert np.shares_memory(first, again)


def test_finer_tiles_that_are_there_are_taken_before_coarser_ones(renderer):
    picture = smooth(3000, 2600)
    stain = AlignedStain("HE", ArrayPyramid(picture, 0.5))
    levels = levels_of(stain, ReferenceGrid.of(stain.pyramid), renderer)
    wanted = levels[1].read(Box(512, 512, 256, 256))
    asked = []
    renderer.behind.want = lambda asker, tiles: asked.append(len(tiles))
    with renderer.for_screen():
        shown = levels[0][1024:1536, 1024:1536]
    np.testing.assert_array_equal(shown[1:-1:2, 1:-1:2].shape, (255, 255, 3))
    assert np.abs(shown.reshape(256, 2, 256, 2, 3).mean(axis=(1, 3)) - wanted).max() <= 1
    assert asked == [1]


def test_outside_the_screen_an_index_is_exact_and_a_box_kept_on_the_screen_is_not_touched(renderer):
    picture = noise(1600, 1600)
    stain = AlignedStain("HE", ArrayPyramid(picture, 0.5))
    levels = levels_of(stain, ReferenceGrid.of(stain.pyramid), renderer)
    with renderer.for_screen():
        levels[0][0:1024, 0:1024]
    np.testing.assert_array_equal(levels[0][100:1500, 3:900], picture[100:1500, 3:900])


def test_a_view_larger_than_the_cache_ends_exact_all_the_same():
    small = Renderer(bytes_most=2 * TILE_PX * TILE_PX * 3)
    picture = noise(2048, 2048)
    stain = AlignedStain("HE", ArrayPyramid(picture, 0.5))
    levels = levels_of(stain, ReferenceGrid.of(stain.pyramid), small)
    with small.for_screen():
        levels[0][:]
    settle(small)
    with small.for_screen():
        np.testing.assert_array_equal(levels[0][:], picture)
    assert small.behind.idle
    small.close()


def test_a_tile_that_cannot_be_read_is_gray_on_the_screen_and_an_error_elsewhere(renderer):
    def draw(box):
        if box.row == 0 and box.col == 0:
            raise OSError("the disk is gone")
        return np.full((*box.shape, 3), 7, np.uint8)

    coarser = TiledLevel(Size(512, 512), lambda box: np.full((*box.shape, 3), 9, np.uint8), renderer)
    level = TiledLevel(Size(1024, 1024), draw, renderer, coarser)
    said = []
    renderer.behind.failed = said.append
    with renderer.for_screen():
        assert (level[:] == 9).all()
    settle(renderer)
    with renderer.for_screen():
        shown = level[:]
    assert (shown[:512, :512] == 160).all()
    assert (shown[512:] == 7).all()
    assert len(said) == 1
    with pytest.raises(OSError, match="disk is gone"):
        level[:]
