"""Whether a file lies on a network share, where locks and shared memory cannot be trusted."""

from __future__ import annotations

import os
from pathlib import Path

_SHARES = {
    "9p",
    "afpfs",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "davfs",
    "davfs2",
    "fuse.ceph",
    "fuse.davfs",
    "fuse.davfs2",
    "fuse.glusterfs",
    "fuse.gvfsd-fuse",
    "fuse.rclone",
    "fuse.s3fs",
    "fuse.sshfs",
    "gpfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs3",
    "nfs4",
    "smb2",
    "smb3",
    "smbfs",
    "webdav",
}


def on_share(path: Path) -> bool:
    """Whether a file lies on a network share.

    Parameters
    ----------
    path
        The file; it need not exist yet.

    Notes
    -----
    Windows is asked for the kind of drive (a path that starts with two backslashes is a share); Linux says it in
    `/proc/mounts`. macOS shows no such table without starting a program: anything below `/Volumes` that is another
    device than the start volume counts as a share, external disks too, for which the slower way is merely slower.
    """
    real = path.resolve()
    if os.name == "nt":
        return _windows_share(real)
    mounts = Path("/proc/mounts")
    if mounts.exists():
        return mount_type(real, mounts.read_text(encoding="utf-8", errors="surrogateescape")) in _SHARES
    folder = real if real.exists() else real.parent
    return str(real).startswith("/Volumes/") and folder.stat().st_dev != Path("/").stat().st_dev


def mount_type(real: Path, mounts: str) -> str:
    """The kind of file system that holds a path, from the text of `/proc/mounts`; empty where none does."""
    best, kind = -1, ""
    for line in mounts.splitlines():
        parts = line.split(" ")
        if len(parts) < 3:
            continue
        # The table writes blanks, tabs and backslashes of a mount point as octal.
        point = parts[1].replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
        if real.is_relative_to(point) and len(point) >= best:
            best, kind = len(point), parts[2]
    return kind


def _windows_share(real: Path) -> bool:
    if str(real).startswith("\\\\") and not str(real).startswith("\\\\?\\"):
        return True
    import ctypes

    network_drive = 4
    return ctypes.windll.kernel32.GetDriveTypeW(real.anchor) == network_drive  # type: ignore[attr-defined, unused-ignore]
