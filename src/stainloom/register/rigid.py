"""The low level: where the whole section lies, at any turn, plain or mirrored.

Three proposers (SIFT, the outline's moments, a search over turns and shifts) name candidates; all are judged alike, by
local correlation. None is believed for its own figures: SIFT was seen wrong with 29 inliers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from stainloom.errors import RegistrationError
from stainloom.geometry import index_to_um
from stainloom.progress import Progress, silent
from stainloom.register.picture import (
    Affine,
    Gray,
    Mask,
    Picture,
    boxed,
    carry,
    local_correlation,
    normalized,
)

COARSE_PX = 110
JUDGE_PX = 250
FINE_PX = 600
_SIFT_PX = 500
_SIFT_POINTS = 1500
_OVERLAP_LEAST = 0.5
APART_DEGREES = 18.0
_RIVALS_MOST, _RIVAL_WITHIN = 2, 0.15
_NEAR_SHARE = 0.1
_NEAR_TURNS = range(-15, 16, 3)


@dataclass(frozen=True, eq=False)
class Candidate:
    """One proposal of where the section lies.

    Attributes
    ----------
    method
        Who proposed it: `sift`, `outline`, `search` or `given`.
    affine
        (2, 3), reference um to moving um.
    score
        Local correlation after a short refinement; what decides.
    support
        The proposer's own figure (inliers, correlation); reported, never decisive.
    """

    method: str
    affine: Affine
    score: float = -1.0
    support: float = 0.0


@dataclass(frozen=True, eq=False)
class Rough:
    """What the low level found.

    Attributes
    ----------
    best
        The candidate of the highest score.
    rivals
        Candidates at another turn, or the other side up, whose score comes near; best first.
    named
        The best of each proposer.
    lead
        By how much the best beats the best other turn or mirror image.
    """

    best: Candidate
    rivals: tuple[Candidate, ...]
    named: tuple[Candidate, ...]
    lead: float


def find_rough(reference: Picture, moving: Picture, *, turns: int = 60, progress: Progress = silent) -> Rough:
    """The best candidate, and those at another turn or the other side up that come near it.

    Parameters
    ----------
    reference, moving
        Work pictures.
    turns
        How many turns the search tries, each plain and mirrored.

    Raises
    ------
    RegistrationError
        Where no candidate puts the two sections on one another.
    """
    progress(0, 3, "low resolution: landmarks and outline")
    candidates = [*propose_by_sift(reference, moving), *propose_by_outline(reference, moving)]
    progress(1, 3, "low resolution: all turns")
    candidates += propose_by_search(reference, moving, turns, progress)
    progress(2, 3, "low resolution: choosing")
    judged = sorted(judge(reference, moving, _different(candidates)), key=lambda c: -c.score)
    if not judged or judged[0].score <= 0:
        raise RegistrationError(
            "the two sections could not be laid on one another",
            expected="one position at which their dark and light places agree",
            found=f"{len(judged)} candidates, none with agreement above 0",
            next="check that both slides show the same block, or give three or more pairs of points",
        )
    finalists = [refine_affine(reference.longer(JUDGE_PX), moving, c, 25, JUDGE_PX) for c in judged[:2]]
    best = max(finalists, key=lambda c: c.score)
    apart = [c for c in judged if turn_between(c.affine, best.affine) > APART_DEGREES]
    lead = best.score - max((c.score for c in apart), default=0.0)
    rivals: list[Candidate] = []
    for candidate in apart:
        near = candidate.score > best.score - _RIVAL_WITHIN and len(rivals) < _RIVALS_MOST
        if near and all(turn_between(candidate.affine, other.affine) > APART_DEGREES for other in rivals):
            rivals.append(refine_affine(reference.longer(JUDGE_PX), moving, candidate, 25, JUDGE_PX))
    progress(3, 3, "low resolution: done")
    named = {c.method: c for c in reversed(judged)}
    return Rough(best, tuple(rivals), tuple(named.values()), lead)


def find_near(reference: Picture, moving: Picture, start: Affine, *, progress: Progress = silent) -> Candidate:
    """The best position near a given one: the same side up, at most 15 degrees and a tenth of the extent away.

    Parameters
    ----------
    reference, moving
        Work pictures.
    start
        Reference um to moving um, as a hand laid it.

    Notes
    -----
    A hand is off by more than the steps of `refine_affine` can make good: by 5 degrees and 50 um it ended beside the
    true position, and was called good there. Nothing farther away is tried, however well it would fit.
    """
    coarse = _Coarse(reference, moving)
    reach_um = _NEAR_SHARE * max(reference.shape) * reference.um_per_px
    places = np.argwhere(reference.longer(COARSE_PX).tissue)
    centre = index_to_um(places, (reference.longer(COARSE_PX).um_per_px,) * 2).mean(axis=0)
    stays = start[:, :2] @ centre + start[:, 2]
    candidates = [Candidate("given", start)]
    for number, degrees in enumerate(_NEAR_TURNS):
        progress(number, len(_NEAR_TURNS) + 1, "low resolution: around the given start")
        linear = start[:, :2] @ turned(math.radians(degrees))
        near = np.hstack([linear, (stays - linear @ centre)[:, None]])
        candidates += [Candidate("given", near), coarse.best(linear, near, reach_um)]
    best = max(judge(reference, moving, candidates), key=lambda c: c.score)
    return refine_affine(reference.longer(JUDGE_PX), moving, best, 25, JUDGE_PX)


def _different(candidates: list[Candidate]) -> list[Candidate]:
    """Candidates without those that nearly repeat an earlier one (within 3 degrees and 3 % of the extent)."""
    kept: list[Candidate] = []
    for candidate in candidates:
        if not any(_near(candidate.affine, other.affine) for other in kept if other.method == candidate.method):
            kept.append(candidate)
    return kept


def _near(first: Affine, second: Affine) -> bool:
    turn = float(np.abs(first[:, :2] - second[:, :2]).max())
    return turn < math.sin(math.radians(3)) and float(np.abs(first[:, 2] - second[:, 2]).max()) < 30


def propose_by_sift(reference: Picture, moving: Picture) -> list[Candidate]:
    """Similarities that matched SIFT points agree on, plain and mirrored; none where too few match.

    References
    ----------
    D. G. Lowe, International Journal of Computer Vision 60 (2004) 91-110, doi 10.1023/B:VISI.0000029664.99615.94.
    """
    first, second = reference.longer(_SIFT_PX), moving.longer(_SIFT_PX)
    points, words = sift_points(first.gray)
    found = []
    for mirrored in (False, True):
        gray = np.ascontiguousarray(second.gray[:, ::-1]) if mirrored else second.gray
        other, other_words = sift_points(gray)
        if mirrored and len(other):
            other = other * [1, -1] + [0, gray.shape[1] - 1]
        pairs = match(words, other_words)
        if len(pairs) < 6:
            continue
        a = index_to_um(points[pairs[:, 0]], (first.um_per_px,) * 2)
        b = index_to_um(other[pairs[:, 1]], (second.um_per_px,) * 2)
        flip = np.array([1.0, -1.0 if mirrored else 1.0])
        cv2.setRNGSeed(1)
        fitted, inliers = cv2.estimateAffinePartial2D(
            a, b * flip, method=cv2.RANSAC, ransacReprojThreshold=6 * first.um_per_px, maxIters=3000
        )
        if fitted is None:
            continue
        affine = fitted * flip[:, None]
        if 0.6 < abs(np.linalg.det(affine[:, :2])) < 1.7:
            found.append(Candidate("sift", affine, support=float(inliers.sum())))
    return found


def sift_points(gray: Gray) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """SIFT points of a gray picture, (n, 2) (row, col) indices, and their RootSIFT descriptors, (n, 128)."""
    eight = np.asarray(np.clip(gray * 170, 0, 255), np.uint8)
    keys, words = cv2.SIFT.create(_SIFT_POINTS, 3, 0.01, 15).detectAndCompute(eight, None)
    if words is None or len(keys) == 0:
        return np.zeros((0, 2)), np.zeros((0, 128), np.float32)
    places = np.array([key.pt for key in keys], np.float64)[:, ::-1]
    words = np.sqrt(words / np.maximum(words.sum(axis=1, keepdims=True), 1e-6))
    return np.ascontiguousarray(places), np.asarray(words, np.float32)


def match(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.intp]:
    """Pairs of descriptors that are each other's best, by Lowe's ratio 0.9, shape (n, 2)."""
    if len(first) < 3 or len(second) < 3:
        return np.zeros((0, 2), np.intp)
    likeness = first @ second.T
    best = likeness.argmax(axis=1)
    mutual = likeness.argmax(axis=0)[best] == np.arange(len(first))
    two = np.partition(likeness, -2, axis=1)[:, -2:]
    distances = np.sqrt(np.maximum(2 - 2 * two, 0))
    clear = distances[:, 1] < 0.9 * distances[:, 0]
    index = np.flatnonzero(mutual & clear)
    return np.stack([index, best[index]], axis=1)


def propose_by_outline(reference: Picture, moving: Picture) -> list[Candidate]:
    """Four similarities that lay the tissue's centre and long axis on the other's: two directions, plain and mirrored."""
    (centre, axis), (other_centre, other_axis) = _pose(reference), _pose(moving)
    found = []
    for mirrored in (False, True):
        flip = np.diag([1.0, -1.0 if mirrored else 1.0])
        for half in (0.0, math.pi):
            turn = other_axis - (-axis if mirrored else axis) + half
            linear = turned(turn) @ flip
            found.append(_about(linear, centre, other_centre, "outline"))
    return found


def _pose(picture: Picture) -> tuple[NDArray[np.float64], float]:
    """Centre of the tissue, um, and the direction of its long axis, rad."""
    places = index_to_um(np.argwhere(picture.longer(JUDGE_PX).tissue), (picture.longer(JUDGE_PX).um_per_px,) * 2)
    centre = places.mean(axis=0)
    _, vectors = np.linalg.eigh(np.cov((places - centre).T))
    return centre, math.atan2(vectors[1, -1], vectors[0, -1])


def turned(angle: float) -> NDArray[np.float64]:
    """A turn by an angle in rad, on (row, col)."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s], [s, c]])


def _about(
    linear: NDArray[np.float64],
    centre: NDArray[np.float64],
    other: NDArray[np.float64],
    method: str,
    support: float = 0,
) -> Candidate:
    return Candidate(method, np.hstack([linear, (other - linear @ centre)[:, None]]), support=support)


def propose_by_search(
    reference: Picture, moving: Picture, turns: int = 60, progress: Progress = silent, keep: int = 3
) -> list[Candidate]:
    """The best positions over all shifts, many turns, plain and mirrored.

    Notes
    -----
    Masked normalized correlation over all shifts at once by FFT, on pictures of about 110 px.

    References
    ----------
    D. Padfield, IEEE Trans. Image Processing 21 (2012) 2706-2718, doi 10.1109/TIP.2011.2181402.
    """
    coarse = _Coarse(reference, moving)
    found: list[Candidate] = []
    for number in range(turns):
        if number % 6 == 0:
            progress(1 + number / turns, 3, "low resolution: all turns")
        for mirrored in (False, True):
            linear = turned(2 * math.pi * number / turns) @ np.diag([1.0, -1.0 if mirrored else 1.0])
            found.append(coarse.best(linear))
    return _best_apart(found, keep)


def _best_apart(found: list[Candidate], keep: int) -> list[Candidate]:
    kept: list[Candidate] = []
    for candidate in sorted(found, key=lambda c: -c.support):
        apart = all(turn_between(candidate.affine, other.affine) > APART_DEGREES for other in kept)
        if apart and len(kept) < keep:
            kept.append(candidate)
    return kept


def turn_between(first: Affine, second: Affine) -> float:
    """Degrees between two similarities; 180 where one mirrors and the other does not."""
    between = first[:, :2] @ np.linalg.inv(second[:, :2])
    if np.linalg.det(between) < 0:
        return 180.0
    return abs(math.degrees(math.atan2(between[1, 0] - between[0, 1], between[0, 0] + between[1, 1])))


class _Coarse:
    """Two sections at about 110 px: the best shift for a turn."""

    def __init__(self, reference: Picture, moving: Picture) -> None:
        self._um = max(max(p.shape) * p.um_per_px for p in (reference, moving)) / COARSE_PX
        first, self._second = reference.at(self._um), moving.at(self._um)
        soft, self._soft = (
            np.asarray(cv2.GaussianBlur(p.gray, (0, 0), 1.5), np.float32) for p in (first, self._second)
        )
        side = math.ceil(math.hypot(*self._second.shape)) + 2
        self._canvas = (side, side)
        self._search = _Shifts(soft, self._canvas)

    def best(
        self, linear: NDArray[np.float64], near: NDArray[np.float64] | None = None, reach_um: float = 0
    ) -> Candidate:
        """The best shift at a turn, of all, or of those at most `reach_um` from where an affine (`near`) expects it."""
        um = self._um
        middle = np.array(self._second.shape) * self._second.um_per_px / 2
        canvas = np.hstack([linear, (middle - linear @ (np.array(self._canvas) * um / 2))[:, None]])
        carried, inside = carry(self._soft, self._second.um_per_px, canvas, self._canvas, um)
        expected = (
            None if near is None else np.asarray(np.linalg.solve(linear, near[:, 2] - canvas[:, 2]) / um, np.float64)
        )
        value, shift = self._search.best(carried, inside, expected, reach_um / um)
        moved = canvas[:, 2] + linear @ (np.array(shift) * um)
        return Candidate("search", np.hstack([linear, moved[:, None]]), support=value)


class _Shifts:
    """Masked normalized correlation of one picture with many others, over all shifts."""

    def __init__(self, first: Gray, second_shape: tuple[int, int]) -> None:
        self._first_shape = first.shape
        self._shape = tuple(
            fft.next_fast_len(a + b - 1, real=True) for a, b in zip(first.shape, second_shape, strict=True)
        )
        self._least = _OVERLAP_LEAST * first.size
        self._f = fft.rfft2(np.stack([first, np.ones_like(first), first**2]), self._shape)

    def best(
        self, second: Gray, inside: Mask, expected: NDArray[np.float64] | None = None, reach_px: float = 0
    ) -> tuple[float, tuple[int, int]]:
        """The best correlation, and the shift (row, col) by which the first picture is moved to reach it.

        With `expected` only shifts at most `reach_px` from there count.
        """
        mask = inside.astype(np.float32)
        masked = second * mask
        g = np.conj(fft.rfft2(np.stack([masked, mask, masked**2]), self._shape))
        f, one, square = self._f
        product = np.stack([f * g[0], f * g[1], one * g[0], one * g[1], square * g[1], one * g[2]])
        both, sum_f, sum_g, n, sum_ff, sum_gg = fft.irfft2(product, self._shape)
        least = min(self._least, 0.9 * float(n.max()))
        n = np.maximum(n, 1.0)
        spread = np.maximum(sum_ff - sum_f**2 / n, 1e-3) * np.maximum(sum_gg - sum_g**2 / n, 1e-3)
        value = np.where(n >= least, (both - sum_f * sum_g / n) / np.sqrt(spread), -1)
        if expected is not None:
            rows, cols = (np.array([self._shift(i, k) for i in range(n)]) for k, n in enumerate(value.shape))
            far = np.hypot(rows[:, None] - expected[0], cols[None, :] - expected[1]) > max(reach_px, 1.0)
            value = np.where(far, -1, value)
        row, col = np.unravel_index(int(value.argmax()), value.shape)
        return float(value[row, col]), (self._shift(int(row), 0), self._shift(int(col), 1))

    def _shift(self, index: int, axis: int) -> int:
        return self._shape[axis] - index if index >= self._first_shape[axis] else -index


def judge(reference: Picture, moving: Picture, candidates: list[Candidate]) -> list[Candidate]:
    """Each candidate after a short refinement as a similarity, with the local correlation it reaches."""
    small = reference.longer(COARSE_PX + 20)
    result = []
    for candidate in candidates:
        close = refine_affine(small, moving, candidate, 17, COARSE_PX + 20, similarity=True, rounds=12)
        result.append(refine_affine(reference.longer(JUDGE_PX), moving, close, 25, JUDGE_PX, similarity=True, rounds=8))
    return result


def refine_affine(
    reference: Picture,
    moving: Picture,
    candidate: Candidate,
    window: int,
    longer_px: int,
    *,
    similarity: bool = False,
    rounds: int = 20,
) -> Candidate:
    """A candidate moved to where local correlation is greatest, and that correlation.

    Parameters
    ----------
    reference
        The work picture at the scale of the refinement (`longer_px`).
    moving
        The work picture at any finer scale.
    candidate
        Where to start: within a few px of the answer.
    window
        Side of the square of local correlation, px.
    similarity
        Keep the proportions: only turn, scale and shift change.
    rounds
        Steps at most.

    Notes
    -----
    Gauss-Newton steps on both pictures normalized by mean and deviation around each pixel, which is local correlation
    to first order; a step that does not raise the weighted correlation is halved, then given up.
    """
    picture = reference.longer(longer_px)
    um = picture.um_per_px
    other = moving.at(um)
    sigma = window / 4
    fixed = normalized(picture.soft(1.0), sigma, 0.04)
    source = normalized(other.soft(1.0), sigma, 0.04)
    weight = boxed(picture.tissue, window) * np.minimum(np.abs(boxed(fixed**2, window)), 1.0)
    base = _base(picture.shape, um, similarity)
    affine, score = candidate.affine, _score(fixed, source, other.um_per_px, candidate.affine, um, weight)
    for _ in range(rounds):
        step = _step(fixed, source, other.um_per_px, affine, um, weight, base)
        if step is None:
            break
        gained = False
        for share in (1.0, 0.5, 0.2):
            trial = affine + share * step
            value = _score(fixed, source, other.um_per_px, trial, um, weight)
            if value > score + 1e-5:
                gained = value > score + 2e-4
                affine, score = trial, value
                break
        if not gained:
            break
    det = abs(float(np.linalg.det(affine[:, :2])))
    if not 0.5 < det < 2.0:
        return candidate
    return Candidate(candidate.method, affine, judged_score(picture, other, affine, window), candidate.support)


def judged_score(reference: Picture, moving: Picture, affine: Affine, window: int) -> float:
    """Local correlation under an affine, weighted by the reference's local deviation; a small overlap counts against it."""
    carried, inside = carry(moving.soft(1.0), moving.um_per_px, affine, reference.shape, reference.um_per_px)
    soft = reference.soft(1.0)
    correlation, weight = local_correlation(soft, carried, inside, window)
    _, full = local_correlation(soft, carried, np.ones_like(inside), window)
    near = boxed(reference.tissue, window)
    return float(
        (correlation * weight * near).sum() / max(float((weight * near).sum()), 0.5 * float((full * near).sum()), 1e-6)
    )


def _base(shape: tuple[int, int], um: float, similarity: bool) -> NDArray[np.float64]:
    """Directions in which an affine may change, (k, 2, 3), each about one px at the picture's rim."""
    reach = max(shape) * um / 2
    middle = np.array(shape) * um / 2
    linear = np.eye(4).reshape(4, 2, 2)
    if similarity:
        linear = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, -1.0], [1.0, 0.0]]])
    result = [np.hstack([m / reach, (-(m @ middle) / reach)[:, None]]) for m in linear]
    result += [np.hstack([np.zeros((2, 2)), shift[:, None]]) for shift in np.eye(2)]
    return np.array(result) * um


def _carried(
    source: Gray, source_um: float, affine: Affine, shape: tuple[int, int], um: float, weight: Gray
) -> tuple[Gray, Gray]:
    carried, inside = carry(source, source_um, affine, shape, um)
    return carried, weight * inside


def _score(fixed: Gray, source: Gray, source_um: float, affine: Affine, um: float, weight: Gray) -> float:
    carried, ok = _carried(source, source_um, affine, fixed.shape, um, weight)
    total = float(ok.sum())
    if total < 0.3 * float(weight.sum()):
        return -1.0
    power = float((ok * fixed**2).sum()) * float((ok * carried**2).sum())
    return float((ok * fixed * carried).sum()) / math.sqrt(max(power, 1e-9))


def _step(
    fixed: Gray,
    source: Gray,
    source_um: float,
    affine: Affine,
    um: float,
    weight: Gray,
    base: NDArray[np.float64],
) -> Affine | None:
    """The Gauss-Newton step of an affine, or None where the pictures say nothing."""
    carried, ok = _carried(source, source_um, affine, fixed.shape, um, weight)
    power = float((ok * carried**2).sum())
    if power < 1e-6:
        return None
    gain = max(float((ok * fixed * carried).sum()) / power, 0.1)
    rows, cols = np.gradient(carried)
    # Gradients over the reference's grid become gradients over the moving section by the inverse of the linear part.
    back = np.linalg.inv(affine[:, :2])
    places = np.indices(fixed.shape, np.float32)
    place = [(p + 0.5) * um for p in places]
    columns = []
    for direction in base:
        shift = [direction[k, 0] * place[0] + direction[k, 1] * place[1] + direction[k, 2] for k in range(2)]
        along = [back[k, 0] * shift[0] + back[k, 1] * shift[1] for k in range(2)]
        columns.append(gain * (rows * along[0] + cols * along[1]) / um)
    jacobian = np.stack([c.ravel() for c in columns])
    w = ok.ravel()
    residual = (fixed - gain * carried).ravel()
    normal = (jacobian * w) @ jacobian.T
    right = (jacobian * w) @ residual
    damped = normal + 1e-3 * np.diag(np.diag(normal)) + 1e-9 * np.eye(len(base))
    amount = np.linalg.solve(damped.astype(np.float64), right.astype(np.float64))
    limit = 6.0 / max(6.0, float(np.abs(amount).max()))
    return np.asarray(np.tensordot(amount * limit, base, axes=1), np.float64)
