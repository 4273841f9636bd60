"""What the window remembers between two starts: kept, bounded, and never lost to damage or to an older program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stainloom.io.windowfile import STUDIES_MOST, NewerWindowFile, remember, remembered, window_file


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("STAINLOOM_CONFIG", str(tmp_path / "config"))


def test_what_was_remembered_comes_back_the_last_study_last():
    assert remembered() == {}
    for name in ("a", "b", "a"):
        remember(Path("/studies") / name, {"case": f"S-{name}", "look": {"zoom": 1.5}})
    assert list(remembered()) == [Path("/studies/b"), Path("/studies/a")]
    assert remembered()[Path("/studies/b")] == {"case": "S-b", "look": {"zoom": 1.5}}


def test_only_the_latest_studies_are_kept():
    for number in range(STUDIES_MOST + 3):
        remember(Path(f"/studies/{number}"), {})
    assert next(iter(remembered())) == Path("/studies/3")
    assert len(remembered()) == STUDIES_MOST


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "other", "version": 1}', '{"format": "stainloom window"}'])
def test_a_damaged_file_is_put_aside_and_the_window_starts_afresh(text):
    window_file().parent.mkdir()
    window_file().write_text(text)
    assert remembered() == {}
    assert window_file().with_name("window.json.damaged").read_text() == text
    remember(Path("/studies/a"), {"case": "S01"})
    assert list(remembered()) == [Path("/studies/a")]


def test_a_file_of_a_newer_version_is_not_touched():
    remember(Path("/studies/a"), {"case": "S01"})
    newer = json.loads(window_file().read_text()) | {"version": 2, "more": "to keep"}
    window_file().write_text(json.dumps(newer))
    before = window_file().read_bytes()
    with pytest.raises(NewerWindowFile, match="newer"):
        remembered()
    with pytest.raises(NewerWindowFile):
        remember(Path("/studies/b"), {})
    assert window_file().read_bytes() == before
    assert [path.name for path in window_file().parent.iterdir()] == ["window.json"]


def test_entries_that_say_nothing_are_left_out():
    remember(Path("/studies/a"), {"case": "S01"})
    found = json.loads(window_file().read_text())
    found["studies"] += [None, {"case": "S02"}, {"study": 3}]
    window_file().write_text(json.dumps(found))
    assert list(remembered()) == [Path("/studies/a")]
