"""Stains: what each is called, how a file name betrays it, and the directions of its dyes. Plain data."""

from __future__ import annotations

import re
from dataclasses import dataclass

Direction = tuple[float, float, float]
"""Optical density in R, G, B per unit of dye; need not be of unit length."""


@dataclass(frozen=True)
class Dye:
    """One dye of a stain.

    Attributes
    ----------
    name
        The dye, as laboratories write it.
    direction
        Its published absorption direction (optical density in R, G, B). A fit starts here and never trusts it.
    """

    name: str
    direction: Direction


@dataclass(frozen=True)
class Stain:
    """One stain of a study.

    Attributes
    ----------
    name
        As the laboratory writes it; also the key in files and folders.
    words
        Words by which a file name betrays the stain, lower case, compared with letters and digits only; the longest wins.
    dyes
        One to three dyes.
    """

    name: str
    words: tuple[str, ...]
    dyes: tuple[Dye, ...]


_HAEMATOXYLIN = Dye("haematoxylin", (0.65, 0.70, 0.29))
_DAB = Dye("DAB", (0.27, 0.57, 0.78))


def _dab(name: str, *words: str) -> Stain:
    return Stain(name, words, (_HAEMATOXYLIN, _DAB))


# Directions: Ruifrok and Johnston, Anal Quant Cytol Histol 23 (2001) 291-299, and G. Landini's colour deconvolution;
# authors differ by 10 to 29 degrees. No set is published for Van Gieson: near Sirius red, and picric acid absorbs in B alone.
HE = Stain(
    "HE", ("he", "hande", "haematoxylineosin", "hematoxylineosin"), (_HAEMATOXYLIN, Dye("eosin", (0.07, 0.99, 0.11)))
)
AB_PAS = Stain(
    "AB-PAS",
    ("abpas", "alcianbluepas", "alcianpas", "alcian"),
    (
        Dye("Alcian blue", (0.8746, 0.4577, 0.1583)),
        Dye("Schiff", (0.1754, 0.9722, 0.1546)),
        Dye("haematoxylin", (0.5526, 0.7544, 0.3537)),
    ),
)
MASSON = Stain(
    "Masson",
    ("masson", "trichrome", "massontrichrome", "mt"),
    (
        Dye("methyl blue", (0.7995, 0.5914, 0.1053)),
        Dye("ponceau-fuchsin", (0.1000, 0.7374, 0.6680)),
        Dye("iron haematoxylin", (0.6588, 0.6641, 0.3534)),
    ),
)
SMA = _dab("SMA", "sma", "asma", "alphasma", "smoothmuscleactin")
_ACID_FUCHSIN = Dye("acid fuchsin", (0.3394, 0.6902, 0.6391))
_PICRIC_ACID = Dye("picric acid", (0.02, 0.10, 0.995))
VG = Stain(
    "VG",
    ("vg", "evg", "vvg", "vangieson", "elasticvangieson", "verhoeff"),
    (_ACID_FUCHSIN, _PICRIC_ACID, Dye("elastic black", (0.60, 0.58, 0.55))),
)
VG_PLAIN = Stain("VG-plain", ("vgplain", "plainvangieson"), (_ACID_FUCHSIN, _PICRIC_ACID))

STAINS: tuple[Stain, ...] = (HE, AB_PAS, MASSON, SMA, VG)
"""The five of the aorta protocol, the reference first."""

LUNG_STAINS: tuple[Stain, ...] = (
    HE,
    _dab("CD31", "cd31"),
    _dab("Cc10", "cc10"),
    _dab("Ki67", "ki67"),
    _dab("proSPC", "prospc", "spc"),
)
"""The five of the lung protocol, the reference first."""


def stain_in_name(name: str, stains: tuple[Stain, ...]) -> Stain | None:
    """The stain that a file name betrays, or None.

    Parameters
    ----------
    name
        A file name without its folder.
    stains
        The stains of the study.

    Notes
    -----
    The name is cut at everything that is no letter or digit; a word counts where it equals one piece or two to four
    neighbouring pieces joined, so that `case7_AB-PAS.svs` is AB-PAS and `sheet.png` is not HE. The longest word wins.
    """
    found = _stain_at(name, stains)
    return None if found is None else found[0]


def name_around_stain(name: str, stains: tuple[Stain, ...]) -> tuple[str, str] | None:
    """What stands before and behind the word that betrays the stain in a file name, or None where none does."""
    found = _stain_at(name, stains)
    if found is None:
        return None
    _, start, end = found
    stem = name.rsplit(".", 1)[0]
    before, behind = stem[:start], stem[end:]
    return before.rstrip(" _-.,()[]"), behind.strip(" _-.,()[]")


def _stain_at(name: str, stains: tuple[Stain, ...]) -> tuple[Stain, int, int] | None:
    """The stain and where its word begins and ends in the name without its ending."""
    pieces = list(re.finditer(r"[^\W_]+", name.rsplit(".", 1)[0].lower()))
    joined: dict[str, tuple[int, int]] = {}
    for i in range(len(pieces)):
        for j in range(i + 1, min(i + 5, len(pieces) + 1)):
            joined.setdefault("".join(piece.group() for piece in pieces[i:j]), (pieces[i].start(), pieces[j - 1].end()))
    matches = [(len(word), stain.name, word) for stain in stains for word in stain.words if word in joined]
    if not matches:
        return None
    best = max(length for length, _, _ in matches)
    words = {stain: word for length, stain, word in matches if length == best}
    if len(words) != 1:
        return None
    ((found, word),) = words.items()
    return next(stain for stain in stains if stain.name == found), *joined[word]
