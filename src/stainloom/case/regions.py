"""Connected lesions of a class raster, what is known of each, and how each keeps its number while it is painted on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from stainloom.geometry import Box, Size, whole

SEVERITIES = ("", "mild", "moderate", "severe")
"""What a lesion's severity may be; empty is *not graded*."""

STATES = ("open", "done")
"""Whether somebody still works on a lesion."""


@dataclass(frozen=True, slots=True)
class Component:
    """Pixels of one class that touch at sides or corners.

    Attributes
    ----------
    class_id
        The class.
    box
        The smallest box that holds them.
    area_px
        Their number.
    first
        (row, col) of the leftmost pixel of the topmost row: names the component in its raster.
    """

    class_id: int
    box: Box
    area_px: int
    first: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Lesion:
    """One connected lesion, and what the pathologist said of it.

    Attributes
    ----------
    id
        Its number in the case, from its first stroke; never used again.
    class_id
        The main class.
    box, area_px, first
        As in `Component`, in px of the case's label raster.
    severity
        One of `SEVERITIES`.
    findings
        Ids of further classes seen in the same place.
    note
        Free text.
    author
        Who painted its first stroke.
    state
        One of `STATES`.
    """

    id: int
    class_id: int
    box: Box
    area_px: int
    first: tuple[int, int]
    severity: str = ""
    findings: tuple[int, ...] = ()
    note: str = ""
    author: str = ""
    state: str = "open"

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(f"a severity is one of {SEVERITIES}: {self.severity!r}")
        if self.state not in STATES:
            raise ValueError(f"a state is one of {STATES}: {self.state!r}")
        if not all(1 <= class_id <= 255 for class_id in self.findings):
            raise ValueError(f"further findings are class ids of 1 to 255: {self.findings}")


def components(raster: NDArray[np.uint8]) -> tuple[NDArray[np.int32], tuple[Component, ...]]:
    """Connected components of each class (eight neighbours; 0 is background).

    Parameters
    ----------
    raster
        Class ids, (rows, cols) uint8.

    Returns
    -------
    numbers, found
        (rows, cols) int32: 0 where unpainted, else 1 + the component's place in `found`; `found` is ordered by class,
        then by first pixel.
    """
    numbers = np.zeros(raster.shape, np.int32)
    found: list[Component] = []
    if raster.size == 0:
        return numbers, ()
    counts = cv2.calcHist([np.ascontiguousarray(raster)], [0], None, [256], [0, 256]).ravel()
    for class_id in (int(value) for value in np.flatnonzero(counts) if value != 0):
        mask = (raster == class_id).view(np.uint8)
        left, top, cols, rows = cv2.boundingRect(mask)
        part = mask[top : top + rows, left : left + cols]
        count, labelled, stats, _ = cv2.connectedComponentsWithStats(part, connectivity=8, ltype=cv2.CV_32S)
        here: list[tuple[Component, int]] = []
        for label in range(1, count):
            col, row, width, height, area = (int(value) for value in stats[label, :5])
            first = col + int(np.argmax(labelled[row, col : col + width] == label))
            box = Box(top + row, left + col, height, width)
            here.append((Component(class_id, box, area, (top + row, left + first)), label))
        here.sort(key=lambda pair: pair[0].first)
        names = np.zeros(count, np.int32)
        names[[label for _, label in here]] = np.arange(len(found) + 1, len(found) + len(here) + 1)
        # The first class mostly comes in this order already: a whole section is then not looked up again.
        named = labelled if np.array_equal(names, np.arange(count)) else names[labelled]
        numbers[top : top + rows, left : left + cols] += named
        found.extend(component for component, _ in here)
    return numbers, tuple(found)


def follow_lesions(
    raster: NDArray[np.uint8],
    box: Box,
    after: NDArray[np.uint8],
    known: Mapping[int, Lesion],
    *,
    next_id: int,
    author: str,
) -> tuple[tuple[Lesion | None, Lesion | None], ...]:
    """What a stroke does to the lesions of a raster: each keeps its number where it can.

    Parameters
    ----------
    raster
        The class raster before the stroke, (rows, cols) uint8.
    box, after
        The stroke's box, inside the raster, and its pixels after the stroke.
    known
        The lesions of `raster`, by id.
    next_id
        The first id that was never used.
    author
        Who paints: author of lesions that begin here.

    Returns
    -------
    Pairs (lesion before, lesion after) of all that changed, ordered by id; None before is a new lesion, None after one
    that is gone.

    Notes
    -----
    A lesion is where most of it was: among all pairs of old and new that share pixels, those of the same class come
    first, then larger overlaps, then smaller ids. So the larger half of a cut lesion keeps the id, of two joined ones
    the larger stays (and gets the other's note), and a lesion painted over in another class remains itself. Only the
    neighbourhood of the stroke is looked at: its box and the boxes of the lesions that it touches.
    """
    frame = whole(Size(*raster.shape))
    near = box.grow(1).intersect(frame)
    close = [lesion for lesion in known.values() if not lesion.box.intersect(near).empty]
    window = _around(near, [lesion.box for lesion in close])
    old_raster = raster[window.within(frame)]
    new_raster = old_raster.copy()
    new_raster[box.within(window)] = after
    old_numbers, former = components(old_raster)
    new_numbers, new = components(new_raster)
    lesion_at = {int(old_numbers[le.first[0] - window.row, le.first[1] - window.col]): le for le in close}
    spot = near.within(window)
    touched = _present(new_numbers[spot], len(new))
    gone = {lesion_at[n].id for n in _present(old_numbers[spot], len(former))}
    parents: dict[int, list[tuple[Lesion, int]]] = {number: [] for number in touched}
    shared = _shared(old_numbers, new_numbers) if former and new else {}
    for (n, o), px in shared.items():
        if n in parents and o in lesion_at:
            parents[n].append((lesion_at[o], px))
    heirs = _heirs(new, parents)
    kept = {lesion.id for lesion in heirs.values()}
    pairs: list[tuple[Lesion | None, Lesion | None]] = []
    for number in touched:
        shape = _moved(new[number - 1], window)
        old = heirs.get(number)
        if old is None:
            pairs.append((None, Lesion(next_id, shape.class_id, shape.box, shape.area_px, shape.first, author=author)))
            next_id += 1
            continue
        joined = [lesion for lesion, _ in parents[number] if lesion.id not in kept]
        note = "; ".join(lesion.note for lesion in (old, *sorted(joined, key=lambda le: le.id)) if lesion.note)
        lesion = replace(
            old, class_id=shape.class_id, box=shape.box, area_px=shape.area_px, first=shape.first, note=note
        )
        if lesion != old:
            pairs.append((old, lesion))
    pairs += [(known[number], None) for number in gone - kept]
    return tuple(sorted(pairs, key=_pair_id))


def _pair_id(pair: tuple[Lesion | None, Lesion | None]) -> int:
    lesion = pair[1] or pair[0]
    assert lesion is not None
    return lesion.id


def _heirs(new: tuple[Component, ...], parents: Mapping[int, list[tuple[Lesion, int]]]) -> dict[int, Lesion]:
    """Which lesion each new component goes on being, by its number."""
    ranked = sorted(
        (lesion.class_id != new[number - 1].class_id, -px, lesion.id, number)
        for number, several in parents.items()
        for lesion, px in several
    )
    by_id = {lesion.id: lesion for several in parents.values() for lesion, _ in several}
    heirs: dict[int, Lesion] = {}
    taken: set[int] = set()
    for _, _, lesion_id, number in ranked:
        if number not in heirs and lesion_id not in taken:
            heirs[number] = by_id[lesion_id]
            taken.add(lesion_id)
    return heirs


def _around(box: Box, others: list[Box]) -> Box:
    boxes = [box, *others]
    row, col = min(b.row for b in boxes), min(b.col for b in boxes)
    return Box(row, col, max(b.row_end for b in boxes) - row, max(b.col_end for b in boxes) - col)


def _present(numbers: NDArray[np.int32], most: int) -> list[int]:
    """The numbers above 0 that a raster holds, in order; np.unique takes five times as long on a whole section."""
    seen = np.zeros(most + 1, np.bool_)
    seen[numbers.ravel()] = True
    return [int(number) for number in np.flatnonzero(seen) if number]


def _shared(old: NDArray[np.int32], new: NDArray[np.int32]) -> dict[tuple[int, int], int]:
    """How many pixels each pair of (new, old) components shares; pairs that share none are left out."""
    both = (old > 0) & (new > 0)
    span = int(old.max(initial=0)) + 1
    codes, counts = np.unique(new[both].astype(np.int64) * span + old[both], return_counts=True)
    return {(int(code) // span, int(code) % span): int(px) for code, px in zip(codes, counts, strict=True)}


def _moved(component: Component, window: Box) -> Component:
    box = component.box
    return Component(
        component.class_id,
        Box(box.row + window.row, box.col + window.col, box.rows, box.cols),
        component.area_px,
        (component.first[0] + window.row, component.first[1] + window.col),
    )
