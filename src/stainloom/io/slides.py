"""Open a slide of any kind as a pyramid, read by level and box; ask what its header says; take its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stainloom.case.slide import Fingerprint
from stainloom.errors import SlideError
from stainloom.geometry import Scale
from stainloom.io import openslide, picture, tiff
from stainloom.io.opened import OpenedSlide, SlideFacts
from stainloom.io.tiles import MIB, TileCache
from stainloom.progress import Progress, silent

__all__ = [
    "READERS",
    "OpenedSlide",
    "Reader",
    "SlideFacts",
    "TileCache",
    "describe_slide",
    "fingerprint",
    "is_still",
    "open_slide",
]

_HEAD_BYTES = 4096


@dataclass(frozen=True)
class Reader:
    """One way to read slides.

    Attributes
    ----------
    name
        What it reads, for messages.
    opens
        `opens(path, head)`: whether it takes a file that begins with the bytes `head`; never raises for a broken one.
    open
        `open(path, cache, um_per_px, stain)`: the slide, or a SlideError.
    describe
        `describe(path, stain)`: what the header says, or a SlideError.
    """

    name: str
    opens: Callable[[Path, bytes], bool]
    open: Callable[[Path, TileCache, float | Scale | None, str | None], OpenedSlide]
    describe: Callable[[Path, str | None], SlideFacts]


READERS: tuple[Reader, ...] = (
    Reader("OME-TIFF, tiled TIFF and Aperio SVS", tiff.opens, tiff.open_tiff, tiff.describe),
    Reader(
        "slides that OpenSlide knows (NDPI, SCN, MRXS, BIF, ...)",
        openslide.opens,
        openslide.open_with_openslide,
        openslide.describe,
    ),
    Reader("PNG and JPEG", picture.opens, picture.open_picture, picture.describe),
)
"""Asked in this order; the first that takes a file reads it. (A MIRAX slide begins as a JPEG, so OpenSlide comes before.)"""


def open_slide(
    path: Path, *, cache: TileCache, um_per_px: float | Scale | None = None, stain: str | None = None
) -> OpenedSlide:
    """Open a slide to read from.

    Parameters
    ----------
    path
        The file.
    cache
        Keeps decoded tiles; one for all slides of a session or job.
    um_per_px
        Of level 0, as the user states it; it goes before what the file states.
    stain
        For error messages.

    Returns
    -------
    A `Pyramid` over the file; a context manager that closes it.

    Raises
    ------
    SlideError
        When the file is missing, empty, a folder, no slide, damaged, or states no um per px and none is given.
    """
    return _reader(path, stain).open(path, cache, um_per_px, stain)


def describe_slide(path: Path, *, stain: str | None = None) -> SlideFacts:
    """What the header of a slide says: size, um per px (None where not stated), levels in the file, format.

    Raises
    ------
    SlideError
        When the file is missing, empty, a folder, no slide, or its header is broken.
    """
    return _reader(path, stain).describe(path, stain)


def fingerprint(path: Path, *, full: bool = False, progress: Progress = silent) -> Fingerprint:
    """By what a moved slide is found again: its size and the SHA-256 of its first and last MiB, one after the other.

    Parameters
    ----------
    path
        The file. One smaller than a MiB counts twice, as its own first and last.
    full
        Also hash the whole file, which takes as long as reading it.
    progress
        Told bytes of bytes.

    Raises
    ------
    SlideError
        When the file is missing, empty or a folder.
    """
    _head(path, None)
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        ends = hashlib.sha256(file.read(MIB))
        file.seek(max(0, size - MIB))
        ends.update(file.read(MIB))
        if not full:
            return Fingerprint(size, ends.hexdigest())
        whole = hashlib.sha256()
        file.seek(0)
        while data := file.read(4 * MIB):
            whole.update(data)
            progress(file.tell(), size, "checking the slide")
    return Fingerprint(size, ends.hexdigest(), whole.hexdigest())


_ENDS: dict[tuple[str, int, int], str] = {}


def is_still(path: Path, kept: Fingerprint, *, look_inside: bool = True) -> bool:
    """Whether a file is the one whose fingerprint was kept: its size, then the hash of its ends.

    Parameters
    ----------
    path
        The file; must be there.
    kept
        Its fingerprint when it was taken in.
    look_inside
        Read 2 MiB of it, once for each size and time of change; otherwise only what is known already counts.

    Raises
    ------
    SlideError
        When the file is empty or a folder.
    OSError
        When it is missing.
    """
    said = path.stat()
    if said.st_size != kept.bytes:
        return False
    key = (str(path), said.st_size, said.st_mtime_ns)
    if look_inside and key not in _ENDS:
        _ENDS[key] = fingerprint(path).ends_sha256
    return _ENDS.get(key, kept.ends_sha256) == kept.ends_sha256


def _reader(path: Path, stain: str | None) -> Reader:
    head = _head(path, stain)
    for reader in READERS:
        if reader.opens(path, head):
            return reader
    raise SlideError(
        "This file is no slide that can be read",
        slide=path.name,
        stain=stain,
        expected="; ".join(reader.name for reader in READERS),
        found=f"a file that begins with {head[:12]!r}",
        next="choose the slide itself, or export it as OME-TIFF",
    )


def _head(path: Path, stain: str | None) -> bytes:
    """The first bytes of a file that is there, is a file, and is not empty."""
    found = ""
    try:
        if path.is_dir():
            found = "a folder"
        else:
            with path.open("rb") as file:
                head = file.read(_HEAD_BYTES)
            if head:
                return head
            found = "an empty file"
    except FileNotFoundError:
        found = "nothing at this place"
    except OSError as error:
        found = error.strerror or str(error)
    raise SlideError(
        "This slide cannot be opened",
        slide=path.name,
        stain=stain,
        expected="a slide file",
        found=found,
        next="check the path, or find the slide (dock Cases, or `stainloom study relocate`)",
    )
