"""The SQLite file below the label store: made, opened, replayed, verified and copied."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import apsw
import numpy as np
from numpy.typing import NDArray

from stainloom.case.regions import Lesion
from stainloom.errors import LabelError
from stainloom.geometry import Box, Scale, Size
from stainloom.io.files import disk_errors
from stainloom.io.onewriter import HeldElsewhereError, refuse_if_held
from stainloom.io.strokelog import (
    COLUMNS,
    SIDE_MOST_PX,
    Changes,
    Column,
    LabelObject,
    LabelState,
    Row,
    chained,
    lesion_as_list,
    pack_mask,
    unpack_mask,
)
from stainloom.io.waldamage import wal_damage

_APPLICATION = 0x53544C4D  # "STLM"
_VERSION = 1
_BOX = "box_row INTEGER NOT NULL, box_col INTEGER NOT NULL, box_rows INTEGER NOT NULL, box_cols INTEGER NOT NULL"
_SCHEMA = {
    "raster": "CREATE TABLE raster (one INTEGER PRIMARY KEY CHECK (one = 1), rows INTEGER NOT NULL, "
    "cols INTEGER NOT NULL, um_per_px_row REAL NOT NULL, um_per_px_col REAL NOT NULL) STRICT",
    "head": "CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL, "
    "chain BLOB NOT NULL) STRICT",
    "strokes": "CREATE TABLE strokes (number INTEGER PRIMARY KEY, kind TEXT NOT NULL, target INTEGER NOT NULL, "
    f"{_BOX}, before BLOB NOT NULL, after BLOB NOT NULL, class_id INTEGER NOT NULL, what TEXT NOT NULL, "
    "changes TEXT NOT NULL, author TEXT NOT NULL, utc TEXT NOT NULL, chain BLOB NOT NULL) STRICT",
    "objects": f"CREATE TABLE objects (id INTEGER PRIMARY KEY, class_id INTEGER NOT NULL, {_BOX}, "
    "mask BLOB NOT NULL, text TEXT NOT NULL) STRICT",
    "lesions": f"CREATE TABLE lesions (id INTEGER PRIMARY KEY, class_id INTEGER NOT NULL, {_BOX}, "
    "area_px INTEGER NOT NULL, first_row INTEGER NOT NULL, first_col INTEGER NOT NULL, severity TEXT NOT NULL, "
    "findings TEXT NOT NULL, note TEXT NOT NULL, author TEXT NOT NULL, state TEXT NOT NULL) STRICT",
}
_OBJECT_COLUMNS = "id, class_id, box_row, box_col, box_rows, box_cols, mask, text"
_REPLACE_TRIES = 6

DAMAGE = (apsw.Error, HeldElsewhereError, ValueError, KeyError, TypeError, IndexError, StopIteration, RecursionError)
"""What reading a damaged store may raise."""


def backup_path(path: Path) -> Path:
    """Where the copy of a store stands: `labels.backup.sqlite` beside `labels.sqlite`."""
    return path.with_name(f"{path.stem}.backup{path.suffix}")


@contextmanager
def stopping(path: Path) -> Iterator[None]:
    """Turn whatever shows that a store cannot be read into a `LabelError` that stops the work and names the backup."""
    try:
        yield
    except (apsw.BusyError, apsw.LockedError, HeldElsewhereError) as error:
        raise LabelError(
            "the labels are open in another program",
            slide=path.name,
            expected="one writer, and nobody who reads beside it",
            found=f"{path} is locked",
            next="close the case there; jobs read snapshots instead",
        ) from error
    except (apsw.ReadOnlyError, apsw.PermissionsError, apsw.CantOpenError) as error:
        raise LabelError(
            "the labels cannot be opened for painting",
            slide=path.name,
            expected="a file and a folder that this user can write",
            found=f"{error} at {path}",
            next="open the case read-only, or copy it to a folder that can be written",
        ) from error
    except DAMAGE as error:
        raise unreadable(path, str(error) or type(error).__name__) from error


def unreadable(path: Path, found: str) -> LabelError:
    """The error for a store that is damaged: stop, nothing is shown or written, and which backup there is."""
    return LabelError(
        "the painted labels cannot be read: stop, nothing is shown and nothing will be written",
        slide=path.name,
        expected="every stroke as it was written",
        found=f"{found} ({path})",
        next=f"{_backup_in_words(path)}; keep the damaged file",
    )


def _backup_in_words(path: Path) -> str:
    copy = backup_path(path)
    if not copy.exists():
        return f"restore {path.name} from a copy of the study (there is no {copy.name})"
    try:
        with closing(connect_to_read(copy)) as connection:
            state = load(connection, copy, *_geometry(connection))
            last = list(connection.execute("SELECT utc FROM strokes ORDER BY number DESC LIMIT 1"))
    except (LabelError, *DAMAGE) as error:
        return f"{copy.name} cannot be read either ({error}): restore both from a copy of the study"
    when = f"stroke {state.number} of {last[0][0]}" if last else "an empty raster"
    return f"{copy.name} reads well, up to {when}: put a copy of it in place of {path.name}"


def refuse_if_lost(path: Path) -> None:
    """`LabelError` where the store is gone but traces of it are there: an empty one must not take its place."""
    traces = [trace for trace in (backup_path(path), *_companions(path)) if trace.exists()]
    if traces:
        raise unreadable(path, f"{path.name} is gone, but {', '.join(trace.name for trace in traces)} is there")


def _companions(path: Path) -> tuple[Path, Path]:
    return (path.with_name(path.name + "-wal"), path.with_name(path.name + "-journal"))


def make_store(path: Path, size: Size, um_per_px: Scale) -> None:
    """Make an empty store, whole or not at all, and never over another file."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    with disk_errors(path, LabelError):
        if not path.parent.is_dir():
            raise FileNotFoundError(2, "no such folder", str(path.parent))
        try:
            with stopping(path):
                connection = apsw.Connection(str(beside))
                try:
                    connection.execute(f"PRAGMA application_id={_APPLICATION}; PRAGMA user_version={_VERSION}")
                    connection.execute("PRAGMA synchronous=FULL; PRAGMA fullfsync=1; BEGIN IMMEDIATE")
                    for statement in _SCHEMA.values():
                        connection.execute(statement)
                    geometry = (1, size.rows, size.cols, *um_per_px)
                    connection.execute(insert("raster", 5), geometry)
                    connection.execute(insert("head", 3), (1, 0, _start(size, um_per_px)))
                    connection.execute("COMMIT")
                finally:
                    connection.close(True)
            # A link, not a rename: it fails where another program made the store in the same moment. That one is used.
            with suppress(FileExistsError):
                try:
                    os.link(beside, path)
                except FileExistsError:
                    raise
                except (AttributeError, NotImplementedError, OSError):
                    if not path.exists():
                        os.rename(beside, path)
        finally:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
        _sync_folder(path.parent)


def _start(size: Size, um_per_px: Scale) -> bytes:
    return chained(b"", (_APPLICATION, _VERSION, size.rows, size.cols, *um_per_px))


def _value(connection: apsw.Connection, statement: str) -> Any:
    return next(iter(connection.execute(statement)))[0]


def _guard(connection: apsw.Connection) -> None:
    # A file from elsewhere must not run code; a damaged one must not be tidied up on close.
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.execute("PRAGMA cell_size_check=1")


def connect_to_write(path: Path) -> apsw.Connection:
    """A connection that locks the store against all others."""
    _refuse_if_cut(path)
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        _guard(connection)
        connection.execute("PRAGMA locking_mode=EXCLUSIVE; PRAGMA synchronous=FULL")
        connection.execute("PRAGMA fullfsync=1; PRAGMA checkpoint_fullfsync=1")
        connection.execute("BEGIN IMMEDIATE; COMMIT")
        return connection
    except BaseException:
        connection.close(True)
        raise


def prepare_to_write(connection: apsw.Connection, share: bool) -> None:
    """WAL on a local disk; on a share a rollback journal, flushed with its folder."""
    mode = _value(connection, f"PRAGMA journal_mode={'DELETE' if share else 'WAL'}")
    if mode != ("delete" if share else "wal"):
        raise apsw.CantOpenError(f"the journal stays in mode {mode}")
    if share:
        connection.execute("PRAGMA synchronous=EXTRA")


def leave_wal(connection: apsw.Connection) -> None:
    """Bring everything into the one file."""
    _value(connection, "PRAGMA wal_checkpoint(TRUNCATE)")
    if _value(connection, "PRAGMA journal_mode=DELETE") != "delete":
        raise apsw.BusyError("the store did not leave WAL mode")


def connect_to_read(path: Path) -> apsw.Connection:
    """The store copied into memory: nothing is written, and the file is not held.

    Notes
    -----
    SQLite opens a store in WAL mode only where it can write beside it, and `immutable=1` ignores what is in the WAL
    and then looks empty. So a store that was not closed is copied with its WAL to a folder of our own and opened there.
    """
    with disk_errors(path, LabelError):
        refuse_if_held(path)
    _refuse_if_cut(path)
    memory = apsw.Connection(":memory:")
    try:
        if _in_wal(path) or any(companion.exists() for companion in _companions(path)):
            with tempfile.TemporaryDirectory(prefix="stainloom-") as folder:
                copy = Path(folder) / path.name
                with disk_errors(copy, LabelError):
                    for source in (path, *_companions(path)):
                        if source.exists():
                            shutil.copyfile(source, copy.with_name(source.name))
                _copy_into(memory, copy, apsw.SQLITE_OPEN_READWRITE)
        else:
            _copy_into(memory, path, apsw.SQLITE_OPEN_READONLY)
        _guard(memory)
        memory.execute("PRAGMA query_only=1")
        return memory
    except BaseException:
        memory.close(True)
        raise


def _copy_into(memory: apsw.Connection, path: Path, flags: int) -> None:
    with closing(apsw.Connection(str(path), flags=flags)) as source:
        _guard(source)
        if flags != apsw.SQLITE_OPEN_READONLY:
            source.execute("PRAGMA locking_mode=EXCLUSIVE")
        with memory.backup("main", source, "main") as backup:
            while not backup.done:
                backup.step(-1)


def _in_wal(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(20)[18:20] == b"\x02\x02"


def _refuse_if_cut(path: Path) -> None:
    """Stop where SQLite would open what is left of a store as if it were all: it trusts a missing or damaged WAL."""
    with disk_errors(path, LabelError):
        if path.stat().st_size == 0:
            raise unreadable(path, "an empty file")
        wal = _companions(path)[0]
        if not _in_wal(path):
            return
        if not wal.exists():
            raise unreadable(path, f"the store was not closed, and {wal.name}, which holds strokes, is not beside it")
        data = wal.read_bytes()
    damage = wal_damage(data)
    if damage:
        raise unreadable(path, f"{wal.name} is damaged: {damage}")


def load(connection: apsw.Connection, path: Path, size: Size, um_per_px: Scale) -> LabelState:
    """Verify all that a store holds, and replay it.

    Raises
    ------
    LabelError
        Where it belongs to another raster or a newer program.
    ValueError, apsw.Error
        Where anything in it is not as it was written.
    """
    _check_kind(connection, path)
    found = _geometry(connection)
    if found != (size, um_per_px):
        raise LabelError(
            "these labels belong to another raster",
            slide=path.name,
            expected=f"{size.rows} x {size.cols} px at {um_per_px[0]} x {um_per_px[1]} µm per px",
            found=f"{found[0].rows} x {found[0].cols} px at {found[1][0]} x {found[1][1]} µm per px",
            next="open the labels with the reference slide and label scale that they were painted with",
        )
    health = _value(connection, "PRAGMA integrity_check(1)")
    if health != "ok":
        raise ValueError(health)
    state = LabelState(size, um_per_px, _start(size, um_per_px), lambda number: fetch_row(connection, number))
    for columns in connection.execute(f"SELECT {', '.join(COLUMNS)} FROM strokes ORDER BY number"):
        row = Row(*columns)
        state.check(row)
        _check_objects(connection, row, Changes.from_json(row.changes), state.next_object)
        state.apply(row)
    _check_ends(connection, state)
    return state


def _check_kind(connection: apsw.Connection, path: Path) -> None:
    application, version = _value(connection, "PRAGMA application_id"), _value(connection, "PRAGMA user_version")
    if application == _APPLICATION and version > _VERSION:
        raise LabelError(
            "these labels were painted with a newer program",
            slide=path.name,
            expected=f"version {_VERSION} or older",
            found=f"version {version}",
            next="update this program",
        )
    schema = dict(connection.execute("SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'"))
    if application != _APPLICATION or version < 1 or schema != _SCHEMA:
        raise ValueError("it is not a store of labels")


def _geometry(connection: apsw.Connection) -> tuple[Size, Scale]:
    ((rows, cols, row_um, col_um),) = connection.execute("SELECT rows, cols, um_per_px_row, um_per_px_col FROM raster")
    if not (1 <= rows <= SIDE_MOST_PX and 1 <= cols <= SIDE_MOST_PX):
        raise ValueError(f"a raster of {rows} x {cols} px")
    return Size(rows, cols), (row_um, col_um)


def _check_objects(connection: apsw.Connection, row: Row, changes: Changes, next_object: int) -> None:
    if row.kind in ("undo", "redo") or not changes.objects:
        return
    last = changes.first_object + changes.objects - 1
    columns = connection.execute(
        f"SELECT {_OBJECT_COLUMNS} FROM objects WHERE id BETWEEN ? AND ? ORDER BY id", (changes.first_object, last)
    )
    digest = chained(b"", (value for found in columns for value in found)).hex()
    if digest != changes.objects_digest or changes.first_object != next_object:
        raise ValueError(f"the objects imported with stroke {row.number} are not what was written")


def _check_ends(connection: apsw.Connection, state: LabelState) -> None:
    ((number, chain),) = connection.execute("SELECT number, chain FROM head")
    if (number, chain) != (state.number, state.chain):
        raise ValueError(f"the last stroke is {state.number}, {number} were written")
    (count,) = next(iter(connection.execute("SELECT count(*) FROM objects")))
    if count != state.next_object - 1:
        raise ValueError(f"{count} imported objects, {state.next_object - 1} were written")
    lesions = list(connection.execute("SELECT * FROM lesions ORDER BY id"))
    if lesions != [_lesion_row(state.lesions[number]) for number in sorted(state.lesions)]:
        raise ValueError("the table of lesions is not what was written")


def fetch_row(connection: apsw.Connection, number: int) -> Row:
    """One row of the strokes; ValueError where it is not there."""
    for columns in connection.execute(f"SELECT {', '.join(COLUMNS)} FROM strokes WHERE number = ?", (number,)):
        return Row(*columns)
    raise ValueError(f"stroke {number} is not there")


def fetch_objects(connection: apsw.Connection, wanted: set[int]) -> tuple[LabelObject, ...]:
    """Imported objects by id, in the order of their ids."""
    rows = connection.execute(f"SELECT {_OBJECT_COLUMNS} FROM objects ORDER BY id")
    return tuple(_as_object(row) for row in rows if row[0] in wanted)


def fetch_object(connection: apsw.Connection, number: int) -> LabelObject:
    """One imported object."""
    for row in connection.execute(f"SELECT {_OBJECT_COLUMNS} FROM objects WHERE id = ?", (number,)):
        return _as_object(row)
    raise ValueError(f"object {number} is not there")


def _as_object(row: tuple[Any, ...]) -> LabelObject:
    box = Box(*row[2:6])
    mask = unpack_mask(row[6], box) if not box.empty else np.zeros(box.shape, np.bool_)
    return LabelObject(row[7], row[1], box, mask)


def object_rows(objects: Sequence[LabelObject], first: int) -> list[tuple[Column, ...]]:
    """Imported objects as rows of their table, numbered from `first`."""
    return [
        (
            number,
            found.class_id,
            found.box.row,
            found.box.col,
            found.box.rows,
            found.box.cols,
            pack_mask(found.mask) if not found.box.empty else b"",
            found.text,
        )
        for number, found in enumerate(objects, start=first)
    ]


def object_boxes(connection: apsw.Connection) -> NDArray[np.int64]:
    """Row, column, rows, columns of every imported object's box, in the order of the ids, which start at 1."""
    rows = list(connection.execute("SELECT box_row, box_col, box_rows, box_cols FROM objects ORDER BY id"))
    return np.array(rows, np.int64).reshape(-1, 4)


def add_row(
    connection: apsw.Connection,
    row: Row,
    lesions: Sequence[tuple[Lesion | None, Lesion | None]],
    objects: Sequence[tuple[Column, ...]],
) -> None:
    """Add one row with all that goes with it, in one transaction that is on the disk when this returns."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(insert("strokes", len(COLUMNS)), row.values())
    if objects:
        connection.executemany(insert("objects", len(objects[0])), objects)
    for before, _ in lesions:
        if before is not None:
            connection.execute("DELETE FROM lesions WHERE id = ?", (before.id,))
    for _, after in lesions:
        if after is not None:
            connection.execute(insert("lesions", 14), _lesion_row(after))
    connection.execute("UPDATE head SET number = ?, chain = ?", (row.number, row.chain))
    connection.execute("COMMIT")


def insert(table: str, columns: int) -> str:
    """The statement that adds a row of so many columns."""
    return f"INSERT INTO {table} VALUES ({', '.join('?' * columns)})"


def _lesion_row(lesion: Lesion) -> tuple[Column, ...]:
    found = lesion_as_list(lesion)
    assert found is not None
    number, class_id, box, area, first, severity, findings, note, author, state = found
    several = ",".join(str(value) for value in findings)
    return (number, class_id, *box, area, *first, severity, several, note, author, state)


def copy_store(source: apsw.Connection, target: Path) -> None:
    """Copy an open store into a file at rest."""
    target.unlink(missing_ok=True)
    with closing(apsw.Connection(str(target))) as connection:
        with connection.backup("main", source, "main") as backup:
            backup.step(-1)
        if _value(connection, "PRAGMA journal_mode=DELETE") != "delete":
            raise apsw.IOError("the copy did not leave WAL mode")
    with open(target, "r+b") as file:
        os.fsync(file.fileno())


def check_copy(path: Path, state: LabelState) -> None:
    """Read a store at rest from end to end; `LabelError` where it is not the given state."""
    try:
        with closing(connect_to_read(path)) as connection:
            copied = load(connection, path, state.size, state.um_per_px)
        found = f"stroke {copied.number} in the copy, {state.number} here"
        equal = (copied.number, copied.chain) == (state.number, state.chain)
        equal = equal and np.array_equal(copied.raster, state.raster)
    except (*DAMAGE, LabelError) as error:
        equal, found = False, str(error)
    if not equal:
        raise LabelError(
            "the copy of the labels does not equal the labels; the older backup stays",
            slide=path.name,
            found=found,
            next="check this disk, and copy the case to another one",
        )


def set_aside_if_foreign(backup: Path, source: apsw.Connection) -> None:
    """Keep a backup under another name where it holds strokes that this store does not know."""
    if not backup.exists():
        return
    number, mark = 0, "damaged"
    with suppress(LabelError, *DAMAGE):
        with closing(connect_to_read(backup)) as connection:
            ((number, chain),) = connection.execute("SELECT number, chain FROM head")
        mark = chain.hex()[:8]
        if number == 0 or fetch_row(source, number).chain == chain:
            return
    name = f"{backup.stem.removesuffix('.backup')}.conflict-{number}-{mark}{backup.suffix}"
    replace_file(backup, backup.with_name(name))


def replace_file(source: Path, target: Path) -> None:
    """Rename over another file, and flush the folder; a program that holds the target for moments is waited for."""
    for attempt in range(_REPLACE_TRIES):
        try:
            os.replace(source, target)
            break
        except PermissionError:
            if attempt == _REPLACE_TRIES - 1:
                raise
            time.sleep(0.05 * 2**attempt)
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)
