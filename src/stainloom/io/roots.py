"""Where the roots of studies lie on this machine: a file of this machine and user, so that a study names no absolute path."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import platformdirs

from stainloom.errors import CaseError
from stainloom.io.files import check_name, disk_errors, read_json, safe_name, write_json

_FORMAT = "stainloom roots"
_ROOTS_MOST = 10_000


def config_folder() -> Path:
    """Where this machine and user keep what belongs to no study: STAINLOOM_CONFIG, else the user's configuration folder."""
    chosen = os.environ.get("STAINLOOM_CONFIG")
    return Path(chosen) if chosen else platformdirs.user_config_path("stainloom", appauthor=False)


def roots_file() -> Path:
    """The machine's file of slide folders, `roots.json`."""
    return config_folder() / "roots.json"


def known_roots() -> dict[str, Path]:
    """The roots that this user confirmed on this machine, by name."""
    path = roots_file()
    if not path.exists():
        return {}
    roots = read_json(path).get("roots")
    if not isinstance(roots, dict) or not all(isinstance(folder, str) for folder in roots.values()):
        raise CaseError(
            "the list of slide folders of this machine cannot be read",
            slide=path.name,
            expected='{"roots": {name: folder}}',
            next=f"correct or remove {path}; then relocate each study",
        )
    return {name: Path(folder) for name, folder in roots.items()}


def confirm_root(name: str, folder: Path) -> None:
    """Let studies that name a root read slides below a folder of this machine. Only the user's own word may lead here.

    Parameters
    ----------
    name
        The root as studies name it.
    folder
        Where it lies here; must be there.
    """
    check_name(name, "a slide folder")
    if not folder.is_dir():
        raise CaseError("a slide folder is not there", found=str(folder), next="check that the disk is connected")
    roots = known_roots() | {name: folder.resolve()}
    if len(roots) > _ROOTS_MOST:
        raise CaseError("too many slide folders", found=f"{len(roots)} in {roots_file()}", next="remove old ones there")
    path = roots_file()
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    content = {"format": _FORMAT, "version": 1, "roots": {key: str(roots[key]) for key in sorted(roots)}}
    write_json(path, content)


def root_folder(name: str) -> Path:
    """Where a root lies on this machine; `CaseError` where the user has not confirmed it or it is gone."""
    folder = known_roots().get(name)
    if folder is None:
        raise CaseError(
            f"this machine does not know where the slides of {name} lie",
            expected="a folder that you confirmed for it",
            found=f"no entry in {roots_file()}",
            next="relocate the study: name the folder that holds the slides now",
        )
    if not folder.is_dir():
        raise CaseError(
            f"the slides of {name} are not where they were",
            found=f"no folder {folder}",
            next="connect the disk, or relocate the study",
        )
    return folder


def root_name(folder: Path) -> str:
    """A name for a folder that two folders hardly share: its own, and six digits of the hash of where it lies."""
    real = folder.resolve()
    digits = hashlib.sha256(str(real).encode("utf-8", "surrogateescape")).hexdigest()[:6]
    return f"{safe_name(real.name or 'disk')[:50].strip('.')}-{digits}"
