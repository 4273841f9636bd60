"""Whether a simulated study flatters: what mean colours alone tell, and whether its figures lie in published ranges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stainloom.geometry import Box, Pixels, um_to_index
from stainloom.progress import Progress, silent
from stainloom.sample.aorta import Block, SimulationSettings
from stainloom.sample.noise import generator
from stainloom.sample.scanner import SCANNERS
from stainloom.sample.staining import STAIN_NAMES

WINDOW_UM = 28.0
_COVER_LEAST = 0.75
_DRAWS = 2000
COLOUR_MARGIN = 0.10
"""By how much a guess from mean colours may beat chance."""


@dataclass(frozen=True)
class Range:
    """A figure beside the range it should lie in.

    Attributes
    ----------
    what
        The figure, with its unit.
    low, high
        The range.
    found
        Smallest and largest value in the study.
    source
        Where the range comes from.
    """

    what: str
    low: float
    high: float
    found: tuple[float, float]
    source: str

    @property
    def inside(self) -> bool:
        """Whether every value lies in the range."""
        return self.low <= self.found[0] and self.found[1] <= self.high


@dataclass(frozen=True)
class CheckFigures:
    """What was found about a simulated study. It is simulated, and its figures say nothing about patients.

    Attributes
    ----------
    windows
        How many windows were looked at, by class id.
    chance
        Accuracy of always saying the commonest class of the training patients.
    colours
        Accuracy of logistic regression on the mean colours of all stains, patients held out.
    colours_within
        The same after each patient's own mean is taken off: what colour tells once stain differences are gone.
    shared_nuclei
        Mean share of a section's nuclei that another section shows too, by distance in sections.
    scanner_class_p
        Probability of an association of scanner and class mix at least this strong by chance alone.
    ranges
        Figures beside their published ranges.
    failed
        Slides that failed, by patient.
    """

    windows: dict[int, int]
    chance: float
    colours: float
    colours_within: float
    shared_nuclei: dict[int, float]
    scanner_class_p: float
    ranges: tuple[Range, ...]
    failed: dict[str, dict[str, str]]

    @property
    def flatters(self) -> bool:
        """Whether mean colours tell more than they may."""
        return self.colours > self.chance + COLOUR_MARGIN

    def lines(self) -> list[str]:
        """The figures as text, a line each."""
        verdict = "TOO MUCH" if self.flatters else "as it should be"
        counts = ", ".join(f"class {label}: {count}" for label, count in sorted(self.windows.items()))
        shared = ", ".join(
            f"{100 * share:.0f} % at distance {gap}" for gap, share in sorted(self.shared_nuclei.items())
        )
        return [
            "SIMULATED study: its figures say nothing about patients",
            f"windows of {WINDOW_UM:.0f} um: {counts}",
            f"logistic regression on mean colours, patients held out: {self.colours:.3f}, chance {self.chance:.3f}, {verdict}",
            f"the same with each patient's own mean taken off: {self.colours_within:.3f}",
            f"nuclei shared with another section: {shared}",
            f"scanner and class mix: p = {self.scanner_class_p:.2f} for an association (permutation)",
            *(
                f"{one.what}: {one.found[0]:.3g} to {one.found[1]:.3g}, expected {one.low:g} to {one.high:g}"
                f"{'' if one.inside else ' OUTSIDE'} ({one.source})"
                for one in self.ranges
            ),
            *(f"{patient}: {stain} {why}" for patient, stains in self.failed.items() for stain, why in stains.items()),
        ]


def check_study(
    settings: SimulationSettings,
    blocks: Sequence[Block],
    *,
    read: Callable[[Block, str, Box], Pixels] | None = None,
    progress: Progress = silent,
) -> CheckFigures:
    """Look at a simulated study as a sceptic would.

    Parameters
    ----------
    settings
        Of the study.
    blocks
        Its blocks; colours need at least two.
    read
        How to read a box of a stain's scan, for instance from the written slides; without it boxes are rendered.
    progress
        Told block by block.

    Returns
    -------
    The figures; nan where one patient allows none.

    Notes
    -----
    Windows of 28 um lie side by side in each painted area of HE and are read at the corresponding places of all stains by
    the true warp, upright, so that no error of registration hides a shortcut.
    """
    if not blocks:
        raise ValueError("a study without blocks cannot be checked")
    colours, labels, owners = [], [], []
    densities: dict[str, list[float]] = {name: [] for name in STAIN_NAMES}
    for number, block in enumerate(blocks):
        progress(number, len(blocks), f"checking {block.name}")
        means, found = window_colours(block, read or Block.render)
        colours.append(means)
        labels.append(found)
        owners.append(np.full(len(found), number))
        for place, name in enumerate(STAIN_NAMES):
            if len(means) and not block.staining(name).failed:
                densities[name].append(float(np.median(-np.log10((means[:, place] + 1) / 256).mean(axis=1))))
    progress(len(blocks), len(blocks), "checked")
    mean_colours, label, owner = np.concatenate(colours), np.concatenate(labels), np.concatenate(owners)
    chance, plain, within = _guess(mean_colours.reshape(len(label), -1), label, owner)
    facts = [block.facts() for block in blocks]
    return CheckFigures(
        windows={int(k): int(n) for k, n in zip(*np.unique(label, return_counts=True), strict=True)},
        chance=chance,
        colours=plain,
        colours_within=within,
        shared_nuclei=_shared(blocks),
        scanner_class_p=scanner_class_p(blocks, seed=settings.seed),
        ranges=_ranges(blocks, densities),
        failed={fact["patient"]: fact["failed"] for fact in facts if fact["failed"]},
    )


def window_colours(
    block: Block, read: Callable[[Block, str, Box], Pixels] = Block.render
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean colours of the windows of a block's painted areas.

    Returns
    -------
    (windows, stains, 3) mean R, G, B of 0 to 255, and (windows,) class ids.
    """
    corners, labels = _windows(block)
    means = np.full((len(labels), len(STAIN_NAMES), 3), np.nan)
    if not len(labels):
        return means, labels
    scale = block.um_per_px
    half = max(1, round(WINDOW_UM / 2 / scale[0]))
    for place, name in enumerate(STAIN_NAMES):
        middles = block.truth_warp(name).points(corners + WINDOW_UM / 2)
        index = np.rint(um_to_index(middles, scale)).astype(int)
        for number, (row, col) in enumerate(index):
            picture = read(block, name, Box(int(row) - half, int(col) - half, 2 * half, 2 * half))
            means[number, place] = picture.reshape(-1, 3).mean(axis=0)
    return means, labels


def _windows(block: Block) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Upper left corners (um of HE) and class ids of windows that an area fills to three quarters."""
    step = 4.0
    painted = block.painted(step)
    side = int(WINDOW_UM / step)
    corners, labels = [], []
    for row in range(0, painted.shape[0] - side, side):
        for col in range(0, painted.shape[1] - side, side):
            counts = np.bincount(painted[row : row + side, col : col + side].reshape(-1), minlength=7)
            label = int(np.argmax(counts[1:])) + 1
            if counts[label] >= _COVER_LEAST * side * side:
                corners.append((row * step, col * step))
                labels.append(label)
    return np.array(corners, np.float64).reshape(-1, 2), np.array(labels, np.int64)


def _guess(
    colours: NDArray[np.float64], labels: NDArray[np.int64], owners: NDArray[np.int64]
) -> tuple[float, float, float]:
    """Chance, accuracy from mean colours, and the same with each patient's mean taken off; nan with one patient."""
    keep = np.all(np.isfinite(colours), axis=1)
    colours, labels, owners = colours[keep], labels[keep], owners[keep]
    patients = len(np.unique(owners))
    if patients < 2 or len(np.unique(labels)) < 2:
        return float("nan"), float("nan"), float("nan")
    centred = colours.copy()
    for owner in np.unique(owners):
        centred[owners == owner] -= colours[owners == owner].mean(axis=0)
    right = np.zeros((3, len(labels)), np.bool_)
    for train, test in GroupKFold(min(5, patients)).split(colours, labels, owners):
        commonest = np.bincount(labels[train]).argmax()
        right[0, test] = labels[test] == commonest
        if len(np.unique(labels[train])) < 2:
            right[1:, test] = right[0, test]
            continue
        for row, features in ((1, colours), (2, centred)):
            model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
            right[row, test] = model.fit(features[train], labels[train]).predict(features[test]) == labels[test]
    chance = max(1 / len(np.unique(labels)), float(right[0].mean()))
    return chance, float(right[1].mean()), float(right[2].mean())


def _shared(blocks: Sequence[Block]) -> dict[int, float]:
    shares: dict[int, list[float]] = {}
    for block in blocks:
        for pair, share in block.facts()["shared_nuclei"].items():
            one, other = (STAIN_NAMES.index(name) for name in pair.split(" and "))
            shares.setdefault(other - one, []).append(share)
    return {gap: float(np.mean(values)) for gap, values in shares.items()}


def class_mix(block: Block) -> NDArray[np.float64]:
    """Share of each class in a block's painted area, (6,), from its parameters alone."""
    mix = np.zeros(6)
    for area in block.tissue.areas:
        mix[area.label - 1] += area.axes_um[0] * area.axes_um[1]
    total = float(mix.sum())
    return mix / total if total else mix


def scanner_class_p(blocks: Sequence[Block], seed: int = 0) -> float:
    """How probable an association of scanner and class mix at least this strong is by chance alone; nan for one scanner.

    Notes
    -----
    Permutation test on the spread of the scanners' mean class mixes.
    """
    mixes = np.array([class_mix(block) for block in blocks])
    machines = np.array([SCANNERS.index(block.scanner) for block in blocks])
    if len(np.unique(machines)) < 2:
        return float("nan")

    def spread(order: NDArray[np.int64]) -> float:
        groups = [mixes[order == machine] for machine in np.unique(order)]
        return float(sum(len(group) * np.sum((group.mean(axis=0) - mixes.mean(axis=0)) ** 2) for group in groups))

    rng, found = generator(seed, 30), spread(machines)
    larger = sum(spread(rng.permutation(machines)) >= found - 1e-12 for _ in range(_DRAWS))
    return (larger + 1) / (_DRAWS + 1)


def _ranges(blocks: Sequence[Block], densities: dict[str, list[float]]) -> tuple[Range, ...]:
    spacings = [block.tissue.spacing_um for block in blocks]
    nuclei = [value for block in blocks for value in block.facts()["nuclei_per_mm2"].values()]
    angles = [angle for block in blocks for name in STAIN_NAMES for angle in block.staining(name).turned_deg()]
    dense = [value for values in densities.values() for value in values]
    rows = [
        (
            "spacing of laminae, um",
            10.0,
            20.0,
            spacings,
            "Wolinsky and Glagov 1967, doi 10.1161/01.RES.20.1.99",
        ),
        (
            "nuclei per mm2 of normal media",
            600.0,
            2600.0,
            nuclei,
            "1e5 per mm3 (PubMed 83888) in 6 um, to one each 25 um of a layer of 15 um",
        ),
        (
            "turn of dye directions against the published, degrees",
            0.0,
            29.0,
            angles,
            "authors differ by 10 to 29 degrees; Ruifrok and Johnston 2001",
        ),
        (
            "median optical density of media, mean of R, G, B",
            0.09,
            0.5,
            dense,
            "real HE, PAS and Masson slides have medians of 0.125 to 0.432",
        ),
    ]
    return tuple(
        Range(what, low, high, (float(min(values)), float(max(values))), source)
        for what, low, high, values, source in rows
        if values
    )
