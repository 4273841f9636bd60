"""One dataclass gives options, forms and JSON."""

from dataclasses import MISSING, dataclass
from typing import Annotated, Literal

import pytest
from annotated_types import Interval

from stainloom.settings import as_json, check, describe


@dataclass(frozen=True)
class Example:
    """An example.

    Attributes
    ----------
    size_px
        Side of a patch,
        px.
    way
        Which way.
    stains
        Which stains.
    share
        A share.
    """

    size_px: Annotated[int, Interval(ge=8, le=64)] = 28
    way: Literal["low", "high"] = "low"
    stains: tuple[str, ...] = ()
    share: Annotated[float, Interval(gt=0, lt=1)] | None = None
    on: bool = False


@dataclass(frozen=True)
class Unshowable:
    """A setting that no form can show."""

    table: dict[str, int]


def test_fields_carry_kind_bounds_choices_and_help() -> None:
    size, way, stains, share, on = describe(Example)
    assert (size.kind, size.default, size.least, size.most, size.help) == (int, 28, 8, 64, "Side of a patch, px.")
    assert way.choices == ("low", "high")
    assert (stains.many, stains.kind, stains.default) == (True, str, ())
    assert (share.optional, share.kind, share.least, share.most) == (True, float, 0, 1)
    assert on.kind is bool
    assert MISSING not in (size.default, on.default)


def test_wrong_values_are_said_with_their_field() -> None:
    assert check(Example, {"size_px": 12}).size_px == 12
    with pytest.raises(ValueError, match=r"size_px.*64.*99"):
        check(Example, {"size_px": 99})
    with pytest.raises(ValueError, match="no such setting: siez"):
        check(Example, {"siez": 1})
    with pytest.raises(ValueError, match="way"):
        check(Example, {"way": "middle"})


def test_settings_survive_json() -> None:
    example = Example(stains=("HE", "VG"), share=0.5)
    assert check(Example, as_json(example)) == example


def test_a_setting_that_no_form_can_show_is_a_mistake_of_ours() -> None:
    with pytest.raises(TypeError, match="table"):
        describe(Unshowable)
