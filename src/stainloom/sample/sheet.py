"""A contact sheet: simulated stains beside real ones, so that anybody can judge how far they are alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from stainloom.geometry import Box, Pixels, um_to_index
from stainloom.sample.aorta import Block
from stainloom.sample.staining import STAIN_NAMES

_GAP_PX, _TITLE_PX = 6, 18


def contact_sheet(blocks: Sequence[Block], real: Mapping[str, Pixels], tile_px: int = 240) -> Pixels:
    """Pieces of media of simulated blocks, a row a stain, with real pieces at the end of the row.

    Parameters
    ----------
    blocks
        Simulated blocks, a column each; the piece lies in the middle of the media, at the same place in all stains.
    real
        Pictures of real slides by stain name, (rows, cols, 3) uint8; their middle is shown. Stains without one stay empty.
    tile_px
        Side of each piece, px of the scan, 64 to 1024.

    Returns
    -------
    (rows, cols, 3) uint8.
    """
    if not blocks or not 64 <= tile_px <= 1024:
        raise ValueError(f"a sheet needs a block, and pieces of 64 to 1024 px: {len(blocks)} blocks, {tile_px} px")
    rows = []
    for name in STAIN_NAMES:
        pieces = [_titled(_media(block, name, tile_px), f"SIMULATED {name} {block.patient}") for block in blocks]
        shown = _middle(real[name], tile_px) if name in real else np.full((tile_px, tile_px, 3), 235, np.uint8)
        pieces.append(_titled(shown, f"real {name}" if name in real else f"no real {name}"))
        rows.append(np.concatenate(pieces, axis=1))
    return np.concatenate(rows, axis=0)


def _media(block: Block, stain: str, side: int) -> Pixels:
    tissue = block.tissue
    col = block.settings.width_um / 2
    row = float(tissue.lumen_um(np.array([col]))[0]) + sum(tissue.media_um) / 2
    place = um_to_index(block.glass_warp(stain).inverse().points(np.array([row, col])), block.um_per_px)
    return block.render(stain, Box(int(place[0]) - side // 2, int(place[1]) - side // 2, side, side))


def _middle(picture: Pixels, side: int) -> Pixels:
    top, left = max(0, (picture.shape[0] - side) // 2), max(0, (picture.shape[1] - side) // 2)
    piece = picture[top : top + side, left : left + side]
    result = np.full((side, side, 3), 255, np.uint8)
    result[: piece.shape[0], : piece.shape[1]] = piece
    return result


def _titled(piece: Pixels, title: str) -> Pixels:
    framed = cv2.copyMakeBorder(piece, _TITLE_PX, _GAP_PX, 0, _GAP_PX, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    cv2.putText(framed, title, (2, _TITLE_PX - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return np.asarray(framed, np.uint8)
