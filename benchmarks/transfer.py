"""Dice of carried labels on a simulated study, in each stain's own frame, against the truth beside it.

    python benchmarks/transfer.py STUDY [--least-mm2 0.05]

STUDY is simulated, aligned and carried; its truth lies in STUDY.truth. Three figures a class and stain, medians over lesions
(connected regions of HE's outline as it lies in that section) of at least the given area, lost tissue left out:
the labels carried by the registration and those carried by the true warp, both against HE's outline as it lies in that
section, and the registered ones against the section's own mask at its own depth.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import cv2
import numpy as np

from stainloom.case.regions import components
from stainloom.case.warp import Warp
from stainloom.io.arrays import read_arrays
from stainloom.io.casefile import StudyFolder
from stainloom.io.snapshot import read_labels
from stainloom.labels.transfer import carry_labels, dice

NEAR_UM = 60.0
TRUE_WARP, REGISTERED = 0.97, 0.80


def around(mask: np.ndarray, um_per_px: float) -> np.ndarray:
    """The lesion and what lies near it: where a carried label counts for or against this lesion and not its neighbours."""
    px = int(NEAR_UM / um_per_px)
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * px + 1, 2 * px + 1), np.uint8)) > 0


def measure(study: Path, least_mm2: float) -> list[dict[str, object]]:
    """One row a lesion and stain."""
    folder = StudyFolder.open(study)
    truth_folder = study.with_name(f"{study.name}.truth")
    shorts = {lesion.id: lesion.short for lesion in folder.study.lesions}
    rows: list[dict[str, object]] = []
    for case in folder.cases():
        labels = read_labels(folder.snapshot_path(case.name))
        for stain in folder.study.moving:
            carried = folder.carried(case.name, stain)
            truth = read_arrays(truth_folder / case.name / f"{stain}.npz", 1 << 30)
            warp = Warp.from_arrays({k.removeprefix("warp_"): v for k, v in truth.items() if k.startswith("warp_")})
            scale = (folder.study.label_um, folder.study.label_um)
            by_truth = carry_labels(labels.raster, labels.um_per_px, warp, case.slide(stain).size_um, scale)
            outline, own, kept = truth["reference_mask"], truth["mask"], ~truth["lost"].astype(bool)
            found = folder.current_warp(case.name, stain)
            numbers, regions = components(outline)
            for number, region in enumerate(regions, start=1):
                mask = numbers == number
                area = float(mask.sum()) * scale[0] * scale[1] / 1e6
                if area < least_mm2:
                    continue
                near, kind = around(mask, scale[0]) & kept, region.class_id
                rows.append(
                    {
                        "case": case.name,
                        "stain": stain,
                        "class": shorts[kind],
                        "mm2": area,
                        "verdict": found[1].get("verdict") if found else "not aligned",
                        "registered": dice(carried.raster == kind, mask, near) if carried else 0.0,
                        "true_warp": dice(by_truth == kind, mask, near),
                        "own_mask": dice(carried.raster == kind, own == kind, near) if carried else 0.0,
                    }
                )
    return rows


def table(rows: list[dict[str, object]]) -> list[str]:
    """Medians and lowest by class and stain."""
    lines = [f"{'class':8} {'stain':8} {'lesions':>7} {'registered':>18} {'true warp':>18} {'own mask':>18}"]
    for kind, stain in sorted({(str(row["class"]), str(row["stain"])) for row in rows}):
        chosen = [row for row in rows if (row["class"], row["stain"]) == (kind, stain)]
        cells = [
            f"{np.median([row[key] for row in chosen]):8.3f} (low {min(row[key] for row in chosen):.3f})"
            for key in ("registered", "true_warp", "own_mask")
        ]
        lines.append(f"{kind:8} {stain:8} {len(chosen):7} " + " ".join(f"{cell:>18}" for cell in cells))
    return lines


def main() -> int:
    """Print the table; 1 where a median of a class and stain is below what it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--least-mm2", type=float, default=0.05)
    parser.add_argument("--json", type=Path, help="write one row a lesion and stain")
    options = parser.parse_args()
    rows = measure(options.study, options.least_mm2)
    print("\n".join(table(rows)))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    pairs = {(row["class"], row["stain"]) for row in rows}
    medians = [
        tuple(
            np.median([row[key] for row in rows if (row["class"], row["stain"]) == pair])
            for key in ("registered", "true_warp")
        )
        for pair in pairs
    ]
    held = bool(rows) and all(one >= REGISTERED and true >= TRUE_WARP for one, true in medians)
    low = [row for row in rows if row["registered"] < REGISTERED and row["verdict"] == "good"]
    print(f"{len(rows)} lesions; {len(low)} of stains called good lie below {REGISTERED}")
    for row in low:
        print(f"  {row['case']}, {row['stain']}, {row['class']}: {row['registered']:.3f}")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
