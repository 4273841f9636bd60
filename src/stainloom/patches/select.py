"""Which windows of a case become patches, and why the others do not."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import cv2
import numpy as np
from annotated_types import Interval
from numpy.typing import NDArray

from stainloom.case.aligned import AlignedCase, AlignedStain
from stainloom.errors import PatchError
from stainloom.geometry import Box, BoxUm, Scale, Size, box_to_um, index_to_um, size_um, um_to_box, whole
from stainloom.patches.augment import context_needed_px
from stainloom.patches.grid import windows_in
from stainloom.progress import Progress, silent
from stainloom.tissue import tissue_mask

TOO_SMALL = "smaller than a window"
TOO_LITTLE_LESION = "too little of the lesion"
OFF_SLIDE = "off the reference slide"
OFF_TISSUE = "off the tissue"
LACKS_STAIN = "a stain is missing there"

_OVERVIEW_UM = 8.0
_OVERVIEW_PX_MOST = 4_000_000


@dataclass(frozen=True)
class PatchSettings:
    """How patches are selected, cut and turned.

    Attributes
    ----------
    size_px
        Edge of a patch.
    um_per_px
        Scale of a patch.
    least_share
        A window is kept where at least this share of it is the lesion.
    least_tissue
        A window counts as tissue, and a stain as present in it, where at least this share of it is tissue.
    every_stain
        Whether windows that lack a stain are left out; otherwise they are kept and the stain is marked as missing.
    context_px
        Edge of the square around a window from which turned crops are taken.
    shift_px
        Turned crops are shifted by at most this, up and down, left and right.
    turns
        Degrees; 0 is the original, which is never shifted, and comes first.
    seed
        Of the shifts, and of the split: another one than the latest patches have shares the patients out anew.
    """

    size_px: Annotated[int, Interval(ge=8, le=512)] = 28
    um_per_px: Annotated[float, Interval(ge=0.1, le=64)] = 1.0
    least_share: Annotated[float, Interval(ge=0, le=1)] = 0.5
    least_tissue: Annotated[float, Interval(ge=0, le=1)] = 0.1
    every_stain: bool = False
    context_px: Annotated[int, Interval(ge=8, le=1024)] = 48
    shift_px: Annotated[int, Interval(ge=0, le=128)] = 4
    turns: tuple[int, ...] = (0, 60, 90, 180, 270)
    seed: Annotated[int, Interval(ge=0, le=2**31 - 1)] = 0

    def __post_init__(self) -> None:
        if not self.turns or self.turns[0] != 0 or len({t % 360 for t in self.turns}) != len(self.turns):
            raise ValueError(f"turns are different and start with 0, the original: {self.turns}")
        if len(self.turns) > 72 or not all(isinstance(t, int) for t in self.turns):
            raise ValueError(f"at most 72 turns, whole degrees: {self.turns}")
        needed = context_needed_px(self.size_px, self.shift_px, self.turns)
        needed += (needed - self.size_px) % 2
        if self.context_px < needed or (self.context_px - self.size_px) % 2:
            raise ValueError(
                f"turned crops of {self.size_px} px shifted by {self.shift_px} px have empty corners, or no centre, in "
                f"{self.context_px} px: give context_px at least {needed}, {'even' if self.size_px % 2 == 0 else 'odd'}"
            )


@dataclass(frozen=True)
class Window:
    """One place that becomes a patch of all stains.

    Attributes
    ----------
    lesion_id
        Number of the lesion in its case, from 1: connected regions of a class, in order of class, row and column.
    class_id
        Its class.
    box
        The window, px of the patch grid (pixel (0, 0) starts at um (0, 0) of the reference).
    centre_um
        Its centre on the reference, (row, col).
    share
        Which share of it is the lesion.
    present
        Per stain: whether its slide and tissue are there.
    """

    lesion_id: int
    class_id: int
    box: Box
    centre_um: tuple[float, float]
    share: float
    present: tuple[bool, ...]


@dataclass(frozen=True)
class Selection:
    """The windows of a case, and how many were left out for which reason; `lesions` counts the painted regions."""

    windows: tuple[Window, ...]
    counts: dict[str, int] = field(default_factory=dict)
    lesions: int = 0


@dataclass(frozen=True)
class _Lesion:
    id: int
    class_id: int
    box: Box
    mask: NDArray[np.bool_]


def select_windows(
    labels: NDArray[np.uint8],
    label_um: Scale,
    aligned: AlignedCase,
    classes: Sequence[int],
    settings: PatchSettings | None = None,
    *,
    progress: Progress = silent,
) -> Selection:
    """The windows over each lesion's bounding rectangle that are worth cutting.

    Parameters
    ----------
    labels
        The class raster on the reference, (rows, cols) uint8.
    label_um
        um per px of the raster.
    aligned
        The stains on the reference grid; the one without a warp is the reference.
    classes
        Ids of the classes in use; others are not cut.
    settings
        Size, scale, shares.

    Returns
    -------
    Windows by lesion, and in a lesion row by row. Every window of every rectangle is either kept or counted under one
    reason.

    Raises
    ------
    PatchError
        Where nothing of these classes is painted, or the case has no reference slide.

    Notes
    -----
    A lesion is a connected region of one class (also across corners). A stain counts as present in a window where its
    slide holds the whole square that turned crops are taken from, and shows tissue in the window.
    """
    chosen = settings or PatchSettings()
    reference = _reference(aligned)
    lesions = list(_lesions(labels, classes))
    if not lesions:
        raise PatchError(
            "no lesion is painted in this case",
            expected="at least one painted region of a class in use",
            found="none" if not labels.any() else "only classes that are not in use",
            next="paint lesions on the reference slide, or leave the case out",
        )
    counts: Counter[str] = Counter()
    candidates: list[tuple[_Lesion, Box, float]] = []
    for number, lesion in enumerate(lesions):
        progress(number, 2 * len(lesions), "windows over lesions")
        candidates += _windows_over(lesion, label_um, chosen, counts)
    boxes = [box for _, box, _ in candidates]
    on_slide = _on_slides(aligned, boxes, chosen)
    tissue = _tissue_shares(aligned, boxes, chosen, progress)
    on_tissue = tissue >= chosen.least_tissue
    windows = []
    for number, (lesion, box, share) in enumerate(candidates):
        present = on_slide[number] & on_tissue[number]
        if not on_slide[number, reference]:
            counts[OFF_SLIDE] += 1
        elif not on_tissue[number, reference]:
            counts[OFF_TISSUE] += 1
        elif chosen.every_stain and not present.all():
            counts[LACKS_STAIN] += 1
        else:
            windows.append(_window(lesion, box, share, present, chosen))
    left_out = {reason: count for reason, count in sorted(counts.items()) if count}
    return Selection(tuple(windows), left_out, len(lesions))


def _window(lesion: _Lesion, box: Box, share: float, present: NDArray[np.bool_], settings: PatchSettings) -> Window:
    middle = (settings.size_px - 1) / 2
    row, col = index_to_um(np.array([box.row + middle, box.col + middle]), (settings.um_per_px, settings.um_per_px))
    return Window(
        lesion.id, lesion.class_id, box, (float(row), float(col)), share, tuple(bool(there) for there in present)
    )


def _reference(aligned: AlignedCase) -> int:
    for number, stain in enumerate(aligned.stains):
        if stain is not None and stain.warp is None:
            return number
    raise PatchError(
        "the case has no reference slide",
        expected="one stain that the others are aligned to",
        found=", ".join(aligned.names),
        next="add the reference slide to the case",
    )


def _lesions(labels: NDArray[np.uint8], classes: Sequence[int]) -> Iterator[_Lesion]:
    number = 0
    for class_id in sorted(set(classes)):
        mask = labels == class_id
        if class_id == 0 or not mask.any():
            continue
        _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        order = sorted(range(1, len(stats)), key=lambda k: (stats[k][cv2.CC_STAT_TOP], stats[k][cv2.CC_STAT_LEFT], k))
        for part in order:
            left, top, width, height = (int(v) for v in stats[part][:4])
            number += 1
            box = Box(top, left, height, width)
            yield _Lesion(number, class_id, box, parts[top : top + height, left : left + width] == part)


def _windows_over(
    lesion: _Lesion, label_um: Scale, settings: PatchSettings, counts: Counter[str]
) -> list[tuple[_Lesion, Box, float]]:
    """Whole windows of the bounding rectangle with enough of the lesion; strip by strip, so that memory stays small."""
    size, scale = settings.size_px, (settings.um_per_px, settings.um_per_px)
    frame = um_to_box(box_to_um(lesion.box, label_um), scale)
    whole_ones, smaller = windows_in(frame, size)
    counts[TOO_SMALL] += len(smaller)
    cols = frame.cols // size
    across = _label_index(frame.col, cols * size, settings.um_per_px, label_um[1], lesion.box.col, lesion.box.cols)
    kept = []
    for first in range(0, len(whole_ones), max(1, cols)):
        strip = whole_ones[first : first + cols]
        down = _label_index(strip[0].row, size, settings.um_per_px, label_um[0], lesion.box.row, lesion.box.rows)
        shares = lesion.mask[np.ix_(down, across)].reshape(size, cols, size).mean(axis=(0, 2))
        for box, share in zip(strip, shares.tolist(), strict=True):
            if share < settings.least_share:
                counts[TOO_LITTLE_LESION] += 1
            else:
                kept.append((lesion, box, share))
    return kept


def _label_index(start: int, count: int, um: float, label_um: float, first: int, most: int) -> NDArray[np.intp]:
    """Which row (or column) of the lesion's mask each row (or column) of the patch grid lies in."""
    centres = (np.arange(start, start + count) + 0.5) * um
    index = np.floor(centres / label_um + 1e-9).astype(np.intp) - first
    return np.clip(index, 0, most - 1)


def _on_slides(aligned: AlignedCase, boxes: list[Box], settings: PatchSettings) -> NDArray[np.bool_]:
    """Per window and stain: whether the slide holds the whole square that turned crops are taken from."""
    result = np.zeros((len(boxes), len(aligned.stains)), np.bool_)
    if not boxes:
        return result
    reach = settings.context_px / 2 * settings.um_per_px
    steps = np.linspace(-reach, reach, 5)
    around = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
    middle = settings.size_px / 2
    centres = np.array([[box.row + middle, box.col + middle] for box in boxes]) * settings.um_per_px
    points = centres[:, None] + around[None]
    for number, stain in enumerate(aligned.stains):
        if stain is not None:
            result[:, number] = _inside(stain, points).all(axis=1)
    return result


def _inside(stain: AlignedStain, points_um: NDArray[np.float64]) -> NDArray[np.bool_]:
    places = points_um if stain.warp is None else stain.warp.points(points_um)
    extent = np.array(size_um(stain.pyramid.levels[0], stain.pyramid.um_per_px[0]))
    with np.errstate(invalid="ignore"):
        return np.all((places >= 0) & (places <= extent), axis=-1)


def _tissue_shares(
    aligned: AlignedCase, boxes: list[Box], settings: PatchSettings, progress: Progress
) -> NDArray[np.float64]:
    """Per window and stain: the share of it that is tissue on that section."""
    result = np.zeros((len(boxes), len(aligned.stains)))
    reference = aligned.stains[_reference(aligned)]
    assert reference is not None
    rows_um, cols_um = size_um(reference.pyramid.levels[0], reference.pyramid.um_per_px[0])
    step = max(_OVERVIEW_UM, math.sqrt(rows_um * cols_um / _OVERVIEW_PX_MOST))
    step = min(step, settings.size_px * settings.um_per_px / 2)
    frame = um_to_box(BoxUm(0, 0, rows_um, cols_um), (step, step))
    inner = [um_to_box(box_to_um(box, (settings.um_per_px,) * 2), (step, step)) for box in boxes]
    for number, stain in enumerate(aligned.stains):
        progress(len(aligned.stains) + number, 2 * len(aligned.stains), "tissue of each stain")
        if stain is None or not boxes:
            continue
        mask = tissue_mask(stain.read(frame, step), (step, step))
        total = np.pad(np.cumsum(np.cumsum(mask, axis=0, dtype=np.int64), axis=1), ((1, 0), (1, 0)))
        result[:, number] = [_share(total, box.intersect(whole(Size(*mask.shape)))) for box in inner]
    return result


def _share(total: NDArray[np.int64], box: Box) -> float:
    if box.empty:
        return 0.0
    count = total[box.row_end, box.col_end] - total[box.row, box.col_end]
    count += total[box.row, box.col] - total[box.row_end, box.col]
    return float(count) / (box.rows * box.cols)
