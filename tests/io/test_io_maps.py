"""Maps on disk: back by box, in the right place, and never a way in."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stainloom.case.lesions import LESIONS
from stainloom.errors import CaseError
from stainloom.geometry import Box, Size
from stainloom.io.maps import MapFacts, lay_over, list_maps, maps_id, open_maps, save_maps

FACTS = MapFacts(
    run="20260101-000000-abcdef",
    stains=("HE", "VG"),
    classes=LESIONS[:3],
    um_per_px=(14.0, 14.0),
    origin_um=(-3.5, 70.0),
    warps={"VG": "0123456789abcdef"},
    simulated=True,
    extra={"stride_px": 14},
)


def made(rows: int, cols: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 4, (rows, cols)).astype(np.uint8)
    there = classes > 0
    probabilities = rng.dirichlet([1, 1, 1], (rows, cols)).transpose(2, 0, 1) * there
    weights = rng.random((2, rows, cols)) * there
    return classes, probabilities.astype(np.float32), weights.astype(np.float32)


@pytest.fixture
def saved(tmp_path):
    arrays = made(530, 300)
    return save_maps(tmp_path / "maps", FACTS, *arrays), arrays


def test_maps_come_back_with_what_they_are_made_of(saved):
    folder, (classes, probabilities, weights) = saved
    maps = open_maps(folder)
    assert maps.facts == FACTS
    assert list_maps(folder.parent) == (FACTS.run,)
    assert np.array_equal(maps.class_map.whole(), classes)
    assert np.abs(maps.probabilities.whole() / 255 - probabilities).max() <= 0.5 / 255 + 1e-6
    assert np.abs(maps.weights.whole() / 255 - weights).max() <= 0.5 / 255 + 1e-6
    assert [size.shape for size in maps.class_map.levels] == [(530, 300), (265, 150), (133, 75)]


def test_one_layer_and_one_pixel_are_those_of_the_whole(saved):
    maps = open_maps(saved[0])
    for one in _all(maps):
        everything = one.whole().reshape(max(1, one.depth), 530, 300)
        for number in range(one.depth):
            assert np.array_equal(one.plane(number), everything[number])
        for row, col in ((0, 0), (511, 299), (512, 0), (529, 123)):
            assert np.array_equal(one.at(row, col), everything[:, row, col])
        assert not one.at(-1, 5).any()
        assert not one.at(3, 300).any()


def test_a_pixel_of_maps_that_are_gone_is_0(saved):
    maps = open_maps(saved[0])
    shutil.rmtree(saved[0])
    assert not maps.weights.at(3, 3).any()


def test_parts_laid_over_one_another_equal_the_whole_on_every_level(saved, tmp_path):
    folder, (classes, probabilities, weights) = saved
    whole, size, parent = open_maps(folder), Size(530, 300), tmp_path / "parts"
    keep = None
    # The last one lies over the first, and parts begin and end at odd pixels, so that blocks of the pyramid are shared.
    for box in (Box(0, 0, 201, 155), Box(201, 0, 329, 155), Box(0, 155, 530, 145), Box(100, 33, 77, 201)):
        spot = box.within(Box(0, 0, 0, 0))
        part = classes[spot], probabilities[:, spot[0], spot[1]], weights[:, spot[0], spot[1]]
        keep = open_maps(lay_over(parent, FACTS, size, (box.row, box.col), *part, keep=keep))
    for one, other in zip(_all(whole), _all(keep), strict=True):
        for level in range(len(one.levels)):
            assert np.array_equal(one.whole(level), other.whole(level))


def test_a_part_alone_is_0_elsewhere_and_says_nothing_where_it_predicted_nothing(saved, tmp_path):
    _, (classes, probabilities, weights) = saved
    part = classes[:40, :40], probabilities[:, :40, :40], weights[:, :40, :40]
    parent = tmp_path / "parts"
    keep = open_maps(lay_over(parent, FACTS, Size(530, 300), (0, 0), *part))
    assert np.array_equal(keep.class_map.whole()[:40, :40], part[0])
    assert not keep.class_map.whole()[40:].any()
    nothing = [np.zeros_like(array) for array in part]
    after = open_maps(lay_over(parent, FACTS, Size(530, 300), (0, 0), *nothing, keep=keep))
    assert np.array_equal(after.weights.whole()[:, :40, :40], np.round(part[2] * 255))
    with pytest.raises(ValueError, match="lies within"):
        lay_over(parent, FACTS, Size(530, 300), (500, 0), *part)


def test_maps_have_an_id_that_changes_with_what_they_hold(tmp_path):
    one, other = made(30, 40), made(30, 40, seed=1)
    ids = [maps_id(save_maps(tmp_path / name, FACTS, *arrays)) for name, arrays in zip("abc", (one, one, other))]
    assert ids[0] == ids[1] != ids[2]
    part = tuple(array[..., :10, :10] for array in other)
    saved_maps = open_maps(tmp_path / "a" / FACTS.run)
    assert saved_maps.facts.id == ids[0]
    after = maps_id(lay_over(tmp_path / "a", FACTS, Size(30, 40), (0, 0), *part, keep=saved_maps))
    assert after not in ids
    assert maps_id(tmp_path / "nowhere") == ""


def test_a_box_equals_that_box_of_the_whole_and_0_outside(saved):
    folder, _ = saved
    maps = open_maps(folder)
    whole = {id(one): np.pad(one.whole(), [(0, 0)] * (one.depth > 0) + [(60, 60)] * 2) for one in _all(maps)}

    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.integers(-50, 540), st.integers(-50, 310), st.integers(1, 50), st.integers(1, 50))
    def check(row, col, rows, cols):
        for one in _all(maps):
            box = Box(row, col, rows, cols)
            expected = whole[id(one)][..., row + 60 : row + 60 + rows, col + 60 : col + 60 + cols]
            found = one.read(0, box)
            assert np.array_equal(found[..., : expected.shape[-2], : expected.shape[-1]], expected)
            assert found.shape[-2:] == (rows, cols)

    check()


def _all(maps):
    return (maps.class_map, maps.probabilities, maps.weights)


def test_levels_are_majorities_and_means_over_what_was_predicted(tmp_path):
    classes = np.zeros((300, 300), np.uint8)
    classes[0:2, 0:2] = [[1, 2], [2, 0]]
    classes[2, 2] = 3
    weights = np.zeros((2, 300, 300), np.float32)
    weights[0, 0:2, 0:2] = [[0.2, 0.4], [0.6, 0.0]]
    weights[1, 2, 2] = 1.0
    probabilities = np.zeros((3, 300, 300), np.float32)
    maps = open_maps(save_maps(tmp_path, FACTS, classes, probabilities, weights))
    coarse = maps.class_map.whole(1)
    assert coarse[0, 0] == 2
    assert coarse[1, 1] == 3
    assert np.count_nonzero(coarse) == 2
    assert maps.weights.whole(1)[0, 0, 0] == round(255 * 0.4)
    assert maps.weights.whole(1)[1, 1, 1] == 255


def test_other_programs_find_scale_and_place(saved):
    folder, _ = saved
    group = zarr.open_group(folder / "weights", mode="r")
    (picture,) = group.attrs["ome"]["multiscales"]
    assert group.attrs["ome"]["version"] == "0.5"
    assert [axis["name"] for axis in picture["axes"]] == ["c", "y", "x"]
    assert all(axis["unit"] == "micrometer" for axis in picture["axes"][1:])
    for level, entry in enumerate(picture["datasets"]):
        scale, move = entry["coordinateTransformations"]
        assert scale["scale"] == [1.0, 14.0 * 2**level, 14.0 * 2**level]
        # The centre of pixel (0, 0), whose outer corner lies at the origin on every level.
        assert move["translation"] == [0.0, -3.5 + 7 * 2**level, 70 + 7 * 2**level]
        assert group[entry["path"]].shape[1:] == open_maps(folder).weights.levels[level].shape


def test_new_maps_of_a_run_replace_the_old_and_a_failure_keeps_them(saved):
    folder, (classes, probabilities, weights) = saved
    other = np.roll(classes, 1, axis=0)
    save_maps(folder.parent, FACTS, other, probabilities, weights)
    assert np.array_equal(open_maps(folder).class_map.whole(), other)
    bad = MapFacts(**{**FACTS.__dict__, "extra": {"bad": object()}})
    with pytest.raises(TypeError):
        save_maps(folder.parent, bad, classes, probabilities, weights)
    assert np.array_equal(open_maps(folder).class_map.whole(), other)
    assert [path.name for path in folder.parent.iterdir()] == [FACTS.run]


def test_wrong_arrays_are_a_programmers_mistake(tmp_path):
    classes, probabilities, weights = made(8, 9)
    with pytest.raises(ValueError, match="other than"):
        save_maps(tmp_path, FACTS, classes + 10, probabilities, weights)
    with pytest.raises(ValueError, match="weights have shape"):
        save_maps(tmp_path, FACTS, classes, probabilities, weights[:1])
    with pytest.raises(ValueError, match="within 0 and 1"):
        save_maps(tmp_path, FACTS, classes, probabilities * 2, weights)
    assert list(tmp_path.iterdir()) == []


def edit(path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(codecs=[{"name": "numcodecs.pickle", "configuration": {}}]),
        lambda c: c.update(codecs=[{"name": "bytes"}, {"name": "zstd", "configuration": {"level": 0}}]),
        lambda c: c.update(data_type="float64"),
        lambda c: c.update(shape=[10**9, 10**9]),
        lambda c: c.update(zarr_format=2),
        lambda c: c["chunk_grid"]["configuration"].update(chunk_shape=[10**6, 10**6]),
        lambda c: c["chunk_grid"].update(name="rectangular"),
        lambda c: c.pop("chunk_grid"),
        lambda c: c.update(storage_transformers=[{"name": "x"}]),
    ],
)
def test_an_array_of_any_other_kind_is_never_opened(saved, change):
    folder, _ = saved
    edit(folder / "class" / "0" / "zarr.json", change)
    with pytest.raises(CaseError, match="not whole"):
        open_maps(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(version=9), "newer"),
        (lambda c: c.update(format="other"), "format"),
        (lambda c: c.update(rows=10**12), "rows"),
        (lambda c: c.update(rows=531), "not whole"),
        (lambda c: c.update(run="../../up"), "run"),
        (lambda c: c.update(um_per_px=[0, 1]), "um_per_px"),
        (lambda c: c.update(stains=["HE"]), "not whole"),
    ],
)
def test_wrong_facts_are_refused(saved, change, message):
    folder, _ = saved
    edit(folder / "maps.json", change)
    with pytest.raises(CaseError, match=message):
        open_maps(folder)


def test_a_chunk_of_the_wrong_size_is_an_error_not_a_picture(saved):
    folder, _ = saved
    chunk = next(path for path in (folder / "class" / "0" / "c").rglob("*") if path.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-5])
    with pytest.raises(CaseError, match="not whole"):
        open_maps(folder).class_map.whole()


def test_a_link_in_the_tree_is_not_followed(saved, tmp_path):
    folder, _ = saved
    chunk = next(path for path in (folder / "class" / "0" / "c").rglob("*") if path.is_file())
    chunk.rename(tmp_path / "chunk")
    chunk.symlink_to(tmp_path / "chunk")
    with pytest.raises(CaseError, match="link"):
        open_maps(folder)
