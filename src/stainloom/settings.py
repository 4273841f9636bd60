"""Settings as data: from one frozen dataclass come the command line's options, a dock's form and the saved JSON."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import docstring_parser
from annotated_types import BaseMetadata, Ge, Gt, Interval, Le, Lt
from pydantic import TypeAdapter, ValidationError

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class Field:
    """One setting, as a form or a command line shows it.

    Attributes
    ----------
    name
        The dataclass field.
    kind
        `int`, `float`, `str` or `bool`; of the items where `many`.
    default
        Its default; `dataclasses.MISSING` where it must be given.
    help
        The field's description in the class docstring.
    choices
        The allowed values of a Literal, else empty.
    least, most
        Inclusive bounds, or None.
    many
        Whether it is a tuple of any length.
    optional
        Whether None is allowed.
    """

    name: str
    kind: type
    default: Any
    help: str
    choices: tuple[Any, ...] = ()
    least: float | None = None
    most: float | None = None
    many: bool = False
    optional: bool = False


@cache
def describe(settings: type) -> tuple[Field, ...]:
    """The fields of a settings dataclass, in order.

    Raises
    ------
    TypeError
        Where a field is of a type that neither a form nor an option can show.
    """
    hints = get_type_hints(settings, include_extras=True)
    texts = {p.arg_name: (p.description or "") for p in docstring_parser.parse(settings.__doc__ or "").params}
    return tuple(
        _field(field, hints[field.name], " ".join(texts.get(field.name, "").split()))
        for field in dataclasses.fields(settings)
        if field.init
    )


def _field(field: dataclasses.Field[Any], hint: Any, text: str) -> Field:
    least: Any = None
    most: Any = None
    many = optional = False
    choices: tuple[Any, ...] = ()
    while True:
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is Annotated:
            hint = arguments[0]
            for bound in _bounds(arguments[1:]):
                least = bound.ge if isinstance(bound, Ge) else bound.gt if isinstance(bound, Gt) else least
                most = bound.le if isinstance(bound, Le) else bound.lt if isinstance(bound, Lt) else most
        elif origin in (Union, types.UnionType) and type(None) in arguments and len(arguments) == 2:
            optional = True
            hint = next(a for a in arguments if a is not type(None))
        elif origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
            many, hint = True, arguments[0]
        elif origin is Literal:
            choices, hint = arguments, type(arguments[0])
        elif hint in (int, float, str, bool):
            default = field.default
            if field.default_factory is not dataclasses.MISSING:
                default = field.default_factory()
            return Field(field.name, hint, default, text, choices, least, most, many, optional)
        else:
            raise TypeError(f"setting {field.name}: no form can show {hint}")


def _bounds(metadata: tuple[Any, ...]) -> list[Any]:
    bounds: list[Any] = []
    for item in metadata:
        bounds.extend(item if isinstance(item, Interval) else [item] if isinstance(item, BaseMetadata) else [])
    return bounds


def check(settings: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Settings from plain values, types and bounds checked.

    Raises
    ------
    ValueError
        Naming each wrong setting, what it may be, and what was given.
    """
    kind: type = settings
    unknown = set(values) - {field.name for field in describe(kind)}
    if unknown:
        raise ValueError(f"no such setting: {', '.join(sorted(unknown))}")
    try:
        checked: Settings = _adapter(kind).validate_python(dict(values))
    except ValidationError as error:
        raise ValueError("; ".join(_said(problem) for problem in error.errors())) from None
    return checked


@cache
def _adapter(settings: type) -> TypeAdapter[Any]:
    """Made once: it takes 20 ms, and a form checks itself at each key."""
    return TypeAdapter(settings)


def _said(problem: Any) -> str:
    """What pydantic found wrong, in a sentence; what the dataclass itself says of several fields stands as it is."""
    if not problem["loc"]:
        return str(problem["msg"]).removeprefix("Value error, ")
    return f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}, not {problem['input']!r}"


def as_json(settings: Any) -> dict[str, Any]:
    """Settings as JSON-ready values, to be saved beside a result."""
    kind: type = type(settings)
    values: dict[str, Any] = _adapter(kind).dump_python(settings, mode="json")
    return values
