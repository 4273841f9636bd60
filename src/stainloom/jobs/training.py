"""Training the network that weighs the stains."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from stainloom.errors import ModelError, PatchError, StainloomError
from stainloom.io.casefile import StudyFolder
from stainloom.jobs.opening import patchsets_by_age
from stainloom.jobs.outcome import Outcome
from stainloom.progress import Control, Progress, part, silent
from stainloom.settings import as_json
from stainloom.wording import many

if TYPE_CHECKING:
    from stainloom.case.run import TrainState
    from stainloom.model.settings import TrainSettings

_log = logging.getLogger(__name__)


def _go() -> Literal["go"]:
    return "go"


def _nobody(_: Mapping[str, float]) -> None:
    return None


def train(
    study: Path,
    settings: TrainSettings | None = None,
    *,
    patchset: str | None = None,
    resume: bool = False,
    on_epoch: Callable[[Mapping[str, float]], None] = _nobody,
    control: Control = _go,
    progress: Progress = silent,
) -> Outcome:
    """Train the network that weighs the stains, on the latest patch set unless another is named.

    `control` says `cancel`, `pause`, `finish` or `go`, as `stainloom.model.train` has it.
    `on_epoch` gets each line of metrics, of a training that goes on those before too.
    """
    if not resume:  # which does not begin at 0
        progress(0, 1, "reading the patches")
    from stainloom.io.patchset import open_patchset
    from stainloom.io.runs import drop_state, load_state, save_run, save_state
    from stainloom.io.trainings import under_way
    from stainloom.jobs.trained import trained
    from stainloom.model.settings import TrainSettings
    from stainloom.model.train import train as train_network

    folder = StudyFolder.open(study)
    chosen = settings or TrainSettings()
    patches = open_patchset(folder.patchset_path(patchset or latest_patchset(folder)))
    key = training_key(patches.id, chosen)
    place = folder.path / "runs" / f".training-{key}"
    state = load_state(place) if resume else None
    if resume and state is None:
        raise ModelError(
            "there is no training to go on with",
            expected="a training of these patches with these settings (limits and threads may differ) that was interrupted, or "
            "the latest that a limit ended",
            found=_interrupted(folder),
            next="start it without --resume",
        )
    control_run = chosen.control != "none"
    with under_way(place.parent, key, patches.id, chosen.stains or patches.stain_names) as told:
        before = 0 if resume else _epochs_kept(folder, key)

        def tell(row: Mapping[str, float]) -> None:
            told.add(row)
            on_epoch(row)

        def both(done: float, total: float, what: str, slide: str = "") -> None:
            told.tell(done, total, what)
            progress(done, total, what, slide)

        def keep(kept: TrainState) -> None:
            # One that was begun anew gives way to one that got further.
            if len(kept.facts["history"]) >= before:
                save_state(place, kept)

        for row in [] if state is None else state.facts.get("history", []):
            tell(row)
        result = train_network(
            patches,
            chosen,
            state=state,
            save_state=keep,
            on_epoch=lambda figures: tell(asdict(figures)),
            control=lambda: "cancel" if told.stop_asked else control(),
            progress=part(both, 0, 0.97),
        )
        if state is not None and any(run.history == result.history for run in trained(study).runs):
            raise ModelError(
                "this training has ended at its limits",
                expected="limits that lie later",
                found=f"{many(len(result.history), 'epoch')}: {result.figures['stopped']}",
                next="give later ones: --stop-after-minutes, --most-epochs or --most-passes",
            )
        run = result.run(
            um_per_px=patches.um_per_px,
            patchset=patches.id,
            simulated=patches.simulated,
            one_patient=patches.one_patient,
            normalized=patches.normalized,
        )
        if run.outcome == "learned" or control_run:
            # Not by `progress`, which may be cancelled: what was learned is to be kept.
            told.tell(0.97, 1, "testing")
            run = replace(run, figures={**run.figures, "test": _test_figures(run, patches)})
        id = save_run(folder.path / "runs", run)
        longer = None if control_run else result.state
        if longer is not None and _make_room(study, patches.id, len(run.stains)):
            try:
                if len(run.history) >= before:
                    save_state(place, longer())
            except StainloomError as error:
                _log.warning("run %s cannot be trained longer: %s", id, error)
        else:
            drop_state(place)
    progress(1, 1, "trained")
    said = f"{', '.join(run.stains)}: {run.outcome}"
    if run.outcome != "learned" and not control_run:
        raise ModelError(
            f"the network did not learn from these patches (run {id} keeps the record)",
            expected="more than chance: a validation loss clearly below that of guessing by class shares, or clearly more "
            "windows right than by calling all of them the largest class",
            found=f"a loss of {run.figures['validation_loss']:.2f}, guessing {run.figures['prior_loss']:.2f}; "
            f"{run.figures['validation_accuracy']:.0%} right",
            next=(
                "train it longer (--resume, with later limits)"
                if run.figures["at_limit"]
                else "train with other settings"
            )
            + ", or look at the patches of each class and export more of them",
        )
    test = run.figures["test"]
    if test:
        where = (
            "the other half of the only patient, which proves nothing about others,"
            if run.one_patient
            else "held-out patients"
        )
        said += f"; on {where} {test['accuracy']:.0%} right, {test['balanced_accuracy']:.0%} balanced over classes"
        said += f" ({many(test['samples'], 'window')} of {many(len(test['patients']), 'patient')}; "
        said += f"guessing the largest class: {test['chance']:.0%})"
    said += f" (run {id})"
    return Outcome((f"runs/{id}",), {"run": id, **run.figures}, said)


def _interrupted(folder: StudyFolder) -> str:
    count = len(list((folder.path / "runs").glob(".training-*")))
    return f"{count} with other patches or settings" if count else "none"


def _epochs_kept(folder: StudyFolder, key: str) -> int:
    from stainloom.io.runs import list_states

    facts, _ = list_states(folder.path / "runs").get(key, ({}, 0.0))
    return len(facts.get("history", ()))


def _make_room(study: Path, patchset: str, stains: int) -> bool:
    """Whether the state of a training that a limit ended is to be kept; such states are large, so that others go.

    One is kept: of this patch set, of the most stains, of as many the latest.
    """
    from stainloom.io.runs import drop_state
    from stainloom.jobs.trained import trained

    ended = [run for run in trained(study).runs if run.settings is not None]
    if any(run.patchset == patchset and len(run.stains) > stains for run in ended):
        return False
    for run in ended:
        assert run.settings is not None
        drop_state(Path(study) / "runs" / f".training-{training_key(run.patchset, run.settings)}")
    return True


def training_key(patchset: str, settings: TrainSettings) -> str:
    """Which training it is: what may change when it goes on is left out."""
    import hashlib
    import json

    from stainloom.model.settings import MAY_CHANGE

    kept = {name: value for name, value in as_json(settings).items() if name not in MAY_CHANGE}
    # The way of the cool-down follows from its end.
    kept["end"] = settings.most_passes if settings.cool_down else 0
    return hashlib.sha256(json.dumps([patchset, kept], sort_keys=True).encode()).hexdigest()[:16]


def latest_patchset(folder: StudyFolder) -> str:
    names = patchsets_by_age(folder)
    if not names:
        raise PatchError("the study has no patches yet", next="export them (dock Patches, or `stainloom export`)")
    return names[-1]


def held_out_cases(study: Path) -> tuple[str, ...]:
    """Cases whose patient is in the test set of the latest patch set."""
    from stainloom.io.patchset import open_patchset

    folder = StudyFolder.open(study)
    patches = open_patchset(folder.patchset_path(latest_patchset(folder)))
    return tuple(sorted(set(patches.cases[patches.sets == "test"].tolist())))


def _test_figures(run: Any, patches: Any) -> dict[str, Any]:
    """Accuracy on the test patients; empty where the set holds none."""
    from stainloom.model.metrics import accuracy, balanced_accuracy, confusion, interval
    from stainloom.model.predict import evaluate

    indices = patches.indices("test", augmented=False)
    if len(indices) == 0:
        return {}
    found = evaluate(run, patches, indices)
    ids = np.union1d(run.class_ids, found.truth)
    matrix = confusion(found.truth, found.predicted, ids)
    weights = found.weights.mean(axis=0)
    return {
        "samples": len(indices),
        "windows_id": _windows_id(patches, indices),
        "chance": float(matrix.sum(axis=1).max() / matrix.sum()),
        "patients": sorted(set(found.patients.tolist())),
        "accuracy": accuracy(matrix),
        "accuracy_interval": list(interval(found.truth, found.predicted, found.patients, ids)),
        "balanced_accuracy": balanced_accuracy(matrix),
        "classes": ids.tolist(),
        "confusion": matrix.tolist(),
        "mean_weights": {stain: float(weight) for stain, weight in zip(run.stains, weights, strict=True)},
    }


def _windows_id(patches: Any, indices: NDArray[np.intp]) -> str:
    """Tells windows apart by case, place and class: runs that were tested on the same compare, whatever they learned from."""
    import hashlib

    rows = zip(patches.cases[indices], patches.centre_um[indices], patches.labels[indices], strict=True)
    lines = sorted(f"{case} {centre[0]:.1f} {centre[1]:.1f} {label}" for case, centre, label in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
