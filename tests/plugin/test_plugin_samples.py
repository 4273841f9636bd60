"""Sample data: made by child processes, whole or not at all, and opened as a case."""

from __future__ import annotations

from pathlib import Path

import pytest

from stainloom.errors import CaseError
from stainloom.plugin import samples
from stainloom.plugin.trial import Step

pytestmark = pytest.mark.screen

SIZE = ("--patients", "1", "--width-um", "900", "--height-um", "900", "--um-per-px", "2", "--failed-share", "0")


def small(study: Path, *, patients: int) -> list[Step]:
    return [Step("Simulate", ("simulate", str(study), *SIZE)), Step("Normalize", ("normalize", str(study)))]


def test_the_sample_is_made_once_and_opens_with_paint(qapp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "trial_steps", small)
    monkeypatch.setattr(samples, "sample_folder", lambda: tmp_path / "samples" / "aorta")
    layers = samples.simulated_aorta()
    names = [keywords["name"] for _, keywords, _ in layers]
    assert names[0] == "HE (simulated)"
    assert "Lesions" in names
    assert len([name for name in names if "simulated" in name.lower()]) == 5
    made = (tmp_path / "samples" / "aorta" / "study" / "study.json").stat().st_mtime_ns
    samples.simulated_aorta()
    assert (tmp_path / "samples" / "aorta" / "study" / "study.json").stat().st_mtime_ns == made


def test_a_sample_that_cannot_be_made_leaves_nothing_and_says_why(
    qapp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "trial_steps", lambda study, *, patients: [Step("Align", ("register", str(study)))])
    with pytest.raises(CaseError, match=r"simulated sample could not be made.*Next"):
        samples.make_sample(tmp_path / "aorta")
    assert list(tmp_path.iterdir()) == []
