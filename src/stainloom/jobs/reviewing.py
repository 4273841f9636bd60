"""Reviewed: somebody looked at the maps of a case and at its paint, and these are still the same."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from stainloom.errors import CaseError, ModelError, StainloomError
from stainloom.io.casefile import StudyFolder
from stainloom.jobs.mapstate import maps_of
from stainloom.jobs.opening import take_snapshot
from stainloom.jobs.outcome import Outcome


def mark_reviewed(study: Path, case: str, *, run_id: str | None = None) -> Outcome:
    """Keep that the maps of a run over a case, the latest unless one is named, and the paint were looked at."""
    from stainloom.io.maps import maps_id
    from stainloom.io.review import Review, write_review

    folder = StudyFolder.open(study)
    found = folder.case(case)
    _check_holder(folder, case)
    predicted = maps_of(study, case)
    run = run_id or (predicted[-1] if predicted else "")
    if run not in predicted:
        raise ModelError(
            f"there are no maps of case {case} to review",
            expected=", ".join(predicted) or "a prediction",
            found=run or "none",
            next="predict the case first",
        )
    labels = take_snapshot(folder, found).labels_id if folder.labels_path(case).exists() else ""
    when = datetime.now(UTC).isoformat(timespec="seconds")
    write_review(folder.review_path(case), Review(when, run, maps_id(folder.maps_path(case, run)), labels))
    return Outcome((f"cases/{case}/reviewed.json",), {"case": case, "run": run}, f"{case} is reviewed (run {run}).")


def unmark_reviewed(study: Path, case: str) -> Outcome:
    """Take back that a case was reviewed."""
    from stainloom.io.review import drop_review

    folder = StudyFolder.open(study)
    folder.case(case)
    _check_holder(folder, case)
    drop_review(folder.review_path(case))
    return Outcome((f"cases/{case}/reviewed.json",), {"case": case}, f"{case} is not reviewed.")


def review_stands(folder: StudyFolder, case: str) -> tuple[bool | None, str]:
    """Whether a case was reviewed and its maps and paint are those that were looked at, and the run whose maps they were.

    None and an empty id where it never was.
    """
    from stainloom.io.maps import maps_id
    from stainloom.io.review import read_review
    from stainloom.io.snapshot import read_labels_id

    try:
        review = read_review(folder.review_path(case))
        if review is None:
            return None, ""
        labels = read_labels_id(folder.snapshot_path(case)) if folder.labels_path(case).exists() else ""
        return review.maps == maps_id(folder.maps_path(case, review.run)) and review.labels == labels, review.run
    except StainloomError:
        return False, ""


def _check_holder(folder: StudyFolder, case: str) -> None:
    holder = folder.holder(case)
    if holder is not None and holder.process != os.getpid():
        raise CaseError(
            f"case {case} is open elsewhere",
            expected="a case that nobody else holds",
            found=holder.said,
            next="close it there, or mark it there",
        )
