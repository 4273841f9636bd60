"""Two sections of one block laid on one another, from coarse to fine, to one warp in um."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stainloom.case.resample import resample_image
from stainloom.case.warp import Grid, Warp
from stainloom.errors import RegistrationError
from stainloom.geometry import (
    Box,
    BoxUm,
    Points,
    Pyramid,
    centres_um,
    index_to_um,
    size_um,
    um_to_box,
    um_to_index,
)
from stainloom.progress import Progress, part, silent
from stainloom.register.flow import find_flow, folded, sample_beyond, without_folds
from stainloom.register.picture import (
    Affine,
    Gray,
    Picture,
    affine_px,
    carry_by_places,
    indices,
    one_thread,
    read_picture,
    similarity_of,
    work_scale,
)
from stainloom.register.quality import LevelReport, Quality, assess, measure
from stainloom.register.refine import Middle, bend, carry_places, sample, sift_near
from stainloom.register.rigid import (
    APART_DEGREES,
    Candidate,
    Rough,
    find_near,
    find_rough,
    refine_affine,
    turn_between,
)
from stainloom.register.settings import RegisterSettings
from stainloom.tissue import mean_density

_AFFINE_PX = 450
_NODE_PX = 8.0
_LESION_PX = 700
_LESION_NODE_UM = 8.0
_NODES_MOST = 1_000_000
_LESION_REACH_UM = 30.0
_CONTEST_PX, _CONTEST_WITHIN = 600, 0.1
_USUAL = RegisterSettings()
# Where the position was given, no other one was tried.
_NO_RIVAL = 1.0


@dataclass(frozen=True)
class Registration:
    """A warp from reference to moving um, and how far to trust it."""

    warp: Warp
    quality: Quality


def register(
    reference: Pyramid,
    moving: Pyramid,
    settings: RegisterSettings = _USUAL,
    *,
    start: Warp | None = None,
    progress: Progress = silent,
) -> Registration:
    """Lay one section on another, at any turn, plain or mirrored.

    Parameters
    ----------
    reference, moving
        The slides; only overviews of them are read.
    settings
        See `RegisterSettings`.
    start
        A warp to start from (reference um to moving um), as from pairs of points or laid by hand: the low level looks
        only near it, however well another turn or the mirror image would fit.

    Returns
    -------
    The warp over the whole reference, and its quality; same input, same bytes.

    Raises
    ------
    RegistrationError
        Where a slide has no tissue, or no position lays the sections on one another. Never an identity in disguise.

    Notes
    -----
    Low level: proposals by SIFT, outline and search, judged by local correlation. Middle level: SIFT again near the low
    level's result, then matched blocks and a robust spline. High level: symmetric optical flow, faded where it
    contradicts itself and where it would fold. Where another turn or the mirror image comes near at the low level, both are
    followed through all levels before one is chosen.
    """
    with one_thread():
        um = work_scale(reference, moving, settings.work_px)
        progress(0, 1, "reading overviews")
        fixed, other = read_picture(reference, um, "reference"), read_picture(moving, um, "moving")
        rough = _rough(fixed, other, settings, start, part(progress, 0.1, 0.5))
        found, lead = _contest(fixed, other, rough, settings, part(progress, 0.5, 0.95))
        reports = (_low_report(rough, found.low, start is not None), *found.reports)
        agreement = _agreement(fixed, other, found.affine)
        quality = assess(reports, agreement, found.correlation, found.explained, lead, found.folded)
        warp = _to_warp(reference, moving, found.affine, found.places, um, settings.grid_um)
        progress(1, 1, "aligned")
    return Registration(warp, quality)


def _rough(fixed: Picture, other: Picture, settings: RegisterSettings, start: Warp | None, progress: Progress) -> Rough:
    """The low level: where the section may lie."""
    if start is None:
        return find_rough(fixed, other, turns=settings.turns, progress=progress)
    return Rough(find_near(fixed, other, _fit_affine(fixed, start), progress=progress), (), (), _NO_RIVAL)


def _low_report(rough: Rough, low: Candidate, given: bool) -> LevelReport:
    if given:
        return LevelReport("low", "given start", True, figures={"score": low.score})
    sift = any(
        c.method == "sift" and c.score >= 0.9 * low.score and turn_between(c.affine, low.affine) < APART_DEGREES
        for c in rough.named
    )
    figures = {f"{c.method}_score": c.score for c in rough.named}
    figures |= {f"{c.method}_support": c.support for c in rough.named if c.method != "outline"}
    figures |= {"score": low.score, "lead": rough.lead, "rivals": len(rough.rivals)}
    fallback = {"search": "search over turns", "outline": "outline"}.get(low.method, low.method)
    return LevelReport("low", low.method, sift, "" if sift else fallback, figures)


@dataclass(frozen=True, eq=False)
class _Followed:
    """A position of the low level, followed through the middle and the high level."""

    low: Candidate
    affine: Affine
    places: Points
    correlation: float
    explained: float
    folded: float
    reports: tuple[LevelReport, LevelReport]


def _contest(
    fixed: Picture, other: Picture, rough: Rough, settings: RegisterSettings, progress: Progress
) -> tuple[_Followed, float]:
    """The position that fits best once all levels were gone through, and its lead over the best other one.

    Notes
    -----
    Layered tissue fits its mirror image nearly as well as itself in small pictures; fine structure tells them apart. On the
    simulated aorta (seed 1, 24 pairs) the low level alone took four mirror images, three of which were then called good; all
    24 lie right after this. Those left behind clearly in pictures of 600 px are not followed in full.
    """
    hopeful, lead = (rough.best, *rough.rivals), rough.lead
    if len(hopeful) > 1 and max(fixed.shape) > _CONTEST_PX:
        small = fixed.longer(_CONTEST_PX)
        small_other = other.at(small.um_per_px)
        tried = _follow_all(small, small_other, hopeful, settings, part(progress, 0, 0.4))
        lead = _lead(tried, lead)
        hopeful = tuple(each.low for each in tried if each.correlation > tried[0].correlation - _CONTEST_WITHIN)
    followed = _follow_all(fixed, other, hopeful, settings, part(progress, 0.4, 1))
    return followed[0], _lead(followed, lead)


def _lead(followed: Sequence[_Followed], usual: float) -> float:
    """By how much the first beats the best of the others that still lie elsewhere; without any `usual`."""
    best = followed[0]
    others = [each.correlation for each in followed[1:] if turn_between(each.affine, best.affine) > APART_DEGREES]
    return best.correlation - max(others) if others else usual


def _follow_all(
    fixed: Picture, other: Picture, positions: Sequence[Candidate], settings: RegisterSettings, progress: Progress
) -> list[_Followed]:
    """Positions followed through all levels, the best first."""
    followed = []
    for number, low in enumerate(positions):
        share = part(progress, number / len(positions), (number + 1) / len(positions))
        followed.append(_follow(fixed, other, low, settings, share))
    return sorted(followed, key=lambda each: -each.correlation)


def _follow(
    fixed: Picture, other: Picture, low: Candidate, settings: RegisterSettings, progress: Progress
) -> _Followed:
    affine, middle, middle_report = _middle(fixed, other, low, part(progress, 0, 0.55))
    places, still_folded, high_report = _high(fixed, other, affine, middle, settings, part(progress, 0.55, 1))
    correlation, share = measure(fixed, other, places)
    return _Followed(low, affine, places, correlation, share, still_folded, (middle_report, high_report))


def _fit_affine(fixed: Picture, start: Warp) -> Affine:
    """The affine nearest to a warp over the tissue."""
    places = index_to_um(np.argwhere(fixed.longer(60).tissue), (fixed.longer(60).um_per_px,) * 2)
    targets = start.points(places)
    known = np.isfinite(targets).all(axis=1)
    if int(known.sum()) < 6:
        raise RegistrationError(
            "the given start says nothing about the tissue",
            expected="a warp defined over the reference's tissue",
            found=f"{int(known.sum())} defined places",
            next="register without a start, or give pairs of points on the tissue",
        )
    solution, *_ = np.linalg.lstsq(
        np.hstack([places[known], np.ones((int(known.sum()), 1))]), targets[known], rcond=None
    )
    return np.asarray(solution.T, np.float64)


def _middle(fixed: Picture, other: Picture, low: Candidate, progress: Progress) -> tuple[Affine, Middle, LevelReport]:
    progress(0, 1, "middle resolution: landmarks")
    small = fixed.longer(_AFFINE_PX)
    small_other = other.at(small.um_per_px)
    searched = refine_affine(small, small_other, low, 31, _AFFINE_PX)
    near, count = sift_near(small, small_other, low, 31)
    by_sift = near.method == "sift" and near is not low
    if by_sift:
        near = refine_affine(small, small_other, near, 31, _AFFINE_PX)
    chosen = near if by_sift and near.score > searched.score else searched
    progress(0.4, 1, "middle resolution: details")
    middle = bend(fixed, other, chosen.affine, progress=part(progress, 0.4, 1.0))
    report = LevelReport(
        "middle",
        ("SIFT, " if chosen is near else "local correlation, ") + ("blocks and spline" if middle.bent else "affine"),
        middle.bent,
        "" if middle.bent else "affine of the low level",
        {"sift_matches": count, "score": chosen.score, "blocks": len(middle.blocks.places)},
    )
    return chosen.affine, middle, report


def _agreement(fixed: Picture, other: Picture, affine: Affine) -> float:
    """Agreement of forward and backward flow straight from the affine, over the tissue."""
    small = fixed.longer(_AFFINE_PX)
    places, _ = carry_places(small.shape, affine_px(affine, small.um_per_px))
    carried, inside = carry_by_places(other.at(small.um_per_px).soft(1.0), places)
    return float(find_flow(small.soft(1.0), carried, inside).agreement[small.tissue].mean())


def _high(
    fixed: Picture, other: Picture, affine: Affine, middle: Middle, settings: RegisterSettings, progress: Progress
) -> tuple[Points, float, LevelReport]:
    """The final map, the share of tissue where it still folds, and the report."""
    progress(0, 1, "high resolution: fibres and nuclei")
    mirrored = bool(np.linalg.det(affine[:, :2]) < 0)
    straight, _ = carry_places(fixed.shape, affine_px(affine, fixed.um_per_px))
    base = middle.places
    if folded(base, mirrored)[fixed.tissue].mean() > 0.001:
        base = straight
    places, folds, agreed = base, 0, 0.0
    if settings.flow:
        carried, inside = carry_by_places(other.soft(1.0), base)
        flow = find_flow(fixed.soft(1.0), carried, inside)
        agreed = float(flow.agreement[fixed.tissue].mean())
        places, folds = without_folds(base, flow.shift, mirrored)
    bad = float(folded(places, mirrored)[fixed.tissue].mean())
    before, _ = measure(fixed, other, base)
    after, _ = measure(fixed, other, places)
    better = settings.flow and after > before
    if not better:
        places, bad = base, float(folded(base, mirrored)[fixed.tissue].mean())
    fallback = "" if better else "affine" if base is straight else "spline of the middle level"
    figures = {"agreement": agreed, "correlation_before": before, "correlation_after": after, "folded_px": folds}
    return places, bad, LevelReport("high", "symmetric optical flow" if better else fallback, better, fallback, figures)


def _to_warp(reference: Pyramid, moving: Pyramid, affine: Affine, places: Points, um: float, grid_um: float) -> Warp:
    """A map between work pictures as a warp in um over the whole reference."""
    extent = BoxUm(0.0, 0.0, *size_um(reference.levels[0], reference.um_per_px[0]))
    grid = Grid.covering(
        extent, max(grid_um or _NODE_PX * um, math.sqrt(extent.rows_um * extent.cols_um / _NODES_MOST))
    )
    nodes = grid.nodes_um
    targets = index_to_um(sample_beyond(places, um_to_index(nodes, (um, um))), (um, um))
    straight = nodes @ affine[:, :2].T + affine[:, 2]
    return Warp.from_grid(
        affine, grid.with_displacement(targets - straight), size_um(moving.levels[0], moving.um_per_px[0])
    )


def refine_lesions(
    reference: Pyramid,
    moving: Pyramid,
    warp: Warp,
    boxes: Sequence[BoxUm],
    settings: RegisterSettings = _USUAL,
    *,
    progress: Progress = silent,
) -> Registration:
    """Register gray values again inside lesion boxes, at a finer scale; outside them the given warp stands.

    Parameters
    ----------
    reference, moving
        The slides.
    warp
        Reference um to moving um, as `register` gave it.
    boxes
        Rectangles on the reference, um.
    settings
        `work_px` and `grid_um` are not used here.

    Returns
    -------
    A new warp (with its own id): a fine shift on the reference, then the given warp; and its quality.

    Raises
    ------
    RegistrationError
        Where there is no box on the reference, or no tissue.
    """
    extent_um = size_um(reference.levels[0], reference.um_per_px[0])
    extent = BoxUm(0.0, 0.0, *extent_um)
    with one_thread():
        spacing = max(_LESION_NODE_UM, math.sqrt(extent_um[0] * extent_um[1] / _NODES_MOST))
        grid = Grid.covering(extent, spacing)
        total = np.zeros(grid.displacement_um.shape, np.float64)
        share = np.zeros(grid.displacement_um.shape[:2])
        improved = tried = 0
        for number, box in enumerate(boxes):
            progress(number, max(1, len(boxes)) + 1, "high resolution: inside lesions")
            found = _lesion_shift(reference, moving, warp, box)
            if found is None:
                continue
            tried += 1
            improved += found.better
            if found.better:
                _blend(total, share, grid, found)
        if not tried:
            raise RegistrationError(
                "there is no lesion to refine the alignment in",
                expected="at least one painted lesion on the reference that the moving section covers",
                found=f"{len(boxes)} boxes, none usable",
                next="paint lesions first, or use the alignment as it is",
            )
        total /= np.maximum(share, 1.0)[..., None]
        total = np.clip(total, -_LESION_REACH_UM, _LESION_REACH_UM)
        total = _kept_inside(total, grid.nodes_um, extent_um)
        fine = Warp.from_grid(np.eye(2, 3), grid.with_displacement(total), extent_um)
        result = fine.then(warp)
        report = LevelReport(
            "high in lesions",
            "symmetric optical flow" if improved else "the given alignment",
            improved > 0,
            "" if improved else "the given alignment",
            {
                "lesions": len(boxes),
                "tried": tried,
                "improved": improved,
                "largest_shift_um": float(np.abs(total).max()),
            },
        )
        quality = _quality_of(reference, moving, result, settings, report)
    return Registration(result, quality)


@dataclass(frozen=True, eq=False)
class _LesionShift:
    box: Box
    um: float
    shift_um: NDArray[np.float64]
    better: bool


def _lesion_shift(reference: Pyramid, moving: Pyramid, warp: Warp, lesion: BoxUm) -> _LesionShift | None:
    """What the flow says in one lesion with a rim of its size around it; None where one slide is missing there."""
    rim = max(60.0, 0.25 * max(lesion.rows_um, lesion.cols_um))
    wide = BoxUm(lesion.row_um - rim, lesion.col_um - rim, lesion.rows_um + 2 * rim, lesion.cols_um + 2 * rim)
    finest = max(*reference.um_per_px[0], *moving.um_per_px[0])
    um = max(finest, 1.0, max(wide.rows_um, wide.cols_um) / _LESION_PX)
    box = um_to_box(wide, (um, um))
    if min(box.shape) < 48:
        box = box.grow((48 - min(box.shape)) // 2 + 1)
    fixed = _soft(resample_image(reference, None, box, um))
    carried = _soft(resample_image(moving, warp, box, um))
    centres = centres_um(box, (um, um))
    places = warp.points(centres)
    with np.errstate(invalid="ignore"):
        inside = np.all((places >= 0) & (places <= np.array(size_um(moving.levels[0], moving.um_per_px[0]))), axis=-1)
        inside &= np.all(
            (centres >= 0) & (centres <= np.array(size_um(reference.levels[0], reference.um_per_px[0]))), axis=-1
        )
    if inside.mean() < 0.3:
        return None
    flow = find_flow(fixed, carried, inside)
    grid = indices(box.shape)
    shift = flow.shift * _rim_weight(box.shape)[..., None]
    moved, held = carry_by_places(carried, grid + shift)
    before = similarity_of(fixed, carried, inside & held, 31)
    after = similarity_of(fixed, moved, inside & held, 31)
    turned_over = bool(folded(grid + shift, False).any())
    return _LesionShift(box, um, shift * um, after > before and not turned_over)


def _soft(rgb: NDArray[np.uint8]) -> Gray:
    density = mean_density(rgb)
    strongest = max(float(np.quantile(density, 0.99)), 0.05)
    return np.asarray(cv2.GaussianBlur(np.sqrt(np.clip(density / strongest, 0, 1.5)), (0, 0), 1.0), np.float32)


def _rim_weight(shape: tuple[int, int]) -> NDArray[np.float64]:
    """1 in the middle of a box, falling to 0 at its rim over an eighth of each side."""
    rows, cols = (np.clip(np.minimum(np.arange(n), np.arange(n)[::-1]) / max(1, n // 8), 0, 1) for n in shape)
    return np.outer(rows * rows * (3 - 2 * rows), cols * cols * (3 - 2 * cols))


def _blend(total: NDArray[np.float64], share: NDArray[np.float64], grid: Grid, found: _LesionShift) -> None:
    """Add one lesion's shift to the nodes that its box holds."""
    place = um_to_index(grid.nodes_um, (found.um, found.um)) - np.array([found.box.row, found.box.col])
    held = np.all((place >= 0) & (place <= np.array(found.box.shape) - 1), axis=-1)
    total[held] += sample(found.shift_um, place[held])
    share[held] += 1.0


def _kept_inside(shift: NDArray[np.float64], nodes: Points, extent_um: tuple[float, float]) -> NDArray[np.float64]:
    """Shifts that never leave the reference, beyond which the given warp says nothing."""
    low, high = np.minimum(nodes, 0.0), np.maximum(nodes, np.array(extent_um))
    return np.clip(nodes + shift, low, high) - nodes


def _quality_of(
    reference: Pyramid, moving: Pyramid, warp: Warp, settings: RegisterSettings, report: LevelReport
) -> Quality:
    """Quality of a warp that was not made here from the start."""
    um = work_scale(reference, moving, settings.work_px)
    fixed, other = read_picture(reference, um, "reference"), read_picture(moving, um, "moving")
    grid = index_to_um(indices(fixed.shape), (um, um))
    places = np.nan_to_num(um_to_index(warp.points(grid), (um, um)), nan=-1.0)
    correlation, share = measure(fixed, other, places)
    affine = _fit_affine(fixed, warp)
    bad = float(folded(places, bool(np.linalg.det(affine[:, :2]) < 0))[fixed.tissue].mean())
    return assess((report,), _agreement(fixed, other, affine), correlation, share, _NO_RIVAL, bad)
