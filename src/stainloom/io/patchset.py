"""Patches on disk, seen as a sequence: pixels as plain zarr chunks, a manifest of where each came from, and the split."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import socket
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stainloom.case.lesions import LesionClass
from stainloom.errors import PatchError
from stainloom.geometry import Pixels
from stainloom.io.files import disk_errors, new_folder, process_alive, read_json, write_json
from stainloom.progress import Progress, silent

VERSION = 1
SETS = ("train", "validation", "test", "left out")

_CHUNK_BYTES = 16 << 20
_OPEN_FILES = 16
_SAMPLES_MOST = 50_000_000
_STAINS_MOST = 64
_SIZE_MOST_PX = 512
_TURNS_MOST = 72
_CHUNK_MOST_BYTES = 1 << 30
_CHUNKS_MOST = 60_000
_MANIFEST_MOST_BYTES = 4 << 30

_SCHEMA = pa.schema(
    [
        ("sample", pa.int64()),
        ("case", pa.string()),
        ("patient", pa.string()),
        ("lesion", pa.int32()),
        ("class_id", pa.uint8()),
        ("turn", pa.int16()),
        ("row_um", pa.float64()),
        ("col_um", pa.float64()),
        ("share", pa.float64()),
        ("set", pa.string()),
        ("present", pa.list_(pa.bool_())),
        ("labels_id", pa.string()),
        ("warp_ids", pa.list_(pa.string())),
        ("normalization_ids", pa.list_(pa.string())),
    ]
)


class WindowLike(Protocol):
    """What the manifest wants to know of a window."""

    @property
    def lesion_id(self) -> int:
        """Number of the lesion in its case."""
        ...

    @property
    def class_id(self) -> int:
        """Its class."""
        ...

    @property
    def centre_um(self) -> tuple[float, float]:
        """Its centre on the reference."""
        ...

    @property
    def share(self) -> float:
        """Share of it that is the lesion."""
        ...

    @property
    def present(self) -> tuple[bool, ...]:
        """Per stain: whether it is there."""
        ...


@dataclass(frozen=True)
class _CaseRows:
    case: str
    patient: str
    labels_id: str
    warp_ids: list[str]
    normalization_ids: list[str]
    windows: tuple[WindowLike, ...]


class PatchSetWriter:
    """Writes a patch set beside, and shows it whole at `finish`; leaving without it leaves nothing.

    Parameters
    ----------
    root
        The study's `patchsets` folder; made if need be.
    stains
        Names, in the order of the patches' stain axis.
    classes
        Lesion classes of the study.
    settings
        The patch settings as plain values; `size_px` and `turns` give the shape of the patches.
    simulated
        Whether the slides were made by the program.
    """

    def __init__(
        self,
        root: Path,
        *,
        stains: Sequence[str],
        classes: Sequence[LesionClass],
        settings: Mapping[str, Any],
        simulated: bool = False,
    ) -> None:
        self._root = Path(root)
        self._stains, self._classes = tuple(stains), tuple(classes)
        self._settings = json.loads(json.dumps(dict(settings), allow_nan=False))
        self._simulated = simulated
        self._size, self._turns = int(settings["size_px"]), tuple(int(t) for t in settings["turns"])
        self._sample_bytes = len(self._stains) * self._size * self._size * 3
        row_bytes = self._sample_bytes * len(self._turns)
        self._chunk = len(self._turns) * max(1, _CHUNK_BYTES // row_bytes)
        self._cases: list[_CaseRows] = []
        self._left_out: dict[str, dict[str, int]] = {}
        self._windows = 0
        self._files: OrderedDict[int, BinaryIO] = OrderedDict()
        self._chunks: set[int] = set()
        with disk_errors(self._root, PatchError):
            self._root.mkdir(parents=True, exist_ok=True)
            _sweep(self._root)
            self._beside = self._root / f".patches.{_machine()}.{os.getpid()}.{secrets.token_hex(4)}.part"
            self._beside.mkdir()

    def __enter__(self) -> PatchSetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget what is not finished."""
        for file in self._files.values():
            with suppress(OSError):
                file.close()
        self._files.clear()
        shutil.rmtree(self._beside, ignore_errors=True)

    def add_case(
        self,
        case: str,
        patient: str,
        windows: Sequence[WindowLike],
        blocks: Iterable[tuple[NDArray[np.int64], Pixels]],
        *,
        labels_id: str = "",
        warp_ids: Mapping[str, str] | None = None,
        normalization_ids: Mapping[str, str] | None = None,
        left_out: Mapping[str, int] | None = None,
    ) -> int:
        """Add the patches of one case.

        Parameters
        ----------
        case, patient
            The case's name and the patient's pseudonym.
        windows
            Its windows, in order.
        blocks
            Pairs: which windows, and their pixels (k, turns, stains, size, size, 3); every window exactly once, in any
            order.
        labels_id
            What was painted when this was cut.
        warp_ids, normalization_ids
            By stain; a stain without one has none.
        left_out
            How many windows were not taken, by reason.

        Returns
        -------
        The number of samples written.

        Raises
        ------
        PatchError
            Where the disk is full or refuses.
        """
        if any(known.case == case for known in self._cases):
            raise ValueError(f"case {case} was added before")
        self._left_out[case] = {reason: int(count) for reason, count in sorted((left_out or {}).items()) if count}
        if not windows:
            return 0
        if any(len(window.present) != len(self._stains) for window in windows):
            raise ValueError(f"windows say for {len(self._stains)} stains whether they are present")
        seen = np.zeros(len(windows), np.int64)
        with self._disk(len(windows)):
            for index, patches in blocks:
                self._write(index, patches)
                np.add.at(seen, index, 1)
        if not (seen == 1).all():
            raise ValueError(f"every window of case {case} is cut once: {np.flatnonzero(seen != 1)[:5]} are not")
        by_stain = [[(ids or {}).get(name, "") for name in self._stains] for ids in (warp_ids, normalization_ids)]
        self._cases.append(_CaseRows(case, patient, labels_id, by_stain[0], by_stain[1], tuple(windows)))
        self._windows += len(windows)
        return len(windows) * len(self._turns)

    def _disk(self, windows: int) -> _DiskFull:
        return _DiskFull(self._root, windows * len(self._turns) * self._sample_bytes)

    def _write(self, index: NDArray[np.int64], patches: Pixels) -> None:
        shape = (len(index), len(self._turns), len(self._stains), self._size, self._size, 3)
        if patches.shape != shape or patches.dtype != np.uint8:
            raise ValueError(f"patches are {shape} uint8: {patches.shape} {patches.dtype}")
        for number, pixels in zip(index.tolist(), patches, strict=True):
            sample = (self._windows + number) * len(self._turns)
            file = self._file(sample // self._chunk)
            file.seek(sample % self._chunk * self._sample_bytes)
            file.write(np.ascontiguousarray(pixels).data)

    def _file(self, chunk: int) -> BinaryIO:
        if chunk in self._files:
            self._files.move_to_end(chunk)
            return self._files[chunk]
        if len(self._files) >= _OPEN_FILES:
            self._files.popitem(last=False)[1].close()
        path = _chunk_path(self._beside / "patches", chunk)
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "r+b" if chunk in self._chunks else "w+b", buffering=0)  # noqa: SIM115 (closed by close)
        if chunk not in self._chunks:
            file.truncate(self._chunk * self._sample_bytes)
            self._chunks.add(chunk)
        self._files[chunk] = file
        return file

    def finish(
        self,
        split: Mapping[str, str] | Sequence[str],
        *,
        figures: Mapping[str, Any] | None = None,
        progress: Progress = silent,
    ) -> Path:
        """Write manifest and split, and show the patch set under the hash of its content.

        Parameters
        ----------
        split
            Patient to "train", "validation" or "test"; or, for the demonstration on one patient, one of these or
            "left out" for every window, in the order in which they were added. Such a set is marked *one patient*.
        figures
            Numbers about the split, for `split.json`.

        Returns
        -------
        The folder `root/ID`. An equal patch set that is already there is kept.

        Raises
        ------
        PatchError
            Where there is no patch, or the disk is full or refuses.
        """
        if self._windows == 0:
            raise PatchError(
                "there is no patch to write",
                expected="at least one window of a lesion in one case",
                found=_reasons(self._left_out),
                next="paint larger lesions, or lower the least share of lesion in a window",
            )
        one_patient = not isinstance(split, Mapping)
        sets = self._sets(split)
        for file in self._files.values():
            file.close()
        self._files.clear()
        samples = self._windows * len(self._turns)
        with self._disk(0):
            columns = self._columns(sets)
            _write_manifest(self._beside / "manifest.parquet", columns)
            write_json(self._beside / "patches" / "zarr.json", self._zarr_json(samples), PatchError)
            patches_sha256 = _patches_sha256(
                self._beside / "patches", samples, self._chunk, self._sample_bytes, progress
            )
        about = self._about(samples, sets, one_patient, patches_sha256, _rows_sha256(columns))
        split_json = {"version": VERSION, "one_patient": one_patient, "figures": dict(figures or {})}
        split_json["patients"] = dict(sorted(split.items())) if isinstance(split, Mapping) else {}
        about["id"] = _content_id(about, split_json)
        write_json(self._beside / "split.json", split_json, PatchError)
        write_json(self._beside / "patchset.json", about, PatchError)
        final = self._root / str(about["id"])
        if not final.exists():
            with new_folder(final, error_type=PatchError) as part:
                for item in sorted(self._beside.iterdir()):
                    os.rename(item, part / item.name)
        self.close()
        return final

    def _sets(self, split: Mapping[str, str] | Sequence[str]) -> list[str]:
        if isinstance(split, Mapping):
            missing = sorted({rows.patient for rows in self._cases} - set(split))
            if missing:
                raise ValueError(f"patients without a set: {missing[:5]}")
            sets = [split[rows.patient] for rows in self._cases for _ in rows.windows]
        else:
            if len({rows.patient for rows in self._cases}) != 1:
                raise ValueError("only the patches of one patient may be split by place")
            sets = list(split)
        if len(sets) != self._windows or not set(sets) <= set(SETS):
            raise ValueError(f"{self._windows} windows need sets of {SETS}: {len(sets)}, {sorted(set(sets))[:5]}")
        return sets

    def _columns(self, sets: Sequence[str]) -> dict[str, list[Any]]:
        columns: dict[str, list[Any]] = {name: [] for name in _SCHEMA.names}
        numbers = iter(range(self._windows))
        for rows in self._cases:
            for window in rows.windows:
                number = next(numbers)
                for place, turn in enumerate(self._turns):
                    values = (
                        number * len(self._turns) + place,
                        rows.case,
                        rows.patient,
                        window.lesion_id,
                        window.class_id,
                        turn,
                        *(float(v) for v in window.centre_um),
                        float(window.share),
                        sets[number],
                        [bool(there) for there in window.present],
                        rows.labels_id,
                        rows.warp_ids,
                        rows.normalization_ids,
                    )
                    for name, value in zip(_SCHEMA.names, values, strict=True):
                        columns[name].append(value)
        return columns

    def _zarr_json(self, samples: int) -> dict[str, Any]:
        return _zarr_json(samples, len(self._stains), self._size, self._chunk)

    def _about(
        self, samples: int, sets: Sequence[str], one_patient: bool, patches_sha256: str, rows_sha256: str
    ) -> dict[str, Any]:
        classes = Counter(window.class_id for rows in self._cases for window in rows.windows)
        return {
            "version": VERSION,
            "id": "",
            "simulated": self._simulated,
            "one_patient": one_patient,
            "stains": list(self._stains),
            "classes": [asdict(lesion) for lesion in self._classes],
            "settings": self._settings,
            "samples": samples,
            "windows": self._windows,
            "windows_by_class": {str(c): n for c, n in sorted(classes.items())},
            "windows_by_set": {each: sum(s == each for s in sets) for each in SETS},
            "left_out": self._left_out,
            "patches_sha256": patches_sha256,
            "rows_sha256": rows_sha256,
        }


class _DiskFull:
    """Says before writing, and if it happens while writing, how much room a patch set needs."""

    def __init__(self, root: Path, needed: int) -> None:
        self._root, self._needed = root, needed

    def __enter__(self) -> None:
        try:
            free = shutil.disk_usage(self._root).free
        except OSError:
            return
        if free < self._needed:
            raise self._error(f"{free / 2**20:.0f} MiB are free")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, OSError):
            return
        if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
            raise self._error("no space is left") from error
        with disk_errors(self._root, PatchError):
            raise error

    def _error(self, found: str) -> PatchError:
        return PatchError(
            "the disk is too full for these patches",
            slide=self._root.name,
            expected=f"{max(1, self._needed >> 20)} MiB free for this case in {self._root}",
            found=f"{found}; nothing of the patch set was kept, and no other file was touched",
            next="free that much on this disk, or move the study to a larger one, and export again",
        )


def _reasons(left_out: Mapping[str, Mapping[str, int]]) -> str:
    total: Counter[str] = Counter()
    for counts in left_out.values():
        total.update(counts)
    return ", ".join(f"{count} windows left out: {reason}" for reason, count in sorted(total.items())) or "none"


def _machine() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _sweep(root: Path) -> None:
    """Remove what killed exports of this machine left beside."""
    for left in sorted(root.glob(f".patches.{_machine()}.*.part")):
        process = left.name.split(".")[3]
        if process.isdigit() and not process_alive(int(process)):
            shutil.rmtree(left, ignore_errors=True)


def _chunk_path(array: Path, chunk: int) -> Path:
    return array / "c" / str(chunk) / "0" / "0" / "0" / "0"


def _zarr_json(samples: int, stains: int, size: int, chunk: int) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [samples, stains, size, size, 3],
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [chunk, stains, size, size, 3]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "bytes"}],
        "attributes": {},
        "dimension_names": ["sample", "stain", "row", "col", "channel"],
    }


def _write_manifest(path: Path, columns: Mapping[str, list[Any]]) -> None:
    table = pa.table([pa.array(columns[field.name], field.type) for field in _SCHEMA], schema=_SCHEMA)
    with open(path, "wb") as file:
        pq.write_table(table, file, compression="none", write_statistics=False, store_schema=False)


def _patches_sha256(array: Path, samples: int, chunk: int, sample_bytes: int, progress: Progress) -> str:
    digest = hashlib.sha256()
    for start in range(0, samples, chunk):
        progress(start, samples, "checksum of the patches")
        left = min(chunk, samples - start) * sample_bytes
        with open(_chunk_path(array, start // chunk), "rb") as file:
            while left:
                data = file.read(min(left, 1 << 20))
                if not data:
                    raise PatchError("a chunk of a patch set is too short", next="export the patches again")
                digest.update(data)
                left -= len(data)
    return digest.hexdigest()


def _rows_sha256(columns: Mapping[str, list[Any]]) -> str:
    digest = hashlib.sha256()
    for name in _SCHEMA.names:
        digest.update(json.dumps([name, columns[name]], separators=(",", ":"), allow_nan=False).encode())
    return digest.hexdigest()


def _content_id(about: Mapping[str, Any], split: Mapping[str, Any]) -> str:
    content = [{key: value for key, value in about.items() if key != "id"}, dict(split)]
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()[:16]


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
        present = rows["present"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        self.present: NDArray[np.bool_] = present.astype(np.bool_).reshape(len(rows), len(self.stain_names))
        size = self.size_px
        self._chunk = chunk
        self._shape = (len(self.stain_names), size, size, 3)
        self._maps = [
            np.memmap(_chunk_path(path / "patches", k), np.uint8, "r", shape=(chunk, *self._shape))
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
        found = _patches_sha256(self.path / "patches", len(self), self._chunk, sample_bytes, progress)
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
    try:
        if _content_id(about, split) != about["id"]:
            raise ValueError("its settings or its split were altered")
        samples, stains, size = int(about["samples"]), len(about["stains"]), int(about["settings"]["size_px"])
        turns = about["settings"]["turns"]
        chunk = _checked_array(folder, samples, stains, size, len(turns))
        rows = _read_manifest(folder, samples, stains, about["rows_sha256"])
        return PatchSet(folder, about, split, rows, chunk)
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


def _checked_array(folder: Path, samples: int, stains: int, size: int, turns: int) -> int:
    """Samples a chunk, after sizes and codecs have been compared with what the writer writes."""
    found = read_json(_plain_file(folder, "patches/zarr.json"), error_type=PatchError)
    chunk = int(found["chunk_grid"]["configuration"]["chunk_shape"][0])
    bounds = ((samples, _SAMPLES_MOST), (stains, _STAINS_MOST), (size, _SIZE_MOST_PX), (turns, _TURNS_MOST))
    if any(not 1 <= value <= most for value, most in bounds):
        raise ValueError(f"{samples} samples of {stains} stains, {size} px, {turns} turns are out of bounds")
    expected_bytes = chunk * stains * size * size * 3
    if chunk < 1 or expected_bytes > _CHUNK_MOST_BYTES or -(-samples // chunk) > _CHUNKS_MOST:
        raise ValueError(f"chunks of {chunk} samples")
    if found != _zarr_json(samples, stains, size, chunk):
        raise ValueError("zarr.json describes another array, or a compressed one")
    for number in range(-(-samples // chunk)):
        path = _plain_file(folder, _chunk_path(Path("patches"), number).as_posix())
        if path.stat().st_size != expected_bytes:
            raise ValueError(f"chunk {number} has {path.stat().st_size} bytes instead of {expected_bytes}")
    return chunk


def _read_manifest(folder: Path, samples: int, stains: int, rows_sha256: str) -> pa.Table:
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
        if file.schema_arrow.names != _SCHEMA.names:
            raise ValueError(f"the manifest has the columns {file.schema_arrow.names}")
        rows = file.read(use_threads=False).cast(_SCHEMA)
    columns = {name: rows[name].to_pylist() for name in _SCHEMA.names}
    if any(len(there) != stains for there in columns["present"]):
        raise ValueError("the manifest and the patches have different numbers of stains")
    if _rows_sha256(columns) != rows_sha256:
        raise ValueError("the manifest was altered")
    return rows
