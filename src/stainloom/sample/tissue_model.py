"""The tissue of one block: wall, laminae, nuclei, vessels and lesions, in um and in depth; no dyes, no pixels.

Places are (row, col) in the block's own frame: rows from the lumen to the adventitia, columns along the circumference.
Depth is the distance in um below the first section.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stainloom.geometry import Points
from stainloom.sample.noise import Field, Floats, at_depth, chance, generator, smooth_noise
from stainloom.sample.settings import SimulationSettings

CLASSES = (1, 2, 3, 4, 5, 6)
"""Lesion classes of the aorta protocol: MEMA, EFFL, SMNL, MF, other, normal media painted as such."""
MEMA, EFFL, SMNL, MF, OTHER, NORMAL = CLASSES

INSET_UM = 60.0
"""Bare glass between the frame of the block and its tissue, um."""

_FIELD_PX = 512
_FIELD_UM = 4.0
_WAVE_UM, _BEND_UM = 3.2, 9.0
_DEPTH_OF_LAMINAE_UM = 60.0
_NUCLEUS_SLAB_UM = 6.0
_SECTION_UM = 3.0
_HARMONICS = 6


@dataclass(frozen=True, eq=False)
class Area:
    """One painted area: a lesion, or normal media. A star-shaped outline that moves a little with depth.

    Attributes
    ----------
    label
        Class id, 1 to 6.
    centre_um
        Its centre at depth 0.
    axes_um
        Semi-axes (radial, circumferential).
    strength
        How far the tissue is changed, 0 to 1.
    waves
        (harmonics, 4): size, phase, change of phase per um of depth, order.
    drift
        Movement of the centre per um of depth.
    """

    label: int
    centre_um: tuple[float, float]
    axes_um: tuple[float, float]
    strength: float
    waves: NDArray[np.float64]
    drift: tuple[float, float]

    def reach_um(self) -> tuple[float, float]:
        """Half height and half width of a rectangle that holds it at any depth in use, um."""
        most = 1.0 + float(np.abs(self.waves[:, 0]).sum())
        return (self.axes_um[0] * most + 10.0, self.axes_um[1] * most + 10.0)

    def inside_um(self, rows_um: NDArray[Any], cols_um: NDArray[Any], depth_um: float) -> NDArray[Any]:
        """About how far places lie within the outline at a depth, um; negative outside."""
        down = (rows_um - (self.centre_um[0] + self.drift[0] * depth_um)) / self.axes_um[0]
        right = (cols_um - (self.centre_um[1] + self.drift[1] * depth_um)) / self.axes_um[1]
        angle = np.arctan2(down, right)
        radius = np.ones_like(angle)
        for size, phase, speed, order in self.waves:
            radius += size * np.cos(order * angle + phase + speed * depth_um)
        result: NDArray[Any] = (radius - np.hypot(down, right)) * min(self.axes_um)
        return result


@dataclass(frozen=True, eq=False)
class Nuclei:
    """The nuclei that one section shows.

    Attributes
    ----------
    ids
        (n,) uint64: the same nucleus has the same id in every section.
    tips_um
        (n, 2, 2): both ends of its long axis in the block.
    width_um
        (n,) its short axis.
    density
        (n,) how much dye it takes, about 1.
    """

    ids: NDArray[np.uint64]
    tips_um: NDArray[np.float64]
    width_um: NDArray[np.float64]
    density: NDArray[np.float64]

    @property
    def centres_um(self) -> Points:
        """(n, 2) middles."""
        middles: Points = self.tips_um.mean(axis=1)
        return middles


@dataclass(frozen=True, eq=False)
class Vessel:
    """A vas vasorum: a muscular ring around a lumen, running on through the sections."""

    centre_um: tuple[float, float]
    radius_um: float
    wall_um: float
    drift: tuple[float, float]
    squeeze: float


class Tissue:
    """The tissue of one block.

    Parameters
    ----------
    settings
        Of the study.
    patient
        Number of the patient, from 0.
    """

    def __init__(self, settings: SimulationSettings, patient: int) -> None:
        self.settings = settings
        self._keys = (settings.seed, patient)
        self.seed = int(generator(*self._keys, 1).integers(0, 2**62))
        rng = generator(*self._keys, 2)
        height = settings.height_um - 2 * INSET_UM
        self.spacing_um = float(rng.uniform(14.5, 19.0))
        self.intima_um = float(min(rng.uniform(60, 110), 0.1 * height))
        wanted = int(rng.integers(56, 66))
        self.laminae = max(3, min(wanted, int((0.88 * height - self.intima_um) / self.spacing_um)))
        self._arch = rng.uniform(-20, 20)
        self._ripples = np.column_stack(
            [rng.uniform(1.5, 5.0, 5), rng.uniform(0, 2 * np.pi, 5), 2 * np.pi / rng.uniform(120, 700, 5)]
        )
        self.media_um = (self.intima_um, self.intima_um + self.laminae * self.spacing_um)
        self.crowding = float(rng.uniform(0.9, 1.1))

    # ---- wall

    def lumen_um(self, cols_um: NDArray[Any]) -> NDArray[Any]:
        """Row of the lumen's border at columns, um."""
        at, lumen, _ = self._borders
        return np.interp(cols_um, at, lumen)

    def outer_um(self, cols_um: NDArray[Any]) -> NDArray[Any]:
        """Row of the ragged outer border at columns, um."""
        at, _, outer = self._borders
        return np.interp(cols_um, at, outer)

    @cached_property
    def _borders(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Columns, and the rows of lumen and outer border there, um."""
        width = self.settings.width_um
        cols_um = np.arange(-400.0, width + 404.0, 4.0)
        lumen = INSET_UM + 12.0 + self._arch * (4 * (cols_um / width - 0.5) ** 2)
        outer = np.full(cols_um.shape, self.settings.height_um - INSET_UM - 12.0)
        for number, (size, phase, speed) in enumerate(self._ripples):
            lumen += size * np.sin(speed * cols_um + phase)
            outer += 1.6 * size * np.sin((2.1 + 0.3 * number) * speed * cols_um + 3 * phase)
        return cols_um, lumen, outer

    @cached_property
    def _waves(self) -> tuple[Floats, Floats]:
        """Two independent sets of bends of the laminae: (wave, bend, wave, bend)."""
        sets = []
        for number in range(2):
            rng = generator(*self._keys, 3, number)
            wave = smooth_noise(rng, _FIELD_PX, 60 / _FIELD_UM, 13 / _FIELD_UM)
            bend = smooth_noise(rng, _FIELD_PX, 110 / _FIELD_UM, 110 / _FIELD_UM)
            sets.append(np.dstack([wave, bend]).astype(np.float32))
        return (sets[0], sets[1])

    def bends(self, depth_um: float) -> Field:
        """How far laminae leave the straight course at a depth, in standard deviations: wave, bend."""
        return Field(at_depth(*self._waves, depth_um, _DEPTH_OF_LAMINAE_UM), _FIELD_UM)

    def level_um(self, rows_um: NDArray[Any], cols_um: NDArray[Any], bends: Field) -> tuple[NDArray[Any], NDArray[Any]]:
        """Distance from the lumen, and the same with the waves of the laminae, um."""
        below: NDArray[Any] = np.asarray(rows_um - self.lumen_um(cols_um))
        bent = bends.at(rows_um, cols_um)
        # Laminae lie straight where intima and adventitia hold them.
        hold = np.clip((below - self.media_um[0]) / 60.0, 0, 1) * np.clip((self.media_um[1] - below) / 60.0, 0, 1)
        waves = (_WAVE_UM * bent[..., 0] + _BEND_UM * bent[..., 1]) * hold
        return below, below + waves

    # ---- lesions

    @cached_property
    def areas(self) -> tuple[Area, ...]:
        """Lesions and areas of normal media, none over another."""
        settings, rng = self.settings, generator(*self._keys, 4)
        media_rows = (INSET_UM + 30 + self.media_um[0], INSET_UM + self.media_um[1] - 10)
        usable = max(0.0, media_rows[1] - media_rows[0]) * max(0.0, settings.width_um - 2 * INSET_UM - 40)
        density = settings.lesions * usable / (2240.0 * 1100.0)
        found: list[Area] = []
        for label in rng.permutation(CLASSES):
            mean = 1.05 * density
            count = int(mean) + int(rng.random() < mean - int(mean))
            for number in range(count + int(rng.random() < 0.2 * density)):
                area = self._place(rng, int(label), media_rows, found, small=number >= count)
                if area is not None:
                    found.append(area)
        return tuple(found)

    def _place(
        self, rng: np.random.Generator, label: int, media_rows: tuple[float, float], found: list[Area], small: bool
    ) -> Area | None:
        for attempt in range(60):
            area_um2 = rng.uniform(0.012, 0.025) * 1e6 if small else rng.uniform(0.026, 0.056) * 1e6
            area_um2 *= 0.97**attempt
            long = rng.uniform(1.5, 2.3)
            radial = float(np.sqrt(area_um2 / np.pi / long))
            axes = (radial, radial * long)
            orders = np.arange(2, 2 + _HARMONICS, dtype=np.float64)
            waves = np.column_stack(
                [
                    rng.uniform(0.02, 0.13, _HARMONICS) / np.sqrt(orders - 1),
                    rng.uniform(0, 2 * np.pi, _HARMONICS),
                    rng.normal(0, 0.02, _HARMONICS),
                    orders,
                ]
            )
            strength = float(rng.uniform(0.85, 1.0)) * self.settings.lesion_strength
            drift = (float(rng.normal(0, 0.15)), float(rng.normal(0, 0.25)))
            area = Area(label, (0.0, 0.0), axes, strength, waves, drift)
            high, wide = area.reach_um()
            rows = (media_rows[0] + high, media_rows[1] - high)
            cols = (INSET_UM + 20 + wide, self.settings.width_um - INSET_UM - 20 - wide)
            if rows[0] >= rows[1] or cols[0] >= cols[1]:
                continue
            centre = (float(rng.uniform(*rows)), float(rng.uniform(*cols)))
            area = Area(label, centre, axes, strength, waves, drift)
            if not any(_touch(area, other) for other in found):
                return area
        return None

    def labels(self, rows_um: NDArray[Any], cols_um: NDArray[Any], depth_um: float) -> NDArray[np.uint8]:
        """Class of each place at a depth, uint8; 0 where nothing is painted."""
        result = np.zeros(np.shape(rows_um), np.uint8)
        finite = np.isfinite(rows_um) & np.isfinite(cols_um)
        for area in self.areas:
            high, wide = area.reach_um()
            near = finite & (np.abs(rows_um - area.centre_um[0]) < high) & (np.abs(cols_um - area.centre_um[1]) < wide)
            if near.any():
                inside = area.inside_um(rows_um[near], cols_um[near], depth_um) > 0
                part = result[near]
                part[inside] = area.label
                result[near] = part
        return result

    def changes(
        self, rows_um: NDArray[Any], cols_um: NDArray[Any], depth_um: float, shown: NDArray[np.float64]
    ) -> Floats | None:
        """How far each kind of lesion changes the tissue, (..., 5) float32 of 0 to 1; None where none does.

        Parameters
        ----------
        rows_um, cols_um
            Places.
        depth_um
            Of the section.
        shown
            (5,) how much of each class this section shows (all, or in the exclusive setting one class alone).
        """
        low = (np.min(rows_um), np.min(cols_um))
        high = (np.max(rows_um), np.max(cols_um))
        result: Floats | None = None
        for area, reach in zip(self.areas, self._reaches, strict=True):
            if area.label == NORMAL or shown[area.label - 1] == 0:
                continue
            if reach[0] > high[0] or reach[1] > high[1] or reach[2] < low[0] or reach[3] < low[1]:
                continue
            if result is None:
                result = np.zeros((*np.shape(rows_um), 5), np.float32)
            # A lesion fades over about 8 um: no outline is drawn that a network could find.
            share = np.clip(area.inside_um(rows_um, cols_um, depth_um) / 8.0 + 0.5, 0, 1)
            channel = result[..., area.label - 1]
            np.maximum(channel, share * area.strength * shown[area.label - 1], out=channel, casting="unsafe")
        return result

    @cached_property
    def _reaches(self) -> list[tuple[float, float, float, float]]:
        """Lowest row and column, highest row and column that each area may reach, um."""
        return [
            (a.centre_um[0] - high, a.centre_um[1] - wide, a.centre_um[0] + high, a.centre_um[1] + wide)
            for a in self.areas
            for high, wide in [a.reach_um()]
        ]

    # ---- nuclei

    def nuclei(self, depth_um: float, shown: NDArray[np.float64]) -> Nuclei:
        """The nuclei that a section at a depth shows.

        Notes
        -----
        One nucleus in each cell of a lattice: a layer between two laminae, 30 um along the circumference, 6 um of depth.
        A section of 3 um shows every nucleus that it touches, so neighbours 4 um apart share about a third and sections
        further apart none.
        """
        layers = np.arange(-4, int((self.settings.height_um - INSET_UM) / self.spacing_um) + 2)
        step = 30.0 / self.crowding
        columns = np.arange(int(self.settings.width_um / step) + 1)
        slab = int(np.floor(depth_um / _NUCLEUS_SLAB_UM))
        grid = np.meshgrid(layers, columns, np.arange(slab - 1, slab + 2), indexing="ij")
        layer, column, slabs = (axis.reshape(-1) for axis in grid)

        def draw(kind: int) -> NDArray[np.float64]:
            return chance(self.seed, kind, layer, column, slabs)

        width = 2.4 + 1.4 * draw(1)
        height = (slabs + draw(2)) * _NUCLEUS_SLAB_UM
        seen = np.abs(height - depth_um) < (_SECTION_UM + width) / 2
        level = self.media_um[0] + (layer + 0.5 + 0.34 * (draw(3) - 0.5)) * self.spacing_um
        cols = (column + 0.5 + 0.5 * (draw(4) - 0.5)) * step
        media = (level > self.media_um[0]) & (level < self.media_um[1])
        kept = np.where(media, 0.96, np.where(level < self.media_um[0], 0.45, 0.2))
        seen &= (draw(5) < kept) & (level > 3) & (cols > INSET_UM)
        seen &= cols < self.settings.width_um - INSET_UM
        ids = ((layer + 2**15) * 2**40 + column * 2**18 + (slabs + 2**15)).astype(np.uint64)
        lengths, tilt, density = 12 + 7 * draw(6), draw(7) - 0.5, 0.75 + 0.5 * draw(8)
        loss, round_off = draw(9), draw(10)
        picked = [a[seen] for a in (level, cols, width, lengths, tilt, density, loss, round_off, ids)]
        return self._shape(picked, depth_um, shown)

    def _shape(self, picked: list[NDArray[Any]], depth_um: float, shown: NDArray[np.float64]) -> Nuclei:
        level, cols, width, lengths, tilt, density, loss, round_off, ids = picked
        bends = self.bends(depth_um)
        rows = self._row_at(level, cols, bends)
        change = self.changes(rows, cols, depth_um, shown) if len(rows) else None
        if change is not None:
            lost, rounder = change[:, SMNL - 1], change[:, OTHER - 1] * (0.75 + 0.25 * round_off)
            # A plumper nucleus of the same area: the muscle cell changes its kind, not its amount of chromatin.
            factor = 1 - 0.5 * rounder
            lengths, width, tilt = lengths * factor, width / factor, tilt * (1 + 5 * rounder)
            stays = loss >= 0.97 * lost
            level, cols, width, lengths, tilt, density, ids, rows = (
                a[stays] for a in (level, cols, width, lengths, tilt, density, ids, rows)
            )
        angle = 0.25 * tilt
        half = lengths / 2
        tips = []
        for side in (-1, 1):
            along = cols + side * half * np.cos(angle)
            across = level + side * half * np.sin(angle)
            tips.append(np.stack([self._row_at(across, along, bends), along], axis=-1))
        return Nuclei(ids, np.stack(tips, axis=1), width, density)

    def _row_at(self, level_um: NDArray[Any], cols_um: NDArray[Any], bends: Field) -> NDArray[np.float64]:
        """Row at which a lamina level is met in a column."""
        rows = level_um + self.lumen_um(cols_um)
        for _ in range(4):
            rows = rows + (level_um - self.level_um(rows, cols_um, bends)[1])
        return np.asarray(rows, np.float64)

    # ---- vessels

    @cached_property
    def vessels(self) -> tuple[Vessel, ...]:
        """Vasa vasorum in the adventitia and the outermost media."""
        settings, rng = self.settings, generator(*self._keys, 5)
        top = INSET_UM + 12 + self.media_um[1] + 25
        bottom = settings.height_um - INSET_UM - 60
        found: list[Vessel] = []
        if bottom <= top:
            return ()
        for _ in range(int(rng.poisson(7.0 * settings.width_um / 2400)) + 3):
            radius = float(rng.uniform(9, 26))
            centre = (
                float(rng.uniform(top, bottom)),
                float(rng.uniform(INSET_UM + 40, settings.width_um - INSET_UM - 40)),
            )
            drift = (float(rng.normal(0, 0.12)), float(rng.normal(0, 0.2)))
            gaps = [np.hypot(centre[0] - v.centre_um[0], centre[1] - v.centre_um[1]) - v.radius_um for v in found]
            if min(gaps, default=1e9) > 2.5 * radius:
                found.append(Vessel(centre, radius, float(rng.uniform(3, 9)), drift, float(rng.uniform(0.7, 1.3))))
        return tuple(found)


def _touch(one: Area, other: Area) -> bool:
    """Whether the rectangles of two areas meet."""
    apart = np.abs(np.array(one.centre_um) - np.array(other.centre_um))
    return bool(np.all(apart < np.array(one.reach_um()) + np.array(other.reach_um())))
