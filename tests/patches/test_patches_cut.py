"""Cutting: the right pixels, whatever the regions."""

import numpy as np
import pytest

from stainloom.case.aligned import AlignedCase, AlignedStain
from stainloom.case.warp import Warp
from stainloom.geometry import ArrayPyramid, Box, Pixels
from stainloom.patches import cut
from stainloom.patches.augment import draw_shifts
from stainloom.patches.cut import cut_patches
from stainloom.patches.select import PatchSettings, Window
from stainloom.progress import Cancelled

PICTURE = np.random.default_rng(0).integers(0, 256, (700, 900, 3), dtype=np.uint8)
MOVED = Warp.from_affine(np.array([[0.0, 1.0, 3.0], [-1.0, 0.0, 700.0]]))  # a quarter turn
ALIGNED = AlignedCase(
    ("HE", "turned", "none"),
    (
        AlignedStain("HE", ArrayPyramid(PICTURE, 1.0)),
        AlignedStain("turned", ArrayPyramid(PICTURE, 1.0), MOVED),
        None,
    ),
)


def window(row: int, col: int) -> Window:
    return Window(1, 1, Box(row, col, 28, 28), (row + 14.0, col + 14.0), 1.0, (True, True, False))


WINDOWS = [window(row, col) for row, col in [(300, 400), (20, 30), (610, 800), (300, 428), (290, 413), (20, 600)]]


def gathered(windows: list[Window], settings: PatchSettings | None = None) -> Pixels:
    chosen = settings or PatchSettings()
    result = np.zeros((len(windows), len(chosen.turns), 3, chosen.size_px, chosen.size_px, 3), np.uint8)
    for block in cut_patches(ALIGNED, windows, chosen):
        result[block.windows] = block.patches
    return result


def test_the_original_is_the_picture_itself_in_every_stain() -> None:
    patches = gathered(WINDOWS)
    for number, each in enumerate(WINDOWS):
        box = each.box
        assert np.array_equal(patches[number, 0, 0], PICTURE[box.row : box.row_end, box.col : box.col_end])
        assert np.array_equal(patches[number, 0], ALIGNED.read(box, 1.0))
    assert (patches[:, :, 2] == 255).all()


def test_turned_crops_are_the_shifted_picture_turned_alike_in_all_stains() -> None:
    settings = PatchSettings(seed=5)
    patches = gathered(WINDOWS, settings)
    shifts = draw_shifts([each.box for each in WINDOWS], settings.turns, settings.shift_px, 5)
    for number, each in enumerate(WINDOWS):
        for turn in (2, 3, 4):
            row, col = (int(v) for v in shifts[number, turn])
            box = Box(each.box.row + row, each.box.col + col, 28, 28)
            expected = np.rot90(ALIGNED.read(box, 1.0), settings.turns[turn] // 90, axes=(1, 2))
            assert np.array_equal(patches[number, turn], expected)


def test_windows_alone_together_backwards_and_in_other_regions_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    together = gathered(WINDOWS)
    assert np.array_equal(together[::-1], gathered(WINDOWS[::-1]))
    for number, each in enumerate(WINDOWS):
        assert np.array_equal(together[number], gathered([each])[0])
    monkeypatch.setattr(cut, "_REGION_PX", 64)
    monkeypatch.setattr(cut, "_BLOCK", 2)
    assert np.array_equal(together, gathered(WINDOWS))


def test_no_turn_has_an_empty_corner_even_at_the_largest_shift() -> None:
    # black comes only from outside what was read: the picture has none
    grey = AlignedCase(("HE",), (AlignedStain("HE", ArrayPyramid(np.full((400, 400, 3), 90, np.uint8), 1.0)),))
    windows = [window(row, col) for row in range(12, 350, 28) for col in range(12, 350, 28)]
    for block in cut_patches(grey, windows, PatchSettings(turns=(0, 45, 60, 135, 290))):
        assert (block.patches == 90).all()


def test_regions_stay_small(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = []
    read = AlignedCase.read

    def watched(self: AlignedCase, box: Box, um_per_px: float) -> Pixels:
        largest.append(max(box.shape))
        return read(self, box, um_per_px)

    monkeypatch.setattr(AlignedCase, "read", watched)
    gathered([window(10, 10), window(600, 850), window(3000, 4000)])
    assert len(largest) == 2
    assert max(largest) <= 1024 + 28 + 20


def test_it_reports_and_can_be_stopped() -> None:
    seen: list[float] = []
    list(cut_patches(ALIGNED, WINDOWS, progress=lambda done, total, what, slide="": seen.append(done / total)))
    assert seen == sorted(seen)
    assert seen[-1] == 1

    def stop(done: float, total: float, what: str, slide: str = "") -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        list(cut_patches(ALIGNED, WINDOWS, progress=stop))


def test_no_windows_give_no_blocks() -> None:
    assert list(cut_patches(ALIGNED, [])) == []
