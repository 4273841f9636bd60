"""Names and paths that cannot leave their folder, on any system."""

from __future__ import annotations

import hashlib
from pathlib import Path

from stainloom.errors import CaseError

_RESERVED = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {
    f"{d}{n}" for d in ("com", "lpt") for n in "0123456789¹²³"
}
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
_NAME_MOST = 64


def confine(root: Path, relative: str) -> Path:
    """A path below a folder, or an error where it would leave it.

    Parameters
    ----------
    root
        The folder.
    relative
        A POSIX path as a file of the study names it: not trusted.

    Returns
    -------
    The real path, links resolved. Whether a file is there is not asked.

    Raises
    ------
    CaseError
        For absolute paths, drive letters, backslashes, `..`, control characters, names that Windows reserves, and links
        that lead out of the folder.
    """
    reason = _unfit(relative)
    if reason is None:
        try:
            home = root.resolve()
            real = (home / relative).resolve()
        except (OSError, RuntimeError, ValueError) as error:
            reason = f"it cannot be followed ({error})"
        else:
            if real.is_relative_to(home):
                return real
            reason = "a link leads out of it"
    raise CaseError(
        "a path leaves its folder",
        slide=relative.replace("\0", "\\0")[:200],
        expected=f"a plain relative path below {root}",
        found=reason,
        next="do not trust this study until you know who made it; relocate the slide to give it a proper place",
    )


def _unfit(relative: str) -> str | None:
    if not relative or len(relative) > 4096:
        return "an empty or endless path"
    if any(ord(c) < 32 or ord(c) == 127 for c in relative):
        return "a control character in it"
    if "\\" in relative or ":" in relative:
        return "a backslash or colon in it"
    if relative.startswith("/"):
        return "an absolute path"
    for piece in relative.split("/"):
        if piece.rstrip(" .") == "":
            return f"{piece!r} in it"
        if piece.split(".")[0].rstrip(" ").lower() in _RESERVED:
            return f"{piece!r}, which Windows reserves"
    return None


def safe_name(name: str) -> str:
    """A folder name for a case, stain or run that every system takes.

    A name of 1 to 64 letters (a to z), digits, `-`, `_` and `.` stays as it is; from any other the odd characters
    become `_`, and eight digits of its SHA-256 keep two such names apart.
    """
    plain = 0 < len(name) <= _NAME_MOST and set(name) <= _PLAIN and name.strip(".") == name
    if plain and _unfit(name) is None:
        return name
    near = "".join(c if c in _PLAIN and c != "." else "_" for c in name)[: _NAME_MOST - 9].strip("_-") or "_"
    return f"{near}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def check_name(name: str, what: str, remedy: str = "call it {!r}, for instance") -> str:
    """The name itself where it can be a folder's name; `CaseError`, with one that can in the remedy's braces, where not."""
    if safe_name(name) != name:
        raise CaseError(
            f"{what} cannot be called {name[:200]!r}",
            expected="1 to 64 letters a to z, digits, '-', '_' and '.'",
            found=repr(name[:200]),
            next=remedy.format(safe_name(name)),
        )
    return name
