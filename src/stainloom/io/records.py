"""What the JSON files of a study hold, both ways: study.json, case.json, landmarks.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Le, Len
from pydantic import Field

from stainloom import __version__
from stainloom.case.case import Case
from stainloom.case.slide import Fingerprint, Slide
from stainloom.case.study import Study
from stainloom.errors import CaseError
from stainloom.geometry import Points, Size
from stainloom.io.files import safe_name
from stainloom.io.protocol import STAINS_MOST, ProtocolRecord, Record, Word, checked, protocol_content, to_protocol

FORMAT_VERSION = 1
"""Version of the study folder. It rises when an older program could misread a newer folder."""

_LANDMARKS_MOST = 100_000

_UmPerPx = Annotated[float, Gt(0), Le(1000)]
_Pixels = Annotated[int, Ge(1), Le(10_000_000)]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Um = Annotated[float, Ge(-1e9), Le(1e9)]


class _Versioned(Record):
    version: Literal[1]
    program: Annotated[str, Field(max_length=50)]


class SettingsRecord(Record):
    """Settings of a study."""

    label_um: Annotated[float, Ge(0.1), Le(100)]


class StudyRecord(_Versioned, ProtocolRecord):
    """study.json."""

    format: Literal["stainloom study"]
    roots: Annotated[list[Word], Len(1, 10_000)]
    settings: SettingsRecord
    simulated: bool


class FingerprintRecord(Record):
    """By what a slide is found again."""

    bytes: Annotated[int, Ge(0)]
    ends_sha256: _Sha256
    sha256: _Sha256 | None


class SlideRecord(Record):
    """One slide of a case."""

    root: Word
    path: Annotated[str, Field(min_length=1, max_length=4096)]
    size_px: tuple[_Pixels, _Pixels]
    um_per_px: tuple[_UmPerPx, _UmPerPx]
    fingerprint: FingerprintRecord


class CaseRecord(_Versioned):
    """case.json."""

    format: Literal["stainloom case"]
    patient: Word
    block: Word
    left_out: Annotated[list[Word], Len(0, STAINS_MOST)]
    slides: Annotated[dict[Word, SlideRecord], Len(0, STAINS_MOST)]


class LandmarksRecord(_Versioned):
    """landmarks.json."""

    format: Literal["stainloom landmarks"]
    points_um: dict[Word, Annotated[list[tuple[_Um, _Um] | None], Len(0, _LANDMARKS_MOST)]]


def refuse_newer(content: Mapping[str, Any], path: Path) -> None:
    """`CaseError` where a file has a later version than this program reads: which program it needs."""
    version = content.get("version")
    if isinstance(version, int) and not isinstance(version, bool) and version > FORMAT_VERSION:
        program = str(content.get("program", ""))[:50]
        needed = f"Stainloom {program} or later" if program else "a later Stainloom"
        raise CaseError(
            f"{path.name} was written by a newer program",
            slide=path.name,
            expected=f"format version {FORMAT_VERSION}, which this Stainloom {__version__} reads",
            found=f"format version {version}",
            next=f"open it with {needed}; this one changes nothing in it",
        )


def study_content(study: Study) -> dict[str, Any]:
    """A study as `study.json` holds it."""
    return {
        "format": "stainloom study",
        "version": FORMAT_VERSION,
        "program": __version__,
        **protocol_content(study.protocol),
        "roots": list(study.roots),
        "settings": {"label_um": study.label_um},
        "simulated": study.simulated,
    }


def study_from(content: dict[str, Any], path: Path) -> Study:
    """The study that `study.json` describes; `CaseError` where it is newer or wrong."""
    refuse_newer(content, path)
    record = checked(StudyRecord, content, path)
    odd = [name for name in record.roots if name != "." and safe_name(name) != name]
    if odd or record.roots[0] != "." or len(set(record.roots)) != len(record.roots):
        raise CaseError(
            f"{path.name} names its slide folders wrongly",
            slide=path.name,
            expected="'.' first, then plain names, each once",
            found=", ".join(repr(name) for name in record.roots[:10]),
            next=f"correct {path}",
        )
    return Study(to_protocol(record, path), tuple(record.roots), record.settings.label_um, record.simulated)


def case_content(case: Case) -> dict[str, Any]:
    """A case as `case.json` holds it. Its name is its folder's."""
    return {
        "format": "stainloom case",
        "version": FORMAT_VERSION,
        "program": __version__,
        "patient": case.patient,
        "block": case.block,
        "left_out": list(case.left_out),
        "slides": {
            stain: {
                "root": slide.root,
                "path": slide.path,
                "size_px": [slide.size.rows, slide.size.cols],
                "um_per_px": list(slide.um_per_px),
                "fingerprint": {
                    "bytes": slide.fingerprint.bytes,
                    "ends_sha256": slide.fingerprint.ends_sha256,
                    "sha256": slide.fingerprint.sha256,
                },
            }
            for stain, slide in case.slides.items()
        },
    }


def case_from(content: dict[str, Any], path: Path, name: str, study: Study) -> Case:
    """The case that `case.json` describes; `CaseError` where it is newer, wrong or not of this study."""
    refuse_newer(content, path)
    record = checked(CaseRecord, content, path)
    for stain in (*record.slides, *record.left_out):
        if stain not in study.stain_names:
            raise CaseError(
                f"case {name} has a stain that the study does not have",
                slide=path.name,
                stain=stain,
                expected="one of " + ", ".join(study.stain_names),
                found=stain,
                next=f"correct {path}",
            )
    slides = {
        stain: Slide(
            stain,
            slide.root,
            slide.path,
            Size(*slide.size_px),
            slide.um_per_px,
            Fingerprint(slide.fingerprint.bytes, slide.fingerprint.ends_sha256, slide.fingerprint.sha256),
        )
        for stain, slide in sorted(record.slides.items(), key=lambda item: study.stain_names.index(item[0]))
    }
    return Case(name, record.patient, record.block, slides, tuple(record.left_out))


def landmarks_content(points_um: Mapping[str, Points]) -> dict[str, Any]:
    """Landmarks as `landmarks.json` holds them; ValueError where stains have different numbers of points."""
    counts = {stain: np.asarray(points).shape for stain, points in points_um.items()}
    if len(set(counts.values())) > 1 or any(len(shape) != 2 or shape[1] != 2 for shape in counts.values()):
        raise ValueError(f"landmarks are (n, 2) in each stain, n the same: {counts}")
    return {
        "format": "stainloom landmarks",
        "version": FORMAT_VERSION,
        "program": __version__,
        "points_um": {
            stain: [[float(row), float(col)] if np.isfinite([row, col]).all() else None for row, col in points]
            for stain, points in points_um.items()
        },
    }


def landmarks_from(content: dict[str, Any], path: Path, study: Study) -> dict[str, Points]:
    """Landmarks by stain, (n, 2) um, NaN where a stain lacks the point; `CaseError` where the file is wrong."""
    refuse_newer(content, path)
    record = checked(LandmarksRecord, content, path)
    if len({len(points) for points in record.points_um.values()}) > 1:
        raise CaseError(
            "landmarks are not joined",
            slide=path.name,
            expected="as many points in every stain, null where one is missing",
            found=", ".join(f"{stain} {len(points)}" for stain, points in record.points_um.items()),
            next=f"correct {path}",
        )
    nowhere = (float("nan"), float("nan"))
    return {
        study.stain(stain).name: np.array([point or nowhere for point in points], np.float64).reshape(-1, 2)
        for stain, points in record.points_um.items()
    }
