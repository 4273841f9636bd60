"""A case opened for a job: its slides, how far each stain can be trusted, its paint as it stands."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from stainloom.case.aligned import AlignedCase, AlignedStain
from stainloom.case.case import Case
from stainloom.case.view import USABLE, Verdict
from stainloom.errors import CaseError, LabelError, SlideError, StainloomError
from stainloom.geometry import size_at
from stainloom.io.casefile import StudyFolder
from stainloom.io.tiles import TileCache
from stainloom.wording import DAY_AND_TIME, moment

if TYPE_CHECKING:
    from stainloom.io.slides import OpenedSlide
    from stainloom.io.snapshot import Labels
    from stainloom.io.strokes import LabelStore
    from stainloom.stain.normalize import Normalization

CACHE_BYTES = 256 * 2**20
"""Decoded tiles that a job keeps."""


def chosen_cases(folder: StudyFolder, names: Sequence[str]) -> tuple[tuple[Case, ...], list[StainloomError]]:
    """The named cases, or all that can be read, and why others cannot; raises where none is left, or a named one cannot."""
    cases, problems = (folder.cases(list(names)), ()) if names else folder.readable_cases()
    if not cases and problems:
        raise problems[0]
    if not cases:
        raise CaseError("the study has no case yet", next="take one in: stainloom case add STUDY FOLDER")
    return cases, list(problems)


def chosen_stains(folder: StudyFolder, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(folder.study.stain(name).name for name in names) or folder.study.stain_names


def open_stain(folder: StudyFolder, case: Case, stain: str, cache: TileCache) -> OpenedSlide:
    from stainloom.io.slides import is_still, open_slide

    slide = case.slide(stain)
    path = folder.slide_path(case, slide)
    if not is_still(path, slide.fingerprint):
        raise replaced(folder, case, stain)
    return open_slide(path, cache=cache, um_per_px=slide.um_per_px, stain=stain)


def replaced(folder: StudyFolder, case: Case, stain: str) -> SlideError:
    """Another file lies under the name of a slide: nothing that was made from the old one holds for it."""
    option = (
        "take the new one in as a new case"
        if stain == folder.study.reference
        else "replace the slide (dock Cases, or `stainloom case replace`): it is then aligned anew"
    )
    return SlideError(
        f"another file lies in the place of the {stain} slide of case {case.name}",
        slide=case.slide(stain).path,
        stain=stain,
        expected="the file that was taken in",
        found="another size or content",
        next=f"put the first file back, or {option}",
    )


OUT_OF_FOCUS = "Out of focus: it is shown, but no network sees it. Scan the slide again"
"""What is said of a stain that is too blurred; see `NormalizeSettings.least_detail`."""

REFERENCE_OUT_OF_FOCUS = "Out of focus, and used all the same, since all else lies on it. Scan the slide again"
"""What is said of a reference that is."""


def verdict_of(folder: StudyFolder, case: Case, stain: str) -> tuple[Verdict, str]:
    """How far a stain's place can be trusted, and what that means in words."""
    if stain not in case.slides:
        return "missing", f"{case.name} has no {stain} slide"
    if stain == folder.study.reference:
        return "reference", "" if _sharp(folder, case, stain) else REFERENCE_OUT_OF_FOCUS
    if stain in case.left_out:
        return "left out", f"{stain} was left out of {case.name}"
    quality = folder.current_quality(case.name, stain)
    if quality is None:
        return (
            "not aligned",
            f"{stain} of {case.name} is not aligned yet: it lies as on its own glass until Align has run",
        )
    verdict = quality.get("verdict")
    known: Verdict = verdict if verdict in ("good", "failed") else "check"
    message = str(quality.get("message", ""))
    if when := accepted(quality):
        known = "good"
        message = f"Looked at and found right, {moment(when, DAY_AND_TIME, None)}. {message}".rstrip()
    if known != "failed" and not in_focus(folder, case, stain):
        return "check", OUT_OF_FOCUS if known == "good" else f"{OUT_OF_FOCUS}. {message}"
    return known, message


def in_doubt(quality: Mapping[str, Any] | None) -> bool:
    """Whether an alignment is neither good nor failed, so that somebody may look at it and say that it is right."""
    return quality is not None and quality.get("verdict") not in ("good", "failed")


def accepted(quality: Mapping[str, Any] | None) -> str:
    """When somebody found an alignment in doubt right, UTC, ISO 8601; empty where nobody did."""
    return str(quality.get("accepted") or "") if quality is not None and in_doubt(quality) else ""


def needs_aligning(folder: StudyFolder, case: Case, stain: str, settings: Mapping[str, Any] | None = None) -> bool:
    """Whether a stain that is there was never aligned, or came out in doubt or failed with other settings than these.

    With the same settings it would come out the same: somebody has to look at it, or lay it by hand.
    """
    if stain == folder.study.reference or stain not in case.slides or stain in case.left_out:
        return False
    quality = folder.current_quality(case.name, stain)
    if quality is None:
        return True
    settled = quality.get("verdict") == "good" or quality.get("by_hand") or accepted(quality)
    return not settled and settings is not None and quality.get("settings") != settings


def in_focus(folder: StudyFolder, case: Case, stain: str) -> bool:
    """Whether a slide is sharp enough for a network; True where nobody looked yet, and of the reference, which all needs."""
    return stain == folder.study.reference or _sharp(folder, case, stain)


def _sharp(folder: StudyFolder, case: Case, stain: str) -> bool:
    colour = colour_of(folder, case, stain)
    return colour is None or colour.in_focus


def raw_stains(folder: StudyFolder, case: Case) -> list[str]:
    """Stains of a case that a network would see as they were scanned, although their dyes are known."""
    return [
        stain.name
        for stain in folder.study.stains
        if stain.dyes
        and stain.name in case.slides
        and verdict_of(folder, case, stain.name)[0] in USABLE
        and folder.normalization(case.name, stain.name) is None
    ]


def colour_of(folder: StudyFolder, case: Case, stain: str) -> Normalization | None:
    from stainloom.stain.normalize import Normalization

    stored = folder.normalization(case.name, stain)
    return None if stored is None else Normalization.from_dict(stored)


def open_aligned(
    folder: StudyFolder, case: Case, cache: TileCache, *, normalized: bool = True
) -> tuple[AlignedCase, list[OpenedSlide]]:
    """All stains of a case that a network may see, on the reference grid; those that it may not are None."""
    opened: list[OpenedSlide] = []
    stains: list[AlignedStain | None] = []
    with ExitStack() as given_up:
        for stain in folder.study.stain_names:
            verdict, _ = verdict_of(folder, case, stain)
            if verdict not in USABLE or not in_focus(folder, case, stain):
                stains.append(None)
                continue
            pyramid = open_stain(folder, case, stain, cache)
            given_up.callback(pyramid.close)
            opened.append(pyramid)
            found = None if verdict == "reference" else folder.current_warp(case.name, stain)
            colour = colour_of(folder, case, stain) if normalized else None
            stains.append(AlignedStain(stain, pyramid, None if found is None else found[0], colour))
        given_up.pop_all()
    return AlignedCase(folder.study.stain_names, tuple(stains)), opened


def patchsets_by_age(folder: StudyFolder) -> tuple[str, ...]:
    """Ids of the patch sets, the latest exported last."""
    return tuple(sorted(folder.patchsets(), key=lambda name: folder.patchset_path(name).stat().st_mtime_ns))


def not_aligned(case: Case, stain: str) -> CaseError:
    return CaseError(
        f"case {case.name} is not aligned yet",
        stain=stain,
        expected="an alignment",
        found="none",
        next="align it (dock Align, or `stainloom register`)",
    )


def cautions(folder: StudyFolder, case: Case) -> list[str]:
    """One sentence for each stain whose place is not simply good."""
    said = []
    for stain in folder.study.moving:
        verdict, message = verdict_of(folder, case, stain)
        if verdict not in ("good", "left out"):
            use = (
                "is used all the same"
                if verdict == "check" and in_focus(folder, case, stain)
                else "is treated as missing"
            )
            said.append(f"{case.name}, {stain}: {verdict}, {use}. {message}".rstrip())
    return said


def take_snapshot(folder: StudyFolder, case: Case) -> Labels:
    """The labels of a case as they stand: written by this job, or, where a window holds the case, by that window."""
    if not folder.labels_path(case.name).exists():
        raise LabelError(
            f"nothing is painted in case {case.name}",
            expected="lesions painted on the reference, or imported outlines",
            found="none",
            next="paint it (dock Paint), or run `stainloom annotations import`",
        )
    if not os.access(folder.case_path(case.name), os.W_OK):
        store = open_store(folder, case, read_only=True)
        try:
            return store.labels()
        finally:
            store.close()
    if folder.holder(case.name) is None:
        with folder.hold(case.name):
            store = open_store(folder, case)
            try:
                store.snapshot(folder.snapshot_path(case.name))
            finally:
                store.close()
    return read_snapshot(folder, case)


def look_at_labels(folder: StudyFolder, case: Case) -> Labels:
    """The labels of a case for what only looks: nobody is held up, nothing is written.

    While a window holds the case, they are as that window last handed them to a job.
    """
    if folder.holder(case.name) is not None and folder.snapshot_path(case.name).exists():
        return read_snapshot(folder, case)
    store = open_store(folder, case, read_only=True)
    try:
        return store.labels()
    finally:
        store.close()


def is_stale(folder: StudyFolder, case: Case, stain: str, labels_id: str | None) -> bool:
    """Whether the labels carried to a stain are older than its alignment or, where its id is given, than the paint."""
    ids = folder.carried_ids(case.name, stain)
    if ids is None:
        return False
    paint, warp = ids
    return warp != folder.current_warp_id(case.name, stain) or paint != (labels_id or paint)


def read_snapshot(folder: StudyFolder, case: Case) -> Labels:
    """The labels as the last snapshot has them; for a process whose parent has just taken it."""
    from stainloom.io.snapshot import read_labels

    return read_labels(folder.snapshot_path(case.name))


def open_store(folder: StudyFolder, case: Case, author: str = "command line", *, read_only: bool = False) -> LabelStore:
    """The store of a case's labels; whoever writes to it holds the case."""
    from stainloom.io.strokes import LabelStore

    size = size_at(case.slide(folder.study.reference).size_um, folder.study.label_um)
    path = folder.labels_path(case.name)
    return LabelStore.open(path, size, folder.study.label_um, author=author, read_only=read_only)
