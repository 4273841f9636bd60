"""What a simulated study is made of: size, chance, difficulty, and the strength of each disturbance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

Share = Annotated[float, Interval(ge=0, le=1)]


@dataclass(frozen=True)
class SimulationSettings:
    """A simulated study of the aortic wall.

    Attributes
    ----------
    patients
        How many patients, one block each.
    seed
        Same seed, same study, byte for byte; another seed, another study.
    width_um, height_um
        Extent of the block along the circumference and from lumen to adventitia, um.
    um_per_px
        Of the scans.
    difficulty
        `exclusive`: each lesion class shows in one stain alone (MEMA in AB-PAS, EFFL in VG, SMNL in HE, MF in Masson,
        other in SMA). `realistic`: which tissue part takes which dye decides, and some slides fail.
    section_um
        Distance of neighbouring sections in the block, um.
    lesions
        How often the usual number of painted areas there are: 1 gives about one of each class in a block of 4.3 mm2.
    lesion_strength
        How far lesions change the tissue at most; 0 leaves none, 1 is full.
    bend_um
        Standard deviation of each section's own bend on the glass, um.
    turn_deg
        Sections other than HE lie turned by up to this angle, degrees.
    half_turn_share
        Share of the sections other than HE that lie upside down besides.
    mirror_share
        Share of the sections other than HE that lie as a mirror image.
    stretch
        Standard deviation of a section's stretch in each direction, a fraction.
    tear
        Mean number of tears or lost corners a section.
    fold
        Mean number of folds a section.
    dye_variation
        Standard deviation of a dye's strength between slides, a fraction; half of it between patients besides.
    direction_deg
        Standard deviation of the turn of a slide's dye directions against the published ones, degrees.
    uneven
        Standard deviation of dye strength and thickness from place to place within a section, a fraction.
    noise
        Standard deviation of the camera's noise, grey levels.
    blur_um
        Standard deviation of the blur of a slide in focus, um.
    failed_share
        Share of the slides other than HE that fail when realistic: faintly stained or out of focus.
    """

    patients: Annotated[int, Interval(ge=1, le=1000)] = 10
    seed: Annotated[int, Interval(ge=0, le=2**31 - 1)] = 0
    width_um: Annotated[float, Interval(ge=200, le=60_000)] = 2400.0
    height_um: Annotated[float, Interval(ge=200, le=60_000)] = 1800.0
    um_per_px: Annotated[float, Interval(ge=0.2, le=8)] = 1.0
    difficulty: Literal["exclusive", "realistic"] = "realistic"
    section_um: Annotated[float, Interval(ge=0, le=50)] = 4.0
    lesions: Annotated[float, Interval(ge=0, le=4)] = 1.0
    lesion_strength: Share = 1.0
    bend_um: Annotated[float, Interval(ge=0, le=60)] = 12.0
    turn_deg: Annotated[float, Interval(ge=0, le=180)] = 25.0
    half_turn_share: Share = 0.05
    mirror_share: Share = 0.05
    stretch: Annotated[float, Interval(ge=0, le=0.1)] = 0.015
    tear: Annotated[float, Interval(ge=0, le=6)] = 0.5
    fold: Annotated[float, Interval(ge=0, le=6)] = 0.3
    dye_variation: Annotated[float, Interval(ge=0, le=0.6)] = 0.2
    direction_deg: Annotated[float, Interval(ge=0, le=10)] = 2.5
    uneven: Annotated[float, Interval(ge=0, le=0.5)] = 0.12
    noise: Annotated[float, Interval(ge=0, le=20)] = 2.0
    blur_um: Annotated[float, Interval(ge=0, le=5)] = 0.45
    failed_share: Share = 0.06
