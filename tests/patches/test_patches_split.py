"""Splits by patient."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stainloom.errors import PatchError
from stainloom.geometry import Box
from stainloom.patches.select import Window
from stainloom.patches.split import LEFT_OUT, SETS, split_figures, split_halves, split_patients


def skewed(patients: int, seed: int, classes: int = 6) -> dict[str, dict[int, int]]:
    generator = np.random.default_rng(seed)
    counts = {}
    for number in range(patients):
        mix = generator.dirichlet(np.full(classes, 0.3)) * generator.lognormal(5, 0.8)
        counts[f"P{number:03d}"] = {c + 1: round(float(n)) for c, n in enumerate(mix)}
        counts[f"P{number:03d}"][1 + number % classes] += 1
    return counts


@settings(max_examples=15, deadline=None)
@given(st.integers(3, 25), st.integers(0, 1000))
def test_every_patient_is_in_one_set_and_no_set_is_empty(patients: int, seed: int) -> None:
    counts = skewed(patients, seed)
    sets = split_patients(counts, seed=seed)
    assert set(sets) == set(counts)
    sizes = [sum(name == each for name in sets.values()) for each in SETS]
    assert min(sizes) >= 1
    assert abs(sizes[0] - 0.6 * patients) <= 1
    assert abs(sizes[2] - 0.2 * patients) <= 1


def test_the_order_of_patients_changes_nothing_and_the_seed_is_kept() -> None:
    counts = skewed(20, 3)
    backwards = dict(reversed(list(counts.items())))
    assert split_patients(counts) == split_patients(backwards)


def test_it_beats_random_splits_by_far() -> None:
    for seed in range(3):
        counts = skewed(30, seed)
        found = split_figures(counts, split_patients(counts)).deviation_points
        generator = np.random.default_rng(seed)
        random = []
        for _ in range(100):
            order = generator.permutation(sorted(counts))
            sets = {name: SETS[0 if k < 18 else 1 if k < 24 else 2] for k, name in enumerate(order)}
            random.append(split_figures(counts, sets).deviation_points)
        assert found < np.median(random) / 2
        assert found < min(random)


def test_known_deviation() -> None:
    counts = {"a": {1: 60, 2: 40}, "b": {1: 20, 2: 30}, "c": {1: 20, 2: 30}}
    figures = split_figures(counts, {"a": "train", "b": "validation", "c": "test"})
    assert figures.deviation_points == pytest.approx(20)
    assert figures.windows == {"train": 100, "validation": 50, "test": 50}
    assert figures.patients == {"train": 1, "validation": 1, "test": 1}
    assert figures.warnings == ()


def test_a_perfect_split_is_found() -> None:
    counts = {f"P{k}": {1 + k % 2: 10} for k in range(10)}
    counts |= {f"Q{k}": {1 + k % 2: 10} for k in range(10)}
    assert split_figures(counts, split_patients(counts)).deviation_points == pytest.approx(0)


def test_a_class_of_one_patient_trains_and_is_named() -> None:
    counts = skewed(9, 1, classes=3)
    counts["P004"][9] = 50
    sets = split_patients(counts)
    assert sets["P004"] == "train"
    assert any("class 9" in text and "1 patient " in text for text in split_figures(counts, sets).warnings)


def test_classes_that_the_same_sets_lack_are_said_together() -> None:
    counts = skewed(9, 1, classes=3)
    for patient, kind in (("P001", 7), ("P004", 8), ("P002", 8)):
        counts[patient][kind] = 50
    sets = {
        name: "validation" if name == "P003" else "test" if name in ("P005", "P006") else "train" for name in counts
    }
    said = (
        "classes MF (1 patient) and SMNL (2 patients) are painted in few: validation and test are without them, so nobody will "
        "know how well they are told apart; paint them in cases of at least three patients"
    )
    assert split_figures(counts, sets, called={7: "MF", 8: "SMNL"}).warnings == (said,)


def test_every_set_sees_a_class_of_three_patients() -> None:
    counts = skewed(12, 2, classes=3)
    for name in ("P001", "P005", "P009"):
        counts[name][9] = 5
    sets = split_patients(counts)
    assert {sets[name] for name in ("P001", "P005", "P009")} == set(SETS)


def test_fewer_than_three_patients_say_so() -> None:
    with pytest.raises(PatchError, match=r"at least three patients.*Found: 2 patients"):
        split_patients({"a": {1: 5}, "b": {1: 5}, "c": {}, "d": {1: 0}})
    with pytest.raises(PatchError, match="Found: 0 patients"):
        split_patients({})


def test_shares_are_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        split_patients(skewed(5, 0), shares=(0.8, 0.2, 0.0))


def window(row: float, col: float, class_id: int = 1) -> Window:
    return Window(1, class_id, Box(int(row), int(col), 28, 28), (row, col), 1.0, (True,))


def test_halves_keep_their_distance() -> None:
    windows = [window(28 * r, 28 * c + 1000 * k, 1 + k) for k in range(2) for r in range(15) for c in range(20)]
    sets = split_halves(windows)
    for class_id in (1, 2):
        by_set = {
            each: np.array(
                [w.centre_um for w, s in zip(windows, sets, strict=True) if s == each and w.class_id == class_id]
            )
            for each in (*SETS, LEFT_OUT)
        }
        assert all(len(places) for places in by_set.values())
        assert by_set["train"][:, 1].max() + 100 <= by_set["test"][:, 1].min()
        assert by_set["validation"][:, 1].max() + 100 <= by_set["test"][:, 1].min()
        assert by_set["train"][:, 0].max() + 50 <= by_set["validation"][:, 0].min()


def test_a_class_too_small_for_halves_says_so() -> None:
    with pytest.raises(PatchError, match="class 1 is too small"):
        split_halves([window(0, 0), window(0, 28)])
    with pytest.raises(PatchError):
        split_halves([])


def test_who_was_in_a_set_stays_in_it_while_patients_come() -> None:
    counts = skewed(60, 4)
    first = split_patients({name: counts[name] for name in sorted(counts)[:30]})
    grown = split_patients(counts, keep=first)
    assert {name: grown[name] for name in first} == first
    assert [list(grown.values()).count(each) for each in SETS] == [36, 12, 12]
    assert split_figures(counts, grown).deviation_points < 5  # a new split reaches 1


def test_only_who_must_is_moved_so_that_each_class_reaches_each_set() -> None:
    counts = {f"P{k}": {1: 100, 2: 100 if k in (0, 1, 2) else 0} for k in range(10)}
    before = {f"P{k}": "train" if k < 6 else "validation" if k < 8 else "test" for k in range(10)}
    after = split_patients(counts, keep=before)
    assert {after[f"P{k}"] for k in range(3)} == set(SETS)
    assert sum(after[name] != before[name] for name in before) == 4  # two pairs changed places


def test_of_too_many_in_a_set_the_least_are_moved() -> None:
    counts = {f"P{k}": {1: 50} for k in range(10)}
    before = {f"P{k}": "test" if k < 4 else "train" for k in range(10)}
    after = split_patients(counts, keep=before)
    assert [list(after.values()).count(each) for each in SETS] == [6, 2, 2]
    assert sum(after[name] != before[name] for name in before) == 2


def test_sets_that_are_not_sets_are_not_kept() -> None:
    counts = skewed(9, 1)
    assert split_patients(counts, keep=dict.fromkeys(counts, "left out")) == split_patients(counts)
    assert split_patients(counts, keep={"nobody": "test"}) == split_patients(counts)
