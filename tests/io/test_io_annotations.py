"""GeoJSON in and out: as QuPath writes it, unchanged where nothing was edited, refused where it is broken."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stainloom.errors import LabelError
from stainloom.geometry import Size, whole
from stainloom.io import annotations
from stainloom.io.annotations import Annotation, feature_text, read_geojson, write_geojson
from stainloom.io.strokelog import LabelObject
from stainloom.io.strokes import LabelStore
from stainloom.labels.polygons import fill_parts, rescale

SQUARE = [[10, 20], [30, 20], [30, 40], [10, 40], [10, 20]]
HOLE = [[15, 25], [20, 25], [20, 30], [15, 30], [15, 25]]


def feature(kind: str, coordinates: Any, **properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": "8ad9b3f9-a5a3-4a3e-9e3b-3a8f7f0c6f10",
        "geometry": {"type": kind, "coordinates": coordinates},
        "properties": properties,
    }


def written(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "objects.geojson"


def test_a_polygon_with_a_hole_and_its_class(file: Path) -> None:
    one = feature(
        "Polygon",
        [SQUARE, HOLE],
        objectType="annotation",
        name="spot",
        classification={"name": "MEMA", "color": [86, 180, 233]},
        isLocked=True,
    )
    (found,) = read_geojson(written(file, {"type": "FeatureCollection", "features": [one]}))
    assert (found.geometry, found.class_name, found.colour, found.name) == ("Polygon", "MEMA", (86, 180, 233), "spot")
    assert (found.kind, found.id, found.is_mark) == ("annotation", one["id"], False)
    assert found.properties == one["properties"]
    outer, hole = found.parts[0]
    # X, Y in the file; (row, col) here.
    np.testing.assert_array_equal(outer, [[20, 10], [20, 30], [40, 30], [40, 10], [20, 10]])
    np.testing.assert_array_equal(hole[1], [25, 20])
    _, mask = fill_parts(found.parts, Size(50, 50))
    assert mask.sum() == 20 * 20 - 5 * 5


def test_the_three_forms_of_a_file_and_all_kinds(file: Path) -> None:
    shift = np.array(SQUARE) + 100
    several = [
        feature("MultiPolygon", [[SQUARE, HOLE], [shift.tolist()]]),
        feature("Point", [3.5, 4]),
        feature("MultiPoint", [[1, 2], [3, 4, 9]]),
        feature("LineString", [[1, 2], [3, 4]]),
        feature("MultiLineString", [[[1, 2], [3, 4]], [[5, 6], [7, 8], [9, 9]]]),
    ]
    as_list = read_geojson(written(file, several))
    assert [found.geometry for found in as_list] == [one["geometry"]["type"] for one in several]
    assert [found.is_mark for found in as_list] == [False, True, True, True, True]
    assert [[len(ring) for part in found.parts for ring in part] for found in as_list] == [
        [5, 5, 5],
        [1],
        [2],
        [2],
        [2, 3],
    ]
    np.testing.assert_array_equal(as_list[1].parts[0][0], [[4, 3.5]])
    text = '\ufeff {"features" :\n' + json.dumps(several) + ', "type": "FeatureCollection", "bbox": [0, 1]}\n'
    as_collection = read_geojson(written(file, text))
    assert [json.loads(found.text) for found in as_collection] == several
    (single,) = read_geojson(written(file, several[0]))
    assert json.loads(single.text) == several[0]
    assert read_geojson(written(file, "[]")) == ()
    assert read_geojson(written(file, '{"type":"FeatureCollection","features":[]}')) == ()


def test_classes_and_colours_of_older_and_newer_files(file: Path) -> None:
    several = [
        feature("Polygon", [SQUARE], classification={"name": "Nucleus", "colorRGB": -4689085}),
        feature("Polygon", [SQUARE], classification={"names": ["Tumor", "Positive"], "color": [1, 2, 3]}),
        feature("Polygon", [SQUARE], color=[7, 8, 9], object_type="detection"),
        feature("Polygon", [SQUARE], classification=None, color=[700, 8, 9]),
        {**feature("Polygon", [SQUARE]), "properties": None, "id": 7},
    ]
    found = read_geojson(written(file, several))
    assert [(one.class_name, one.colour, one.kind) for one in found] == [
        ("Nucleus", (184, 115, 67), "annotation"),
        ("Tumor: Positive", (1, 2, 3), "annotation"),
        (None, (7, 8, 9), "detection"),
        (None, None, "annotation"),
        (None, None, "annotation"),
    ]
    assert found[4].id == "7"


def test_objects_are_written_again_to_the_letter(file: Path, tmp_path: Path) -> None:
    text = (
        '{ "type":"Feature", "geometry": {"type":"Polygon","coordinates":[[[1.50,2],[1e1,2],[10,20.000],[1.50,2]]]},\n'
        '  "properties": {"isLocked":false, "ä": "\\u00e4", "measurements": [{"name":"A","value":0.10}]}, "id":"x" }'
    )
    found = read_geojson(written(file, f"[{text},\n {text}]"))
    target = tmp_path / "out.geojson"
    write_geojson(target, found)
    assert target.read_text(encoding="utf-8").count(text) == 2
    assert [one.text for one in read_geojson(target)] == [text, text]


def test_a_new_object_is_written_as_qupath_does(file: Path) -> None:
    ring = np.array([[20, 10], [20, 30.25], [40, 30], [40, 10]], np.float64)
    one = Annotation("MultiPolygon", ((ring,),), class_name="MEMA", colour=(86, 180, 233), name="spot")
    two = Annotation("MultiPolygon", ((ring,), (ring + 50, ring[:3] + 55)), class_name="MEMA")
    write_geojson(file, [one, two])
    content = json.loads(file.read_text())
    assert content["type"] == "FeatureCollection"
    first, second = content["features"]
    assert first["geometry"] == {
        "type": "Polygon",
        "coordinates": [[[10, 20], [30.25, 20], [30, 40], [10, 40], [10, 20]]],
    }
    assert first["properties"] == {
        "objectType": "annotation",
        "name": "spot",
        "classification": {"name": "MEMA", "color": [86, 180, 233]},
    }
    assert uuid.UUID(first["id"]) != uuid.UUID(second["id"])
    assert second["geometry"]["type"] == "MultiPolygon"
    assert [len(part) for part in second["geometry"]["coordinates"]] == [1, 2]
    again = read_geojson(file)
    assert (again[0].class_name, again[0].colour) == ("MEMA", (86, 180, 233))
    np.testing.assert_array_equal(again[0].parts[0][0][:-1], ring)
    content_before = file.read_bytes()
    write_geojson(file, [one, two])
    assert file.read_bytes() == content_before
    mark = Annotation("Point", ((np.array([[4, 3.5]]),),))
    assert json.loads(feature_text(mark))["geometry"] == {"type": "Point", "coordinates": [3.5, 4]}
    line = Annotation("LineString", ((ring,),))
    assert json.loads(feature_text(line))["geometry"]["coordinates"][1] == [30.25, 20]
    with pytest.raises(ValueError, match="without a part"):
        write_geojson(file, [Annotation("Polygon", ())])
    with pytest.raises(ValueError, match="JSON"):
        feature_text(Annotation("Point", ((np.array([[np.nan, 1]]),),)))
    assert file.read_bytes() == content_before


GOOD = json.dumps(feature("Polygon", [SQUARE]))


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        (feature("Polygon", [SQUARE[:-1]]), "not closed"),
        (feature("Polygon", [SQUARE[:2] + SQUARE[:1]]), "3 points"),
        (feature("Polygon", []), "empty"),
        (feature("Polygon", [[[1, 2], [3], [4, 5], [1, 2]]]), "not X, Y"),
        (feature("Polygon", [[[1, 2], ["3", 3], [4, 5], [1, 2]]]), "no number"),
        (feature("Polygon", [[[1, 2], [True, 3], [4, 5], [1, 2]]]), "no number"),
        (feature("Polygon", "SQUARE"), "no list"),
        (feature("Circle", [1, 2]), "Circle"),
        ({"type": "Feature", "geometry": None}, "no geometry"),
        ({"type": "Fixture"}, "no Feature"),
        (7, "no Feature"),
        (GOOD.replace("[10", "[NaN", 1), "NaN"),
        (GOOD.replace("[10", "[-Infinity", 1), "Infinity"),
        (GOOD.replace("[10", "[1e400", 1), "too large"),
        (GOOD.replace("[10", "[" + "9" * 400, 1), "too large"),
        (GOOD.replace("{}", '{"a": 1e400}'), "too large"),
        (GOOD.replace("{}", '{"name": "\\ud800"}'), "surrogates"),
        (GOOD.replace("{}", '{"a": ' + "[" * 100_000), "nested too deep"),
        (GOOD[:-20], "no JSON"),
        ("", "no JSON"),
    ],
)
def test_a_broken_feature_is_named_by_its_number(file: Path, bad: Any, found: str) -> None:
    text = bad if isinstance(bad, str) else json.dumps(bad)
    with pytest.raises(LabelError, match=r"feature 3 of objects\.geojson") as told:
        read_geojson(written(file, f"[{GOOD},{GOOD},{text}"))
    assert found in str(told.value.found)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "nothing",
        '"text"',
        '{"type": "FeatureCollection"}',
        '{"type": "Topology", "features": []}',
        '{"features": []}',
        '{"type": "FeatureCollection", "features": 7}',
        '{"type": "FeatureCollection", "features": [], "features": []}',
        '{"type": "FeatureCollection" "features": []}',
        f"[{GOOD}] and more",
        f"[{GOOD}",
        f"[{GOOD} {GOOD}]",
        '{"type": "FeatureCollection", "features": [',
    ],
)
def test_what_is_no_geojson_is_refused(file: Path, text: str) -> None:
    with pytest.raises(LabelError, match=r"objects\.geojson"):
        read_geojson(written(file, text))


def test_limits_are_kept(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(file, f"[{GOOD},{GOOD},{GOOD}]")
    assert len(read_geojson(file)) == 3
    for limit, most, said in (
        ("MOST_OBJECTS", 2, "more than 2 objects"),
        ("MOST_VERTICES", 14, "more than 14 points"),
        ("MOST_BYTES", 200, "MB"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(annotations, limit, most)
            with pytest.raises(LabelError) as told:
                read_geojson(file)
            assert said in str(told.value.found)
    file.write_bytes(b"[\xff]")
    with pytest.raises(LabelError, match="UTF-8"):
        read_geojson(file)
    with pytest.raises(LabelError, match="not there"):
        read_geojson(file.with_name("none.geojson"))


# Import, paint, export


def imported(store: LabelStore, found: tuple[Annotation, ...], slide_um: float) -> None:
    """What the import of a case does: one stroke, the objects beside it."""
    before = store.raster()
    after = before.copy()
    objects = []
    for one in found:
        parts = () if one.is_mark else rescale(one.parts, slide_um, store.um_per_px)
        box, mask = fill_parts(parts, store.size)
        after[box.within(whole(store.size))][mask] = 1
        objects.append(LabelObject(one.text, 0 if one.is_mark else 1, box, mask))
    store.paint(whole(store.size), before, after, what="import", class_id=0, objects=objects)


def test_what_was_imported_leaves_unchanged_until_it_is_edited(file: Path, tmp_path: Path) -> None:
    far = (np.array(SQUARE) + [60.5, 0]).tolist()
    found = read_geojson(
        written(file, [feature("Polygon", [SQUARE, HOLE]), feature("Polygon", [far]), feature("Point", [1, 1])])
    )
    with LabelStore.open(tmp_path / "labels.sqlite", Size(50, 60), 2.0, author="Ana") as store:
        imported(store, found, 1.0)
        assert [kept.text for kept in store.objects] == [one.text for one in found]
        box = store.objects[1].box
        store.paint(box, store.read(box), np.zeros(box.shape, np.uint8), what="erase", class_id=0)
        assert [kept.text for kept in store.objects] == [found[0].text, found[2].text]


@pytest.mark.real
def test_real_qupath_files_leave_as_they_came(real_data: Path, tmp_path: Path) -> None:
    files = sorted((real_data / "annotations").glob("qupath_geojson*/*.json"))
    assert len(files) == 10
    painted = 0
    for number, source in enumerate(files):
        found = read_geojson(source)
        content = json.loads(source.read_text())
        target = tmp_path / f"{number}.geojson"
        with LabelStore.open(tmp_path / f"{number}.sqlite", Size(2600, 3400), 8.0, author="Ana") as store:
            imported(store, found, 1.0)
            painted += int(np.count_nonzero(store.raster()))
        with LabelStore.open(tmp_path / f"{number}.sqlite", Size(2600, 3400), 8.0, author="Ana") as store:
            kept = [read_geojson(written(tmp_path / "one.json", one.text))[0] for one in store.objects]
        write_geojson(target, kept)
        exported = json.loads(target.read_text())["features"]
        assert exported == (content if isinstance(content, list) else [content])
        for one in found:
            assert one.text in source.read_text()
            assert one.text in target.read_text()
    assert painted > 2900
