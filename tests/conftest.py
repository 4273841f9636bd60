"""Fixtures that every room shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_DATA = Path(os.environ.get("STAINLOOM_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")).resolve()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real slides; the test is skipped, with the reason, where it is missing."""
    if not (_DATA / "lung-lesion-3").is_dir():
        pytest.skip("no real slides: set STAINLOOM_DATA to their folder")
    return _DATA


@pytest.fixture(scope="session")
def lung_case(real_data: Path) -> Path:
    """The real five sections with landmarks: folder of `HE.jpg` and the other four, `landmarks/<stain>.csv` (X, Y times 0.1)."""
    return real_data / "lung-lesion-3"
