"""Cases as they were looked at last: read again only where one of their files, or of their slides, is no longer what it was."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from stainloom.case.slide import Fingerprint
from stainloom.errors import StainloomError
from stainloom.io.casefile import StudyFolder
from stainloom.io.roots import known_roots

State = TypeVar("State")

_KEPT_MOST = 20_000
# warps/STAIN/ID is the deepest place of small files; maps hold thousands below.
_DEPTH = 3
_HOLDER = ("holder.json", ".holder.lock")

_Places = tuple[tuple[Path, Fingerprint], ...]


@dataclass(frozen=True)
class _Kept(Generic[State]):
    about: Any
    files: Any
    slides: _Places
    slides_as: Any
    state: State


class Seen(Generic[State]):
    """What was made of each case, by its folder.

    Attributes
    ----------
    read_anew
        How many cases were read so far.

    Notes
    -----
    Reading a case takes 5 to 10 ms of small files, looking whether any of them changed a tenth of that: after each job a
    study of 2,000 cases is looked at anew.
    """

    def __init__(self) -> None:
        self._kept: dict[Path, _Kept[State]] = {}
        self.read_anew = 0

    def get(self, folder: StudyFolder, name: str, read: Callable[[], State]) -> State:
        """What `read` made of a case, or makes of it now."""
        place = folder.path / "cases" / name
        about, files, kept = _about(folder), _files(place), self._kept.get(place)
        if (
            kept is not None
            and (kept.about, kept.files) == (about, files)
            and kept.slides_as == _as_they_are(kept.slides)
        ):
            return kept.state
        state = read()
        self.read_anew += 1
        slides = _slides(folder, name)
        if len(self._kept) >= _KEPT_MOST:
            self._kept.clear()
        self._kept[place] = _Kept(about, files, slides, _as_they_are(slides), state)
        return state


def _about(folder: StudyFolder) -> Any:
    with suppress(StainloomError):
        return folder.study, known_roots()
    return folder.study, None


def _files(place: Path | str, depth: int = _DEPTH) -> tuple[Any, ...]:
    """Names, sizes and times of what lies in a folder."""
    found: list[Any] = []
    with suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            if entry.name in _HOLDER:
                continue
            said = entry.stat(follow_symlinks=False)
            inner = _files(entry.path, depth - 1) if depth and entry.is_dir(follow_symlinks=False) else ()
            found.append((entry.name, said.st_size, said.st_mtime_ns, inner))
    return tuple(sorted(found))


def _slides(folder: StudyFolder, name: str) -> _Places:
    with suppress(StainloomError):
        roots = known_roots() | {".": folder.path}
        slides = folder.case(name).slides.values()
        return tuple((roots[slide.root] / slide.path, slide.fingerprint) for slide in slides if slide.root in roots)
    return ()


def _as_they_are(slides: Sequence[tuple[Path, Fingerprint]]) -> tuple[Any, ...]:
    from stainloom.io.slides import is_still

    found: list[Any] = []
    for path, kept in slides:
        try:
            said = path.stat()
            found.append((said.st_size, said.st_mtime_ns, is_still(path, kept, look_inside=False)))
        except (OSError, StainloomError):
            found.append(None)
    return tuple(found)
