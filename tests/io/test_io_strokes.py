"""The label store: nothing acknowledged is lost, nothing unreadable looks empty."""

from __future__ import annotations

import inspect
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stainloom.case.regions import Lesion, components
from stainloom.errors import LabelError
from stainloom.geometry import Box, Size
from stainloom.io.shares import mount_type
from stainloom.io.snapshot import read_labels
from stainloom.io.strokelog import LabelObject
from stainloom.io.strokes import LabelStore
from stainloom.io.waldamage import wal_damage

SIZE = Size(120, 150)


def open_store(path: Path, **options: Any) -> LabelStore:
    return LabelStore.open(path, SIZE, 2.0, author="Ana", **options)


def stroke(store: LabelStore, box: Box, class_id: int, **options: Any) -> int:
    after = np.full(box.shape, class_id, np.uint8)
    return store.paint(box, store.read(box), after, what="brush", class_id=class_id, **options)


def random_stroke(number: int) -> tuple[Box, int]:
    """The stroke of a number: the same here and in the child that is killed."""
    draw = random.Random(number)
    rows, cols = draw.randint(1, 30), draw.randint(1, 30)
    return Box(draw.randint(0, SIZE.rows - rows), draw.randint(0, SIZE.cols - cols), rows, cols), 1 + number % 5


def painted(upto: int) -> np.ndarray[Any, Any]:
    raster = np.zeros(SIZE.shape, np.uint8)
    for number in range(1, upto + 1):
        box, class_id = random_stroke(number)
        raster[box.row : box.row_end, box.col : box.col_end] = class_id
    return raster


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "labels.sqlite"


@pytest.fixture
def closed(path: Path) -> Path:
    """A closed store of eight strokes, an undo and an imported object."""
    with open_store(path) as store:
        for number in range(1, 8):
            stroke(store, *random_stroke(number))
        store.undo()
        add = LabelObject('{"type":"Feature"}', 2, Box(0, 0, 2, 3), np.ones((2, 3), np.bool_))
        stroke(store, Box(0, 0, 2, 3), 9, objects=[add])
    return path


def abandon(store: LabelStore) -> None:
    """Close the file as a killed process leaves it: in WAL mode, with its log."""
    assert store._connection is not None
    assert store._hold is not None
    store._connection.close(True)
    store._connection = None
    store._hold.release()


# What a stroke does


def test_strokes_undo_and_redo_outlive_the_program(path: Path) -> None:
    with open_store(path) as store:
        assert store.head.number == 0
        assert stroke(store, Box(2, 3, 4, 5), 1) == 1
        one = store.labels_id
        assert stroke(store, Box(4, 5, 10, 10), 2) == 2
        two = store.raster()
        assert store.undo() == Box(4, 5, 10, 10)
        assert store.labels_id == one
    with open_store(path) as store:
        assert store.head.number == 3
        assert store.redo() == Box(4, 5, 10, 10)
        np.testing.assert_array_equal(store.raster(), two)
        assert store.undo() == Box(4, 5, 10, 10)
        assert store.undo() == Box(2, 3, 4, 5)
        assert store.undo() is None
        assert not store.raster().any()
        assert stroke(store, Box(0, 0, 1, 1), 3) == 7
        assert store.redo() is None


@settings(max_examples=12, deadline=None)
@given(st.lists(st.sampled_from(["paint", "undo", "redo", "describe", "open again"]), min_size=1, max_size=14))
def test_any_history_replays_to_what_was_seen(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    path = tmp_path_factory.mktemp("history") / "labels.sqlite"
    store = open_store(path)
    seen = [(store.raster(), store.regions())]
    ahead: list[tuple[Any, tuple[Lesion, ...]]] = []
    number = 0
    for step in steps:
        if step == "open again":
            head = store.head
            store.close()
            store = open_store(path)
            assert store.head == head
        elif step == "undo" and store.undo() is not None:
            ahead.append(seen.pop())
        elif step == "redo" and store.redo() is not None:
            seen.append(ahead.pop())
        elif step == "paint":
            number += 1
            before = store.head.number
            if stroke(store, *random_stroke(number)) > before:
                seen.append((store.raster(), store.regions()))
                ahead.clear()
        elif step == "describe" and store.regions():
            before = store.head.number
            if store.describe(store.regions()[0].id, note=f"seen {number}") > before:
                seen.append((store.raster(), store.regions()))
                ahead.clear()
        np.testing.assert_array_equal(store.raster(), seen[-1][0])
        assert store.regions() == seen[-1][1]
    store.close()


def test_equal_paint_has_an_equal_id_whatever_its_history(tmp_path: Path) -> None:
    with open_store(tmp_path / "a.sqlite") as a, open_store(tmp_path / "b.sqlite") as b:
        stroke(a, Box(0, 0, 4, 4), 1)
        stroke(b, Box(0, 0, 4, 2), 1)
        assert a.labels_id != b.labels_id
        stroke(b, Box(0, 2, 4, 2), 1)
        assert a.labels_id == b.labels_id
        assert a.head != b.head
    with LabelStore.open(tmp_path / "c.sqlite", SIZE, 1.0, author="Ana") as c:
        stroke(c, Box(0, 0, 4, 4), 1)
        assert c.labels_id != a.labels_id


def test_a_stroke_on_another_state_is_refused(path: Path) -> None:
    with open_store(path) as store:
        stroke(store, Box(0, 0, 4, 4), 1)
        empty = np.zeros((4, 4), np.uint8)
        with pytest.raises(LabelError, match="differ"):
            store.paint(Box(0, 0, 4, 4), empty, empty + 2, what="brush", class_id=2)
        assert store.head.number == 1
        with pytest.raises(ValueError, match="leaves the raster"):
            store.paint(Box(-1, 0, 4, 4), empty, empty + 2, what="brush", class_id=2)
        with pytest.raises(ValueError, match="uint8"):
            store.paint(Box(0, 0, 4, 5), empty, empty, what="brush", class_id=2)


def test_only_what_changed_is_kept_and_no_change_is_no_stroke(path: Path) -> None:
    with open_store(path) as store:
        assert stroke(store, Box(5, 5, 20, 20), 1) == 1
        assert stroke(store, Box(5, 5, 20, 20), 1) == 1
        assert stroke(store, Box(0, 0, 25, 26), 1) == 2
        assert store.undo() == Box(0, 0, 25, 26)
        before = store.read(Box(5, 5, 20, 20))
        after = before.copy()
        after[3, 4:6] = 0
        store.paint(Box(5, 5, 20, 20), before, after, what="eraser", class_id=0)
        assert store.undo() == Box(8, 9, 1, 2)


# Lesions


def check_lesions(store: LabelStore) -> None:
    """The lesions are the connected components, whatever they are called."""
    _, found = components(store.raster())
    shapes = {(c.class_id, c.box, c.area_px, c.first) for c in found}
    assert {(le.class_id, le.box, le.area_px, le.first) for le in store.regions()} == shapes
    assert len(store.regions()) == len(found)


def test_lesions_keep_their_numbers_through_growth_merge_and_cut(path: Path) -> None:
    with open_store(path) as store:
        stroke(store, Box(10, 10, 10, 10), 1)
        stroke(store, Box(10, 40, 30, 30), 1)
        store.describe(1, severity="mild", note="first")
        store.describe(2, severity="severe", note="second", findings=(3,))
        stroke(store, Box(12, 15, 2, 30), 1)
        (joined,) = store.regions()
        assert (joined.id, joined.severity, joined.note) == (2, "severe", "second; first")
        stroke(store, Box(0, 30, 120, 1), 0)
        left, right = sorted(store.regions(), key=lambda le: le.box.col)
        assert (right.id, left.id) == (2, 3)
        stroke(store, right.box, 4)
        assert {le.id: le.class_id for le in store.regions()} == {2: 4, 3: 1}
        check_lesions(store)
        for _ in range(3):
            store.undo()
        assert [(le.id, le.note) for le in store.regions()] == [(1, "first"), (2, "second")]
        stroke(store, Box(100, 100, 5, 5), 2)
        assert store.regions()[-1].id == 4


def test_lesions_are_the_connected_components_after_every_stroke(path: Path) -> None:
    with open_store(path) as store:
        for number in range(1, 61):
            box, class_id = random_stroke(number)
            stroke(store, box, class_id if number % 4 else 0)
            check_lesions(store)
        ids = [le.id for le in store.regions()]
        assert ids == sorted(set(ids))


def test_what_is_said_of_a_lesion_is_bounded(path: Path) -> None:
    with open_store(path) as store:
        stroke(store, Box(0, 0, 3, 3), 1)
        with pytest.raises(ValueError, match="severity"):
            store.describe(1, severity="dreadful")
        with pytest.raises(LabelError, match="lesion 7"):
            store.describe(7, note="?")
        assert store.head.number == 1


# Imported objects


def test_an_object_stays_until_its_pixels_or_their_neighbours_are_edited(path: Path) -> None:
    text = '{"type": "Feature",  "n": 1.50}'
    mask = np.array([[True, True], [True, False]])
    with open_store(path) as store:
        box = Box(50, 50, 2, 2)
        mark = LabelObject('{"mark": 1}', 0, Box(0, 0, 0, 0), np.zeros((0, 0), np.bool_))
        after = mask.astype(np.uint8) * 3
        added = LabelObject(text, 3, box, mask)
        store.paint(box, store.read(box), after, what="import", class_id=0, objects=[added, mark])
        stroke(store, Box(53, 53, 2, 2), 3)
        assert [found.text for found in store.objects] == [text, '{"mark": 1}']
        np.testing.assert_array_equal(store.objects[0].mask, mask)
        stroke(store, Box(52, 51, 1, 1), 3)
        assert [found.text for found in store.objects] == ['{"mark": 1}']
        store.undo()
    with open_store(path) as store:
        assert [found.text for found in store.objects] == [text, '{"mark": 1}']
        store.undo()
        store.undo()
        assert store.objects == ()
        store.redo()
        assert store.objects[0].text == text


# Snapshots


def test_a_snapshot_reads_as_the_store_and_equal_labels_give_equal_bytes(closed: Path, tmp_path: Path) -> None:
    with open_store(closed) as store:
        assert store.snapshot(tmp_path / "one.npz") == store.labels_id
        store.snapshot(tmp_path / "two.npz")
        found = read_labels(tmp_path / "one.npz")
        np.testing.assert_array_equal(found.raster, store.raster())
        assert found.lesions == store.regions()
        assert (found.stroke, found.labels_id, found.um_per_px) == (9, store.labels_id, (2.0, 2.0))
        assert [(o.text, o.class_id, o.box) for o in found.objects] == [('{"type":"Feature"}', 2, Box(0, 0, 2, 3))]
        assert found.objects[0].mask.all()
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_a_changed_snapshot_is_refused(closed: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "s.npz"
    with open_store(closed) as store:
        store.snapshot(snapshot)
    with np.load(snapshot, allow_pickle=False) as found:
        arrays = dict(found)
    other = arrays["raster"].copy()
    other[5, 5] ^= 1
    np.savez(snapshot, **{**arrays, "raster": other})
    with pytest.raises(LabelError, match="under the name"):
        read_labels(snapshot)
    np.savez(snapshot, **{**arrays, "masks": arrays["masks"][:0]})
    with pytest.raises(LabelError, match="without its mask"):
        read_labels(snapshot)
    snapshot.write_bytes(b"PK\3\4 nothing")
    with pytest.raises(LabelError, match=r"s\.npz"):
        read_labels(snapshot)
    with pytest.raises(LabelError, match="not there"):
        read_labels(tmp_path / "none.npz")


# At rest, and who may open


def test_a_closed_store_is_one_file_that_opens_as_a_copy_and_read_only(closed: Path, tmp_path: Path) -> None:
    assert [found.name for found in closed.parent.iterdir()] == ["labels.sqlite"]
    assert closed.read_bytes()[18:20] == b"\1\1"
    folder = tmp_path / "copy"
    folder.mkdir()
    copy = folder / "labels.sqlite"
    shutil.copyfile(closed, copy)
    copy.chmod(0o444)
    content = copy.read_bytes()
    with open_store(copy, read_only=True) as store, open_store(closed) as original:
        np.testing.assert_array_equal(store.raster(), original.raster())
        assert store.head == original.head
        assert len(store.objects) == 1
        with pytest.raises(LabelError, match="read-only"):
            stroke(store, Box(0, 0, 50, 50), 1)
        with pytest.raises(LabelError, match="read-only"):
            store.undo()
    assert copy.read_bytes() == content
    assert [found.name for found in folder.iterdir()] == ["labels.sqlite"]


def test_a_second_writer_and_a_reader_are_refused_while_a_store_is_open(path: Path) -> None:
    with open_store(path) as store:
        stroke(store, Box(0, 0, 3, 3), 1)
        for options in ({}, {"read_only": True}):
            with pytest.raises(LabelError, match="open in another program"):
                open_store(path, **options)
        # Reading the file makes a POSIX process lose SQLite's locks: it must not let the other process in.
        path.read_bytes()
        code = (
            "import sys; from pathlib import Path; from stainloom.io.strokes import LabelStore; "
            "from stainloom.geometry import Size; from stainloom.errors import LabelError\n"
            "try: LabelStore.open(Path(sys.argv[1]), Size(120, 150), 2.0, author='Ben')\n"
            "except LabelError as error: sys.stdout.write(error.what)"
        )
        told = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
        assert told.stdout == "the labels are open in another program"
        assert stroke(store, Box(5, 5, 3, 3), 1) == 2
    with open_store(path) as store:
        assert store.head.number == 2


def test_another_raster_and_a_newer_version_are_refused(closed: Path) -> None:
    for size, um in ((Size(120, 151), 2.0), (SIZE, 1.0)):
        with pytest.raises(LabelError, match="another raster"):
            LabelStore.open(closed, size, um, author="Ana")
    connection = apsw.Connection(str(closed))
    connection.execute("PRAGMA user_version=2")
    connection.close()
    with pytest.raises(LabelError, match="newer program"):
        open_store(closed)
    with pytest.raises(LabelError, match="no useful size"):
        LabelStore.open(closed, Size(20_000, 10), 1.0, author="Ana")


def test_on_a_share_there_is_no_wal(path: Path) -> None:
    with open_store(path, share=True) as store:
        for number in range(1, 6):
            stroke(store, *random_stroke(number))
        assert not path.with_name("labels.sqlite-wal").exists()
        assert store._connection is not None
        assert next(iter(store._connection.execute("PRAGMA synchronous")))[0] == 3
        with pytest.raises(LabelError, match="another program"):
            open_store(path)
    with open_store(path) as store:
        np.testing.assert_array_equal(store.raster(), painted(5))


def test_the_kind_of_a_mount_is_that_of_the_deepest_one() -> None:
    table = "/dev/sda1 / ext4 rw 0 0\nnas:/x /home/an\\040a nfs4 rw 0 0\n//nas/y /mnt/slides cifs rw 0 0\nbroken\n"
    assert mount_type(Path("/home/an a/study/labels.sqlite"), table) == "nfs4"
    assert mount_type(Path("/home/anna/study/labels.sqlite"), table) == "ext4"
    assert mount_type(Path("/mnt/slides/labels.sqlite"), table) == "cifs"
    assert mount_type(Path("/mnt/slides2/labels.sqlite"), table) == "ext4"


# Killed, full, damaged

_PAINTERS = """
import os, random, sys
from pathlib import Path
from stainloom.geometry import Box, Size
from stainloom.io.strokes import LabelStore
import numpy as np
SIZE = Size(120, 150)
for _ in sys.stdin:
    painter = os.fork()
    if painter:
        os.waitpid(painter, 0)
        os.write(1, b"killed\\n")
        continue
    with LabelStore.open(Path(sys.argv[1]), SIZE, 2.0, author="Ana") as store:
        os.write(1, f"{os.getpid()}\\n".encode())
        while True:
            number = store.head.number + 1
            box, class_id = random_stroke(number)
            after = np.full(box.shape, class_id, np.uint8)
            assert store.paint(box, store.read(box), after, what="brush", class_id=class_id) == number
            os.write(1, f"{number}\\n".encode())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a painter that starts in a moment needs fork")
def test_no_acknowledged_stroke_is_lost_when_the_painter_is_killed(path: Path) -> None:
    # One process imports everything; each painter is a fork of it that paints until it is killed.
    code = "from __future__ import annotations\n" + inspect.getsource(random_stroke) + _PAINTERS
    draw = random.Random(3)
    told = 0
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        for _ in range(12):
            parent.stdin.write("paint\n")
            parent.stdin.flush()
            painter = int(parent.stdout.readline())
            lines = [parent.stdout.readline() for _ in range(draw.randint(1, 15))]
            time.sleep(draw.choice([0.0, draw.uniform(0, 0.02)]))
            os.kill(painter, signal.SIGKILL)
            while lines[-1] != "killed\n":
                lines.append(parent.stdout.readline())
            acknowledged = int(lines[-2])
            assert acknowledged > told
            with open_store(path, read_only=True) as seen:
                told = seen.head.number
                assert told in (acknowledged, acknowledged + 1)
                np.testing.assert_array_equal(seen.raster(), painted(told))
        parent.stdin.close()
    with open_store(path) as store:
        assert store.head.number == told
        np.testing.assert_array_equal(store.raster(), painted(told))
        check_lesions(store)


class Disk(apsw.VFS):
    """A disk that can be full, break on flushing, or be read-only, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.left, self.refuses_flush, self.read_only = str(folder), None, False, False
        self.real = apsw.vfs_names()[0]
        super().__init__("stainloom test disk", self.real, makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        file_name = name.filename() if isinstance(name, apsw.URIFilename) else name
        if self.read_only and file_name and file_name.startswith(self.folder) and flags[0] & apsw.SQLITE_OPEN_READWRITE:
            raise apsw.CantOpenError("read-only file system")
        return DiskFile(self, name, flags)


class DiskFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        super().__init__(disk.real, name, flags)
        self.disk = disk

    def xWrite(self, data: bytes, offset: int) -> None:
        if self.disk.left is not None:
            if len(data) > self.disk.left:
                super().xWrite(data[: self.disk.left], offset)
                self.disk.left = 0
                raise apsw.FullError("no space left on device")
            self.disk.left -= len(data)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        if self.disk.refuses_flush:
            raise apsw.IOError("flush failed")
        super().xSync(flags)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    found = Disk(tmp_path)
    yield found
    found.unregister()


@pytest.mark.parametrize("share", [False, True])
def test_a_full_disk_loses_nothing_and_painting_goes_on(path: Path, disk: Disk, share: bool) -> None:
    store = open_store(path, share=share)
    told, refused = 0, 0
    draw = random.Random(5)
    for number in range(1, 60):
        disk.left = draw.randint(0, 20_000) if number % 3 == 0 else None
        box, class_id = random_stroke(number)
        kept = (store.raster(), store.head, store.regions())
        try:
            told = stroke(store, box, class_id)
        except LabelError as error:
            refusal = error.what
        else:
            refusal = ""
        if refusal:
            refused += 1
            assert refusal == "the disk is full: this stroke was not kept"
            assert (store.head, store.regions()) == kept[1:]
            np.testing.assert_array_equal(store.raster(), kept[0])
            disk.left = None
            told = stroke(store, box, class_id)
        assert told == number
    assert refused > 5
    disk.left = None
    np.testing.assert_array_equal(store.raster(), painted(told))
    store.close()
    with open_store(path) as again:
        assert again.head.number == told
        np.testing.assert_array_equal(again.raster(), painted(told))


def test_a_stroke_that_cannot_be_flushed_is_not_acknowledged(path: Path, disk: Disk) -> None:
    with open_store(path) as store:
        stroke(store, Box(0, 0, 3, 3), 1)
        disk.refuses_flush = True
        with pytest.raises(LabelError, match="not kept"):
            stroke(store, Box(5, 5, 3, 3), 2)
        disk.refuses_flush = False
        assert store.head.number == 1
        assert stroke(store, Box(5, 5, 3, 3), 2) == 2
    with open_store(path) as store:
        assert store.head.number == 2
        assert len(store.regions()) == 2


def test_a_full_disk_at_backup_or_snapshot_leaves_the_older_ones(
    path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(path) as store:
        stroke(store, Box(0, 0, 3, 3), 1)
        copy = store.backup()
        content = copy.read_bytes()
        stroke(store, Box(5, 5, 3, 3), 2)
        path.with_name(".labels.backup.sqlite.77.part").write_bytes(b"left by a killed process")
        disk.left = 5_000
        with pytest.raises(LabelError, match="disk is full"):
            store.backup()
        disk.left = None
        assert copy.read_bytes() == content
        assert sorted(found.name for found in path.parent.iterdir() if found.name.startswith(".")) == []
        assert store.backup().read_bytes() != content


def test_a_read_only_folder_refuses_painting_and_shows_the_labels(closed: Path, disk: Disk) -> None:
    with open_store(closed) as store:
        kept = store.raster()
        stroke(store, Box(60, 60, 30, 30), 7)
        kept = store.raster()
        abandon(store)
    disk.read_only = True
    with pytest.raises(LabelError, match="cannot be opened for painting") as told:
        open_store(closed)
    assert "read-only" in str(told.value.next)
    # Not closed and not writable: SQLite itself would not open it, or would leave the last stroke out.
    disk.read_only = False
    with open_store(closed, read_only=True) as store:
        np.testing.assert_array_equal(store.raster(), kept)


@pytest.mark.parametrize("seed", range(4))
def test_flipped_bytes_are_noticed_or_change_nothing(closed: Path, tmp_path: Path, seed: int) -> None:
    with open_store(closed, read_only=True) as store:
        right, head = store.raster(), store.head
        lesions, objects = store.regions(), [found.text for found in store.objects]
    content = closed.read_bytes()
    draw = random.Random(seed)
    damaged = tmp_path / "damaged.sqlite"
    noticed = 0
    for _ in range(60):
        mutant = bytearray(content)
        for _ in range(draw.choice([1, 1, 1, 8])):
            mutant[draw.randrange(len(mutant))] ^= 1 << draw.randrange(8)
        damaged.write_bytes(mutant)
        try:
            with open_store(damaged, read_only=True) as store:
                np.testing.assert_array_equal(store.raster(), right)
                assert (store.head, store.regions()) == (head, lesions)
                assert [found.text for found in store.objects] == objects
        except LabelError:
            noticed += 1
    # Most of a small file is unused room inside pages, where a flip changes nothing.
    assert noticed > 5


def test_every_column_is_in_the_chain(closed: Path, tmp_path: Path) -> None:
    edits = {
        "strokes": ("before", "after", "class_id", "what", "changes", "author", "utc", "chain", "box_row", "target"),
        "objects": ("class_id", "text", "mask", "box_col"),
        "lesions": ("class_id", "area_px", "severity", "note", "author", "state"),
        "raster": ("rows", "um_per_px_col"),
        "head": ("number", "chain"),
    }
    for table, columns in edits.items():
        for column in columns:
            copy = tmp_path / "edited.sqlite"
            shutil.copyfile(closed, copy)
            connection = apsw.Connection(str(copy))
            ((value,),) = connection.execute(f"SELECT {column} FROM {table} ORDER BY rowid LIMIT 1")
            other = (
                value + 1 if isinstance(value, (int, float)) else value + (b"0" if isinstance(value, bytes) else "0")
            )
            connection.execute(
                f"UPDATE {table} SET {column} = ? WHERE rowid = (SELECT min(rowid) FROM {table})", (other,)
            )
            connection.close()
            with pytest.raises(LabelError):
                open_store(copy)
    for statement in (
        "DELETE FROM strokes WHERE number = 9",
        "DELETE FROM strokes WHERE number = 4",
        "DELETE FROM objects",
        "CREATE TRIGGER t AFTER INSERT ON strokes BEGIN DELETE FROM strokes; END",
        "DELETE FROM raster",
    ):
        shutil.copyfile(closed, copy)
        connection = apsw.Connection(str(copy))
        connection.execute(statement)
        connection.close()
        with pytest.raises(LabelError, match="stop, nothing is shown"):
            open_store(copy)


def test_an_unreadable_store_names_its_backup_and_never_looks_empty(path: Path) -> None:
    with open_store(path) as store:
        for number in range(1, 6):
            stroke(store, *random_stroke(number))
        copy = store.backup()
        right = store.raster()
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"no database at all" * 500, content[:100] + bytes(8000)):
        path.write_bytes(damaged)
        for options in ({}, {"read_only": True}):
            with pytest.raises(LabelError, match="stop, nothing is shown") as told:
                open_store(path, **options)
            assert "labels.backup.sqlite reads well, up to stroke 5" in str(told.value.next)
        assert path.read_bytes() == damaged
    path.unlink()
    with pytest.raises(LabelError, match=r"is gone, but labels\.backup\.sqlite is there"):
        open_store(path)
    assert not path.exists()
    shutil.copyfile(copy, path)
    with open_store(path) as store:
        np.testing.assert_array_equal(store.raster(), right)
    path.write_bytes(b"")
    copy.write_bytes(copy.read_bytes()[:5000])
    with pytest.raises(LabelError, match="cannot be read either"):
        open_store(path)


def test_a_copy_without_its_log_is_refused(path: Path, tmp_path: Path) -> None:
    store = open_store(path)
    for number in range(1, 4):
        stroke(store, *random_stroke(number))
    abandon(store)
    copy = tmp_path / "copy.sqlite"
    shutil.copyfile(path, copy)
    for options in ({}, {"read_only": True}):
        with pytest.raises(LabelError, match="-wal, which holds strokes, is not beside it"):
            open_store(copy, **options)
    shutil.copyfile(path.with_name(path.name + "-wal"), copy.with_name(copy.name + "-wal"))
    with open_store(copy, read_only=True) as seen:
        np.testing.assert_array_equal(seen.raster(), painted(3))
    with open_store(copy) as seen:
        np.testing.assert_array_equal(seen.raster(), painted(3))


def test_a_damaged_log_is_noticed_where_strokes_are_lost(path: Path) -> None:
    store = open_store(path)
    for number in range(1, 5):
        stroke(store, *random_stroke(number))
    abandon(store)
    log = path.with_name(path.name + "-wal")
    content = log.read_bytes()
    assert wal_damage(content) is None
    assert wal_damage(b"") is None
    assert wal_damage(bytes(9000)) is None
    # What an interrupted write leaves: the last transaction cut short, or its last page wrong.
    assert wal_damage(content[:-100]) is None
    assert wal_damage(content[:-1] + bytes([content[-1] ^ 1])) is None
    for place in (3, 17, 25, 40, 60, 3000, len(content) // 2):
        damaged = bytearray(content)
        damaged[place] ^= 16
        assert wal_damage(bytes(damaged)), place
        log.write_bytes(damaged)
        with pytest.raises(LabelError, match="stop, nothing is shown"):
            open_store(path)
    log.write_bytes(content)
    with open_store(path) as again:
        np.testing.assert_array_equal(again.raster(), painted(4))


def test_a_backup_of_another_history_is_set_aside(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with open_store(other / "labels.sqlite") as store:
        stroke(store, Box(50, 50, 9, 9), 5)
        foreign = store.backup().read_bytes()
    with open_store(path) as store:
        stroke(store, Box(0, 0, 3, 3), 1)
        store.backup()
        stroke(store, Box(9, 9, 3, 3), 1)
        copy = store.backup()
        assert list(path.parent.glob("*conflict*")) == []
        copy.write_bytes(foreign)
        store.backup()
        (aside,) = path.parent.glob("labels.conflict-1-*.sqlite")
        assert aside.read_bytes() == foreign
    with open_store(copy, read_only=True) as seen:
        assert seen.head.number == 2


def test_a_closed_store_takes_no_stroke(path: Path) -> None:
    store = open_store(path)
    store.close()
    store.close()
    with pytest.raises(ValueError, match="closed"):
        stroke(store, Box(0, 0, 3, 3), 1)


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="not there"):
        open_store(tmp_path / "none" / "labels.sqlite")
    with pytest.raises(LabelError, match="no labels are there"):
        open_store(tmp_path / "labels.sqlite", read_only=True)
    assert os.listdir(tmp_path) == []
