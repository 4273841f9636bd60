"""A protocol of any stains and classes, and each mistake said with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stainloom.case.study import PROTOCOLS, Protocol
from stainloom.errors import CaseError
from stainloom.io.protocol import protocol_content, protocol_from_json, protocol_named

SMALL: dict[str, Any] = {
    "name": "kidney",
    "reference": "PAS",
    "stains": [
        {"name": "PAS"},
        {"name": "α-SMA", "words": ["asma"], "dyes": [{"name": "DAB", "direction": [0.3, 0.6, 0.8]}]},
    ],
    "lesions": [{"id": 7, "short": "GS", "name": "glomerulosclerosis", "color": "#0072B2"}],
}


def written(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
def test_built_in_protocols_round_trip(tmp_path: Path, protocol: Protocol) -> None:
    file = written(tmp_path / "p.json", protocol_content(protocol))
    assert protocol_from_json(file) == protocol == protocol_named(protocol.name)


def test_a_small_protocol_needs_few_words(tmp_path: Path) -> None:
    protocol = protocol_named(str(written(tmp_path / "kidney.json", SMALL)))
    assert [stain.name for stain in protocol.stains] == ["PAS", "α-SMA"]
    assert protocol.stains[0].words == ("pas",)
    assert protocol.stains[0].dyes == ()
    assert protocol.stains[1].dyes[0].direction == (0.3, 0.6, 0.8)
    assert protocol.lesions[0].id == 7
    assert protocol.lesions[0].on


def changed(place: str, value: Any) -> dict[str, Any]:
    content: Any = json.loads(json.dumps(SMALL))
    *way, last = [int(part) if part.isdigit() else part for part in place.split("/")]
    inner = content
    for part in way:
        inner = inner[part]
    if value is KeyError:
        del inner[last]
    else:
        inner[last] = value
    return content


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("name", KeyError, "name: Field required"),
        ("name", 7, "name: "),
        ("reference", "HE", "'HE'"),
        ("stains", [], "stains: "),
        ("stains", [{"name": f"S{n}"} for n in range(33)], "stains: "),
        ("stains/0/name", "", "stains[0].name: "),
        ("stains/1/name", "pas", "stains[1].name and stains[0].name"),
        ("stains/1/colour", "red", "stains[1].colour: Extra"),
        ("stains/1/dyes/0/direction", [0.1, 0.2], "stains[1].dyes[0].direction"),
        ("stains/1/dyes/0/direction/2", "blue", "stains[1].dyes[0].direction[2]: "),
        ("stains/1/dyes/0/direction/2", -1, "stains[1].dyes[0].direction[2]: "),
        ("stains/1/dyes", [{"name": "a", "direction": [1, 1, 1]}] * 4, "stains[1].dyes: "),
        ("lesions", [], "lesions: "),
        ("lesions/0/id", 0, "lesions[0].id: "),
        ("lesions/0/id", 256, "lesions[0].id: "),
        ("lesions/0/id", "7", "lesions[0].id: "),
        ("lesions/0/id", True, "lesions[0].id: "),
        ("lesions/0/color", "blue", "lesions[0].color: "),
        ("lesions/0/on", "yes", "lesions[0].on: "),
        ("lesions", SMALL["lesions"] * 2, "lesions[1].short and lesions[0].short"),
        ("lesions", [*SMALL["lesions"], SMALL["lesions"][0] | {"short": "X"}], "different ids"),
        ("extra", 1, "extra: Extra"),
    ],
)
def test_each_mistake_is_said_with_its_place(tmp_path: Path, place: str, value: Any, said: str) -> None:
    file = written(tmp_path / "mine.json", changed(place, value))
    with pytest.raises(CaseError, match=r"mine\.json") as caught:
        protocol_from_json(file)
    assert said in str(caught.value)


def test_a_name_that_is_no_protocol_is_refused() -> None:
    with pytest.raises(CaseError, match="aorta, lung"):
        protocol_named("kidney")


@settings(max_examples=20, deadline=None)
@given(names=st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=32, unique_by=str.casefold))
def test_any_number_of_stains_of_any_name(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    content = SMALL | {"stains": [{"name": name} for name in names], "reference": names[-1]}
    file = written(tmp_path_factory.getbasetemp() / "any.json", content)
    protocol = protocol_from_json(file)
    assert [stain.name for stain in protocol.stains] == names
    assert protocol_from_json(written(file, protocol_content(protocol))) == protocol


def test_a_dye_without_a_direction_is_refused(tmp_path: Path) -> None:
    content = protocol_content(PROTOCOLS[0])
    content["stains"][1]["dyes"][0]["direction"] = [0, 0, 0]
    file = tmp_path / "p.json"
    file.write_text(json.dumps(content))
    with pytest.raises(CaseError, match=r"AB-PAS.*not all 0"):
        protocol_from_json(file)
