"""Slides taken into a study: what a folder or a table says, checked as a whole before anything is written."""

from __future__ import annotations

import logging
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from stainloom.case.case import Case
from stainloom.case.slide import Fingerprint, Slide
from stainloom.case.stains import stain_in_name
from stainloom.case.study import Study
from stainloom.errors import CaseError, StainloomError
from stainloom.geometry import Scale, as_scale
from stainloom.io import slides
from stainloom.io.casefile import StudyFolder
from stainloom.io.files import check_name
from stainloom.io.pack import placed
from stainloom.io.table import NAME_IT, Row, rows_of_csv
from stainloom.progress import Progress, silent

__all__ = ["Row", "read_source", "take_in"]

_log = logging.getLogger(__name__)

SLIDE_ENDINGS = (
    ".tif", ".tiff", ".svs", ".ndpi", ".scn", ".bif", ".mrxs", ".svslide", ".vms", ".vmu", ".png", ".jpg", ".jpeg",
)  # fmt: skip
"""Endings by which a file of a folder is taken for a slide."""

_FILES_MOST = 10_000
UM_PER_PX_APART = 0.05
UM_PER_PX_BOUNDS = (0.01, 100.0)


@dataclass(frozen=True)
class Described:
    """A row and what its file says."""

    row: Row
    facts: slides.SlideFacts
    um_per_px: Scale
    fingerprint: Fingerprint


def read_source(
    source: Path,
    study: Study,
    *,
    name: str | None = None,
    patient: str | None = None,
    um_per_px: float | None = None,
) -> list[Row]:
    """What a folder of slides or a table says: one row a slide. Opens no slide and writes nothing.

    Parameters
    ----------
    source
        A folder whose file names betray the stains (one block), or a CSV (docs/formats.md) of one or many blocks.
    study
        Whose stains are looked for.
    name
        Name of the case; default the folder's or the table's. Rows of a table that name their case keep it.
    patient
        The patient's pseudonym, for rows that name none.
    um_per_px
        um per px of level 0, for rows that name none.

    Raises
    ------
    CaseError
        Where there is nothing, a slide's stain cannot be told from its name, or the table has a mistake.
    """
    if name is not None:
        check_name(name, "a case")
    source = Path(source)
    if source.is_dir():
        return _rows_of_folder(source, study, name, patient, um_per_px)
    if source.suffix.lower() in (".csv", ".tsv", ".txt") and source.is_file():
        return rows_of_csv(source, study, name, patient, um_per_px)
    raise CaseError(
        "there are no slides to add",
        slide=source.name,
        expected="a folder of slides, or a CSV with the columns stain and path",
        found=f"{source} is neither" if source.exists() else f"nothing at {source}",
        next="check the path",
    )


def _rows_of_folder(
    folder: Path, study: Study, name: str | None, patient: str | None, um_per_px: float | None
) -> list[Row]:
    case = check_name(folder.resolve().name if name is None else name, "a case", NAME_IT)
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    if len(files) > _FILES_MOST:
        raise CaseError("too many files in one folder", slide=folder.name, found=f"{len(files)} files")
    pictures = [path for path in files if path.suffix.lower() in SLIDE_ENDINGS]
    for path in sorted(set(files) - set(pictures)):
        _log.info("%s is no slide by its ending and was left out", path.name)
    stains = {path: stain_in_name(path.name, study.stains) for path in pictures}
    unknown = [path.name for path, stain in stains.items() if stain is None]
    if unknown or not pictures:
        raise CaseError(
            "the stain cannot be told from every file name" if pictures else "no slide in the folder",
            slide=unknown[0] if unknown else folder.name,
            expected="one word of one stain in each name: "
            + "; ".join(f"{stain.name} ({', '.join(stain.words)})" for stain in study.stains),
            found=", ".join((unknown or [path.name for path in files])[:10]) or "nothing",
            next="rename or move these files, or write a CSV with the columns stain and path",
        )
    return [Row(case, patient, case, stain.name, path, um_per_px) for path, stain in stains.items() if stain]


def take_in(
    folder: StudyFolder, rows: Sequence[Row], *, allow_missing: bool = False, progress: Progress = silent
) -> list[Case]:
    """Add the cases of some rows to a study: all of them, or, where anything is wrong, none.

    Parameters
    ----------
    folder
        The study. Slides stay where they are; folders outside the study become roots, named in `study.json` and placed
        in the file of this machine.
    rows
        From `read_source`.
    allow_missing
        Whether a case may lack stains, which are then left out of it. Never the reference.
    progress
        Counts slides.

    Returns
    -------
    The new cases.

    Raises
    ------
    CaseError
        A missing stain or patient or um per px (each names the option), two patients or blocks in one case, a stain
        twice, the same file twice, a block or file that the study has, um per px that contradicts the file.
    SlideError
        A file that is no image.
    """
    if not rows:
        raise CaseError("there are no slides to add", next="check the folder or the table")
    groups = _by_case(rows)
    known = folder.readable_cases()[0]
    for name, group in groups.items():
        _check_block(name, group)
        _check_stains(name, group, folder.study, allow_missing)
    _check_new(groups, known)
    _check_paths(rows)
    described = [describe_row(row, progress, number, len(rows)) for number, row in enumerate(rows)]
    _check_fingerprints(described, known)
    return _write(folder, groups, described)


def _by_case(rows: Sequence[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(check_name(row.case, "a case"), []).append(row)
    return groups


def _check_block(name: str, group: Sequence[Row]) -> None:
    for what, found in (("patients", {row.patient for row in group}), ("blocks", {row.block for row in group})):
        said = sorted(value for value in found if value)
        if len(said) > 1:
            slides_of = "; ".join(f"{row.stain} {row.path.name}: {getattr(row, what[:-1])}" for row in group)
            raise CaseError(
                f"case {name} mixes slides of {len(said)} {what}",
                slide=next(row.path.name for row in group if getattr(row, what[:-1]) != getattr(group[0], what[:-1])),
                expected="one block of one patient in a case",
                found=slides_of,
                next="give each block a case of its own",
            )
    for row in group:
        if not row.patient:
            raise CaseError(
                f"the patient of case {name} is not known",
                slide=row.path.name,
                stain=row.stain,
                expected="the patient's pseudonym, the same for all blocks of one patient",
                next="state it with --patient, or in the column patient of the table",
            )


def _check_stains(name: str, group: Sequence[Row], study: Study, allow_missing: bool) -> None:
    for one, other in combinations(group, 2):
        if one.stain == other.stain and not _same_file(one.path, other.path):
            raise CaseError(
                f"case {name} has two {one.stain} slides",
                slide=one.path.name,
                stain=one.stain,
                expected="one slide of each stain",
                found=f"{one.path} and {other.path}",
                next="pick one: move the other away, or name the chosen slides in a CSV",
            )
    for row in group:
        study.stain(row.stain)
    missing = [stain for stain in study.stain_names if stain not in {row.stain for row in group}]
    if missing and (not allow_missing or study.reference in missing):
        option = "" if study.reference in missing else ", or leave it out with --allow-missing"
        raise CaseError(
            f"case {name} lacks {' and '.join(missing)}",
            stain=missing[0],
            expected="one slide each of " + ", ".join(study.stain_names),
            found=", ".join(f"{row.stain} ({row.path.name})" for row in group),
            next=f"add the missing slide{option}",
        )


def _check_new(groups: Mapping[str, Sequence[Row]], known: Sequence[Case]) -> None:
    blocks = {(case.patient, case.block): case.name for case in known}
    names = {case.name.casefold(): case.name for case in known}
    for name, group in groups.items():
        block = (str(group[0].patient), group[0].block)
        other = names.get(name.casefold()) or blocks.get(block)
        if other is not None:
            raise CaseError(
                f"block {block[1]} of patient {block[0]} is in the study already"
                if block in blocks
                else f"the study has a case {other} already",
                slide=group[0].path.name,
                found=f"case {other}",
                next="choose another name with --name, or correct the block; a case is never overwritten",
            )
        blocks[block], names[name.casefold()] = name, name


def _same_file(one: Path, other: Path) -> bool:
    return os.path.normcase(one.resolve()) == os.path.normcase(other.resolve())


def _check_paths(rows: Sequence[Row]) -> None:
    seen: dict[str, Row] = {}
    for row in rows:
        key = os.path.normcase(row.path.resolve())
        if key in seen:
            raise _twice(row, f"{seen[key].stain} of case {seen[key].case}")
        seen[key] = row


def _twice(row: Row, other: str) -> CaseError:
    return CaseError(
        "the same file twice",
        slide=row.path.name,
        stain=row.stain,
        expected="each slide once",
        found=f"{row.path} as {row.stain} of case {row.case} and as {other}",
        next="keep it where it belongs, and name the right file for the other",
    )


def _check_fingerprints(described: Sequence[Described], known: Sequence[Case]) -> None:
    seen = {
        (slide.fingerprint.bytes, slide.fingerprint.ends_sha256): f"{stain} of case {case.name}"
        for case in known
        for stain, slide in case.slides.items()
    }
    for one in described:
        key = (one.fingerprint.bytes, one.fingerprint.ends_sha256)
        if key in seen:
            raise _twice(one.row, f"{seen[key]} (another name, the same content)")
        seen[key] = f"{one.row.stain} of case {one.row.case}"


def describe_row(row: Row, progress: Progress = silent, number: int = 0, total: int = 1) -> Described:
    """What the file of a row says, checked against the row; `CaseError` or `SlideError` where it cannot be taken in."""
    progress(number, total, f"reading {row.case} {row.stain}")
    facts = slides.describe_slide(row.path, stain=row.stain)
    return Described(row, facts, _scale(row, facts.um_per_px), slides.fingerprint(row.path))


def _scale(row: Row, own: float | Scale | None) -> Scale:
    given = row.um_per_px
    low, high = UM_PER_PX_BOUNDS
    if given is not None and not (math.isfinite(given) and low <= given <= high):
        raise CaseError(
            "µm per px out of bounds",
            slide=row.path.name,
            stain=row.stain,
            expected=f"{low} to {high}",
            found=f"{given}",
            next="correct --um-per-px, or the column um_per_px of the table",
        )
    if own is None and given is None:
        raise CaseError(
            f"the {row.stain} slide of case {row.case} does not say its µm per px",
            slide=row.path.name,
            stain=row.stain,
            expected="the scale of the scan",
            found="none in the file",
            next="state it with --um-per-px, or in the column um_per_px of the table; the scanner's protocol has it",
        )
    if own is None:
        return as_scale(float(given or 0))
    stated = as_scale(own)
    if given is not None and max(abs(axis / given - 1) for axis in stated) > UM_PER_PX_APART:
        raise CaseError(
            f"the {row.stain} slide of case {row.case} says another µm per px than you",
            slide=row.path.name,
            stain=row.stain,
            expected=f"{given} µm per px, as given",
            found=f"{stated[0]:.4g} x {stated[1]:.4g} µm per px in the file",
            next="leave --um-per-px out to take the file's own; if the file is wrong, correct it there",
        )
    return stated


def _write(folder: StudyFolder, groups: Mapping[str, Sequence[Row]], described: Sequence[Described]) -> list[Case]:
    before = folder.study
    homes = homes_of([one.row.path.resolve() for one in described], folder.path)
    added: list[Case] = []
    try:
        for name, group in groups.items():
            found = {one.row.stain: one for one in described if one.row.case == name}
            in_case = {
                stain: Slide(
                    stain, *placed(folder, one.row.path, homes), one.facts.size, one.um_per_px, one.fingerprint
                )
                for stain, one in found.items()
            }
            left_out = tuple(stain for stain in folder.study.stain_names if stain not in in_case)
            folder.add_case(Case(name, str(group[0].patient), group[0].block, in_case, left_out))
            added.append(folder.case(name))
    except BaseException:
        # All or none: a table half taken in would have to be sorted out by hand.
        for case in added:
            shutil.rmtree(folder.case_path(case.name), ignore_errors=True)
        with suppress(StainloomError):
            if folder.study != before:
                folder.save_study(before)
        raise
    return added


def homes_of(paths: Sequence[Path], study: Path) -> list[Path]:
    """The folders that become roots: one that holds all slides outside the study, else each one's own."""
    outside = [path.parent for path in paths if not path.is_relative_to(study)]
    if not outside:
        return []
    try:
        common = Path(os.path.commonpath(outside))
    except ValueError:  # two drives
        return sorted(set(outside))
    # Not the whole disk, nor everything that a user has.
    if len(common.parts) < 3 or Path(os.path.expanduser("~")).is_relative_to(common):
        return sorted(set(outside))
    return [common]
