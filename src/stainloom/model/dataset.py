"""Patches on their way into the network: which stains a sample has, gray, standardised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stainloom.case.lesions import LesionClass
from stainloom.errors import ModelError
from stainloom.geometry import Pixels

Index = NDArray[np.int64]
TRAIN, VALIDATION, TEST = "train", "validation", "test"

# Weights of red, green and blue in a gray value: ITU-R BT.601.
_GRAY = np.array([0.299, 0.587, 0.114], np.float32)
_BLANK_LEAST = 235
_BLANK_SHARE = 0.98
_CHUNK = 256
_MOMENT_SAMPLES = 4096


@runtime_checkable
class Patches(Protocol):
    """Patches of several stains to read from, as `io/patchset.py` gives them.

    Attributes
    ----------
    stain_names
        Of the second axis of a batch.
    classes
        Lesion classes that may occur in `labels`.
    labels
        Class id of each sample, (n,).
    sets
        `train`, `validation` or `test` of each sample, (n,).
    patients
        Pseudonym of each sample's patient, (n,).
    present
        Which stains each sample has, (n, stains) bool.
    """

    @property
    def stain_names(self) -> tuple[str, ...]: ...
    @property
    def classes(self) -> tuple[LesionClass, ...]: ...
    @property
    def labels(self) -> NDArray[np.uint8]: ...
    @property
    def sets(self) -> NDArray[np.str_]: ...
    @property
    def patients(self) -> NDArray[np.str_]: ...
    @property
    def present(self) -> NDArray[np.bool_]: ...

    def batch(self, indices: Index) -> Pixels:
        """Pixels of some samples, (k, stains, size, size, 3) uint8."""
        ...

    def indices(self, name: str, augmented: bool) -> Index:
        """Which samples belong to a set; with `augmented` their turned versions too."""
        ...


def blank(patches: Pixels) -> NDArray[np.bool_]:
    """Which patches show bare glass, (k, stains): at least 98 % of their pixels are 235 or more in all channels.

    Parameters
    ----------
    patches
        (k, stains, size, size, 3) uint8.
    """
    # Channel by channel: a minimum over a last axis of three takes ten times as long.
    darkest = np.minimum(np.minimum(patches[..., 0], patches[..., 1]), patches[..., 2])
    share: NDArray[np.float64] = (darkest >= _BLANK_LEAST).mean(axis=(2, 3))
    return share >= _BLANK_SHARE


def drop_stains(present: NDArray[np.bool_], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Take one stain from a share of the samples, never their only one.

    Parameters
    ----------
    present
        (k, stains): which stains each sample has; not changed.
    share
        Of the samples, 0 to 1.
    rng
        Decides which samples, and which stain.

    References
    ----------
    N. Neverova, C. Wolf, G. Taylor, F. Nebout, ModDrop: adaptive multi-modal gesture recognition, TPAMI 38 (2016)
    1692-1706, doi 10.1109/TPAMI.2015.2461544.
    """
    count, stains = present.shape
    chosen = rng.random(count) < share
    which = np.asarray(rng.integers(stains, size=count))
    left = present.copy()
    left[chosen, which[chosen]] = False
    return np.where(left.any(axis=1, keepdims=True), left, present)


def channels_of(patches: Pixels, gray: bool) -> NDArray[np.float32]:
    """Values 0 to 255 as the network counts channels: (..., 3) float32, or (..., 1) of gray values."""
    if not gray:
        return patches.astype(np.float32)
    return (patches.astype(np.float32) @ _GRAY)[..., None]


@dataclass(frozen=True, eq=False)
class Scaling:
    """Zero mean and unit spread per stain and channel, learnt from training pixels.

    Attributes
    ----------
    mean, std
        (stains, channels) float32, of values 0 to 255.
    gray
        Whether the network sees gray values.
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    gray: bool

    def apply(self, patches: Pixels, present: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
        """(k, stains, size, size, 3) uint8 and (k, stains) bool to what `StainNetwork` takes; blank stains are masked."""
        seen = present & ~blank(patches)
        by_stain = np.ascontiguousarray(patches.swapaxes(0, 1))
        if self.gray:
            values = torch.from_numpy(channels_of(by_stain, True))
        else:
            values = torch.from_numpy(by_stain).to(torch.float32)
        shape = (len(self.mean), 1, 1, 1, -1)
        values.sub_(torch.from_numpy(self.mean).view(shape)).div_(torch.from_numpy(self.std).view(shape))
        # A branch answers zeros too (its biases); the network zeroes its features once more.
        values.mul_(torch.from_numpy(seen.T.astype(np.float32))[:, :, None, None, None])
        return values, torch.from_numpy(seen.astype(np.float32))


def fit_scaling(samples: Samples, gray: bool, rng: np.random.Generator) -> Scaling:
    """Mean and spread of the training pixels, from at most 4,096 samples; missing and blank patches left out."""
    count = len(samples)
    chosen = np.sort(rng.choice(count, _MOMENT_SAMPLES, replace=False)) if count > _MOMENT_SAMPLES else np.arange(count)
    channels = 1 if gray else 3
    stains = len(samples.stains)
    number = np.zeros(stains)
    total, squares = np.zeros((stains, channels)), np.zeros((stains, channels))
    for start in range(0, len(chosen), _CHUNK):
        pixels, present = samples.batch(chosen[start : start + _CHUNK])
        seen = present & ~blank(pixels)
        for stain in range(stains):
            values = channels_of(pixels[seen[:, stain], stain], gray).reshape(-1, channels).astype(np.float64)
            number[stain] += len(values)
            total[stain] += values.sum(axis=0)
            squares[stain] += (values**2).sum(axis=0)
    for stain, name in enumerate(samples.stains):
        if number[stain] == 0:
            raise ModelError(
                "no training patch shows this stain",
                stain=name,
                expected="tissue in this stain in at least one training patch",
                found="missing or blank everywhere",
                next=f"leave {name} out of the training, or export patches again",
            )
    mean = total / number[:, None]
    spread = np.sqrt(np.maximum(squares / number[:, None] - mean**2, 0))
    return Scaling(mean.astype(np.float32), np.maximum(spread, 1.0).astype(np.float32), gray)


class Samples:
    """Some samples of a patch set, in some of its stains.

    Parameters
    ----------
    patches
        The patch set.
    indices
        Which of its samples.
    stains
        Which of its stains, in the order wanted; `ModelError` where it lacks one.
    memory_bytes
        Hold them in memory when they take no more than this.
    """

    def __init__(self, patches: Patches, indices: Index, stains: tuple[str, ...], memory_bytes: int = 0) -> None:
        for name in stains:
            if name not in patches.stain_names:
                raise ModelError(
                    "the patches lack a stain",
                    stain=name,
                    expected=", ".join(stains),
                    found=", ".join(patches.stain_names),
                    next="export patches with this stain, or train on the stains that there are",
                )
        self.stains = stains
        self.indices = np.asarray(indices, np.int64)
        self._patches = patches
        self._columns = [patches.stain_names.index(name) for name in stains]
        self._all = self._columns == list(range(len(patches.stain_names)))
        self.present = np.ascontiguousarray(np.asarray(patches.present)[self.indices][:, self._columns])
        self.labels = np.asarray(patches.labels)[self.indices]
        self.patients = np.asarray(patches.patients)[self.indices]
        self._held: Pixels | None = None
        if len(self.indices) and memory_bytes:
            self._hold(memory_bytes)

    def __len__(self) -> int:
        return len(self.indices)

    def _hold(self, memory_bytes: int) -> None:
        first = self._read(np.arange(1))
        if first.nbytes * len(self) > memory_bytes:
            return
        held = np.empty((len(self), *first.shape[1:]), np.uint8)
        for start in range(0, len(self), _CHUNK):
            stop = min(start + _CHUNK, len(self))
            held[start:stop] = self._read(np.arange(start, stop))
        self._held = held

    def _read(self, places: Index) -> Pixels:
        pixels = np.asarray(self._patches.batch(self.indices[places]))
        shape = pixels.shape
        if pixels.dtype != np.uint8 or len(shape) != 5 or shape[2] != shape[3] or shape[4] != 3:
            raise ValueError(f"a batch is (k, stains, size, size, 3) uint8: {shape} {pixels.dtype}")
        return pixels if self._all else pixels[:, self._columns]

    @property
    def size_px(self) -> int:
        """Side of a patch."""
        return int(self.batch(np.arange(1))[0].shape[2])

    def batch(self, places: Index) -> tuple[Pixels, NDArray[np.bool_]]:
        """Pixels (k, stains, size, size, 3) uint8 and present stains (k, stains) of samples counted from 0 in this selection."""
        pixels = self._read(places) if self._held is None else self._held[places]
        return pixels, self.present[places]

    def batches(self, size: int) -> Iterator[tuple[Index, Pixels, NDArray[np.bool_]]]:
        """All samples in order, `size` at a time, with their places."""
        for start in range(0, len(self), size):
            places = np.arange(start, min(start + size, len(self)))
            yield (places, *self.batch(places))
