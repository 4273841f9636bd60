"""A slide of a case: where its file lies, its stain and its scale; no pixels."""

from __future__ import annotations

from dataclasses import dataclass

from stainloom.geometry import Scale, Size, size_um


@dataclass(frozen=True)
class Fingerprint:
    """By what a moved slide is found again.

    Attributes
    ----------
    bytes
        Size of the file.
    ends_sha256
        SHA-256 of its first and last MiB.
    sha256
        SHA-256 of the whole file, once it has been computed.
    """

    bytes: int
    ends_sha256: str
    sha256: str | None = None


@dataclass(frozen=True)
class Slide:
    """One scanned section.

    Attributes
    ----------
    stain
        Name of its stain in the study.
    root
        Name of the root that its path starts from; `.` is the study folder.
    path
        POSIX path below the root.
    size
        Level 0, px.
    um_per_px
        Of level 0, (row, col): the file's own, or what the user stated.
    fingerprint
        By what it is found again.
    """

    stain: str
    root: str
    path: str
    size: Size
    um_per_px: Scale
    fingerprint: Fingerprint

    @property
    def size_um(self) -> tuple[float, float]:
        """Height and width in um."""
        return size_um(self.size, self.um_per_px)
