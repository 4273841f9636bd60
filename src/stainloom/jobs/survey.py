"""What a study holds and what is still to do, read from small files alone: for lists, docks and `study show`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stainloom.case.case import Case
from stainloom.case.view import USABLE, Verdict
from stainloom.errors import StainloomError
from stainloom.io.casefile import StudyFolder
from stainloom.io.files import read_json
from stainloom.jobs.opening import colour_of, is_stale, patchsets_by_age, verdict_of
from stainloom.jobs.reviewing import review_stands

Carried = Literal["no", "old", "yes"]


@dataclass(frozen=True)
class StainState:
    """One stain of a case.

    Attributes
    ----------
    name
        The stain.
    verdict, message
        How far its place can be trusted, and what that means.
    error_um
        Median distance of its landmarks after aligning; None without landmarks.
    found
        Whether its slide is where the study says.
    normalized
        Whether its colours were brought to the study's look.
    carried
        Whether labels were carried into it: `no`, `old` (before its last alignment) or `yes`.
    made_from
        Ids of its alignment and its normalization: a picture of it holds as long as these do.
    """

    name: str
    verdict: Verdict
    message: str = ""
    error_um: float | None = None
    found: bool = True
    normalized: bool = False
    carried: Carried = "no"
    made_from: tuple[str | None, str | None] = (None, None)

    @property
    def there(self) -> bool:
        """Whether the case has it and the user did not leave it out."""
        return self.verdict not in ("missing", "left out")


@dataclass(frozen=True)
class CaseState:
    """One case.

    Attributes
    ----------
    name, patient
        Its name, and its patient's pseudonym.
    stains
        In the study's order.
    painted
        Whether anything was ever painted on it.
    exported
        Whether its patient is in the latest patch set.
    predicted
        Whether a run predicted anything over it.
    reviewed
        Whether somebody looked at its maps and its paint, and these are still the same.
    review_old
        Whether somebody had, and the maps or the paint changed since.
    problem
        Why it cannot be read, one sentence; empty where it can.
    """

    name: str
    patient: str
    stains: tuple[StainState, ...] = ()
    painted: bool = False
    exported: bool = False
    predicted: bool = False
    reviewed: bool = False
    review_old: bool = False
    problem: str = ""

    @property
    def to_align(self) -> tuple[str, ...]:
        """Stains that lie on no reference yet."""
        return tuple(stain.name for stain in self.stains if stain.verdict == "not aligned")

    @property
    def aligned(self) -> bool:
        """Whether every stain that is there can be used."""
        return bool(self.stains) and all(stain.verdict in USABLE for stain in self.stains if stain.there)

    @property
    def normalized(self) -> bool:
        """Whether every stain that is there was brought to the study's look."""
        return bool(self.stains) and all(stain.normalized for stain in self.stains if stain.there)


@dataclass(frozen=True)
class StudyState:
    """A study.

    Attributes
    ----------
    path
        Its folder.
    cases
        In the order of their names.
    patchsets, runs
        Ids, oldest first.
    simulated
        Whether its slides were made by the program.
    """

    path: Path
    cases: tuple[CaseState, ...]
    patchsets: tuple[str, ...]
    runs: tuple[str, ...]
    simulated: bool

    def case(self, name: str) -> CaseState:
        """A case by name; `KeyError` where the study has none."""
        for case in self.cases:
            if case.name == name:
                return case
        raise KeyError(name)


def survey(study: Path) -> StudyState:
    """Look at a whole study; a case that cannot be read is in the list with its reason."""
    folder = StudyFolder.open(study)
    exported = _exported(folder)
    return StudyState(
        folder.path,
        tuple(_case(folder, name, exported) for name in folder.case_names()),
        patchsets_by_age(folder),
        folder.runs(),
        folder.study.simulated,
    )


def _exported(folder: StudyFolder) -> set[str]:
    """Patients of the latest patch set."""
    names = patchsets_by_age(folder)
    if not names:
        return set()
    patients = read_json(folder.patchset_path(names[-1]) / "split.json").get("patients")
    return set(patients) if isinstance(patients, dict) else set()


def _case(folder: StudyFolder, name: str, exported: set[str]) -> CaseState:
    try:
        case = folder.case(name)
        maps = folder.case_path(name) / "maps"
        stands = review_stands(folder, name)
        return CaseState(
            name,
            case.patient,
            tuple(_stain(folder, case, stain) for stain in folder.study.stain_names),
            folder.labels_path(name).exists(),
            case.patient in exported,
            maps.is_dir() and any((run / "maps.json").is_file() for run in maps.iterdir()),
            stands is True,
            stands is False,
        )
    except StainloomError as error:
        return CaseState(name, "", problem=str(error))


def _stain(folder: StudyFolder, case: Case, stain: str) -> StainState:
    verdict, message = verdict_of(folder, case, stain)
    if stain not in case.slides:
        return StainState(stain, verdict, message)
    quality = folder.current_quality(case.name, stain) if stain != folder.study.reference else None
    landmarks = quality.get("landmarks") if quality else None
    colour = colour_of(folder, case, stain)
    warp = folder.current_warp_id(case.name, stain) if stain != folder.study.reference else None
    return StainState(
        stain,
        verdict,
        message,
        float(landmarks["median_um"]) if isinstance(landmarks, dict) else None,
        _is_found(folder, case, stain),
        colour is not None,
        _carried(folder, case, stain),
        (warp, None if colour is None else colour.id),
    )


def _carried(folder: StudyFolder, case: Case, stain: str) -> Carried:
    if stain == folder.study.reference or folder.carried_ids(case.name, stain) is None:
        return "no"
    return "old" if is_stale(folder, case, stain, None) else "yes"


def _is_found(folder: StudyFolder, case: Case, stain: str) -> bool:
    try:
        return folder.slide_path(case, case.slide(stain)).is_file()
    except StainloomError:
        return False
