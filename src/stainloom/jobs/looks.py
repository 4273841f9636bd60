"""The look that the slides of a stain are brought to, and which slides are far from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from stainloom.errors import StainloomError
from stainloom.io.casefile import StudyFolder
from stainloom.jobs.opening import colour_of
from stainloom.wording import listed, many

if TYPE_CHECKING:
    from stainloom.stain.fit import StainFit
    from stainloom.stain.normalize import Normalization

_SAME = 1e-9


@dataclass(frozen=True)
class StainLook:
    """What is known of a stain's colours in a study.

    Attributes
    ----------
    stain
        The stain.
    reference
        What its slides are brought to, one sentence.
    dyes
        Name and `#rrggbb` of each dye at its usual strength, in that look.
    remarks
        By case: why its slide stands out, in words.
    """

    stain: str
    reference: str
    dyes: tuple[tuple[str, str], ...] = ()
    remarks: Mapping[str, str] = field(default_factory=dict)


def stain_look(study: Path, stain: str) -> StainLook:
    """The look of one stain in a study, from the numbers that `normalize` kept."""
    from stainloom.stain.outliers import odd_fits

    folder = StudyFolder.open(study)
    dyes = folder.study.stain(stain).dyes
    if not dyes:
        return StainLook(stain, f"The study names no dyes of {stain}: its colours stay as scanned.")
    known = _known(folder, stain)
    if not known:
        return StainLook(stain, f"No {stain} slide is normalized yet; {listed([dye.name for dye in dyes])} will be.")
    target = next(iter(known.values())).target
    remarks = odd_fits({name: each.source for name, each in known.items()}, target)
    for name, each in known.items():
        if not each.in_focus:
            remarks[name] = "out of focus"
        elif name not in remarks and each.target != target:
            remarks[name] = "brought to another look: normalize again"
    return StainLook(stain, _reference_said(stain, known, target), _dye_colours(target), remarks)


def _known(folder: StudyFolder, stain: str) -> dict[str, Normalization]:
    found = {}
    for name in folder.case_names():
        try:
            colour = colour_of(folder, folder.case(name), stain)
        except StainloomError:
            continue  # the list of cases says so
        if colour is not None:
            found[name] = colour
    return found


def _reference_said(stain: str, known: Mapping[str, Normalization], target: StainFit) -> str:
    """Which slide or slides gave the look. What is kept is the look itself, so the rest is found by comparing."""
    from stainloom.stain.fit import reference_fit

    same = [name for name, each in known.items() if each.source == target]
    if same:
        return f"Reference look: that of the {stain} slide of {same[0]}, which was normalized first."
    if _alike(reference_fit([each.source for each in known.values()]), target):
        return f"Reference look: the median of all {many(len(known), 'slide')} of {stain}."
    return f"Reference look: the median of the {stain} slides that were normalized first; later ones are brought to it."


def _alike(one: StainFit, other: StainFit) -> bool:
    pairs = zip((*one.strengths, *one.background), (*other.strengths, *other.background), strict=True)
    return all(abs(a - b) < _SAME for a, b in pairs)


def _dye_colours(fit: StainFit) -> tuple[tuple[str, str], ...]:
    colours = []
    for dye, vector, strength in zip(fit.dyes, fit.vectors, fit.strengths, strict=True):
        light = [(glass + 1) * 10 ** (-strength * part) - 1 for glass, part in zip(fit.background, vector, strict=True)]
        red, green, blue = (round(min(255.0, max(0.0, value))) for value in light)
        colours.append((dye, f"#{red:02x}{green:02x}{blue:02x}"))
    return tuple(colours)
