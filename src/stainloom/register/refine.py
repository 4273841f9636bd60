"""The middle level: SIFT again and small blocks, both only near where the low level says; then a smooth spline.

Everything here is in indices of two work pictures of one scale, (row, col).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from stainloom.geometry import Points, index_to_um, um_to_index
from stainloom.progress import Progress, silent
from stainloom.register.picture import (
    Affine,
    Gray,
    Mask,
    Picture,
    affine_px,
    boxed,
    carry_by_places,
    indices,
)
from stainloom.register.rigid import Candidate, judged_score, sift_points

_NEAR_SHARE = 0.04
_SIFT_LEAST = 12
_TEXTURE_LEAST = 0.02
_TISSUE_LEAST = 0.3
_APART_PX = 6
_BLOCKS_LEAST = 12
_BLOCKS_MOST = 450
_NODE_PX = 8


def sift_near(reference: Picture, moving: Picture, start: Candidate, window: int) -> tuple[Candidate, int]:
    """An affine from SIFT points that match within 4 % of the extent of where the start expects them.

    Parameters
    ----------
    reference, moving
        Pictures of one scale.
    start
        The low level's result; it stays fixed as the prediction.
    window
        Of the local correlation that judges, px.

    Returns
    -------
    The candidate (its score by local correlation; the start itself where too few points match), and the number of
    points that agree.
    """
    um = reference.um_per_px
    places, _ = carry_places(reference.shape, affine_px(start.affine, um))
    carried, inside = carry_by_places(moving.gray, places)
    first, words = sift_points(reference.gray)
    second, other_words = sift_points(np.where(inside, carried, 0).astype(np.float32))
    pairs = _match_near(first, words, second, other_words, _NEAR_SHARE * max(reference.shape))
    if len(pairs) < _SIFT_LEAST:
        return start, len(pairs)
    cv2.setRNGSeed(2)
    fitted, inliers = cv2.estimateAffine2D(
        first[pairs[:, 0]], second[pairs[:, 1]], method=cv2.RANSAC, ransacReprojThreshold=4.0, maxIters=3000
    )
    if fitted is None or int(inliers.sum()) < _SIFT_LEAST or not 0.7 < np.linalg.det(fitted[:, :2]) < 1.4:
        return start, 0 if inliers is None else int(inliers.sum())
    linear = start.affine[:, :2] @ fitted[:, :2]
    zero = index_to_um(fitted[:, 2], (um, um)) - fitted[:, :2] @ np.array([um / 2, um / 2])
    affine = np.hstack([linear, (start.affine[:, :2] @ zero + start.affine[:, 2])[:, None]])
    count = int(inliers.sum())
    return Candidate("sift", affine, judged_score(reference, moving, affine, window), float(count)), count


def _match_near(
    first: Points, words: NDArray[np.float32], second: Points, other_words: NDArray[np.float32], reach_px: float
) -> NDArray[np.intp]:
    """Mutual matches among points at most `reach_px` apart."""
    if len(first) < 3 or len(second) < 3:
        return np.zeros((0, 2), np.intp)
    apart = ((first[:, None] - second[None]) ** 2).sum(axis=-1)
    likeness = np.where(apart <= reach_px**2, words @ other_words.T, -1)
    best = likeness.argmax(axis=1)
    mutual = likeness.argmax(axis=0)[best] == np.arange(len(first))
    value = likeness[np.arange(len(first)), best]
    index = np.flatnonzero(mutual & (value > 0.6))
    return np.stack([index, best[index]], axis=1)


def carry_places(shape: tuple[int, int], affine: Affine) -> tuple[Points, Points]:
    """Where an affine between indices takes every pixel, and the pixels, both (rows, cols, 2)."""
    grid = indices(shape)
    return grid @ affine[:, :2].T + affine[:, 2], grid


@dataclass(frozen=True, eq=False)
class Blocks:
    """Places of the reference that were found again.

    Attributes
    ----------
    places, targets
        (n, 2) indices on the reference and on the moving picture.
    weights
        (n,) how sure, mean 1.
    peaks
        (n,) correlation of each block at its best place.
    steps
        (rows, cols) of the raster each block stands on, for its neighbours.
    """

    places: Points
    targets: Points
    weights: NDArray[np.float64]
    peaks: NDArray[np.float64]
    steps: NDArray[np.intp]


def find_blocks(fixed: Gray, source: Gray, tissue: Mask, places: Points, block_px: int, reach_px: int) -> Blocks:
    """Blocks of the reference found again on the moving picture near where the current map puts them.

    Parameters
    ----------
    fixed, source
        Reference and moving gray pictures.
    tissue
        Of the reference.
    places
        The current map, (rows, cols, 2) indices on the moving picture.
    block_px
        Side of a block; they stand half a side apart.
    reach_px
        How far a block is looked for.
    """
    carried, inside = carry_by_places(source, places)
    rows, cols = fixed.shape
    step = max(block_px // 2, int(np.sqrt(rows * cols / _BLOCKS_MOST)))
    half = block_px // 2
    covered = boxed(tissue, block_px)
    found: list[tuple[float, ...]] = []
    for i, row in enumerate(range(half, rows - half, step)):
        for j, col in enumerate(range(half, cols - half, step)):
            if covered[row, col] < _TISSUE_LEAST:
                continue
            block = fixed[row - half : row + half, col - half : col + half]
            if float(block.std()) < _TEXTURE_LEAST:
                continue
            top, left = max(0, row - half - reach_px), max(0, col - half - reach_px)
            window = (slice(top, row + half + reach_px), slice(left, col + half + reach_px))
            if float(inside[window].mean()) < 0.9:
                continue
            likeness = cv2.matchTemplate(carried[window], block, cv2.TM_CCOEFF_NORMED)
            peak = _peak(np.asarray(likeness, np.float32))
            if peak is not None:
                y, x, value, lead = peak
                found.append((row - 0.5, col - 0.5, top + y + half - 0.5, left + x + half - 0.5, value, lead, i, j))
    table = np.array(found, np.float64).reshape(-1, 8)
    weights = np.maximum(table[:, 4] - 0.1, 0.01) ** 2 * np.maximum(table[:, 5], 0.005)
    if len(weights):
        weights = weights / weights.mean()
    targets = sample(places, table[:, 2:4])
    return Blocks(table[:, :2], targets, weights, table[:, 4], table[:, 6:].astype(np.intp))


def _peak(likeness: NDArray[np.float32]) -> tuple[float, float, float, float] | None:
    """Place of the highest value to a fraction of a px, the value, and its lead over the next more than 6 px away."""
    row, col = np.unravel_index(int(likeness.argmax()), likeness.shape)
    rows, cols = likeness.shape
    if not (0 < row < rows - 1 and 0 < col < cols - 1):
        return None
    value = float(likeness[row, col])
    away = likeness.copy()
    away[max(0, row - _APART_PX) : row + _APART_PX + 1, max(0, col - _APART_PX) : col + _APART_PX + 1] = -1
    lead = value - max(float(away.max()), 0.0)
    dy = _vertex(likeness[row - 1, col], value, likeness[row + 1, col])
    dx = _vertex(likeness[row, col - 1], value, likeness[row, col + 1])
    return float(row) + dy, float(col) + dx, value, lead


def _vertex(before: float, at: float, after: float) -> float:
    bend = float(before) - 2 * at + float(after)
    return 0.0 if bend > -1e-9 else float(np.clip((float(before) - float(after)) / (2 * bend), -0.5, 0.5))


def sample(field: NDArray[np.float64], places: Points) -> Points:
    """A (rows, cols, k) field at fractional indices, linearly, its border continued."""
    at = np.moveaxis(places, -1, 0)
    values = [map_coordinates(field[..., k], at, order=1, mode="nearest") for k in range(field.shape[-1])]
    return np.stack(values, axis=-1)


def finer(nodes: Points, shape: tuple[int, int]) -> Points:
    """A field known every 8 px, on every pixel."""
    row, col = np.arange(shape[0]) / _NODE_PX, np.arange(shape[1]) / _NODE_PX
    above, before = row.astype(np.intp), col.astype(np.intp)
    down, right = (row - above)[:, None, None], (col - before)[None, :, None]
    along = nodes[above] * (1 - down) + nodes[above + 1] * down
    result: Points = along[:, before] * (1 - right) + along[:, before + 1] * right
    return result


@dataclass(frozen=True, eq=False)
class Spline:
    """An affine and a smoothing thin-plate spline of what it leaves, between indices.

    References
    ----------
    F. L. Bookstein, IEEE Trans. Pattern Analysis 11 (1989) 567-585, doi 10.1109/34.24792; reweighting: P. W. Holland,
    R. E. Welsch, Communications in Statistics A6 (1977) 813-827, doi 10.1080/03610927708827533.
    """

    affine: Affine
    knots: Points
    amounts: NDArray[np.float64]
    side: float

    @classmethod
    def fit(cls, affine: Affine, blocks: Blocks, side: float, stiffness: float, rounds: int = 6) -> Spline:
        """The spline through blocks; those that its neighbours contradict lose their weight.

        Parameters
        ----------
        affine
            Between indices: what the spline bends.
        blocks
            At least 12.
        side
            Longer side of the reference, px: the unit of `stiffness`.
        stiffness
            Larger is smoother.
        """
        knots = blocks.places / side
        residual = blocks.targets - (blocks.places @ affine[:, :2].T + affine[:, 2])
        n = len(knots)
        kernel = _kernel(knots, knots)
        plane = np.hstack([np.ones((n, 1)), knots])
        system = np.zeros((n + 3, n + 3))
        system[:n, :n], system[:n, n:], system[n:, :n] = kernel, plane, plane.T
        right = np.vstack([residual, np.zeros((3, 2))])
        trust = np.ones(n)
        amounts: NDArray[np.float64] = np.zeros((n + 3, 2))
        for _ in range(rounds):
            ridge = stiffness * n / np.maximum(blocks.weights * trust, 1e-4)
            system[np.arange(n), np.arange(n)] = ridge
            amounts = np.asarray(np.linalg.solve(system, right), np.float64)
            left = np.linalg.norm(residual - kernel @ amounts[:n] - plane @ amounts[n:], axis=1)
            scale = max(1.4826 * float(np.median(left)), 0.5)
            trust = 1 / (1 + (left / (1.5 * scale)) ** 2) ** 2
        return cls(affine, knots, amounts, side)

    def at(self, places: Points) -> Points:
        """Where places lie on the moving picture."""
        flat = places.reshape(-1, 2) / self.side
        bend = _kernel(flat, self.knots) @ self.amounts[:-3] + self.amounts[-3] + flat @ self.amounts[-2:]
        return places @ self.affine[:, :2].T + self.affine[:, 2] + bend.reshape(places.shape)

    def everywhere(self, shape: tuple[int, int], to_own: Callable[[Points], Points] = lambda x: x) -> Points:
        """Where every pixel of a picture lies, evaluated every 8 px; `to_own` brings its indices to the spline's."""
        rows, cols = (-(-n // _NODE_PX) + 1 for n in shape)
        nodes = self.at(to_own(indices((rows, cols)) * _NODE_PX))
        return finer(nodes, shape)


def _kernel(first: Points, second: Points) -> NDArray[np.float64]:
    square = ((first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None]) - 2 * first @ second.T
    square = np.maximum(square, 1e-18)
    return 0.5 * square * np.log(square)


@dataclass(frozen=True, eq=False)
class Middle:
    """What the middle level found.

    Attributes
    ----------
    places
        Where every reference pixel lies, (rows, cols, 2) indices on the moving picture.
    blocks
        The blocks of the last round.
    bent
        Whether a spline could be fitted; else `places` is the affine.
    """

    places: Points
    blocks: Blocks
    bent: bool


def bend(reference: Picture, moving: Picture, affine_um: Affine, *, progress: Progress = silent) -> Middle:
    """From an affine to a spline through matched blocks: large ones first, then smaller ones nearer.

    Parameters
    ----------
    reference, moving
        Pictures of one scale.
    affine_um
        Reference um to moving um.
    """
    affine = affine_px(affine_um, reference.um_per_px)
    places, _ = carry_places(reference.shape, affine)
    half = reference.at(2 * reference.um_per_px)
    half_moving = moving.at(half.um_per_px)
    rough = affine_px(affine_um, half.um_per_px)
    rough_places, _ = carry_places(half.shape, rough)
    progress(0, 2, "middle resolution: large details")
    blocks = find_blocks(half.soft(1.0), half_moving.soft(1.0), half.tissue, rough_places, 32, 12)
    if len(blocks.places) >= _BLOCKS_LEAST:
        spline = Spline.fit(rough, blocks, float(max(half.shape)), 1e-3)
        um, half_um = (reference.um_per_px,) * 2, (half.um_per_px,) * 2
        places = um_to_index(
            index_to_um(
                spline.everywhere(reference.shape, lambda x: um_to_index(index_to_um(x, um), half_um)), half_um
            ),
            um,
        )
    progress(1, 2, "middle resolution: small details")
    found = find_blocks(reference.soft(1.0), moving.soft(1.0), reference.tissue, places, 48, 14)
    if len(found.places) < _BLOCKS_LEAST:
        progress(2, 2, "middle resolution: done")
        return Middle(places, found, len(blocks.places) >= _BLOCKS_LEAST)
    places = Spline.fit(affine, found, float(max(reference.shape)), 1e-4).everywhere(reference.shape)
    progress(2, 2, "middle resolution: done")
    return Middle(places, found, True)
