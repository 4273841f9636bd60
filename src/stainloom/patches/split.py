"""Which patients train, which validate, which test: no patient in two sets, the same mix of classes in each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stainloom.errors import PatchError
from stainloom.patches.select import Window
from stainloom.wording import listed, many

SETS = ("train", "validation", "test")
LEFT_OUT = "left out"

Counts = Mapping[str, Mapping[int, int]]
"""Per patient: how many windows of each class."""

_TRIES = 40
_ABSENT_POINTS = 1000.0
_MIX_WEIGHT = 0.1
_MOVED_POINTS = 5.0
_NEW = -1


@dataclass(frozen=True)
class SplitFigures:
    """How good a split is.

    Attributes
    ----------
    deviation_points
        The largest difference, over classes and sets, between the share of a class's windows that a set got and the
        share it should have got, in percentage points.
    patients
        Number of patients of each set.
    windows
        Number of windows of each set.
    warnings
        Classes that a set lacks, in words.
    """

    deviation_points: float
    patients: dict[str, int]
    windows: dict[str, int]
    warnings: tuple[str, ...]


def split_patients(
    counts: Counts,
    *,
    seed: int = 0,
    shares: tuple[float, float, float] = (0.6, 0.2, 0.2),
    keep: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Give each patient to one set.

    Parameters
    ----------
    counts
        Windows of each class, by patient. The order does not matter.
    seed
        Of the random starts.
    shares
        Of training, validation and test; of the patients, and of each class's windows.
    keep
        The sets of an earlier split. Who was in one stays there, so that figures before and after are of the same test
        patients; one is moved only where this makes the mix better by 5 points, or brings a class to a set without it.

    Returns
    -------
    Patient to "train", "validation" or "test". No set is empty.

    Raises
    ------
    PatchError
        With fewer than three patients, or none with a window.

    Notes
    -----
    The number of patients of each set is fixed by the shares; from random starts, pairs of patients change places as
    long as that brings the classes' shares nearer to the sets' (largest deviation first, then its mean square). Every
    class reaches every set if it can; one that a single patient has goes to training.
    """
    names = sorted(name for name, classes in counts.items() if sum(classes.values()) > 0)
    if len(names) < 3:
        raise PatchError(
            "too few patients to train, validate and test on different ones",
            expected="painted lesions of at least three patients",
            found=f"{len(names)} patient{'' if len(names) == 1 else 's'}",
            next="paint lesions in cases of more patients",
        )
    sizes = _sizes(len(names), shares)
    table = _table(names, counts)
    aims = np.array(shares) / sum(shares)
    kept = np.array([SETS.index(keep[name]) if keep and keep.get(name) in SETS else _NEW for name in names], np.intp)
    generator = np.random.default_rng(seed)
    best, best_cost = np.zeros(0, np.intp), math.inf
    for _ in range(max(3, min(_TRIES, 4_000 // len(names)))):
        sets = _start(kept, sizes, generator)
        cost = _improve(sets, kept, table, aims)
        if cost < best_cost - 1e-12:
            best, best_cost = sets, cost
    return {name: SETS[number] for name, number in zip(names, best, strict=True)}


def _start(kept: NDArray[np.intp], sizes: Sequence[int], generator: np.random.Generator) -> NDArray[np.intp]:
    """Sets of the wanted sizes: the kept ones as far as they fit, the rest at random."""
    sets = kept.copy()
    for number, size in enumerate(sizes):
        members = np.flatnonzero(sets == number)
        if len(members) > size:
            sets[generator.choice(members, len(members) - size, replace=False)] = _NEW
    room = [size - int((sets == number).sum()) for number, size in enumerate(sizes)]
    sets[sets == _NEW] = generator.permutation(np.repeat(np.arange(3), room))
    return sets


def _sizes(count: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers of patients nearest to the shares (largest remainders), none 0."""
    if len(shares) != 3 or min(shares) <= 0 or not math.isfinite(sum(shares)):
        raise ValueError(f"three positive shares: {shares}")
    exact = [count * share / sum(shares) for share in shares]
    sizes = [max(1, math.floor(value)) for value in exact]
    while sum(sizes) < count:
        sizes[max(range(3), key=lambda k: exact[k] - sizes[k])] += 1
    while sum(sizes) > count:
        sizes[max((k for k in range(3) if sizes[k] > 1), key=lambda k: sizes[k] - exact[k])] -= 1
    return sizes


def _table(names: Sequence[str], counts: Counts) -> NDArray[np.float64]:
    classes = sorted({c for name in names for c, n in counts[name].items() if n > 0})
    return np.array([[counts[name].get(c, 0) for c in classes] for name in names], np.float64)


def _costs(sums: NDArray[np.float64], having: NDArray[np.float64], aims: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far splits miss, (...,): from windows and patients by set and class, (..., 3, classes) each."""
    share = sums / sums.sum(axis=-2, keepdims=True)
    miss = 100 * np.abs(share - aims[:, None])
    # a class must be learned before it can be judged: training counts most, then test, then validation
    weight = np.array([4.0, 1.0, 2.0])[:, None]
    absent = _ABSENT_POINTS * ((having == 0) * weight).sum(axis=(-2, -1))
    return miss.max(axis=(-2, -1)) + _MIX_WEIGHT * np.sqrt((miss**2).mean(axis=(-2, -1))) + absent


def _improve(
    sets: NDArray[np.intp], kept: NDArray[np.intp], table: NDArray[np.float64], aims: NDArray[np.float64]
) -> float:
    """Swap patients between sets, in place, the best pair first, until none helps; the cost reached."""
    owned = (table > 0).astype(np.float64)
    # What it costs to have a patient, by row, in each of the sets.
    moving = _MOVED_POINTS * ((kept != _NEW)[:, None] & (kept[:, None] != np.arange(3)))
    rows = np.arange(len(sets))
    member = np.arange(3)[:, None] == sets[None, :]
    cost = float(_costs(member @ table, member @ owned, aims)) + moving[rows, sets].sum()
    while True:
        first, second = np.nonzero(np.triu(sets[:, None] != sets[None, :]))
        gain = (np.arange(3)[None, :] == sets[first][:, None]).astype(np.float64)
        gain -= np.arange(3)[None, :] == sets[second][:, None]
        member = np.arange(3)[:, None] == sets[None, :]
        sums = (member @ table)[None] + gain[:, :, None] * (table[second] - table[first])[:, None, :]
        having = (member @ owned)[None] + gain[:, :, None] * (owned[second] - owned[first])[:, None, :]
        moved = moving[rows, sets].sum() - moving[first, sets[first]] - moving[second, sets[second]]
        moved += moving[first, sets[second]] + moving[second, sets[first]]
        costs = _costs(sums, having, aims) + moved
        best = int(np.argmin(costs))
        if costs[best] >= cost - 1e-9:
            return cost
        one, other = first[best], second[best]
        sets[one], sets[other] = sets[other], sets[one]
        cost = float(costs[best])


def split_figures(
    counts: Counts,
    sets: Mapping[str, str],
    *,
    shares: tuple[float, float, float] = (0.6, 0.2, 0.2),
    called: Mapping[int, str] | None = None,
) -> SplitFigures:
    """How good a split is; the patients of `sets` all have counts. `called`: the classes' names for the warnings."""
    names = sorted(sets)
    table = _table(names, counts)
    classes = sorted({c for name in names for c, n in counts[name].items() if n > 0})
    member = np.array([[sets[name] == each for name in names] for each in SETS])
    sums = member @ table
    aims = np.array(shares) / sum(shares)
    miss = 100 * np.abs(sums / sums.sum(axis=0, keepdims=True) - aims[:, None])
    patients = (table > 0).sum(axis=0)
    thin: dict[tuple[str, ...], dict[str, int]] = {}
    for k in np.flatnonzero((sums == 0).any(axis=0)).tolist():
        lacking = tuple(each for each, n in zip(SETS, sums[:, k], strict=True) if n == 0)
        name = (called or {}).get(classes[k], str(classes[k]))
        thin.setdefault(lacking, {})[name] = int(patients[k])
    warnings = [_told(patients_of, lacking) for lacking, patients_of in thin.items()]
    return SplitFigures(
        float(miss.max()),
        {each: int(n) for each, n in zip(SETS, member.sum(axis=1), strict=True)},
        {each: int(n) for each, n in zip(SETS, sums.sum(axis=1), strict=True)},
        tuple(warnings),
    )


def _told(patients: Mapping[str, int], lacking: tuple[str, ...]) -> str:
    """What it means that these sets lack some classes, each painted in so many patients."""
    it, they_are = ("it", "it is") if len(patients) == 1 else ("them", "they are")
    if "train" in lacking:
        means = f"{they_are} not among the training patients, and the network will not know {it}"
    else:
        means = f"{listed(lacking)} {'is' if len(lacking) == 1 else 'are'} without {it}"
        if "test" in lacking:
            means += f", so nobody will know how well {they_are} told apart"
    few = [f"{name} ({many(count, 'patient')})" for name, count in patients.items()]
    ((name, count), *more) = patients.items()
    who = (
        f"classes {listed(few)} are painted in few"
        if more
        else f"class {name} is painted in {many(count, 'patient')} only"
    )
    enough = "at least three" if max(patients.values()) < 3 else "more"
    return f"{who}: {means}; paint {it} in cases of {enough} patients"


def split_halves(windows: Sequence[Window], *, gap_um: float = 100.0) -> tuple[str, ...]:
    """A split inside one patient, for the demonstration on one real case only: it says nothing about other patients.

    Parameters
    ----------
    windows
        All of one case.
    gap_um
        Windows nearer than half of this to a border between sets belong to no set.

    Returns
    -------
    Per window "train", "validation", "test" or "left out". Each class is cut on its own, at the middle of its columns:
    its left half trains (of that the lowest fifth validates), its right half tests.

    Raises
    ------
    PatchError
        Where a class is too small to be cut so.
    """
    if not windows:
        raise PatchError("there is nothing to split", expected="windows", found="none", next="paint lesions")
    sets = [LEFT_OUT] * len(windows)
    for class_id in sorted({window.class_id for window in windows}):
        members = [k for k, window in enumerate(windows) if window.class_id == class_id]
        for number, each in zip(members, _halves([windows[k] for k in members], gap_um), strict=True):
            sets[number] = each
    return tuple(sets)


def _halves(windows: Sequence[Window], gap_um: float) -> list[str]:
    centres = np.array([window.centre_um for window in windows])
    middle = float(np.median(centres[:, 1]))
    left = centres[:, 1] < middle - gap_um / 2
    right = centres[:, 1] > middle + gap_um / 2
    if left.sum() < 2 or not right.any():
        raise PatchError(
            f"class {windows[0].class_id} is too small to be cut into halves",
            expected=f"windows on both sides of a gap of {gap_um:.0f} µm",
            found=f"{int(left.sum())} left and {int(right.sum())} right of it",
            next="paint more of it, or take a smaller gap",
        )
    floor = float(np.quantile(centres[left, 0], 0.8))
    below = left & (centres[:, 0] >= floor)
    near = left & ~below & (centres[:, 0] > floor - gap_um / 2)
    if not (left & ~below & ~near).any():
        near = np.zeros_like(near)
    if not (left & ~below).any():
        below = left & (np.arange(len(windows)) == np.flatnonzero(left)[-1])
    names = np.full(len(windows), LEFT_OUT, dtype=object)
    names[left & ~near] = "train"
    names[below] = "validation"
    names[right] = "test"
    return [str(name) for name in names]
