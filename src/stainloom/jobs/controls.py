"""Controls of the simulation: what must not work, so that what works means something."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stainloom.case.regions import components
from stainloom.case.warp import Warp
from stainloom.errors import LabelError
from stainloom.io.casefile import StudyFolder
from stainloom.jobs.opening import read_snapshot

SINGLE_LEAST, SINGLE_MOST = 0.35, 0.75
"""Accuracy of the best single stain on a *realistic* study: below, the stains show too little; above, one says it all."""

_LOST_LEAST = 0.5
_CHANCE_POINTS = 0.05


@dataclass(frozen=True)
class Check:
    """What one control says: whether it holds, and in words with its figures."""

    name: str
    holds: bool
    text: str


def judge(
    fused: float, alone: Mapping[str, float], shifted: float, shuffled: float, chance: float, *, realistic: bool = True
) -> tuple[Check, ...]:
    """Whether fusing gained for the right reason.

    Parameters
    ----------
    fused
        Accuracy on held-out patients of the network of all stains; the other figures are of the same windows.
    alone
        Of each single stain's network.
    shifted
        Of a network trained and tested on stains shifted against each other.
    shuffled
        Of a network trained on labels in random order.
    chance
        Share of the largest class.
    realistic
        Whether the study is; of others no accuracy of a single stain is asked.
    """
    best = max(alone, key=lambda stain: alone[stain])
    gain, lost = fused - alone[best], fused - shifted
    checks = [
        Check("fused", gain > 0, f"all stains {fused:.1%}, best single stain ({best}) {alone[best]:.1%}"),
        Check(
            "shifted stains",
            gain > 0 and lost >= _LOST_LEAST * gain,
            f"{shifted:.1%}: loses {100 * lost:.1f} points where fusing gained {100 * gain:.1f}; half is asked",
        ),
        Check(
            "shuffled labels",
            shuffled <= chance + _CHANCE_POINTS,
            f"{shuffled:.1%} where guessing the largest class gives {chance:.1%}",
        ),
    ]
    if realistic:
        checks.append(
            Check(
                "best single stain",
                SINGLE_LEAST <= alone[best] <= SINGLE_MOST,
                f"{best} {alone[best]:.1%}; {SINGLE_LEAST:.0%} to {SINGLE_MOST:.0%} is asked of a realistic study",
            )
        )
    return tuple(checks)


def _link_slide(source: str, target: str) -> None:
    """Slides are large and never change; everything else is copied, so that the two studies share nothing."""
    if source.endswith((".tif", ".tiff", ".svs")):
        try:
            os.link(source, target)
            return
        except OSError:
            pass  # another file system, or one without links
    shutil.copy2(source, target)


def shift_stains(study: Path, target: Path, *, seed: int = 0) -> tuple[float, float]:
    """A copy of a study whose stains lie shifted against HE and each other by more than the largest painted region.

    Parameters
    ----------
    study
        Painted and aligned. Its slides are linked, not copied; its runs and patch sets are left out.
    target
        Folder of the copy; must not exist.
    seed
        Which stain is shifted which way.

    Returns
    -------
    Height and width of the largest region, um: by how far stains were shifted.
    """
    shutil.copytree(study, target, copy_function=_link_slide, ignore=shutil.ignore_patterns("runs", "patchsets"))
    folder = StudyFolder.open(target)
    regions = [
        (component.box.rows * labels.um_per_px[0], component.box.cols * labels.um_per_px[1])
        for labels in (read_snapshot(folder, case) for case in folder.cases())
        for component in components(labels.raster)[1]
    ]
    if not regions:
        raise LabelError("nothing is painted in this study", next="paint, or import outlines")
    height, width = (float(extent) for extent in np.max(regions, axis=0))
    rng = np.random.default_rng(seed)
    ways = np.array([(0.0, -1.0), (0.0, 1.0), (-1.0, 0.0), (1.0, 0.0)])
    for case in folder.cases():
        # Any two of these, and any one and HE, lie further apart than a region is high or wide.
        steps = rng.permutation(ways) * (height, width)
        for number, stain in enumerate(folder.study.moving):
            current = folder.current_warp(case.name, stain)
            if current is not None:
                step = steps[number % len(steps)] * (1 + number // len(steps))
                moved = Warp.from_affine(np.hstack([np.eye(2), step[:, None]])).then(current[0])
                folder.save_warp(case.name, stain, moved, current[1])
    return height, width
