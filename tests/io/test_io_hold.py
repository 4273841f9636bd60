"""One writer: the second is refused by name, and only who is gone is taken over."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from stainloom.errors import CaseError
from stainloom.io import hold as module
from stainloom.io.hold import STALE_S, Hold, read_holder
from stainloom.wording import moment


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "holder.json"


def claim(file: Path, *, host: str, process: int, age_s: float) -> None:
    """What another holder left."""
    who = {"host": host, "process": process, "user": "anna", "since": "2026-11-22T10:00:00+00:00", "token": "t1"}
    file.write_text(json.dumps(who))
    os.utime(file, (time.time() - age_s, time.time() - age_s))


def left(file: Path) -> list[Path]:
    """What lies in the folder, but for the empty file that the system's lock needs."""
    return [path for path in file.parent.iterdir() if path.name != ".holder.lock"]


def ended_process() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_a_second_holder_is_refused_by_name(file: Path) -> None:
    with Hold(file, "c1") as held:
        assert held.held
        found = read_holder(file)
        assert found is not None
        assert (found.host, found.process) == (socket.gethostname(), os.getpid())
        with pytest.raises(CaseError, match="case c1 is in use") as caught, Hold(file, "c1"):
            pass
        assert f"process {os.getpid()}" in str(caught.value)
        assert moment(found.since) in str(caught.value)
        assert socket.gethostname() in str(caught.value)
        assert held.held
    assert read_holder(file) is None
    assert left(file) == []


def test_it_is_let_go_on_failure_and_can_be_held_again(file: Path) -> None:
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), Hold(file, "c1"):
            raise ZeroDivisionError
    assert not file.exists()


@pytest.mark.parametrize("age_s", [0.0, STALE_S - 20])
def test_a_holder_on_another_machine_is_believed(file: Path, age_s: float) -> None:
    claim(file, host="elsewhere", process=ended_process(), age_s=age_s)
    with pytest.raises(CaseError, match="anna on elsewhere"), Hold(file, "c1"):
        pass
    assert json.loads(file.read_text())["token"] == "t1"


@pytest.mark.parametrize(
    ("host", "alive", "age_s"),
    [("elsewhere", True, STALE_S + 5), (socket.gethostname(), True, STALE_S + 5), (socket.gethostname(), False, 0.0)],
)
def test_who_is_gone_is_taken_over(file: Path, host: str, alive: bool, age_s: float) -> None:
    claim(file, host=host, process=os.getpid() if alive else ended_process(), age_s=age_s)
    with Hold(file, "c1") as held:
        assert held.held
        assert json.loads(file.read_text())["process"] == os.getpid()
    assert left(file) == []


def test_a_broken_file_counts_as_held_until_it_is_old(file: Path) -> None:
    file.write_text('{"host": ')
    with pytest.raises(CaseError, match="somebody"), Hold(file, "c1"):
        pass
    os.utime(file, (0, 0))
    with Hold(file, "c1") as held:
        assert held.held


def test_one_that_lost_its_case_is_told_and_takes_nothing_away(file: Path) -> None:
    with Hold(file, "c1") as held:
        held.check()
        claim(file, host="elsewhere", process=1, age_s=0)
        assert not held.held
        with pytest.raises(CaseError, match="taken over") as caught:
            held.check()
        assert "anna on elsewhere" in str(caught.value)
    assert json.loads(file.read_text())["host"] == "elsewhere"


def test_the_heart_beats(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_S", 0.01)
    beaten = threading.Event()
    real = os.utime

    def heard(path: Path) -> None:
        real(path)
        beaten.set()

    with Hold(file, "c1"):
        monkeypatch.setattr(os, "utime", heard)
        os.utime(file)
        beaten.clear()
        real(file, (0, 0))
        assert beaten.wait(20)
        found = read_holder(file)
        assert found is not None
        assert found.heartbeat_s < STALE_S


def test_one_who_came_between_keeps_the_case(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claim(file, host="elsewhere", process=1, age_s=STALE_S + 5)
    real = os.rename

    def another_was_faster(source: Path, target: Path) -> None:
        if source == file:
            claim(file, host="faster", process=1, age_s=0)
            text = file.read_text().replace("t1", "t2")
            file.write_text(text)
        real(source, target)

    monkeypatch.setattr(os, "rename", another_was_faster)
    with pytest.raises(CaseError, match="anna on faster"), Hold(file, "c1"):
        pass
    assert json.loads(file.read_text())["token"] == "t2"
    assert left(file) == [file]


RACE = """
import sys
from pathlib import Path
from stainloom.errors import CaseError
from stainloom.io.hold import Hold
sys.stdin.readline()
try:
    with Hold(Path(sys.argv[1]), "c1"):
        print("held", flush=True)
        sys.stdin.readline()
except CaseError:
    print("refused", flush=True)
"""


def test_of_four_that_race_one_wins(file: Path) -> None:
    claim(file, host=socket.gethostname(), process=ended_process(), age_s=0)
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
    said = []
    for racer in racers:
        assert racer.stdout is not None
        said.append(racer.stdout.readline().strip())
    for racer in racers:
        racer.communicate("end\n")
    assert sorted(said) == ["held", "refused", "refused", "refused"]
    assert not file.exists()


def test_without_links_the_hold_is_still_exclusive(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_args: object) -> None:
        raise PermissionError("no links on this file system")

    monkeypatch.setattr(os, "link", no_links)
    with Hold(file, "c1") as held:
        assert held.held
        with pytest.raises(CaseError, match="in use"), Hold(file, "c1"):
            pass
    assert left(file) == []


def test_a_read_only_folder_is_said(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_args: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "fsync", refused)
    with pytest.raises(CaseError, match="read-only"), Hold(file, "c1"):
        pass
