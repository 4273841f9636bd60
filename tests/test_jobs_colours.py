"""Colours of stains whose dyes nobody named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from stainloom import jobs


def test_a_stain_without_dyes_keeps_its_colours_and_is_said(tiny_case: Path, tmp_path: Path) -> None:
    study = tmp_path / "without dyes"
    shutil.copytree(tiny_case, study)
    content = json.loads((study / "study.json").read_text(encoding="utf-8"))
    for stain in content["stains"]:
        stain["dyes"] = []
    (study / "study.json").write_text(json.dumps(content), encoding="utf-8")
    outcome = jobs.normalize(study, workers=1)
    assert outcome.changed == ()
    assert not outcome.problems
    assert all("names no dyes" in text for text in outcome.warnings)
    assert len(outcome.warnings) == len(content["stains"])
