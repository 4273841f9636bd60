"""Tests of File > Open: what is taken, what is left to napari."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
import tifffile
from test_plugin_layers import small_case

from stainloom import jobs
from stainloom.geometry import Box
from stainloom.plugin import reader


@pytest.fixture
def study(tmp_path) -> Path:
    folder = tmp_path / "a study"
    (folder / "cases" / "P01-A").mkdir(parents=True)
    (folder / "study.json").touch()
    (folder / "cases" / "P01-A" / "case.json").touch()
    return folder


def test_a_study_and_a_case_are_known_by_folder_and_by_file(study):
    case = study / "cases" / "P01-A"
    for path in (study, study / "study.json"):
        assert reader.study_and_case(path) == (study, None)
        assert reader.get_reader(str(path)) is reader.read_case
    for path in (case, case / "case.json"):
        assert reader.study_and_case(path) == (study, "P01-A")
        assert reader.get_reader(str(path)) is reader.read_case


def test_other_folders_and_pictures_are_left_to_napari(study, tmp_path):
    for name in ("a.png", "b.jpg", "c.npy"):
        (tmp_path / name).touch()
        assert reader.get_reader(str(tmp_path / name)) is None
    assert reader.get_reader(str(tmp_path)) is None
    assert reader.get_reader(str(study / "cases")) is None
    assert reader.get_reader([str(study), str(study)]) is None


@pytest.mark.parametrize("name", ["a.svs", "a.TIF", "a.ome.tif", "a.tiff", "a.mrxs"])
def test_slides_are_taken_by_their_ending(tmp_path, name):
    assert reader.get_reader(str(tmp_path / name)) is None
    (tmp_path / name).touch()
    assert reader.get_reader(str(tmp_path / name)) is reader.read_slide


def test_a_case_becomes_layers_that_say_simulated(study, monkeypatch):
    asked = []

    def open_view(folder, case):
        asked.append((folder, case))
        return small_case()

    monkeypatch.setattr(jobs, "open_view", open_view, raising=False)
    layers = reader.read_case(str(study / "cases" / "P01-A"))
    assert asked == [(study, "P01-A")]
    assert [kind for _, _, kind in layers[:7]] == ["image"] * 6 + ["labels"]
    assert layers[0][1]["name"] == "HE (simulated)"


def test_a_slide_becomes_a_layer_in_um_and_is_closed_with_it(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (600, 700, 3), dtype=np.uint8)
    file = tmp_path / "one.ome.tif"
    tifffile.imwrite(
        file,
        pixels,
        tile=(256, 256),
        photometric="rgb",
        metadata={
            "axes": "YXS",
            "PhysicalSizeX": 0.5,
            "PhysicalSizeXUnit": "um",
            "PhysicalSizeY": 0.5,
            "PhysicalSizeYUnit": "um",
        },
    )
    (levels, keywords, kind) = reader.read_slide(str(file))[0]
    assert kind == "image"
    assert keywords["scale"] == (0.5, 0.5)
    assert keywords["units"] == ("um", "um")
    np.testing.assert_array_equal(levels[0][100:300, 200:600], pixels[100:300, 200:600])
    slide = levels[0]._draw["normalized"].__closure__
    opened = next(cell.cell_contents for cell in slide if hasattr(cell.cell_contents, "pyramid")).pyramid
    del levels, slide
    gc.collect()
    with pytest.raises(ValueError):
        opened.read(0, Box(0, 0, 8, 8))
