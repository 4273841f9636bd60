"""Small pictures of slides."""

from __future__ import annotations

import numpy as np
import pytest

from stainloom import jobs
from stainloom.errors import CaseError


def test_a_thumbnail_has_its_longer_side_and_tissue(tiny_case):
    small = jobs.thumbnail(tiny_case, "S01", "Masson", px=64)
    assert max(small.shape[:2]) == 64
    assert small.dtype == np.uint8
    assert (small.min(axis=2) < 200).mean() > 0.1


def test_an_aligned_stain_lies_on_the_reference_and_its_own_glass_lies_elsewhere(tiny_case):
    def tissue(picture):
        return picture.min(axis=2) < 215

    he = tissue(jobs.thumbnail(tiny_case, "S01", "HE", px=128))
    aligned = tissue(jobs.thumbnail(tiny_case, "S01", "VG", px=128))
    glass = tissue(jobs.thumbnail(tiny_case, "S01", "VG", px=128, aligned=False))[: he.shape[0], : he.shape[1]]
    assert (he == aligned).mean() > (he[: glass.shape[0], : glass.shape[1]] == glass).mean()


def test_a_checkerboard_has_both_stains(tiny_case):
    mixed = jobs.thumbnail(tiny_case, "S01", "SMA", px=120, checkered=True)
    he = jobs.thumbnail(tiny_case, "S01", "HE", px=120)
    sma = jobs.thumbnail(tiny_case, "S01", "SMA", px=120)
    from_he, from_sma = (mixed == he).all(axis=2), (mixed == sma).all(axis=2)
    assert (from_he | from_sma).all()
    assert from_he[:20, :20].all()
    assert from_sma[:20, 20:40].all()


def test_a_slide_that_is_not_there_is_a_message(tiny_case):
    with pytest.raises(CaseError, match="no such slide"):
        jobs.thumbnail(tiny_case, "S01", "Nothing")
