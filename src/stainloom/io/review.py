"""reviewed.json: that somebody looked at the maps of a case and at its paint, and at which."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from stainloom import __version__
from stainloom.errors import CaseError
from stainloom.io.files import disk_errors, read_json, write_json
from stainloom.io.protocol import Record, checked
from stainloom.io.records import refuse_newer

REVIEW_VERSION = 1
_BYTES_MOST = 10_000

_Id = Annotated[str, Field(max_length=64)]


@dataclass(frozen=True)
class Review:
    """What somebody looked at.

    Attributes
    ----------
    when
        UTC, ISO 8601.
    run
        Whose maps.
    maps, labels
        Ids of the maps and of the paint as they were; `labels` is empty where nothing was painted.
    """

    when: str
    run: str
    maps: str
    labels: str


class ReviewRecord(Record):
    """reviewed.json."""

    format: Literal["stainloom review"]
    version: Literal[1]
    program: Annotated[str, Field(max_length=50)]
    when: Annotated[str, Field(max_length=40)]
    run: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    maps: _Id
    labels: _Id


def write_review(path: Path, review: Review) -> None:
    """Keep a review; an earlier one gives way."""
    head = {"format": "stainloom review", "version": REVIEW_VERSION, "program": __version__}
    write_json(path, {**head, **vars(review)})


def read_review(path: Path) -> Review | None:
    """The review of a case, or None where there is none; `CaseError` where it is damaged or newer."""
    if not path.is_file():
        return None
    content = read_json(path, _BYTES_MOST)
    refuse_newer(content, path)
    record = checked(ReviewRecord, content, path)
    return Review(record.when, record.run, record.maps, record.labels)


def drop_review(path: Path) -> None:
    """Forget the review of a case."""
    with disk_errors(path, CaseError):
        path.unlink(missing_ok=True)
