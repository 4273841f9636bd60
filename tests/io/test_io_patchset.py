"""Patch sets: written whole or not at all, read back as written, refused when altered."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr

from stainloom.case.lesions import LESIONS
from stainloom.errors import PatchError
from stainloom.geometry import Pixels
from stainloom.io import patchformat, patchwriter
from stainloom.io.patchset import PatchSetWriter, open_patchset
from stainloom.progress import Cancelled

STAINS = ("HE", "SMA")
SETTINGS = {"size_px": 12, "um_per_px": 1.0, "turns": [0, 60, 90], "seed": 0}
SPLIT = {"P1": "train", "P2": "validation", "P3": "test"}


@dataclass(frozen=True)
class Place:
    """A window as the manifest sees it."""

    lesion_id: int
    class_id: int
    centre_um: tuple[float, float]
    share: float
    present: tuple[bool, ...]


def places(count: int, seed: int) -> list[Place]:
    generator = np.random.default_rng(seed)
    return [
        Place(
            k // 3 + 1, 1 + k % 2, (100.0 + k, float(generator.random())), 0.75, (True, bool(generator.random() < 0.7))
        )
        for k in range(count)
    ]


def pixels(count: int, seed: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 2, 12, 12, 3), dtype=np.uint8)


def blocks(content: Pixels, order: list[list[int]]) -> Iterator[tuple[np.ndarray, Pixels]]:
    for index in order:
        yield np.array(index, np.int64), content[index]


def writer(root: Path, **more: Any) -> PatchSetWriter:
    return PatchSetWriter(root, stains=STAINS, classes=LESIONS, settings=SETTINGS, **more)


def fill(each: PatchSetWriter, backwards: bool = False) -> None:
    for number, (count, patient) in enumerate([(7, "P1"), (4, "P2"), (5, "P3"), (2, "P1")]):
        order = [[k] for k in range(count)] if not backwards else [list(range(count))[::-1]]
        ids = {"SMA": f"warp{number}"}
        each.add_case(
            f"case{number}", patient, places(count, number), blocks(pixels(count, number), order),
            labels_id="labels", warp_ids=ids, normalization_ids={"HE": "n1", "SMA": "n2"}, left_out={"too small": 3, "none": 0},
        )  # fmt: skip


@pytest.fixture(params=[1, 1 << 20], ids=["many chunks", "one chunk"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(patchformat, "CHUNK_BYTES", request.param)
    monkeypatch.setattr(patchwriter, "_OPEN_FILES", 2)
    return tmp_path / "patchsets"


@pytest.fixture
def written(root: Path) -> Path:
    with writer(root, simulated=True) as each:
        fill(each)
        return each.finish(SPLIT, figures={"deviation_points": 3.0})


EXPECTED = np.concatenate([pixels(count, k) for k, count in enumerate((7, 4, 5, 2))])


def test_what_was_written_is_read(written: Path) -> None:
    found = open_patchset(written)
    assert len(found) == 18 * 3
    assert found.id == written.name
    assert len(found.id) == 16
    assert np.array_equal(found.batch(range(54)).reshape(18, 3, 2, 12, 12, 3), EXPECTED)
    assert np.array_equal(found[5], EXPECTED[1, 2])
    assert np.array_equal(found[-1], EXPECTED[17, 2])
    assert np.array_equal(found[3:6], EXPECTED[1])
    assert found.labels.tolist() == [1 + k % 2 for n in (7, 4, 5, 2) for k in range(n) for _ in range(3)]
    assert found.turn.tolist() == [0, 60, 90] * 18
    assert found.patients[[0, 21, 33, 48]].tolist() == ["P1", "P2", "P3", "P1"]
    assert found.sets[[0, 21, 33, 48]].tolist() == ["train", "validation", "test", "train"]
    assert np.array_equal(found.present[::3], [p.present for k, n in enumerate((7, 4, 5, 2)) for p in places(n, k)])
    assert found.stain_names == STAINS
    assert found.classes == LESIONS
    assert (found.simulated, found.one_patient, found.normalized) == (True, False, True)
    assert found.about["left_out"]["case0"] == {"too small": 3}
    assert found.split["figures"] == {"deviation_points": 3.0}
    found.verify()


def test_any_order_of_samples(written: Path) -> None:
    found = open_patchset(written)
    wanted = np.random.default_rng(1).integers(0, 54, 200)
    assert np.array_equal(found.batch(wanted), EXPECTED.reshape(54, 2, 12, 12, 3)[wanted])
    assert found.batch([]).shape == (0, 2, 12, 12, 3)
    with pytest.raises(IndexError, match="0 to 53"):
        found.batch([54])
    with pytest.raises(IndexError):
        found.batch([-1])


def test_training_takes_all_turns_and_tests_only_originals(written: Path) -> None:
    found = open_patchset(written)
    assert len(found.indices("train", augmented=True)) == 9 * 3
    assert len(found.indices("train")) == 9
    assert (found.turn[found.indices("test")] == 0).all()
    assert found.indices("left out").size == 0
    with pytest.raises(ValueError, match="practice"):
        found.indices("practice")


def test_zarr_reads_the_same_pixels_and_pyarrow_the_manifest(written: Path) -> None:
    array = zarr.open_array(written / "patches", mode="r")
    assert array.metadata.zarr_format == 3
    assert np.array_equal(array[:], EXPECTED.reshape(54, 2, 12, 12, 3))
    rows = pq.read_table(written / "manifest.parquet").to_pylist()
    assert [row["sample"] for row in rows] == list(range(54))
    assert rows[21]["case"] == "case1"
    assert rows[21]["warp_ids"] == ["", "warp1"]
    assert rows[21]["labels_id"] == "labels"
    assert (rows[3]["row_um"], rows[3]["share"]) == (101.0, 0.75)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_input_twice_gives_the_same_bytes_and_one_folder(written: Path) -> None:
    before = content(written)
    with writer(written.parent, simulated=True) as each:
        fill(each, backwards=True)
        again = each.finish(SPLIT, figures={"deviation_points": 3.0})
    assert again == written
    elsewhere = written.parent / "elsewhere"
    with writer(elsewhere, simulated=True) as each:
        fill(each, backwards=True)
        assert content(each.finish(SPLIT, figures={"deviation_points": 3.0})) == before
    assert sorted(p.name for p in written.parent.iterdir()) == sorted([written.name, "elsewhere"])


def test_another_split_or_another_pixel_gives_another_id(written: Path) -> None:
    with writer(written.parent, simulated=True) as each:
        fill(each)
        other = each.finish({**SPLIT, "P1": "test", "P3": "train"}, figures={"deviation_points": 3.0})
    assert other != written
    assert open_patchset(other).indices("test").size == 9


def test_one_patient_is_split_by_place_and_marked(root: Path) -> None:
    with writer(root) as each:
        each.add_case("a", "P1", places(4, 0), blocks(pixels(4, 0), [[0, 1, 2, 3]]))
        path = each.finish(["train", "validation", "left out", "test"])
    found = open_patchset(path)
    assert found.one_patient
    assert not found.normalized
    assert found.sets[::3].tolist() == ["train", "validation", "left out", "test"]


def test_two_patients_are_never_split_by_place(root: Path) -> None:
    with writer(root) as each:
        fill(each)
        with pytest.raises(ValueError, match="one patient"):
            each.finish(["train"] * 18)
        with pytest.raises(ValueError, match="P3"):
            each.finish({"P1": "train", "P2": "test"})
    assert list(root.iterdir()) == []


def test_no_patches_say_why(root: Path) -> None:
    with writer(root) as each:
        each.add_case("a", "P1", [], [], left_out={"off the tissue": 4})
        each.add_case("b", "P2", [], [], left_out={"off the tissue": 2})
        with pytest.raises(PatchError, match="6 windows left out: off the tissue"):
            each.finish(SPLIT)
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("order", [[[0, 1], [2]], [[0, 1], [1, 2, 3]], [[0, 1, 2, 3], [0]]])
def test_every_window_comes_once(root: Path, order: list[list[int]]) -> None:
    with writer(root) as each, pytest.raises(ValueError, match="cut once"):
        each.add_case("a", "P1", places(4, 0), blocks(pixels(4, 0), order))
    assert list(root.iterdir()) == []


def test_cancelled_while_cutting_leaves_nothing(root: Path) -> None:
    def cancelled() -> Iterator[tuple[np.ndarray, Pixels]]:
        yield np.arange(2), pixels(2, 0)
        raise Cancelled

    with pytest.raises(Cancelled), writer(root) as each:
        each.add_case("a", "P1", places(4, 0), cancelled())
    assert list(root.iterdir()) == []


class Full:
    """A file on a disk that fills up."""

    def __init__(self, file: Any, code: int) -> None:
        self._file, self._code = file, code
        self._writes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: Any) -> int:
        self._writes += 1
        if self._writes > 2:
            raise OSError(self._code, os.strerror(self._code))
        return int(self._file.write(data))


@pytest.mark.parametrize(
    ("code", "says"), [(errno.ENOSPC, "MiB free.*free that much"), (errno.EIO, "the disk refused")]
)
def test_a_disk_that_fills_up_while_writing(
    written: Path, monkeypatch: pytest.MonkeyPatch, code: int, says: str
) -> None:
    before = content(written)
    monkeypatch.setattr(patchformat, "CHUNK_BYTES", 1 << 20)
    opened = open
    monkeypatch.setattr(patchwriter, "open", lambda *a, **k: Full(opened(*a, **k), code), raising=False)
    with pytest.raises(PatchError, match=says), writer(written.parent) as each:
        fill(each)
    assert [p.name for p in written.parent.iterdir()] == [written.name]
    assert content(written) == before


class Slow(Full):
    """A file that takes a part of what it is given."""

    def write(self, data: Any) -> int:
        return int(self._file.write(data[:1000]))


def test_a_disk_that_takes_parts_gets_everything(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open
    monkeypatch.setattr(patchwriter, "open", lambda *a, **k: Slow(opened(*a, **k), 0), raising=False)
    with writer(root) as each:
        fill(each)
        monkeypatch.undo()
        path = each.finish(SPLIT)
    assert np.array_equal(open_patchset(path).batch(range(54)).reshape(EXPECTED.shape), EXPECTED)


def test_a_slide_that_cannot_be_read_is_not_taken_for_a_full_disk(root: Path) -> None:
    def unreadable() -> Iterator[tuple[np.ndarray, Pixels]]:
        yield np.arange(2), pixels(2, 0)
        raise OSError(errno.ENOSPC, "from elsewhere")

    with pytest.raises(OSError, match="from elsewhere"), writer(root) as each:
        each.add_case("a", "P1", places(4, 0), unreadable())
    assert list(root.iterdir()) == []


def test_a_disk_too_small_is_seen_before_writing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type(shutil.disk_usage("/"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1 << 30, 1 << 30, 1000))
    with pytest.raises(PatchError, match=r"Found: 0 MiB are free"), writer(root) as each:
        fill(each)
    assert list(root.iterdir()) == []


def test_a_disk_that_fills_up_at_the_end(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with writer(root) as each:
        fill(each)
        monkeypatch.setattr(patchwriter, "write_manifest", full)
        with pytest.raises(PatchError, match="nothing of the patch set was kept"):
            each.finish(SPLIT)
    assert list(root.iterdir()) == []


def test_what_a_killed_export_left_is_swept(root: Path) -> None:
    with writer(root) as each:
        left = next(root.iterdir())
        name = left.name.split(".")
        name[3] = "999999999"
        dead = root / ".".join(name)
        shutil.copytree(left, dead)
        with writer(root):
            assert left.exists()
            assert not dead.exists()
        each.close()


def changed_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def damage(folder: Path, how: str) -> None:
    chunk = folder / "patches/c/0/0/0/0/0"
    described = folder / "patches/zarr.json"
    manifest = folder / "manifest.parquet"
    if how == "no manifest":
        manifest.unlink()
    elif how == "no chunk":
        chunk.unlink()
    elif how == "short chunk":
        chunk.write_bytes(chunk.read_bytes()[:-1])
    elif how == "linked chunk":
        shutil.copy(chunk, folder.parent / "outside")
        chunk.unlink()
        chunk.symlink_to(folder.parent / "outside")
    elif how == "codec":
        changed_json(described, codecs=[{"name": "bytes"}, {"name": "zstd", "configuration": {"level": 3}}])
    elif how == "huge":
        changed_json(described, shape=[10**12, 2, 12, 12, 3])
    elif how == "huge chunk":
        chunked = {"name": "regular", "configuration": {"chunk_shape": [10**9, 2, 12, 12, 3]}}
        changed_json(described, chunk_grid=chunked)
    elif how == "settings":
        about = json.loads((folder / "patchset.json").read_text())
        changed_json(folder / "patchset.json", settings={**about["settings"], "um_per_px": 2.0})
    elif how == "split":
        changed_json(folder / "split.json", patients={**SPLIT, "P1": "test"})
    elif how == "manifest":
        rows = pq.read_table(manifest)
        sets = pa.array(["test"] * len(rows))
        pq.write_table(rows.set_column(rows.schema.get_field_index("set"), "set", sets), manifest, compression="none")
    elif how == "compressed manifest":
        pq.write_table(pq.read_table(manifest), manifest, compression="zstd")
    elif how == "no parquet":
        manifest.write_bytes(b"PAR1 nothing PAR1")
    elif how == "no json":
        (folder / "patchset.json").write_text('{"version": 1, "samples": NaN}')
    elif how == "empty json":
        (folder / "patchset.json").write_text('{"version": 1}')
    else:
        raise ValueError(how)


@pytest.mark.parametrize(
    "how",
    [
        "no manifest", "no chunk", "short chunk", "linked chunk", "codec", "huge", "huge chunk", "settings", "split", "manifest",
        "compressed manifest", "no parquet", "no json", "empty json",
    ],
)  # fmt: skip
def test_a_damaged_or_altered_set_is_refused(written: Path, how: str) -> None:
    damage(written, how)
    with pytest.raises(PatchError) as told:
        open_patchset(written)
    assert told.value.next


def test_altered_pixels_are_found_by_verify(written: Path) -> None:
    chunk = written / "patches/c/0/0/0/0/0"
    data = bytearray(chunk.read_bytes())
    data[100] ^= 1
    chunk.write_bytes(data)
    with pytest.raises(PatchError, match="checksum"):
        open_patchset(written).verify()


def test_a_newer_version_says_so(written: Path) -> None:
    changed_json(written / "patchset.json", version=2)
    with pytest.raises(PatchError, match=r"another version.*update Stainloom"):
        open_patchset(written)


def test_no_folder_is_no_patch_set(tmp_path: Path) -> None:
    with pytest.raises(PatchError, match=r"patchset\.json"):
        open_patchset(tmp_path / "nowhere")


def test_a_set_moved_elsewhere_opens(written: Path, tmp_path: Path) -> None:
    shutil.move(written, tmp_path / "moved")
    open_patchset(tmp_path / "moved").verify()
