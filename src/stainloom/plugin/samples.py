"""Sample data: one simulated block of the aortic wall in five stains, aligned."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from napari.utils import progress
from platformdirs import user_cache_path
from qtpy.QtCore import QEventLoop
from qtpy.QtWidgets import QApplication

from stainloom import __version__
from stainloom.errors import CaseError
from stainloom.plugin.layers import LayerData

_WAIT_MS = 50
_STEPS = (
    # A seed whose five sections all align: a first look is no place for a failed slide.
    ("simulate", "--patients", "1", "--width-um", "1600", "--height-um", "1200", "--seed", "1", "--failed-share", "0"),
    ("register",),
    ("normalize",),
)
"""Command lines that make the sample, each with the study's folder after its first word."""


def simulated_aorta() -> list[LayerData]:
    """One simulated block, made and aligned on first use and kept in the user's cache folder."""
    from stainloom import jobs
    from stainloom.plugin.reader import open_in_window

    return open_in_window(jobs.open_view(make_sample(sample_folder()), None))


def sample_folder() -> Path:
    """Where the sample of this version is kept."""
    return user_cache_path("stainloom", appauthor=False) / "samples" / f"aorta-{__version__}"


def make_sample(folder: Path) -> Path:
    """The study of the sample, made where it is not there yet: whole or not at all.

    Notes
    -----
    The jobs run as child processes, as all jobs do: they would freeze the window, and no process with a window may load
    what training needs.
    """
    from stainloom.io.files import new_folder

    study = folder / "study"
    if not (study / "study.json").is_file():
        with new_folder(folder) as beside, progress(total=len(_STEPS), desc="Simulated aorta") as bar:
            for name, *options in _STEPS:
                bar.set_description(f"Simulated aorta: {name}")
                _run([name, str(beside / "study"), *options])
                bar.update(1)
    return study


def _run(words: list[str]) -> None:
    command = [sys.executable, "-m", "stainloom.cli", *words, "--json"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    ) as child:
        lines: list[str] = []
        while True:
            try:
                # communicate, not wait: a child that fills the pipe would wait for us.
                lines = child.communicate(timeout=_WAIT_MS / 1000)[0].splitlines()
                break
            except subprocess.TimeoutExpired:
                if QApplication.instance() is not None:
                    QApplication.processEvents(QEventLoop.ProcessEventsFlag.ExcludeUserInputEvents)
    if child.returncode != 0:
        raise CaseError(
            "the simulated sample could not be made",
            found=_error_in(lines) or f"{words[0]} ended with exit code {child.returncode}",
            next="free some disk space, or run 'stainloom demo' to see the whole message",
        )


def _error_in(lines: list[str]) -> str:
    for line in reversed(lines):
        try:
            said: Any = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and isinstance(said.get("error"), dict):
            return str(said["error"].get("what", ""))
    return ""
