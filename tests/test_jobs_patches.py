"""What would be cut, and what was: preview, patch sets with their age, contact sheets."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from stainloom import jobs
from stainloom.errors import PatchError
from stainloom.geometry import Box
from stainloom.io.casefile import StudyFolder
from stainloom.io.patchset import open_patchset
from stainloom.jobs.opening import open_store
from stainloom.patches.select import PatchSettings
from stainloom.patches.split import Counts


def _tree(folder: Path) -> dict[str, str]:
    return {str(f): hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(folder.rglob("*")) if f.is_file()}


def _paint(study: Path, case: str) -> None:
    folder = StudyFolder.open(study)
    with folder.hold(case):
        store = open_store(folder, folder.case(case))
        box = Box(100, 100, 20, 20)
        before = store.read(box)
        store.paint(box, before, 7 - before.clip(1, 6), what="a square", class_id=0)
        store.close()


def test_a_preview_is_what_the_export_writes_and_writes_nothing(tiny_case: Path) -> None:
    before = _tree(tiny_case)
    seen = jobs.preview(tiny_case, workers=1)
    assert _tree(tiny_case) == before
    assert not seen.problems
    path = tiny_case / "patchsets" / str(jobs.export(tiny_case, workers=1).figures["patchset"])
    patches = open_patchset(path)
    originals = patches.turn == 0
    shorts = {lesion.id: lesion.short for lesion in patches.classes}
    counted: dict[str, dict[str, int]] = {lesion.short: {} for lesion in patches.classes}
    for class_id, name in zip(patches.labels[originals].tolist(), patches.sets[originals].tolist(), strict=True):
        row = counted[shorts[class_id]]
        row[name] = row.get(name, 0) + 1
    assert seen.figures["classes"] == counted
    assert seen.figures["samples"] == len(patches)
    assert {p: name for name, ps in seen.figures["patients"].items() for p in ps} == patches.split["patients"]
    left_out = patches.about["left_out"].values()
    assert sum(seen.figures["left_out"].values()) == sum(n for counts in left_out for n in counts.values())
    assert seen.figures["bytes"] == sum(f.stat().st_size for f in (path / "patches" / "c").rglob("*") if f.is_file())


def test_too_few_patients_are_counted_without_sets_and_said(tiny_case: Path) -> None:
    seen = jobs.preview(tiny_case, cases=["S01", "S02"], workers=1)
    assert seen.figures["windows"] == sum(sum(row.values()) for row in seen.figures["classes"].values()) > 0
    assert {name for row in seen.figures["classes"].values() for name in row} == {""}
    assert seen.figures["patients"] == {}
    assert "too few patients" in str(seen.problems[0])


def test_a_preview_counts_what_each_stain_lacks(tiny_case: Path) -> None:
    folder = StudyFolder.open(tiny_case)
    warp, _ = folder.current_warp("S01", "VG")
    folder.save_warp("S01", "VG", warp, {"verdict": "failed", "message": ""})
    alone = jobs.preview(tiny_case, cases=["S01"], workers=1).figures
    assert alone["missing"]["VG"] == alone["windows"]


def test_a_patch_set_says_what_changed_since(tiny_case: Path) -> None:
    jobs.export(tiny_case, workers=1)
    (fresh,) = jobs.patchsets(tiny_case)
    assert (fresh.outdated, fresh.problem) == ((), "")
    assert sum(fresh.sets.values()) == fresh.windows
    assert sorted(p for names in fresh.patients.values() for p in names) == ["P01", "P02", "P03"]
    _paint(tiny_case, "S01")
    _paint(tiny_case, "S02")
    folder = StudyFolder.open(tiny_case)
    warp, _ = folder.current_warp("S03", "VG")
    folder.save_warp("S03", "SMA", warp, {"verdict": "good", "message": ""})
    assert jobs.patchsets(tiny_case)[0].outdated == (
        "older than the paint of 2 cases",
        "older than an alignment of 1 case",
    )
    jobs.normalize(tiny_case, workers=1)
    assert "older than the colours of 3 cases" in jobs.patchsets(tiny_case)[0].outdated
    jobs.export(tiny_case, workers=1)
    latest, older = jobs.patchsets(tiny_case)
    assert (latest.outdated, older.id) == ((), fresh.id)
    shutil.rmtree(tiny_case / "cases" / "S03")
    assert jobs.patchsets(tiny_case)[0].outdated == ("still with 1 case that left the study",)


def test_a_damaged_patch_set_is_listed_with_its_reason(tiny_case: Path) -> None:
    id = jobs.export(tiny_case, workers=1).figures["patchset"]
    about = tiny_case / "patchsets" / str(id) / "patchset.json"
    about.write_text(about.read_text().replace('"simulated": true', '"simulated": false'))
    (found,) = jobs.patchsets(tiny_case)
    assert "altered" in found.problem
    assert jobs.survey(tiny_case).latest == jobs.patchsets(tiny_case, compare=False)[0]
    with pytest.raises(PatchError):
        jobs.contact_sheet(tiny_case, str(id))


def test_a_contact_sheet_shows_patches_of_the_set(tiny_case: Path) -> None:
    id = str(jobs.export(tiny_case, PatchSettings(turns=(0, 90)), workers=1).figures["patchset"])
    patches = open_patchset(tiny_case / "patchsets" / id)
    sheet = jobs.contact_sheet(tiny_case, id, seed=3)
    assert [lesion.id for lesion in sheet.classes] == sorted(set(patches.labels.tolist()))
    for class_id, drawn in sheet.drawn.items():
        own = patches.batch(
            np.flatnonzero((patches.labels == class_id) & (patches.turn == 0) & (patches.cases == drawn.case))
        )
        assert (own == drawn.pixels).all(axis=(1, 2, 3, 4)).any()
        assert drawn.present == (True,) * len(sheet.stains) or not all(drawn.present)
    others = [jobs.contact_sheet(tiny_case, id, seed=n).drawn for n in range(4)]
    assert any((one[c].pixels != sheet.drawn[c].pixels).any() for one in others for c in one)


def test_an_export_keeps_the_sets_of_the_latest_patches_unless_another_seed_is_asked_for(
    tiny_case: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stainloom.patches import split

    usual, kept = split.split_patients, []

    def noted(counts: Counts, *, seed: int, keep: dict[str, str]) -> dict[str, str]:
        kept.append(keep)
        return usual(counts, seed=seed, keep=keep)

    monkeypatch.setattr(split, "split_patients", noted)
    jobs.export(tiny_case, workers=1)
    (first,) = jobs.patchsets(tiny_case)
    sets = {patient: name for name, patients in first.patients.items() for patient in patients}
    _paint(tiny_case, "S01")
    seen = jobs.preview(tiny_case, workers=1)
    again = jobs.export(tiny_case, workers=1)
    assert {patient: name for name, patients in seen.figures["patients"].items() for patient in patients} == sets
    assert jobs.patchsets(tiny_case)[0].id == again.figures["patchset"] != first.id
    jobs.export(tiny_case, PatchSettings(seed=1), workers=1)
    jobs.export(tiny_case, PatchSettings(seed=1), workers=1)
    assert kept[:4] == [{}, sets, sets, {}]
    assert set(kept[4]) == set(sets)


def test_who_moved_to_another_set_is_said(tiny_case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stainloom.patches import split

    jobs.export(tiny_case, workers=1)
    usual = split.split_patients
    turned = {"train": "test", "validation": "train", "test": "validation"}
    monkeypatch.setattr(split, "split_patients", lambda *a, **b: {p: turned[n] for p, n in usual(*a, **b).items()})
    said = jobs.export(tiny_case, workers=1).warnings
    assert any("P01, P02 and P03 are in another set" in text for text in said)
