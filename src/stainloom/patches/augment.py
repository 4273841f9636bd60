"""A patch turned and shifted within its surroundings, in one interpolation."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from stainloom.geometry import Box, Pixels


def context_needed_px(size_px: int, shift_px: int, turns: tuple[int, ...]) -> int:
    """Edge of the square that holds every turned and shifted crop without an empty corner."""
    reach = (size_px - 1) / 2
    widest = max(
        (reach * (abs(math.cos(math.radians(turn))) + abs(math.sin(math.radians(turn)))) for turn in turns),
        default=reach,
    )
    return math.ceil(2 * (widest + shift_px) + 1 - 1e-9)


def draw_shifts(boxes: list[Box], turns: tuple[int, ...], shift_px: int, seed: int) -> NDArray[np.int64]:
    """How far each turned crop is shifted, px, (windows, turns, 2); 0 for the unturned original.

    Notes
    -----
    A hash of seed, place, turn and axis, not a running generator: a window's crops do not depend on which other windows
    are cut, nor in which order. Mixing function: G. Steele, D. Lea, C. Flood, OOPSLA 2014, doi 10.1145/2660193.2660195.
    """
    place = np.array([[box.row, box.col] for box in boxes], np.int64).reshape(-1, 2).astype(np.uint64)
    turn = np.array(turns, np.uint64)
    state = _mixed(np.full(len(boxes), seed, np.uint64))
    state = _mixed(_mixed(state ^ place[:, 0]) ^ place[:, 1])
    state = _mixed(state[:, None] ^ turn[None, :])
    drawn = np.stack([_mixed(state ^ np.uint64(axis)) for axis in (1, 2)], axis=-1)
    shifts = (drawn % np.uint64(2 * shift_px + 1)).astype(np.int64) - shift_px
    shifts[:, np.array(turns) == 0] = 0
    return shifts


def _mixed(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


_QUARTERS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


def turn_crop(
    surroundings: Pixels, turn_deg: int, shift_px: tuple[int, int], size_px: int, out: Pixels | None = None
) -> Pixels:
    """The middle of a square, shifted, turned and cropped.

    Parameters
    ----------
    surroundings
        (stains, edge, edge, 3) uint8; the edge is even if the size is even, odd if it is odd.
    turn_deg
        Counter-clockwise as seen.
    shift_px
        (row, col): where the crop's centre lies, from the square's centre.
    size_px
        Edge of the result.
    out
        Where to write, or None.

    Returns
    -------
    (stains, size, size, 3) uint8. A multiple of 90 degrees is exact (no interpolation); others are bilinear.
    """
    edge = surroundings.shape[1]
    start = (edge - size_px) // 2
    row, col = start + shift_px[0], start + shift_px[1]
    result = np.empty((len(surroundings), size_px, size_px, 3), np.uint8) if out is None else out
    turn = turn_deg % 360
    if turn == 0:
        result[:] = surroundings[:, row : row + size_px, col : col + size_px]
        return result
    matrix = _crop_to_square(turn, row, col, size_px)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for picture, target in zip(surroundings, result, strict=True):
        if turn in _QUARTERS:
            cv2.rotate(picture[row : row + size_px, col : col + size_px], _QUARTERS[turn], dst=target)
        else:
            cv2.warpAffine(picture, matrix, (size_px, size_px), target, flags, cv2.BORDER_CONSTANT)
    return result


def _crop_to_square(turn_deg: int, row: int, col: int, size_px: int) -> NDArray[np.float64]:
    """(2, 3): where pixel (x, y) of the crop lies in the square, as cv2 wants it."""
    cos, sin = math.cos(math.radians(turn_deg)), math.sin(math.radians(turn_deg))
    reach = (size_px - 1) / 2
    turned = np.array([[cos, -sin], [sin, cos]])
    centre = np.array([col + reach, row + reach])
    return np.hstack([turned, (centre - turned @ [reach, reach])[:, None]])
