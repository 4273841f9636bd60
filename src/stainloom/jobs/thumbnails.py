"""Small pictures of slides: for lists, and for judging an alignment or a colour at a glance."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stainloom.case.aligned import AlignedStain, Look
from stainloom.case.case import Case
from stainloom.errors import CaseError
from stainloom.geometry import Pixels, size_at, whole
from stainloom.io.casefile import StudyFolder
from stainloom.io.tiles import TileCache
from stainloom.jobs.opening import colour_of, open_stain

_CELLS = 6
_CACHE_BYTES = 64 * 2**20


def thumbnail(
    study: Path,
    case: str,
    stain: str,
    *,
    px: int = 128,
    look: Look = "normalized",
    aligned: bool = True,
    checkered: bool = False,
) -> Pixels:
    """One stain of a case in a small picture.

    Parameters
    ----------
    study, case, stain
        Which slide.
    px
        Longer side of the picture.
    look
        Its colours: as they were scanned, or normalized where they are.
    aligned
        On the reference, where an alignment is there; otherwise as it lies on its own glass.
    checkered
        In turns with the reference, cell by cell: structures run on across the edges where the stain is aligned. A
        stain without an alignment is laid on the reference as it lies on its own glass.

    Returns
    -------
    (rows, cols, 3) uint8.

    Raises
    ------
    CaseError
        Where the case has no such slide, or its file is not there.
    """
    folder = StudyFolder.open(study)
    found = folder.case(case)
    if stain not in found.slides:
        raise CaseError(f"case {case} has no such slide", stain=stain, expected=", ".join(found.slides), found=stain)
    cache = TileCache(_CACHE_BYTES)
    if not checkered:
        return _small(folder, found, stain, stain if not aligned else folder.study.reference, px, look, cache)
    below = _small(folder, found, folder.study.reference, folder.study.reference, px, look, cache)
    above = _small(folder, found, stain, folder.study.reference, px, look, cache)
    cell = max(1, px // _CELLS)
    rows, cols = (np.arange(n) // cell for n in below.shape[:2])
    return np.where(((rows[:, None] + cols[None, :]) % 2 == 0)[..., None], below, above)


def _small(folder: StudyFolder, case: Case, stain: str, frame: str, px: int, look: Look, cache: TileCache) -> Pixels:
    """A stain in the frame of another, its longer side this many px."""
    size = case.slide(frame).size_um
    scale = max(size) / px
    warp = None if stain == frame else folder.current_warp(case.name, stain)
    with open_stain(folder, case, stain, cache) as slide:
        drawn = AlignedStain(stain, slide, None if warp is None else warp[0], colour_of(folder, case, stain))
        return drawn.read(whole(size_at(size, (scale, scale))), scale, look)
