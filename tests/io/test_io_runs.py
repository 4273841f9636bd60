"""Runs and states on disk: back as they were, or refused."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from stainloom.case.lesions import LESIONS
from stainloom.case.run import Run, TrainState
from stainloom.errors import StainloomError
from stainloom.io.runs import drop_state, list_runs, load_run, load_state, save_run, save_state


@pytest.fixture
def run() -> Run:
    rng = np.random.default_rng(0)
    return Run(
        stains=("HE", "AB-PAS"),
        classes=LESIONS[:3],
        settings={"features": 8, "stains": None},
        size_px=28,
        um_per_px=1.0,
        mean=rng.random((2, 3)).astype(np.float32),
        std=(rng.random((2, 3)) + 1).astype(np.float32),
        weights={
            "b.weight": rng.standard_normal((4, 3, 5, 5)).astype(np.float32),
            "a": np.asfortranarray(rng.standard_normal((3, 7)).astype(np.float32)),
        },
        outcome="learned",
        figures={"validation_loss": 0.25, "stopped": "plateau of the validation loss"},
        history=({"epoch": 1.0, "loss": 0.1 + 0.2}, {"epoch": 2.0, "loss": 1e-17}),
        patchset="20260101-000000-abcdef",
        seed=3,
        threads=2,
        simulated=True,
        one_patient=False,
        normalized=True,
        versions={"torch": "2"},
    )


@pytest.fixture
def saved(run, tmp_path):
    return tmp_path / "runs" / save_run(tmp_path / "runs", run)


def edit(folder, **changes) -> None:
    path = folder / "run.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))


def test_a_run_comes_back_as_it_was(run, saved):
    back = load_run(saved)
    assert back.id == saved.name
    assert list_runs(saved.parent) == (saved.name,)
    assert back.weights.keys() == run.weights.keys()
    for name, value in run.weights.items():
        assert np.array_equal(back.weights[name], value)
        assert back.weights[name].dtype == np.float32
    assert np.array_equal(back.mean, run.mean)
    assert np.array_equal(back.std, run.std)
    plain = {"weights": {}, "mean": None, "std": None, "id": ""}
    assert replace(back, **plain).__dict__ == replace(run, **plain).__dict__


def test_two_runs_never_share_a_folder_and_nothing_half_made_is_listed(run, saved):
    save_run(saved.parent, run)
    assert len(list_runs(saved.parent)) == 2
    (saved.parent / "empty").mkdir()
    (saved.parent / ".hidden.part").mkdir()
    assert len(list_runs(saved.parent)) == 2


def test_a_failure_while_writing_leaves_nothing(run, tmp_path):
    with pytest.raises(TypeError):
        save_run(tmp_path / "runs", replace(run, figures={"bad": object()}))
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.parametrize("place", [8, 60, -1])
def test_one_flipped_bit_in_the_weights_is_noticed(saved, place):
    path = saved / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(StainloomError, match=r"weights\.safetensors"):
        load_run(saved)


def test_weights_swapped_for_others_are_refused(run, saved):
    other = {name: value + 1 for name, value in run.weights.items()}
    save_file({name: np.ascontiguousarray(value) for name, value in other.items()}, saved / "weights.safetensors")
    with pytest.raises(StainloomError, match="SHA-256"):
        load_run(saved)


def test_a_pickle_in_place_of_the_weights_is_never_read(saved):
    data = pickle.dumps({"a": 1})
    (saved / "weights.safetensors").write_bytes(data)
    edit(saved, weights={"bytes": len(data), "sha256": "0" * 64})
    with pytest.raises(StainloomError, match="header"):
        load_run(saved)


def test_a_header_that_promises_more_than_the_file_holds_is_refused(saved):
    header = json.dumps({"a": {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}}).encode()
    data = len(header).to_bytes(8, "little") + header
    (saved / "weights.safetensors").write_bytes(data)
    edit(saved, weights={"bytes": len(data), "sha256": "0" * 64})
    with pytest.raises(StainloomError, match="a header that tells of"):
        load_run(saved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "newer"),
        ({"format": "something else"}, "format"),
        ({"stains": ["HE"]}, "contradicts"),
        ({"stains": ["HE", "HE"]}, "named twice"),
        ({"std": [[1, 1, 1], [1, 0, 1]]}, "above 0"),
        ({"mean": [[0], [0]]}, "contradicts"),
        ({"outcome": "good"}, "outcome"),
        ({"um_per_px": 0}, "um_per_px"),
        ({"simulated": 1}, "simulated"),
        ({"size_px": 10**9}, "size_px"),
        ({"weights": {"bytes": 1, "sha256": "x"}}, "sha256"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_wrong_run_json_is_refused(saved, changes, message):
    edit(saved, **changes)
    with pytest.raises(StainloomError, match=message):
        load_run(saved)


def test_no_number_and_missing_files_are_refused(saved):
    text = (saved / "run.json").read_text()
    (saved / "run.json").write_text(text.replace("0.25", "NaN"))
    with pytest.raises(StainloomError, match="NaN"):
        load_run(saved)
    (saved / "run.json").write_text(text)
    metrics = (saved / "metrics.csv").read_text()
    (saved / "metrics.csv").write_text(metrics + "3.0,inf\n")
    with pytest.raises(StainloomError, match="metrics"):
        load_run(saved)
    for name in ("metrics.csv", "weights.safetensors", "run.json"):
        (saved / name).unlink()
        with pytest.raises(StainloomError, match=name):
            load_run(saved)


def test_a_link_out_of_the_folder_is_not_followed(saved, tmp_path):
    outside = tmp_path / "elsewhere.safetensors"
    (saved / "weights.safetensors").rename(outside)
    (saved / "weights.safetensors").symlink_to(outside)
    with pytest.raises(StainloomError, match="leaves its folder"):
        load_run(saved)


def test_a_copied_run_keeps_working_under_its_new_name(saved):
    saved.rename(saved.parent / "copy-of-it")
    assert load_run(saved.parent / "copy-of-it").id == "copy-of-it"


def test_a_state_comes_back_and_a_newer_one_replaces_it(tmp_path):
    folder = tmp_path / "training"
    assert load_state(folder) is None
    arrays = {
        "weights.a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "adam.step.a": np.array(3.0, np.float32),
        "order": np.arange(5),
        "torch_rng": np.arange(200, dtype=np.uint8),
    }
    for epoch in (1, 2):
        save_state(folder, TrainState(arrays, {"epoch": epoch, "loss": 0.1 + 0.2}))
    back = load_state(folder)
    assert back.facts == {"epoch": 2, "loss": 0.1 + 0.2}
    for name, value in arrays.items():
        assert np.array_equal(back.arrays[name], value)
        assert back.arrays[name].dtype == value.dtype
        assert back.arrays[name].shape == value.shape
    assert [path.name for path in tmp_path.iterdir()] == ["training"]
    content = bytearray((folder / "state.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "state.safetensors").write_bytes(content)
    with pytest.raises(StainloomError, match="SHA-256"):
        load_state(folder)
    drop_state(folder)
    drop_state(folder)
    assert load_state(folder) is None


def test_a_failed_save_keeps_the_state_before(tmp_path):
    folder = tmp_path / "training"
    save_state(folder, TrainState({"a": np.zeros(2)}, {"epoch": 1}))
    with pytest.raises(TypeError):
        save_state(folder, TrainState({"a": np.ones(2)}, {"epoch": object()}))
    assert load_state(folder).facts == {"epoch": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["training"]
