"""Photographs of the window: every dock empty, filled and in error, every way to look, at two sizes, with an index page.

    make shots            (or: xvfb-run -a -s "-screen 0 1920x1080x24" python benchmarks/shots.py build/shots)

A study is simulated and walked through once (some minutes) and kept beside the pictures for the next time.
"""

from __future__ import annotations

import argparse
import html
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SIZES = ((1280, 800), (1920, 1080))
STEPS = (
    ("simulate", "--patients", "4", "--width-um", "1600", "--height-um", "1200", "--seed", "1"),
    ("register",),
    ("transfer",),
    ("normalize",),
    ("export",),
    ("train", "--most-epochs", "25", "--features", "64"),
    ("train", "--most-epochs", "25", "--features", "64", "--stain", "HE"),
    ("predict", "--where", "lesions"),
)
SETTLED_MOST_S = 60.0


def make_study(folder: Path) -> Path:
    """The study that is photographed, made where it is not there yet."""
    study = folder / "study"
    done = folder / "done"
    if done.is_file():
        return study
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, *options in STEPS:
        print(f"{name} ...", flush=True)
        subprocess.run([sys.executable, "-m", "stainloom.cli", name, str(study), *options], check=True)
    done.touch()
    return study


class Camera:
    """One window, and the pictures that are taken of it.

    Parameters
    ----------
    home
        Folder of the pictures.
    size
        Of the window, px.
    """

    def __init__(self, home: Path, size: tuple[int, int]) -> None:
        import napari

        from stainloom.plugin.window import open_workspace

        self.home, self.size = home, size
        self.viewer = napari.Viewer(show=True, show_welcome_screen=False)
        self.viewer.window.resize(*size)
        self.docks = open_workspace(self.viewer)
        self.workspace = self.docks.workspace
        self.taken: list[tuple[str, str]] = []

    def wait(self, until: Callable[[], Any] = lambda: True, seconds: float = 0.6) -> None:
        """Let the window work: at least so long, then until something holds."""
        from qtpy.QtWidgets import QApplication

        start = time.monotonic()
        while time.monotonic() - start < seconds or not (until() and self._settled()):
            QApplication.processEvents()
            time.sleep(0.005)
            if time.monotonic() - start > SETTLED_MOST_S:
                print("  did not settle", flush=True)
                return

    def close(self) -> None:
        """Stop what runs and close the window: it would ask what becomes of a job."""
        self.workspace.queue.stop()
        self.wait(lambda: self.workspace.queue.current is None)
        self.viewer.close()

    def _settled(self) -> bool:
        # Jobs that only look (what would be cut) are part of what a dock shows.
        return self.workspace.settled and not self.workspace.thumbnails.busy and not self.workspace._aside

    def take(self, name: str, caption: str) -> None:
        """Photograph the window."""
        from stainloom.plugin._napari import photograph

        self.wait()
        file = f"{name}-{self.size[0]}.png"
        (self.home / file).write_bytes(photograph(self.viewer))
        self.taken.append((file, caption))
        print(f"{file}: {caption}", flush=True)

    def show(self, dock: str, down: bool = False) -> Any:
        """Bring a dock to the front, scrolled to its top or its end."""
        self.docks.show(dock)
        self.wait()
        found = self.docks.docks[dock]
        bar = found.verticalScrollBar()
        bar.setValue(bar.maximum() if down else 0)
        return found

    def both_ends(self, dock: str, name: str, caption: str) -> None:
        """A dock from its top, and where it is longer than the window also its end."""
        found = self.show(dock)
        self.take(name, caption)
        if found.verticalScrollBar().maximum() > 0:
            self.show(dock, down=True)
            self.take(f"{name}-end", f"{caption} The end of the dock.")


def walk(camera: Camera, study: Path, scratch: Path) -> None:
    """All pictures of one window."""
    for act in (empty_docks, intake, filled_docks, ways_to_look, overlays, by_hand, errors):
        act(camera, study, scratch)


def empty_docks(camera: Camera, study: Path, scratch: Path) -> None:
    """Before any study is open."""
    for name in camera.docks.docks:
        camera.show(name)
        camera.take(f"empty-{name.lower()}", f"{name} before a study is open.")
    cases = camera.show("Cases")
    cases._show(cases.new)
    camera.take("new-study", "A new study from slides of one's own: its name, its place, its stains.")
    cases._show(None)


def intake(camera: Camera, study: Path, scratch: Path) -> None:
    """Slides recognised, one of them not."""
    from stainloom import jobs

    target = scratch / f"intake-{camera.size[0]}"
    jobs.new_study(target / "My study")
    home = target / "scans"
    for case in ("S01", "S02"):
        shutil.copytree(study / "slides" / case, home / case)
    odd = next((home / "S02").glob("Masson*"))
    odd.rename(odd.with_name("scan 4" + "".join(odd.suffixes)))
    camera.workspace.open_study(target / "My study")
    for name in ("Cases", "Align", "Paint", "Patches", "Review"):
        camera.show(name)
        camera.take(f"nocase-{name.lower()}", f"{name} while the study has no case.")
    cases = camera.show("Cases")
    cases.look_at_slides([home])
    camera.wait(lambda: cases.pages.currentWidget() is cases.intake)
    camera.take("intake", "Slides of two blocks as they were recognised: one stain has to be chosen, patients named.")


def filled_docks(camera: Camera, study: Path, scratch: Path) -> None:
    """A study with everything in it."""
    camera.workspace.open_study(study)
    camera.wait()
    painter = camera.workspace.painter
    painter.choose(painter.classes[1].id)
    captions = {
        "Cases": "The cases of a study: stains, and what is done.",
        "Align": "How well each stain lies on HE, cell by cell with HE.",
        "Paint": "The palette, the tools and the lesions of a case.",
        "Colour": "Raw and normalized colours of all cases.",
        "Patches": "How many windows each set gets, what was left out, and some of them.",
        "Train": "What is trained on, the curves, and the runs against each other.",
        "Review": "What the network says of a case.",
    }
    for name, caption in captions.items():
        camera.both_ends(name, f"filled-{name.lower()}", caption)
    form = camera.show("Align").form
    form._more.setChecked(True)
    camera.take("more-settings", "All settings of a job, each with its bounds in its tooltip.")
    row = next(iter(form.rows.values()))
    row.editor.setText("-7") if hasattr(row.editor, "setText") else None
    camera.take("wrong-setting", "A wrong value is said while it is typed, and Run is grey.")
    form.reset()
    form._more.setChecked(False)


def ways_to_look(camera: Camera, study: Path, scratch: Path) -> None:
    """One case in every way that it can be looked at."""
    camera.workspace.session.show_overlay(None)
    looking = camera.workspace.session.looking
    stains = [stain for stain in camera.workspace.session.view.stains if stain.usable and stain.verdict != "reference"]
    camera.show("Paint")
    looking.show(stains[0].name)
    camera.take("look-stain", f"{stains[0].name} on HE's grid, with the lesions painted on HE.")
    looking.show_scanned(True)
    camera.wait(lambda: not looking.glass.carrying)
    camera.take("look-scanned", f"{stains[0].name} as it was scanned: its own pixels, the lesions carried into them.")
    looking.show_scanned(False)
    looking.show(looking.reference)
    looking.lay_over(stains[-1].name)
    camera.take("look-overlay", f"{stains[-1].name} half transparent over HE.")
    looking.leave()
    looking.show_grid()
    camera.take("look-grid", "All aligned stains side by side; they move together.")
    looking.leave()
    looking.show_checkerboard()
    camera.take("look-checkerboard", "All aligned stains cell by cell: structures run on across the edges.")
    looking.leave()
    looking.magnify(10)
    camera.take("look-10x", "10x: one um a pixel of the screen.")
    looking.turn_to(30)
    camera.take("look-turned", "The view turned by 30 degrees.")
    looking.turn_to(0)
    looking.show_whole()
    camera.docks.desk.show_keys()
    camera.wait()
    panel = camera.docks.desk.help
    file = f"keys-{camera.size[0]}.png"
    panel.grab().save(str(camera.home / file))
    camera.taken.append((file, "All keys."))
    panel.hide()


def overlays(camera: Camera, study: Path, scratch: Path) -> None:
    """Every map that a run predicted."""
    from stainloom.plugin.overlay import overlays_of

    session = camera.workspace.session
    camera.show("Review")
    camera.wait(lambda: session.maps is not None)
    choices = list(overlays_of(session.maps))
    for number in sorted({0, 1, len(choices) // 2, len(choices) - 1}):
        session.show_overlay(choices[number])
        camera.wait(lambda number=number: session.overlay.shown == choices[number])
        camera.take(
            f"map-{number}",
            f"Map over HE: {choices[number].name if hasattr(choices[number], 'name') else choices[number]}.",
        )
    session.show_overlay(choices[0])
    camera.docks.docks["Review"].regions.fly_to_next()
    camera.take("map-region", "The least certain region, framed.")
    session.show_overlay(None)
    session.looking.show_whole()


def by_hand(camera: Camera, study: Path, scratch: Path) -> None:
    """A stain turned by hand."""
    stain = next(s for s in camera.workspace.session.view.stains if s.aligned is not None and s.verdict != "reference")
    dock = camera.show("Align")
    dock.panel.turn_by_hand(stain.name)
    camera.wait(seconds=2.0)
    camera.take("by-hand", f"{stain.name} half transparent over HE, to be turned, mirrored and shifted by hand.")
    dock.panel.cancel()
    camera.wait()


def errors(camera: Camera, study: Path, scratch: Path) -> None:
    """What goes wrong is said where it was asked for."""
    from stainloom.errors import LabelError

    copy = scratch / f"broken-{camera.size[0]}"
    camera.workspace.close_study()
    shutil.copytree(study, copy, ignore=shutil.ignore_patterns("maps", "runs"))
    slide = next((copy / "slides" / "S01").glob("Masson*"))
    slide.write_bytes(b"no slide any more")
    next((copy / "slides" / "S02").glob("VG*")).unlink()
    (copy / "cases" / "S03" / "case.json").write_text("{", encoding="utf-8")
    camera.workspace.open_study(copy)
    camera.show("Cases")
    camera.take("error-cases", "A slide replaced by something else, one that is gone, and a case that cannot be read.")
    for name in ("Align", "Colour", "Patches", "Train"):
        dock = camera.show(name)
        if dock.controls.run.isEnabled():
            dock.start()
            camera.wait(lambda: camera.workspace.queue.current is None)
        camera.take(f"error-{name.lower()}", f"{name}, after it met them.")
    painter = camera.workspace.painter
    camera.show("Paint")
    keep = painter.paint.keep
    refusal = LabelError(
        "the disk is full: this stroke was not kept", next="free some space on this disk, then paint on"
    )
    painter.paint.keep = lambda *args, **more: (_ for _ in ()).throw(refusal)
    painter.layer.paint((60, 60), painter.classes[0].id)
    camera.wait(lambda: painter.trouble is not None)
    camera.take("error-paint", "A full disk while painting: said in the dock and in the status line until it is saved.")
    painter.paint.keep = keep
    camera.wait(lambda: painter.trouble is None, seconds=4)
    held = scratch / f"held-{camera.size[0]}"
    camera.workspace.close_study()
    shutil.copytree(study, held, ignore=shutil.ignore_patterns("maps", "runs", "patchsets"))
    from stainloom import jobs

    other = jobs.Paint.open(held, "S01")
    other.snapshot()
    camera.workspace.open_study(held)
    camera.show("Paint")
    camera.take("held-paint", "A case that another window holds: it can be looked at, and it is said by whom.")
    other.close()


def index(home: Path, taken: list[tuple[str, str]]) -> None:
    """One page with all pictures."""
    rows = "\n".join(
        f'<figure id="{html.escape(file)}"><img src="{html.escape(file)}" loading="lazy"><figcaption>'
        f"{html.escape(file)}: {html.escape(caption)}</figcaption></figure>"
        for file, caption in taken
    )
    style = "body{font:15px sans-serif;background:#222;color:#ddd}img{max-width:100%}figure{margin:2em 0}"
    page = f"<!doctype html><meta charset=utf-8><title>Stainloom: the window</title><style>{style}</style>{rows}\n"
    (home / "index.html").write_text(page, encoding="utf-8")


def windows(home: Path, study: Path) -> Iterator[list[tuple[str, str]]]:
    """Walk through the window at each size."""
    for size in SIZES:
        with tempfile.TemporaryDirectory() as scratch:
            camera = Camera(home, size)
            copy = Path(scratch) / "study"
            shutil.copytree(study, copy)
            try:
                walk(camera, copy, Path(scratch))
            finally:
                camera.close()
            yield camera.taken


def main() -> int:
    """Take all pictures; 0 where all could be taken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", default=Path("build/shots"))
    home = parser.parse_args().out
    home.mkdir(parents=True, exist_ok=True)
    settings = Path(tempfile.mkdtemp())
    os.environ["NAPARI_CONFIG"], os.environ["STAINLOOM_CONFIG"] = str(settings / "settings.yaml"), str(settings)
    study = make_study(home.parent / "shots-study")
    for old in home.glob("*.png"):
        old.unlink()
    taken = [picture for found in windows(home, study) for picture in found]
    index(home, taken)
    print(f"{len(taken)} pictures: {home / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
