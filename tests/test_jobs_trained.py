"""Runs as a list shows them, trainings under way and interrupted, without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stainloom import jobs
from stainloom.case.lesions import LESIONS, LesionClass
from stainloom.case.run import Run, TrainState
from stainloom.errors import ModelError
from stainloom.io.casefile import StudyFolder
from stainloom.io.runs import save_run, save_state
from stainloom.io.trainings import under_way
from stainloom.jobs.training import training_key
from stainloom.model.settings import TrainSettings
from stainloom.progress import Cancelled
from stainloom.settings import as_json

_TEST = {
    "samples": 90, "patients": ["P01", "P02"], "accuracy": 0.5, "accuracy_interval": [0.4, 0.6], "balanced_accuracy": 0.45,
    "chance": 0.2,
}  # fmt: skip


def make_run(**changes: object) -> Run:
    run = Run(
        stains=("HE", "VG"), classes=LESIONS[:3], settings=as_json(TrainSettings()), size_px=28, um_per_px=1.0,
        mean=np.ones((2, 3), np.float32), std=np.ones((2, 3), np.float32), weights={"a": np.ones(3, np.float32)},
        outcome="learned", figures={"best_epoch": 1, "seconds": 3.5, "test": _TEST}, history=({"epoch": 1.0, "train_loss": 1.0},),
        patchset="set", seed=0, threads=1, simulated=True, one_patient=False, normalized=False,
    )  # fmt: skip
    return replace(run, **changes)  # type: ignore[arg-type]


def test_runs_are_listed_newest_first_with_what_they_are(tiny_case: Path) -> None:
    first = save_run(tiny_case / "runs", make_run())
    run = jobs.trained(tiny_case).runs[0]
    assert (run.id, run.stains, run.outcome, run.usable, run.best_epoch) == (first, ("HE", "VG"), "learned", True, 1)
    assert run.test is not None
    assert (run.test.windows, run.test.patients, run.test.accuracy, run.test.interval) == (90, 2, 0.5, (0.4, 0.6))
    assert run.history == ({"epoch": 1.0, "train_loss": 1.0},)


def test_a_run_that_does_not_fit_the_study_says_why(tiny_case: Path) -> None:
    save_run(tiny_case / "runs", make_run(stains=("HE", "PAS")))
    (run,) = jobs.trained(tiny_case).runs
    assert run.problem == "It was trained on PAS, which this study has not."
    assert not run.usable


def test_a_run_stays_usable_when_a_class_of_it_was_renamed(tiny_case: Path) -> None:
    save_run(tiny_case / "runs", make_run(classes=(LESIONS[0], LesionClass(2, "X", "something else", "#000000"))))
    (run,) = jobs.trained(tiny_case).runs
    assert run.usable  # its maps say which classes the study names no longer
    assert [facts.learned for facts in jobs.known_runs(tiny_case)] == [True]


@pytest.mark.parametrize("changes", [{"outcome": "did not learn"}, {"settings": {"control": "shuffled labels"}}])
def test_a_run_that_did_not_learn_and_a_control_are_not_used(tiny_case: Path, changes: dict[str, object]) -> None:
    save_run(tiny_case / "runs", make_run(**changes))
    (run,) = jobs.trained(tiny_case).runs
    assert not run.problem
    assert not run.usable


def test_damaged_and_newer_runs_are_in_the_list(tiny_case: Path) -> None:
    ids = [save_run(tiny_case / "runs", make_run()) for _ in range(4)]
    (tiny_case / "runs" / ids[0] / "weights.safetensors").write_bytes(b"short")
    (tiny_case / "runs" / ids[1] / "run.json").write_text("{")
    for id, change in ((ids[2], {"version": 2}), (ids[3], {"figures": {"test": {"samples": "many"}}})):
        path = tiny_case / "runs" / id / "run.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    found = {run.id: run for run in jobs.trained(tiny_case).runs}
    assert all(found[id].problem for id in ids)
    assert "altered or is not whole" in found[ids[0]].problem


def test_an_interrupted_training_is_found_with_what_it_goes_on_with(tiny_case: Path) -> None:
    patchset = str(jobs.export(tiny_case, workers=1).figures["patchset"])
    settings = TrainSettings(stains=("VG",), features=32)
    key = training_key(patchset, settings)
    runs = StudyFolder.open(tiny_case).path / "runs"
    facts = {"settings": as_json(settings), "history": [{"epoch": 1.0, "train_loss": 2.0}]}
    save_state(runs / f".training-{key}", TrainState({"a": np.ones(2, np.float32)}, facts))
    save_state(runs / ".training-0123456789abcdef", TrainState({"a": np.ones(2, np.float32)}, facts))
    (found,) = jobs.trained(tiny_case).interrupted
    assert (found.key, found.patchset, found.settings) == (key, patchset, settings)
    assert found.history == ({"epoch": 1.0, "train_loss": 2.0},)
    with under_way(runs, key, patchset, ("VG",)) as told:
        seen = jobs.trained(tiny_case)
        assert seen.interrupted == ()
        assert [training.key for training in seen.under_way] == [key]
        jobs.stop_training(tiny_case, key)
        told._beaten = 0.0
        told.tell(0, 1, "")
        assert told.stop_asked
    assert list(runs.glob(".running-*")) == []


def test_a_run_that_a_limit_ended_is_no_interrupted_training_but_can_be_trained_longer(tiny_case: Path) -> None:
    patchset = str(jobs.export(tiny_case, workers=1).figures["patchset"])
    settings = TrainSettings(stains=("HE", "VG"), features=32)
    runs, rows = tiny_case / "runs", ({"epoch": 1.0, "train_loss": 1.0},)
    save_run(runs, make_run(patchset=patchset, history=rows))
    save_run(runs, make_run(patchset="another", history=rows))
    place = runs / f".training-{training_key(patchset, settings)}"
    kept = {"settings": as_json(settings), "stopped": "asked to finish", "history": [dict(rows[0])]}
    save_state(place, TrainState({"a": np.ones(2, np.float32)}, kept))
    seen = jobs.trained(tiny_case)
    assert seen.interrupted == ()
    assert {run.patchset: run.settings for run in seen.runs} == {patchset: settings, "another": None}
    # It was gone on with, and interrupted then.
    save_state(place, TrainState({"a": np.ones(2, np.float32)}, {**kept, "history": [dict(rows[0])] * 2}))
    seen = jobs.trained(tiny_case)
    assert [one.settings for one in seen.interrupted] == [settings]
    assert [run.settings for run in seen.runs] == [None, None]


def test_of_trainings_that_a_limit_ended_one_state_is_kept_that_of_the_most_stains(tiny_case: Path) -> None:
    jobs.export(tiny_case, workers=1)
    runs = tiny_case / "runs"
    limits = {"features": 8, "epoch_samples": 64, "most_epochs": 1, "threads": 1}

    def states() -> set[str]:
        return {path.name for path in runs.glob(".training-*")}

    def end(**settings: object) -> None:
        with suppress(ModelError):  # in one epoch it need not learn
            jobs.train(tiny_case, TrainSettings(**limits, **settings))  # type: ignore[arg-type]

    end(stains=("HE",))
    (single,) = states()
    end(stains=("HE", "VG"))
    (fused,) = states()
    assert fused != single
    end(stains=("VG",))
    assert states() == {fused}
    end(stains=("HE", "VG"), control="shuffled labels")
    assert states() == {fused}
    end(stains=("HE", "VG"), seed=1)
    (other,) = states()
    assert other != fused


def test_a_run_is_kept_also_where_its_state_cannot_be(tiny_case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise ModelError("the disk is full")

    jobs.export(tiny_case, workers=1)
    monkeypatch.setattr("stainloom.io.runs.save_state", full)
    with suppress(ModelError):  # in one epoch it need not learn
        jobs.train(tiny_case, TrainSettings(features=8, epoch_samples=64, most_epochs=1, threads=1))
    (run,) = jobs.trained(tiny_case).runs
    assert len(run.history) == 1
    assert run.settings is None


def test_a_training_begun_anew_leaves_the_state_of_one_that_got_further(tiny_case: Path) -> None:
    jobs.export(tiny_case, workers=1)
    settings = TrainSettings(features=8, epoch_samples=64, most_epochs=3, threads=1, save_minutes=0)
    with suppress(ModelError):
        jobs.train(tiny_case, settings)
    (before,) = [run for run in jobs.trained(tiny_case).runs if run.settings is not None]
    asked = iter(["go"] * 2 + ["cancel"] * 100)
    with pytest.raises(Cancelled):
        jobs.train(tiny_case, settings, control=lambda: next(asked))  # type: ignore[arg-type,return-value]
    seen = jobs.trained(tiny_case)
    assert seen.interrupted == ()
    assert [run.id for run in seen.runs if run.settings is not None] == [before.id]


def test_looking_loads_no_torch() -> None:
    words = "import sys; from stainloom import jobs; import stainloom.jobs.trained, stainloom.model.settings; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0
