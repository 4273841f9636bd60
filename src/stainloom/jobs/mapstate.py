"""The maps of a case: which there are, and whether what they were predicted from changed since."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stainloom.case.case import Case
from stainloom.case.view import USABLE
from stainloom.io.casefile import StudyFolder
from stainloom.jobs.opening import colour_of, in_focus, verdict_of

if TYPE_CHECKING:
    from stainloom.io.maps import MapFacts


def maps_of(study: Path, case: str) -> tuple[str, ...]:
    """Ids of the runs that have maps over a case, the latest predicted last."""
    from stainloom.io.maps import list_maps

    parent = StudyFolder.open(study).case_path(case) / "maps"
    return tuple(sorted(list_maps(parent), key=lambda name: (parent / name / "maps.json").stat().st_mtime_ns))


def maps_outdated(folder: StudyFolder, case: Case, run: str) -> bool:
    """Whether a stain changed since a run predicted over a case; `CaseError` where its maps cannot be read."""
    from stainloom.io.maps import read_map_facts

    facts = read_map_facts(folder.maps_path(case.name, run))
    return bool(realigned(folder, case, facts) or recoloured(folder, case, facts))


def realigned(folder: StudyFolder, case: Case, facts: MapFacts) -> tuple[str, ...]:
    """Stains that were aligned anew, came in or dropped out since maps were predicted."""
    usable = {name for name in facts.stains if name in folder.study.moving and name in case.slides}
    usable = {name for name in usable if verdict_of(folder, case, name)[0] in USABLE and in_focus(folder, case, name)}
    now = {name: folder.current_warp_id(case.name, name) for name in usable}
    return tuple(stain for stain in facts.stains if now.get(stain) != facts.warps.get(stain))


def recoloured(folder: StudyFolder, case: Case, facts: MapFacts) -> tuple[str, ...]:
    """Stains whose colours were normalized anew since maps were predicted."""
    then = facts.extra.get("normalizations")
    if not isinstance(then, dict):
        return ()
    colours = {stain: colour_of(folder, case, stain) for stain in then if stain in folder.study.stain_names}
    return tuple(stain for stain, colour in colours.items() if colour is None or colour.id != then[stain])
