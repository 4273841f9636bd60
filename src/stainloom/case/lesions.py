"""Lesion classes and their colours, as plain data; and one painted region."""

from __future__ import annotations

from dataclasses import dataclass

NOT_ANNOTATED = 0
"""Label 0: nobody said anything about this place. Never *healthy*."""


@dataclass(frozen=True)
class LesionClass:
    """One kind of tissue that a pathologist paints.

    Attributes
    ----------
    id
        1 to 255; the value in label rasters. Never reused for another class.
    short
        The abbreviation shown on the palette and in tables.
    name
        The full name.
    color
        `#rrggbb`; built-in ones are Okabe and Ito's, which colour-blind readers can tell apart.
    on
        Whether the palette offers it and training uses it; a class switched off keeps its id and its paint.
    """

    id: int
    short: str
    name: str
    color: str
    on: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.id <= 255:
            raise ValueError(f"a class id is 1 to 255: {self.id}")
        if (
            len(self.color) != 7
            or self.color[0] != "#"
            or any(c not in "0123456789abcdefABCDEF" for c in self.color[1:])
        ):
            raise ValueError(f"a colour is #rrggbb: {self.color!r}")

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour as three numbers of 0 to 255."""
        return (int(self.color[1:3], 16), int(self.color[3:5], 16), int(self.color[5:7], 16))


# Names: Halushka et al., Cardiovascular Pathology 25 (2016) 247-257, doi 10.1016/j.carpath.2016.03.002.
# Colours: Okabe and Ito, of which pink is lost on HE, and yellow there cannot be told from orange nor seen on Van Gieson:
# near-black is the one that differs most from the others on all five stains, for red-green blindness too.
# The classes switched off use tints too.
LESIONS: tuple[LesionClass, ...] = (
    LesionClass(1, "MEMA", "mucoid extracellular matrix accumulation", "#56B4E9"),
    LesionClass(2, "EFFL", "elastic fibre fragmentation or loss", "#E69F00"),
    LesionClass(3, "SMNL", "smooth muscle cell nuclei loss", "#D55E00"),
    LesionClass(4, "MF", "medial fibrosis", "#0072B2"),
    LesionClass(5, "other", "other lesion", "#202020"),
    LesionClass(6, "normal", "normal media", "#009E73"),
    LesionClass(7, "MEMA-T", "translamellar mucoid extracellular matrix accumulation", "#9AD3F2", on=False),
    LesionClass(8, "LMC", "laminar medial collapse", "#CC79A7", on=False),
    LesionClass(9, "SMD", "smooth muscle cell disorganisation", "#B8A600", on=False),
)
"""The classes of the aorta protocol."""

LUNG_LESIONS: tuple[LesionClass, ...] = (
    LesionClass(1, "lesion", "lesion", "#D55E00"),
    LesionClass(2, "normal", "normal lung", "#009E73"),
)
"""The classes of the lung protocol."""
