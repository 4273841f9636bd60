"""The docks in the order of the work: name, purpose, factory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stainloom.jobs import settings_of
from stainloom.jobs.survey import CaseState, StudyState
from stainloom.plugin.cases import CasesDock
from stainloom.plugin.dock import Dock, JobDock, JobSpec, Plan
from stainloom.plugin.job import Result
from stainloom.plugin.review import ReviewDock
from stainloom.plugin.workspace import Workspace

_NO_STUDY = "Open a study first."
_NO_CASE = "Take in slides first: the study has no case yet."


@dataclass(frozen=True)
class DockEntry:
    """A dock: its name, its purpose in one sentence, and what makes it."""

    name: str
    purpose: str
    make: Callable[[Workspace], Dock]


def _many(count: int, one: str) -> str:
    return f"{count} {one}" if count == 1 else f"{count} {one}s"


def _names(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def align_state(case: CaseState) -> str:
    """How far a case is aligned: *3 of 4 stains aligned; SMA needs a check*."""
    moving = [stain for stain in case.stains if stain.there and stain.verdict != "reference"]
    good = [stain for stain in moving if stain.verdict == "good"]
    said = [f"{len(good)} of {_many(len(moving), 'stain')} aligned"]
    for verdict, one, more in (
        ("check", "needs a check", "need a check"),
        ("failed", "could not be aligned", "could not be aligned"),
    ):
        names = [stain.name for stain in moving if stain.verdict == verdict]
        if names:
            said.append(f"{_names(names)} {one if len(names) == 1 else more}")
    gone = [stain.name for stain in case.stains if not stain.there]
    if gone:
        said.append(f"without {_names(gone)}")
    return "; ".join(said) + "."


def _plan_align(workspace: Workspace, everything: bool) -> Plan:
    state, case = workspace.state, workspace.case
    if state is None:
        return Plan("Align", "", missing=_NO_STUDY, remedy="Cases")
    if not state.cases or (case is None and not everything):
        return Plan("Align", "", missing=_NO_CASE, remedy="Cases")
    if everything:
        slides = sum(_to_lay(found) for found in state.cases)
        good = sum(found.aligned for found in state.cases)
        said = f"{good} of {_many(len(state.cases), 'case')} aligned."
        return Plan(f"Align {_many(slides, 'slide')} of {_many(len(state.cases), 'case')}", said, _register(state))
    assert case is not None
    run = f"Align {_many(_to_lay(case), 'stain')}"
    return Plan(run, f"{case.name}: {align_state(case)}", (*_register(state), "--case", case.name))


def _to_lay(case: CaseState) -> int:
    return sum(stain.there and stain.verdict != "reference" for stain in case.stains)


def _register(state: StudyState) -> tuple[str, ...]:
    return ("register", str(state.path))


def _aligned(result: Result) -> str:
    verdicts = [str(slide.get("verdict")) for slide in result.figures.get("slides", ())]
    good = verdicts.count("good")
    doubtful = f"; {len(verdicts) - good} to look at" if good < len(verdicts) else ""
    return f"{good} of {_many(len(verdicts), 'stain')} aligned well{doubtful}."


def _plan_colour(workspace: Workspace, everything: bool) -> Plan:
    state = workspace.state
    if state is None:
        return Plan("Normalize", "", missing=_NO_STUDY, remedy="Cases")
    if not state.cases:
        return Plan("Normalize", "", missing=_NO_CASE, remedy="Cases")
    done = sum(case.normalized for case in state.cases)
    said = f"{done} of {_many(len(state.cases), 'case')} normalized."
    return Plan(f"Normalize {_many(len(state.cases), 'case')}", said, ("normalize", str(state.path)))


def _plan_patches(workspace: Workspace, everything: bool) -> Plan:
    state = workspace.state
    if state is None:
        return Plan("Export patches", "", missing=_NO_STUDY, remedy="Cases")
    painted = [case for case in state.cases if case.painted]
    if not painted:
        return Plan("Export patches", "", missing="Paint lesions on HE first.", remedy="Paint")
    if not any(case.aligned for case in painted):
        return Plan("Export patches", "", missing="Align the painted cases first.", remedy="Align")
    said = f"{_many(len(painted), 'case')} painted, {sum(case.exported for case in painted)} in the latest patches."
    raw = [case.name for case in painted if not case.normalized]
    if raw:
        said += f" {_many(len(raw), 'painted case')} not normalized: colours there as scanned."
    words = ["export", str(state.path)]
    for case in painted:
        words += ["--case", case.name]
    return Plan(f"Export patches of {_many(len(painted), 'case')}", said, tuple(words))


def _plan_train(workspace: Workspace, everything: bool) -> Plan:
    state = workspace.state
    if state is None:
        return Plan("Train", "", missing=_NO_STUDY, remedy="Cases")
    if not state.patchsets:
        return Plan("Train", "", missing="Export patches first.", remedy="Patches")
    said = f"Trains on patch set {state.patchsets[-1]}; {_many(len(state.runs), 'run')} so far."
    return Plan("Train", said, ("train", str(state.path)))


def _said(result: Result) -> str:
    return result.text.splitlines()[0] if result.text else "Done."


_JOBS = (
    JobSpec(
        "Align",
        "Lay every stain on HE, so that what you paint once is found in all of them.",
        settings_of("register"),
        _plan_align,
        _aligned,
        by_case=True,
    ),
    JobSpec(
        "Colour",
        "Bring each slide to the study's look of its stain, so that batches and scanners count for less.",
        settings_of("normalize"),
        _plan_colour,
        _said,
        basic=("method",),
    ),
    JobSpec(
        "Patches",
        "Cut small aligned pictures of all stains over what you painted, split by patient for training and test.",
        settings_of("export"),
        _plan_patches,
        _said,
        basic=("size_px", "um_per_px"),
    ),
    JobSpec(
        "Train",
        "Train the network that weighs the stains, on the patches of this study.",
        settings_of("train"),
        _plan_train,
        _said,
        basic=("stains", "most_epochs", "minutes"),
    ),
)


def _job_dock(spec: JobSpec) -> DockEntry:
    return DockEntry(spec.name, spec.purpose, lambda workspace: JobDock(workspace, spec))


_CASES = "The cases of a study: open one, and see what is done and what is not."
_REVIEW = "See what the network says of a case, where it is unsure, and which stain it listened to."

DOCKS: tuple[DockEntry, ...] = (
    DockEntry("Cases", _CASES, lambda workspace: CasesDock(workspace, "Cases", _CASES)),
    *(_job_dock(spec) for spec in _JOBS),
    DockEntry("Review", _REVIEW, lambda workspace: ReviewDock(workspace, "Review", _REVIEW)),
)
"""In the order of the work."""
