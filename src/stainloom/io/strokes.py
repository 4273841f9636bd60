"""The durable store of painted labels: every stroke is on the disk before it is acknowledged."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import apsw
import cv2
import numpy as np
from numpy.typing import NDArray

from stainloom.case.regions import Lesion, follow_lesions
from stainloom.errors import LabelError
from stainloom.geometry import Box, Scale, Size, as_scale, box_of, whole
from stainloom.io.files import disk_errors
from stainloom.io.labelfile import (
    add_row,
    backup_path,
    check_copy,
    connect_to_read,
    connect_to_write,
    copy_store,
    fetch_object,
    fetch_objects,
    fetch_row,
    leave_wal,
    load,
    make_store,
    object_boxes,
    object_rows,
    prepare_to_write,
    refuse_if_lost,
    replace_file,
    set_aside_if_foreign,
    stopping,
)
from stainloom.io.onewriter import Hold
from stainloom.io.shares import on_share
from stainloom.io.snapshot import Labels, write_labels
from stainloom.io.strokelog import (
    SIDE_MOST_PX,
    Changes,
    Column,
    LabelObject,
    LabelState,
    Row,
    chained,
    labels_id,
    pack,
)


@dataclass(frozen=True, slots=True)
class Head:
    """The last row of a store.

    Attributes
    ----------
    number
        Its number; 0 for an empty store.
    chain_hash
        Its link of the chain, hexadecimal: names the whole history.
    """

    number: int
    chain_hash: str


@dataclass(frozen=True, slots=True)
class StrokeFacts:
    """What is known of a stroke without its pixels.

    Attributes
    ----------
    number
        Its row.
    what
        What was done, in the user's words.
    utc
        When, ISO 8601.
    """

    number: int
    what: str
    utc: str


_NOTHING = Box(0, 0, 0, 0)


class LabelStore:
    """What was painted on the reference of one case, in one file: see `open`."""

    def __init__(
        self, connection: apsw.Connection, path: Path, state: LabelState, author: str, hold: Hold | None, share: bool
    ) -> None:
        self._connection: apsw.Connection | None = connection
        self._state, self._author, self._hold = state, author, hold
        self._label_id: tuple[int, str] | None = None
        self._boxes = object_boxes(connection)
        self.path, self.read_only, self.on_share = path, hold is None, share

    @classmethod
    def open(
        cls,
        path: Path,
        size: Size,
        um_per_px: float | Scale,
        *,
        author: str,
        read_only: bool = False,
        share: bool | None = None,
    ) -> LabelStore:
        """Open a store, or make an empty one where nothing is.

        Parameters
        ----------
        path
            `labels.sqlite` of the case.
        size
            Of the class raster: at most 16,384 px a side.
        um_per_px
            Of the class raster, which starts at um (0, 0) of the reference slide.
        author
            Who paints.
        read_only
            Nothing is written, nor made where nothing is: for a read-only folder, or only to look.
        share
            Whether the file lies on a network share; None finds out.

        Raises
        ------
        LabelError
            Where another program has the store open; where it belongs to another raster, or a newer program; where its
            folder cannot be written; and where it is damaged, copied in part, or gone although its backup is there.
            An empty raster never stands in for one that cannot be read.

        Notes
        -----
        On a local disk: SQLite in WAL mode, `synchronous=FULL` (`fullfsync` on macOS), one connection, one commit a
        stroke. On a share WAL is not safe: rollback journal and `synchronous=EXTRA`. While a store is open for writing
        it is locked: jobs read snapshots.
        """
        scale = as_scale(um_per_px)
        if min(size.shape) < 1 or max(size.shape) > SIDE_MOST_PX:
            raise LabelError(
                "the label raster has no useful size",
                slide=path.name,
                expected=f"1 to {SIDE_MOST_PX} px a side",
                found=f"{size.rows} x {size.cols} px",
                next="choose more µm per px for the labels of this study",
            )
        if not path.exists():
            refuse_if_lost(path)
            if read_only:
                raise LabelError(
                    "no labels are there", slide=path.name, found=f"nothing at {path}", next="open the case to paint"
                )
            make_store(path, size, scale)
        share = on_share(path) if share is None else share
        with stopping(path), ExitStack() as undone:
            hold = None
            if not read_only:
                hold = Hold(path)
                undone.callback(hold.release)
            connection = connect_to_read(path) if read_only else connect_to_write(path)
            undone.callback(connection.close, True)
            state = load(connection, path, size, scale)
            if not read_only:
                prepare_to_write(connection, share)
            store = cls(connection, path, state, author, hold, share)
            undone.pop_all()
            return store

    def raster(self) -> NDArray[np.uint8]:
        """The class raster, a copy: (rows, cols) uint8, 0 not annotated."""
        return self._state.raster.copy()

    def read(self, box: Box) -> NDArray[np.uint8]:
        """A box of the class raster, a copy; ValueError where it leaves the raster."""
        self._inside(box)
        return self._state.raster[box.within(whole(self.size))].copy()

    @property
    def size(self) -> Size:
        """Of the raster, px."""
        return self._state.size

    @property
    def um_per_px(self) -> Scale:
        """Of the raster."""
        return self._state.um_per_px

    @property
    def head(self) -> Head:
        """The last row."""
        return Head(self._state.number, self._state.chain.hex())

    @property
    def labels_id(self) -> str:
        """Hash of what is painted and of its geometry: equal paint gives an equal id, whatever its history."""
        if self._label_id is None or self._label_id[0] != self._state.number:
            self._label_id = (self._state.number, labels_id(self._state.raster, self.um_per_px))
        return self._label_id[1]

    @property
    def undoable(self) -> int:
        """The stroke that `undo` would take back; 0 for none."""
        return self._state.done[-1] if self._state.done else 0

    @property
    def redoable(self) -> int:
        """The stroke that `redo` would make again; 0 for none."""
        return self._state.undone[-1] if self._state.undone else 0

    def facts(self, number: int) -> StrokeFacts:
        """What is known of a stroke; ValueError where there is none of this number."""
        with stopping(self.path):
            row = fetch_row(self._open(), number)
        return StrokeFacts(row.number, row.what, row.utc)

    @property
    def objects(self) -> tuple[LabelObject, ...]:
        """The imported objects whose pixels nobody edited since, in the order of their import."""
        with stopping(self.path):
            return fetch_objects(self._open(), self._state.objects)

    def regions(self) -> tuple[Lesion, ...]:
        """The connected lesions, by id."""
        return tuple(self._state.lesions[number] for number in sorted(self._state.lesions))

    def paint(
        self,
        box: Box,
        before: NDArray[np.uint8],
        after: NDArray[np.uint8],
        *,
        what: str,
        class_id: int,
        objects: Sequence[LabelObject] = (),
    ) -> int:
        """Keep a stroke. It is on the disk when this returns.

        Parameters
        ----------
        box
            Pixels of the raster.
        before, after
            Its pixels, uint8 of the box's shape. `before` must equal what the store holds.
        what
            What was done, in the user's words.
        class_id
            The class painted; 0 for the eraser and for several classes at once.
        objects
            Imported objects that come with this stroke.

        Returns
        -------
        The stroke's number; where nothing changes, that of the last row, and nothing is written.

        Raises
        ------
        LabelError
            Where the store holds something else than `before`, is read-only, or the disk refuses: then nothing
            changed, neither in the file nor in memory, and the same stroke can be kept later.
        """
        for inner in (box, *(found.box for found in objects)):
            self._inside(inner)
        for pixels in (before, after):
            if pixels.shape != box.shape or pixels.dtype != np.uint8:
                raise ValueError(f"pixels are uint8 of {box.shape}: {pixels.shape} {pixels.dtype}")
        if not 0 <= class_id <= 255:
            raise ValueError(f"a class id is 0 to 255: {class_id}")
        state, frame = self._state, whole(self.size)
        if not np.array_equal(state.raster[box.within(frame)], before):
            raise LabelError(
                "the picture and the stored labels differ, so this stroke was not kept",
                slide=self.path.name,
                expected="the labels as they were after the last stroke",
                found=f"other pixels in rows {box.row} to {box.row_end}, columns {box.col} to {box.col_end}",
                next="read the labels again from the store, then paint",
            )
        box, before, after = _cropped(box, before, after)
        if box.empty and not objects:
            return state.number
        changes = self._changes(box, before, after)
        rows = object_rows(objects, state.next_object)
        if rows:
            digest = chained(b"", (value for row in rows for value in row)).hex()
            changes = replace(changes, first_object=state.next_object, objects=len(rows), objects_digest=digest)
        painted = (pack(before), pack(after)) if not box.empty else (b"", b"")
        self._append("paint", 0, box, painted, class_id, what, changes, rows)
        return state.number

    def describe(
        self,
        lesion_id: int,
        *,
        severity: str | None = None,
        findings: tuple[int, ...] | None = None,
        note: str | None = None,
        state: str | None = None,
    ) -> int:
        """Say something of a lesion; what is None stays. Kept, and taken back by `undo`, like a stroke."""
        known = self._state.lesions.get(lesion_id)
        if known is None:
            raise LabelError(f"lesion {lesion_id} is not there (any more)", slide=self.path.name)
        said = replace(
            known,
            severity=known.severity if severity is None else severity,
            findings=known.findings if findings is None else findings,
            note=known.note if note is None else note,
            state=known.state if state is None else state,
        )
        if said != known:
            self._append(
                "describe", 0, _NOTHING, (b"", b""), 0, f"lesion {lesion_id} described", Changes(((known, said),))
            )
        return self._state.number

    def undo(self) -> Box | None:
        """Take back the last stroke, also one of an earlier day. The box that changed; None where nothing is left.

        A description taken back changes no pixel: its box is empty.
        """
        return self._turn("undo", self.undoable)

    def redo(self) -> Box | None:
        """Make the stroke again that was taken back last. The box that changed; None where there is none."""
        return self._turn("redo", self.redoable)

    def labels(self) -> Labels:
        """The labels as they are now, as a job would read them from a snapshot."""
        state = self._state
        return Labels(
            self.raster(), self.um_per_px, self.labels_id, state.number, objects=self.objects, lesions=self.regions()
        )

    def snapshot(self, path: Path) -> str:
        """Write the labels as they are now for a job (`read_labels`), whole or not at all. Gives `labels_id`."""
        write_labels(path, self.labels())
        return self.labels_id

    def backup(self) -> Path:
        """Copy the store to `labels.backup.sqlite` beside it, and read the copy back before it replaces the older one.

        Raises
        ------
        LabelError
            Where the copy does not read back as this store (the older backup stays), or the disk refuses.

        Notes
        -----
        A backup that holds strokes which this store does not know (two computers painted on copies of one case) is not
        replaced but set aside as `labels.conflict-STROKE-HASH.sqlite`.
        """
        target = backup_path(self.path)
        source = self._open()
        beside = target.with_name(f".{target.name}.{os.getpid()}.part")
        with disk_errors(target, LabelError), self._writing(f"{target.name} was not written"):
            try:
                # What killed processes left: only the holder of the store makes backups, so nobody is at work on these.
                for left in target.parent.glob(f".{target.name}.*.part"):
                    left.unlink()
                copy_store(source, beside)
                check_copy(beside, self._state)
                set_aside_if_foreign(target, source)
                replace_file(beside, target)
            finally:
                with suppress(OSError):
                    beside.unlink(missing_ok=True)
        return target

    def close(self) -> None:
        """Leave one file at rest that can be copied and opened read-only. Closing twice does nothing."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            if not self.read_only and not self.on_share:
                with self._writing("the labels are safe, but in two files"):
                    leave_wal(connection)
        finally:
            connection.close(True)
            if self._hold is not None:
                self._hold.release()

    def __enter__(self) -> LabelStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> apsw.Connection:
        if self._connection is None:
            raise ValueError(f"{self.path.name} is closed")
        return self._connection

    def _inside(self, box: Box) -> None:
        if box.intersect(whole(self.size)) != box:
            raise ValueError(f"{box} leaves the raster of {self.size}")

    def _changes(self, box: Box, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Changes:
        if box.empty:
            return Changes()
        state = self._state
        pairs = follow_lesions(state.raster, box, after, state.lesions, next_id=state.next_lesion, author=self._author)
        return Changes(pairs, released=self._edited(box, before != after))

    def _edited(self, box: Box, changed: NDArray[np.bool_]) -> tuple[int, ...]:
        """Ids of present objects that the changed pixels meet or touch."""
        near = box.grow(1)
        low, high = self._boxes[:, :2], self._boxes[:, :2] + self._boxes[:, 2:]
        met = (low < [near.row_end, near.col_end]) & (high > [near.row, near.col])
        candidates = [int(n) + 1 for n in np.flatnonzero(met.all(axis=1)) if int(n) + 1 in self._state.objects]
        frame = whole(self.size)
        wide = np.zeros(near.shape, np.bool_)
        wide[box.within(near)] = changed
        wide = cv2.dilate(wide.view(np.uint8), np.ones((3, 3), np.uint8)).view(np.bool_)
        found = []
        for number in candidates:
            with stopping(self.path):
                kept = fetch_object(self._open(), number)
            shared = kept.box.intersect(near.intersect(frame))
            if np.any(kept.mask[shared.within(kept.box)] & wide[shared.within(near)]):
                found.append(number)
        return tuple(found)

    def _turn(self, kind: str, target: int) -> Box | None:
        if not target:
            return None
        word = "taken back" if kind == "undo" else "made again"
        return self._append(kind, target, _NOTHING, (b"", b""), 0, f"stroke {target} {word}", Changes())

    def _append(
        self,
        kind: str,
        target: int,
        box: Box,
        painted: tuple[bytes, bytes],
        class_id: int,
        what: str,
        changes: Changes,
        objects: Sequence[tuple[Column, ...]] = (),
    ) -> Box:
        connection, state = self._open(), self._state
        if self.read_only:
            raise LabelError(
                "the labels were opened read-only, so nothing was kept",
                slide=self.path.name,
                next="open the case from a folder that can be written",
            )
        row = Row(
            state.number + 1,
            kind,
            target,
            box.row,
            box.col,
            box.rows,
            box.cols,
            *painted,
            class_id,
            what,
            changes.to_json(),
            self._author,
            datetime.now(UTC).isoformat(timespec="milliseconds"),
            b"",
        )
        row = replace(row, chain=chained(state.chain, row.values()[:-1]))
        target_changes = changes
        if target:
            target_changes = Changes.from_json(fetch_row(connection, target).changes)
        pairs = [(b, a) for a, b in target_changes.lesions] if kind == "undo" else target_changes.lesions
        with self._writing("this stroke was not kept"):
            add_row(connection, row, tuple(pairs), objects)
        changed = state.apply(row)
        if objects:
            self._boxes = object_boxes(connection)
        return changed

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        """Undo a write that failed, and say so in the user's words."""
        try:
            yield
        except apsw.Error as error:
            self._roll_back()
            full = isinstance(error, apsw.FullError)
            raise LabelError(
                f"{'the disk is full: ' if full else ''}{what}",
                slide=self.path.name,
                found=f"{error}; all strokes before are safe" if self._state.number else str(error),
                next="free some space on this disk, then paint on" if full else "check this disk, then paint again",
            ) from error
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        connection = self._connection
        if connection is not None and connection.in_transaction:
            with suppress(apsw.Error):
                connection.execute("ROLLBACK")


_NOTHING = Box(0, 0, 0, 0)


def _cropped(
    box: Box, before: NDArray[np.uint8], after: NDArray[np.uint8]
) -> tuple[Box, NDArray[np.uint8], NDArray[np.uint8]]:
    """The smallest box that holds all changed pixels, and its pixels before and after."""
    inner = box_of(before != after)
    if inner.empty:
        return _NOTHING, before[:0, :0], after[:0, :0]
    spot = inner.within(Box(0, 0, *box.shape))
    return Box(box.row + inner.row, box.col + inner.col, *inner.shape), before[spot], after[spot]
