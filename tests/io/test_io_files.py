"""Files appear whole or not at all, and JSON is read strictly."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stainloom.errors import CaseError, PatchError
from stainloom.io import files
from stainloom.io.files import disk_errors, new_folder, process_alive, read_json, write_json, write_whole
from stainloom.progress import Cancelled

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def refuse(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    """Let a call of `os` fail as a disk would."""

    def failing(*_args: Any, **_kwargs: Any) -> Any:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, name, failing)


def fill(folder: Path, failure: BaseException) -> None:
    """Write half a result, and fail."""
    (folder / "a").write_text("new")
    raise failure


def content(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    write_whole(file, b"first")
    write_whole(file, b"second")
    assert file.read_bytes() == b"second"
    assert content(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "permission"), (errno.EIO, "refused")],
)
def test_a_disk_that_refuses_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, said: str
) -> None:
    file = tmp_path / "a.bin"
    write_whole(file, b"first")
    with monkeypatch.context() as patched:
        refuse(patched, call, number)
        with pytest.raises(PatchError, match=said) as caught:
            write_whole(file, b"second", PatchError)
    assert str(tmp_path) in str(caught.value)
    assert caught.value.next
    assert file.read_bytes() == b"first"
    assert content(tmp_path) == ["a.bin"]


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    final = tmp_path / "deep" / "result"
    with new_folder(final) as beside:
        (beside / "inner").mkdir()
        (beside / "inner" / "a").write_text("1")
        assert not final.exists()
        assert beside.parent == final.parent
    assert content(tmp_path / "deep") == ["result", "result/inner", "result/inner/a"]


@pytest.mark.parametrize("failure", [Cancelled(), ValueError("x"), KeyboardInterrupt(), CaseError("x")])
@pytest.mark.parametrize("replace", [False, True])
def test_any_failure_leaves_what_was_there(tmp_path: Path, failure: BaseException, replace: bool) -> None:
    final = tmp_path / "result"
    if replace:
        with new_folder(final) as beside:
            (beside / "a").write_text("old")
    with pytest.raises(type(failure)), new_folder(final, replace=replace) as beside:
        fill(beside, failure)
    assert content(tmp_path) == (["result", "result/a"] if replace else [])
    assert not replace or (final / "a").read_text() == "old"


def test_a_full_disk_inside_a_folder_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(PatchError, match="disk is full") as caught,
        new_folder(tmp_path / "r", error_type=PatchError) as f,
    ):
        fill(f, OSError(errno.ENOSPC, "No space left on device"))
    assert str(tmp_path) in str(caught.value)
    assert content(tmp_path) == []


def test_a_missing_slide_is_not_blamed_on_the_new_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), new_folder(tmp_path / "r"):
        (tmp_path / "missing.tif").read_bytes()


def test_a_rename_that_fails_puts_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    final = tmp_path / "result"
    with new_folder(final) as beside:
        (beside / "a").write_text("old")
    real = os.rename

    def second_fails(source: Any, target: Any) -> None:
        if str(source).endswith(".part"):
            raise OSError(errno.ENOSPC, "full")
        real(source, target)

    monkeypatch.setattr(os, "rename", second_fails)
    with pytest.raises(CaseError, match="disk is full"), new_folder(final, replace=True) as beside:
        (beside / "a").write_text("new")
    assert content(tmp_path) == ["result", "result/a"]
    assert (final / "a").read_text() == "old"


def test_a_folder_that_is_there_is_kept(tmp_path: Path) -> None:
    with new_folder(tmp_path / "r") as beside:
        (beside / "a").write_text("old")
    with pytest.raises(CaseError, match="already there"), new_folder(tmp_path / "r"):
        raise AssertionError("the block must not run")
    with new_folder(tmp_path / "r", replace=True) as beside:
        (beside / "b").write_text("new")
    assert content(tmp_path) == ["r", "r/b"]


KILLED = """
import os, sys
from pathlib import Path
from stainloom.io import files
final = Path(sys.argv[1])
if sys.argv[2] == "between":
    real = os.rename
    files.os.rename = lambda a, b: os._exit(9) if str(a).endswith(".part") else real(a, b)
with files.new_folder(final, replace=True) as beside:
    (beside / "a").write_text("new")
    if sys.argv[2] == "inside":
        os._exit(9)
"""


@pytest.mark.parametrize("when", ["inside", "between"])
def test_what_a_killed_process_left_is_swept_and_the_old_result_comes_back(tmp_path: Path, when: str) -> None:
    final = tmp_path / "r"
    with new_folder(final) as beside:
        (beside / "a").write_text("old")
    assert subprocess.run([sys.executable, "-c", KILLED, str(final), when], check=False).returncode == 9
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(CaseError, match="already there"), new_folder(final):
        pass
    assert content(tmp_path) == ["r", "r/a"]
    assert (final / "a").read_text() == "old"


def test_a_process_is_alive_until_it_ends() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert process_alive(child.pid)
    assert process_alive(os.getpid())
    child.communicate(b"\n")
    assert not process_alive(child.pid)
    assert not process_alive(0)


@settings(max_examples=30, deadline=None)
@given(obj=st.dictionaries(st.text(), JSON, max_size=5))
def test_json_round_trip(tmp_path_factory: pytest.TempPathFactory, obj: dict[str, Any]) -> None:
    file = tmp_path_factory.getbasetemp() / "round.json"
    try:
        write_json(file, obj)
    except (UnicodeEncodeError, CaseError):
        return
    first = file.read_bytes()
    assert read_json(file) == json.loads(json.dumps(obj))
    assert first.endswith(b"\n")
    write_json(file, read_json(file))
    assert file.read_bytes() == first


def test_json_takes_numpy_and_no_nan(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_json(file, {"a": np.float32(0.5), "b": np.arange(3), "c": (1, 2)})
    assert read_json(file) == {"a": 0.5, "b": [0, 1, 2], "c": [1, 2]}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(file, {"a": float("nan")})
    with pytest.raises(TypeError, match="Path"):
        write_json(file, {"a": file})
    assert read_json(file)["a"] == 0.5


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": 1e400}', "too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "too large"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"a": {"b": 1, "b": 1}}', "twice"),
        (b'{"a": "\xff"}', "utf-8"),
        (b"[1]", "list"),
        (b'"a"', "str"),
        (b'{"a": 1', "delimiter"),
        (b"", "Expecting value"),
        (b'{"a": "\\ud800"}', "surrogates"),
        (b'{"a":' * 100_000, "deep"),
    ],
)
def test_json_that_is_refused(tmp_path: Path, text: bytes, found: str) -> None:
    file = tmp_path / "study.json"
    file.write_bytes(text)
    with pytest.raises(CaseError, match=r"study\.json") as caught:
        read_json(file)
    assert found in str(caught.value)


def test_json_too_big_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"a": "' + "x" * 100 + '"}')
    assert read_json(file, 200)["a"] == "x" * 100
    with pytest.raises(CaseError, match="more than 50 bytes"):
        read_json(file, 50)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"gone\.json is not there"):
        read_json(tmp_path / "gone.json")
    with pytest.raises(CaseError, match="nothing at"), disk_errors(tmp_path / "gone"):
        os.stat(tmp_path / "gone")


def test_many_files_are_flushed_in_one_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(os, "sync", lambda: flushed.append("all"), raising=False)
    monkeypatch.setattr(files, "_FSYNC_ONE_BY_ONE", 3)
    for count in (2, 5):
        with new_folder(tmp_path / str(count)) as beside:
            for number in range(count):
                (beside / str(number)).write_text("x")
    assert flushed == ["all"]
