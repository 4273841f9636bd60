"""The whole road in one go: on the simulated study, or on one real five-stain case."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import as_file
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stainloom import jobs
from stainloom.errors import CaseError, ModelError, StainloomError
from stainloom.io.casefile import StudyFolder
from stainloom.io.files import read_json, write_json
from stainloom.jobs.controls import Check, judge, shift_stains
from stainloom.progress import Progress, part, silent
from stainloom.workers import cores

if TYPE_CHECKING:
    from stainloom.model.settings import TrainSettings

Tell = Callable[[str], None]

_SCREENSHOT_S = 300
_MARK = "demo.json"
_MARKED = {"made by": "stainloom demo", "replaced by": "the next demo with this --out"}
_FUSED, _SHIFTED, _SHUFFLED = "all stains", "shifted stains (control)", "shuffled labels (control)"


class _Steps:
    """Runs the steps of a demo one after the other, telling what each gave and how long it took."""

    def __init__(self, tell: Tell, progress: Progress) -> None:
        self.tell, self.progress = tell, progress
        self.seconds: dict[str, float] = {}
        self.figures: dict[str, Any] = {}
        self._started = time.monotonic()

    def __call__(self, title: str, run: Callable[[], jobs.Outcome]) -> jobs.Outcome:
        self.tell(f"{title} ...")
        started = time.monotonic()
        outcome = run()
        self.seconds[title] = time.monotonic() - started
        self.figures[title] = dict(outcome.figures)
        for line in outcome.text.splitlines():
            self.tell(f"    {line}")
        for warning in outcome.warnings:
            self.tell(f"    check: {warning}")
        for problem in outcome.problems:
            self.tell(f"    failed: {problem}")
        self.tell(f"    {self.seconds[title]:.1f} s")
        return outcome

    def summary(self) -> str:
        """Each step's seconds."""
        total = time.monotonic() - self._started
        rows = [f"{seconds:7.1f} s  {title}" for title, seconds in self.seconds.items()]
        return "\n".join([*rows, f"{total:7.1f} s  in all"])


def simulated(
    out: Path,
    *,
    tell: Tell,
    window: bool = True,
    full: bool = False,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress = silent,
) -> jobs.Outcome:
    """Simulate, align, carry, normalize, export, train, predict and report; `ModelError` where the network learned nothing.

    Parameters
    ----------
    out
        Folder for study, screenshots and report; what an earlier demo left there is replaced.
    tell
        Gets what a reader should see, line by line.
    window
        Whether to open napari on the result where there is a screen.
    full
        40 patients, some failed slides, longer training and the controls, instead of 10 patients without failed slides.
    seed
        Of the simulation and the training.
    """
    from stainloom.model.settings import PredictSettings, TrainSettings
    from stainloom.sample.settings import SimulationSettings

    study = _clear(out)
    steps = _Steps(tell, progress)
    # Two of ten patients are held out: one failed slide among theirs would say more about that slide than about fusing.
    simulation = SimulationSettings(patients=40, seed=seed) if full else SimulationSettings(seed=seed, failed_share=0)
    steps(
        "Simulate",
        lambda: jobs.simulate(study, simulation, workers=workers, progress=progress),
    )
    _align_to_export(steps, study, workers)
    # All threads for one training at a time: two trainings side by side fight for memory, and each ran at half its pace.
    settings = TrainSettings(
        most_passes=20_000 if full else 7_000,
        # 150 steps, the usual warm-up, are 9,600 samples: more than the short training has.
        warmup_steps=150 if full else 60,
        epoch_samples=2_000,
        cool_down=True,
        seed=seed,
        threads=cores(),
        learn_epochs=200,
        patience_epochs=200,
    )
    stains = StudyFolder.open(study).study.stain_names
    tasks = [_Training(study, _FUSED, settings)]
    tasks += [_Training(study, _alone(name), replace(settings, stains=(name,))) for name in stains]
    if full:
        shifted = out / "study.shifted"
        steps("Shift stains (control)", lambda: _shift(study, shifted, workers, progress))
        tasks[1:1] = [
            _Training(shifted, _SHIFTED, settings, control=True),
            _Training(study, _SHUFFLED, replace(settings, control="shuffled labels"), control=True),
        ]
    steps("Train", lambda: _train_all(tasks, progress))
    case = _test_case(study)
    steps(
        "Predict",
        lambda: jobs.predict(study, PredictSettings(stride_px=28, threads=cores()), cases=[case], progress=progress),
    )
    return _finish(steps, out, study, case, window, stains if full else ())


def _alone(stain: str) -> str:
    return f"{stain} alone"


def real(
    out: Path, *, tell: Tell, window: bool = True, workers: int | None = None, progress: Progress = silent
) -> jobs.Outcome:
    """Align, carry two outlines, normalize, export, train on one half, test on the other, and predict, on one real case.

    One patient proves nothing about others, and the demo says so.
    """
    from stainloom.model.settings import PredictSettings, TrainSettings
    from stainloom.patches.select import PatchSettings
    from stainloom.sample import real as published

    study = _clear(out)
    steps = _Steps(tell, progress)
    tell(
        "Real slides: one mouse lung, five serial sections. One patient proves nothing; no outline here is a diagnosis."
    )
    slides = _real_slides(progress)
    case = "lung-lesion-3"

    def take_in() -> jobs.Outcome:
        jobs.new_study(study, "lung")
        outcome = jobs.add_case(
            study, slides, name=case, patient=published.PATIENT, um_per_px=published.UM_PER_PX, progress=progress
        )
        jobs.import_landmarks(study, case, slides / "landmarks", scale=published.LANDMARK_SCALE)
        return outcome

    def outlines() -> jobs.Outcome:
        with as_file(published.outlines()) as file:
            return jobs.import_annotations(study, case, file)

    steps("Take in", take_in)
    steps("Import two outlines", outlines)
    steps("Align", lambda: jobs.register(study, workers=workers, progress=progress))
    steps("Carry labels", lambda: jobs.transfer(study, workers=workers, progress=progress))
    steps("Normalize colours", lambda: jobs.normalize(study, workers=workers, progress=progress))
    # Normal lung is mostly air: windows of it hold less tissue than the usual least share.
    patches = PatchSettings(um_per_px=2.0, least_tissue=0.0)
    steps("Export patches", lambda: jobs.export(study, patches, one_patient=True, workers=workers, progress=progress))
    settings = TrainSettings(
        most_passes=8_000,
        epoch_samples=1_000,
        cool_down=True,
        rate=0.0003,
        threads=cores(),
        learn_epochs=200,
        patience_epochs=200,
    )
    steps("Train on one half", lambda: jobs.train(study, settings, progress=progress))
    steps("Predict", lambda: jobs.predict(study, PredictSettings(stride_px=14, threads=cores()), progress=progress))
    return _finish(steps, out, study, case, window)


@dataclass(frozen=True)
class _Training:
    """One training of a demo."""

    study: Path
    title: str
    settings: TrainSettings
    control: bool = False


def _train_all(tasks: list[_Training], progress: Progress) -> jobs.Outcome:
    """Train one after the other; `ModelError` where the network of all stains did not learn."""
    lines, figures, problems = [], {}, []
    for number, task in enumerate(tasks):
        share = part(progress, number / len(tasks), (number + 1) / len(tasks))
        started = time.monotonic()
        try:
            result = jobs.train(task.study, task.settings, progress=share)
        except ModelError as error:
            if number == 0:
                raise
            lines.append(f"{task.title}: {error.what}")
            figures[task.title] = {"outcome": error.what}
            problems += [] if task.control else [error]
        else:
            lines.append(f"{task.title}, {time.monotonic() - started:.0f} s: {result.text}")
            figures[task.title] = dict(result.figures)
    return jobs.Outcome((), figures, "\n".join(lines), (), tuple(problems))


def _shift(study: Path, target: Path, workers: int | None, progress: Progress) -> jobs.Outcome:
    """The copy for the control in which fusing must not help, and its patches."""
    height, width = shift_stains(study, target)
    outcome = jobs.export(target, workers=workers, progress=progress)
    text = f"Stains shifted by {height:.0f} µm up or down, or {width:.0f} µm sideways\n{outcome.text}"
    return replace(outcome, text=text)


def _align_to_export(steps: _Steps, study: Path, workers: int | None) -> None:
    progress = steps.progress
    steps("Align", lambda: jobs.register(study, workers=workers, progress=progress))
    steps("Carry labels", lambda: jobs.transfer(study, workers=workers, progress=progress))
    steps("Normalize colours", lambda: jobs.normalize(study, workers=workers, progress=progress))
    steps("Export patches", lambda: jobs.export(study, workers=workers, progress=progress))


def _controls(figures: Mapping[str, Any], stains: Sequence[str]) -> jobs.Outcome:
    """What the controls say about the gain of fusing, from the figures of the training and the report."""
    trained, reported = figures["Train"], figures["Report"]

    def right(title: str) -> float:
        # A training that learned nothing guesses.
        return float(trained[title].get("test", {}).get("accuracy", reported["chance"]))

    checks = judge(
        right(_FUSED),
        {stain: right(_alone(stain)) for stain in stains},
        right(_SHIFTED),
        right(_SHUFFLED),
        reported["chance"],
    )
    lowest = {name: gain["low"] for name, gain in reported["gains"].items()}
    nearest = min(lowest, key=lambda name: lowest[name])
    checks += (
        Check(
            "95 % interval of each gain",
            lowest[nearest] > 0,
            f"lowest bound {100 * lowest[nearest]:+.1f} points, against {nearest}; above 0 is asked",
        ),
    )
    lines = [f"{'holds' if check.holds else 'DOES NOT HOLD'}: {check.name}, {check.text}" for check in checks]
    problems = [
        ModelError(f"a control does not hold: {check.name}", found=check.text) for check in checks if not check.holds
    ]
    found = {check.name: {"holds": check.holds, "text": check.text} for check in checks}
    return jobs.Outcome((), found, "\n".join(lines), (), tuple(problems))


def _finish(
    steps: _Steps, out: Path, study: Path, case: str, window: bool, controls_of: Sequence[str] = ()
) -> jobs.Outcome:
    steps("Report", lambda: jobs.report(study, cases=[case], progress=steps.progress))
    problems: tuple[StainloomError, ...] = ()
    if controls_of:
        problems = steps("Controls", lambda: _controls(steps.figures, controls_of)).problems
    report = out / "report.html"
    shutil.copyfile(_latest_report(study), report)
    shots = out / "screenshots"
    steps("Screenshots", lambda: _photograph(study, case, shots))
    write_json(out / "figures.json", {"seconds": steps.seconds, **steps.figures})
    steps.tell(steps.summary())
    steps.tell(f"Report: {report}\nScreenshots: {shots}")
    if window and _has_screen():
        steps.tell("Opening napari; close its window to end.")
        subprocess.run([sys.executable, "-m", "stainloom.plugin", str(study), "--case", case], check=False)
    return jobs.Outcome((str(report), str(shots)), {"seconds": steps.seconds}, problems=problems)


def _clear(out: Path) -> Path:
    """An empty place for the study; only what an earlier demo made is removed."""
    mine = [out / name for name in ("study", "study.truth", "study.shifted", "screenshots")]
    written = [*mine, *(out / name for name in (_MARK, "report.html", "figures.json"))]
    there = [old.name for old in written if old.exists()]
    if there and not _is_marked(out):
        raise CaseError(
            f"the folder {out.name} holds something that no demo made",
            expected="an empty folder, or one of an earlier demo",
            found=", ".join(there),
            next="choose another folder with --out",
        )
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / _MARK, _MARKED)
    for old in mine:
        shutil.rmtree(old, ignore_errors=True)
    return mine[0]


def _is_marked(out: Path) -> bool:
    try:
        return read_json(out / _MARK) == _MARKED
    except StainloomError:
        return False


def _real_slides(progress: Progress) -> Path:
    """The folder of the real case: from STAINLOOM_DATA, else beside the project, else fetched."""
    from platformdirs import user_cache_path

    from stainloom.io.fetch import Wanted, fetch_files, is_whole
    from stainloom.sample.real import FOLDER, HOME, published_files

    wanted = tuple(Wanted(*file) for file in published_files())
    places = [Path(os.environ["STAINLOOM_DATA"])] if "STAINLOOM_DATA" in os.environ else []
    for place in [*places, Path.cwd().parent / "shared" / "data"]:
        if all(is_whole(place / FOLDER / file.path, file) for file in wanted):
            return place / FOLDER
    folder = user_cache_path("stainloom") / FOLDER
    fetch_files(os.environ.get("STAINLOOM_HOME_OF_SLIDES", HOME), wanted, folder, progress=progress)
    return folder


def _test_case(study: Path) -> str:
    """A case of a patient that no training saw."""
    case = jobs.held_out_cases(study)
    if not case:
        raise CaseError("no patient was held out for the test")
    return case[0]


def _latest_report(study: Path) -> Path:
    reports = sorted((study / "runs").glob("*/report.html"), key=lambda path: path.stat().st_mtime_ns)
    return reports[-1]


def _has_screen() -> bool:
    return not sys.platform.startswith("linux") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _photograph(study: Path, case: str, shots: Path) -> jobs.Outcome:
    """Screenshots of the case in napari; without a screen under a virtual one."""
    words = [sys.executable, "-m", "stainloom.plugin", str(study), "--case", case, "--screenshots", str(shots)]
    if not _has_screen():
        if shutil.which("xvfb-run") is None:
            raise StainloomError(
                "no screen, and no virtual one either",
                expected="a display, or xvfb-run",
                next="install xvfb, or set DISPLAY",
            )
        words = ["xvfb-run", "-a", "-s", "-screen 0 1920x1080x24", *words]
    with tempfile.TemporaryDirectory() as preferences:
        # Nobody's napari preferences change.
        environment = {**os.environ, "NAPARI_CONFIG": str(Path(preferences) / "settings.yaml")}
        ended = subprocess.run(
            words, check=False, capture_output=True, text=True, timeout=_SCREENSHOT_S, env=environment
        )
    if ended.returncode != 0:
        raise StainloomError("the screenshots could not be taken", found=ended.stderr.strip()[-800:])
    captions = read_json(shots / "captions.json")
    return jobs.Outcome(tuple(captions), {}, "\n".join(f"{name}: {text}" for name, text in captions.items()))
