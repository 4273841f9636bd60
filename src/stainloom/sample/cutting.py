"""What cutting and mounting do to a section: tears, folds, lost corners, and how it lies bent on the glass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stainloom.case.warp import Grid, Warp
from stainloom.geometry import BoxUm, Size, size_at
from stainloom.sample.settings import SimulationSettings

TILE_UM = 256.0
"""A scan is rendered in tiles of at most this side, um."""

_SPACING_UM = 40.0
_RESIDUAL_MOST_UM = 0.3
_WAVES = 5
_MARGIN_UM = 40.0


@dataclass(frozen=True, eq=False)
class Tear:
    """A jagged opening that runs from an edge into the tissue and narrows; `start` to `stop`, half as wide as `half_um`."""

    start: tuple[float, float]
    stop: tuple[float, float]
    half_um: float
    jag: float

    def open_um(self, rows_um: NDArray[Any], cols_um: NDArray[Any]) -> NDArray[Any]:
        """How far places lie within the opening, um; negative outside."""
        way = np.subtract(self.stop, self.start)
        length = float(np.hypot(*way))
        way = way / length
        down, right = rows_um - self.start[0], cols_um - self.start[1]
        along = down * way[0] + right * way[1]
        aside = right * way[0] - down * way[1]
        aside = aside + 4.0 * np.sin(along / 17.0 + self.jag) + 2.0 * np.sin(along / 5.3 + 2 * self.jag)
        width = self.half_um * (1 - along / length)
        result: NDArray[Any] = np.where(along < length, width - np.abs(aside), length - along)
        return result


@dataclass(frozen=True, eq=False)
class Fold:
    """A band in which the section lies double: through `point`, across `angle`."""

    point: tuple[float, float]
    angle: float
    half_um: float
    jag: float

    def doubled(self, rows_um: NDArray[Any], cols_um: NDArray[Any]) -> NDArray[Any]:
        """Share of a second thickness at places, 0 to 1."""
        down, right = rows_um - self.point[0], cols_um - self.point[1]
        along = down * np.sin(self.angle) + right * np.cos(self.angle)
        aside = down * np.cos(self.angle) - right * np.sin(self.angle)
        aside = aside + 12.0 * np.sin(along / 140.0 + self.jag)
        result: NDArray[Any] = np.clip((self.half_um - np.abs(aside)) / 3.0 + 0.5, 0, 1)
        return result


@dataclass(frozen=True, eq=False)
class Cut:
    """A section on its glass.

    Attributes
    ----------
    glass
        Glass um to block um.
    size
        Of the scan, px.
    tears, folds
        In the block's frame.
    mirrored, turn_deg
        How it lies.
    """

    glass: Warp
    size: Size
    tears: tuple[Tear, ...]
    folds: tuple[Fold, ...]
    mirrored: bool
    turn_deg: float

    def open_um(self, rows_um: NDArray[Any], cols_um: NDArray[Any]) -> NDArray[Any]:
        """How far places of the block lie within a tear or a lost corner, um; negative where the tissue is whole."""
        result = np.full(np.shape(rows_um), -1e3)
        for tear in self.tears:
            result = np.maximum(result, tear.open_um(rows_um, cols_um))
        return result

    def thickness(self, rows_um: NDArray[Any], cols_um: NDArray[Any]) -> NDArray[Any] | float:
        """1, or up to 2 where the section lies double."""
        return 1.0 + sum(fold.doubled(rows_um, cols_um) for fold in self.folds)


def cut(settings: SimulationSettings, rng: np.random.Generator, *, upright: bool) -> Cut:
    """Draw how one section is cut and lies on its glass.

    Parameters
    ----------
    settings
        Of the study.
    rng
        For this section alone.
    upright
        Whether it is the reference, which lies nearly straight.
    """
    turn = float(rng.uniform(-2, 2) if upright else rng.uniform(-settings.turn_deg, settings.turn_deg))
    if not upright and rng.random() < settings.half_turn_share:
        turn += 180.0
    mirrored = bool(not upright and rng.random() < settings.mirror_share)
    glass, size = _lay(settings, rng, turn, mirrored)
    frame = (settings.height_um, settings.width_um)
    tears = tuple(_tear(rng, frame) for _ in range(rng.poisson(settings.tear)))
    folds = tuple(_fold(rng, frame) for _ in range(rng.poisson(settings.fold)))
    return Cut(glass, size, tears, folds, mirrored, turn)


def _lay(settings: SimulationSettings, rng: np.random.Generator, turn: float, mirrored: bool) -> tuple[Warp, Size]:
    frame = np.array([settings.height_um, settings.width_um])
    angle = np.deg2rad(turn)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    stretch = 1 + settings.stretch * np.clip(rng.normal(size=2), -2.5, 2.5)
    shear = settings.stretch * 0.5 * float(np.clip(rng.normal(), -2.5, 2.5))
    flip = np.diag([1.0, -1.0 if mirrored else 1.0])
    onto = rotation @ np.array([[1.0, shear], [0.0, 1.0]]) @ np.diag(stretch) @ flip
    corners = (np.array([[0, 0], [0, 1], [1, 0], [1, 1]]) - 0.5) * frame @ onto.T
    margin = _MARGIN_UM + 2 * settings.bend_um
    extent = corners.max(axis=0) - corners.min(axis=0) + 2 * margin - 2 * min(60.0, margin)
    size = size_at((float(extent[0]), float(extent[1])), settings.um_per_px)
    middle = np.array(size.shape) * settings.um_per_px / 2 + rng.uniform(-12, 12, 2)
    back = np.linalg.inv(onto)
    affine = np.hstack([back, (frame / 2 - back @ middle)[:, None]])
    waves = _bend(settings, rng)
    return _glass(affine, waves, size, settings), size


def _bend(settings: SimulationSettings, rng: np.random.Generator) -> NDArray[np.float64]:
    """Waves of the bend, (waves, 2, 4): size, row and column frequency per um, phase; for either axis."""
    longest = max(settings.height_um, settings.width_um)
    length = rng.uniform(min(700.0, 0.6 * longest), max(1.2 * longest, 900.0), (_WAVES, 2))
    way = rng.uniform(0, 2 * np.pi, (_WAVES, 2))
    size = rng.normal(size=(_WAVES, 2))
    size *= settings.bend_um * np.sqrt(2.0) / np.sqrt((size**2).sum(axis=0))
    # A short wave of full size would tear the tissue: size follows the square of the length.
    size *= np.minimum(1.0, (length / 900.0) ** 2)
    frequency = 2 * np.pi / length
    phase = rng.uniform(0, 2 * np.pi, (_WAVES, 2))
    return np.stack([size, frequency * np.sin(way), frequency * np.cos(way), phase], axis=-1)


def _glass(affine: NDArray[np.float64], waves: NDArray[np.float64], size: Size, settings: SimulationSettings) -> Warp:
    """The warp from glass to block, its nodes as dense as its inverse needs."""
    extent = (size.rows * settings.um_per_px, size.cols * settings.um_per_px)
    spacing = max(_SPACING_UM, max(extent) / 400)
    # A tile of the scan may reach over the border of the glass by its whole side.
    beyond = 4 * spacing + TILE_UM + 60 * settings.um_per_px
    cover = BoxUm(-beyond, -beyond, extent[0] + 2 * beyond, extent[1] + 2 * beyond)
    while True:
        grid = Grid.covering(cover, spacing)
        nodes = grid.nodes_um
        bend = np.zeros_like(nodes)
        for axis in range(2):
            for strength, down, right, phase in waves[:, axis]:
                bend[..., axis] += strength * np.sin(down * nodes[..., 0] + right * nodes[..., 1] + phase)
        warp = Warp.from_grid(affine, grid.with_displacement(bend), (settings.height_um, settings.width_um))
        if warp.residual_um < _RESIDUAL_MOST_UM or spacing < 10:
            return warp
        spacing /= 1.6


def _tear(rng: np.random.Generator, frame: tuple[float, float]) -> Tear:
    """A wedge from one of the four edges, or a broad one over a corner."""
    height, width = frame
    jag = float(rng.uniform(0, 6))
    reach = min(1.0, min(frame) / 1000)
    if rng.random() < 0.3:
        corner = (float(rng.choice([0.0, height])), float(rng.choice([0.0, width])))
        inward = (height / 2 - corner[0], width / 2 - corner[1])
        share = rng.uniform(160, 320) * reach / np.hypot(*inward)
        stop = (corner[0] + share * inward[0], corner[1] + share * inward[1])
        return Tear(corner, stop, float(rng.uniform(150, 300) * reach), jag)
    length = rng.uniform(200, 600) * reach
    side, place = int(rng.integers(4)), float(rng.uniform(0.1, 0.9))
    start = [(0.0, place * width), (height, place * width), (place * height, 0.0), (place * height, width)][side]
    angle = float(rng.uniform(-0.5, 0.5)) + (np.pi / 2, -np.pi / 2, 0.0, np.pi)[side]
    stop = (start[0] + length * np.sin(angle), start[1] + length * np.cos(angle))
    return Tear(start, (float(stop[0]), float(stop[1])), float(rng.uniform(8, 26)), jag)


def _fold(rng: np.random.Generator, frame: tuple[float, float]) -> Fold:
    point = (float(rng.uniform(0, frame[0])), float(rng.uniform(0, frame[1])))
    return Fold(point, float(rng.uniform(0, np.pi)), float(rng.uniform(6, 20)), float(rng.uniform(0, 6)))
