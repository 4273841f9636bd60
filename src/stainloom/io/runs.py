"""Trained runs and trainings under way, on disk: safetensors and JSON, never pickle."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import re
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Le, Len
from numpy.typing import NDArray
from pydantic import Field
from safetensors.numpy import load_file, save_file

from stainloom import __version__
from stainloom.case.lesions import LesionClass
from stainloom.case.run import Run, RunFacts, TrainState
from stainloom.errors import ModelError, StainloomError
from stainloom.io.files import confine, disk_errors, new_folder, read_json, safe_name, write_json
from stainloom.io.protocol import CLASSES_MOST, STAINS_MOST, Record, Word, checked
from stainloom.io.records import refuse_newer

RUN_VERSION = 1
STATE_VERSION = 1

_WEIGHTS, _RUN, _METRICS = "weights.safetensors", "run.json", "metrics.csv"
_STATE_ARRAYS, _STATE = "state.safetensors", "state.json"
_HEADER_BYTES_MOST = 1_000_000
_METRICS_BYTES_MOST = 16_000_000
_WEIGHTS_BYTES_MOST = 4_000_000_000
_STATE_BYTES_MOST = 20_000_000_000
_KINDS = {"F32": 4, "F64": 8, "I64": 8, "U8": 1}
_NAME = re.compile(r"[A-Za-z0-9_.]{1,200}")
_AGAIN = "get the whole folder again from where it was made, or train anew"

_Row = Annotated[list[float], Len(1, 3)]


class FileRecord(Record):
    """A file that must not change: its size and its hash."""

    bytes: Annotated[int, Ge(1)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ClassRecord(Record):
    """A lesion class of a run."""

    id: Annotated[int, Ge(1), Le(255)]
    short: Word
    name: Word
    color: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
    on: bool


class RunRecord(Record):
    """run.json."""

    format: Literal["stainloom run"]
    version: Literal[1]
    program: Annotated[str, Field(max_length=50)]
    id: Word
    made: Annotated[str, Field(max_length=40)]
    outcome: Literal["learned", "did not learn"]
    simulated: bool
    one_patient: bool
    normalized: bool
    patchset: Annotated[str, Field(max_length=100)]
    stains: Annotated[list[Word], Len(1, STAINS_MOST)]
    classes: Annotated[list[ClassRecord], Len(2, CLASSES_MOST)]
    size_px: Annotated[int, Ge(1), Le(4096)]
    um_per_px: Annotated[float, Gt(0), Le(1000)]
    mean: Annotated[list[_Row], Len(1, STAINS_MOST)]
    std: Annotated[list[_Row], Len(1, STAINS_MOST)]
    seed: Annotated[int, Ge(0), Le(2**53)]
    threads: Annotated[int, Ge(1), Le(4096)]
    settings: dict[str, Any]
    figures: dict[str, Any]
    versions: dict[str, str]
    weights: FileRecord


class StateRecord(Record):
    """state.json."""

    format: Literal["stainloom training"]
    version: Literal[1]
    program: Annotated[str, Field(max_length=50)]
    facts: dict[str, Any]
    arrays: FileRecord


def save_run(parent: Path, run: Run) -> str:
    """Write a run as a new folder below `parent`, whole or not at all.

    Parameters
    ----------
    parent
        The study's `runs/`.
    run
        Its `id` is ignored.

    Returns
    -------
    The id: the folder's name, which begins with the date and time (UTC).
    """
    made = datetime.now(UTC)
    name = f"{made:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    with new_folder(parent / name, error_type=ModelError) as folder:
        facts = _write_arrays(folder / _WEIGHTS, run.weights)
        write_json(folder / _RUN, _run_content(run, name, made, facts), ModelError)
        _write_metrics(folder / _METRICS, run.history)
    return name


def _run_content(run: Run, name: str, made: datetime, weights: FileRecord) -> dict[str, Any]:
    return {
        "format": "stainloom run",
        "version": RUN_VERSION,
        "program": __version__,
        "id": name,
        "made": made.isoformat(timespec="seconds"),
        "outcome": run.outcome,
        "simulated": run.simulated,
        "one_patient": run.one_patient,
        "normalized": run.normalized,
        "patchset": run.patchset,
        "stains": list(run.stains),
        "classes": [asdict(lesion) for lesion in run.classes],
        "size_px": run.size_px,
        "um_per_px": float(run.um_per_px),
        "mean": run.mean.tolist(),
        "std": run.std.tolist(),
        "seed": run.seed,
        "threads": run.threads,
        "settings": dict(run.settings),
        "figures": dict(run.figures),
        "versions": dict(run.versions),
        "weights": weights.model_dump(),
    }


def load_run(folder: Path, *, weights: bool = True) -> Run:
    """Read a run.

    Parameters
    ----------
    folder
        Its folder.
    weights
        Whether they are read; without them the run says what it is and how good, and cannot be applied.

    Raises
    ------
    StainloomError
        Where a file is missing, was altered, contradicts itself, or comes from a newer version.

    Notes
    -----
    The weights' size, kinds and hash are checked before they are read; whether they fit the settings is checked where
    the network is built. The folder's name is the id, whatever `run.json` says: a copied folder keeps working.
    """
    record, path = _read_record(folder)
    if not weights:
        _check_size(confine(folder, _WEIGHTS), record.weights, _WEIGHTS_BYTES_MOST)
    mean, std = _table(record.mean, record, path), _table(record.std, record, path)
    if mean.shape != std.shape or mean.shape[1] not in (1, 3) or not np.all(std > 0):
        raise _contradicts(path, f"mean of {mean.shape} and spread of {std.shape} values, spreads above 0")
    if len({lesion.id for lesion in record.classes}) != len(record.classes):
        raise _contradicts(path, "a class id that is used twice")
    if len(set(record.stains)) != len(record.stains):
        raise _contradicts(path, "a stain that is named twice")
    return Run(
        stains=tuple(record.stains),
        classes=tuple(LesionClass(**lesion.model_dump()) for lesion in record.classes),
        settings=record.settings,
        size_px=record.size_px,
        um_per_px=record.um_per_px,
        mean=mean,
        std=std,
        weights=_read_arrays(folder, _WEIGHTS, record.weights, _WEIGHTS_BYTES_MOST, {"F32"}) if weights else {},
        outcome=record.outcome,
        figures=record.figures,
        history=_read_metrics(confine(folder, _METRICS)),
        patchset=record.patchset,
        seed=record.seed,
        threads=record.threads,
        simulated=record.simulated,
        one_patient=record.one_patient,
        normalized=record.normalized,
        versions=record.versions,
        id=folder.name,
    )


def read_run_facts(folder: Path) -> RunFacts:
    """What a run is, without reading its weights; `StainloomError` as in `load_run`."""
    record, _ = _read_record(folder)
    return RunFacts(
        id=folder.name,
        made=record.made,
        stains=tuple(record.stains),
        classes=tuple(LesionClass(**lesion.model_dump()) for lesion in record.classes),
        um_per_px=record.um_per_px,
        outcome=record.outcome,
        control=str(record.settings.get("control", "none")),
        figures=record.figures,
        simulated=record.simulated,
        one_patient=record.one_patient,
        normalized=record.normalized,
    )


def _read_record(folder: Path) -> tuple[RunRecord, Path]:
    path = confine(folder, _RUN)
    content = read_json(path, error_type=ModelError)
    refuse_newer(content, path)
    return checked(RunRecord, content, path), path


def _table(rows: list[_Row], record: RunRecord, path: Path) -> NDArray[np.float32]:
    if len(rows) != len(record.stains) or len({len(row) for row in rows}) != 1:
        raise _contradicts(path, f"{len(rows)} rows of mean or spread for {len(record.stains)} stains")
    return np.array(rows, np.float32)


def _contradicts(path: Path, found: str) -> ModelError:
    return ModelError(f"{path.name} contradicts itself", slide=path.name, found=found, next=_AGAIN)


def list_runs(parent: Path) -> tuple[str, ...]:
    """Ids of the runs below a folder, oldest first; half-written ones are not among them."""
    if not parent.is_dir():
        return ()
    return tuple(sorted(e.name for e in parent.iterdir() if safe_name(e.name) == e.name and (e / _RUN).is_file()))


def save_state(folder: Path, state: TrainState) -> None:
    """Keep the state of a training in a folder; the one before gives way only when this one is whole."""
    with new_folder(folder, replace=True, error_type=ModelError) as new:
        content = {
            "format": "stainloom training",
            "version": STATE_VERSION,
            "program": __version__,
            "facts": dict(state.facts),
            "arrays": _write_arrays(new / _STATE_ARRAYS, state.arrays).model_dump(),
        }
        write_json(new / _STATE, content, ModelError)


def load_state(folder: Path) -> TrainState | None:
    """The state of a training, or None where none was kept; `StainloomError` where it is damaged or newer."""
    if not folder.is_dir():
        return None
    path = confine(folder, _STATE)
    content = read_json(path, error_type=ModelError)
    refuse_newer(content, path)
    record = checked(StateRecord, content, path)
    return TrainState(_read_arrays(folder, _STATE_ARRAYS, record.arrays, _STATE_BYTES_MOST, set(_KINDS)), record.facts)


def list_states(parent: Path) -> dict[str, tuple[dict[str, Any], float]]:
    """Trainings of which a state is kept: facts and time of the state, by key; unreadable ones have no facts."""
    found: dict[str, tuple[dict[str, Any], float]] = {}
    for path in sorted(parent.glob(f".training-*/{_STATE}")):
        try:
            content = read_json(path, error_type=ModelError)
            refuse_newer(content, path)
            facts = checked(StateRecord, content, path).facts
        except StainloomError:
            facts = {}
        with suppress(FileNotFoundError):
            found[path.parent.name.removeprefix(".training-")] = (facts, path.stat().st_mtime)
    return found


def drop_state(folder: Path) -> None:
    """Forget the state of a training that has ended."""
    if folder.is_dir():
        with disk_errors(folder, ModelError):
            shutil.rmtree(folder)


def _write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> FileRecord:
    with disk_errors(path, ModelError):
        save_file({key: np.asarray(value, order="C") for key, value in sorted(arrays.items())}, path)
        return FileRecord(bytes=path.stat().st_size, sha256=_sha256(path))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_arrays(folder: Path, file: str, facts: FileRecord, most: int, kinds: set[str]) -> dict[str, NDArray[Any]]:
    """Arrays of a safetensors file whose size, header and hash are those that its JSON recorded."""
    path = confine(folder, file)
    with disk_errors(path, ModelError):
        _check_header(path, _check_size(path, facts, most), kinds)
        found = _sha256(path)
        if found != facts.sha256:
            raise _altered(path, f"SHA-256 {facts.sha256}", found)
        try:
            return dict(load_file(path))
        except Exception as error:  # safetensors raises a kind of its own that derives from Exception alone
            raise _altered(path, "a safetensors file", str(error)) from error


def _check_size(path: Path, facts: FileRecord, most: int) -> int:
    with disk_errors(path, ModelError):
        size = path.stat().st_size
    if size != facts.bytes or size > most:
        raise _altered(path, f"{facts.bytes} bytes, at most {most}", f"{size} bytes")
    return size


def _altered(path: Path, expected: str, found: str) -> ModelError:
    return ModelError(
        f"{path.name} was altered or is not whole", slide=path.name, expected=expected, found=found[:200], next=_AGAIN
    )


def _check_header(path: Path, size: int, kinds: set[str]) -> None:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_HEADER_BYTES_MOST, size - 8):
            raise _altered(path, f"a header of 2 to {_HEADER_BYTES_MOST} bytes", f"{length} bytes")
        text = file.read(length)
    try:
        header = json.loads(text)
        held = sum(_entry_bytes(key, entry, kinds) for key, entry in header.items() if key != "__metadata__")
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise _altered(path, "a header of plain arrays", f"{type(error).__name__}: {error}") from error
    if held != size - 8 - length:
        raise _altered(path, f"{size - 8 - length} bytes of values", f"a header that tells of {held}")


def _entry_bytes(key: str, entry: Mapping[str, Any], kinds: set[str]) -> int:
    shape, kind = entry["shape"], entry["dtype"]
    if not _NAME.fullmatch(key) or kind not in kinds:
        raise ValueError(f"{key[:80]!r} of kind {str(kind)[:20]}")
    if not isinstance(shape, list) or len(shape) > 8 or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"{key}: shape {str(shape)[:80]}")
    return math.prod(shape) * _KINDS[kind]


def _write_metrics(path: Path, history: tuple[Mapping[str, float], ...]) -> None:
    with disk_errors(path, ModelError), path.open("w", encoding="utf-8", newline="") as file:
        if history:
            writer = csv.DictWriter(file, fieldnames=list(history[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(history)


def _read_metrics(path: Path) -> tuple[Mapping[str, float], ...]:
    with disk_errors(path, ModelError):
        if path.stat().st_size > _METRICS_BYTES_MOST:
            raise _altered(path, f"at most {_METRICS_BYTES_MOST} bytes", f"{path.stat().st_size} bytes")
        text = path.read_bytes()
    try:
        rows = csv.DictReader(text.decode("utf-8").splitlines(), strict=True)
        history = tuple({key: float(value) for key, value in row.items()} for row in rows)
    except (ValueError, TypeError, csv.Error) as error:
        raise _altered(path, "a table of numbers", str(error)) from error
    if not all(math.isfinite(value) for row in history for value in row.values()):
        raise _altered(path, "a table of finite numbers", "NaN or infinity")
    return history
