"""The contact sheet holds simulated and real pieces side by side."""

from __future__ import annotations

import numpy as np
import pytest

from stainloom.sample.aorta import SimulationSettings, simulate_block
from stainloom.sample.sheet import contact_sheet


def test_sheet_shows_each_stain_and_the_real_picture() -> None:
    block = simulate_block(SimulationSettings(patients=1, width_um=400.0, height_um=400.0), 0)
    green = np.zeros((50, 300, 3), np.uint8)
    green[..., 1] = 201
    sheet = contact_sheet([block], {"HE": green}, tile_px=80)
    assert sheet.shape == (5 * (80 + 24), 2 * (80 + 6), 3)
    assert np.all(sheet[18:68, 86:166] == (0, 201, 0))
    pieces = [sheet[k * 104 + 18 : k * 104 + 98, :80].reshape(-1, 3).mean(axis=0) for k in range(5)]
    assert min(np.abs(a - b).max() for i, a in enumerate(pieces) for b in pieces[:i]) > 5


def test_a_sheet_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="0 blocks"):
        contact_sheet([], {})
