"""All stains of a case on the reference grid."""

import numpy as np

from stainloom.case.aligned import AlignedCase, AlignedStain
from stainloom.case.warp import Warp
from stainloom.geometry import ArrayPyramid, Box


def test_stains_lie_on_one_another_and_missing_ones_are_white() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 200, (120, 120, 3), dtype=np.uint8)
    moved = np.full((120, 120, 3), 255, np.uint8)
    moved[7:, 9:] = picture[:-7, :-9]
    warp = Warp.from_affine(np.array([[1.0, 0, 7], [0, 1.0, 9]]))
    case = AlignedCase(
        ("HE", "SMA", "VG"),
        (
            AlignedStain("HE", ArrayPyramid(picture, 1.0)),
            AlignedStain("SMA", ArrayPyramid(moved, 1.0), warp, lambda pixels: 255 - pixels),
            None,
        ),
    )
    box = Box(20, 30, 50, 60)
    read = case.read(box, 1.0)
    assert read.shape == (3, 50, 60, 3)
    assert (read[0] == picture[20:70, 30:90]).all()
    assert (read[1] == 255 - read[0]).all()
    assert read[2].min() == 255
    inside = case.inside(Box(0, 0, 120, 120), 1.0)
    assert inside[0].all()
    assert not inside[2].any()
    assert inside[1, :113, :111].all()
    assert not inside[1, 113:].any()
