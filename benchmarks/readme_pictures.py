"""The pictures of README's walk: the study of *Try the simulated study*, every job of the road run on it, photographed.

    make readme-pictures      (or: xvfb-run -a -s "-screen 0 1920x1080x24" python benchmarks/readme_pictures.py docs/images)

The study (a quarter of an hour) is kept in build/readme-study for the next time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from shots import Camera

SIZE = (1280, 800)
COLORS = 255
ROAD = ("register", "normalize", "export", "train", "predict")
KEPT = Path(__file__).parents[1] / "build" / "readme-study"


def make_study(home: Path) -> Path:
    """The study as the button of Cases makes it, with every job of the road run; made where it is not there yet."""
    from stainloom.plugin import cases
    from stainloom.plugin.trial import trial_steps

    study, done = home / "simulated", home / "done"
    if not done.is_file():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        steps = [step.words for step in trial_steps(study, patients=cases._PATIENTS, unpainted=cases._UNPAINTED)]
        painted = range(1, cases._PATIENTS - cases._UNPAINTED + 1)
        only = {"export": [word for number in painted for word in ("--case", f"S{number:02}")]}
        for name, *options in [*steps, *((name, str(study), *only.get(name, [])) for name in ROAD)]:
            print(f"{name} ...", flush=True)
            subprocess.run([sys.executable, "-m", "stainloom.cli", name, *options], check=True)
        done.touch()
    return study


def photograph(camera: Camera, study: Path) -> None:
    """The five pictures, in the order of the walk."""
    from stainloom.plugin.overlay import Overlay

    workspace = camera.workspace
    workspace.open_study(study)
    camera.wait(seconds=2.0)
    camera.show("Cases")
    camera.take("cases", "Cases.")
    camera.show("Align")
    camera.take("align", "Align.")
    painter = workspace.painter
    painter.choose(painter.classes[0].id)
    camera.show("Paint")
    camera.take("paint", "Paint.")
    looking = workspace.session.looking
    looking.show_grid()
    camera.take("grid", "All aligned stains side by side.")
    looking.leave()
    camera.show("Review")
    camera.wait(lambda: workspace.session.maps is not None)
    workspace.session.show_overlay(Overlay("class"))
    camera.wait(seconds=2.0)
    camera.take("review", "Review.")


def main() -> int:
    """Take the pictures and put them, in fewer colours, where README has them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--study", type=Path, default=KEPT, help="folder that keeps the study")
    given = parser.parse_args()
    study = make_study(given.study)
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        os.environ["NAPARI_CONFIG"], os.environ["STAINLOOM_CONFIG"] = str(home / "settings.yaml"), scratch
        shutil.copytree(study, home / "simulated")
        camera = Camera(home, SIZE)
        try:
            photograph(camera, home / "simulated")
        finally:
            camera.close()
        for file, _ in camera.taken:
            _keep(home / file, given.out / file.replace(f"-{SIZE[0]}", ""))
    return 0


def _keep(picture: Path, target: Path) -> None:
    from PIL import Image

    # By coverage: rare colours, those of the legend, are kept.
    few = Image.open(picture).convert("RGB").quantize(COLORS, method=Image.Quantize.MAXCOVERAGE)
    few.save(target, optimize=True)
    print(f"{target}: {target.stat().st_size // 1000} kB", flush=True)


if __name__ == "__main__":
    sys.exit(main())
