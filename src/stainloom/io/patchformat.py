"""How a patch set lies on disk: what its writer and its reader agree on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stainloom.errors import PatchError
from stainloom.progress import Progress

VERSION = 1
CHUNK_BYTES = 16 << 20
SETS = ("train", "validation", "test", "left out")

SCHEMA = pa.schema(
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


def chunk_path(array: Path, chunk: int) -> Path:
    """The file of a chunk of samples."""
    return array / "c" / str(chunk) / "0" / "0" / "0" / "0"


def samples_a_chunk(stains: int, size: int, turns: int) -> int:
    """How many samples a chunk file holds: whole windows with all their turns, about 16 MiB."""
    return turns * max(1, CHUNK_BYTES // (turns * stains * size * size * 3))


def bytes_on_disk(windows: int, stains: int, size: int, turns: int) -> int:
    """How much room the pixels of so many windows take: whole chunks."""
    chunk = samples_a_chunk(stains, size, turns)
    return -(-windows * turns // chunk) * chunk * stains * size * size * 3


def zarr_json(samples: int, stains: int, size: int, chunk: int) -> dict[str, Any]:
    """The metadata of the array `patches`: zarr 3, uncompressed, unsharded, one plain file a chunk."""
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


def write_manifest(path: Path, columns: Mapping[str, list[Any]]) -> None:
    """Write the manifest: one row a sample, uncompressed, so that equal rows give equal bytes."""
    table = pa.table([pa.array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)
    with open(path, "wb") as file:
        pq.write_table(table, file, compression="none", write_statistics=False, store_schema=False)


def patches_sha256(array: Path, samples: int, chunk: int, sample_bytes: int, progress: Progress) -> str:
    """SHA-256 over the pixels of all samples, in order, read from disk."""
    digest = hashlib.sha256()
    for start in range(0, samples, chunk):
        progress(start, samples, "checksum of the patches")
        left = min(chunk, samples - start) * sample_bytes
        with open(chunk_path(array, start // chunk), "rb") as file:
            while left:
                data = file.read(min(left, 1 << 20))
                if not data:
                    raise PatchError("a chunk of a patch set is too short", next="export the patches again")
                digest.update(data)
                left -= len(data)
    return digest.hexdigest()


def rows_sha256(columns: Mapping[str, list[Any]]) -> str:
    """SHA-256 over the columns as JSON: the same whatever library wrote the file."""
    digest = hashlib.sha256()
    for name in SCHEMA.names:
        digest.update(json.dumps([name, columns[name]], separators=(",", ":"), allow_nan=False).encode())
    return digest.hexdigest()


def content_id(about: Mapping[str, Any], split: Mapping[str, Any]) -> str:
    """Hash of `patchset.json` (with its checksums of pixels and rows) and `split.json`: 16 hexadecimal digits."""
    content = [{key: value for key, value in about.items() if key != "id"}, dict(split)]
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class MadeFrom:
    """Ids of what the patches of a case were cut from; stains by name, without one where there was none."""

    labels: str
    warps: dict[str, str]
    normalizations: dict[str, str]
