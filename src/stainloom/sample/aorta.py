"""The simulated study: blocks of aortic wall, their five sections in five stains, and the truth about them."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stainloom.case.resample import source_places
from stainloom.case.stains import STAINS
from stainloom.case.warp import Warp
from stainloom.geometry import Box, Pixels, Points, Scale, Size, as_scale, size_at, tiles, whole
from stainloom.sample.cutting import TILE_UM, Cut, cut
from stainloom.sample.noise import Field, Floats, Texture, at_depth, generator, smooth_noise
from stainloom.sample.scanner import Scanner, grain_for, scanner_for, scanner_on
from stainloom.sample.section import THIN_PX, Section, tile_numbers
from stainloom.sample.settings import SimulationSettings
from stainloom.sample.staining import STAIN_NAMES, Staining, dye_slide, shown
from stainloom.sample.tissue_model import INSET_UM, Nuclei, Tissue

__all__ = ["Block", "SimulationSettings", "simulate_block"]

REFERENCE = STAIN_NAMES[0]

# Period of the patterns 512 um.
_FINE_PX, _FINE_UM = 1024, 0.5
_COARSE_PX, _COARSE_UM = 512, 1.0
_UNEVEN_PX, _UNEVEN_UM = 256, 9.0
_PATTERN_DEPTH_UM = 14.0
_TRUTH_TILE_PX = 512


@dataclass(frozen=True, eq=False)
class Block:
    """One simulated block of one patient: pure, and drawn anew from its settings whenever it is asked for.

    Attributes
    ----------
    settings
        Of the study.
    number
        Of the patient, from 0.
    dots_um
        (n, 2) ink dots planted in the tissue, in the block's frame.
    """

    settings: SimulationSettings
    number: int
    dots_um: Points = dataclasses.field(default_factory=lambda: np.zeros((0, 2)))

    # ---- names and sizes

    @property
    def name(self) -> str:
        """Name of the case."""
        return f"S{self.number + 1:02d}"

    @property
    def patient(self) -> str:
        """The patient's pseudonym."""
        return f"P{self.number + 1:02d}"

    @property
    def stains(self) -> tuple[str, ...]:
        """Names of the stains, the reference first, in the order of the sections."""
        return STAIN_NAMES

    @property
    def scanner(self) -> str:
        """The scanner that scanned the patient's slides."""
        return scanner_for(self.settings, self.number)

    @property
    def um_per_px(self) -> Scale:
        """Of the scans."""
        return as_scale(self.settings.um_per_px)

    def size(self, stain: str) -> Size:
        """Size of a stain's scan, px."""
        return self._cuts[stain].size

    def depth_um(self, stain: str) -> float:
        """Depth of a stain's section below the first, um."""
        return STAIN_NAMES.index(stain) * self.settings.section_um

    def with_dots(self, points_um: Points) -> Block:
        """The same block with ink dots of 8 um at places of the block's frame, (n, 2)."""
        return dataclasses.replace(self, dots_um=np.asarray(points_um, np.float64))

    # ---- pixels

    def render(self, stain: str, box: Box) -> Pixels:
        """Any box of a stain's scan, (rows, cols, 3) uint8, before JPEG; white outside the scan.

        A box rendered alone equals that box of the whole, bit for bit.
        """
        result = np.full((box.rows, box.cols, 3), 255, np.uint8)
        section = self._section(stain)
        for numbers in tile_numbers(box, section.tile_px, self.size(stain)):
            tile = section.tile(*numbers)
            shared = tile.intersect(box).intersect(whole(self.size(stain)))
            result[shared.within(box)] = section.pixels(tile)[shared.within(tile)]
        return result

    def dyes(self, stain: str, box: Box) -> Floats:
        """Optical density of each of the stain's dyes, (rows, cols, dyes) float32, before blur; 0 outside the scan."""
        section = self._section(stain)
        result = np.zeros((box.rows, box.cols, len(section.staining.directions)), np.float32)
        for numbers in tile_numbers(box, section.tile_px, self.size(stain)):
            tile = section.tile(*numbers)
            shared = tile.intersect(box).intersect(whole(self.size(stain)))
            result[shared.within(box)] = section.dyes_tile(tile)[shared.within(tile)]
        return result

    def dye_map(self, stain: str) -> NDArray[np.float16]:
        """The dyes at pixel (2, 2) of each 4 x 4 pixels of the whole scan, (rows / 4, cols / 4, dyes), rounded to nearest.

        Costs nothing after the scan was rendered: tiles leave these numbers behind.
        """
        size, section = self.size(stain), self._section(stain)
        rows, cols = (len(range(THIN_PX // 2, extent, THIN_PX)) for extent in size.shape)
        result = np.zeros((rows, cols, len(section.staining.directions)), np.float16)
        for numbers in tile_numbers(whole(size), section.tile_px, size):
            tile = section.tile(*numbers)
            row, col = tile.row // THIN_PX, tile.col // THIN_PX
            part = result[row : row + tile.rows // THIN_PX, col : col + tile.cols // THIN_PX]
            part[:] = section.thin_dyes(tile)[: part.shape[0], : part.shape[1]]
        return result

    # ---- truth

    def glass_warp(self, stain: str) -> Warp:
        """A stain's own um to um of the block's frame."""
        return self._cuts[stain].glass

    def truth_warp(self, stain: str) -> Warp:
        """HE um to the stain's um: HE's bend taken off, then the stain's put on."""
        if stain == REFERENCE:
            return Warp.from_affine()
        return self._cuts[REFERENCE].glass.then(self._cuts[stain].glass.inverse())

    def mask(self, stain: str, um_per_px: float) -> NDArray[np.uint8]:
        """Classes in the stain's own frame at the section's own depth, (rows, cols) uint8."""
        depth = self.depth_um(stain)
        return self._raster(stain, um_per_px, lambda rows, cols: self.tissue.labels(rows, cols, depth), np.uint8)

    def reference_mask_in(self, stain: str, um_per_px: float) -> NDArray[np.uint8]:
        """What is painted on HE, as it lies in the stain's own frame: HE's depth, HE's lost tissue left out."""
        return self._raster(stain, um_per_px, self._painted_at, np.uint8)

    def painted(self, um_per_px: float) -> NDArray[np.uint8]:
        """What a pathologist paints on HE: lesions and some normal media, on HE's grid, where HE has tissue."""
        return self.reference_mask_in(REFERENCE, um_per_px)

    def lost(self, stain: str, um_per_px: float) -> NDArray[np.bool_]:
        """Torn or lost tissue in the stain's own frame, (rows, cols) bool."""
        section = self._cuts[stain]
        return self._raster(stain, um_per_px, lambda rows, cols: section.open_um(rows, cols) > 0, np.bool_)

    def landmarks(self, stain: str, count: int = 80) -> Points:
        """The same places of the tissue in each stain, (count, 2) um in the stain's own frame, index by index."""
        return self._cuts[stain].glass.inverse().points(self.landmarks_in_block(count))

    def landmarks_in_block(self, count: int = 80) -> Points:
        """Places spread over the tissue, (count, 2) um in the block's frame."""
        rng = generator(self.settings.seed, self.number, 8)
        far = INSET_UM + 25.0
        high = np.array([self.settings.height_um - far - 15, self.settings.width_um - far])
        points: Points = far + rng.random((count, 2)) * (high - far)
        return points

    def nuclei(self, stain: str) -> Nuclei:
        """The nuclei that a stain's section shows, in the block's frame."""
        return self._section(stain).nuclei

    def staining(self, stain: str) -> Staining:
        """How a stain's slide came out: directions, uptake, failure."""
        return self._stainings[stain]

    def facts(self) -> dict[str, Any]:
        """Figures of the block for the report and the checks, plain numbers and names only."""
        return copy.deepcopy(self._facts)

    @cached_property
    def _facts(self) -> dict[str, Any]:
        seen = {stain: set(self.nuclei(stain).ids.tolist()) for stain in STAIN_NAMES}
        shared = {
            f"{one} and {other}": len(seen[one] & seen[other]) / max(1, len(seen[one]))
            for place, one in enumerate(STAIN_NAMES)
            for other in STAIN_NAMES[place + 1 :]
        }
        return {
            "patient": self.patient,
            "scanner": self.scanner,
            "shared_nuclei": shared,
            "nuclei_per_mm2": {stain: self._nuclei_per_mm2(stain) for stain in STAIN_NAMES},
            "lamina_spacing_um": self.tissue.spacing_um,
            "laminae": self.tissue.laminae,
            "areas": [
                {
                    "label": a.label,
                    "mm2": float(np.pi * a.axes_um[0] * a.axes_um[1] / 1e6),
                    "strength": a.strength,
                    "extent_um": [2 * reach for reach in a.reach_um()],
                }
                for a in self.tissue.areas
            ],
            "failed": {name: self.staining(name).failed for name in STAIN_NAMES if self.staining(name).failed},
            "lies": {
                name: {"turn_deg": one.turn_deg, "mirrored": one.mirrored, "residual_um": one.glass.residual_um}
                for name, one in self._cuts.items()
            },
            "directions": {name: self.staining(name).directions.tolist() for name in STAIN_NAMES},
        }

    def _nuclei_per_mm2(self, stain: str) -> float:
        """Nuclei of normal media per mm2 of section."""
        tissue, centres = self.tissue, self.nuclei(stain).centres_um
        below = centres[:, 0] - tissue.lumen_um(centres[:, 1])
        first, last = tissue.media_um
        clear = tissue.labels(centres[:, 0], centres[:, 1], self.depth_um(stain)) % 6 == 0
        step = 8.0
        rows, cols = np.meshgrid(
            np.arange(step / 2, self.settings.height_um, step),
            np.arange(INSET_UM + step / 2, self.settings.width_um - INSET_UM, step),
            indexing="ij",
        )
        level = rows - tissue.lumen_um(cols)
        media = (level > first) & (level < last) & (tissue.labels(rows, cols, self.depth_um(stain)) % 6 == 0)
        return float(np.sum((below > first) & (below < last) & clear) / max(1e-9, media.sum() * step * step / 1e6))

    # ---- how it is made

    @cached_property
    def tissue(self) -> Tissue:
        """The tissue: wall, lesions, nuclei, vessels."""
        return Tissue(self.settings, self.number)

    @cached_property
    def _cuts(self) -> dict[str, Cut]:
        settings = self.settings
        return {
            name: cut(settings, generator(settings.seed, self.number, 10, place), upright=place == 0)
            for place, name in enumerate(STAIN_NAMES)
        }

    @cached_property
    def _stainings(self) -> dict[str, Staining]:
        settings = self.settings
        result = {}
        for place, stain in enumerate(STAINS):
            batch_rng = generator(settings.seed, 12, self.number // 4, place)
            batch = float(np.exp(0.5 * settings.dye_variation * np.clip(batch_rng.normal(), -2, 2)))
            patient_rng = generator(settings.seed, self.number, 13)
            rng = generator(settings.seed, self.number, 14, place)
            result[stain.name] = dye_slide(settings, stain, rng, patient_rng, batch)
        return result

    @cached_property
    def _grain(self) -> Floats:
        return grain_for(self.settings, self.number)

    def _scanner_on(self, stain: str) -> Scanner:
        rng = generator(self.settings.seed, self.number, 15, STAIN_NAMES.index(stain))
        return scanner_on(self.settings, self.scanner, rng, self._grain, self.staining(stain).failed)

    @cached_property
    def _fine(self) -> Texture:
        """Patterns below the size of a cell; for each patient its own."""
        sizes = ((1.4, 2.4), (1.2, 3.2), (1.4, 2.4), (1.2, 2.0))
        channels = [
            smooth_noise(generator(self.settings.seed, self.number, 16, k), _FINE_PX, rows, cols)
            for k, (rows, cols) in enumerate(sizes)
        ]
        return Texture.of(channels, _FINE_UM, 1.6 * TILE_UM)

    @cached_property
    def _coarse(self) -> tuple[tuple[Floats, Floats], ...]:
        """Patterns of the size of a cell and above: two of each, mixed by depth."""
        sizes = ((2.0, 6.0), (2.5, 5.0), (3.0, 6.5), (3.0, 4.5))
        return tuple(
            (
                smooth_noise(generator(self.settings.seed, self.number, 17, k, 0), _COARSE_PX, rows, cols),
                smooth_noise(generator(self.settings.seed, self.number, 17, k, 1), _COARSE_PX, rows, cols),
            )
            for k, (rows, cols) in enumerate(sizes)
        )

    @cached_property
    def _sections(self) -> dict[str, Section]:
        return {}

    def _section(self, stain: str) -> Section:
        if stain not in self._sections:
            self._sections[stain] = self._make(stain)
        return self._sections[stain]

    def _make(self, stain: str) -> Section:
        settings, depth, place = self.settings, self.depth_um(stain), STAIN_NAMES.index(stain)
        coarse = [at_depth(*pair, depth, _PATTERN_DEPTH_UM) for pair in self._coarse]
        uneven = [
            smooth_noise(generator(settings.seed, self.number, 18, place, k), _UNEVEN_PX, size, size)
            for k, size in enumerate((80 / _UNEVEN_UM, *(3 * (26 / _UNEVEN_UM,))))
        ]
        return Section(
            tissue=self.tissue,
            depth_um=depth,
            shown=shown(settings, stain),
            cut=self._cuts[stain],
            staining=self.staining(stain),
            scanner=self._scanner_on(stain),
            fine=self._fine,
            coarse=Texture.of(coarse, _COARSE_UM, 1.6 * TILE_UM),
            uneven=Field(np.dstack(uneven), _UNEVEN_UM),
            um_per_px=settings.um_per_px,
            uneven_size=settings.uneven,
            dots_um=self.dots_um,
        )

    def _painted_at(self, rows: NDArray[Any], cols: NDArray[Any]) -> NDArray[np.uint8]:
        labels = self.tissue.labels(rows, cols, self.depth_um(REFERENCE))
        labels[self._cuts[REFERENCE].open_um(rows, cols) > 0] = 0
        return labels

    def _raster(self, stain: str, um_per_px: float, at: Any, kind: Any) -> NDArray[Any]:
        """A picture on a stain's frame of something that is known at each place of the block."""
        extent = (self.size(stain).rows * self.um_per_px[0], self.size(stain).cols * self.um_per_px[1])
        size, scale = size_at(extent, um_per_px), as_scale(um_per_px)
        result = np.zeros(size.shape, kind)
        for tile in tiles(size, _TRUTH_TILE_PX):
            places = source_places(self._cuts[stain].glass, tile, scale)
            result[tile.within(whole(size))] = at(places[..., 0], places[..., 1])
        return result


def simulate_block(settings: SimulationSettings, patient: int) -> Block:
    """One block of a simulated study.

    Parameters
    ----------
    settings
        Of the study.
    patient
        Number of the patient, 0 to `settings.patients - 1`.

    Returns
    -------
    A block that renders any box of any stain on demand.
    """
    if not 0 <= patient < settings.patients:
        raise ValueError(f"the study has patients 0 to {settings.patients - 1}: {patient}")
    return Block(settings, patient)
