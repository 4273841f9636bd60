"""Making, showing, packing and filling studies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from stainloom.errors import CaseError
from stainloom.io.casefile import StudyFolder
from stainloom.jobs.outcome import Outcome
from stainloom.jobs.survey import CaseState, survey
from stainloom.progress import Progress, silent


def new_study(study: Path, protocol: str = "aorta", *, label_um: float = 2.0) -> Outcome:
    """Make an empty study from a built-in protocol or a JSON file of stains and lesion classes."""
    from stainloom.io.protocol import protocol_named

    if not 0.1 <= label_um <= 100:
        raise CaseError(
            "label rasters of this scale are of no use",
            expected="0.1 to 100 µm per px",
            found=f"{label_um}",
            next="take 2",
        )
    folder = StudyFolder.create(study, protocol_named(protocol), label_um=label_um)
    return Outcome(changed=("study.json",), text=said_of(folder))


def show_study(study: Path) -> Outcome:
    """Say what a study holds, case by case."""
    found = survey(study)
    lines = [said_of(StudyFolder.open(study)), *(_said_of_case(case) for case in found.cases)]
    lines += [f"patch sets: {', '.join(found.patchsets) or 'none'}", f"runs: {', '.join(found.runs) or 'none'}"]
    names = [case.name for case in found.cases]
    figures = {"cases": names, "runs": list(found.runs), "patchsets": list(found.patchsets)}
    return Outcome(figures=figures, text="\n".join(lines))


def _said_of_case(case: CaseState) -> str:
    if case.problem:
        return f"{case.name}: CANNOT BE READ. {case.problem}"
    stains = ", ".join(
        f"{stain.name} {stain.verdict}{' (looked at)' if stain.accepted else ''}{'' if stain.found else ' (SLIDE NOT FOUND)'}{' (ANOTHER FILE)' if stain.changed else ''}"
        for stain in case.stains
    )
    old = [stain.name for stain in case.stains if stain.carried == "old"]
    again = f"; carried before the last alignment: {', '.join(old)}" if old else ""
    why = [f"\n    {stain.name}: {stain.message}" for stain in case.stains if stain.message and stain.verdict != "good"]
    painted = "painted" if case.painted else "not painted"
    reviewed = (
        f"; reviewed (run {case.reviewed_run})"
        if case.reviewed
        else "; reviewed before its maps or its paint changed"
        if case.review_old
        else ""
    )
    return f"{case.name} (patient {case.patient}): {stains}; {painted}{again}{reviewed}{''.join(why)}"


def said_of(folder: StudyFolder) -> str:
    study = folder.study
    mark = " SIMULATED" if study.simulated else ""
    return (
        f"Study {folder.path.name}{mark}: {len(folder.case_names())} cases, stains {', '.join(study.stain_names)} "
        f"(reference {study.reference}), classes {', '.join(lesion.short for lesion in study.classes)}"
    )


def pack(study: Path, *, case: str | None = None, target: Path | None = None, progress: Progress = silent) -> Outcome:
    """Copy slides of other places into the study; with `case` and `target`, write that case as a study of its own."""
    folder = StudyFolder.open(study)
    if case is not None and target is not None:
        made = folder.pack_case(case, target, progress)
        return Outcome(changed=(str(made.path),), text=f"Case {case} can be sent alone: {made.path}")
    cases = folder.pack(progress)
    names = tuple(found.name for found in cases)
    return Outcome(changed=names, text=f"{len(names)} cases now hold their slides inside the study")


def relocate(study: Path, folders: Sequence[Path], *, progress: Progress = silent) -> Outcome:
    """Find slides that were moved, by size and content, below some folders."""
    found = StudyFolder.open(study).relocate(folders, progress)
    return Outcome(
        changed=tuple(f"{case}/{stain}" for case, stain, _ in found.found),
        text=f"{len(found.found)} slides found again",
        warnings=tuple(f"{case}: the {stain} slide was not found" for case, stain in found.missing),
    )


def add_case(
    study: Path,
    source: Path,
    *,
    name: str | None = None,
    patient: str | None = None,
    um_per_px: float | None = None,
    allow_missing: bool = False,
    progress: Progress = silent,
) -> Outcome:
    """Take the slides of a folder or a CSV into a study."""
    from stainloom.io.intake import read_source, take_in

    folder = StudyFolder.open(study)
    rows = read_source(source, folder.study, name=name, patient=patient, um_per_px=um_per_px)
    cases = take_in(folder, rows, allow_missing=allow_missing, progress=progress)
    names = tuple(case.name for case in cases)
    return Outcome(changed=names, text=f"Taken in: {', '.join(names)}")


def remove_case(study: Path, case: str) -> Outcome:
    """Take a case out of a study; what was painted is kept in the study's folder `removed`, slides stay where they are."""
    from stainloom.io.caseedits import remove_case

    folder = StudyFolder.open(study)
    kept = remove_case(folder, case).relative_to(folder.path).as_posix()
    return Outcome(
        (f"cases/{case}", kept), {"kept": kept}, f"{case} is out of the study; what was done on it lies in {kept}"
    )


def replace_slide(study: Path, case: str, stain: str, file: Path, *, um_per_px: float | None = None) -> Outcome:
    """Give a case another scan of a stain, or a stain that it lacked; it has to be aligned anew."""
    from stainloom.io.caseedits import replace_slide

    replace_slide(StudyFolder.open(study), case, stain, file, um_per_px)
    return Outcome((f"cases/{case}/case.json",), text=f"{stain} of {case} is now {file.name}, and not aligned yet")


def leave_out(study: Path, case: str, stain: str, *, undo: bool = False) -> Outcome:
    """Leave a stain out of a case, as if it had no slide of it, or with `undo` take it in again; its results are kept."""
    folder = StudyFolder.open(study)
    found = folder.case(case)
    found.slide(folder.study.stain(stain).name)
    if stain == folder.study.reference:
        raise CaseError(
            f"{stain} cannot be left out of case {case}",
            stain=stain,
            expected="a stain that is laid on another",
            found="the one that all others lie on",
            next="leave out another stain",
        )
    others = tuple(name for name in found.left_out if name != stain)
    folder.save_case(replace(found, left_out=others if undo else (*others, stain)))
    said = (
        f"{stain} is in case {case} again"
        if undo
        else f"{stain} is left out of case {case}; what was made of it is kept"
    )
    return Outcome((f"cases/{case}/case.json",), text=said)


def import_landmarks(study: Path, case: str, source: Path, *, scale: float = 1.0) -> Outcome:
    """Take in landmarks: `STAIN.csv` a stain with the columns index, X, Y in px of the slide, times `scale`."""
    from stainloom.geometry import edge_to_um
    from stainloom.io.points import read_points

    folder = StudyFolder.open(study)
    found = folder.case(case)
    by_stain = {
        name: read_points(source / f"{name}.csv") for name in found.slides if (source / f"{name}.csv").is_file()
    }
    indices = sorted({index for points in by_stain.values() for index in points})
    nowhere = (np.nan, np.nan)
    points_um = {
        name: edge_to_um(
            np.array([points.get(index, nowhere) for index in indices]) * scale, found.slide(name).um_per_px
        )
        for name, points in by_stain.items()
    }
    folder.save_landmarks(case, points_um)
    return Outcome(
        (f"cases/{case}/landmarks.json",),
        {"landmarks": len(indices)},
        f"{len(indices)} landmarks in {len(by_stain)} stains",
    )


def check_study(study: Path) -> None:
    """`CaseError` where a folder is no study that this version opens."""
    StudyFolder.open(study)


def check_case(study: Path, case: str | None) -> str:
    """The name of a case that exists: the one asked for, else the first."""
    folder = StudyFolder.open(study)
    names = folder.case_names()
    if case is None and names:
        return names[0]
    if case is None:
        raise CaseError("the study has no case yet", next="take one in: stainloom case add STUDY FOLDER")
    return folder.case(case).name
