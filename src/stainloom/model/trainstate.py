"""The whole state of a training between two batches, taken and put back: going on from it equals never having stopped."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stainloom.case.run import Arrays, TrainState
from stainloom.errors import ModelError
from stainloom.model.settings import MAY_CHANGE
from stainloom.settings import as_json

if TYPE_CHECKING:
    from stainloom.model.train import Training

_log = logging.getLogger(__name__)

_COUNTS = ("place", "passes", "steps", "epoch", "epoch_seen", "right", "stale", "best_epoch")
_ADDED = {"right": 0}
"""Counts that older states lack."""


def _belongs_to(training: Training) -> str:
    """Hash of what the training learns from."""
    digest = hashlib.sha256()
    for samples in (training.train, training.validation):
        for array in (samples.indices, samples.labels.astype(np.int64), samples.present):
            digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(training.scaling.mean.tobytes() + training.scaling.std.tobytes())
    digest.update("\n".join([*training.train.stains, *(str(lesion.id) for lesion in training.classes)]).encode())
    return digest.hexdigest()


def state_of(training: Training) -> TrainState:
    """Everything that is needed to go on, copied."""
    arrays = {f"weights.{name}": copied(value) for name, value in training.network.state_dict().items()}
    arrays |= {f"best.{name}": copied(value) for name, value in training.best.items()}
    for name, parameter in training.network.named_parameters():
        for key, value in training.adam.state.get(parameter, {}).items():
            arrays[f"adam.{key}.{name}"] = copied(value)
    arrays["order"] = training.order.copy()
    arrays["torch_rng"] = copied(torch.get_rng_state())
    facts = {
        "settings": as_json(training.settings),
        "threads": training.threads,
        "belongs_to": _belongs_to(training),
        "rng": _generator_facts(training.rng),
        "counts": {name: getattr(training, name) for name in _COUNTS},
        "loss_sum": training.loss_sum,
        "best_loss": training.best_loss if training.best else None,
        "learned": training.learned,
        "stopped": training.stopped,
        "seconds": training.elapsed(),
        "history": list(training.history),
    }
    return TrainState(arrays, facts)


def resume(training: Training, state: TrainState) -> None:
    """Go on where a state was taken."""
    facts, arrays = state.facts, state.arrays
    try:
        _check_state(training, facts)
        own = training.network.state_dict()
        _fill(own, arrays, "weights.")
        if facts["best_loss"] is not None:
            training.best = {name: torch.empty_like(value) for name, value in own.items()}
            _fill(training.best, arrays, "best.")
            training.best_loss = float(facts["best_loss"])
        for name, parameter in training.network.named_parameters():
            if f"adam.step.{name}" in arrays:
                moments = {"step": torch.tensor(0.0)}
                moments |= {key: torch.zeros_like(parameter) for key in ("exp_avg", "exp_avg_sq")}
                _fill({f"{key}.{name}": value for key, value in moments.items()}, arrays, "adam.")
                training.adam.state[parameter] = moments
        training.order = np.array(arrays["order"], np.int64)
        if np.any(np.sort(training.order) != np.arange(len(training.order))) or len(training.order) not in (
            0,
            len(training.train),
        ):
            raise ValueError("the order of samples names other samples")
        torch.set_rng_state(torch.from_numpy(np.array(arrays["torch_rng"], np.uint8)))
        _set_generator(training.rng, facts["rng"])
        for name in _COUNTS:
            setattr(training, name, int({**_ADDED, **facts["counts"]}[name]))
        training.loss_sum, training.learned = float(facts["loss_sum"]), bool(facts["learned"])
        training.go_on_from(float(facts["seconds"]))
        training.history = [dict(row) for row in facts["history"]]
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            "the saved state of this training is not whole",
            found=f"{type(error).__name__}: {error}",
            next="start the training anew",
        ) from error
    # Limits may have been raised: ask again whether it is over.
    training.stopped = training.reason_to_stop() if training.epoch and not training.epoch_seen else None


def _check_state(training: Training, facts: Mapping[str, Any]) -> None:
    mine, theirs = as_json(training.settings), facts["settings"]
    for name in sorted(set(mine) - MAY_CHANGE):
        if mine[name] != theirs.get(name):
            raise ModelError(
                f"this training was started with another {name}",
                expected=f"{name} {theirs.get(name)}",
                found=str(mine[name]),
                next="start anew, or resume with the old settings",
            )
    if facts["belongs_to"] != _belongs_to(training):
        raise ModelError(
            "this training was started on other patches",
            next="start anew, or resume with the patch set it was started on",
        )
    if facts["threads"] != training.threads:
        _log.warning(
            "resumed with %s threads, started with %s: not the same bit for bit", training.threads, facts["threads"]
        )


def _generator_facts(rng: np.random.Generator) -> dict[str, Any]:
    """State of a generator as JSON: its 128-bit numbers as text, since JSON's readers may round them."""
    state: Mapping[str, Any] = rng.bit_generator.state
    words = {name: f"{value:x}" for name, value in state["state"].items()}
    return {**state, "state": words}


def _set_generator(rng: np.random.Generator, facts: Mapping[str, Any]) -> None:
    words = {name: int(value, 16) for name, value in facts["state"].items()}
    rng.bit_generator.state = {**facts, "state": words}


def copied(value: Tensor) -> NDArray[Any]:
    return np.array(value.detach().numpy(), order="C")


def _fill(into: Mapping[str, Tensor], arrays: Arrays, prefix: str) -> None:
    """Copy stored arrays into tensors of the same names and shapes."""
    for name, tensor in into.items():
        stored = arrays[prefix + name]
        if tuple(stored.shape) != tuple(tensor.shape):
            raise ValueError(f"{name} has shape {tuple(stored.shape)}, not {tuple(tensor.shape)}")
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(np.array(stored)))
