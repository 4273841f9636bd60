"""What the window remembers of each study between two starts: a small file of this machine and user."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from stainloom.errors import CaseError
from stainloom.io.files import disk_errors, read_json, write_json
from stainloom.io.roots import config_folder

_log = logging.getLogger(__name__)

_FORMAT, VERSION = "stainloom window", 1
STUDIES_MOST = 50
_BYTES_MOST = 1 << 20


class NewerWindowFile(CaseError):
    """A newer version of the program remembers there: nothing is read and nothing is written."""


def window_file() -> Path:
    """The file, `window.json`."""
    return config_folder() / "window.json"


def remembered() -> dict[Path, dict[str, Any]]:
    """What was remembered of each study, the last one last.

    Raises
    ------
    NewerWindowFile
        Where a newer version wrote the file: it is left as it is.

    Notes
    -----
    A file that cannot be read is put aside as `window.json.damaged`: what it held is where the user looked last, and no work.
    """
    path = window_file()
    if not path.exists():
        return {}
    try:
        found = read_json(path, _BYTES_MOST)
        if found.get("format") != _FORMAT or not isinstance(found.get("version"), int):
            raise CaseError("not the memory of a window", slide=path.name)
    except CaseError as error:
        _log.warning("what the window remembered cannot be read: %s", error)
        with suppress(OSError):
            os.replace(path, path.with_name(f"{path.name}.damaged"))
        return {}
    if found["version"] > VERSION:
        raise NewerWindowFile(
            "what the window remembers was written by a newer Stainloom",
            slide=path.name,
            expected=f"version {VERSION} or older",
            found=f"version {found['version']}",
            next="go on working: only case, stain and place are not kept this time, and the newer file stays as it is",
        )
    studies = found.get("studies")
    if not isinstance(studies, list):
        return {}
    kept = [entry for entry in studies if isinstance(entry, dict) and isinstance(entry.get("study"), str)]
    return {Path(entry["study"]): {k: v for k, v in entry.items() if k != "study"} for entry in kept[-STUDIES_MOST:]}


def remember(study: Path, state: dict[str, Any]) -> None:
    """Remember of one study, as the last one; the fifty latest are kept. `NewerWindowFile` as `remembered` has it."""
    studies = remembered()
    studies.pop(study, None)
    studies[study] = state
    latest = list(studies.items())[-STUDIES_MOST:]
    path = window_file()
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    entries = [{"study": str(known), **kept} for known, kept in latest]
    write_json(path, {"format": _FORMAT, "version": VERSION, "studies": entries})
