"""Protocols, studies and classes."""

import dataclasses

import pytest

from stainloom.case.lesions import LESIONS, LesionClass
from stainloom.case.study import PROTOCOLS, Protocol, Study
from stainloom.errors import CaseError


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: p.name)
def test_every_protocol_is_whole(protocol: Protocol) -> None:
    study = Study(protocol)
    assert study.reference in study.stain_names
    assert study.reference not in study.moving
    assert len(study.moving) == 4
    assert study.classes
    assert len({lesion.color for lesion in study.lesions}) == len(study.lesions)
    for stain in study.stains:
        assert 1 <= len(stain.dyes) <= 3


def test_the_aorta_classes_in_use_are_four_lesions_other_and_normal() -> None:
    assert [lesion.short for lesion in LESIONS if lesion.on] == ["MEMA", "EFFL", "SMNL", "MF", "other", "normal"]


def test_what_a_study_has_not_is_said_with_what_it_has() -> None:
    study = Study(PROTOCOLS[0])
    with pytest.raises(CaseError, match="AB-PAS"):
        study.stain("PAS")
    with pytest.raises(CaseError, match="MEMA"):
        study.lesion("X")
    assert study.lesion("MF").id == 4


def test_mistaken_protocols_and_classes_are_refused() -> None:
    aorta = PROTOCOLS[0]
    with pytest.raises(ValueError, match="reference"):
        dataclasses.replace(aorta, reference="X")
    with pytest.raises(ValueError, match="different"):
        dataclasses.replace(aorta, stains=aorta.stains[:1] * 2)
    with pytest.raises(ValueError, match="different ids"):
        dataclasses.replace(aorta, lesions=aorta.lesions[:1] * 2)
    with pytest.raises(ValueError, match="colour"):
        LesionClass(1, "a", "b", "red")
    with pytest.raises(ValueError, match="id"):
        LesionClass(0, "a", "b", "#112233")
    assert LesionClass(1, "a", "b", "#112233").rgb == (0x11, 0x22, 0x33)
