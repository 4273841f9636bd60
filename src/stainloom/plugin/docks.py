"""The docks in the order of the work: name, purpose, factory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stainloom.jobs import settings_of
from stainloom.jobs.survey import CaseState, StainState, StudyState
from stainloom.plugin.align import AlignPanel
from stainloom.plugin.cases import CasesDock
from stainloom.plugin.colour import ColourPanel
from stainloom.plugin.dock import Dock, JobDock, JobSpec, Plan
from stainloom.plugin.job import Result
from stainloom.plugin.paint import PaintDock
from stainloom.plugin.patches import PatchesPanel
from stainloom.plugin.review import ReviewDock
from stainloom.plugin.training import TrainPanel
from stainloom.plugin.workspace import Workspace
from stainloom.wording import listed, many, named

_NO_STUDY = "Open a study first."
_NO_CASE = "Take in slides first: the study has no case yet."
_NAMED_MOST = 6


@dataclass(frozen=True)
class DockEntry:
    """A dock: its name, its purpose in one sentence, and what makes it."""

    name: str
    purpose: str
    make: Callable[[Workspace], Dock]


def align_state(case: CaseState) -> str:
    """How far a case is aligned: *3 of 4 stains aligned; SMA needs a check*."""
    moving = [stain for stain in case.stains if stain.there and stain.verdict != "reference"]
    good = [stain for stain in moving if stain.verdict == "good"]
    said = [f"{len(good)} of {many(len(moving), 'stain')} aligned"]
    for verdict, one, more in (
        ("check", "needs a check", "need a check"),
        ("failed", "could not be aligned", "could not be aligned"),
    ):
        names = [stain.name for stain in moving if stain.verdict == verdict]
        if names:
            said.append(f"{listed(names)} {one if len(names) == 1 else more}")
    gone = [stain.name for stain in case.stains if not stain.there]
    if gone:
        said.append(f"without {listed(gone)}")
    return "; ".join(said) + "."


def _doubted(cases: Sequence[CaseState]) -> list[str]:
    """The stains whose alignment needs a check: *VG of S02*."""
    return [f"{stain} of {case.name}" for case in cases for stain in case.to_check]


def _doubt_said(cases: Sequence[CaseState]) -> str:
    """What is used though nobody looked at it, before it is used; empty where there is nothing."""
    doubted = _doubted(cases)
    if not doubted:
        return ""
    need, them, right, out = (
        ("its alignment needs", "it", "it is right", "the stain")
        if len(doubted) == 1
        else ("their alignments need", "them", "they are right", "the stains")
    )
    return (
        f"Used though {need} a check: {named(doubted, _NAMED_MOST)}. Look at {them} in Align, and say that {right} or leave "
        f"{out} out."
    )


def _plan_align(workspace: Workspace, everything: bool) -> Plan:
    state, case = workspace.state, workspace.case
    if state is None:
        return Plan("Align", "", missing=_NO_STUDY, remedy="Cases")
    if not state.cases or (case is None and not everything):
        return Plan("Align", "", missing=_NO_CASE, remedy="Cases")
    return _align(state, state.cases if everything else (case,), anew=False)


def _plan_align_anew(workspace: Workspace, everything: bool) -> Plan:
    plan = _plan_align(workspace, everything)
    if plan.missing:
        return plan
    return _align(workspace.state, workspace.state.cases if everything else (workspace.case,), anew=True)


def _align(state: StudyState, cases: Sequence[CaseState], *, anew: bool) -> Plan:
    """Align what never was; or all, whatever it is."""
    one = len(cases) == 1
    slides = [stain for case in cases for stain in case.stains if (_moves(stain) if anew else stain.to_align)]
    touched = sum(any(_moves(stain) if anew else stain.to_align for stain in case.stains) for case in cases)
    good = sum(case.aligned and not case.to_check for case in cases)
    said = f"{cases[0].name}: {align_state(cases[0])}" if one else f"{good} of {many(len(cases), 'case')} aligned."
    if not one and (doubted := _doubted(cases)):
        said += f" To be checked: {named(doubted, _NAMED_MOST)}."
    hands = [stain.name for stain in slides if stain.by_hand]
    if hands:
        said += f" Also {listed(sorted(set(hands)))}, laid by hand."
    right = [stain.name for stain in slides if stain.accepted]
    if right:
        said += f" Also {listed(sorted(set(right)))}, looked at and found right."
    if not slides:
        return Plan("Nothing to align" if not anew else "No stain to align", said)
    run = (
        f"Align {many(len(slides), 'stain')}"
        if one
        else f"Align {many(len(slides), 'slide')} of {many(touched, 'case')}"
    )
    words = ("register", str(state.path), *(("--case", cases[0].name) if one else ()), *(() if anew else ("--needed",)))
    return Plan(f"{run} anew" if anew else run, said, words)


def _moves(stain: StainState) -> bool:
    return stain.there and stain.verdict != "reference"


def _aligned(result: Result) -> str:
    slides = result.figures.get("slides", ())
    doubted = [slide for slide in slides if slide.get("verdict") != "good"]
    cases = {str(slide["case"]) for slide in slides}
    of = f"{cases.pop()}: " if len(cases) == 1 else ""
    said = f"{of}{len(slides) - len(doubted)} of {many(len(slides), 'stain')} aligned well"
    said += f"; {len(doubted)} to look at." if doubted else "."
    same = [str(slide["stain"]) for slide in doubted if slide.get("as_before")]
    if same:
        lie = "lies" if len(same) == 1 else "lie"
        said += (
            f" {listed(same)} {lie} just as before: say what you see in the checkerboard, turn by hand, or leave out."
        )
    return said


def _after_align(workspace: Workspace) -> str:
    return "Colour" if workspace.case is not None and workspace.case.painted else "Paint"


def _plan_colour(workspace: Workspace, everything: bool) -> Plan:
    state = workspace.state
    if state is None:
        return Plan("Normalize", "", missing=_NO_STUDY, remedy="Cases")
    if not state.cases:
        return Plan("Normalize", "", missing=_NO_CASE, remedy="Cases")
    done = [case.name for case in state.cases if case.normalized]
    said = f"{len(done)} of {many(len(state.cases), 'case')} normalized."
    if not everything:
        return _plan_one_colour(workspace, state, done)
    if done and len(done) < len(state.cases):
        said += " All run together and get one look: of each stain the median of all slides."
    every = "all " if len(state.cases) > 1 else ""
    return Plan(f"Normalize {every}{many(len(state.cases), 'case')}", said, ("normalize", str(state.path)))


def _plan_one_colour(workspace: Workspace, state: StudyState, done: list[str]) -> Plan:
    """One case alone is brought to the look of the others; the first one alone would become the look of all."""
    case = workspace.case
    if case is None:
        return Plan("Normalize", "", missing=_NO_CASE, remedy="Cases")
    if not [name for name in done if name != case.name]:
        missing = "Normalize all cases first: their median is the look that one case is brought to."
        return Plan("Normalize 1 case", "", missing=missing)
    said = f"{case.name} is {'normalized' if case.normalized else 'not normalized yet'}."
    return Plan("Normalize 1 case", said, ("normalize", str(state.path), "--case", case.name))


def _patch_stains(workspace: Workspace) -> dict[str, tuple[str, ...]]:
    """The stains that can be trained on: those of the latest patches."""
    latest = workspace.state.latest if workspace.state is not None else None
    return {"stains": latest.stains} if latest is not None else {}


def _plan_patches(workspace: Workspace, everything: bool) -> Plan:
    state = workspace.state
    if state is None:
        return Plan("Export patches", "", missing=_NO_STUDY, remedy="Cases")
    painted = [case for case in state.cases if case.painted]
    if not painted:
        return Plan("Export patches", "", missing="Paint lesions on HE first.", remedy="Paint")
    if not any(case.aligned for case in painted):
        return Plan("Export patches", "", missing="Align the painted cases first.", remedy="Align")
    said = f"{many(len(painted), 'case')} painted, {sum(case.exported for case in painted)} in the latest patches."
    unaligned = [case.name for case in painted if not case.aligned]
    if unaligned:
        said += f" Not aligned in every stain, so some patches lack one: {named(unaligned)}."
    raw = [case.name for case in painted if not case.normalized]
    if raw and len(raw) < len(painted):
        missing = f"Normalize the other painted cases too: {named(raw)}. A network must not see both raw and normalized colours."
        if unaligned:
            missing = f"Align the other painted cases in every stain: {named(unaligned)}. {missing}"
        return Plan("Export patches", "", missing=missing, remedy="Align" if unaligned else "Colour")
    if raw:
        said += " Raw colours: no painted case is normalized."
    words = ["export", str(state.path)]
    for case in painted:
        words += ["--case", case.name]
    caution = _doubt_said(painted)
    return Plan(
        f"Export patches of {many(len(painted), 'case')}",
        said,
        tuple(words),
        caution=caution,
        remedy="Align" if caution else "",
    )


def _plan_train(workspace: Workspace, everything: bool) -> Plan:
    state = workspace.state
    if state is None:
        return Plan("Train", "", missing=_NO_STUDY, remedy="Cases")
    if not state.patchsets:
        return Plan("Train", "", missing="Export patches first.", remedy="Patches")
    latest = state.latest
    if latest is not None and latest.problem:
        return Plan("Train", "", missing="The latest patches cannot be read: export them again.", remedy="Patches")
    said = ""
    if latest is not None:
        patients = sum(len(names) for names in latest.patients.values()) or 1
        made_of = (
            f"{many(latest.windows, 'window')} of {many(patients, 'patient')}, {many(len(latest.stains), 'stain')}"
        )
        said = f"Trains on the latest patches: {made_of}."
    caution = _doubt_said([case for case in state.cases if case.exported])
    return Plan("Train", said, ("train", str(state.path)), caution=caution, remedy="Align" if caution else "")


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
        panel=AlignPanel,
        anew=("Align all anew, also what is aligned well", _plan_align_anew),
        following=_after_align,
        fine=lambda result: all(slide.get("verdict") == "good" for slide in result.figures.get("slides", ())),
        pairs=True,
    ),
    JobSpec(
        "Colour",
        "Bring each slide to the study's look of its stain, so that batches and scanners count for less.",
        settings_of("normalize"),
        _plan_colour,
        _said,
        by_case=True,
        all_first=True,
        basic=("method",),
        panel=ColourPanel,
        following=lambda workspace: "Patches",
    ),
    JobSpec(
        "Patches",
        "Cut small aligned pictures of all stains over what you painted, split by patient for training and test.",
        settings_of("export"),
        _plan_patches,
        _said,
        basic=("size_px", "um_per_px"),
        panel=PatchesPanel,
        following=lambda workspace: "Train",
    ),
    JobSpec(
        "Train",
        "Train the network that weighs the stains, on the patches of this study.",
        settings_of("train"),
        _plan_train,
        _said,
        basic=("stains", "stop_after_minutes"),
        pauses=True,
        offers=_patch_stains,
        cancelled="Cancelled. What it had learned is kept: it can go on.",
        panel=TrainPanel,
        following=lambda workspace: "Review",
    ),
)


def _job_dock(spec: JobSpec) -> DockEntry:
    return DockEntry(spec.name, spec.purpose, lambda workspace: JobDock(workspace, spec))


_PAINT = "Paint lesions once, on HE; they are carried to the other stains and saved as you paint."
_CASES = "The cases of a study: open one, and see what is done and what is not."
_REVIEW = "See what the network says of a case, where it is unsure, and how much of each stain it lets through."

DOCKS: tuple[DockEntry, ...] = (
    DockEntry("Cases", _CASES, lambda workspace: CasesDock(workspace, "Cases", _CASES)),
    _job_dock(_JOBS[0]),
    DockEntry("Paint", _PAINT, lambda workspace: PaintDock(workspace, "Paint", _PAINT)),
    *(_job_dock(spec) for spec in _JOBS[1:]),
    DockEntry("Review", _REVIEW, lambda workspace: ReviewDock(workspace, "Review", _REVIEW)),
)
"""In the order of the work."""
