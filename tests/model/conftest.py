"""Patches in memory with a known answer, for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from stainloom.case.lesions import LESIONS

NAMES = ("HE", "AB-PAS", "Masson", "SMA", "VG", "extra")


class PatchesInMemory:
    """Random pixels; each class brightens every second row of one stain, so that no stain alone knows all classes."""

    def __init__(self, count: int, stains: int, size: int, classes: int, patients: int, signal: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.stain_names = NAMES[:stains]
        self.classes = LESIONS[:classes]
        ids = np.array([lesion.id for lesion in self.classes], np.uint8)
        self.labels = ids[rng.integers(0, classes, count)]
        owner = np.arange(count) % patients
        self.patients = np.array([f"patient {number}" for number in owner])
        self.sets = np.array(["train", "train", "train", "validation", "test"])[owner % 5]
        self.present = np.ones((count, stains), np.bool_)
        pixels = rng.integers(60, 180, (count, stains, size, size, 3))
        for sample, label in enumerate(self.labels):
            pixels[sample, (label - 1) % stains, ::2] += signal
            if label > stains:  # more classes than stains: the others differ in their columns
                pixels[sample, (label - 1) % stains, :, ::2] += signal
        self.pixels = np.clip(pixels, 0, 255).astype(np.uint8)

    def batch(self, indices: np.ndarray) -> np.ndarray:
        return self.pixels[indices]

    def indices(self, name: str, augmented: bool) -> np.ndarray:
        return np.flatnonzero(self.sets == name)


@pytest.fixture(scope="session")
def make_patches() -> Callable[..., PatchesInMemory]:
    def make(
        count: int = 120,
        stains: int = 3,
        size: int = 8,
        classes: int = 3,
        patients: int = 10,
        signal: int = 60,
        seed: int = 0,
    ) -> PatchesInMemory:
        return PatchesInMemory(count, stains, size, classes, patients, signal, seed)

    return make
