"""Patches written beside, and shown whole: pixels as plain zarr chunks, a manifest, the split."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import socket
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from stainloom.case.lesions import LesionClass
from stainloom.errors import PatchError
from stainloom.geometry import Pixels
from stainloom.io.files import disk_errors, free_bytes, new_folder, process_alive, write_json
from stainloom.io.patchformat import (
    SCHEMA,
    SETS,
    VERSION,
    chunk_path,
    content_id,
    patches_sha256,
    rows_sha256,
    samples_a_chunk,
    write_manifest,
    zarr_json,
)
from stainloom.progress import Progress, silent

_OPEN_FILES = 16


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
        self._chunk = samples_a_chunk(len(self._stains), self._size, len(self._turns))
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
        needed = len(windows) * len(self._turns) * self._sample_bytes
        _check_room(self._root, needed)
        for index, patches in blocks:
            with _full_disk(self._root, needed):
                self._write(index, patches)
            np.add.at(seen, index, 1)
        if not (seen == 1).all():
            raise ValueError(f"every window of case {case} is cut once: {np.flatnonzero(seen != 1)[:5]} are not")
        by_stain = [[(ids or {}).get(name, "") for name in self._stains] for ids in (warp_ids, normalization_ids)]
        self._cases.append(_CaseRows(case, patient, labels_id, by_stain[0], by_stain[1], tuple(windows)))
        self._windows += len(windows)
        return len(windows) * len(self._turns)

    def _write(self, index: NDArray[np.int64], patches: Pixels) -> None:
        shape = (len(index), len(self._turns), len(self._stains), self._size, self._size, 3)
        if patches.shape != shape or patches.dtype != np.uint8:
            raise ValueError(f"patches are {shape} uint8: {patches.shape} {patches.dtype}")
        for number, pixels in zip(index.tolist(), patches, strict=True):
            sample = (self._windows + number) * len(self._turns)
            file = self._file(sample // self._chunk)
            file.seek(sample % self._chunk * self._sample_bytes)
            data = np.ascontiguousarray(pixels).data.cast("B")
            while data:  # an unbuffered file may take a part only
                data = data[file.write(data) :]

    def _file(self, chunk: int) -> BinaryIO:
        if chunk in self._files:
            self._files.move_to_end(chunk)
            return self._files[chunk]
        if len(self._files) >= _OPEN_FILES:
            self._files.popitem(last=False)[1].close()
        path = chunk_path(self._beside / "patches", chunk)
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
        with _full_disk(self._root, 0):
            columns = self._columns(sets)
            write_manifest(self._beside / "manifest.parquet", columns)
            write_json(
                self._beside / "patches" / "zarr.json",
                zarr_json(samples, len(self._stains), self._size, self._chunk),
                PatchError,
            )
            pixels = patches_sha256(self._beside / "patches", samples, self._chunk, self._sample_bytes, progress)
        about = self._about(samples, sets, one_patient, pixels, rows_sha256(columns))
        split_json = {"version": VERSION, "one_patient": one_patient, "figures": dict(figures or {})}
        split_json["patients"] = dict(sorted(split.items())) if isinstance(split, Mapping) else {}
        about["id"] = content_id(about, split_json)
        write_json(self._beside / "split.json", split_json, PatchError)
        write_json(self._beside / "patchset.json", about, PatchError)
        final = self._root / str(about["id"])
        if not final.exists():
            with new_folder(final, error_type=PatchError) as part:
                for item in sorted(self._beside.iterdir()):
                    os.rename(item, part / item.name)
        # The same patches exported again are the latest again.
        os.utime(final)
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
        columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
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
                    for name, value in zip(SCHEMA.names, values, strict=True):
                        columns[name].append(value)
        return columns

    def _about(self, samples: int, sets: Sequence[str], one_patient: bool, pixels: str, rows: str) -> dict[str, Any]:
        classes = Counter(window.class_id for case in self._cases for window in case.windows)
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
            "patches_sha256": pixels,
            "rows_sha256": rows,
        }


def _check_room(root: Path, needed: int) -> None:
    free = free_bytes(root)
    if free is not None and free < needed:
        raise _no_room(root, needed, f"{free / 2**20:.0f} MiB are free")


@contextmanager
def _full_disk(root: Path, needed: int) -> Iterator[None]:
    """Say how much room a patch set needs, where the disk fills up; other refusals as everywhere."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
            raise _no_room(root, needed, "no space is left") from error
        with disk_errors(root, PatchError):
            raise


def _no_room(root: Path, needed: int, found: str) -> PatchError:
    return PatchError(
        "the disk is too full for these patches",
        slide=root.name,
        expected=f"{max(1, needed >> 20)} MiB free for this case in {root}",
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
