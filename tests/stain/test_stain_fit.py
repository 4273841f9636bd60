"""Fits as numbers: kept, read strictly, and gathered to a reference."""

import json
from dataclasses import replace

import pytest

from stainloom.errors import CaseError
from stainloom.stain.fit import StainFit, out_of_focus, reference_fit

FIT = StainFit(
    "HE",
    ("haematoxylin", "eosin"),
    ((0.6, 0.8, 0.0), (0.0, 0.8, 0.6)),
    (0.9, 0.4),
    (240.0, 238.0, 245.0),
    50_000,
    0.01,
    0.4,
    1.0,
    ("a warning",),
)


def test_as_json_and_back() -> None:
    again = StainFit.from_dict(json.loads(json.dumps(FIT.as_dict())))
    assert again == FIT
    assert again.id == FIT.id
    assert replace(FIT, strengths=(0.9, 0.41)).id != FIT.id


@pytest.mark.parametrize(
    "wrong",
    [
        {"strengths": [0.9]},
        {"strengths": [0.9, float("nan")]},
        {"strengths": [0.9, 0.0]},
        {"strengths": [0.9, "0.4"]},
        {"vectors": [[0.6, 0.8, 0.0], [0.0, 0.8, 0.9]]},
        {"vectors": [[0.6, 0.8], [0.0, 0.8, 0.6]]},
        {"vectors": 3},
        {"background": [0, 0, 0]},
        {"background": [240, 238, True]},
        {"dyes": []},
        {"sampled_px": -1},
        {"residual": 1e400},
        {"warnings": ["x"] * 21},
        {"more": 1},
    ],
)
def test_numbers_that_describe_no_fit_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(CaseError, match="normalize the stain again"):
        StainFit.from_dict({**FIT.as_dict(), **wrong})


def test_a_missing_number_is_refused() -> None:
    values = FIT.as_dict()
    del values["strengths"]
    with pytest.raises(CaseError):
        StainFit.from_dict(values)


def test_the_reference_is_the_median_and_no_outlier_moves_it() -> None:
    near = [replace(FIT, strengths=(0.9 + k / 100, 0.4)) for k in range(4)]
    odd = replace(FIT, strengths=(5.0, 3.0), background=(200.0, 200.0, 200.0))
    found = reference_fit([*near, odd])
    assert found.strengths == pytest.approx((0.92, 0.4))
    assert found.background == FIT.background
    assert found == reference_fit([odd, *near[::-1]])
    assert reference_fit([FIT]) == FIT


def test_a_reference_is_of_one_stain() -> None:
    with pytest.raises(ValueError, match="one stain"):
        reference_fit([FIT, replace(FIT, stain="SMA")])
    with pytest.raises(ValueError, match="at least one"):
        reference_fit([])


def _seen(*details: float, um: float = 1.0) -> dict[str, StainFit]:
    return {f"S{k}": replace(FIT, detail=detail, detail_um=um) for k, detail in enumerate(details)}


def test_a_slide_far_coarser_than_usual_is_out_of_focus() -> None:
    assert out_of_focus(_seen(0.5, 0.6, 0.12, 0.55), 0.45) == {"S2"}
    assert out_of_focus(_seen(0.5, 0.6, 0.35, 0.55), 0.45) == set()
    assert out_of_focus(_seen(0.5, 0.6, 0.12, 0.55), 0.0) == set()


def test_of_two_slides_nobody_says_which_is_the_odd_one() -> None:
    assert out_of_focus(_seen(0.5, 0.05), 0.45) == set()


def test_a_slide_on_which_nothing_could_be_told_is_not_blamed_and_blames_none() -> None:
    assert out_of_focus(_seen(0.0, 0.5, 0.1, 0.6), 0.45) == {"S2"}
    assert out_of_focus(_seen(0.0, 0.0, 0.0, 0.5), 0.45) == set()


def test_only_like_scales_are_compared() -> None:
    fine, coarse = _seen(0.6, 0.65, 0.62), _seen(0.2, 0.22, um=3.5)
    assert out_of_focus({**fine, "T0": coarse["S0"], "T1": coarse["S1"]}, 0.45) == set()
