"""How good predictions are: for all, for each class, and by how much two runs differ. NumPy only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[Any]
_RANGE = (0.025, 0.975)


def confusion(truth: Ids, predicted: Ids, ids: Ids) -> NDArray[np.int64]:
    """How often each class was taken for each other.

    Parameters
    ----------
    truth, predicted
        Class ids, (n,).
    ids
        The classes, in the order wanted; every id in `truth` and `predicted` is among them.

    Returns
    -------
    (classes, classes): rows are the truth, columns the prediction.
    """
    order = {int(value): place for place, value in enumerate(np.asarray(ids))}
    if len(truth) != len(predicted):
        raise ValueError(f"truth and prediction differ in length: {len(truth)} and {len(predicted)}")
    try:
        rows = np.array([order[int(value)] for value in truth], np.intp)
        cols = np.array([order[int(value)] for value in predicted], np.intp)
    except KeyError as error:
        raise ValueError(f"class {error} is not among {list(order)}") from error
    result = np.zeros((len(order), len(order)), np.int64)
    np.add.at(result, (rows, cols), 1)
    return result


def accuracy(matrix: NDArray[np.int64]) -> float:
    """Share of right predictions in a confusion matrix (rows are the truth); NaN without samples."""
    total = matrix.sum()
    return float(np.trace(matrix) / total) if total else float("nan")


def balanced_accuracy(matrix: NDArray[np.int64]) -> float:
    """Mean of the recalls of the classes that occur in the truth; NaN without samples. Chance is 1 / their number.

    References
    ----------
    K. H. Brodersen et al., ICPR 2010, 3121-3124, doi 10.1109/ICPR.2010.764.
    """
    counts = matrix.sum(axis=1)
    there = counts > 0
    return float((np.diag(matrix)[there] / counts[there]).mean()) if there.any() else float("nan")


@dataclass(frozen=True)
class ClassFigures:
    """How well one class was found.

    Attributes
    ----------
    id
        The class.
    count
        Samples that are of this class.
    recall, precision, f1
        0 to 1; 0 where undefined, except that the recall of a class without samples is NaN.
    """

    id: int
    count: int
    recall: float
    precision: float
    f1: float


def per_class(matrix: NDArray[np.int64], ids: Ids) -> tuple[ClassFigures, ...]:
    """Recall, precision and F1 of each class of a confusion matrix (rows are the truth)."""
    result = []
    for place, value in enumerate(ids):
        hits, truths, calls = (int(n) for n in (matrix[place, place], matrix[place].sum(), matrix[:, place].sum()))
        recall = hits / truths if truths else float("nan")
        f1 = 2 * hits / (truths + calls) if truths + calls else 0.0
        result.append(ClassFigures(int(value), truths, recall, hits / calls if calls else 0.0, f1))
    return tuple(result)


@dataclass(frozen=True)
class Difference:
    """By how much one prediction is better than another.

    Attributes
    ----------
    value
        First minus second.
    low, high
        95 % interval over patients drawn with replacement.
    rounds
        How many draws.
    patients
        How many patients there are; an interval over fewer than about ten says little.
    """

    value: float
    low: float
    high: float
    rounds: int
    patients: int


def compare(
    truth: Ids,
    first: Ids,
    second: Ids,
    patients: NDArray[Any],
    ids: Ids,
    *,
    figure: Callable[[NDArray[np.int64]], float] = balanced_accuracy,
    rounds: int = 2000,
    seed: int = 0,
) -> Difference:
    """Difference of two predictions of the same samples, with a bootstrap over patients.

    Parameters
    ----------
    truth, first, second
        Class ids, (n,), of the same samples in the same order.
    patients
        Whose sample each is, (n,).
    ids
        The classes.
    figure
        What to compare, from a confusion matrix.
    rounds, seed
        Of the bootstrap.

    Notes
    -----
    Patients are drawn, not patches: patches of one patient resemble each other, and drawing them alone makes intervals
    far too narrow.

    References
    ----------
    B. Efron, Annals of Statistics 7 (1979) 1-26, doi 10.1214/aos/1176344552.
    """
    stacks = np.array([_by_patient(truth, guess, patients, ids) for guess in (first, second)])
    value = figure(stacks[0].sum(axis=0)) - figure(stacks[1].sum(axis=0))
    differences = np.empty(rounds)
    for number, draw in enumerate(_draws(stacks.shape[1], rounds, seed)):
        one, two = np.tensordot(draw, stacks, axes=(0, 1))
        differences[number] = figure(one) - figure(two)
    low, high = np.nanquantile(differences, _RANGE)
    return Difference(value, float(low), float(high), rounds, stacks.shape[1])


def interval(
    truth: Ids,
    predicted: Ids,
    patients: NDArray[Any],
    ids: Ids,
    *,
    figure: Callable[[NDArray[np.int64]], float] = accuracy,
    rounds: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """The 95 % interval of a figure over patients drawn with replacement; see `compare`."""
    stack = _by_patient(truth, predicted, patients, ids)
    drawn = [figure(np.tensordot(draw, stack, axes=(0, 0))) for draw in _draws(len(stack), rounds, seed)]
    low, high = np.nanquantile(drawn, _RANGE)
    return float(low), float(high)


def _by_patient(truth: Ids, predicted: Ids, patients: NDArray[Any], ids: Ids) -> NDArray[np.int64]:
    """A confusion matrix a patient."""
    names, owner = np.unique(patients, return_inverse=True)
    if len(names) == 0:
        raise ValueError("nothing to compare: no samples")
    whose = [owner == number for number in range(len(names))]
    return np.array([confusion(np.asarray(truth)[own], np.asarray(predicted)[own], ids) for own in whose])


def _draws(patients: int, rounds: int, seed: int) -> NDArray[np.int64]:
    """How often each patient is drawn, in each round."""
    return np.random.default_rng(seed).multinomial(patients, np.full(patients, 1 / patients), size=rounds)
