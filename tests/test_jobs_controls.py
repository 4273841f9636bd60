"""Which figures of the controls let a gain of fusing stand."""

from __future__ import annotations

import pytest

from stainloom.jobs.controls import judge


def _failing(**changed: float) -> set[str]:
    figures = {"fused": 0.70, "shifted": 0.55, "shuffled": 0.18, "chance": 0.17, **changed}
    alone = {"HE": 0.20, "VG": figures.pop("best", 0.50)}
    return {check.name for check in judge(alone=alone, **figures) if not check.holds}


def test_a_gain_that_the_shift_takes_away_stands() -> None:
    assert _failing() == set()


@pytest.mark.parametrize(
    ("changed", "failing"),
    [
        ({"shifted": 0.61}, {"shifted stains"}),
        ({"shuffled": 0.25}, {"shuffled labels"}),
        ({"fused": 0.45, "shifted": 0.2}, {"fused", "shifted stains"}),
        ({"best": 0.80, "fused": 0.9}, {"best single stain"}),
        ({"best": 0.30, "fused": 0.9, "shifted": 0.5}, {"best single stain"}),
    ],
)
def test_each_control_can_fail(changed: dict[str, float], failing: set[str]) -> None:
    assert _failing(**changed) == failing


def test_no_accuracy_of_a_single_stain_is_asked_where_each_class_has_its_own_stain() -> None:
    names = {check.name for check in judge(0.9, {"HE": 0.2}, 0.3, 0.17, 0.17, realistic=False)}
    assert names == {"fused", "shifted stains", "shuffled labels"}
