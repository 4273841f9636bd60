"""What one row of the label store says, how rows are chained, and the state that a chain of rows adds up to."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stainloom.case.regions import Lesion
from stainloom.geometry import Box, Scale, Size, whole

KINDS = ("paint", "describe", "undo", "redo")
"""What a row may be. Rows are only ever added: an undo is a row of its own."""

SIDE_MOST_PX = 16_384
"""Longest side of a label raster: above it graphics drivers halve the picture silently."""

Column = int | float | str | bytes | None


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table `strokes`, its columns in order.

    Attributes
    ----------
    number
        1, 2, 3, ... without a gap.
    kind
        One of `KINDS`.
    target
        For undo and redo the number of the row that is undone or done again, else 0.
    box_row, box_col, box_rows, box_cols
        The box of pixels that changed; zeros where none did.
    before, after
        The pixels of the box, zlib; empty where none changed.
    class_id
        The class painted; 0 for the eraser and for several classes at once.
    what
        What was done, in the user's words.
    changes
        JSON: lesions before and after, imported objects added and let go.
    author
        Who did it.
    utc
        When, ISO 8601.
    chain
        SHA-256 of the chain so far and of all the columns above.
    """

    number: int
    kind: str
    target: int
    box_row: int
    box_col: int
    box_rows: int
    box_cols: int
    before: bytes
    after: bytes
    class_id: int
    what: str
    changes: str
    author: str
    utc: str
    chain: bytes

    @property
    def box(self) -> Box:
        """The box of pixels that changed."""
        return Box(self.box_row, self.box_col, self.box_rows, self.box_cols)

    def values(self) -> tuple[Column, ...]:
        """All columns, in order."""
        return tuple(getattr(self, column) for column in COLUMNS)


COLUMNS = tuple(field.name for field in fields(Row))
"""Columns of the table `strokes`."""


@dataclass(frozen=True, eq=False)
class LabelObject:
    """One imported object, kept beside the raster as it came.

    Attributes
    ----------
    text
        The object as its file had it (GeoJSON of one feature): exported unchanged until its pixels are edited.
    class_id
        The class that it was painted in; 0 for a mark, which never becomes paint.
    box
        Pixels of the raster that `mask` covers; empty for a mark.
    mask
        (rows, cols) of the box: the pixels that it painted.
    """

    text: str
    class_id: int
    box: Box
    mask: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.mask.shape != self.box.shape or self.mask.dtype != np.bool_:
            raise ValueError(f"an object's mask is bool of its box {self.box.shape}: {self.mask.shape}")
        if not 0 <= self.class_id <= 255:
            raise ValueError(f"a class id is 0 to 255: {self.class_id}")


def chained(previous: bytes, columns: Iterable[Column]) -> bytes:
    """The next link: SHA-256 of the link before and of every column with its type and length."""
    digest = hashlib.sha256(previous)
    for column in columns:
        if isinstance(column, bytes):
            tag, data = b"b", column
        elif isinstance(column, str):
            tag, data = b"s", column.encode()
        elif isinstance(column, float):
            tag, data = b"f", column.hex().encode()
        elif isinstance(column, int):
            tag, data = b"i", str(column).encode()
        else:
            tag, data = b"n", b""
        digest.update(tag + len(data).to_bytes(8, "big") + data)
    return digest.digest()


def pack(pixels: NDArray[np.uint8]) -> bytes:
    """A box of the raster, compressed."""
    return zlib.compress(np.ascontiguousarray(pixels).tobytes(), 1)


def unpack(data: bytes, box: Box) -> NDArray[np.uint8]:
    """The box again; ValueError where the data hold more or less than its pixels."""
    wanted = box.rows * box.cols
    reader = zlib.decompressobj()
    try:
        plain = reader.decompress(data, wanted + 1)
    except zlib.error as error:
        raise ValueError(f"compressed pixels are damaged: {error}") from error
    if len(plain) != wanted or not reader.eof:
        raise ValueError(f"a box of {wanted} px does not hold that many")
    return np.frombuffer(plain, np.uint8).reshape(box.shape)


def pack_mask(mask: NDArray[np.bool_]) -> bytes:
    """A mask, eight pixels a byte, compressed."""
    return zlib.compress(np.packbits(mask).tobytes(), 1)


def unpack_mask(data: bytes, box: Box) -> NDArray[np.bool_]:
    """The mask of a box again; ValueError where the data do not fit it."""
    count = box.rows * box.cols
    bits = unpack(data, Box(0, 0, 1, (count + 7) // 8))
    return np.unpackbits(bits[0], count=count).astype(np.bool_).reshape(box.shape)


def labels_id(raster: NDArray[np.uint8], um_per_px: Scale) -> str:
    """Hash of what is painted and of its geometry: equal paint gives an equal id, whatever its history. 16 digits."""
    digest = hashlib.sha256(f"labels {raster.shape} {um_per_px[0].hex()} {um_per_px[1].hex()}".encode())
    digest.update(np.ascontiguousarray(raster).data)
    return digest.hexdigest()[:16]


def lesion_as_list(lesion: Lesion | None) -> list[Any] | None:
    """A lesion as JSON holds it."""
    if lesion is None:
        return None
    box = lesion.box
    return [
        lesion.id,
        lesion.class_id,
        [box.row, box.col, box.rows, box.cols],
        lesion.area_px,
        list(lesion.first),
        lesion.severity,
        list(lesion.findings),
        lesion.note,
        lesion.author,
        lesion.state,
    ]


def lesion_from_list(found: Any) -> Lesion | None:
    """The lesion again; ValueError or TypeError where the list describes none."""
    if found is None:
        return None
    number, class_id, box, area, first, severity, findings, note, author, state = found
    return Lesion(
        int(number),
        int(class_id),
        Box(*(int(v) for v in box)),
        int(area),
        (int(first[0]), int(first[1])),
        str(severity),
        tuple(int(v) for v in findings),
        str(note),
        str(author),
        str(state),
    )


@dataclass(frozen=True, slots=True)
class Changes:
    """What a row does beside its pixels.

    Attributes
    ----------
    lesions
        Pairs (before, after).
    first_object, objects, objects_digest
        The imported objects that come with the row: their first id, their number, the SHA-256 over their columns.
    released
        Ids of imported objects whose pixels the row edits: from now on the raster speaks for them.
    """

    lesions: tuple[tuple[Lesion | None, Lesion | None], ...] = ()
    first_object: int = 0
    objects: int = 0
    objects_digest: str = ""
    released: tuple[int, ...] = ()

    def to_json(self) -> str:
        """One line; equal changes give equal text."""
        return json.dumps(
            {
                "lesions": [[lesion_as_list(before), lesion_as_list(after)] for before, after in self.lesions],
                "objects": [self.first_object, self.objects, self.objects_digest],
                "released": list(self.released),
            },
            separators=(",", ":"),
            ensure_ascii=False,
        )

    @classmethod
    def from_json(cls, text: str) -> Changes:
        """The changes again; ValueError, TypeError or KeyError where the text describes none."""
        found = json.loads(text)
        first, count, digest = found["objects"]
        return cls(
            tuple((lesion_from_list(before), lesion_from_list(after)) for before, after in found["lesions"]),
            int(first),
            int(count),
            str(digest),
            tuple(int(number) for number in found["released"]),
        )


class LabelState:
    """The raster, the lesions and the present objects that a chain of rows adds up to.

    Parameters
    ----------
    size, um_per_px
        Of the raster.
    start
        The chain before the first row.
    fetch
        Gives a row by its number; undo and redo look back with it.
    """

    def __init__(self, size: Size, um_per_px: Scale, start: bytes, fetch: Callable[[int], Row]) -> None:
        self.size, self.um_per_px = size, um_per_px
        self.raster: NDArray[np.uint8] = np.zeros(size.shape, np.uint8)
        self.lesions: dict[int, Lesion] = {}
        self.objects: set[int] = set()
        self.number, self.chain = 0, start
        self.done: list[int] = []
        self.undone: list[int] = []
        self.next_lesion, self.next_object = 1, 1
        self._fetch = fetch

    def check(self, row: Row) -> None:
        """ValueError where a row is not the next of this chain."""
        if row.number != self.number + 1 or row.kind not in KINDS:
            raise ValueError(f"after stroke {self.number} comes {row.kind!r} {row.number}")
        if chained(self.chain, row.values()[:-1]) != row.chain:
            raise ValueError(f"stroke {row.number} is not what was written")

    def apply(self, row: Row) -> Box:
        """Make the row's change; ValueError where it does not fit. The box of pixels that changed."""
        if row.kind in ("undo", "redo"):
            origin, aim = (self.done, self.undone) if row.kind == "undo" else (self.undone, self.done)
            if not origin or origin[-1] != row.target:
                raise ValueError(f"stroke {row.number} takes back {row.target}, which is not the last")
            target = self._fetch(row.target)
            box = self._turn(target, forward=row.kind == "redo")
            aim.append(origin.pop())
        else:
            box = self._turn(row, forward=True)
            self.done.append(row.number)
            self.undone.clear()
        self.number, self.chain = row.number, row.chain
        return box

    def _turn(self, row: Row, *, forward: bool) -> Box:
        box, frame = row.box, whole(self.size)
        if box.intersect(frame) != box and not box.empty:
            raise ValueError(f"stroke {row.number} leaves the raster")
        changes = Changes.from_json(row.changes)
        if not box.empty:
            self.raster[box.within(frame)] = unpack(row.after if forward else row.before, box)
        for pair in changes.lesions:
            before, after = pair if forward else (pair[1], pair[0])
            if before is not None and self.lesions.get(before.id) != before:
                raise ValueError(f"stroke {row.number} speaks of a lesion that is not there")
            if before is not None:
                del self.lesions[before.id]
        for pair in changes.lesions:
            after = pair[1] if forward else pair[0]
            if after is not None:
                self.lesions[after.id] = after
                self.next_lesion = max(self.next_lesion, after.id + 1)
        added = range(changes.first_object, changes.first_object + changes.objects)
        come, gone = (added, changes.released) if forward else (changes.released, added)
        self.objects.difference_update(gone)
        self.objects.update(come)
        if changes.objects:
            self.next_object = max(self.next_object, added.stop)
        return box
