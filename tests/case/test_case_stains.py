"""File names betray stains."""

import pytest

from stainloom.case.stains import LUNG_STAINS, STAINS, stain_in_name


@pytest.mark.parametrize(
    ("name", "stain"),
    [
        ("HE.jpg", "HE"),
        ("case7_AB-PAS.svs", "AB-PAS"),
        ("12_masson trichrome.ome.tif", "Masson"),
        ("P03-block2-SMA.tiff", "SMA"),
        ("EVG_P03.tif", "VG"),
        ("H&E.tif", "HE"),
        ("sheet.png", None),
        ("scan0001.tif", None),
        ("HE and SMA.tif", "SMA"),
    ],
)
def test_the_aorta_stains(name: str, stain: str | None) -> None:
    found = stain_in_name(name, STAINS)
    assert (found.name if found else None) == stain


@pytest.mark.parametrize("stain", ["HE", "CD31", "Cc10", "Ki67", "proSPC"])
def test_the_lung_stains(stain: str) -> None:
    found = stain_in_name(f"lesion3_{stain}.jpg", LUNG_STAINS)
    assert found is not None
    assert found.name == stain


def test_two_stains_of_equal_claim_are_nobodys() -> None:
    assert stain_in_name("SMA EVG.tif", STAINS) is None
