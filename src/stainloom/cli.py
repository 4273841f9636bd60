"""The command line: one subcommand a job. What a dock starts as a child process, a script and a cluster start too."""

from __future__ import annotations

import _thread
import argparse
import json
import logging
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from stainloom import __version__, jobs
from stainloom.errors import StainloomError
from stainloom.progress import Cancelled, Progress, Wish
from stainloom.settings import Field, check, describe

DONE, FAILED, WRONG_USE, CANCELLED = 0, 1, 2, 3
_REPORT_S = 0.05
_PATIENCE_S = 0.3
_START = 'JSON with "affine", two rows of three numbers: reference µm to µm of the stain, (row, col)'
_TELL_US = "tell its developers, with the lines above; what was there before is unharmed"

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one job; the exit code: 0 done, 1 failed, 2 wrong use, 3 cancelled."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.run is None:
        parser.print_help()
        return WRONG_USE
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s: %(message)s")
    face = _Lines() if given.json else _Terminal()
    control = Control(listen=given.control)
    signal.signal(signal.SIGTERM, lambda number, frame: control.cancel())
    given.tell_figures = face.figures
    face.start(given.title)
    try:
        outcome = given.run(given, control.watch(face.progress, pauses=given.pauses), control)
    except Cancelled:
        face.close()
        face.cancelled()
        return CANCELLED
    except KeyboardInterrupt:
        face.close()
        face.cancelled()
        return CANCELLED
    except StainloomError as error:
        face.close()
        face.error(error)
        return FAILED
    except WrongUse as error:
        face.close()
        face.wrong(str(error))
        return WRONG_USE
    except Exception as error:
        _log.exception("the job ended in a way that it should not")
        face.close()
        face.error(
            StainloomError("the program made a mistake", found=f"{type(error).__name__}: {error}", next=_TELL_US)
        )
        return FAILED
    face.close()
    for warning in outcome.warnings:
        face.warning(warning)
    for problem in outcome.problems:
        face.error(problem)
    face.result(outcome)
    return FAILED if outcome.problems else DONE


class WrongUse(Exception):
    """An option that no job can take."""


class Control:
    """What whoever started the job may say meanwhile: cancel, pause, resume, finish, detach; the end of input means stop."""

    def __init__(self, *, listen: bool) -> None:
        self._cancel = threading.Event()
        self._go = threading.Event()
        self._go.set()
        self._seen = threading.Event()
        self._finish = False
        if listen:
            threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin:
            word = line.strip()
            if word == "cancel":
                self.cancel()
            elif word == "pause":
                self._go.clear()
            elif word == "resume":
                self._go.set()
            elif word == "finish":
                self._finish = True
                self._go.set()
            elif word == "detach":
                # Nobody is left to say resume.
                self._go.set()
                return
        self.cancel()

    def cancel(self) -> None:
        """End the job at its next report; one that reports nothing for a while, at once."""
        self._cancel.set()
        self._go.set()
        threading.Thread(target=self._insist, daemon=True).start()

    def _insist(self) -> None:
        # A job that has seen it may be saving what it has: that is not disturbed.
        if not self._seen.wait(_PATIENCE_S):
            _thread.interrupt_main()

    def state(self) -> Wish:
        """`cancel`, `pause`, `finish` or `go`: for a job that saves its state before it pauses, and can end early."""
        if self._cancel.is_set():
            self._seen.set()
            return "cancel"
        if not self._go.is_set():
            return "pause"
        return "finish" if self._finish else "go"

    def watch(self, progress: Progress, *, pauses: bool = True) -> Progress:
        """A progress callable that also cancels, and pauses unless the job does so itself."""

        def watched(done: float, total: float, what: str, slide: str = "") -> None:
            if pauses and self.state() == "pause":
                progress(done, total, "paused", slide)
                self._go.wait()
            if self.state() == "cancel":
                raise Cancelled
            progress(done, total, what, slide)

        return watched


class _Lines:
    """JSON lines for the dock that started the job."""

    def __init__(self) -> None:
        self._last = 0.0
        self._out = sys.stdout
        self._heard = True
        self._lock = threading.Lock()

    def say(self, kind: str, **content: Any) -> None:
        """Write one line."""
        with self._lock:
            if not self._heard:
                return
            try:
                self._out.write(json.dumps({kind: content}, ensure_ascii=False, allow_nan=False, default=str) + "\n")
                self._out.flush()
            except OSError:
                # Whoever listened is gone: after `detach` the job goes on unheard; without, the end of input stops it.
                self._heard = False

    def start(self, title: str) -> None:
        self.say("start", job=title, version=__version__, process=os.getpid())

    def progress(self, done: float, total: float, what: str, slide: str = "") -> None:
        now = time.monotonic()
        if now - self._last >= _REPORT_S or done >= total:
            self._last = now
            self.say("progress", done=done, total=total, what=what, slide=slide or None)

    def figures(self, figures: Mapping[str, Any]) -> None:
        self.say("figures", **figures)

    def warning(self, text: str) -> None:
        self.say("warning", text=text)

    def error(self, error: StainloomError) -> None:
        self.say("error", **error.as_dict(), detail=str(error))

    def wrong(self, text: str) -> None:
        self.say("error", what=text, slide=None, stain=None, expected=None, found=None, next=None, detail=text)

    def cancelled(self) -> None:
        self.say("cancelled")

    def result(self, outcome: jobs.Outcome) -> None:
        self.say("result", changed=list(outcome.changed), figures=dict(outcome.figures), text=outcome.text)

    def close(self) -> None:
        """Nothing to tidy."""


class _Terminal:
    """A bar and plain sentences."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._title = ""
        self._last = 0.0

    def start(self, title: str) -> None:
        """The bar says it."""
        self._title = title

    def progress(self, done: float, total: float, what: str, slide: str = "") -> None:
        if not sys.stderr.isatty():
            return
        if self._bar is None:
            self._bar = tqdm(total=1.0, leave=False, bar_format="{desc:40.40} {percentage:3.0f} % |{bar}| {remaining}")
        now = time.monotonic()
        if now - self._last >= _REPORT_S or done >= total:
            self._last = now
            self._bar.set_description_str(f"{slide}: {what}" if slide else what, refresh=False)
            self._bar.n = min(1.0, done / total) if total > 0 else 1.0
            self._bar.refresh()

    def figures(self, figures: Mapping[str, Any]) -> None:
        """The bar says what matters of them."""

    def warning(self, text: str) -> None:
        print(f"Check: {text}", file=sys.stderr)

    def error(self, error: StainloomError) -> None:
        print(f"Failed: {error}", file=sys.stderr)

    def wrong(self, text: str) -> None:
        print(f"stainloom: {text}", file=sys.stderr)

    def cancelled(self) -> None:
        after = "Go on with --resume." if self._title == "train" else "Nothing half-made is left behind."
        print(f"Cancelled. {after}", file=sys.stderr)

    def result(self, outcome: jobs.Outcome) -> None:
        if outcome.text:
            print(outcome.text)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


Run = Callable[[argparse.Namespace, Progress, Control], "jobs.Outcome"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stainloom", description="Five stains of one block: align, paint once, train, and see which stain decided."
    )
    parser.add_argument("--version", action="version", version=f"stainloom {__version__}")
    parser.set_defaults(run=None, json=False, control=False, title="", pauses=True)
    commands = parser.add_subparsers(title="jobs", metavar="JOB")

    demo = _job(commands, "demo", "Walk the whole road on the simulated study, or with --real on a real case.", _demo)
    demo.add_argument("--real", action="store_true", help="the real five-stain case instead of the simulated study")
    demo.add_argument("--full", action="store_true", help="40 patients and the controls; within an hour on 2 cores")
    demo.add_argument("--out", type=Path, default=Path("demo"), help="folder for study, screenshots and report")
    demo.add_argument("--no-window", action="store_true", help="open no window at the end; screenshots all the same")
    demo.add_argument("--seed", type=_whole(0), default=0, help="of the simulated study")
    _workers(demo)

    simulate = _study_job(
        commands, "simulate", "Make a simulated study of aortic walls, with its truth beside it.", _simulate
    )
    simulate.add_argument("--unpainted", type=_whole(0), default=0, help="cases that are left for you to paint")
    simulate.add_argument(
        "--beside", action="append", default=[], metavar="STAIN=FILE", help="a real picture for the contact sheet"
    )
    _workers(simulate)
    _options(simulate, jobs.settings_of("simulate"))

    study = commands.add_parser("study", help="Make, show, pack or relocate a study.")
    verbs = study.add_subparsers(title="verbs", metavar="VERB", required=True)
    new = _study_job(verbs, "new", "Make an empty study.", _study_new)
    new.add_argument("--protocol", default="aorta", help="aorta, lung, or a JSON file with stains and lesion classes")
    new.add_argument("--label-um", type=float, default=2.0, help="µm per px of label rasters")
    _study_job(verbs, "show", "Say what a study holds.", lambda g, p, c: jobs.show_study(g.study))
    pack = _study_job(verbs, "pack", "Copy slides that lie elsewhere into the study.", _pack)
    pack.add_argument("--case", help="write this case alone, as a study of its own that can be sent")
    pack.add_argument("--to", type=Path, help="folder of that study")
    relocate = _study_job(verbs, "relocate", "Find slides that were moved.", _relocate)
    relocate.add_argument("--in", dest="folders", type=Path, action="append", default=[], help="a folder to search")

    case = commands.add_parser("case", help="Take a case into a study or out of it; change one of its stains.")
    verbs = case.add_subparsers(title="verbs", metavar="VERB", required=True)
    add = _study_job(verbs, "add", "Take in slides from a folder (by stain name in the file name) or a CSV.", _case_add)
    add.add_argument("source", type=Path, help="a folder, or a CSV with the columns stain, path")
    add.add_argument("--name", help="name of the case; the folder's unless given")
    add.add_argument("--patient", help="the patient's pseudonym")
    add.add_argument("--um-per-px", type=float, help="scale of slides whose files state none")
    add.add_argument("--allow-missing", action="store_true", help="take the case in although a stain is missing")
    reviewed = _study_job(
        verbs, "reviewed", "Keep that somebody looked at the maps of a case and at its paint.", _reviewed
    )
    reviewed.add_argument("case", help="name of the case")
    reviewed.add_argument("--run", dest="run_id", help="whose maps; the latest predicted unless given")
    reviewed.add_argument("--undo", action="store_true", help="take it back")

    remove = _study_job(
        verbs, "remove", "Take a case out; what was painted is kept in the study's folder removed.", _case_remove
    )
    remove.add_argument("case", help="name of the case")
    swap = _study_job(verbs, "replace", "Give a case another scan of a stain, or one that it lacked.", _case_replace)
    swap.add_argument("case", help="name of the case")
    swap.add_argument("stain", help="name of the stain")
    swap.add_argument("file", type=Path, help="the new slide")
    swap.add_argument("--um-per-px", type=float, help="scale of a slide whose file states none")
    leave = _stain_job(verbs, "leave-out", "Leave a stain out of a case; its results are kept.", _leave_out)
    leave.add_argument("--undo", action="store_true", help="take it in again")
    accept = _stain_job(verbs, "accept", "Say that an alignment to be checked was looked at and is right.", _accept)
    accept.add_argument("--undo", action="store_true", help="take it back")
    lay = _stain_job(verbs, "lay", "Use a stain where a hand laid it, as it is.", _lay)
    lay.add_argument("--start-from", type=Path, required=True, metavar="FILE", help=_START)

    register = _slides_job(commands, "register", "Align each stain to the reference.", _register)
    register.add_argument("--refine", choices=["lesions"], help="refine the current alignment inside painted lesions")
    register.add_argument(
        "--start-from", type=Path, metavar="FILE", help=f"one stain of one case, near a place: {_START}"
    )
    register.add_argument(
        "--needed", action="store_true", help="only stains never aligned, or in doubt or failed with other settings"
    )
    _options(register, jobs.settings_of("register"))
    _slides_job(commands, "transfer", "Carry the painted labels into each stain's own frame.", _transfer)
    normalize = _slides_job(
        commands, "normalize", "Fit the stain colours of each slide to the study's reference.", _normalize
    )
    _options(normalize, jobs.settings_of("normalize"))
    export = _study_job(commands, "export", "Cut aligned patches of all stains, and split them by patient.", _export)
    _cases(export)
    _workers(export)
    export.add_argument("--preview", action="store_true", help="say what would be cut, and write nothing")
    _options(export, jobs.settings_of("export"))
    train = _study_job(commands, "train", "Train the network that weighs the stains.", _train)
    train.set_defaults(pauses=False)
    _stains(train)
    train.add_argument("--patchset", help="the latest unless given")
    train.add_argument(
        "--resume", action="store_true", help="go on with a training that was interrupted, or that a limit ended"
    )
    _options(train, jobs.settings_of("train"))
    predict = _study_job(commands, "predict", "Lay class map and stain weights over a case.", _predict)
    _cases(predict)
    predict.add_argument("--run", dest="run_id", help="the latest run of all stains unless given")
    predict.add_argument("--where", choices=["lesions", "tissue", "box"], default="tissue", help="where to predict")
    predict.add_argument(
        "--box-um", type=float, nargs=4, metavar=("ROW", "COL", "ROWS", "COLS"), help="with --where box"
    )
    predict.add_argument(
        "--serve", action="store_true", help="stay, and predict views that are asked for line by line on standard input"
    )
    predict.add_argument(
        "--idle-minutes", type=float, default=5.0, help="with --serve: end when nobody asks for so long"
    )
    _options(predict, jobs.settings_of("predict"))
    report = _study_job(
        commands, "report", "Write the study's report: figures, confusion matrix, pictures of some cases.", _report
    )
    _cases(report)
    report.add_argument("--run", dest="run_id", help="the latest run of all stains unless given")

    annotations = commands.add_parser("annotations", help="Bring outlines in, or write them out.")
    verbs = annotations.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb, text, run in (
        ("import", "Paint the outlines of a GeoJSON file, as QuPath writes it.", _import),
        ("export", "Write the painted labels as GeoJSON, as QuPath reads it.", _export_annotations),
    ):
        job = _study_job(verbs, verb, text, run)
        job.add_argument("case", help="name of the case")
        job.add_argument("file", type=Path, help="the GeoJSON file")
        job.add_argument("--stain", help="outlines in this stain's pixels; the reference unless given")

    view = _job(commands, "view", "Open the window: a study with its docks, in napari.", _view)
    view.add_argument("study", type=Path, nargs="?", help="the study's folder; without one the window asks for it")
    view.add_argument("--case", help="the first unless given")
    view.add_argument("--run", dest="run_id", help="whose maps are shown; the latest predicted unless given")
    view.add_argument("--screenshot", type=Path, help="take a picture and close")
    return parser


def _job(commands: Any, name: str, text: str, run: Run) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run, title=name)
    parser.add_argument("--json", action="store_true", help="say progress and result as JSON lines")
    parser.add_argument(
        "--control",
        action="store_true",
        help="take cancel, pause, resume, detach and (training) finish on standard input",
    )
    return parser


def _study_job(commands: Any, name: str, text: str, run: Run) -> argparse.ArgumentParser:
    parser = _job(commands, name, text, run)
    parser.add_argument("study", type=Path, help="the study's folder")
    return parser


def _whole(least: int) -> Callable[[str], int]:
    """Reads a whole number that is at least this."""

    def read(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"takes whole numbers from {least}, not {text}")
        return number

    read.__name__ = "whole number"
    return read


def _workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=_whole(1), help="processes; one a core unless given")


def _cases(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--case", dest="cases", action="append", default=[], metavar="NAME", help="only this case; may be repeated"
    )


def _stains(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--stain", dest="stains", action="append", default=[], metavar="NAME", help="only this stain; may be repeated"
    )


def _slides_job(commands: Any, name: str, text: str, run: Run) -> argparse.ArgumentParser:
    parser = _study_job(commands, name, text, run)
    for options in (_cases, _stains, _workers):
        options(parser)
    return parser


def _stain_job(commands: Any, name: str, text: str, run: Run) -> argparse.ArgumentParser:
    parser = _study_job(commands, name, text, run)
    parser.add_argument("case", help="name of the case")
    parser.add_argument("--stain", required=True, help="name of the stain; never the reference")
    return parser


def _options(parser: argparse.ArgumentParser, settings: type) -> None:
    """One option a field of a settings dataclass."""
    group = parser.add_argument_group("settings")
    taken = {option for action in parser._actions for option in action.option_strings}
    for field in describe(settings):
        option = "--" + field.name.replace("_", "-")
        if option in taken:
            continue
        if field.kind is bool:
            group.add_argument(
                option, dest=f"set_{field.name}", action=argparse.BooleanOptionalAction, help=_help(field)
            )
        else:
            group.add_argument(
                option,
                dest=f"set_{field.name}",
                type=field.kind,
                choices=field.choices or None,
                nargs="+" if field.many else None,
                metavar=None if field.choices else field.name.rsplit("_", 1)[-1].upper(),
                help=_help(field),
            )
    parser.set_defaults(settings_type=settings)


def _help(field: Field) -> str:
    parts = [field.help.rstrip(".")]
    if field.least is not None and field.most is not None:
        parts.append(f"{field.least} to {field.most}")
    parts.append("unset" if field.default is None else f"default {field.default}")
    return "; ".join(p for p in parts if p).replace("%", "%%")


def _settings(given: argparse.Namespace, **more: Any) -> Any:
    values = {k[4:]: v for k, v in vars(given).items() if k.startswith("set_") and v is not None}
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    try:
        return check(given.settings_type, {**values, **more})
    except ValueError as error:
        raise WrongUse(str(error)) from None


def _demo(given: argparse.Namespace, progress: Progress, control: Control) -> jobs.Outcome:
    from stainloom.jobs import demo

    run = demo.real if given.real else demo.simulated
    tell = (lambda text: None) if given.json else print
    extra = {} if given.real else {"full": given.full, "seed": given.seed}
    return run(given.out, tell=tell, window=not given.no_window, workers=given.workers, progress=progress, **extra)


def _simulate(given: argparse.Namespace, progress: Progress, control: Control) -> jobs.Outcome:
    pairs = [text.partition("=") for text in given.beside]
    if not all(stain and file for stain, _, file in pairs):
        raise WrongUse("--beside takes a stain and a picture: --beside HE=slide.png")
    beside = {stain: Path(file) for stain, _, file in pairs}
    return jobs.simulate(
        given.study,
        _settings(given),
        unpainted=given.unpainted,
        beside=beside,
        workers=given.workers,
        progress=progress,
    )


def _study_new(given: argparse.Namespace, progress: Progress, control: Control) -> jobs.Outcome:
    return jobs.new_study(given.study, given.protocol, label_um=given.label_um)


def _pack(given: argparse.Namespace, progress: Progress, control: Control) -> jobs.Outcome:
    if (given.case is None) != (given.to is None):
        raise WrongUse("--case and --to belong together: which case, and the folder of the study to make of it")
    return jobs.pack(given.study, case=given.case, target=given.to, progress=progress)


def _relocate(given: argparse.Namespace, progress: Progress, control: Control) -> jobs.Outcome:
    if not given.folders:
        raise WrongUse("say where to look: --in FOLDER, once or more often")
    return jobs.relocate(given.study, given.folders, progress=progress)


def _case_add(given: argparse.Namespace, progress: Progress, control: Control) -> jobs.Outcome:
    return jobs.add_case(
        given.study,
        given.source,
        name=given.name,
        patient=given.patient,
        um_per_px=given.um_per_px,
        allow_missing=given.allow_missing,
        progress=progress,
    )


def _case_remove(given: argparse.Namespace, progress: Progress, control: Control) -> jobs.Outcome:
    return jobs.remove_case(given.study, given.case)


def _case_replace(given: argparse.Namespace, progress: Progress, control: Control) -> jobs.Outcome:
    return jobs.replace_slide(given.study, given.case, given.stain, given.file, um_per_px=given.um_per_px)


def _leave_out(given: argparse.Namespace, progress: Progress, control: Control) -> jobs.Outcome:
    return jobs.leave_out(given.study, given.case, given.stain, undo=given.undo)


def _accept(given: argparse.Namespace, progress: Progress, control: Control) -> jobs.Outcome:
    return jobs.accept(given.study, given.case, given.stain, undo=given.undo)


def _lay(given: argparse.Namespace, progress: Progress, control: Control) -> jobs.Outcome:
    return jobs.lay(given.study, given.case, given.stain, given.start_from)


def _register(given: argparse.Namespace, progress: Progress, control: Control) -> jobs.Outcome:
    return jobs.register(
        given.study,
        _settings(given),
        refine=given.refine == "lesions",
        start=given.start_from,
        needed=given.needed,
        **_which(given),
        progress=progress,
    )


def _transfer(given: argparse.Namespace, progress: Progress, control: Control) -> jobs.Outcome:
    return jobs.transfer(given.study, **_which(given), progress=progress)


def _normalize(given: argparse.Namespace, progress: Progress, control: Control) -> jobs.Outcome:
    return jobs.normalize(given.study, _settings(given), **_which(given), progress=progress)


def _export(given: argparse.Namespace, progress: Progress, control: Control) -> jobs.Outcome:
    if given.preview:
        return jobs.preview(given.study, _settings(given), cases=given.cases, workers=given.workers, progress=progress)
    return jobs.export(given.study, _settings(given), cases=given.cases, workers=given.workers, progress=progress)


def _train(given: argparse.Namespace, progress: Progress, control: Control) -> jobs.Outcome:
    settings = _settings(given, **({"stains": tuple(given.stains)} if given.stains else {}))
    return jobs.train(
        given.study,
        settings,
        patchset=given.patchset,
        resume=given.resume,
        on_epoch=given.tell_figures,
        control=control.state,
        progress=progress,
    )


def _predict(given: argparse.Namespace, progress: Progress, control: Control) -> jobs.Outcome:
    if given.serve:
        return _serve(given)
    if (given.where == "box") != (given.box_um is not None):
        raise WrongUse("--where box and --box-um belong together")
    if given.box_um and not (all(math.isfinite(v) for v in given.box_um) and min(given.box_um[2:]) > 0):
        raise WrongUse("--box-um takes the row and column of a corner and a height and width above 0, all in µm")
    return jobs.predict(
        given.study,
        _settings(given),
        run_id=given.run_id,
        where=given.where,
        box_um=tuple(given.box_um) if given.box_um else None,
        cases=given.cases,
        progress=progress,
    )


def _serve(given: argparse.Namespace) -> jobs.Outcome:
    if not given.json or given.control:
        raise WrongUse("--serve speaks JSON lines, and its input is its own: give --json, and no --control")
    if not 0 < given.idle_minutes <= 1440:
        raise WrongUse("--idle-minutes takes more than 0 and at most 1440")
    jobs.check_study(given.study)
    lines = _Lines()

    def say(kind: str, **content: Any) -> None:
        if kind == "progress":
            lines.progress(**content)
        else:
            lines.say(kind, **content)

    jobs.serve(given.study, sys.stdin, say, idle_s=60 * given.idle_minutes)
    return jobs.Outcome()


def _reviewed(given: argparse.Namespace, progress: Progress, control: Control) -> jobs.Outcome:
    if given.undo:
        return jobs.unmark_reviewed(given.study, given.case)
    return jobs.mark_reviewed(given.study, given.case, run_id=given.run_id)


def _report(given: argparse.Namespace, progress: Progress, control: Control) -> jobs.Outcome:
    return jobs.report(given.study, cases=given.cases, run_id=given.run_id, progress=progress)


def _import(given: argparse.Namespace, progress: Progress, control: Control) -> jobs.Outcome:
    return jobs.import_annotations(given.study, given.case, given.file, stain=given.stain)


def _export_annotations(given: argparse.Namespace, progress: Progress, control: Control) -> jobs.Outcome:
    return jobs.export_annotations(given.study, given.case, given.file, stain=given.stain)


def _view(given: argparse.Namespace, progress: Progress, control: Control) -> jobs.Outcome:
    if given.study is None and (given.case or given.screenshot or given.run_id):
        raise WrongUse("--case, --run and --screenshot need a study")
    if given.case or given.screenshot:
        jobs.check_case(given.study, given.case)
    elif given.study is not None:
        jobs.check_study(given.study)
    words = [sys.executable, "-m", "stainloom.plugin", *([str(given.study)] if given.study is not None else [])]
    words += ["--case", given.case] if given.case else []
    words += ["--run", given.run_id] if given.run_id else []
    words += ["--screenshot", str(given.screenshot)] if given.screenshot else []
    code = subprocess.run(words, check=False).returncode
    if code != 0:
        raise StainloomError(
            "the window could not be opened or ended early",
            found=f"exit code {code}",
            next="on a machine without a screen start the command under xvfb-run",
        )
    return jobs.Outcome(changed=(str(given.screenshot),) if given.screenshot else ())


def _which(given: argparse.Namespace) -> dict[str, Any]:
    return {"cases": given.cases, "stains": given.stains, "workers": given.workers}


def _leave(code: int) -> None:
    """End this process; torch takes a second and more to say good-bye, and whoever cancelled waits for it."""
    if code == CANCELLED and "torch" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    _leave(main())
