"""The table of slides that may be taken in, as a person corrects it. Knows no Qt."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from stainloom.jobs import find_faults
from stainloom.jobs.intake import Faults, Guess, Intake

CASE, PATIENT, BLOCK, STAIN, SCALE = "case", "patient", "block", "stain", "um_per_px"
EACH_CASE = "(the name of each case)"
_OF_A_CASE = (PATIENT, BLOCK)


class IntakeTable:
    """Slides by case, what is wrong with them, and what a person makes of them.

    Parameters
    ----------
    intake
        What was recognised.

    Attributes
    ----------
    guesses
        The slides, those of a case side by side.
    groups
        Numbers of the slides of each case.
    faults
        What is still wrong.
    """

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self.study = intake.study
        self.guesses: list[Guess] = list(intake.found.guesses)
        self.groups: dict[str, list[int]] = {}
        self.faults = Faults()
        self._arrange()

    def _arrange(self) -> None:
        order = {name: number for number, name in reversed(list(enumerate(one.case for one in self.guesses)))}
        self.guesses.sort(key=lambda guess: order[guess.case])
        self.groups = {}
        for number, guess in enumerate(self.guesses):
            self.groups.setdefault(guess.case, []).append(number)
        self.faults = find_faults(self.guesses, self.study, self.intake.known)

    def fill(self, what: str, value: str, numbers: Iterable[int]) -> bool:
        """Write a value into slides; patient and block go to all slides of their cases.

        Parameters
        ----------
        what
            `case`, `patient`, `block`, `stain` or `um_per_px`.
        value
            As it was typed; `EACH_CASE` for the name of each slide's case; an empty um per px means the file's own.
        numbers
            The slides.

        Returns
        -------
        Whether anything changed.
        """
        chosen = set(numbers)
        if what in _OF_A_CASE:
            cases = {self.guesses[number].case for number in chosen}
            chosen = {number for case in cases for number in self.groups[case]}
        before = list(self.guesses)
        for number in chosen:
            self.guesses[number] = self._with(self.guesses[number], what, value.strip())
        if self.guesses == before:
            return False
        self._arrange()
        return True

    def _with(self, guess: Guess, what: str, value: str) -> Guess:
        new: Any = guess.case if value == EACH_CASE else value
        if what == SCALE:
            new = _number(value)
        elif what == STAIN:
            new = value if value in self.study.stain_names else None
        elif what in (CASE, BLOCK) and not value:
            return guess
        renamed = replace(guess, **{what: new})
        # A block that nobody named follows its case.
        return replace(renamed, block=new) if what == CASE and guess.block == guess.case else renamed

    def take_out(self, numbers: Iterable[int]) -> None:
        """Leave slides out of the table; their files are not touched."""
        out = set(numbers)
        self.guesses = [guess for number, guess in enumerate(self.guesses) if number not in out]
        self._arrange()

    def reason(self, allow_missing: bool) -> str:
        """Why the table cannot be taken in yet, one sentence; empty where it can."""
        if not self.guesses:
            return "No slide is left in the table."
        wrong = len(self.faults.rows) + len(self.faults.cases)
        if wrong:
            return f"{wrong} {'row has' if wrong == 1 else 'rows have'} something to correct; each says what."
        if self.faults.missing and not allow_missing:
            return f"{self.said_missing()} Tick below to take them in all the same, or add the slides."
        return ""

    def said_missing(self) -> str:
        """Which cases lack stains, one sentence; empty where none does."""
        lacking = self.faults.missing
        if not lacking:
            return ""
        name, stains = next(iter(lacking.items()))
        first = f"{name} lacks {' and '.join(stains)}"
        others = len(lacking) - 1
        return (
            f"{first}."
            if not others
            else f"{first}; {others} more {'case lacks' if others == 1 else 'cases lack'} stains."
        )

    def summary(self) -> str:
        """How much there is, and what was left out."""
        cases, slides = len(self.groups), len(self.guesses)
        left_out = "".join(
            f" Left out: {count} {'file' if count == 1 else 'files'}, each {reason}."
            for reason, count in self.intake.found.left_out.items()
        )
        return (
            f"{cases} {'case' if cases == 1 else 'cases'}, {slides} {'slide' if slides == 1 else 'slides'}.{left_out}"
        )

    def of_case(self, case: str, what: str) -> str:
        """Patient or block of a case as a cell shows it; several where its slides differ."""
        return " / ".join(sorted({str(getattr(self.guesses[number], what)) for number in self.groups[case]}))


def said_scale(guess: Guess) -> str:
    """um per px as a cell shows it: as it was typed, else the file's own."""
    if guess.um_per_px is not None:
        return f"{guess.um_per_px:g}"
    if guess.own is None:
        return ""
    row, col = guess.own
    return f"{row:.4g}" if math.isclose(row, col, rel_tol=1e-3) else f"{row:.4g} x {col:.4g}"


def _number(value: str) -> float | None:
    if not value:
        return None
    try:
        return float(value.replace(",", "."))
    except ValueError:
        return math.nan
