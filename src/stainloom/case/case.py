"""A case: one block of one patient, its slides by stain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stainloom.case.slide import Slide
from stainloom.errors import CaseError


@dataclass(frozen=True)
class Case:
    """One block of one patient.

    Attributes
    ----------
    name
        The folder's name; letters, digits, `-`, `_`, `.`.
    patient
        The patient's pseudonym. Two blocks of one patient share it, and a split never parts them.
    block
        The block, as the laboratory counts it.
    slides
        By stain name.
    left_out
        Stains that the user left out of this case: never registered, cut or shown as aligned.
    """

    name: str
    patient: str
    block: str
    slides: Mapping[str, Slide] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    def slide(self, stain: str) -> Slide:
        """The slide of a stain; `CaseError` where the case has none."""
        if stain not in self.slides:
            raise CaseError(
                f"case {self.name} has no {stain} slide",
                stain=stain,
                expected=f"one slide each of the stains, {stain} among them",
                found=", ".join(self.slides) or "none",
                next=f"add the slide to the case, or leave {stain} out",
            )
        return self.slides[stain]
