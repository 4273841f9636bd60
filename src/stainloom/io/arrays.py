"""Arrays in npz files: equal arrays give equal bytes, and sizes are checked before anything is allocated."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from stainloom.errors import CaseError, StainloomError
from stainloom.io.files import disk_errors, write_whole

_DATE = (1980, 1, 1, 0, 0, 0)
_ARRAYS_MOST = 256
_HEADER_MOST = 10_000


def write_arrays(
    path: Path,
    arrays: Mapping[str, NDArray[Any]],
    *,
    compress: bool = False,
    error_type: type[StainloomError] = CaseError,
) -> None:
    """Write arrays as npz, whole, in the order of their names, without times.

    Parameters
    ----------
    path
        The file.
    arrays
        By name; numbers and truth values only.
    compress
        Deflate: right for labels, useless for measured fields. The bytes then also depend on the zlib of this machine.
    error_type
        The child of `StainloomError` for a full or read-only disk.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in sorted(arrays):
            entry = zipfile.ZipInfo(f"{name}.npy", _DATE)
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
            content = io.BytesIO()
            npy.write_array(content, np.asarray(arrays[name], order="C"), version=(1, 0), allow_pickle=False)
            archive.writestr(entry, content.getvalue())
    write_whole(path, packed.getvalue(), error_type)


def read_arrays(
    path: Path,
    most_bytes: int,
    error_type: type[StainloomError] = CaseError,
    *,
    names: Collection[str] | None = None,
) -> dict[str, NDArray[Any]]:
    """Read an npz of plain numbers.

    Parameters
    ----------
    path
        The file: not trusted.
    most_bytes
        What all arrays together may take in memory; checked against the headers before any is read.
    error_type
        The child of `StainloomError` to raise.
    names
        Only these arrays; the others are neither read nor unpacked. None is all.

    Raises
    ------
    StainloomError
        Where the file is missing, damaged, too big, or holds objects.
    """
    try:
        with disk_errors(path, error_type), zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            total = sum(entry.file_size for entry in entries)
            if len(entries) > _ARRAYS_MOST or total > most_bytes + len(entries) * _HEADER_MOST:
                raise ValueError(f"{len(entries)} arrays of {total} bytes, at most {most_bytes} bytes are read")
            by_name = {entry.filename.removesuffix(".npy"): entry for entry in entries}
            wanted = [name for name in by_name if names is None or name in names]
            return {name: _read_one(archive, by_name[name]) for name in wanted}
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise error_type(
            f"{path.name} cannot be read",
            slide=path.name,
            expected="arrays of numbers in npz form",
            found=f"{error} ({path})",
            next="make this result again; nothing else is touched",
        ) from error


def _read_one(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any]:
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{entry.filename} is compressed in a way that is not read")
    with archive.open(entry) as file:
        version = npy.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"{entry.filename} has array format {version}")
        shape, fortran, dtype = npy.read_array_header_1_0(file, max_header_size=_HEADER_MOST)
        wanted = math.prod(shape) * dtype.itemsize
        if dtype.kind not in "biuf" or fortran or len(shape) > 8:
            raise ValueError(f"{entry.filename} holds {dtype} of shape {shape}")
        if not 0 <= wanted < entry.file_size or any(side < 0 for side in shape):
            raise ValueError(f"{entry.filename} says shape {shape} and holds {entry.file_size} bytes")
        data = file.read(wanted + 1)
        if len(data) != wanted:
            raise ValueError(f"{entry.filename} says shape {shape} and holds {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape).copy()
