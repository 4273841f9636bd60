"""Figures with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score, precision_score, recall_score

from stainloom.model.metrics import accuracy, balanced_accuracy, compare, confusion, per_class

IDS = np.array([2, 5, 9])


def test_a_table_done_by_hand():
    truth = np.array([2, 2, 2, 5, 5, 5, 5, 9])
    found = np.array([2, 2, 5, 5, 5, 9, 9, 2])
    matrix = confusion(truth, found, IDS)
    assert matrix.tolist() == [[2, 1, 0], [0, 2, 2], [1, 0, 0]]
    assert accuracy(matrix) == pytest.approx(4 / 8)
    assert balanced_accuracy(matrix) == pytest.approx((2 / 3 + 2 / 4 + 0) / 3)
    second = per_class(matrix, IDS)[1]
    assert (second.id, second.count) == (5, 4)
    assert second.recall == pytest.approx(2 / 4)
    assert second.precision == pytest.approx(2 / 3)
    assert second.f1 == pytest.approx(2 * 2 / (4 + 3))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([2, 5, 9]), st.sampled_from([2, 5, 9])), min_size=1, max_size=40))
def test_the_same_as_scikit_learn(pairs):
    truth, found = (np.array(column) for column in zip(*pairs))
    matrix = confusion(truth, found, IDS)
    assert np.array_equal(matrix, confusion_matrix(truth, found, labels=IDS))
    if set(found) <= set(truth) and len(set(truth)) > 1:  # else scikit-learn warns
        assert balanced_accuracy(matrix) == pytest.approx(balanced_accuracy_score(truth, found))
    for place, figures in enumerate(per_class(matrix, IDS)):
        chosen = {"labels": [IDS[place]], "average": "macro", "zero_division": 0}
        assert figures.precision == pytest.approx(precision_score(truth, found, **chosen))
        assert figures.f1 == pytest.approx(f1_score(truth, found, **chosen))
        if figures.count:
            assert figures.recall == pytest.approx(recall_score(truth, found, **chosen))
        else:
            assert np.isnan(figures.recall)


def test_nothing_gives_no_figure_and_unknown_classes_are_said():
    empty = confusion(np.array([], int), np.array([], int), IDS)
    assert np.isnan(accuracy(empty))
    assert np.isnan(balanced_accuracy(empty))
    with pytest.raises(ValueError, match="7"):
        confusion(np.array([7]), np.array([2]), IDS)
    with pytest.raises(ValueError, match="differ in length"):
        confusion(np.array([2, 2]), np.array([2]), IDS)


def test_the_interval_is_over_patients_not_patches():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(12), 100)
    truth = rng.choice(IDS, len(patients))
    wrong = np.where(truth == 2, 5, 2)
    good_for = rng.random(12) < 0.7
    first = np.where(good_for[patients], truth, wrong)  # right or wrong by patient
    second = np.where(np.arange(len(truth)) % 2, truth, wrong)
    by_patient = compare(truth, first, second, patients, IDS)
    by_patch = compare(truth, first, second, np.arange(len(truth)), IDS, rounds=300)
    assert by_patient.patients == 12
    assert by_patient.value == pytest.approx(by_patch.value)
    assert by_patient.low < by_patient.value < by_patient.high
    assert by_patient.high - by_patient.low > 3 * (by_patch.high - by_patch.low)
    assert by_patient == compare(truth, first, second, patients, IDS)


def test_a_prediction_does_not_differ_from_itself():
    truth, patients = np.tile(IDS, 10), np.arange(30) % 5
    found = np.roll(truth, 1)
    same = compare(truth, found, found, patients, IDS)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    better = compare(truth, truth, found, patients, IDS)
    assert better.low == better.high == 1
    with pytest.raises(ValueError, match="no samples"):
        compare(truth[:0], truth[:0], truth[:0], patients[:0], IDS)
