"""Files from their public home, kept only where their SHA-256 is right."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from stainloom.errors import SlideError
from stainloom.io.files import confine, write_whole
from stainloom.progress import Progress, silent

_CHUNK = 1 << 16
_WAIT_S = 30


@dataclass(frozen=True)
class Wanted:
    """One file of a collection.

    Attributes
    ----------
    path
        Where it shall lie below the folder.
    address
        Where it lies below the home.
    sha256
        What its content must hash to.
    bytes
        Its size; more is never read.
    """

    path: str
    address: str
    sha256: str
    bytes: int


def is_whole(file: Path, wanted: Wanted) -> bool:
    """Whether a file is there and its content is the wanted one."""
    return (
        file.is_file()
        and file.stat().st_size == wanted.bytes
        and hashlib.sha256(file.read_bytes()).hexdigest() == wanted.sha256
    )


def fetch_files(home: str, wanted: tuple[Wanted, ...], folder: Path, *, progress: Progress = silent) -> None:
    """Download what is missing below a folder; each file appears whole or not at all.

    Parameters
    ----------
    home
        https address that the files lie below (http only for this machine itself).
    wanted
        The files.
    folder
        Where to keep them.

    Raises
    ------
    SlideError
        Where the home cannot be reached or a file is another than it was: names the file, its SHA-256, and how to do
        without a network.
    """
    parts = urlsplit(home)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost"):
        raise ValueError(f"files are fetched by https: {home}")
    for number, file in enumerate(wanted):
        progress(number, len(wanted), f"fetching {file.path}")
        target = confine(folder, file.path)
        if is_whole(target, file):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, _download(home, file, folder), SlideError)
    progress(len(wanted), len(wanted), "fetched")


def _download(home: str, file: Wanted, folder: Path) -> bytes:
    address = f"{home.rstrip('/')}/{file.address}"
    offline = f"without a network: get {address} on another machine and put it into {folder.name}/{file.path}"
    try:
        with urllib.request.urlopen(address, timeout=_WAIT_S) as answer:
            data: bytes = answer.read(file.bytes + 1)
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise SlideError("a file could not be fetched", slide=file.path, found=str(error), next=offline) from error
    found = hashlib.sha256(data).hexdigest()
    if found != file.sha256:
        raise SlideError(
            "a fetched file is not the one that was published",
            slide=file.path,
            expected=f"{file.bytes} bytes with SHA-256 {file.sha256}",
            found=f"{len(data)} bytes or more with SHA-256 {found}" if len(data) > file.bytes else f"SHA-256 {found}",
            next=offline,
        )
    return data
