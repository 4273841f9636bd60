"""What is still wrong with slides that were recognised, row by row in plain words, before anything is taken in. Opens no file."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stainloom.case.case import Case
from stainloom.case.study import Study
from stainloom.io.intake import UM_PER_PX_APART, UM_PER_PX_BOUNDS
from stainloom.io.paths import safe_name
from stainloom.io.recognize import Guess

_YEAR, _MONTH, _DAY = r"(?:19|20)\d\d", r"(?:0?[1-9]|1[0-2])", r"(?:0?[1-9]|[12]\d|3[01])"
_DATE = re.compile(
    rf"(?<!\d)(?:{_YEAR}([-./]){_MONTH}\1{_DAY}|(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
    rf"|{_DAY}([-./]){_DAY}\2(?:{_YEAR}|\d\d))(?!\d)"
)


@dataclass(frozen=True)
class Faults:
    """What is wrong with a table of guesses.

    Attributes
    ----------
    rows
        By the number of the row: what is wrong with that slide.
    cases
        By the name of the case: what is wrong with it as a whole.
    notes
        By the name of the case: what does not stop it, but should be looked at.
    missing
        By the name of the case: stains that it lacks, never the reference. The user may allow that.
    """

    rows: Mapping[int, str] = field(default_factory=dict)
    cases: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def none(self) -> bool:
        """Whether the table is right, but for stains that are missing."""
        return not self.rows and not self.cases


def find_faults(guesses: Sequence[Guess], study: Study, known: Sequence[Case]) -> Faults:
    """Check a table as `take_in` will, all of it at once.

    Parameters
    ----------
    guesses
        The rows.
    study
        Whose stains are meant.
    known
        The cases that the study has.
    """
    groups: dict[str, list[int]] = {}
    for number, guess in enumerate(guesses):
        groups.setdefault(guess.case, []).append(number)
    paths = Counter(_key(guess) for guess in guesses)
    twice = Counter((guess.case, guess.stain) for guess in guesses)
    rows = {number: said for number, guess in enumerate(guesses) if (said := _row_fault(guess, study, paths, twice))}
    blocks = {(case.patient, case.block): case.name for case in known}
    names = {case.name.casefold(): case.name for case in known}
    cases, notes, missing = {}, {}, {}
    for name, numbers in groups.items():
        group = [guesses[number] for number in numbers]
        said = _case_fault(name, group, study, names, blocks)
        if said:
            cases[name] = said
        elif _DATE.search(group[0].patient):
            notes[name] = "The patient looks like a date of birth: use a pseudonym."
        stains = {guess.stain for guess in group}
        lacks = tuple(stain for stain in study.moving if stain not in stains)
        if lacks:
            missing[name] = lacks
        names.setdefault(name.casefold(), name)
        blocks.setdefault((group[0].patient, group[0].block), name)
    return Faults(rows, cases, notes, missing)


def _row_fault(guess: Guess, study: Study, paths: Counter[str], twice: Counter[tuple[str, str | None]]) -> str:
    if guess.problem:
        return f"{guess.problem[:1].upper()}{guess.problem[1:]}: take it out"
    if paths[_key(guess)] > 1:
        return "This file is in the table twice: take one out"
    if guess.stain is None:
        return "Stain not recognised: choose it"
    if guess.stain not in study.stain_names:
        return f"The study has no stain {guess.stain}: choose another"
    if twice[guess.case, guess.stain] > 1:
        return f"{guess.stain} twice in this case: choose another stain, or take one out"
    return _scale_fault(guess)


def _scale_fault(guess: Guess) -> str:
    given, (low, high) = guess.um_per_px, UM_PER_PX_BOUNDS
    if given is None:
        return "" if guess.own else "The file does not state its µm per px: type it"
    if not math.isfinite(given):
        return "µm per px is no number: correct it"
    if not low <= given <= high:
        return f"µm per px has to be {low:g} to {high:g}: correct it"
    if guess.own and max(abs(axis / given - 1) for axis in guess.own) > UM_PER_PX_APART:
        return f"The file states {guess.own[0]:.4g} µm per px: empty the cell to use that"
    return ""


def _case_fault(
    name: str, group: Sequence[Guess], study: Study, names: Mapping[str, str], blocks: Mapping[tuple[str, str], str]
) -> str:
    patients, blocks_here = {guess.patient for guess in group}, {guess.block for guess in group}
    if safe_name(name) != name:
        return f"A case cannot be called so: use letters, digits, - and _, as in {safe_name(name)}"
    if name.casefold() in names:
        return f"The study or this table has a case {names[name.casefold()]} already: give it another name"
    if len(patients) > 1 or len(blocks_here) > 1:
        what = "patients" if len(patients) > 1 else "blocks"
        return f"Slides of {max(len(patients), len(blocks_here))} {what} in one case: set one, or part the case"
    if not group[0].patient:
        return "Patient not known: type a pseudonym"
    block = (group[0].patient, group[0].block)
    if block in blocks:
        return f"Block {block[1]} of patient {block[0]} is case {blocks[block]} already: correct patient or block"
    if study.reference not in {guess.stain for guess in group}:
        return f"No {study.reference} slide, on which all is painted: add it, or take the case out"
    return ""


def _key(guess: Guess) -> str:
    return os.path.normcase(str(guess.path))
