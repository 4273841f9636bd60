"""A study: one set of stains and lesion classes that many cases share; and the protocols that studies start from."""

from __future__ import annotations

from dataclasses import dataclass

from stainloom.case.lesions import LESIONS, LUNG_LESIONS, LesionClass
from stainloom.case.stains import LUNG_STAINS, STAINS, Stain
from stainloom.errors import CaseError


@dataclass(frozen=True)
class Protocol:
    """What a study starts from: stains, the reference among them, and lesion classes."""

    name: str
    stains: tuple[Stain, ...]
    reference: str
    lesions: tuple[LesionClass, ...]

    def __post_init__(self) -> None:
        names = [stain.name for stain in self.stains]
        if len(set(names)) != len(names) or not names:
            raise ValueError(f"stains need different names: {names}")
        if self.reference not in names:
            raise ValueError(f"the reference is one of the stains: {self.reference!r}")
        ids = [lesion.id for lesion in self.lesions]
        shorts = [lesion.short for lesion in self.lesions]
        if len(set(ids)) != len(ids) or len(set(shorts)) != len(shorts):
            raise ValueError(f"lesion classes need different ids and abbreviations: {ids} {shorts}")


PROTOCOLS: tuple[Protocol, ...] = (
    Protocol("aorta", STAINS, "HE", LESIONS),
    Protocol("lung", LUNG_STAINS, "HE", LUNG_LESIONS),
)


@dataclass(frozen=True)
class Study:
    """Many cases with one set of stains and lesion classes: the content of `study.json`.

    Attributes
    ----------
    protocol
        The study's own copy of stains and classes.
    roots
        Names of the folders that slides may lie in; `.` is the study folder. Where another root lies on this machine
        stands in a file of this machine and user.
    label_um
        um per px of label rasters.
    simulated
        Whether the slides are made by the program; said wherever they are shown.
    """

    protocol: Protocol
    roots: tuple[str, ...] = (".",)
    label_um: float = 2.0
    simulated: bool = False

    @property
    def stains(self) -> tuple[Stain, ...]:
        """The stains, in the order of the strip."""
        return self.protocol.stains

    @property
    def stain_names(self) -> tuple[str, ...]:
        """Names of the stains, in order."""
        return tuple(stain.name for stain in self.stains)

    @property
    def reference(self) -> str:
        """Name of the stain that is painted on and aligned to."""
        return self.protocol.reference

    @property
    def moving(self) -> tuple[str, ...]:
        """Names of the stains that are aligned to the reference."""
        return tuple(name for name in self.stain_names if name != self.reference)

    @property
    def lesions(self) -> tuple[LesionClass, ...]:
        """All lesion classes, also those switched off."""
        return self.protocol.lesions

    @property
    def classes(self) -> tuple[LesionClass, ...]:
        """The lesion classes in use."""
        return tuple(lesion for lesion in self.lesions if lesion.on)

    def stain(self, name: str) -> Stain:
        """The stain of a name; `CaseError` where the study has none."""
        for stain in self.stains:
            if stain.name == name:
                return stain
        raise CaseError(
            "the study has no such stain", stain=name, expected="one of " + ", ".join(self.stain_names), found=name
        )

    def lesion(self, short: str) -> LesionClass:
        """The class of an abbreviation; `CaseError` where the study has none."""
        for lesion in self.lesions:
            if lesion.short == short:
                return lesion
        known = ", ".join(lesion.short for lesion in self.lesions)
        raise CaseError(f"the study has no lesion class {short!r}", expected=f"one of {known}", found=short)
