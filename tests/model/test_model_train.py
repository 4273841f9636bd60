"""Training: learns what is there, says when nothing is, and goes on bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from stainloom.errors import ModelError
from stainloom.io.runs import load_run, load_state, save_run, save_state
from stainloom.model.settings import TrainSettings
from stainloom.model.train import _calls_beat, train
from stainloom.progress import Cancelled
from stainloom.settings import as_json

QUICK = TrainSettings(
    features=16, batch=16, warmup_steps=8, rate=0.002, most_epochs=4, threads=1, save_minutes=0.0, seed=5
)


def same_weights(one, other) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_learns_what_no_stain_alone_shows(make_patches):
    result = train(make_patches(), replace(QUICK, most_epochs=8))
    assert result.outcome == "learned"
    assert result.figures["validation_balanced_accuracy"] > 0.9
    assert result.stains == ("HE", "AB-PAS", "Masson")
    assert [row["epoch"] for row in result.history] == list(range(1, 9))
    best = min(result.history, key=lambda row: row["validation_loss"])
    assert result.figures["best_epoch"] == best["epoch"]
    assert result.figures["validation_loss"] == best["validation_loss"]


def test_one_stain_cannot_tell_classes_that_it_does_not_show(make_patches):
    patches = make_patches(count=160, classes=4, stains=4)
    single = train(patches, replace(QUICK, stains=("Masson",), most_epochs=8))
    fused = train(patches, replace(QUICK, most_epochs=8))
    assert single.stains == ("Masson",)
    # One class is recognised, the other three are alike: balanced accuracy near 0.5.
    assert single.figures["validation_balanced_accuracy"] < 0.65
    assert fused.figures["validation_balanced_accuracy"] > single.figures["validation_balanced_accuracy"] + 0.2


def test_shuffled_labels_end_as_did_not_learn(make_patches):
    settings = replace(QUICK, control="shuffled labels", most_epochs=100, learn_epochs=5, patience_epochs=1)
    result = train(make_patches(), settings)
    assert result.outcome == "did not learn"
    assert result.figures["epochs"] == 5
    assert "class mix" in result.figures["stopped"]


@pytest.mark.parametrize(
    ("matrix", "beaten"),
    [
        ([[40, 30, 30], [20, 50, 30], [20, 20, 60]], True),
        ([[100, 0, 0], [60, 0, 0], [40, 0, 0]], False),  # always the largest class
        ([[40, 30, 30], [33, 34, 33], [30, 35, 35]], False),  # chance
        ([[3, 1], [1, 3]], False),  # too few to tell
        ([[100, 0], [0, 0]], False),  # one class alone says nothing
    ],
)
def test_more_right_than_the_largest_class_is_learning(matrix, beaten):
    assert _calls_beat(np.array(matrix)) is beaten


def test_pixels_without_signal_end_as_did_not_learn(make_patches):
    result = train(make_patches(signal=0), replace(QUICK, learn_epochs=3))
    assert result.outcome == "did not learn"


def test_a_plateau_ends_a_training_that_learned(make_patches):
    result = train(make_patches(), replace(QUICK, most_epochs=200, patience_epochs=3, dropout=0.0))
    assert result.outcome == "learned"
    assert result.figures["stopped"] == "plateau of the validation loss"
    assert result.figures["epochs"] == result.figures["best_epoch"] + 3


def test_equal_seeds_give_equal_weights_and_others_do_not(make_patches):
    patches, settings = make_patches(), replace(QUICK, most_epochs=2)
    first, second = train(patches, settings), train(patches, settings)
    assert same_weights(first.weights, second.weights)
    assert not same_weights(first.weights, train(patches, replace(settings, seed=6)).weights)


def test_reading_from_disk_equals_reading_from_memory(make_patches):
    patches, settings = make_patches(), replace(QUICK, most_epochs=2)
    assert same_weights(train(patches, settings).weights, train(patches, replace(settings, memory_mb=0)).weights)


def test_the_callers_generator_and_threads_stay_as_they_were(make_patches):
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    before = torch.get_num_threads()
    train(make_patches(), replace(QUICK, most_epochs=1, threads=2 if before == 1 else 1))
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == before


class Killed(Exception):
    """Stands for a process that ends without a word."""


@pytest.mark.parametrize("extra", [{}, {"cool_down": True, "most_passes": 250}, {"epoch_samples": 50}])
def test_a_training_killed_after_an_epoch_goes_on_bit_for_bit(make_patches, extra):
    patches, settings = make_patches(), replace(QUICK, **extra)
    whole = train(patches, settings)
    kept = []

    def die(figures):
        if figures.epoch == 3:
            raise Killed

    with pytest.raises(Killed):
        train(patches, settings, save_state=kept.append, on_epoch=die)
    assert [state.facts["counts"]["epoch"] for state in kept] == [1, 2]
    resumed = train(patches, settings, state=kept[-1])
    assert same_weights(whole.weights, resumed.weights)
    forget = {"seconds"}
    for one, other in zip(whole.history, resumed.history, strict=True):
        assert {k: v for k, v in one.items() if k not in forget} == {k: v for k, v in other.items() if k not in forget}


def test_a_state_on_disk_goes_on_bit_for_bit_and_the_run_is_what_was_trained(make_patches, tmp_path):
    patches, asked = make_patches(), iter(["go"] * 12 + ["cancel"])
    whole = train(patches, QUICK)
    with pytest.raises(Cancelled):
        train(patches, QUICK, save_state=lambda s: save_state(tmp_path / "state", s), control=lambda: next(asked))
    resumed = train(patches, QUICK, state=load_state(tmp_path / "state"))
    assert same_weights(whole.weights, resumed.weights)
    id = save_run(tmp_path, resumed.run(um_per_px=0.5, patchset="tiny", simulated=True))
    back = load_run(tmp_path / id)
    assert same_weights(back.weights, whole.weights)
    assert back.settings == as_json(QUICK)
    assert (back.um_per_px, back.simulated, back.outcome) == (0.5, True, "learned")


def test_cancelled_within_an_epoch_it_goes_on_bit_for_bit(make_patches):
    patches = make_patches()
    whole = train(patches, QUICK)
    kept, asked = [], iter(["go"] * 7 + ["cancel"])
    with pytest.raises(Cancelled):
        train(patches, QUICK, save_state=kept.append, control=lambda: next(asked))
    assert len(kept) == 2  # epoch 1 (five batches), and the cancel
    assert kept[-1].facts["counts"]["steps"] == 8
    assert same_weights(whole.weights, train(patches, QUICK, state=kept[-1]).weights)


def test_asked_to_finish_it_ends_with_the_best_so_far(make_patches):
    whole = train(make_patches(), QUICK)
    learned = next(row["epoch"] for row in whole.history if row["validation_loss"] < row["prior_loss"])
    rows = []
    early = train(
        make_patches(), QUICK, on_epoch=rows.append, control=lambda: "finish" if len(rows) >= learned else "go"
    )
    assert (early.outcome, early.figures["stopped"]) == ("learned", "asked to finish")
    assert early.figures["epochs"] < whole.figures["epochs"]
    passes = [row["passes"] for row in early.history]
    assert passes[-1] - passes[-2] == QUICK.batch
    first = early.history[:-1]
    assert [row["validation_loss"] for row in first] == [row["validation_loss"] for row in whole.history[: len(first)]]


def test_asked_to_finish_before_it_has_learned_it_ends_and_says_so(make_patches):
    early = train(make_patches(), QUICK, control=lambda: "finish")
    assert (early.outcome, early.figures["stopped"]) == ("did not learn", "asked to finish")
    assert [row["passes"] for row in early.history] == [QUICK.batch]


def test_a_cancel_by_the_bar_keeps_the_state_too(make_patches):
    kept = []

    def stop_at_half(done, total, what, slide=""):
        if done / total > 0.5:
            raise Cancelled

    with pytest.raises(Cancelled):
        train(make_patches(), QUICK, save_state=kept.append, progress=stop_at_half)
    assert kept[-1].facts["counts"]["epoch"] == 2


def test_a_pause_keeps_the_state_waits_and_changes_nothing(make_patches):
    patches, settings = make_patches(), replace(QUICK, most_epochs=2, save_minutes=1000.0)
    asked = iter(["go", "pause", "pause", "pause", "go", *["go"] * 50])
    kept, said = [], []
    result = train(
        patches,
        settings,
        save_state=kept.append,
        control=lambda: next(asked),
        progress=lambda done, total, what, slide="": said.append(what),
    )
    assert said.count("paused") == 3
    assert len(kept) == 1
    assert kept[0].facts["counts"]["steps"] == 2
    assert same_weights(result.weights, train(patches, settings).weights)


def test_a_finished_training_can_be_given_more_epochs(make_patches):
    patches, kept = make_patches(), []
    train(patches, replace(QUICK, most_epochs=3), save_state=kept.append)
    longer = train(patches, replace(QUICK, most_epochs=5), state=kept[-1])
    assert same_weights(longer.weights, train(patches, replace(QUICK, most_epochs=5)).weights)


def test_a_state_of_another_training_is_refused(make_patches):
    patches, kept = make_patches(), []
    train(patches, replace(QUICK, most_epochs=1), save_state=kept.append)
    with pytest.raises(ModelError, match="another seed"):
        train(patches, replace(QUICK, seed=9), state=kept[0])
    with pytest.raises(ModelError, match="other patches"):
        train(make_patches(seed=1), QUICK, state=kept[0])
    arrays = dict(kept[0].arrays)
    arrays.pop("weights.head.bias")
    with pytest.raises(ModelError, match="not whole"):
        train(patches, QUICK, state=replace(kept[0], arrays=arrays))


def test_a_limit_of_passes_is_kept_to_the_sample(make_patches):
    result = train(make_patches(), replace(QUICK, most_passes=333, most_epochs=100))
    assert result.figures["passes"] == 333
    assert result.figures["epochs"] == 5


def test_the_rate_warms_up_and_cools_down(make_patches):
    settings = replace(QUICK, most_passes=480, cool_down=True, most_epochs=100, epoch_samples=16, learn_epochs=100)
    rates = [row["rate"] for row in train(make_patches(), settings).history]
    assert rates[0] == pytest.approx(settings.rate / settings.warmup_steps)
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert max(rates) == pytest.approx(settings.rate)
    assert rates[-1] < 0.02 * settings.rate


def test_what_cannot_be_trained_is_said(make_patches):
    patches = make_patches()
    with pytest.raises(ModelError, match="lack a stain") as error:
        train(patches, replace(QUICK, stains=("HE", "Ki67")))
    assert error.value.stain == "Ki67"
    patches.present[:, 1] = False
    with pytest.raises(ModelError, match="no training patch shows this stain") as error:
        train(patches, QUICK)
    assert error.value.stain == "AB-PAS"
    one = make_patches()
    one.labels[:] = 2
    with pytest.raises(ModelError, match="nothing to tell apart"):
        train(one, QUICK)
    no_validation = make_patches()
    no_validation.sets[no_validation.sets == "validation"] = "test"
    with pytest.raises(ModelError, match="nothing to validate on"):
        train(no_validation, QUICK)
    with pytest.raises(ModelError, match="rate"):
        train(patches, replace(QUICK, rate=5.0))
