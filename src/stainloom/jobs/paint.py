"""What is painted on one case, held by the process whose window shows it: kept stroke by stroke, carried box by box."""

from __future__ import annotations

import math
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stainloom.case.case import Case
from stainloom.case.regions import Lesion
from stainloom.case.resample import resample_labels
from stainloom.case.warp import Warp
from stainloom.errors import LabelError, StainloomError
from stainloom.geometry import Box, Scale, Size, as_scale, box_of, box_to_um, size_at, whole
from stainloom.io.casefile import StudyFolder
from stainloom.io.snapshot import read_labels
from stainloom.jobs.opening import open_store, read_snapshot, verdict_of

if TYPE_CHECKING:
    from stainloom.io.hold import Hold
    from stainloom.io.strokes import LabelStore, StrokeFacts

_SPACING_PX = 16
_SAMPLES_MOST = 200
_MARGIN_PX = 4
_STRIP_ROWS = 512


class Paint:
    """The class raster of one case and its store, for one window.

    Attributes
    ----------
    raster
        (rows, cols) uint8 on the reference slide; 0 is not annotated. The window paints in it, and `keep` stores what
        changed. None where what was painted cannot be shown (`refusal` says why): never an empty raster in its place.
    um_per_px
        Of the raster; its outer corner is um (0, 0) of the reference.
    refusal
        Why nothing can be painted; empty where it can.
    seen_px
        Pixels of each class by id, where the raster is only looked at; empty where it is painted on.

    Notes
    -----
    One thread at a time: a lock sees to that. `keep`, `undo` and `redo` wait for the disk.
    """

    def __init__(self, folder: StudyFolder, case: Case, author: str) -> None:
        self.folder, self.case = folder, case
        self.raster: NDArray[np.uint8] | None = None
        self.um_per_px: Scale = as_scale(folder.study.label_um)
        self.refusal = ""
        self.seen_px: dict[int, int] = {}
        self._author = author
        self._hold: Hold | None = None
        self._store: LabelStore | None = None
        self._lock = threading.RLock()
        self._snapshot_of: int | None = None

    @classmethod
    def open(cls, study: Path, case: str, author: str = "window") -> Paint:
        """Hold a case and read its paint; where it cannot be held, `refusal` says by whom, and it can be looked at."""
        folder = StudyFolder.open(study)
        paint = cls(folder, folder.case(case), author)
        try:
            paint._open()
            if paint.refusal and paint.raster is not None:
                paint.seen_px = _class_counts(paint.raster)
        except BaseException:
            paint.close()
            raise
        return paint

    def _open(self) -> None:
        if not os.access(self.folder.case_path(self.case.name), os.W_OK):
            self.refusal = "The folder of this case cannot be written: you can look, not paint."
            self._read_at_rest()
            return
        try:
            self._hold = self.folder.hold(self.case.name).__enter__()
        except StainloomError as error:
            self.refusal = f"You can look, not paint: {error.found}." if error.found else str(error)
            self._read_left_by_holder()
            return
        try:
            if self.folder.labels_path(self.case.name).exists():
                self._store = open_store(self.folder, self.case, self._author)
                self.raster = self._store.raster()
            else:
                self.raster = np.zeros(self.size.shape, np.uint8)
        except StainloomError as error:
            self.refusal = str(error)

    def _read_at_rest(self) -> None:
        if not self.folder.labels_path(self.case.name).exists():
            return
        try:
            store = open_store(self.folder, self.case, read_only=True)
        except StainloomError as error:
            self.refusal = str(error)
            return
        try:
            self.raster = store.raster()
        finally:
            store.close()

    def _read_left_by_holder(self) -> None:
        if not self.folder.snapshot_path(self.case.name).exists():
            return
        try:
            self.raster = read_snapshot(self.folder, self.case).raster
        except StainloomError as error:
            self.refusal = f"{self.refusal} {error}"

    @property
    def size(self) -> Size:
        """Of the raster, px."""
        return size_at(self.case.slide(self.folder.study.reference).size_um, self.um_per_px)

    @property
    def stroke(self) -> int:
        """Number of the last stroke kept; 0 before the first."""
        return 0 if self._store is None else self._store.head.number

    @property
    def labels_id(self) -> str:
        """What names the paint that is kept; empty where nothing was painted, or where it is only looked at."""
        with self._lock:
            return "" if self._store is None else self._store.labels_id

    @property
    def undoable(self) -> bool:
        """Whether there is a stroke to take back."""
        return self._store is not None and self._store.undoable > 0

    @property
    def next_undo(self) -> StrokeFacts | None:
        """The stroke that `undo` would take back; None where there is none."""
        with self._lock:
            return self._store.facts(self._store.undoable) if self._store is not None and self.undoable else None

    @property
    def next_redo(self) -> StrokeFacts | None:
        """The stroke that `redo` would make again; None where there is none."""
        with self._lock:
            return self._store.facts(self._store.redoable) if self._store is not None and self.redoable else None

    @property
    def redoable(self) -> bool:
        """Whether there is a stroke to make again."""
        return self._store is not None and self._store.redoable > 0

    def lesions(self) -> tuple[Lesion, ...]:
        """The connected lesions, by id."""
        with self._lock:
            return () if self._store is None else self._store.regions()

    def keep(self, box: Box, after: NDArray[np.uint8], *, what: str, class_id: int) -> Box:
        """Store what the raster shows in a box; it is on the disk when this returns.

        Parameters
        ----------
        box
            Pixels of the raster.
        after
            What they are now, uint8 of the box's shape.
        what, class_id
            As in `LabelStore.paint`.

        Returns
        -------
        The part of the box that changed; empty where nothing did.

        Raises
        ------
        LabelError
            Where it could not be kept: disk full, hold lost. It can be tried again.
        """
        with self._lock:
            store = self._writable()
            before = store.read(box)
            changed = _changed(box, before, after)
            if not changed.empty:
                store.paint(box, before, after, what=what, class_id=class_id)
            return changed

    def undo(self) -> tuple[Box, NDArray[np.uint8]] | None:
        """Take back the last stroke: the box that changed and its pixels now; None where none is left."""
        with self._lock:
            return self._turned(self._writable().undo())

    def redo(self) -> tuple[Box, NDArray[np.uint8]] | None:
        """Make the stroke again that was taken back last, as `undo` takes it back."""
        with self._lock:
            return self._turned(self._writable().redo())

    def _turned(self, box: Box | None) -> tuple[Box, NDArray[np.uint8]] | None:
        return None if box is None else (box, self._writable().read(box))

    def _writable(self) -> LabelStore:
        if self._hold is None or self.refusal:
            raise LabelError("nothing can be painted on this case", found=self.refusal, next="open the case again")
        self._hold.check()
        if self._store is None:
            self._store = open_store(self.folder, self.case, self._author)
        return self._store

    def differs(self, raster: NDArray[np.uint8]) -> Box:
        """Where a raster is not what the store holds; an empty box where they are equal."""
        with self._lock:
            if self._store is None:
                kept = np.zeros(self.size.shape, np.uint8)
            else:
                kept = self._store.read(whole(self.size))
            return _changed(whole(self.size), kept, raster)

    def snapshot(self) -> str:
        """Write what jobs read, where anything changed since the last one; its id, empty where nothing was painted."""
        with self._lock:
            if self._store is None or self._hold is None:
                return ""
            path = self.folder.snapshot_path(self.case.name)
            if self._snapshot_of is None and path.exists():
                self._snapshot_of = self._stroke_of(path)
            if self._snapshot_of != self._store.head.number:
                self._store.snapshot(path)
                self._snapshot_of = self._store.head.number
            return self._store.labels_id

    def _stroke_of(self, snapshot: Path) -> int | None:
        """The stroke that a snapshot of this paint was written after; None where it is damaged, or of other paint."""
        assert self._store is not None
        with suppress(LabelError):
            found = read_labels(snapshot)
            same = found.labels_id == self._store.labels_id and found.lesions == self._store.regions()
            return found.stroke if same else None
        return None

    def backup(self) -> None:
        """Copy the store beside it, verified."""
        with self._lock:
            if self._store is not None and self._hold is not None:
                self._store.backup()

    def close(self) -> None:
        """Leave the store at rest and let the case go. Closing twice does nothing."""
        with self._lock:
            store, self._store = self._store, None
            hold, self._hold = self._hold, None
            try:
                if store is not None:
                    store.close()
            finally:
                if hold is not None:
                    hold.release()


class Carrying:
    """The paint of a case carried into the own frame of every stain that is aligned, box by box as it is painted.

    Parameters
    ----------
    paint
        What is painted.

    Notes
    -----
    A box carried equals that box of the whole carried at once (`labels.transfer.carry_labels`): what a window and what
    `stainloom transfer` carry is the same to the pixel. A failed stain gets nothing. A raster stays empty until it is
    filled, which a case that is only looked at may never need.
    """

    def __init__(self, paint: Paint) -> None:
        self._paint = paint
        folder, case = paint.folder, paint.case
        self._warps: dict[str, Warp] = {}
        for stain in folder.study.moving:
            found = folder.current_warp(case.name, stain) if stain in case.slides else None
            if found is not None and verdict_of(folder, case, stain)[0] in ("good", "check"):
                self._warps[stain] = found[0]
        self._back = {stain: warp.inverse() for stain, warp in self._warps.items()}
        self._filled: set[str] = set()
        self._abandoned = False
        # Pages that stay zero take no memory.
        self._rasters = {
            stain: np.zeros(size_at(case.slide(stain).size_um, paint.um_per_px).shape, np.uint8)
            for stain in self._warps
        }

    @property
    def stains(self) -> tuple[str, ...]:
        """The stains that paint is carried to."""
        return tuple(self._warps)

    def raster(self, stain: str) -> NDArray[np.uint8] | None:
        """The paint in a stain's own frame, at the label resolution: (rows, cols) uint8; None where it is not aligned.

        The array is the one that is kept current; empty until it is filled.
        """
        return self._rasters.get(stain)

    def filled(self, stain: str) -> bool:
        """Whether the raster of a stain shows what is painted."""
        return stain in self._filled

    def stored(self, stain: str) -> bool:
        """Whether what is painted lies on the disk, carried to a stain by this alignment."""
        labels_id = self._paint.labels_id
        with suppress(StainloomError):  # what is damaged is carried anew
            ids = self._paint.folder.carried_ids(self._paint.case.name, stain)
            return bool(labels_id) and ids == (labels_id, self._warps[stain].id)
        return False

    def fill(self, stain: str) -> None:
        """Bring all paint into the raster of a stain: from the disk where it lies there, else carried. Once."""
        if stain in self._filled:
            return
        if not self.stored(stain) or not self._read(stain):
            assert self._paint.raster is not None
            boxes = [lesion.box for lesion in self._paint.lesions()]
            if self._paint.seen_px:  # nobody counts lesions of paint that is only looked at
                boxes = [whole(Size(*self._paint.raster.shape))]
            for box in boxes:
                self._carry(box, stain)
        if not self._abandoned:
            self._filled.add(stain)

    def abandon(self) -> None:
        """End a filling that runs, and fill nothing more: nobody waits for it."""
        self._abandoned = True

    def _read(self, stain: str) -> bool:
        raster = self._rasters[stain]
        try:
            found = self._paint.folder.carried(self._paint.case.name, stain)
        except StainloomError:
            return False
        if found is None or found.raster.shape != raster.shape:
            return False
        for row in np.nonzero(found.raster.any(axis=1))[0]:
            raster[row] = found.raster[row]
        return True

    def carry(self, box: Box, stain: str) -> Box:
        """Carry a box of the reference's raster anew, and fill the rest; the box of the stain's raster that was written."""
        self.fill(stain)
        return self._carry(box, stain)

    def _carry(self, box: Box, stain: str) -> Box:
        assert self._paint.raster is not None
        target = self._target(box, stain)
        raster, scale = self._rasters[stain], self._paint.um_per_px
        frame = whole(Size(*raster.shape))
        for row in range(target.row, target.row_end, _STRIP_ROWS):
            if self._abandoned:
                break
            strip = Box(row, target.col, min(_STRIP_ROWS, target.row_end - row), target.cols)
            raster[strip.within(frame)] = resample_labels(self._paint.raster, scale, self._back[stain], strip, scale)
        return target

    def _target(self, box: Box, stain: str) -> Box:
        """All pixels of the stain's raster that the box can reach."""
        scale, frame = self._paint.um_per_px, whole(Size(*self._rasters[stain].shape))
        around = box_to_um(box.grow(_SPACING_PX), scale)
        counts = (min(_SAMPLES_MOST, math.ceil(n / _SPACING_PX) + 3) for n in box.shape)
        rows, cols = (
            np.linspace(start, start + length, count)
            for start, length, count in zip(
                (around.row_um, around.col_um), (around.rows_um, around.cols_um), counts, strict=True
            )
        )
        points = self._warps[stain].points(np.stack(np.meshgrid(rows, cols, indexing="ij"), axis=-1)).reshape(-1, 2)
        points = points[np.isfinite(points).all(axis=1)] / np.array(scale)
        if len(points) == 0:
            return Box(0, 0, 0, 0)
        low = np.floor(points.min(axis=0)).astype(int) - _MARGIN_PX
        high = np.ceil(points.max(axis=0)).astype(int) + _MARGIN_PX
        return Box(int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])).intersect(frame)

    def save(self, stain: str, labels_id: str) -> bool:
        """Store the paint carried into a stain for jobs and other programs; whether there was anything to write."""
        folder, name = self._paint.folder, self._paint.case.name
        warp = self._warps[stain].id
        if folder.carried_ids(name, stain) == (labels_id, warp):
            return False
        self.fill(stain)
        if not self.filled(stain):
            return False
        scale = self._paint.um_per_px
        folder.save_carried(name, stain, self._rasters[stain], scale, labels_id=labels_id, warp_id=warp)
        return True


def _class_counts(raster: NDArray[np.uint8]) -> dict[int, int]:
    # In strips: numpy counts in 8 bytes a pixel.
    strips = (raster[row : row + _STRIP_ROWS].ravel() for row in range(0, len(raster), _STRIP_ROWS))
    counts = sum((np.bincount(strip, minlength=256) for strip in strips), np.zeros(256, np.int64))
    return {class_id: int(count) for class_id, count in enumerate(counts) if class_id and count}


def _changed(box: Box, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Box:
    inner = box_of(before != after)
    return Box(box.row + inner.row, box.col + inner.col, *inner.shape)
