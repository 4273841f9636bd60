"""The scanner: light, tone, blur and noise between the stained section and its file."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stainloom.geometry import Box, Pixels
from stainloom.sample.noise import Floats, generator
from stainloom.sample.settings import SimulationSettings

_NOISE_PX = 512

SCANNERS = ("A", "B", "C")
# Light (R, G, B of empty glass), bend of the tone curve, blur and noise against the settings'.
_MODELS: dict[str, tuple[tuple[float, float, float], float, float, float]] = {
    "A": ((0.955, 0.950, 0.955), 0.00, 0.85, 0.8),
    "B": ((0.945, 0.925, 0.905), 0.12, 1.15, 1.2),
    "C": ((0.920, 0.935, 0.965), -0.10, 1.00, 1.0),
}


@dataclass(frozen=True, eq=False)
class Scanner:
    """One scanner on one slide.

    Attributes
    ----------
    name
        The machine.
    light
        (3,) brightness of empty glass, 0 to 1.
    tone
        Bend of the tone curve: x becomes x + tone x (1 - x).
    blur_px, noise
        Standard deviations, px and grey levels.
    grain
        Periodic noise, (px, px, 3) float32.
    seed
        Which piece of the noise a tile takes.
    """

    name: str
    light: NDArray[np.float32]
    tone: float
    blur_px: float
    noise: float
    grain: Floats
    seed: int

    @property
    def reach_px(self) -> int:
        """How far the blur looks, px."""
        return int(np.ceil(3 * self.blur_px)) if self.blur_px > 0.05 else 0

    def scan(self, passed: Floats, margin: int, tile: Box) -> Pixels:
        """What the camera writes of the light that passed a tile.

        Parameters
        ----------
        passed
            (rows + 2 margin, cols + 2 margin, 3) share of the light that passes, 0 to 1.
        margin
            At least `reach_px`.
        tile
            The tile without margin: it names its piece of the noise.
        """
        picture = passed
        if self.reach_px:
            size = 2 * self.reach_px + 1
            picture = np.asarray(cv2.GaussianBlur(picture, (size, size), self.blur_px), np.float32)
        inner = picture[margin : margin + tile.rows, margin : margin + tile.cols]
        light = np.array([*self.light, 0.0], np.float64)
        picture = np.asarray(cv2.multiply(inner, light), np.float32)
        if self.tone:
            picture += np.float32(self.tone) * picture * (1 - picture)
        row, col = np.random.default_rng([self.seed, tile.row, tile.col]).integers(0, _NOISE_PX - max(tile.shape), 2)
        grain = self.grain[row : row + tile.rows, col : col + tile.cols]
        # One pass that scales, adds, rounds and saturates.
        return np.asarray(cv2.addWeighted(picture, 255.0, grain, self.noise, 0.0, dtype=cv2.CV_8U), np.uint8)


def scanner_for(settings: SimulationSettings, patient: int) -> str:
    """The scanner that scanned a patient's slides: drawn apart from all that makes the tissue."""
    return str(generator(settings.seed, patient, 20).choice(SCANNERS))


def grain_for(settings: SimulationSettings, patient: int) -> Floats:
    """The patient's piece of camera noise."""
    rng = generator(settings.seed, patient, 21)
    return rng.standard_normal((_NOISE_PX, _NOISE_PX, 3), dtype=np.float32)


def scanner_on(
    settings: SimulationSettings, name: str, rng: np.random.Generator, grain: Floats, failed: str
) -> Scanner:
    """One scanner on one slide: its own model, and what changes from slide to slide."""
    light, tone, blur, noise = _MODELS[name]
    jitter = 1 + 0.012 * np.clip(rng.normal(size=3), -2, 2)
    sigma = settings.blur_um * blur * float(np.exp(0.15 * np.clip(rng.normal(), -2, 2)))
    if failed == "out of focus":
        sigma += float(rng.uniform(1.6, 2.6))
    return Scanner(
        name,
        np.minimum(np.array(light) * jitter, 0.99).astype(np.float32),
        tone + 0.03 * float(rng.normal()),
        sigma / settings.um_per_px,
        settings.noise * noise,
        grain,
        int(rng.integers(0, 2**31)),
    )
