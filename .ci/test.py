"""Lint, types and tests: the screen tests in parts and the rest, all at once, their counts added up in one closing line.

A test of real data that was skipped counts as failed where the data folder exists.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
DATA = Path(os.environ.get("STAINLOOM_DATA", ROOT.parent / "shared" / "data"))
_PARTS = 3
_LONGEST = ("test_plugin_road.py", "test_plugin_everyjob.py", "test_plugin_review.py")


def run(title: str, *words: str, into: Path | None = None) -> bool:
    """Run a command in the repository, print how long it took, and say whether it succeeded.

    With `into`, what it prints goes to that file, and is printed when it has ended.
    """
    started = time.monotonic()
    if into is None:
        succeeded = subprocess.run(words, cwd=ROOT, check=False).returncode == 0
    else:
        with into.open("wb") as printed:
            ended = subprocess.run(words, cwd=ROOT, check=False, stdout=printed, stderr=subprocess.STDOUT)
        succeeded = ended.returncode == 0
        print(into.read_text(encoding="utf-8", errors="replace"), end="", flush=True)
    print(f"--- {title}: {'passed' if succeeded else 'FAILED'} in {time.monotonic() - started:.0f} s", flush=True)
    return succeeded


def counts(report: Path) -> tuple[int, int]:
    """(passed, failed) of a JUnit report; a missing report is one failure."""
    if not report.exists():
        return 0, 1
    passed = failed = 0
    for case in ElementTree.parse(report).iter("testcase"):
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif skipped is None:
            passed += 1
        elif "real slides" in (skipped.get("message") or "") and DATA.is_dir():
            print(f"skipped although {DATA.name} exists: {case.get('classname')}.{case.get('name')}")
            failed += 1
    return passed, failed


def main() -> int:
    """Run everything; 0 where nothing failed."""
    os.environ.setdefault("NAPARI_CONFIG", str(Path(tempfile.mkdtemp()) / "settings.yaml"))
    python = str(BIN / "python")
    fine = run("lint", str(BIN / "ruff"), "check", ".")
    fine &= run("format", str(BIN / "ruff"), "format", "--check", ".")
    fine &= run("types", str(BIN / "mypy"))
    screen = ["xvfb-run", "-a", "-s", "-screen 0 1920x1080x24"] if shutil.which("xvfb-run") else []
    total = [0, 0]
    windows = [str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "plugin").glob("test_*.py")]
    # The longest first, one in each part, so that none is left alone at the end.
    windows.sort(key=lambda name: (not name.endswith(_LONGEST), name))
    batteries = (
        # Left to itself, napari's pytest plugin loads napari and Qt into every process.
        ("tests without a screen", [], "not screen", ["-p", "no:napari"]),
        # Collecting the other rooms would import torch, which no process with a window may. Windows mostly wait.
        *((f"tests with a screen, part {part + 1}", screen, "screen", windows[part::_PARTS]) for part in range(_PARTS)),
    )
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(len(batteries)) as pool:
        ends = []
        for title, wrapper, marker, options in batteries:
            report = Path(folder) / f"{len(ends)}.xml"
            # A base folder each: pytest removes old ones of the same name, and these run at once.
            home = f"--basetemp={folder}/{report.stem}"
            words = ["pytest", "-q", "-m", marker, f"--junitxml={report}", home, *options, *sys.argv[1:]]
            end = pool.submit(run, title, *wrapper, python, "-m", *words, into=report.with_suffix(".txt"))
            ends.append((report, end))
        for report, end in ends:
            succeeded = end.result()
            passed, failed = counts(report)
            total[0] += passed
            total[1] += failed + (not succeeded and failed == 0)
    total[1] += not fine
    print(f"{total[0]} passed, {total[1]} failed")
    return 1 if total[1] else 0


if __name__ == "__main__":
    sys.exit(main())
