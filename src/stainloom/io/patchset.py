"""Patches on disk, seen as a sequence: pixels mapped from plain zarr chunks, the manifest's columns, and the split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stainloom.case.lesions import LesionClass
from stainloom.errors import PatchError
from stainloom.geometry import Pixels
from stainloom.io.files import read_json
from stainloom.io.patchformat import (
    SCHEMA,
    SETS,
    VERSION,
    MadeFrom,
    chunk_path,
    content_id,
    patches_sha256,
    rows_sha256,
    zarr_json,
)
from stainloom.io.patchwriter import PatchSetWriter
from stainloom.progress import Progress, silent

__all__ = ["SETS", "PatchSet", "PatchSetWriter", "open_patchset"]

_SAMPLES_MOST = 50_000_000
_STAINS_MOST = 64
_SIZE_MOST_PX = 512
_TURNS_MOST = 72
_CHUNK_MOST_BYTES = 1 << 30
_CHUNKS_MOST = 60_000
_MANIFEST_MOST_BYTES = 4 << 30


class PatchSet(Sequence[Pixels]):
    """A patch set on disk; made by `open_patchset`. Item i is sample i, (stains, size, size, 3) uint8.

    Attributes
    ----------
    path, id
        Its folder and the hash of its content.
    stain_names
        In the order of the stain axis.
    classes
        Lesion classes of the study.
    settings, about, split
        The contents of `patchset.json` (settings are a part of it) and `split.json`.
    labels
        Class ids, (n,) uint8.
    sets
        "train", "validation", "test" or "left out", (n,).
    patients, cases
        (n,).
    lesions
        Number of the lesion in its case, (n,) int32.
    turn
        Degrees, (n,) int16; 0 is the original.
    centre_um
        On the reference, (n, 2).
    share
        Share of the window that is the lesion, (n,).
    present
        Whether each stain is there, (n, stains) bool.
    normalized
        Whether colours were normalized; what is predicted later must be too.
    """

    def __init__(self, path: Path, about: dict[str, Any], split: dict[str, Any], rows: pa.Table, chunk: int) -> None:
        self.path, self.about, self.split = path, about, split
        self.id: str = about["id"]
        self.stain_names: tuple[str, ...] = tuple(about["stains"])
        self.classes: tuple[LesionClass, ...] = tuple(LesionClass(**lesion) for lesion in about["classes"])
        self.settings: dict[str, Any] = about["settings"]
        self.labels: NDArray[np.uint8] = rows["class_id"].to_numpy()
        self.sets: NDArray[np.str_] = np.asarray(rows["set"].to_pylist(), dtype=np.str_)
        self.patients: NDArray[np.str_] = np.asarray(rows["patient"].to_pylist(), dtype=np.str_)
        self.cases: NDArray[np.str_] = np.asarray(rows["case"].to_pylist(), dtype=np.str_)
        self.lesions: NDArray[np.int32] = rows["lesion"].to_numpy()
        self.turn: NDArray[np.int16] = rows["turn"].to_numpy()
        self.centre_um: NDArray[np.float64] = np.stack([rows["row_um"].to_numpy(), rows["col_um"].to_numpy()], axis=1)
        self.share: NDArray[np.float64] = rows["share"].to_numpy()
        self.normalized: bool = any(any(ids) for ids in rows["normalization_ids"].to_pylist())
        present = rows["present"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        self.present: NDArray[np.bool_] = present.astype(np.bool_).reshape(len(rows), len(self.stain_names))
        size = self.size_px
        self._chunk = chunk
        self._shape = (len(self.stain_names), size, size, 3)
        self._maps = [
            # as a plain array: indexing a memmap object costs three times as much
            np.asarray(np.memmap(chunk_path(path / "patches", k), np.uint8, "r", shape=(chunk, *self._shape)))
            for k in range(-(-len(rows) // chunk))
        ]

    @property
    def size_px(self) -> int:
        """Edge of a patch."""
        return int(self.settings["size_px"])

    @property
    def um_per_px(self) -> float:
        """Scale of a patch."""
        return float(self.settings["um_per_px"])

    @property
    def one_patient(self) -> bool:
        """Whether training and test share their only patient: good for a demonstration, proof of nothing."""
        return bool(self.about["one_patient"])

    @property
    def simulated(self) -> bool:
        """Whether the slides were made by the program."""
        return bool(self.about["simulated"])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Any) -> Any:
        """Sample `index`, or with a slice a batch."""
        if isinstance(index, slice):
            return self.batch(range(*index.indices(len(self))))
        return self.batch([range(len(self))[index]])[0]

    def batch(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> Pixels:
        """Samples by number, in the order asked for: (k, stains, size, size, 3) uint8, a copy."""
        wanted = np.asarray(indices, np.int64)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(f"samples are 0 to {len(self) - 1}: {wanted.min()} to {wanted.max()}")
        result = np.empty((len(wanted), *self._shape), np.uint8)
        chunks, places = np.divmod(wanted, self._chunk)
        for number, (chunk, place) in enumerate(zip(chunks.tolist(), places.tolist(), strict=True)):
            result[number] = self._maps[chunk][place]
        return result

    def indices(self, name: str, augmented: bool = False) -> NDArray[np.int64]:
        """Numbers of the samples of a set, in order: all turns with `augmented`, else only the originals."""
        if name not in SETS:
            raise ValueError(f"a set is one of {SETS}: {name!r}")
        chosen = self.sets == name
        return np.flatnonzero(chosen if augmented else chosen & (self.turn == 0))

    def verify(self, *, progress: Progress = silent) -> None:
        """Read everything again; `PatchError` where a byte of pixels differs from when it was written."""
        sample_bytes = int(np.prod(self._shape))
        found = patches_sha256(self.path / "patches", len(self), self._chunk, sample_bytes, progress)
        if found != self.about["patches_sha256"]:
            raise _broken(self.path, f"checksum {self.about['patches_sha256'][:16]}", f"checksum {found[:16]}")


def open_patchset(path: Path) -> PatchSet:
    """Open a patch set; its pixels stay on disk until asked for.

    Parameters
    ----------
    path
        Its folder, `patchsets/ID`.

    Raises
    ------
    PatchError
        Where files are missing, of other sizes than they say, compressed, linked from elsewhere, altered, or of a
        newer version.
    """
    folder = Path(path)
    about, split = read_about(folder)
    with _as_written(folder):
        chunk = _checked_array(folder, about)
        rows = _read_manifest(folder, int(about["samples"]), len(about["stains"]), str(about["rows_sha256"]))
        return PatchSet(folder, about, split, rows, chunk)


def read_about(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The contents of `patchset.json` and `split.json` alone: for lists. Errors as with `open_patchset`."""
    folder = Path(path)
    about = read_json(_plain_file(folder, "patchset.json"), error_type=PatchError)
    if about.get("version") != VERSION:
        raise PatchError(
            "the patch set was written by another version",
            slide=folder.name,
            expected=f"version {VERSION}",
            found=f"version {about.get('version')!r}",
            next="update Stainloom, or export the patches again",
        )
    split = read_json(_plain_file(folder, "split.json"), error_type=PatchError)
    with _as_written(folder):
        if content_id(about, split) != about["id"]:
            raise ValueError("its settings or its split were altered")
    return about, split


def read_made_from(path: Path) -> dict[str, MadeFrom]:
    """What a patch set was cut from, by case: from the first row of each."""
    about, _ = read_about(path)
    stains = about["stains"]
    with _as_written(Path(path)):
        cases = _columns(path, ["case"])["case"].combine_chunks().dictionary_encode()
        _, first = np.unique(cases.indices.to_numpy(), return_index=True)
        columns = ["case", "labels_id", "warp_ids", "normalization_ids"]
        rows = _columns(path, columns).take(pa.array(np.sort(first))).to_pylist()
    return {
        row["case"]: MadeFrom(row["labels_id"], *(_named(stains, row[name]) for name in columns[2:])) for row in rows
    }


def _named(stains: Sequence[str], ids: Sequence[str]) -> dict[str, str]:
    return {stain: id for stain, id in zip(stains, ids, strict=True) if id}


@dataclass(frozen=True, eq=False)
class Drawn:
    """A patch that was drawn: its case, the set it is in, its pixels (stains, size, size, 3), and which stains are there."""

    case: str
    set: str
    pixels: Pixels
    present: tuple[bool, ...]


def draw_patches(path: Path, seed: int) -> dict[int, Drawn]:
    """One patch of each class, drawn at random among the originals; by class id, without classes that have none."""
    about, _ = read_about(path)
    with _as_written(Path(path)):
        chunk = _checked_array(Path(path), about)
        rows = _columns(path, ["class_id", "turn", "case", "set", "present"])
        class_ids, turns = rows["class_id"].to_numpy(), rows["turn"].to_numpy()
        size, stains = int(about["settings"]["size_px"]), len(about["stains"])
        rng = np.random.default_rng(seed)
        drawn = {}
        for class_id in np.unique(class_ids).tolist():
            sample = int(rng.choice(np.flatnonzero((class_ids == class_id) & (turns == 0))))
            shape = (chunk, stains, size, size, 3)
            pixels = np.memmap(chunk_path(Path(path) / "patches", sample // chunk), np.uint8, "r", shape=shape)
            case, its_set, present = (rows[name][sample].as_py() for name in ("case", "set", "present"))
            drawn[class_id] = Drawn(case, its_set, np.array(pixels[sample % chunk]), tuple(present))
    return drawn


def _columns(path: Path, names: list[str]) -> pa.Table:
    file = _plain_file(Path(path), "manifest.parquet")
    return pq.read_table(file, columns=names, memory_map=False, use_threads=False)


@contextmanager
def _as_written(folder: Path) -> Iterator[None]:
    """What a file of a patch set should not say is an error in the user's words."""
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, pa.ArrowException, OSError) as error:
        raise _broken(folder, "a patch set as Stainloom wrote it", str(error)[:300]) from error


def _broken(folder: Path, expected: str, found: str) -> PatchError:
    return PatchError(
        "the patch set cannot be used",
        slide=folder.name,
        expected=expected,
        found=found,
        next="export the patches again; slides and labels are not touched",
    )


def _plain_file(folder: Path, name: str) -> Path:
    """A file that lies in the folder itself and is no link to elsewhere."""
    path = folder / name
    if not path.is_file() or path.resolve() != folder.resolve() / name:
        raise _broken(folder, f"a file {name}", "no such file" if not path.exists() else "a link or a folder")
    return path


def _checked_array(folder: Path, about: dict[str, Any]) -> int:
    """Samples a chunk, after sizes and codecs have been compared with what the writer writes."""
    samples, stains, size = int(about["samples"]), len(about["stains"]), int(about["settings"]["size_px"])
    turns = len(about["settings"]["turns"])
    found = read_json(_plain_file(folder, "patches/zarr.json"), error_type=PatchError)
    chunk = int(found["chunk_grid"]["configuration"]["chunk_shape"][0])
    bounds = ((samples, _SAMPLES_MOST), (stains, _STAINS_MOST), (size, _SIZE_MOST_PX), (turns, _TURNS_MOST))
    if any(not 1 <= value <= most for value, most in bounds):
        raise ValueError(f"{samples} samples of {stains} stains, {size} px, {turns} turns are out of bounds")
    expected_bytes = chunk * stains * size * size * 3
    if chunk < 1 or expected_bytes > _CHUNK_MOST_BYTES or -(-samples // chunk) > _CHUNKS_MOST:
        raise ValueError(f"chunks of {chunk} samples")
    if found != zarr_json(samples, stains, size, chunk):
        raise ValueError("zarr.json describes another array, or a compressed one")
    for number in range(-(-samples // chunk)):
        path = _plain_file(folder, chunk_path(Path("patches"), number).as_posix())
        if path.stat().st_size != expected_bytes:
            raise ValueError(f"chunk {number} has {path.stat().st_size} bytes instead of {expected_bytes}")
    return chunk


def _read_manifest(folder: Path, samples: int, stains: int, checksum: str) -> pa.Table:
    path = _plain_file(folder, "manifest.parquet")
    if path.stat().st_size > _MANIFEST_MOST_BYTES:
        raise ValueError(f"a manifest of {path.stat().st_size} bytes")
    with pq.ParquetFile(path, memory_map=False) as file:
        described = file.metadata
        groups = [described.row_group(k) for k in range(described.num_row_groups)]
        codecs = {group.column(k).compression for group in groups for k in range(group.num_columns)}
        if codecs - {"UNCOMPRESSED"}:
            raise ValueError(f"the manifest is compressed: {sorted(codecs)}")
        if described.num_rows != samples or sum(g.total_byte_size for g in groups) > _MANIFEST_MOST_BYTES:
            raise ValueError(f"the manifest has {described.num_rows} rows instead of {samples}")
        if file.schema_arrow.names != SCHEMA.names:
            raise ValueError(f"the manifest has the columns {file.schema_arrow.names}")
        rows = file.read(use_threads=False).cast(SCHEMA)
    columns = {name: rows[name].to_pylist() for name in SCHEMA.names}
    if any(len(there) != stains for there in columns["present"]):
        raise ValueError("the manifest and the patches have different numbers of stains")
    if rows_sha256(columns) != checksum:
        raise ValueError("the manifest was altered")
    return rows
