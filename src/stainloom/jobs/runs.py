"""The trained runs of a study: which there are, which can be used on it, and which one is meant unless one is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stainloom.case.run import Run, RunFacts
from stainloom.errors import ModelError, StainloomError
from stainloom.io.casefile import StudyFolder

if TYPE_CHECKING:
    from collections.abc import Iterable


def known_runs(study: Path) -> tuple[RunFacts, ...]:
    """All runs of a study, oldest first, read without their weights; what cannot be used says why."""
    folder = StudyFolder.open(study)
    return tuple(_facts(folder, id) for id in folder.runs())


def _facts(folder: StudyFolder, id: str) -> RunFacts:
    from stainloom.io.runs import read_run_facts

    try:
        facts = read_run_facts(folder.run_path(id))
    except StainloomError as error:
        return RunFacts(id, problem=str(error))
    return replace(facts, problem=misfit(folder, facts.stains))


def misfit(folder: StudyFolder, stains: Sequence[str]) -> str:
    """Why a run of these stains cannot be used in a study, one sentence; empty where it can."""
    foreign = [stain for stain in stains if stain not in folder.study.stain_names]
    return f"It was trained on {', '.join(foreign)}, which this study has not." if foreign else ""


def best_run(runs: Sequence[RunFacts]) -> RunFacts | None:
    """The latest run of the most stains among those that learned, one that only guesses last; None where none learned."""
    learned = [run for run in runs if run.learned]
    learned = [run for run in learned if not run.guesses] or learned
    most = max((len(run.stains) for run in learned), default=0)
    return next((run for run in reversed(learned) if len(run.stains) == most), None)


def learned_runs(folder: StudyFolder) -> list[Run]:
    """The runs that learned, oldest first, without controls, damaged ones and those of other stains."""
    return _load(folder, (facts.id for facts in known_runs(folder.path) if facts.learned))


def chosen_run(folder: StudyFolder, id: str | None) -> Run:
    """A run by id, else the latest with the most stains."""
    if id is None:
        best = best_run(known_runs(folder.path))
        if best is None:
            raise ModelError("the study has no trained run yet", next="train one (dock Train, or `stainloom train`)")
        id = best.id
    return _load(folder, (id,))[0]


def _load(folder: StudyFolder, ids: Iterable[str]) -> list[Run]:
    from stainloom.io.runs import load_run

    return [load_run(folder.run_path(id)) for id in ids]
