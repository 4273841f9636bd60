"""Files and folders written whole or not at all, what the disk refused in the user's words, and JSON read strictly."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import math
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from stainloom.errors import CaseError, StainloomError
from stainloom.io.paths import check_name, confine, safe_name

__all__ = [
    "JSON_MOST_BYTES",
    "check_name",
    "confine",
    "disk_errors",
    "new_folder",
    "process_alive",
    "read_json",
    "safe_name",
    "write_json",
    "write_whole",
]

JSON_MOST_BYTES = 16 << 20
"""Largest JSON file that is read unless the caller says otherwise."""

_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
_READ_ONLY = (errno.EROFS,)
_FORBIDDEN = (errno.EACCES, errno.EPERM)
_FSYNC_ONE_BY_ONE = 256
_REPLACE_TRIES = 5


@contextmanager
def disk_errors(path: Path, error_type: type[StainloomError] = CaseError) -> Iterator[None]:
    """Say in the user's words what the disk refused.

    Parameters
    ----------
    path
        The file or folder that is written.
    error_type
        The child of `StainloomError` to raise.

    Raises
    ------
    StainloomError
        In place of any OSError: which folder, whether it is full, read-only or forbidden, and what to do.
    """
    try:
        yield
    except OSError as error:
        raise _said(error, path, error_type) from error


def _said(error: OSError, path: Path, error_type: type[StainloomError]) -> StainloomError:
    folder = path if path.is_dir() else path.parent
    kept = "what was there before is unchanged"
    if error.errno in _FULL:
        what, found = f"the disk is full: {path.name} was not written", f"no space left in {folder}; {kept}"
        following = "free some space on this disk, or move the study to a larger one, and run this again"
    elif error.errno in _READ_ONLY:
        what, found = f"the folder is read-only: {path.name} was not written", f"{folder} is on a read-only disk"
        following = "copy the study to a disk that can be written, and open it there"
    elif error.errno in _FORBIDDEN:
        what, found = f"no permission for {path.name}", f"{folder} or the file in it is not open to this user"
        following = "ask for permission for this folder, close other programs that use it, or copy the study"
    elif error.errno == errno.ENOENT:
        what, found = f"{path.name} is not there", f"nothing at {path}"
        following = (
            "check that the disk is connected and that nothing was moved"
            if path.parent.is_dir()
            else f"make the folder {path.parent.name!r} first, or check that its disk is connected"
        )
    else:
        what, found = f"the disk refused {path.name}", f"{error.strerror or error} in {folder}; {kept}"
        following = "check the disk, and run this again"
    return error_type(what, slide=path.name, found=found, next=following)


def write_whole(path: Path, data: bytes, error_type: type[StainloomError] = CaseError) -> None:
    """Write a file so that readers, and a power cut, find the old content or the new, never a part.

    Written beside, flushed to the disk, then renamed over the old one.
    """
    with disk_errors(path, error_type):
        beside = path.with_name(_part_name(path.name, "part"))
        try:
            with open(beside, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _replace(beside, path)
        except BaseException:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def _replace(source: Path, target: Path) -> None:
    # On Windows a virus scanner or a reader holds a file for moments: the rename is refused and works a little later.
    for attempt in range(_REPLACE_TRIES):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if os.name != "nt" or attempt == _REPLACE_TRIES - 1:
                raise
            time.sleep(0.05 * 2**attempt)


@contextmanager
def new_folder(final: Path, *, replace: bool = False, error_type: type[StainloomError] = CaseError) -> Iterator[Path]:
    """A folder that appears whole: filled beside under another name, then renamed.

    Parameters
    ----------
    final
        Where it appears when the block ends without an error. Its parent is made if need be.
    replace
        Whether a folder that is already there gives way; else that is an error.
    error_type
        The child of `StainloomError` for a full or read-only disk.

    Yields
    ------
    The temporary folder beside `final`; any failure, `Cancelled` too, removes it and leaves what was there.

    Notes
    -----
    What a killed process of this machine left beside is swept away when the same folder is written again. A folder
    cannot replace a full one in a single step: between two renames, microseconds, only the old name aside exists, and
    the sweep puts it back.
    """
    with disk_errors(final, error_type):
        final.parent.mkdir(parents=True, exist_ok=True)
        _sweep(final)
        if final.exists() and not replace:
            raise error_type(
                f"{final.name} is already there", slide=final.name, found=f"{final}", next="choose another name"
            )
        beside = final.with_name(_part_name(final.name, "part"))
        beside.mkdir()
    try:
        yield beside
        with disk_errors(final, error_type):
            _sync_tree(beside)
            _swap_in(beside, final)
    except OSError as error:
        if error.errno in _FULL + _READ_ONLY or str(beside) in str(error.filename):
            raise _said(error, final, error_type) from error
        raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _swap_in(beside: Path, final: Path) -> None:
    aside = final.with_name(_part_name(final.name, "old"))
    if final.exists():
        os.rename(final, aside)
    try:
        os.rename(beside, final)
    except BaseException:
        if aside.exists():
            os.rename(aside, final)
        raise
    _sync_folder(final.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _part_name(name: str, ending: str) -> str:
    return f".{name}.{_host()}.{os.getpid()}.{secrets.token_hex(4)}.{ending}"


def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _sweep(final: Path) -> None:
    for left in sorted(final.parent.glob(f".{glob.escape(final.name)}.{glob.escape(_host())}.*.*.*")):
        process = left.name.split(".")[-3]
        if not process.isdigit() or process_alive(int(process)):
            continue
        if left.suffix == ".old" and not final.exists():
            os.rename(left, final)
        elif left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def process_alive(process: int) -> bool:
    """Whether a process of this machine still runs (one that belongs to another user counts)."""
    if process <= 0:
        return False
    if os.name == "nt":  # os.kill(pid, 0) would send Ctrl-C there
        import ctypes

        kernel = ctypes.windll.kernel32  # type: ignore[attr-defined, unused-ignore]
        handle = kernel.OpenProcess(0x1000, False, process)
        if not handle:
            return False
        code = ctypes.c_ulong()
        kernel.GetExitCodeProcess(handle, ctypes.byref(code))
        kernel.CloseHandle(handle)
        return code.value == 259
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def free_bytes(path: Path) -> int | None:
    """How much room is left where a path lies or would lie; None where nobody can say."""
    there = next((folder for folder in (path, *path.parents) if folder.exists()), path)
    try:
        return shutil.disk_usage(there).free
    except OSError:
        return None


def _sync_tree(folder: Path) -> None:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    if len(files) > _FSYNC_ONE_BY_ONE and hasattr(os, "sync"):
        os.sync()
        return
    for path in files:
        with open(path, "r+b") as file:
            os.fsync(file.fileno())
    for inner in [path for path in folder.rglob("*") if path.is_dir()] + [folder]:
        _sync_folder(inner)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        # Some network shares cannot flush a folder; the file itself is flushed.
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def read_json(
    path: Path, most_bytes: int = JSON_MOST_BYTES, error_type: type[StainloomError] = CaseError
) -> dict[str, Any]:
    """Read a JSON object strictly.

    Parameters
    ----------
    path
        The file.
    most_bytes
        A larger file is refused before it is read.
    error_type
        The child of `StainloomError` to raise.

    Raises
    ------
    StainloomError
        Where the file is missing, too big, not UTF-8, not JSON, not an object, or holds a key twice, NaN, Infinity or
        a number that no float64 holds.
    """
    with disk_errors(path, error_type), open(path, "rb") as file:
        data = file.read(most_bytes + 1)
    try:
        if len(data) > most_bytes:
            raise ValueError(f"more than {most_bytes} bytes")
        text = data.decode("utf-8-sig")
        found = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=no_constant,
            parse_float=finite,
            parse_int=whole_number,
        )
        if not isinstance(found, dict):
            raise ValueError(f"a {type(found).__name__}, not an object in braces")
        if "\\ud" in text.lower():
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise error_type(
            f"{path.name} cannot be read",
            slide=path.name,
            expected="a JSON object in UTF-8",
            found=f"{reason} ({path})",
            next="restore this file from a copy; the other files are not touched",
        ) from error
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key!r} twice")
        result[key] = value
    return result


def no_constant(name: str) -> Any:
    """Refuses NaN and Infinity, which JSON does not know; for `json`'s parse_constant."""
    raise ValueError(f"{name}, which is no number")


def finite(text: str) -> float:
    """A float that is one; for `json`'s parse_float."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]}, a number too large")
    return value


def whole_number(text: str) -> int:
    """An integer of bounded length; for `json`'s parse_int."""
    if len(text) > 20:
        raise ValueError(f"{text[:40]}, a number too large")
    return int(text)


def write_json(path: Path, obj: dict[str, Any], error_type: type[StainloomError] = CaseError) -> None:
    """Write a JSON object whole: UTF-8, the keys in the order given, two spaces a level, a newline at the end.

    Equal objects give equal bytes. numpy's numbers and arrays become plain ones. NaN and Infinity are a ValueError.
    """
    text = json.dumps(obj, ensure_ascii=False, allow_nan=False, indent=2, default=_plain)
    write_whole(path, (text + "\n").encode(), error_type)


def _plain(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"JSON holds no {type(value).__name__}: {value!r}")
