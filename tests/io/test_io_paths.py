"""No name leaves its folder."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stainloom.errors import CaseError
from stainloom.io.paths import check_name, confine, safe_name

EVIL = [
    "",
    "/etc/passwd",
    "../a",
    "a/../../b",
    "a/..",
    "./a",
    "a//b",
    "a/. ./b",
    "...",
    "C:/a",
    "C:a",
    "a:b",
    "\\\\server\\share",
    "a\\..\\b",
    "a\0b",
    "a\nb",
    "con",
    "NUL.tif",
    "a/Aux .svs",
    "com1.tif",
    "lpt9",
    "x" * 5000,
]


@pytest.mark.parametrize("relative", EVIL)
def test_paths_that_leave_are_refused(tmp_path: Path, relative: str) -> None:
    with pytest.raises(CaseError, match="leaves its folder"):
        confine(tmp_path, relative)


@pytest.mark.parametrize("relative", ["a.svs", "a/b c/ä.tif", "..a", "a..", ".hidden", "console.tif", "a/com10.tif"])
def test_plain_paths_are_taken(tmp_path: Path, relative: str) -> None:
    assert confine(tmp_path, relative) == tmp_path.resolve() / relative


def test_a_link_out_is_refused_and_a_link_within_is_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "real").mkdir(parents=True)
    outside.mkdir()
    (outside / "a.tif").write_text("secret")
    (root / "out").symlink_to(outside)
    (root / "file.tif").symlink_to(outside / "a.tif")
    (root / "up").symlink_to("..")
    (root / "in").symlink_to(root / "real")
    for relative in ("out/a.tif", "file.tif", "up/outside/a.tif", "in/../../outside/a.tif"):
        with pytest.raises(CaseError, match="leaves its folder"):
            confine(root, relative)
    assert confine(root, "in/b.tif") == (root / "real" / "b.tif").resolve()


def test_links_in_a_ring_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    try:
        found = confine(tmp_path, "a/c.tif")
    except CaseError:
        return
    # Python 3.13 leaves the ring unresolved: nothing can be opened there.
    assert found.is_relative_to(tmp_path.resolve())
    assert not found.exists()


def test_a_root_may_itself_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert confine(tmp_path / "link", "a.tif") == (tmp_path / "real" / "a.tif").resolve()


@settings(max_examples=200, deadline=None)
@given(relative=st.text(alphabet="ab./\\: \0cC~", max_size=12))
def test_whatever_is_taken_lies_below(relative: str) -> None:
    root = Path("some") / "root"
    try:
        found = confine(root, relative)
    except CaseError:
        return
    assert found.is_relative_to(root.resolve())
    assert found != root.resolve()


@settings(max_examples=200, deadline=None)
@given(name=st.text(max_size=80))
def test_safe_names_are_safe_and_stay(name: str) -> None:
    safe = safe_name(name)
    assert 1 <= len(safe) <= 64
    assert set(safe) <= set(string.ascii_letters + string.digits + "-_.")
    assert safe[0] != "."
    assert safe[-1] != "."
    assert safe_name(safe) == safe
    assert confine(Path("x"), safe).name == safe


@pytest.mark.parametrize("name", ["HE", "AB-PAS", "VG_plain", "proSPC", "case.7", "2024-11"])
def test_plain_names_stay_as_they_are(name: str) -> None:
    assert safe_name(name) == name == check_name(name, "a case")


def test_odd_names_stay_apart() -> None:
    names = ["α-SMA", "β-SMA", "H&E", "H/E", "H E", "con", "CON", "..", "", "a" * 65, "a" * 66, "x.", "é", "e\u0301"]
    assert len({safe_name(name).casefold() for name in names}) == len(names)
    assert safe_name("β-SMA") == "SMA-e8ad9f35"


@pytest.mark.parametrize("name", ["", "..", "a/b", "con", "Müller", ".hidden", "a" * 65, "a b"])
def test_a_name_that_no_folder_can_have_is_refused_with_another(name: str) -> None:
    with pytest.raises(CaseError, match="a case cannot be called") as caught:
        check_name(name, "a case")
    assert safe_name(name) in str(caught.value)
