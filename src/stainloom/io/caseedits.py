"""What a user takes back about a case: the whole case out of its study, or another scan in the place of a slide. Nothing painted is deleted."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from stainloom.case.case import Case
from stainloom.case.slide import Slide
from stainloom.errors import CaseError
from stainloom.io.casefile import StudyFolder
from stainloom.io.files import disk_errors, safe_name
from stainloom.io.intake import describe_row, homes_of
from stainloom.io.pack import placed
from stainloom.io.table import Row

REMOVED = "removed"
"""Folder of a study that keeps what was taken out of it."""


def remove_case(folder: StudyFolder, name: str) -> Path:
    """Take a case out of its study: its folder, with all that was painted, moves to `removed/`; slides stay where they are.

    Returns
    -------
    Where it lies now.

    Raises
    ------
    CaseError
        Where the study has no such case, or somebody holds it.

    Notes
    -----
    A case that cannot be read can be taken out too: it is moved, never opened.
    """
    place = folder.case_path(name)
    if not (place / "case.json").is_file():
        folder.case(name)  # says which cases there are
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    with disk_errors(place), folder.hold_folder(name):
        (folder.path / REMOVED).mkdir(exist_ok=True)
        target = _free(folder.path / REMOVED / f"{name}-{day}")
        os.rename(place, target)
    for left in ("holder.json", ".holder.lock"):
        with suppress(OSError):
            (target / left).unlink()
    return target


def _free(path: Path) -> Path:
    number = 2
    free = path
    while free.exists():
        free = path.with_name(f"{path.name}-{number}")
        number += 1
    return free


def replace_slide(folder: StudyFolder, name: str, stain: str, path: Path, um_per_px: float | None = None) -> Case:
    """Give a case another scan of a stain, or one of a stain that it lacked; what was made from the old one no longer counts.

    Parameters
    ----------
    folder, name, stain
        Which slide.
    path
        The new file; it stays where it is.
    um_per_px
        Of level 0, where the file does not state it.

    Returns
    -------
    The case as it is now: the stain not aligned, its colours as scanned.

    Raises
    ------
    CaseError
        Where somebody holds the case, the file is a slide of the study already, or it is the reference and something is
        painted on it: paint belongs to the pixels that it was painted on.
    SlideError
        A file that is no image.
    """
    folder.study.stain(stain)
    with folder.hold(name):
        case = folder.case(name)
        if stain == folder.study.reference and folder.labels_path(name).exists():
            raise CaseError(
                f"the {stain} slide of case {name} is painted",
                slide=path.name,
                stain=stain,
                expected="paint stays on the scan that it was painted on",
                next="take the new scan in as a new case",
            )
        described = describe_row(Row(name, case.patient, case.block, stain, path, um_per_px))
        _check_new(folder, described.fingerprint.ends_sha256, described.fingerprint.bytes, path)
        root, relative = placed(folder, path.resolve(), homes_of([path.resolve()], folder.path))
        new = Slide(stain, root, relative, described.facts.size, described.um_per_px, described.fingerprint)
        _forget(folder, name, folder.study.moving if stain == folder.study.reference else (stain,))
        folder.drop_normalization(name, stain)
        points = {key: value for key, value in folder.landmarks(name).items() if key != stain}
        if folder.landmarks(name):
            folder.save_landmarks(name, points)
        slides = {
            key: {**case.slides, stain: new}[key] for key in folder.study.stain_names if key in {*case.slides, stain}
        }
        folder.save_case(replace(case, slides=slides, left_out=tuple(out for out in case.left_out if out != stain)))
    return folder.case(name)


def _check_new(folder: StudyFolder, ends: str, size: int, path: Path) -> None:
    for case in folder.readable_cases()[0]:
        for stain, slide in case.slides.items():
            if (slide.fingerprint.bytes, slide.fingerprint.ends_sha256) == (size, ends):
                raise CaseError(
                    "the study has this slide already",
                    slide=path.name,
                    stain=stain,
                    expected="another scan",
                    found=f"the {stain} slide of case {case.name}, with the same content",
                    next="choose the new file",
                )


def _forget(folder: StudyFolder, name: str, stains: tuple[str, ...]) -> None:
    """Drop the pointers to alignments and carried labels; what they pointed to stays on the disk."""
    for stain in stains:
        for kind in ("warps", "carried"):
            current = folder.case_path(name) / kind / safe_name(stain) / "current"
            with disk_errors(current):
                current.unlink(missing_ok=True)
