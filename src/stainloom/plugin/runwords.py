"""Runs and trainings in words: what the Train dock says of them."""

from __future__ import annotations

from collections.abc import Sequence

from stainloom.case.run import is_guessing
from stainloom.io.trainings import Training
from stainloom.jobs.patchsets import PatchSetState
from stainloom.jobs.trained import HeldOut, Interrupted, RunState
from stainloom.plugin.controls import time_left
from stainloom.wording import DAY_AND_TIME, lasting, listed, many, moment

TICK, _CROSS = "\N{CHECK MARK}", "\N{MULTIPLICATION SIGN}"
_FEW_PATIENTS = 10


def called(stains: Sequence[str]) -> str:
    """*5 stains fused*, *HE alone*."""
    return f"{len(stains)} stains fused" if len(stains) > 1 else f"{stains[0]} alone" if stains else "a run"


def basis_said(latest: PatchSetState, stains: Sequence[str], runs: Sequence[RunState]) -> str:
    """When and for what the patches were cut, when a training ends, and how long the last one of as many stains took."""
    training = latest.sets.get("train", 0)
    said = (
        f"Patches of {moment(latest.made, DAY_AND_TIME, None)}, {training:,} of the windows for training. "
        "It ends by itself when the validation loss falls no more"
    )
    alike = next((run for run in runs if len(run.stains) == len(stains) and run.seconds > 0 and run.history), None)
    if alike is None:
        return f"{said}."
    took = f"{lasting(alike.seconds)} for {many(len(alike.history), 'epoch')}"
    return f"{said}; the last one of {many(len(stains), 'stain')} took {took}."


def elsewhere_said(training: Training, stopping: bool) -> str:
    """A training that another process does, in words."""
    left = f", {time_left(training.seconds_left)}" if training.seconds_left is not None else ""
    said = f"A training of {called(training.stains)} runs outside this window ({training.host}, since {moment(training.since)}): {100 * training.share:.0f} %{left}. {training.what}"
    return f"{said} \N{EM DASH} stopping" if stopping else said


def interrupted_said(found: Interrupted) -> str:
    """A training that can go on, in words."""
    stains = called(found.settings.stains) if found.settings.stains else "all stains"
    control = f" ({found.settings.control})" if found.settings.control != "none" else ""
    return f"A training of {stains}{control} was interrupted after {many(len(found.history), 'epoch')}; its state of {moment(found.kept, DAY_AND_TIME, None)} is kept. It goes on with the limits of the form."


def run_cells(run: RunState) -> tuple[str, str, str]:
    """A row of the table: when and what, how good, whether it can be used."""
    when = moment(run.made, DAY_AND_TIME, None) if run.made is not None else run.id
    name = f"{when}\n{called(run.stains)}" if run.stains else when
    if run.problem:
        return name, "", f"{_CROSS} cannot\nbe used"
    right = "not tested" if run.test is None else f"{100 * run.test.accuracy:.0f} %"
    if run.test is not None and (interval := interval_of(run.test)) is not None:
        right += f"\n{100 * interval[0]:.0f} to {100 * interval[1]:.0f} %"
    if run.control != "none":
        return name, right, f"! control:\n{run.control}"
    if run.outcome != "learned":
        return name, right, f"{_CROSS} did not\nlearn"
    # It learned its training patients; what counts is patients that it never saw.
    test = run.test
    guessed = test is not None and is_guessing(test.accuracy, test.chance, test.balanced, len(run.classes))
    return name, right, "! no better\nthan guessing" if guessed else f"{TICK} learned"


def interval_of(test: HeldOut) -> tuple[float, float] | None:
    """The range of a figure over patients; over one patient there is none that says anything."""
    return test.interval if test.patients > 1 else None


def run_lines(run: RunState) -> list[str]:
    """A run in words."""
    if run.problem:
        return [f"{_CROSS} {run.id} cannot be used. {run.problem}"]
    lines = [f"{called(run.stains)}: {listed(run.stains)}", f"Tells apart {listed(run.classes)}."]
    if run.test is not None:
        lines.append(test_said(run.test))
    else:
        lines.append("Not tested: no patient was held out, or it did not learn.")
    lines.append(
        f"Best epoch {run.best_epoch} of {len(run.history)}, in {lasting(run.seconds)}; patch set {run.patchset[:8]}; run {run.id}."
    )
    return lines


def test_said(test: HeldOut) -> str:
    """How good a run is on its test patients, in words."""
    said = (
        f"Test: {many(test.windows, 'window')} of {many(test.patients, 'patient')}; {100 * test.accuracy:.1f} % right, "
        f"{100 * test.balanced:.1f} % balanced over classes"
    )
    said += f"; guessing the largest class: {100 * test.chance:.1f} %." if test.chance is not None else "."
    if test.patients == 1:
        return f"{said} One patient says little of others."
    if test.interval is None:
        return said
    low, high = (100 * end for end in test.interval)
    few = f", which over {many(test.patients, 'patient')} says little" if test.patients < _FEW_PATIENTS else ""
    return f"{said} Range: {low:.0f} to {high:.0f} %{few}."


def runs_said(runs: Sequence[RunState]) -> str:
    """The heading of the list of runs: with whether their figures were measured on the same windows."""
    if len({run.tested_on for run in runs if run.test is not None}) < 2:
        return "Runs, newest first:"
    return (
        "Runs, newest first. Not all were tested on the same windows: what they have right compares only roughly, "
        "and not at all where an export said that patients changed sets."
    )


def compared_runs(runs: Sequence[RunState], tested_on: str = "") -> list[RunState]:
    """The latest usable fused run of those tested on the same, then the latest of each single stain; without an id, on the same as the latest fused run."""
    tested = [run for run in runs if run.usable and run.test and (not tested_on or run.tested_on == tested_on)]
    fused = next((run for run in tested if len(run.stains) > 1), None)
    if fused is None:
        return []
    single = {
        run.stains[0]: run for run in reversed(tested) if len(run.stains) == 1 and run.tested_on == fused.tested_on
    }
    return [fused, *(single[stain] for stain in fused.stains if stain in single)]


def comparison_said(found: Sequence[RunState]) -> str:
    """Fused against the best single stain, in words."""
    measured = {run.stains: run.test.accuracy for run in found if run.test is not None}
    best = max((stains for stains in measured if len(stains) == 1), key=lambda stains: measured[stains])
    gain = 100 * (measured[found[0].stains] - measured[best])
    complete = all(run.test is not None and run.test.interval for run in found)
    unsaid = "" if complete else " Runs without a whisker were made before intervals were measured."
    return f"Fused: {gain:+.0f} points against the best single stain ({best[0]}), on the same test windows.{unsaid}"
