"""One section of a block: tissue parts, dyes and light at any tile of its scan.

A scan is rendered in tiles that lie at the same places whoever asks, so any box equals that box of the whole.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from stainloom.geometry import Box, Pixels, Points, Size, index_to_um, um_to_index
from stainloom.sample.cutting import TILE_UM, Cut
from stainloom.sample.noise import BYTES_PER_SIGMA, Field, Floats, Texture
from stainloom.sample.scanner import Scanner
from stainloom.sample.staining import PARTS, Staining
from stainloom.sample.tissue_model import EFFL, MEMA, MF, OTHER, SMNL, Nuclei, Tissue

Bytes = tuple[NDArray[np.uint8], ...]

# Slow things (bend, waves of laminae, lesions, unevenness) are computed every 4 px and interpolated linearly.
_NODE_PX = 4
_WARP_PX = 16
_BUCKET_PX = 64
_TONES = 6
_TILES_KEPT = 40
THIN_PX = 4
_THIN_KEPT = 2000
_REACH_UM = 14.0
_DOT_UM = 4.0
_DOT_DENSITY = 2.5
_LN10 = float(np.log(10.0))

# Patterns as thresholds in standard deviations of noise; the same share of tissue in lesions and outside of them.
_SPACE_AT, _SPACE_SOFT = 1.10, 0.7
_QUARTER_AT, _QUARTER_SOFT = 0.67, 0.5
_MUCIN_AT = 0.95
_LAMINA_UM, _SHARD_UM, _SHEATH_UM = 1.7, 2.9, 3.0
_SMEAR = 0.045
_FLUID = 0.35
_CHROMATIN = np.clip(1 + 0.16 * (np.arange(256) - 128) / BYTES_PER_SIGMA, 0.5, 1.5).astype(np.float32)

# Row of each part in a stack of parts.
_NUCLEUS, _CELL, _ACTIN, _ELASTIN, _SHEATH, _COLLAGEN, _MUCIN, _SMEARED, _BLOOD = range(len(PARTS))


@dataclass(frozen=True, eq=False)
class Section:
    """One section, cut, stained and scanned.

    Attributes
    ----------
    tissue
        The block's tissue.
    depth_um
        Of the section.
    shown
        (5,) how much of each lesion class it shows.
    cut, staining, scanner
        What happened to it.
    fine, coarse
        Patterns in the plane of laminae. Fine: mucin, collagen, actin, grain. Coarse: spaces, collagen, actin, breaks.
    uneven
        Field of four: thickness, and one for each dye.
    um_per_px
        Of the scan.
    uneven_size
        Standard deviation of the unevenness.
    dots_um
        (n, 2) ink dots in the block.
    """

    tissue: Tissue
    depth_um: float
    shown: NDArray[np.float64]
    cut: Cut
    staining: Staining
    scanner: Scanner
    fine: Texture
    coarse: Texture
    uneven: Field
    um_per_px: float
    uneven_size: float
    dots_um: Points

    # ---- what all tiles share

    @property
    def tile_px(self) -> int:
        """Side of a tile, px."""
        return max(16, int(min(256, TILE_UM / self.um_per_px)) // _NODE_PX * _NODE_PX)

    @property
    def margin_px(self) -> int:
        """Rim around a tile that the blur needs, px, and one node for interpolation."""
        return -(-self.scanner.reach_px // _NODE_PX) * _NODE_PX + _NODE_PX

    @cached_property
    def nuclei(self) -> Nuclei:
        """The nuclei that the section shows."""
        return self.tissue.nuclei(self.depth_um, self.shown)

    @cached_property
    def _bends(self) -> Field:
        return self.tissue.bends(self.depth_um)

    @cached_property
    def _nuclei_on_glass(self) -> tuple[NDArray[np.float64], dict[tuple[int, int], NDArray[np.intp]]]:
        """Nuclei as (n, 5) middle, half axis and half width, px; and their numbers by the bucket of the middle."""
        nuclei, back = self.nuclei, self.cut.glass.inverse()
        tips = um_to_index(back.points(nuclei.tips_um), (self.um_per_px, self.um_per_px))
        middles, halves = tips.mean(axis=1), (tips[:, 1] - tips[:, 0]) / 2
        table = np.column_stack([middles, halves, nuclei.width_um / 2 / self.um_per_px])
        rows, cols = (np.floor(np.nan_to_num(middles[:, axis], nan=-1e6) / _BUCKET_PX).astype(int) for axis in (0, 1))
        order = np.lexsort((cols, rows))
        keys = np.column_stack([rows, cols])[order]
        places: dict[tuple[int, int], NDArray[np.intp]] = {}
        if len(keys):
            starts = np.flatnonzero(np.any(np.diff(keys, axis=0, prepend=keys[:1] - 1) != 0, axis=1))
            for start, group in zip(starts, np.split(order, starts[1:]), strict=True):
                places[(int(keys[start, 0]), int(keys[start, 1]))] = group
        return table, places

    def tile(self, row: int, col: int) -> Box:
        """The tile of a tile row and tile column."""
        return Box(row * self.tile_px, col * self.tile_px, self.tile_px, self.tile_px)

    # ---- one tile

    @cached_property
    def _rendered(self) -> OrderedDict[Box, Pixels]:
        """The tiles rendered last, so that neighbouring small boxes do not pay for a tile each."""
        return OrderedDict()

    def pixels(self, tile: Box) -> Pixels:
        """The pixels of one tile, (rows, cols, 3) uint8, before JPEG; read-only."""
        kept = self._rendered.pop(tile, None)
        if kept is None:
            kept = self.render_tile(tile)
            kept.flags.writeable = False
        self._rendered[tile] = kept
        while len(self._rendered) > _TILES_KEPT:
            self._rendered.popitem(last=False)
        return kept

    def render_tile(self, tile: Box) -> Pixels:
        """The same, rendered anew."""
        frame = tile.grow(self.margin_px)
        dyes = self._dyes(frame)
        self._keep_thin(tile, dyes)
        if dyes is None:
            passed: Floats = np.ones((frame.rows, frame.cols, 3), np.float32)
        else:
            flat = dyes.reshape(len(dyes), -1).T @ (self.staining.directions * np.float32(-_LN10))
            passed = np.exp(flat, out=flat).reshape(frame.rows, frame.cols, 3)
        return self.scanner.scan(passed, self.margin_px, tile)

    @cached_property
    def _thin(self) -> dict[Box, NDArray[np.float16]]:
        """Dyes of every fourth pixel of the tiles rendered so far: the truth about dyes at no further cost."""
        return {}

    def _keep_thin(self, tile: Box, dyes: Floats | None) -> None:
        if tile in self._thin or len(self._thin) >= _THIN_KEPT:
            return
        start, side = self.margin_px + THIN_PX // 2, slice(None, None, THIN_PX)
        if dyes is None:
            count = len(self.staining.directions)
            self._thin[tile] = np.zeros((tile.rows // THIN_PX, tile.cols // THIN_PX, count), np.float16)
        else:
            inner = dyes[:, start : start + tile.rows, start : start + tile.cols][:, side, side]
            self._thin[tile] = np.moveaxis(inner, 0, -1).astype(np.float16)

    def thin_dyes(self, tile: Box) -> NDArray[np.float16]:
        """Optical density of each dye at every fourth pixel of a tile, (rows / 4, cols / 4, dyes)."""
        if tile not in self._thin:
            self._keep_thin(tile, self._dyes(tile.grow(self.margin_px)))
        if tile in self._thin:
            return self._thin[tile]
        return self.dyes_tile(tile)[THIN_PX // 2 :: THIN_PX, THIN_PX // 2 :: THIN_PX].astype(np.float16)

    def dyes_tile(self, tile: Box) -> Floats:
        """Optical density of each dye in one tile, (rows, cols, dyes) float32, before blur."""
        frame = tile.grow(self.margin_px)
        dyes = self._dyes(frame)
        if dyes is None:
            return np.zeros((tile.rows, tile.cols, len(self.staining.directions)), np.float32)
        return np.ascontiguousarray(np.moveaxis(dyes[(slice(None), *tile.within(frame))], 0, -1))

    def _nodes(self, frame: Box) -> Points:
        """Where every fourth pixel of a frame lies in the block, um: node j lies between pixels 4 j + 1 and 4 j + 2."""
        axes, shares = [], []
        for start, count in ((frame.row, frame.rows), (frame.col, frame.cols)):
            wanted = (np.arange(count // _NODE_PX) * _NODE_PX + (_NODE_PX - 1) / 2) / _WARP_PX
            coarse = np.arange(int(wanted[-1]) + 2)
            axes.append(start + coarse * _WARP_PX)
            shares.append(np.maximum(0, 1 - np.abs(wanted[:, None] - coarse)))
        index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        places = self.cut.glass.points(index_to_um(index, (self.um_per_px, self.um_per_px)))
        return np.stack([shares[0] @ places[..., axis] @ shares[1].T for axis in (0, 1)], axis=-1)

    def _dyes(self, frame: Box) -> Floats | None:
        """Dyes of a frame, (dyes, rows, cols); None where it is bare glass."""
        nodes = self._nodes(frame)
        rows, cols = nodes[..., 0], nodes[..., 1]
        edge = self._inside_um(rows, cols)
        if edge.max() < -8:
            return self._with_dots(None, nodes, frame)
        below, level = self.tissue.level_um(rows, cols, self._bends)
        slow = [edge, cols, level, below, *np.moveaxis(self._gains(rows, cols), -1, 0)]
        changes = self.tissue.changes(rows, cols, self.depth_um, self.shown)
        shape = (frame.cols, frame.rows)
        full = [cv2.resize(np.asarray(a, np.float32), shape, interpolation=cv2.INTER_LINEAR) for a in slow]
        change = None if changes is None else cv2.resize(changes, shape, interpolation=cv2.INTER_LINEAR)
        across, wave, depth = (np.asarray(a, np.float32) for a in full[1:4])
        place = _Place(across, wave, depth, None if change is None else np.asarray(change, np.float32))
        parts = self._parts(frame, place)
        self._add_vessels(parts, nodes, frame)
        flat = self.staining.uptake @ parts.reshape(len(PARTS), -1)
        dyes: Floats = flat.reshape(-1, frame.rows, frame.cols)
        dyes *= np.asarray(full[4:], np.float32)
        dyes *= np.clip(full[0] / np.float32(self.um_per_px) + np.float32(0.5), 0, 1)
        return self._with_dots(dyes, nodes, frame)

    def _inside_um(self, rows: NDArray[np.float64], cols: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far places lie within the tissue that is left, um."""
        tissue = self.tissue
        width = tissue.settings.width_um
        sides = np.minimum(cols - 48.0, width - 48.0 - cols) + 3 * np.sin(rows / 23.0) + 2 * np.sin(rows / 7.9)
        wall = np.minimum(rows - tissue.lumen_um(cols), tissue.outer_um(cols) - rows)
        inside: NDArray[np.float64] = np.minimum(np.minimum(sides, wall), -self.cut.open_um(rows, cols))
        return inside

    def _gains(self, rows: NDArray[np.float64], cols: NDArray[np.float64]) -> Floats:
        """Local strength of each dye, (..., dyes): thickness, times the dye's own unevenness."""
        noise = self.uneven.at(rows, cols)
        count = len(self.staining.directions)
        size = np.float32(self.uneven_size)
        gains = np.exp(size * 0.8 * noise[..., :1] + size * noise[..., 1 : 1 + count])
        thickness = self.cut.thickness(rows, cols)
        result: Floats = (gains * np.asarray(thickness, np.float32)[..., None] if self.cut.folds else gains).astype(
            np.float32
        )
        return result

    # ---- tissue parts

    def _parts(self, frame: Box, place: _Place) -> Floats:
        """Share of each tissue part, (parts, rows, cols)."""
        tissue = self.tissue
        fine = self.fine.at(place.level, place.cols)
        coarse = self.coarse.at(place.level, place.cols)
        parts = np.zeros((len(PARTS), frame.rows, frame.cols), np.float32)
        first, last = tissue.media_um
        low, high = float(place.below.min()), float(place.below.max())
        nuclei = self._nuclei_tile(frame, fine)
        if high > first - 4 and low < last + 4:
            self._media(parts, place, fine, coarse, nuclei)
        if low < first + 4:
            self._intima(parts, place, fine, coarse, nuclei)
        if high > last - 4:
            self._adventitia(parts, place, fine, coarse, nuclei)
        return parts

    def _media(self, parts: Floats, place: _Place, fine: Bytes, coarse: Bytes, nuclei: Floats) -> None:
        """Laminae in their sheaths, and between them muscle, collagen, mucin and spaces."""
        spacing, px = np.float32(self.tissue.spacing_um), np.float32(self.um_per_px)
        phase = (place.level - np.float32(self.tissue.media_um[0])) / spacing
        away = np.abs(phase - np.rint(phase)) * spacing
        mucoid, broken, lost, fibrous, other = place.kinds()
        breaks = _sigmas(coarse[3])
        whole = _above(breaks, -2.0 + 2.05 * broken, 0.5)
        thick = (_LAMINA_UM + (_SHARD_UM - _LAMINA_UM) * broken) / 2 + np.float32(0.12) * _sigmas(fine[3])
        elastin = np.clip((thick - away) / px + np.float32(0.5), 0, 1) * whole
        sheath = np.clip((np.float32(_SHEATH_UM / 2) - away) / px + np.float32(0.5), 0, 1)
        np.minimum(elastin, sheath, out=elastin)
        space = _table(coarse[0], _SPACE_AT, _SPACE_SOFT) * (1 - sheath)
        room = 1 - np.maximum(sheath, nuclei)
        body = room * (1 - space)
        collagen = body * _mixed(fine[1], coarse[1], fibrous)
        cell = body - collagen
        pale = _mixed(fine[2], coarse[2], other)
        flecks = _table(fine[0], _MUCIN_AT, 0.5)
        parts[_NUCLEUS] = nuclei
        parts[_CELL] = cell
        parts[_ACTIN] = cell * (1 - np.float32(0.85) * pale)
        # Struts: thin oblique links between laminae, here and there.
        strut = np.clip(1 - np.abs(_sigmas(coarse[1])) / np.float32(0.12), 0, 1) * _table(coarse[0], -0.9, -0.3)
        parts[_ELASTIN] = elastin + np.float32(0.8) * strut * body
        # Spaces between cells hold fluid that stains faintly, so that a pool of mucin is no hole less.
        parts[_SHEATH] = sheath - elastin + space * room * (1 - mucoid) * np.float32(_FLUID)
        parts[_COLLAGEN] = collagen
        parts[_MUCIN] = flecks * body * (1 - mucoid) + space * room * mucoid * np.float32(1.1)
        parts[_SMEARED] = lost * np.float32(_SMEAR)
        first, last = self.tissue.media_um
        if place.below.min() < first + 2 or place.below.max() > last - 2:
            media = np.clip((place.below - np.float32(first)) / 4 + np.float32(0.5), 0, 1)
            parts *= media * np.clip((np.float32(last) - place.below) / 4 + np.float32(0.5), 0, 1)

    def _intima(self, parts: Floats, place: _Place, fine: Bytes, coarse: Bytes, nuclei: Floats) -> None:
        """Loose collagen with few cells, and the endothelium's thin line."""
        share = np.clip(np.float32(0.5) - (place.below - np.float32(self.tissue.media_um[0])) / 4, 0, 1)
        fibres = _table(coarse[1], -0.2, 1.2) * (np.float32(0.6) + np.float32(0.4) * _table(fine[1], 0.0, 1.5))
        parts[_NUCLEUS] += nuclei * share
        parts[_COLLAGEN] += np.float32(0.6) * fibres * (1 - nuclei) * share
        parts[_CELL] += np.float32(0.3) * _table(coarse[2], 0.3, 0.8) * share
        parts[_ACTIN] += np.float32(0.15) * _table(coarse[2], 0.3, 0.8) * share
        parts[_MUCIN] += np.float32(0.35) * _table(fine[0], 0.6, 0.8) * share
        parts[_CELL] += np.clip(2 - place.below, 0, 1) * np.float32(0.8) * share

    def _adventitia(self, parts: Floats, place: _Place, fine: Bytes, coarse: Bytes, nuclei: Floats) -> None:
        """Coarse wavy bundles of collagen, loosely packed."""
        share = np.clip((place.below - np.float32(self.tissue.media_um[1])) / 4 + np.float32(0.5), 0, 1)
        wide = self.coarse.at(place.level * np.float32(0.4), place.cols * np.float32(0.3), (37.0, 91.0))
        bundle = _table(wide[1], -0.35, 0.5) * (np.float32(0.7) + np.float32(0.3) * _table(fine[1], 0.0, 1.5))
        bundle *= _table(coarse[0], 1.2, -0.8)
        parts[_NUCLEUS] += nuclei * share
        parts[_COLLAGEN] += bundle * (1 - nuclei) * share
        parts[_ELASTIN] += np.float32(0.6) * _table(wide[3], 1.9, 0.3) * share
        parts[_MUCIN] += np.float32(0.2) * _table(fine[0], 0.6, 0.8) * share

    def _nuclei_tile(self, frame: Box, fine: Bytes) -> Floats:
        """Chromatin of the nuclei in a frame, (rows, cols), 0 to about 1.2."""
        drawn = np.zeros((frame.rows, frame.cols), np.uint8)
        table, places = self._nuclei_on_glass
        reach = int(_REACH_UM / self.um_per_px) + 2
        chosen = []
        for row in range((frame.row - reach) // _BUCKET_PX, (frame.row_end + reach) // _BUCKET_PX + 1):
            for col in range((frame.col - reach) // _BUCKET_PX, (frame.col_end + reach) // _BUCKET_PX + 1):
                if (row, col) in places:
                    chosen.append(places[(row, col)])
        if not chosen:
            return drawn.astype(np.float32)
        picked = np.concatenate(chosen)
        turns = np.linspace(0, 2 * np.pi, 14, endpoint=False)
        middles, halves, width = table[picked, :2], table[picked, 2:4], table[picked, 4]
        side_way = np.stack([-halves[:, 1], halves[:, 0]], axis=-1)
        side_way *= (width / np.maximum(np.hypot(*halves.T), 1e-6))[:, None]
        # Spindles: the sine to the power 1.3 draws the ends out.
        sines = np.sign(np.sin(turns)) * np.abs(np.sin(turns)) ** 1.3
        rings = middles[:, None] + halves[:, None] * np.cos(turns)[:, None] + side_way[:, None] * sines[:, None]
        corners = np.rint((rings[..., ::-1] - np.array([frame.col, frame.row])) * 16).astype(np.int32)
        tones = np.clip((self.nuclei.density[picked] - 0.75) * (2 * _TONES), 0, _TONES - 1).astype(int)
        for tone in range(_TONES):
            cv2.fillPoly(drawn, list(corners[tones == tone]), 128.0 + 84.0 * tone / (_TONES - 1), cv2.LINE_AA, 4)
        return np.asarray(
            cv2.multiply(drawn, cv2.LUT(fine[3], _CHROMATIN), scale=1 / 200, dtype=cv2.CV_32F), np.float32
        )

    def _add_vessels(self, parts: Floats, nodes: Points, frame: Box) -> None:
        """Rings of muscle around a lumen with some red cells."""
        flat = nodes.reshape(-1, 2)
        low, high = flat.min(axis=0), flat.max(axis=0)
        for vessel in self.tissue.vessels:
            centre = np.array(vessel.centre_um) + np.array(vessel.drift) * self.depth_um
            reach = vessel.radius_um * 1.3 + vessel.wall_um + 4
            if np.any(centre + reach < low) or np.any(centre - reach > high):
                continue
            away = np.hypot((nodes[..., 0] - centre[0]) * vessel.squeeze, (nodes[..., 1] - centre[1]) / vessel.squeeze)
            gap = np.asarray(cv2.resize(away.astype(np.float32), (frame.cols, frame.rows)), np.float32)
            gap -= np.float32(vessel.radius_um)
            px = np.float32(self.um_per_px)
            outside = np.clip((gap - np.float32(vessel.wall_um)) / px + np.float32(0.5), 0, 1)
            ring = np.clip(gap / px + np.float32(0.5), 0, 1) - outside
            parts *= outside
            parts[_CELL] += ring
            parts[_ACTIN] += ring * np.float32(0.9)
            parts[_NUCLEUS] += np.clip(1.2 - np.abs(gap) / 1.2, 0, 1) * np.float32(0.5)
            parts[_BLOOD] += np.clip(-gap / 3 - np.float32(0.3), 0, 1) * np.float32(0.35)

    def _with_dots(self, dyes: Floats | None, nodes: Points, frame: Box) -> Floats | None:
        """Planted ink, the same in every section."""
        if not len(self.dots_um):
            return dyes
        low, high = nodes.reshape(-1, 2).min(axis=0) - 2 * _DOT_UM, nodes.reshape(-1, 2).max(axis=0) + 2 * _DOT_UM
        near = self.dots_um[np.all((self.dots_um >= low) & (self.dots_um <= high), axis=1)]
        if not len(near):
            return dyes
        if dyes is None:
            dyes = np.zeros((len(self.staining.directions), frame.rows, frame.cols), np.float32)
        shape = (frame.cols, frame.rows)
        rows, cols = (np.asarray(cv2.resize(nodes[..., axis], shape), np.float64) for axis in (0, 1))
        for dot in near:
            away = np.hypot(rows - dot[0], cols - dot[1])
            ink = np.clip((_DOT_UM - away) / self.um_per_px + 0.5, 0, 1).astype(np.float32)
            dyes = np.maximum(dyes * (1 - ink), ink * np.float32(_DOT_DENSITY)).astype(np.float32)
        return dyes


@dataclass(frozen=True, eq=False)
class _Place:
    """Where the pixels of a frame lie in the wall, um, and how far lesions change the tissue there."""

    cols: Floats
    level: Floats
    below: Floats
    change: Floats | None

    def kinds(self) -> tuple[Floats, ...]:
        """Change by MEMA, EFFL, SMNL, MF and other."""
        if self.change is None:
            return tuple(np.zeros((1, 1), np.float32) for _ in range(5))
        return tuple(self.change[..., label - 1] for label in (MEMA, EFFL, SMNL, MF, OTHER))


def _sigmas(noise: NDArray[np.uint8]) -> Floats:
    result: Floats = (noise.astype(np.float32) - np.float32(128)) * np.float32(1 / BYTES_PER_SIGMA)
    return result


def _above(sigmas: Floats, at: Floats | float, soft: float) -> Floats:
    result: Floats = np.clip((sigmas - at) * np.float32(1 / soft) + np.float32(0.5), 0, 1)
    return result


def _table(noise: NDArray[np.uint8], at: float, soft: float) -> Floats:
    """Share above a threshold, from bytes by a table; a negative softness gives the share below."""
    table = np.clip(((np.arange(256) - 128) / BYTES_PER_SIGMA - at) / soft + 0.5, 0, 1).astype(np.float32)
    return np.asarray(cv2.LUT(noise, table), np.float32)


def _mixed(fine: NDArray[np.uint8], coarse: NDArray[np.uint8], share: Floats) -> Floats:
    """A quarter of the tissue: in fine grains where `share` is 0, in coarse patches where it is 1, the same amount."""
    if share.size == 1:
        return _table(fine, _QUARTER_AT, _QUARTER_SOFT)
    keep = 1 - share
    weight = np.asarray(1 / np.sqrt(keep * keep + share * share), np.float32)
    mixed = (_sigmas(fine) * keep + _sigmas(coarse) * share) * weight
    return _above(mixed, _QUARTER_AT, _QUARTER_SOFT)


def tile_numbers(box: Box, tile_px: int, size: Size) -> list[tuple[int, int]]:
    """Tile rows and columns that a box of a scan touches."""
    inside = box.intersect(Box(0, 0, size.rows, size.cols))
    if inside.empty:
        return []
    rows = range(inside.row // tile_px, (inside.row_end - 1) // tile_px + 1)
    cols = range(inside.col // tile_px, (inside.col_end - 1) // tile_px + 1)
    return [(row, col) for row in rows for col in cols]
