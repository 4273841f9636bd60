"""How good predictions are: for all, for each class, and by how much two runs differ. NumPy only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[Any]


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
    names, owner = np.unique(patients, return_inverse=True)
    if len(names) == 0:
        raise ValueError("nothing to compare: no samples")
    pairs = [
        [confusion(np.asarray(truth)[owner == k], np.asarray(guess)[owner == k], ids) for k in range(len(names))]
        for guess in (first, second)
    ]
    stacks = np.array(pairs)
    value = figure(stacks[0].sum(axis=0)) - figure(stacks[1].sum(axis=0))
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=rounds)
    differences = np.empty(rounds)
    for number, draw in enumerate(draws):
        one, two = np.tensordot(draw, stacks, axes=(0, 1))
        differences[number] = figure(one) - figure(two)
    low, high = np.nanquantile(differences, (0.025, 0.975))
    return Difference(value, float(low), float(high), rounds, len(names))
