"""Which windows are kept, and why the others are not."""

import cv2
import numpy as np
import pytest

from stainloom.case.aligned import AlignedCase, AlignedStain
from stainloom.case.warp import Warp
from stainloom.errors import PatchError
from stainloom.geometry import ArrayPyramid, Box
from stainloom.patches.select import (
    LACKS_STAIN,
    OFF_SLIDE,
    OFF_TISSUE,
    TOO_LITTLE_LESION,
    TOO_SMALL,
    PatchSettings,
    select_windows,
)
from stainloom.settings import as_json, check, describe

LABEL_UM = (2.0, 2.0)


def slide(rows: int = 600, cols: int = 800, tissue: Box | None = None) -> ArrayPyramid:
    picture = np.full((rows, cols, 3), 245, np.uint8)
    inside = tissue or Box(20, 20, rows - 40, cols - 40)
    picture[inside.within(Box(0, 0, rows, cols))] = (150, 90, 160)
    return ArrayPyramid(picture, 1.0)


def case(**stains: AlignedStain | None) -> AlignedCase:
    everything = {"HE": AlignedStain("HE", slide()), **stains}
    return AlignedCase(tuple(everything), tuple(everything.values()))


def painted(*boxes: tuple[int, Box], rows: int = 300, cols: int = 400) -> np.ndarray:
    raster = np.zeros((rows, cols), np.uint8)
    for value, box in boxes:
        raster[box.within(Box(0, 0, rows, cols))] = value
    return raster


def test_a_full_rectangle_is_cut_and_its_rim_counted() -> None:
    # 50 x 64 label px are 100 x 128 um: 3 x 4 windows, a rim of 5 + 3 smaller ones
    found = select_windows(painted((2, Box(50, 60, 50, 64))), LABEL_UM, case(), [1, 2])
    assert len(found.windows) == 12
    assert found.counts == {TOO_SMALL: 8}
    assert found.lesions == 1
    first = found.windows[0]
    assert (first.lesion_id, first.class_id, first.share, first.present) == (1, 2, 1.0, (True,))
    assert first.box == Box(100, 120, 28, 28)
    assert first.centre_um == (114.0, 134.0)


def test_the_share_of_the_lesion_decides() -> None:
    raster = painted((1, Box(50, 50, 14, 28)))
    raster[50:64, 64 + 4 : 78] = 0  # the right window keeps 4 of 14 columns
    raster[50, 77] = 1  # the rectangle stays, joined below
    raster[50, 64:78] = 1
    found = select_windows(raster, LABEL_UM, case(), [1])
    assert [round(w.share, 3) for w in found.windows] == [1.0]
    assert found.counts == {TOO_LITTLE_LESION: 1}
    loose = select_windows(raster, LABEL_UM, case(), [1], PatchSettings(least_share=0.2))
    assert [round(w.share, 3) for w in loose.windows] == [1.0, round((4 * 14 + 10) / 196, 3)]


def test_lesions_touching_at_a_corner_are_one_and_apart_are_two() -> None:
    corner = painted((1, Box(50, 50, 20, 20)), (1, Box(70, 70, 20, 20)))
    apart = painted((1, Box(50, 50, 20, 20)), (1, Box(71, 71, 20, 20)))
    assert select_windows(corner, LABEL_UM, case(), [1]).lesions == 1
    found = select_windows(apart, LABEL_UM, case(), [1])
    assert found.lesions == 2
    assert {w.lesion_id for w in found.windows} == {1, 2}


def test_overlapping_rectangles_of_two_lesions_count_only_their_own() -> None:
    raster = painted((1, Box(40, 40, 60, 14)), (1, Box(86, 40, 14, 60)), (1, Box(40, 60, 42, 42)))
    found = select_windows(raster, LABEL_UM, case(), [1])
    small = [w for w in found.windows if w.lesion_id == 2]
    angle = [w for w in found.windows if w.lesion_id == 1]
    assert found.lesions == 2
    assert len(small) == 9
    assert len(angle) == 7
    taken = {(w.box.row, w.box.col) for w in small} & {(w.box.row, w.box.col) for w in angle}
    assert not taken


def test_every_window_is_kept_or_counted_once() -> None:
    generator = np.random.default_rng(0)
    blobs = generator.random((30, 40)) < 0.6
    raster = np.kron(blobs, np.ones((10, 10), np.uint8)).astype(np.uint8)
    settings = PatchSettings(least_share=0.6)
    found = select_windows(raster, LABEL_UM, case(), [1], settings)
    _, _, stats, _ = cv2.connectedComponentsWithStats(raster, connectivity=8)
    total = sum(-(-2 * w // 28) * -(-2 * h // 28) for _, _, w, h, _ in stats[1:].tolist())
    assert len(found.windows) + sum(found.counts.values()) == total
    assert all(w.share >= 0.6 for w in found.windows)


def test_off_the_slide_off_the_tissue_and_missing_stains_are_told_apart() -> None:
    shifted = AlignedStain("A", slide(), Warp.from_affine(np.array([[1.0, 0, 0], [0, 1.0, 300]])))
    torn = AlignedStain("B", slide(tissue=Box(20, 20, 560, 300)), Warp.from_affine())
    aligned = case(A=shifted, B=torn, C=None)
    raster = painted((1, Box(50, 20, 14, 380)), (2, Box(0, 100, 14, 14)), (3, Box(2, 5, 28, 5)))
    found = select_windows(raster, LABEL_UM, aligned, [1, 2, 3])
    assert found.counts[OFF_SLIDE] == 2  # the whole of class 2 at the rim, and the right end of class 1
    for window in found.windows:
        col = window.centre_um[1]
        assert window.present[0]
        assert not window.present[3]
        assert window.present[1] == (col + 24 + 300 <= 800 and col + 14 + 300 < 790)
        if abs(col - 320) > 20:
            assert window.present[2] == (col < 320)
    none = select_windows(raster, LABEL_UM, aligned, [1, 2, 3], PatchSettings(every_stain=True))
    assert none.windows == ()
    assert none.counts[LACKS_STAIN] == len(found.windows)


def test_a_lesion_painted_beside_the_tissue_is_left_out() -> None:
    reference = AlignedStain("HE", slide(tissue=Box(20, 20, 560, 300)))
    found = select_windows(painted((1, Box(100, 250, 28, 28))), LABEL_UM, AlignedCase(("HE",), (reference,)), [1])
    assert found.windows == ()
    assert found.counts[OFF_TISSUE] == 4


def test_another_scale_and_size() -> None:
    settings = PatchSettings(size_px=16, um_per_px=4.0, context_px=32, shift_px=2)
    found = select_windows(painted((1, Box(64, 64, 96, 64))), LABEL_UM, case(), [1], settings)
    assert len(found.windows) == 6
    assert found.windows[0].centre_um == (160.0, 160.0)


def test_nothing_painted_and_nothing_in_use_say_so() -> None:
    with pytest.raises(PatchError, match=r"no lesion is painted.*Found: none"):
        select_windows(painted(), LABEL_UM, case(), [1])
    with pytest.raises(PatchError, match="only classes that are not in use"):
        select_windows(painted((7, Box(50, 50, 30, 30))), LABEL_UM, case(), [1])


def test_a_case_without_its_reference_says_so() -> None:
    aligned = AlignedCase(("HE", "A"), (None, AlignedStain("A", slide(), Warp.from_affine())))
    with pytest.raises(PatchError, match="no reference"):
        select_windows(painted((1, Box(50, 50, 30, 30))), LABEL_UM, aligned, [1])


@pytest.mark.parametrize(
    "wrong",
    [
        {"context_px": 40},
        {"context_px": 49},
        {"turns": (60,)},
        {"turns": (0, 60, 60)},
        {"turns": (0, 360)},
        {"shift_px": 20},
    ],
)
def test_settings_with_empty_corners_or_no_original_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"context_px at least|start with 0"):
        PatchSettings(**wrong)  # type: ignore[arg-type]


def test_settings_are_described_and_checked() -> None:
    assert all(field.help for field in describe(PatchSettings))
    assert check(PatchSettings, as_json(PatchSettings())) == PatchSettings()
    with pytest.raises(ValueError, match="size_px"):
        check(PatchSettings, {"size_px": 5000})
