"""Landmark errors of registration on the real five-stain case: HE to each other stain, before and after.

    python benchmarks/landmarks.py [DATA]

DATA is the folder of real slides (else STAINLOOM_DATA, else ../shared/data). Errors are medians over the 80 landmarks of
Borovec et al. (doi 10.1109/ICIP.2018.8451040); relative ones are distance / diagonal of the moving image.
"""

from __future__ import annotations

import csv
import os
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from stainloom.geometry import ArrayPyramid, edge_to_um, size_um
from stainloom.register.register import register

STAINS = ("CD31", "Cc10", "Ki67", "proSPC")
UM_PER_PX = 3.48
LANDMARK_SCALE = 0.1
TARGET = 0.012


def landmarks(folder: Path, stain: str) -> dict[int, tuple[float, float]]:
    """Landmarks by number, px counted from the image's corner, (row, col)."""
    with open(folder / "landmarks" / f"{stain}.csv", newline="") as file:
        rows = [row for row in list(csv.reader(file))[1:] if row]
    return {int(row[0]): (float(row[2]) * LANDMARK_SCALE, float(row[1]) * LANDMARK_SCALE) for row in rows}


def main() -> int:
    """Print the table; 1 where a pair is worse than 0.012 and not flagged."""
    home = Path(__file__).parents[1]
    data = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("STAINLOOM_DATA", home / ".." / "shared" / "data"))
    folder = data / "lung-lesion-3"
    slides = {
        name: ArrayPyramid(np.asarray(Image.open(folder / f"{name}.jpg").convert("RGB")), UM_PER_PX)
        for name in ("HE", *STAINS)
    }
    points = {name: landmarks(folder, name) for name in slides}
    print(f"{'pair':<12}{'before':>8}{'after':>8}{'px':>7}{'um':>7}{'p90 um':>8}{'CPU s':>7}  verdict")
    errors, bad = [], 0
    for stain in STAINS:
        shared = sorted(set(points["HE"]) & set(points[stain]))
        fixed, moving = (
            edge_to_um(np.array([points[name][i] for i in shared]), (UM_PER_PX,) * 2) for name in ("HE", stain)
        )
        diagonal = float(np.hypot(*size_um(slides[stain].levels[0], slides[stain].um_per_px[0])))
        start = time.process_time()
        result = register(slides["HE"], slides[stain])
        seconds = time.process_time() - start
        before = float(np.median(np.linalg.norm(fixed - moving, axis=1)))
        distances = np.linalg.norm(result.warp.points(fixed) - moving, axis=1)
        after, tenth = float(np.median(distances)), float(np.quantile(distances, 0.9))
        errors.append(after / diagonal)
        bad += after / diagonal > TARGET and result.quality.trusted
        print(
            f"HE/{stain:<9}{before / diagonal:8.4f}{after / diagonal:8.4f}{after / UM_PER_PX:7.1f}{after:7.1f}"
            f"{tenth:8.1f}{seconds:7.1f}  {result.quality.verdict}"
        )
    print(f"mean of medians {np.mean(errors):.4f}, worst {max(errors):.4f}; worse than {TARGET} and trusted: {bad}")
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
