"""The real case of the demo."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from stainloom.sample.real import FOLDER, STAINS, outlines, published_files


@pytest.mark.real
def test_the_published_hashes_are_those_of_the_real_files(real_data: Path) -> None:
    for path, _, sha256, size in published_files():
        data = (real_data / FOLDER / path).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (sha256, size)


def test_a_picture_and_landmarks_for_each_stain() -> None:
    paths = {path for path, *_ in published_files()}
    assert paths == {f"{s}.jpg" for s in STAINS} | {f"landmarks/{s}.csv" for s in STAINS}


def test_two_outlines_are_shipped_with_the_package() -> None:
    features = json.loads(outlines().read_text())["features"]
    assert [f["properties"]["classification"]["name"] for f in features] == ["lesion", "normal"]
    for feature in features:
        ring = feature["geometry"]["coordinates"][0]
        assert ring[0] == ring[-1]
        assert all(0 <= x <= 892 and 0 <= y <= 661 for x, y in ring)
