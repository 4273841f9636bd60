"""A real five-stain case for the demo: where it is published, what its files hash to, and two outlines drawn by us."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable

HOME = "https://raw.githubusercontent.com/Borda/dataset-histology-landmarks/8413e09e1e53b0e6fc101ae9d7b760c47cc20c77"
"""Borovec et al., ICIP 2018, doi 10.1109/ICIP.2018.8451040; BSD-3-Clause. One mouse-lung lesion, five serial sections."""

FOLDER = "lung-lesion-3"
"""Below the data folder: one picture a stain, `landmarks/STAIN.csv`."""

UM_PER_PX = 3.48
"""Not stated by the repository: the ANHIR challenge gives 0.174 um/px for the full scan; the pictures are at 1/20."""

LANDMARK_SCALE = 0.1
"""Landmarks are in px of the scan at half size; times this they are px of the pictures, counted from the corner."""

PATIENT = "mouse-1"
STAINS = ("HE", "CD31", "Cc10", "Ki67", "proSPC")

_SLIDES = {
    "HE": ("29-041-Izd2-w35-He-les3", "c7f22d21fe424492bc668ed7da437586ceb17f7baffb0f57491fbf82bd2336ae", 317793),
    "CD31": ("29-041-Izd2-w35-CD31-3-les3", "a02e4d6a0dc38338a6036afa05c68b25ab5a9976966d458b4255a307da4e7831", 298635),
    "Cc10": ("29-041-Izd2-w35-Cc10-5-les3", "19999feb833ef04f9ea7daa936bc99beb85a52c6fb5765106a279a05d69fabf4", 206753),
    "Ki67": ("29-041-Izd2-w35-Ki67-7-les3", "9431fd34b0312b74ea9db1e48139d9822949480a649759e1dfc55d265bde5857", 321091),
    "proSPC": (
        "29-041-Izd2-w35-proSPC-4-les3",
        "16a177b24cbb981b2151d9cb2ee320dd608173800010f3b30b034a013f2a97c0",
        250133,
    ),
}
_LANDMARKS = {
    "HE": ("d04bbf83ac6987ac78e425aa69d41b1a1512658d572f4d335fb18ae1b1283614", 1024),
    "CD31": ("f78dc6b7cc6d7409b13428591824656b13713bc02c59a798efff061cf04deea7", 1032),
    "Cc10": ("9aedffa11041c56ca6b2891f2f23fd02e53be4b10438fd1b16df00fe8c773c9a", 1024),
    "Ki67": ("8e1b9477aff6db4490c9789adc4538078841edd15daa4bdd776a3192c5c1ef93", 1026),
    "proSPC": ("35e63dd881d2ebda89a6651953b8419f80f7b44c0361b91a64d31dbf3893dd57", 1029),
}


def published_files() -> tuple[tuple[str, str, str, int], ...]:
    """(path below `FOLDER`, address below `HOME`, SHA-256, bytes) of each picture and landmark file."""
    slides = [
        (f"{stain}.jpg", f"dataset/lung-lesion_3/scale-5pc/{name}.jpg", sha256, size)
        for stain, (name, sha256, size) in _SLIDES.items()
    ]
    landmarks = [
        (
            f"landmarks/{stain}.csv",
            f"annotations/lung-lesion_3/user-PS_scale-50pc/{_SLIDES[stain][0]}.csv",
            sha256,
            size,
        )
        for stain, (sha256, size) in _LANDMARKS.items()
    ]
    return tuple(slides + landmarks)


def outlines() -> Traversable:
    """GeoJSON, as QuPath writes it: two outlines on HE, in its px. Drawn by us to have something to carry; no diagnosis."""
    return files("stainloom.sample") / "lung-outlines.geojson"
