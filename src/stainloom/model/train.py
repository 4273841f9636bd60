"""Training of the network over the stains: can be paused, stopped and taken up again bit for bit."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from stainloom.case.lesions import LesionClass
from stainloom.case.run import Outcome, TrainState
from stainloom.errors import ModelError
from stainloom.model.dataset import TRAIN, VALIDATION, Patches, Samples, drop_stains, fit_scaling
from stainloom.model.fusion import StainNetwork
from stainloom.model.metrics import accuracy, balanced_accuracy, confusion
from stainloom.model.settings import TrainSettings, settings_from, thread_count
from stainloom.model.trained import EpochFigures, TrainResult
from stainloom.model.trainstate import copied, resume, state_of
from stainloom.progress import Cancelled, Control, Progress, silent
from stainloom.settings import as_json
from stainloom.wording import many

_log = logging.getLogger(__name__)

_PAUSE_S = 0.05
_BETAS, _EPSILON = (0.9, 0.999), 1e-8
_VALIDATION_BATCH = 256
# Below the loss of the class mix by more than chance: three standard errors, and a hundredth of it.
_ERRORS_LEAST, _GAIN_LEAST, _CALLS_LEAST = 3.0, 0.01, 0.05

_ASKED = "asked to finish"
_EPOCHS_SPENT, _BUDGET_SPENT = "most_epochs reached", "most_passes or stop_after_minutes reached"
_LIMITS = (_ASKED, _EPOCHS_SPENT, _BUDGET_SPENT)


def _go() -> Literal["go"]:
    return "go"


def _nobody(_: EpochFigures) -> None:
    return None


def train(
    patches: Patches,
    settings: TrainSettings,
    *,
    state: TrainState | None = None,
    save_state: Callable[[TrainState], None] | None = None,
    on_epoch: Callable[[EpochFigures], None] = _nobody,
    control: Control = _go,
    progress: Progress = silent,
) -> TrainResult:
    """Train the specification's network on a patch set.

    Parameters
    ----------
    patches
        With samples of the sets `train` and `validation`.
    settings
        See `TrainSettings`.
    state
        Take this training up again; `ModelError` where it belongs to other patches or settings.
    save_state
        Gets the state at ends of epochs (`save_minutes` apart), on pause and on cancel.
    on_epoch
        Gets each line of metrics.
    control
        Asked after every batch: `go`, `pause` (asked again until it says otherwise), `cancel`, or `finish`: end now, with
        the best weights so far; where nothing was learned, the outcome says so.

    Returns
    -------
    The best weights by validation loss. A result whose outcome is `did not learn` must not be used.

    Raises
    ------
    Cancelled
        By `control` or `progress`; the state has been saved.
    ModelError
        Where patches and settings do not make a training, naming the reason.

    Notes
    -----
    Adam at 0.001 on standardised input behind a linear warm-up: without either the network of the specification falls to
    chance. A plateau of the validation loss ends the training only once that loss is below what the class mix alone
    gives; a training that never gets there did not learn. Same seed and same number of threads: same weights, bit for bit.

    References
    ----------
    D. P. Kingma, J. Ba, Adam, ICLR 2015, arXiv 1412.6980.
    """
    settings = settings_from(as_json(settings))
    threads = thread_count(settings.threads)
    with computing(threads):
        training = Training(patches, settings, threads)
        if state is not None:
            resume(training, state)
        try:
            _epochs(training, save_state, on_epoch, control, progress)
        except Cancelled:
            if save_state is not None and training.between_batches:
                save_state(training.saved_state())
            raise
        return training.result()


@contextmanager
def computing(threads: int) -> Iterator[None]:
    """So many threads and a generator of one's own; afterwards everything is as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(before)


def _epochs(
    training: Training,
    save_state: Callable[[TrainState], None] | None,
    on_epoch: Callable[[EpochFigures], None],
    control: Control,
    progress: Progress,
) -> None:
    while training.stopped is None:
        while not training.epoch_over:
            training.step()
            progress(*training.share(), training.line())
            _obey(training, save_state, control, progress)
        on_epoch(training.close_epoch())
        if save_state is not None and training.save_due:
            save_state(training.saved_state())
        progress(*training.share(), training.line())


def _obey(
    training: Training, save_state: Callable[[TrainState], None] | None, control: Control, progress: Progress
) -> None:
    wish = control()
    if wish == "pause":
        with training.resting():
            if save_state is not None:
                save_state(training.saved_state())
            while wish == "pause":
                progress(*training.share(), "paused")
                time.sleep(_PAUSE_S)
                wish = control()
    if wish == "cancel":
        raise Cancelled
    training.finishing = wish == "finish"


class Training:
    """Network, optimiser and counts of one training; the state between two batches is complete."""

    def __init__(self, patches: Patches, settings: TrainSettings, threads: int) -> None:
        self.settings, self.threads = settings, threads
        stains = tuple(patches.stain_names) if settings.stains is None else settings.stains
        memory = settings.memory_mb * 1_000_000
        self.train = Samples(patches, patches.indices(TRAIN, settings.augmented), stains, memory)
        self.classes = _classes(patches, self.train)
        self.validation = Samples(patches, self._validation_indices(patches), stains, memory)
        self.targets, self.validation_targets = self._targets()
        self.prior = np.bincount(self.targets, minlength=len(self.classes)) / len(self.targets)
        self.scaling = fit_scaling(self.train, settings.gray, np.random.default_rng([settings.seed, 3]))
        torch.manual_seed(settings.seed)
        self.network = StainNetwork(
            len(stains),
            len(self.classes),
            1 if settings.gray else 3,
            self.train.size_px,
            features=settings.features,
            dropout=settings.dropout,
            backbone=settings.backbone,
            fusion=settings.fusion,
        ).to(memory_format=torch.channels_last)
        self.adam = torch.optim.Adam(
            self.network.parameters(), lr=settings.rate, betas=_BETAS, eps=_EPSILON, fused=True
        )
        self.rng = np.random.default_rng([settings.seed, 0])
        self.order = np.zeros(0, np.int64)
        self.place = self.passes = self.steps = self.epoch = self.epoch_seen = self.stale = 0
        self.loss_sum, self.right = 0.0, 0
        self.best_loss, self.best_epoch, self.learned = math.inf, 0, False
        self.best: dict[str, Tensor] = {}
        self.history: list[dict[str, float]] = []
        self.stopped: str | None = None
        self.between_batches = True
        self.finishing = False
        self.seconds = 0.0
        self._since = self._saved = time.monotonic()

    def _validation_indices(self, patches: Patches) -> NDArray[np.int64]:
        found = np.asarray(patches.indices(VALIDATION, False), np.int64)
        ids = [lesion.id for lesion in self.classes]
        found = found[np.isin(np.asarray(patches.labels)[found], ids)]
        if len(found) == 0:
            raise ModelError(
                "there is nothing to validate on",
                expected="validation samples of the classes that are trained",
                found="none",
                next="export patches of more patients, so that each set gets some",
            )
        most = self.settings.validation_samples
        if len(found) > most:
            rng = np.random.default_rng([self.settings.seed, 2])
            found = np.sort(rng.choice(found, most, replace=False))
        return found

    def _targets(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places of the classes, for training and validation; in random order for the control."""
        places = np.full(256, -1, np.int64)
        places[[lesion.id for lesion in self.classes]] = np.arange(len(self.classes))
        training, validation = places[self.train.labels], places[self.validation.labels]
        if self.settings.control == "shuffled labels":
            rng = np.random.default_rng([self.settings.seed, 1])
            training, validation = rng.permutation(training), rng.permutation(validation)
        return training, validation

    # Steps

    @property
    def epoch_length(self) -> int:
        return min(self.settings.epoch_samples or len(self.train), len(self.train))

    @property
    def patience(self) -> int:
        """Epochs without a better validation loss after which it ends: no fewer than see every sample once."""
        return max(self.settings.patience_epochs, math.ceil(len(self.train) / self.epoch_length))

    @property
    def epoch_over(self) -> bool:
        return self.epoch_seen >= self.epoch_length or self.finishing or self._budget_spent()

    def _budget_spent(self) -> bool:
        limits = self.settings
        passes_spent = limits.most_passes > 0 and self.passes >= limits.most_passes
        return passes_spent or (limits.stop_after_minutes > 0 and self.elapsed() >= limits.stop_after_minutes * 60)

    def elapsed(self) -> float:
        """Seconds of training, rests left out."""
        return self.seconds + time.monotonic() - self._since

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Time in here does not count as training."""
        self.seconds = self.elapsed()
        try:
            yield
        finally:
            self._since = time.monotonic()

    def _rate(self) -> float:
        """Step size of the coming step."""
        settings = self.settings
        rate = settings.rate * min(1.0, (self.steps + 1) / settings.warmup_steps if settings.warmup_steps else 1.0)
        if settings.cool_down:
            warm = min(settings.warmup_steps * settings.batch, settings.most_passes - 1)
            share = (self.passes - warm) / (settings.most_passes - warm)
            rate *= 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, share))))
        return rate

    def _next_places(self) -> NDArray[np.int64]:
        if self.place >= len(self.order):
            self.order, self.place = self.rng.permutation(len(self.train)), 0
        count = min(self.settings.batch, len(self.order) - self.place, self.epoch_length - self.epoch_seen)
        if self.settings.most_passes:
            count = min(count, self.settings.most_passes - self.passes)
        places = self.order[self.place : self.place + count]
        self.place += count
        return places

    def step(self) -> None:
        """One batch."""
        self.between_batches = False
        self.network.train()
        places = self._next_places()
        pixels, present = self.train.batch(places)
        # A generator of its own each step: a resumed training needs no state of it.
        rng = np.random.default_rng([self.settings.seed, 4, self.steps])
        present = drop_stains(present, self.settings.stain_dropout, rng)
        values, seen = self.scaling.apply(pixels, present)
        for group in self.adam.param_groups:
            group["lr"] = self._rate()
        output = self.network(values, seen)
        loss = functional.cross_entropy(output.logits, torch.from_numpy(self.targets[places]))
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ModelError(
                "the training loss is no longer a number",
                found=f"{value} after {self.passes} samples",
                next="train with a smaller rate or a longer warm-up",
            )
        self.adam.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.adam.step()
        self.loss_sum += value * len(places)
        self.right += int((output.logits.detach().argmax(dim=1).numpy() == self.targets[places]).sum())
        self.passes += len(places)
        self.epoch_seen += len(places)
        self.steps += 1
        self.between_batches = True

    # Epochs

    def close_epoch(self) -> EpochFigures:
        """Look at the validation set, keep the best weights, decide whether to go on."""
        losses, matrix = self._validate()
        loss = float(losses.mean())
        prior = -np.log(self.prior[self.validation_targets])
        better = loss < self.best_loss
        self.epoch += 1
        if better:
            self.best = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
            self.best_loss, self.best_epoch, self.stale = loss, self.epoch, 0
            self.learned = _beats(prior - losses, float(prior.mean())) or (
                loss < float(prior.mean()) and _calls_beat(matrix)
            )
        elif self.learned:
            self.stale += 1
        figures = EpochFigures(
            epoch=self.epoch,
            passes=self.passes,
            rate=float(self.adam.param_groups[0]["lr"]),
            train_loss=self.loss_sum / max(1, self.epoch_seen),
            train_accuracy=self.right / max(1, self.epoch_seen),
            validation_loss=loss,
            validation_accuracy=accuracy(matrix),
            validation_balanced_accuracy=balanced_accuracy(matrix),
            prior_loss=float(prior.mean()),
            best=better,
            seconds=round(self.elapsed(), 3),
        )
        self.history.append({name: float(value) for name, value in asdict(figures).items()})
        self.epoch_seen, self.right, self.loss_sum = 0, 0, 0.0
        self.stopped = self.reason_to_stop()
        return figures

    def _validate(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        self.network.eval()
        losses, calls = [], []
        with torch.inference_mode():
            for places, pixels, present in self.validation.batches(_VALIDATION_BATCH):
                logits = self.network(*self.scaling.apply(pixels, present)).logits
                target = torch.from_numpy(self.validation_targets[places])
                losses.append(functional.cross_entropy(logits, target, reduction="none").numpy().astype(np.float64))
                calls.append(logits.argmax(dim=1).numpy())
        matrix = confusion(self.validation_targets, np.concatenate(calls), np.arange(len(self.classes)))
        return np.concatenate(losses), matrix

    @property
    def at_limit(self) -> bool:
        """Whether it ended before its time, so that more of the same may make it better."""
        return self.stopped in _LIMITS and not self.settings.cool_down

    def reason_to_stop(self) -> str | None:
        """Why it is over, or None."""
        if self.finishing:
            return _ASKED
        if self.learned and self.stale >= self.patience:
            return "plateau of the validation loss"
        if not self.learned and self.epoch >= self.settings.learn_epochs:
            return f"not below the loss of the class mix after {self.epoch} epochs"
        if self.epoch >= self.settings.most_epochs:
            return _EPOCHS_SPENT
        return _BUDGET_SPENT if self._budget_spent() else None

    @property
    def _epochs_left(self) -> int:
        """Epochs after which it ends unless one is better, or unless it begins to learn."""
        return max(0, self.patience - self.stale if self.learned else self.settings.learn_epochs - self.epoch)

    def share(self) -> tuple[float, float]:
        """How far it is towards the first end that it may have; an epoch that is better puts that off."""
        settings = self.settings
        epochs = self.epoch + self.epoch_seen / self.epoch_length
        shares = [epochs / settings.most_epochs, epochs / max(1, self.epoch + self._epochs_left)]
        if settings.most_passes:
            shares.append(self.passes / settings.most_passes)
        if settings.stop_after_minutes:
            shares.append(self.elapsed() / (settings.stop_after_minutes * 60))
        return (min(1.0, max(shares)), 1.0)

    def line(self) -> str:
        """One line for the user: how good it is, and when it will end."""
        now = f"training, epoch {self.epoch + 1}"
        if not self.history:
            return now
        last = self.history[-1]
        said = f"{now}: {last['validation_accuracy']:.0%} of the validation windows right"
        if not self.learned:
            return (
                f"{said}, which may still be chance; gives up after {many(self._epochs_left, 'more epoch')} like this"
            )
        return f"{said}; ends after {many(self._epochs_left, 'more epoch')} without a better one"

    # State

    @property
    def save_due(self) -> bool:
        return time.monotonic() - self._saved >= self.settings.save_minutes * 60

    def saved_state(self) -> TrainState:
        """Everything that is needed to go on, copied."""
        self._saved = time.monotonic()
        return state_of(self)

    def go_on_from(self, seconds: float) -> None:
        """It took so long before."""
        self.seconds, self._since = seconds, time.monotonic()

    def result(self) -> TrainResult:
        """The best weights, and how good they are."""
        best = self.history[self.best_epoch - 1]
        outcome: Outcome = "learned" if self.learned else "did not learn"
        figures = {
            "stopped": self.stopped,
            "at_limit": self.at_limit,
            "epochs": self.epoch,
            "passes": self.passes,
            "seconds": round(self.elapsed(), 1),
            "samples_per_second": round(self.passes / max(self.elapsed(), 1e-9), 1),
            "best_epoch": self.best_epoch,
            **{name: best[name] for name in ("validation_loss", "validation_accuracy", "validation_balanced_accuracy")},
            "prior_loss": best["prior_loss"],
            "chance": 1 / len(np.unique(self.validation_targets)),
            "train_samples": len(self.train),
            "validation_samples": len(self.validation),
            "train_patients": len(np.unique(self.train.patients)),
            "validation_patients": len(np.unique(self.validation.patients)),
            "control": self.settings.control,
        }
        if outcome == "did not learn":
            _log.warning("the training did not learn: %s", self.stopped)
        return TrainResult(
            outcome=outcome,
            weights={name: copied(value) for name, value in self.best.items()},
            figures=figures,
            history=tuple(self.history),
            mean=self.scaling.mean,
            std=self.scaling.std,
            stains=self.train.stains,
            classes=self.classes,
            settings=self.settings,
            size_px=self.train.size_px,
            seed=self.settings.seed,
            threads=self.threads,
            state=self.saved_state if self.at_limit else None,
        )


def _classes(patches: Patches, samples: Samples) -> tuple[LesionClass, ...]:
    """The classes that the training set has, in the order of the patch set."""
    there = set(np.unique(samples.labels).tolist()) if len(samples) else set()
    classes = tuple(lesion for lesion in patches.classes if lesion.id in there)
    unknown = sorted(there - {lesion.id for lesion in patches.classes})
    if unknown:
        raise ModelError("the patches carry a class that the patch set does not name", found=f"class {unknown[0]}")
    if len(classes) < 2:
        raise ModelError(
            "there is nothing to tell apart",
            expected="training patches of at least two lesion classes",
            found=", ".join(lesion.short for lesion in classes) or "no training patches",
            next="paint a second class, or export patches of more patients",
        )
    return classes


def _calls_beat(matrix: NDArray[np.int64]) -> bool:
    """Whether more is called right than by always calling the largest class, beyond chance, and not of one class alone.

    A network that is sure of a few wrong calls has a high loss for a long time, whatever it has learned.
    """
    seen = matrix.sum(axis=1)
    right, largest = float(matrix.trace() / seen.sum()), float(seen.max() / seen.sum())
    error = math.sqrt(right * (1 - right) / float(seen.sum()))
    even = 1 / int((seen > 0).sum())
    beaten = right - largest > max(_ERRORS_LEAST * error, _CALLS_LEAST)
    return beaten and balanced_accuracy(matrix) - even > _CALLS_LEAST


def _beats(gains: NDArray[np.float64], prior: float) -> bool:
    """Whether gains over the class mix (loss per sample) are more than chance."""
    error = float(gains.std()) / math.sqrt(len(gains))
    return float(gains.mean()) > max(_ERRORS_LEAST * error, _GAIN_LEAST * prior)
