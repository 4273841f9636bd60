"""A slide's colours brought to the reference's: one 3 x 3 map in optical density, by tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stainloom.errors import CaseError
from stainloom.geometry import Pixels
from stainloom.stain.density import Floats
from stainloom.stain.fit import NormalizeSettings, StainFit

__all__ = ["NORMALIZERS", "Normalization", "NormalizeSettings", "Normalizer", "unchanged"]

# Three dyes have condition numbers up to 34: without this much pull towards "unchanged", noise would be remixed into colour.
_RIDGE = 0.01
_GAIN_MOST = 3.0
_STRIP_PX = 16_384
# As an array: cv2 takes a single number beside four pixels for a colour of four channels.
_ONES = np.ones((_STRIP_PX, 1), np.float32)


@dataclass(frozen=True)
class Normalization:
    """From one slide's look to another's; call it with pixels.

    Attributes
    ----------
    source
        The fit of the slide.
    target
        The reference.
    in_focus
        Whether the slide is sharp enough for a network; colours of a blurred one cannot be told apart either.

    Notes
    -----
    Separating dyes, scaling their amounts and mixing them again is linear in optical density: one 3 x 3 map. It is
    full rank: what the dyes do not explain passes unchanged and is never dropped. Directions that the dyes hardly tell
    apart are pulled towards no change. A dye is made at most 3 times stronger or weaker. Where source and target are
    equal the map is the identity. Pure white (255, 255, 255) stays white: outside a slide there is nothing to colour.
    """

    source: StainFit
    target: StainFit
    in_focus: bool = True

    def __post_init__(self) -> None:
        if (self.source.stain, self.source.dyes) != (self.target.stain, self.target.dyes):
            raise ValueError(f"a {self.source.stain} slide cannot look like a {self.target.stain} slide")

    @property
    def id(self) -> str:
        """Hash of the content: 16 hexadecimal digits."""
        text = json.dumps(self.as_dict(), sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def map(self) -> Floats:
        """Target density = map @ source density, (3, 3)."""
        gain = np.array(self.target.strengths) / np.array(self.source.strengths)
        gain = np.clip(gain, 1 / _GAIN_MOST, _GAIN_MOST)
        start, aim = self.source.matrix.T, self.target.matrix.T * gain
        pull = _RIDGE * np.eye(3)
        # solve, not inv: for equal fits the two brackets are equal and the result is the identity to rounding.
        result: Floats = np.linalg.solve((start @ start.T + pull).T, (aim @ start.T + pull).T).T
        return result

    def __call__(self, rgb: Pixels) -> Pixels:
        """Normalized pixels: (..., 3) uint8 to the same shape."""
        if rgb.dtype != np.uint8 or rgb.shape[-1:] != (3,):
            raise ValueError(f"pixels are (..., 3) uint8: {rgb.shape} {rgb.dtype}")
        flat = np.ascontiguousarray(rgb).reshape(-1, 1, 3)
        result = np.empty_like(flat)
        for start in range(0, len(flat), _STRIP_PX):
            result[start : start + _STRIP_PX] = self._strip(flat[start : start + _STRIP_PX])
        return result.reshape(rgb.shape)

    def _strip(self, rgb: Pixels) -> Pixels:
        channels = cv2.split(rgb)
        mixed = []
        for out in range(3):
            value = cv2.LUT(channels[0], self._tables[out, 0])
            for channel in (1, 2):
                value = cv2.multiply(value, cv2.LUT(channels[channel], self._tables[out, channel]), dst=value)
            mixed.append(cv2.subtract(value, _ONES[: len(value)], dtype=cv2.CV_8U))
        result = cv2.merge(mixed)
        white = cv2.inRange(rgb, (255, 255, 255), (255, 255, 255))
        return np.asarray(cv2.copyTo(rgb, white, result), np.uint8)

    @cached_property
    def _tables(self) -> NDArray[np.float32]:
        """Nine tables of 256: colour + 1 is the product of three, one a source channel."""
        source = (np.arange(256.0) + 1)[:, None] / (np.array(self.source.background) + 1)
        tables = source.T[None] ** self.map[:, :, None]
        tables[:, 0] *= (np.array(self.target.background) + 1)[:, None]
        return np.ascontiguousarray(tables.astype(np.float32))

    def as_dict(self) -> dict[str, Any]:
        """The same as plain JSON values: the content of `normalization/STAIN.json`."""
        return {
            "version": 1,
            "stain": self.source.stain,
            "method": "macenko",
            "source": self.source.as_dict(),
            "target": self.target.as_dict(),
            "in_focus": self.in_focus,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Normalization:
        """The normalization that `as_dict` described; `CaseError` where the values describe none."""
        known = {"version", "stain", "method", "source", "target", "in_focus"}
        if (
            not isinstance(values, Mapping)
            or set(values) != known
            or values["method"] != "macenko"
            or not isinstance(values["in_focus"], bool)
        ):
            raise CaseError("this is no stain normalization", found=str(values)[:200], next="normalize the stain again")
        if values["version"] != 1:
            raise CaseError(
                "the stain normalization was written by another version",
                expected="version 1",
                found=f"version {values['version']!r}",
                next="update Stainloom, or normalize the stain again",
            )
        if not (isinstance(values["source"], Mapping) and isinstance(values["target"], Mapping)):
            raise CaseError("this is no stain normalization", found=str(values)[:200], next="normalize the stain again")
        source, target = StainFit.from_dict(values["source"]), StainFit.from_dict(values["target"])
        if source.stain != values["stain"] or (source.stain, source.dyes) != (target.stain, target.dyes):
            raise CaseError(
                "a stain normalization mixes stains",
                stain=str(values["stain"]),
                found=f"source {source.stain}, target {target.stain}",
                next="normalize the stain again",
            )
        return cls(source, target, values["in_focus"])


def unchanged(source: StainFit, target: StainFit) -> Callable[[Pixels], Pixels]:
    """No normalization: pixels as they are."""
    return _same


def _same(rgb: Pixels) -> Pixels:
    return rgb


Normalizer = Callable[[StainFit, StainFit], Callable[[Pixels], Pixels]]

NORMALIZERS: dict[str, Normalizer] = {"macenko": Normalization, "none": unchanged}
"""By name: (source, target) gives a callable on (..., 3) uint8 pixels."""
