"""Trainings under way: seen, stopped and told from those that died."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from stainloom.errors import ModelError
from stainloom.io import trainings
from stainloom.io.trainings import ask_to_stop, list_trainings, under_way

STAINS = ("HE", "VG")


def test_a_training_is_seen_while_it_runs_and_no_longer(tmp_path, monkeypatch):
    monkeypatch.setattr(trainings, "_BEAT_S", 0.0)
    monkeypatch.setattr(trainings, "_WRITE_S", 0.0)
    with under_way(tmp_path, "abc", "set", STAINS) as told:
        told.tell(0.25, 1, "training, epoch 1")
        told.add({"epoch": 1, "train_loss": 1.5})
        told.tell(0.5, 1, "training, epoch 2")
        (seen,) = list_trainings(tmp_path)
        assert (seen.key, seen.patchset, seen.stains, seen.process) == ("abc", "set", STAINS, os.getpid())
        assert (seen.share, seen.what) == (0.5, "training, epoch 2")
        assert seen.history == ({"epoch": 1.0, "train_loss": 1.5},)
        assert seen.seconds_left is not None
        with pytest.raises(ModelError, match="running already"), under_way(tmp_path, "abc", "set", STAINS):
            pass
    assert list(tmp_path.iterdir()) == []


def test_somebody_else_can_stop_it(tmp_path, monkeypatch):
    monkeypatch.setattr(trainings, "_BEAT_S", 0.0)
    ask_to_stop(tmp_path, "abc")  # of an earlier one: means nothing to the next
    with under_way(tmp_path, "abc", "set", STAINS) as told:
        told.tell(0, 1, "")
        assert not told.stop_asked
        ask_to_stop(tmp_path, "abc")
        told.tell(0, 1, "")
        assert told.stop_asked
    assert list(tmp_path.iterdir()) == []


def test_one_that_died_is_not_seen_and_can_be_started_again(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    with under_way(tmp_path, "abc", "set", STAINS):
        path = tmp_path / ".running-abc.json"
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, "process": child.pid}))
        assert list_trainings(tmp_path) == ()
        path.write_text(json.dumps({**content, "host": "elsewhere"}))
        assert len(list_trainings(tmp_path)) == 1
        os.utime(path, (time.time() - 100,) * 2)
        assert list_trainings(tmp_path) == ()
        with under_way(tmp_path, "abc", "set", STAINS):
            assert len(list_trainings(tmp_path)) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "stainloom training under way"}'])
def test_a_damaged_file_is_no_training(tmp_path, text):
    (tmp_path / ".running-abc.json").write_text(text)
    assert list_trainings(tmp_path) == ()


def test_a_disk_that_refuses_does_not_stop_the_training(tmp_path, monkeypatch):
    def full(*_, **__):
        raise ModelError("the disk is full")

    monkeypatch.setattr(trainings, "_WRITE_S", 0.0)
    monkeypatch.setattr(trainings, "write_json", full)
    with under_way(tmp_path, "abc", "set", STAINS) as told:
        told.add({"epoch": 1})
        told.tell(1, 2, "on")
