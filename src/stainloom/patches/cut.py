"""Patches of all stains, cut region by region: each region is read once, each patch turned and cropped from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stainloom.case.aligned import AlignedCase
from stainloom.geometry import Box, Pixels
from stainloom.patches.augment import draw_shifts, turn_crop
from stainloom.patches.select import PatchSettings, Window
from stainloom.progress import Progress, silent

_REGION_PX = 1024
_BLOCK = 256


class Block(NamedTuple):
    """Some patches: which windows (positions in the sequence given), and their pixels (k, turns, stains, size, size, 3)."""

    windows: NDArray[np.int64]
    patches: Pixels


def cut_patches(
    aligned: AlignedCase,
    windows: Sequence[Window],
    settings: PatchSettings | None = None,
    *,
    progress: Progress = silent,
) -> Iterator[Block]:
    """The pixels of windows, in all stains and all turns.

    Parameters
    ----------
    aligned
        The stains on the reference grid, with their colours normalized or not.
    windows
        From `select_windows`, with the same settings.
    settings
        Size, scale, turns, shifts.

    Yields
    ------
    Blocks of at most 256 windows, region by region: not in the order of the windows, so use `Block.windows`. A window's patches
    do not depend on the other windows. Stains that are missing are white.

    Notes
    -----
    A region of at most 1,024 px and the context around it is read once (the registration's one interpolation). Turns by
    multiples of 90 degrees add none; other turns add one bilinear interpolation, turn and crop together.
    """
    chosen = settings or PatchSettings()
    margin = (chosen.context_px - chosen.size_px) // 2
    shifts = draw_shifts([window.box for window in windows], chosen.turns, chosen.shift_px, chosen.seed)
    done = 0
    for members in _by_region(windows):
        region = _covering([windows[k].box for k in members]).grow(margin)
        progress(done, len(windows), "cutting patches")
        pixels = aligned.read(region, chosen.um_per_px)
        for start in range(0, len(members), _BLOCK):
            progress(done, len(windows), "cutting patches")
            part = members[start : start + _BLOCK]
            yield Block(np.array(part, np.int64), _cut(pixels, region, windows, part, shifts, chosen))
            done += len(part)
    progress(len(windows), max(1, len(windows)), "cutting patches")


def _by_region(windows: Sequence[Window]) -> list[list[int]]:
    regions: dict[tuple[int, int], list[int]] = {}
    for number, window in enumerate(windows):
        regions.setdefault((window.box.row // _REGION_PX, window.box.col // _REGION_PX), []).append(number)
    return [regions[key] for key in sorted(regions)]


def _covering(boxes: Sequence[Box]) -> Box:
    row, col = min(box.row for box in boxes), min(box.col for box in boxes)
    return Box(row, col, max(box.row_end for box in boxes) - row, max(box.col_end for box in boxes) - col)


def _cut(
    pixels: Pixels,
    region: Box,
    windows: Sequence[Window],
    members: Sequence[int],
    shifts: NDArray[np.int64],
    settings: PatchSettings,
) -> Pixels:
    size, margin = settings.size_px, (settings.context_px - settings.size_px) // 2
    result = np.empty((len(members), len(settings.turns), len(pixels), size, size, 3), np.uint8)
    for place, number in enumerate(members):
        down, across = windows[number].box.grow(margin).within(region)
        surroundings = pixels[:, down, across]
        for turn, degrees in enumerate(settings.turns):
            row, col = shifts[number, turn]
            turn_crop(surroundings, degrees, (int(row), int(col)), size, result[place, turn])
    return result
