"""Where a point of one section lies on another: warps in um."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stainloom.geometry import BoxUm, Points

_ROUNDS = 200
_TOLERANCE_UM = 1e-4
_NODES_MOST = 4_000_000


@dataclass(frozen=True, eq=False)
class Grid:
    """Displacements on a regular grid, interpolated linearly, undefined outside.

    Attributes
    ----------
    origin_um
        (row, col) of node (0, 0).
    spacing_um
        (row, col) distance of nodes.
    displacement_um
        (rows, cols, 2) float32, (row, col); at least 2 x 2 nodes. NaN where undefined.
    """

    origin_um: tuple[float, float]
    spacing_um: tuple[float, float]
    displacement_um: NDArray[np.float32]

    def __post_init__(self) -> None:
        shape = self.displacement_um.shape
        if len(shape) != 3 or shape[2] != 2 or min(shape[:2]) < 2 or self.displacement_um.dtype != np.float32:
            raise ValueError(
                f"displacements are (rows >= 2, cols >= 2, 2) float32: {shape} {self.displacement_um.dtype}"
            )
        if min(self.spacing_um) <= 0:
            raise ValueError(f"node spacing is positive: {self.spacing_um}")

    @property
    def nodes_um(self) -> Points:
        """Positions of the nodes, shape (rows, cols, 2)."""
        rows, cols = self.displacement_um.shape[:2]
        axes = (
            self.origin_um[0] + self.spacing_um[0] * np.arange(rows),
            self.origin_um[1] + self.spacing_um[1] * np.arange(cols),
        )
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)

    @classmethod
    def covering(cls, extent: BoxUm, spacing_um: float) -> Grid:
        """A grid of zeros whose nodes cover a rectangle."""
        rows = max(2, int(np.ceil(extent.rows_um / spacing_um - 1e-9)) + 1)
        cols = max(2, int(np.ceil(extent.cols_um / spacing_um - 1e-9)) + 1)
        if rows * cols > _NODES_MOST:
            raise ValueError(f"a grid of {rows} x {cols} nodes is too fine for {extent}")
        zeros = np.zeros((rows, cols, 2), np.float32)
        return cls((extent.row_um, extent.col_um), (spacing_um, spacing_um), zeros)

    def with_displacement(self, displacement_um: NDArray[Any]) -> Grid:
        """The same nodes with other values."""
        return Grid(self.origin_um, self.spacing_um, np.ascontiguousarray(displacement_um, np.float32))

    def at(self, points_um: Points, *, clamp: bool = False) -> Points:
        """Displacement at points, shape (..., 2); outside NaN, or with `clamp` the nearest border's."""
        rows, cols = self.displacement_um.shape[:2]
        place = (points_um - np.asarray(self.origin_um)) / np.asarray(self.spacing_um)
        most = np.array([rows - 1, cols - 1], dtype=np.float64)
        inside = np.all((place >= -1e-9) & (place <= most + 1e-9), axis=-1)
        place = np.clip(np.nan_to_num(place), 0, most)
        low = np.minimum(place.astype(np.intp), (most - 1).astype(np.intp))
        share = place - low
        row, col = low[..., 0], low[..., 1]
        down, right = share[..., :1], share[..., 1:]
        values = self.displacement_um
        top = values[row, col] * (1 - right) + values[row, col + 1] * right
        bottom = values[row + 1, col] * (1 - right) + values[row + 1, col + 1] * right
        result: Points = top * (1 - down) + bottom * down
        if not clamp:
            result = np.where(inside[..., None], result, np.nan)
        return result


@dataclass(frozen=True, eq=False)
class Step:
    """One leg of a warp: x goes to affine @ (x, 1) + displacement(x).

    Attributes
    ----------
    affine
        (2, 3) float64, um to um, (row, col).
    grid
        Displacements in um over the place *before* the affine, or None.
    """

    affine: NDArray[np.float64]
    grid: Grid | None = None

    def __post_init__(self) -> None:
        if self.affine.shape != (2, 3) or not np.all(np.isfinite(self.affine)):
            raise ValueError(f"an affine is 2 x 3 and finite: {self.affine}")
        if abs(np.linalg.det(self.affine[:, :2])) < 1e-9:
            raise ValueError(f"an affine that flattens the plane cannot be inverted: {self.affine}")

    def points(self, points_um: Points) -> Points:
        """Where points go, shape (..., 2); NaN where the grid says nothing."""
        moved: Points = points_um @ self.affine[:, :2].T + self.affine[:, 2]
        return moved if self.grid is None else moved + self.grid.at(points_um)

    def sources(self, points_um: Points) -> Points:
        """Where points came from, by fixed-point iteration; NaN where it does not settle.

        Outside the grid the border's displacement is used: the caller decides what to keep.
        """
        back = np.linalg.inv(self.affine[:, :2])
        start: Points = (points_um - self.affine[:, 2]) @ back.T
        if self.grid is None:
            return start
        # Only places that have not settled are taken further: a few at the rim would else cost every place 200 rounds.
        flat, goal = start.reshape(-1, 2).copy(), start.reshape(-1, 2)
        moving = np.arange(len(flat))
        for _ in range(_ROUNDS):
            following = goal[moving] - self.grid.at(flat[moving], clamp=True) @ back.T
            change = np.abs(following - flat[moving]).max(axis=1)
            flat[moving] = following
            moving = moving[change >= _TOLERANCE_UM]
            if len(moving) == 0:
                break
        found: Points = flat.reshape(start.shape)
        unsettled = np.abs(start - self.grid.at(found, clamp=True) @ back.T - found).max(axis=-1) > 100 * _TOLERANCE_UM
        return np.where(unsettled[..., None], np.nan, found)


@dataclass(frozen=True, eq=False)
class Warp:
    """Reference um to moving um, and back.

    Attributes
    ----------
    steps
        The legs, in order. `then` appends.
    backward
        The legs of the inverse, computed once when the warp was made.
    residual_um
        How far `inverse` after the warp misses at worst, um.
    """

    steps: tuple[Step, ...]
    backward: tuple[Step, ...]
    residual_um: float = 0.0

    @classmethod
    def from_affine(cls, affine: NDArray[np.float64] | None = None) -> Warp:
        """A warp that is one affine (2 x 3, um); without one, the identity."""
        matrix = np.eye(2, 3) if affine is None else np.asarray(affine, dtype=np.float64)
        step = Step(matrix)
        back = np.linalg.inv(matrix[:, :2])
        return cls((step,), (Step(np.hstack([back, -back @ matrix[:, 2:]])),))

    @classmethod
    def from_grid(cls, affine: NDArray[np.float64], grid: Grid, moving_um: tuple[float, float]) -> Warp:
        """A warp of an affine and a grid; its inverse is sampled over the moving slide.

        Parameters
        ----------
        affine, grid
            As in `Step`.
        moving_um
            Height and width of the moving slide: where the inverse is wanted.
        """
        step = Step(np.asarray(affine, dtype=np.float64), grid)
        extent = BoxUm(0.0, 0.0, *moving_um)
        spacing = min(grid.spacing_um) / 2
        nodes = Grid.covering(extent, spacing)
        sources = step.sources(nodes.nodes_um)
        known = np.array(grid.displacement_um.shape[:2])
        place = (sources - np.asarray(grid.origin_um)) / np.asarray(grid.spacing_um)
        far = np.any((place < -1) | (place > known), axis=-1)
        back = np.linalg.inv(step.affine[:, :2])
        affine_back = np.hstack([back, -back @ step.affine[:, 2:]])
        plain = nodes.nodes_um @ affine_back[:, :2].T + affine_back[:, 2]
        displacement = np.where(far[..., None], np.nan, sources - plain)
        backward = Step(affine_back, nodes.with_displacement(displacement))
        middles = (nodes.nodes_um[:-1, :-1] + nodes.nodes_um[1:, 1:]) / 2
        misses = np.linalg.norm(step.points(backward.points(middles)) - middles, axis=-1)
        finite = misses[np.isfinite(misses)]
        return cls((step,), (backward,), float(finite.max()) if finite.size else float("inf"))

    @property
    def affine(self) -> NDArray[np.float64]:
        """All its legs without their displacements, (2, 3)."""
        whole = np.eye(3)
        for step in self.steps:
            whole = np.vstack([step.affine, [0.0, 0.0, 1.0]]) @ whole
        return np.asarray(whole[:2], np.float64)

    def points(self, points_um: NDArray[Any]) -> Points:
        """Where points of the reference lie on the moving slide, shape (..., 2), um; NaN where undefined."""
        points = np.asarray(points_um, dtype=np.float64)
        for step in self.steps:
            points = step.points(points)
        return points

    def box(self, box: BoxUm) -> BoxUm | None:
        """The rectangle on the moving slide that holds a warped rectangle; None where all of it is undefined."""
        rows = np.linspace(box.row_um, box.row_um + box.rows_um, 9)
        cols = np.linspace(box.col_um, box.col_um + box.cols_um, 9)
        points = self.points(np.stack(np.meshgrid(rows, cols, indexing="ij"), axis=-1)).reshape(-1, 2)
        points = points[np.all(np.isfinite(points), axis=1)]
        if len(points) == 0:
            return None
        low, high = points.min(axis=0), points.max(axis=0)
        return BoxUm(float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1]))

    def inverse(self) -> Warp:
        """Moving um to reference um."""
        return Warp(self.backward, self.steps, self.residual_um)

    def then(self, following: Warp) -> Warp:
        """This warp and after it another; the steps of both are kept."""
        return Warp(
            self.steps + following.steps, following.backward + self.backward, self.residual_um + following.residual_um
        )

    @cached_property
    def id(self) -> str:
        """Hash of the content: 16 hexadecimal digits."""
        digest = hashlib.sha256()
        for name, array in sorted(self.to_arrays().items()):
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Plain arrays by name, as `warp.npz` holds them."""
        arrays: dict[str, NDArray[Any]] = {"residual_um": np.array(self.residual_um)}
        for way, steps in (("forward", self.steps), ("backward", self.backward)):
            arrays[f"{way}_steps"] = np.array(len(steps))
            for number, step in enumerate(steps):
                arrays[f"{way}_{number}_affine"] = step.affine
                if step.grid is not None:
                    arrays[f"{way}_{number}_frame_um"] = np.array(
                        [*step.grid.origin_um, *step.grid.spacing_um], np.float64
                    )
                    arrays[f"{way}_{number}_displacement_um"] = step.grid.displacement_um
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Warp:
        """The warp that `to_arrays` described; ValueError or KeyError where the arrays describe none."""

        def steps(way: str) -> tuple[Step, ...]:
            count = int(arrays[f"{way}_steps"])
            if not 1 <= count <= 16:
                raise ValueError(f"a warp has 1 to 16 steps: {count}")
            result = []
            for number in range(count):
                grid = None
                if f"{way}_{number}_frame_um" in arrays:
                    frame = [float(v) for v in arrays[f"{way}_{number}_frame_um"]]
                    values = np.asarray(arrays[f"{way}_{number}_displacement_um"])
                    grid = Grid((frame[0], frame[1]), (frame[2], frame[3]), values)
                result.append(Step(np.asarray(arrays[f"{way}_{number}_affine"], dtype=np.float64), grid))
            return tuple(result)

        return cls(steps("forward"), steps("backward"), float(arrays["residual_um"]))
