"""Control runs of the simulated study: each stain alone, stains shifted against each other, shuffled labels.

Usage: python benchmarks/controls.py FOLDER [--patients N] [--seed S ...] [--passes N] [--difficulty ...] [--study STUDY]

Runs the command line for every job and writes `controls.json` into FOLDER. A study that is fused well for the wrong
reason shows here.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stainloom.io.casefile import StudyFolder
from stainloom.jobs.controls import judge, shift_stains


def run_job(*arguments: str) -> dict[str, Any]:
    """Run one job of the command line; its figures, and under `failed` why it gave none."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "stainloom.cli", *arguments, "--json"], capture_output=True, text=True, check=False
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    results = [line["result"] for line in lines if "result" in line]
    errors = [line["error"]["detail"] for line in lines if "error" in line]
    print(f"{' '.join(arguments[:1] + arguments[2:])}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    if not results:
        return {"failed": "; ".join(errors) or done.stderr[-2000:]}
    figures: dict[str, Any] = results[-1]["figures"]
    return figures


def need(*arguments: str) -> dict[str, Any]:
    """Run a job that the rest depends on; ends the program where it fails."""
    figures = run_job(*arguments)
    if "failed" in figures:
        sys.exit(f"{arguments[0]} failed: {figures['failed']}")
    return figures


def make_study(study: Path, options: argparse.Namespace, seed: int) -> None:
    """Simulate, align, carry, normalize and export."""
    extra = ["--width-um", str(options.width_um), "--height-um", str(options.height_um)]
    need(
        *("simulate", str(study), "--patients", str(options.patients), "--seed", str(seed)),
        *("--difficulty", options.difficulty, *extra),
    )
    for job in ("register", "transfer", "normalize", "export"):
        need(job, str(study))


def accuracy(figures: dict[str, Any], chance: float) -> float:
    """Accuracy on held-out patients; a run that did not learn guesses."""
    test = figures.get("test")
    return float(test["accuracy"]) if test else chance


def controls(folder: Path, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """All runs of one seed, and what follows from them."""
    study = options.study or folder / f"seed-{seed}" / "study"
    if options.study is None:
        study.parent.mkdir(parents=True, exist_ok=True)
        make_study(study, options, seed)
    opened = StudyFolder.open(study)
    chance = 1 / sum(1 for lesion in opened.study.classes)
    common = ["--most-passes", str(options.passes), "--seed", str(seed), "--patience-epochs", "200", "--cool-down"]
    runs: dict[str, dict[str, Any]] = {"fused": run_job("train", str(study), *common)}
    for stain in opened.study.stain_names:
        runs[stain] = run_job("train", str(study), *common, "--stain", stain)
    runs["shuffled labels"] = run_job("train", str(study), *common, "--control", "shuffled labels")
    other = folder / f"seed-{seed}" / "shifted"
    other.parent.mkdir(parents=True, exist_ok=True)
    shift_um = shift_stains(study, other, seed=seed)
    need("export", str(other))
    runs["shifted"] = run_job("train", str(other), *common)
    found = {name: accuracy(figures, chance) for name, figures in runs.items()}
    checks = judge(
        found["fused"],
        {name: found[name] for name in opened.study.stain_names},
        found["shifted"],
        found["shuffled labels"],
        chance,
        realistic=options.difficulty == "realistic",
    )
    return {
        "seed": seed,
        "shift_um": shift_um,
        "chance": chance,
        "accuracy": found,
        "checks": {check.name: {"holds": check.holds, "text": check.text} for check in checks},
        "failed": {name: figures["failed"] for name, figures in runs.items() if "failed" in figures},
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the controls of each seed; 0 where all hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--study", type=Path, help="a study that is simulated, aligned and exported already")
    parser.add_argument("--patients", type=int, default=10)
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    parser.add_argument("--passes", type=int, default=19_000)
    parser.add_argument("--difficulty", choices=["exclusive", "realistic"], default="realistic")
    parser.add_argument("--width-um", type=float, default=2400.0)
    parser.add_argument("--height-um", type=float, default=1800.0)
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in options.seed:
        rows.append(controls(options.folder, options, seed))
        print(json.dumps(rows[-1], indent=1), flush=True)
        (options.folder / "controls.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    held = all(check["holds"] for row in rows for check in row["checks"].values())
    print("the controls hold" if held else "A CONTROL DOES NOT HOLD")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
