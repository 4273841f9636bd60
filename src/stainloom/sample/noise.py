"""Chance as a function of place: hashes of lattice cells, and periodic noise read at absolute tissue coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

BYTES_PER_SIGMA = 42.0
"""Grey levels of a noise texture per standard deviation; 128 is the mean."""

# cv2.remap refuses pictures of more columns than a short integer counts.
_REMAP_COLS = 1024
_MIX = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def chance(seed: int, *keys: NDArray[Any] | int) -> NDArray[np.float64]:
    """A uniform number in [0, 1) for each lattice cell, the same whoever asks and in whatever order.

    Parameters
    ----------
    seed
        Of the block.
    keys
        Whole numbers that name the cell; arrays broadcast.

    References
    ----------
    The finaliser of SplitMix64: Steele, Lea, Flood, OOPSLA 2014, doi 10.1145/2660193.2660195.
    """
    with np.errstate(over="ignore"):
        state = np.asarray(seed & 0xFFFFFFFFFFFFFFFF, np.uint64)
        for key in keys:
            state = (state ^ np.asarray(key, np.int64).astype(np.uint64)) + np.uint64(_MIX[0])
            state = (state ^ (state >> np.uint64(30))) * np.uint64(_MIX[1])
            state = (state ^ (state >> np.uint64(27))) * np.uint64(_MIX[2])
            state = state ^ (state >> np.uint64(31))
    uniform: NDArray[np.float64] = (state >> np.uint64(11)).astype(np.float64) / 2.0**53
    return uniform


def generator(*keys: int) -> np.random.Generator:
    """A generator of random numbers for one purpose, named by whole numbers of at least 0."""
    return np.random.default_rng(list(keys))


def smooth_noise(rng: np.random.Generator, px: int, sigma_rows: float, sigma_cols: float) -> Floats:
    """Periodic Gaussian noise, (px, px) float32, mean 0 and standard deviation 1, smoothed by two sigmas in px."""
    pad = int(np.ceil(3 * max(sigma_rows, sigma_cols))) + 1
    white = rng.standard_normal((px, px), dtype=np.float32)
    if max(sigma_rows, sigma_cols) > 0:
        wide = cv2.copyMakeBorder(white, pad, pad, pad, pad, cv2.BORDER_WRAP)
        wide = cv2.GaussianBlur(wide, (0, 0), sigmaX=max(sigma_cols, 1e-3), sigmaY=max(sigma_rows, 1e-3))
        white = np.asarray(wide[pad : pad + px, pad : pad + px], np.float32)
    result: Floats = ((white - white.mean()) / white.std()).astype(np.float32)
    return result


def as_bytes(noise: Floats) -> NDArray[np.uint8]:
    """Noise as bytes: 128 plus 42 per standard deviation, so that four of them are read at once and cheaply."""
    return np.clip(np.rint(noise * BYTES_PER_SIGMA + 128), 0, 255).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Texture:
    """Fine patterns: periodic noise of four channels, its border repeated so that a tile reads it in one piece.

    Attributes
    ----------
    values
        (period + margin, period + margin, 4) uint8.
    period_px
        Period, px of the texture.
    px_um
        Size of its pixels, um.
    """

    values: NDArray[np.uint8]
    period_px: int
    px_um: float

    @classmethod
    def of(cls, channels: list[Floats], px_um: float, reach_um: float) -> Texture:
        """A texture of four periodic noises that is read over pieces of at most `reach_um`."""
        period = channels[0].shape[0]
        margin = int(np.ceil(reach_um / px_um)) + 4
        values = np.dstack([as_bytes(channel) for channel in channels])
        wide = cv2.copyMakeBorder(values, 0, margin, 0, margin, cv2.BORDER_WRAP)
        return cls(np.asarray(wide, np.uint8), period, px_um)

    def at(
        self, rows_um: Floats, cols_um: Floats, shift_um: tuple[float, float] = (0.0, 0.0)
    ) -> tuple[NDArray[np.uint8], ...]:
        """The four noises at places, each of their shape, uint8; the places span at most the reach it was made for."""
        maps = []
        for places, shift in ((rows_um, shift_um[0]), (cols_um, shift_um[1])):
            first = (float(places.min()) + shift) / self.px_um
            start = np.floor(first / self.period_px) * self.period_px
            maps.append(places * np.float32(1 / self.px_um) + np.float32(shift / self.px_um - start))
        read = cv2.remap(self.values, maps[1], maps[0], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return tuple(np.asarray(channel, np.uint8) for channel in cv2.split(read))


@dataclass(frozen=True, eq=False)
class Field:
    """Slow patterns: periodic noise of up to four channels, read at any places.

    Attributes
    ----------
    values
        (px, px, channels) float32.
    px_um
        Size of its pixels, um.
    """

    values: Floats
    px_um: float

    def at(self, rows_um: NDArray[Any], cols_um: NDArray[Any]) -> Floats:
        """The noises at places of any shape, (..., channels) float32."""
        shape = np.shape(rows_um)
        if len(shape) == 2 and shape[1] <= _REMAP_COLS:
            return self._read(rows_um, cols_um)
        count = int(np.prod(shape))
        pad = -count % _REMAP_COLS
        lines = [np.pad(np.asarray(a).reshape(-1), (0, pad)).reshape(-1, _REMAP_COLS) for a in (rows_um, cols_um)]
        read = self._read(lines[0], lines[1]).reshape(-1, self.values.shape[2])[:count]
        return read.reshape(*shape, self.values.shape[2])

    def _read(self, rows_um: NDArray[Any], cols_um: NDArray[Any]) -> Floats:
        period = self.values.shape[0]
        rows, cols = (np.mod(places / self.px_um, period).astype(np.float32) for places in (rows_um, cols_um))
        return np.asarray(cv2.remap(self.values, cols, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), np.float32)


def at_depth(first: Floats, second: Floats, depth_um: float, length_um: float) -> Floats:
    """Noise that changes with depth and keeps its spread: equal at once, unlike after about 1.5 lengths."""
    angle = depth_um / length_um
    result: Floats = (first * np.float32(np.cos(angle)) + second * np.float32(np.sin(angle))).astype(np.float32)
    return result
