"""Stains and lesion classes as JSON: the user's own protocols, and the part of `study.json` that says the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

from annotated_types import Ge, Le, Len
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stainloom.case.lesions import LesionClass
from stainloom.case.stains import Dye, Stain
from stainloom.case.study import PROTOCOLS, Protocol
from stainloom.errors import CaseError
from stainloom.io.files import read_json

STAINS_MOST = 32
CLASSES_MOST = 255
_PROTOCOL_MOST_BYTES = 1 << 20

Word = Annotated[str, Field(min_length=1, max_length=100)]
_Density = Annotated[float, Ge(0), Le(10)]


class Record(BaseModel):
    """What a JSON object of ours may hold: no other keys, no conversion of types, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class DyeRecord(Record):
    """A dye in a protocol."""

    name: Word
    direction: tuple[_Density, _Density, _Density]


class StainRecord(Record):
    """A stain in a protocol; without words its own name betrays it."""

    name: Word
    words: Annotated[list[Word], Len(0, 64)] = []
    dyes: Annotated[list[DyeRecord], Len(0, 3)] = []


class LesionRecord(Record):
    """A lesion class in a protocol."""

    id: Annotated[int, Ge(1), Le(255)]
    short: Word
    name: Word
    color: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
    on: bool = True


class ProtocolRecord(Record):
    """A protocol as its file holds it."""

    name: Word
    reference: Word
    stains: Annotated[list[StainRecord], Len(1, STAINS_MOST)]
    lesions: Annotated[list[LesionRecord], Len(1, CLASSES_MOST)]


RecordType = TypeVar("RecordType", bound=Record)


def checked(record: type[RecordType], content: dict[str, Any], path: Path) -> RecordType:
    """A JSON object as a record; `CaseError` that names the file and each field that is wrong."""
    try:
        return record.model_validate_json(json.dumps(content))
    except ValidationError as error:
        faults = [f"{_field(fault['loc'])}: {fault['msg']}" for fault in error.errors(include_url=False)]
        raise CaseError(
            f"{path.name} does not say what it should",
            slide=path.name,
            expected="the keys and values that docs/formats.md describes",
            found="; ".join(faults[:5]) + (f"; and {len(faults) - 5} more" if len(faults) > 5 else ""),
            next=f"correct {path}",
        ) from error


def _field(place: tuple[int | str, ...]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".")


def protocol_from_json(path: Path) -> Protocol:
    """Read a protocol: any 1 to 32 stains, 1 to 255 lesion classes, dyes where they are known.

    Parameters
    ----------
    path
        The JSON file, at most 1 MiB; its keys stand in docs/formats.md.

    Raises
    ------
    CaseError
        Naming the file and the path of each field that is wrong.
    """
    return to_protocol(checked(ProtocolRecord, read_json(path, _PROTOCOL_MOST_BYTES), path), path)


def protocol_named(name: str) -> Protocol:
    """A built-in protocol by its name, or one from a JSON file by its path; `CaseError` where there is neither."""
    for protocol in PROTOCOLS:
        if protocol.name == name:
            return protocol
    if Path(name).suffix.lower() == ".json":
        return protocol_from_json(Path(name))
    known = ", ".join(protocol.name for protocol in PROTOCOLS)
    raise CaseError(
        "no such protocol", expected=f"{known}, or the path of a JSON file", found=name, next="choose one of these"
    )


def to_protocol(record: ProtocolRecord, path: Path) -> Protocol:
    """The protocol that a checked record describes; `CaseError` where its entries contradict one another."""
    for what, names in (
        ("stains[].name", [stain.name for stain in record.stains]),
        ("lesions[].short", [lesion.short for lesion in record.lesions]),
    ):
        _unlike(what, names, path)
    for stain in record.stains:
        for dye in stain.dyes:
            if sum(abs(part) for part in dye.direction) < 1e-6:
                raise CaseError(
                    f"{path.name} gives a dye no direction",
                    slide=path.name,
                    stain=stain.name,
                    expected="optical density in R, G, B, not all 0",
                    found=f"{dye.name}: {list(dye.direction)}",
                    next=f"correct {path}",
                )
    stains = tuple(
        Stain(
            stain.name,
            tuple(stain.words) or _own_words(stain.name),
            tuple(Dye(dye.name, dye.direction) for dye in stain.dyes),
        )
        for stain in record.stains
    )
    try:
        lesions = tuple(LesionClass(**lesion.model_dump()) for lesion in record.lesions)
        return Protocol(record.name, stains, record.reference, lesions)
    except ValueError as error:
        raise CaseError(
            f"{path.name} contradicts itself", slide=path.name, found=str(error), next=f"correct {path}"
        ) from error


def _unlike(what: str, names: list[str], path: Path) -> None:
    # "HE" and "he" would be one folder on Windows and macOS.
    seen: dict[str, int] = {}
    for number, name in enumerate(names):
        if name.casefold() in seen:
            place = what.replace("[]", f"[{number}]")
            other = what.replace("[]", f"[{seen[name.casefold()]}]")
            raise CaseError(
                f"{path.name} has two names that are alike",
                slide=path.name,
                expected="names that differ by more than capital letters",
                found=f"{place} and {other} are both {name!r}",
                next=f"correct {path}",
            )
        seen[name.casefold()] = number


def _own_words(name: str) -> tuple[str, ...]:
    word = "".join(c for c in name.lower() if c.isalnum())
    return (word,) if word else ()


def protocol_content(protocol: Protocol) -> dict[str, Any]:
    """A protocol as its JSON file holds it; `protocol_from_json` gives it back."""
    return {
        "name": protocol.name,
        "reference": protocol.reference,
        "stains": [
            {
                "name": stain.name,
                "words": list(stain.words),
                "dyes": [{"name": dye.name, "direction": list(dye.direction)} for dye in stain.dyes],
            }
            for stain in protocol.stains
        ],
        "lesions": [
            {"id": c.id, "short": c.short, "name": c.name, "color": c.color, "on": c.on} for c in protocol.lesions
        ],
    }
