"""The high level: gray values registered to gray values, over all tissue at once or inside lesion boxes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stainloom.geometry import Points
from stainloom.register.picture import Gray, Mask, carry_by_places, indices, normalized
from stainloom.register.refine import sample

_AROUND_PX = 25.0
_FLOOR = 0.04
_SMOOTH_PX = 6.0
_HALF_AGREED = 0.5


@dataclass(frozen=True, eq=False)
class Flow:
    """What optical flow says on top of a map.

    Attributes
    ----------
    shift
        (rows, cols, 2) px of the reference: the map is to be taken at x + shift(x).
    agreement
        (rows, cols) in [0, 1]: forward and backward flow say the same.
    """

    shift: Points
    agreement: Gray


def find_flow(fixed: Gray, carried: Gray, inside: Mask) -> Flow:
    """Symmetric optical flow between the reference and the moving section as a map carries it.

    Parameters
    ----------
    fixed, carried
        Gray pictures of one shape.
    inside
        Where `carried` is known.

    Notes
    -----
    Forward F and backward B are computed, and (F - B(x + F)) / 2 is kept as far as they agree; where they do not, the
    flow fades to nothing, so that the map stands: without this, pairs of other tissue became worse.

    References
    ----------
    T. Kroeger, R. Timofte, D. Dai, L. Van Gool, ECCV 2016, doi 10.1007/978-3-319-46493-0_29.
    """
    first, second = _eight_bits(fixed, inside), _eight_bits(carried, inside)
    forward = _dense_flow(first, second)
    backward = _dense_flow(second, first)
    ahead = indices(fixed.shape) + forward
    returned = sample(backward, ahead)
    reached, _ = carry_by_places(inside.astype(np.float32), ahead)
    missed = forward + returned
    agreement = np.exp(-(missed**2).sum(axis=-1) / 4) * inside * (reached > 0.5)
    symmetric = (forward - returned) / 2
    weight = _blur(agreement)
    shift = np.stack([_blur(agreement * symmetric[..., k]) for k in range(2)], axis=-1)
    shift *= (np.minimum(1.0, weight / _HALF_AGREED) / np.maximum(weight, 1e-6))[..., None]
    return Flow(shift, np.asarray(agreement, np.float32))


def _eight_bits(values: Gray, inside: Mask) -> NDArray[np.uint8]:
    even = normalized(np.where(inside, values, 0).astype(np.float32), _AROUND_PX, _FLOOR)
    return np.asarray(np.clip(even * 40 + 128, 0, 255), np.uint8)


def _dense_flow(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Optical flow, (rows, cols, 2) (row, col) px."""
    engine = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    engine.setFinestScale(1)
    engine.setPatchSize(8)
    engine.setPatchStride(4)
    engine.setVariationalRefinementIterations(50)
    return np.asarray(engine.calc(first, second, None), np.float64)[..., ::-1]  # type: ignore[call-overload]


def _blur(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), _SMOOTH_PX, borderType=cv2.BORDER_REFLECT), np.float64)


def folded(places: Points, mirrored: bool, least: float = 0.1) -> Mask:
    """Where a map turns the tissue over or squeezes it to less than a tenth of its area, (rows, cols)."""
    down = np.gradient(places, axis=0)
    right = np.gradient(places, axis=1)
    area = down[..., 0] * right[..., 1] - down[..., 1] * right[..., 0]
    return np.asarray((-area if mirrored else area) < least, np.bool_)


def without_folds(places: Points, shift: Points, mirrored: bool, rounds: int = 6) -> tuple[Points, int]:
    """The map at x + shift, the shift faded where that would fold; and how many pixels folded before.

    Parameters
    ----------
    places
        The map, (rows, cols, 2).
    shift
        Of the flow, (rows, cols, 2).
    mirrored
        Whether the map mirrors the section.
    """
    grid = indices(places.shape[:2])
    share = np.ones(places.shape[:2])
    result = sample_beyond(places, grid + shift)
    first = int(folded(result, mirrored).sum())
    for _ in range(rounds):
        bad = folded(result, mirrored)
        if not bad.any():
            break
        near = cv2.dilate(bad.astype(np.uint8), np.ones((25, 25), np.uint8)).astype(np.float64)
        share *= 1 - _blur(near)
        result = sample_beyond(places, grid + shift * share[..., None])
    return result, first


def sample_beyond(places: Points, at: Points) -> Points:
    """A map at fractional indices; outside the picture it goes on as at its border, by the identity plus what is left."""
    most = np.array(places.shape[:2]) - 1.0
    held = np.clip(at, 0, most)
    inner = sample(places, held)
    if not np.any(at != held):
        return inner
    # One px beyond the border counts as one px along the map's mean directions.
    down = (places[-1] - places[0]).mean(axis=0) / most[0]
    right = (places[:, -1] - places[:, 0]).mean(axis=0) / most[1]
    beyond = at - held
    return inner + beyond[..., :1] * down + beyond[..., 1:] * right
