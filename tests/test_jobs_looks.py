"""The look of a stain in a study, in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from stainloom import jobs
from stainloom.io.casefile import StudyFolder
from stainloom.jobs.opening import colour_of


def test_before_normalizing_nothing_is_known(tiny_case: Path) -> None:
    look = jobs.stain_look(tiny_case, "HE")
    assert look.reference == "No HE slide is normalized yet; haematoxylin and eosin will be."
    assert (look.dyes, look.remarks) == ((), {})


def test_the_reference_is_said_and_what_stands_out(tiny_case: Path) -> None:
    jobs.normalize(tiny_case, cases=["S02"], stains=["HE"], workers=1)
    assert "that of the HE slide of S02" in jobs.stain_look(tiny_case, "HE").reference
    jobs.normalize(tiny_case, workers=1)
    look = jobs.stain_look(tiny_case, "Masson")
    assert look.reference == "Reference look: the median of all 3 slides of Masson."
    assert all(len(color) == 7 and color[0] == "#" for _, color in look.dyes)
    folder = StudyFolder.open(tiny_case)
    colour = colour_of(folder, folder.case("S01"), "Masson")
    assert colour is not None
    folder.save_normalization("S01", "Masson", replace(colour, in_focus=False).as_dict())
    faint = replace(colour_of(folder, folder.case("S03"), "Masson").source, strengths=(0.05, 0.05, 0.05))  # type: ignore[union-attr]
    folder.save_normalization("S03", "Masson", replace(colour, source=faint).as_dict())
    remarks = jobs.stain_look(tiny_case, "Masson").remarks
    assert remarks["S01"] == "out of focus"
    assert remarks["S03"].startswith("faint")
    assert "S02" not in remarks
