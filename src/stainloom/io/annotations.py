"""Annotation files of pathologists: GeoJSON as QuPath reads and writes it."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stainloom.errors import LabelError
from stainloom.geometry import Points
from stainloom.io.files import disk_errors, finite, no_constant, whole_number, write_whole

MOST_BYTES = 256 << 20
MOST_OBJECTS = 1_000_000
MOST_VERTICES = 50_000_000

Geometry = Literal["Polygon", "MultiPolygon", "Point", "MultiPoint", "LineString", "MultiLineString"]
_BLANK = re.compile(r"[ \t\r\n]*")
_NAMESPACE = uuid.UUID("6a1d2c1e-6f0e-5d0b-9a55-5b7b6b2f4d11")
_AREAS = ("Polygon", "MultiPolygon")


@dataclass(frozen=True, eq=False)
class Annotation:
    """One object of an annotation file.

    Attributes
    ----------
    geometry
        Its kind, as GeoJSON names it. Only polygons can become paint; points and lines are marks.
    parts
        A polygon's parts: each its outer ring, then its holes. A mark: one part; of points a ring of all points, of
        lines one ring a line. Each ring is (n, 2) float64, (row, col), px of the slide's level 0 counted from the
        slide's outer corner (Y, X of the file); rings of polygons are closed.
    class_name
        Its classification, None where it has none. Of derived classes (`Tumor: Positive`) the whole name.
    colour
        Red, green, blue of its class, else of the object, 0 to 255; None where the file gives none.
    name
        Its own name, if any.
    id
        Its id in the file; empty where it has none.
    kind
        QuPath's object type: annotation, detection, cell, ...; `annotation` where the file says nothing.
    properties
        All properties, as they stood in the file.
    text
        The feature as it stood in the file: written again unchanged. Empty for an object made here.
    """

    geometry: Geometry
    parts: tuple[tuple[Points, ...], ...]
    class_name: str | None = None
    colour: tuple[int, int, int] | None = None
    name: str | None = None
    id: str = ""
    kind: str = "annotation"
    properties: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""

    @property
    def is_mark(self) -> bool:
        """Whether it is a point or a line, which never becomes paint."""
        return self.geometry not in _AREAS


def read_geojson(path: Path) -> tuple[Annotation, ...]:
    """Read the objects of a GeoJSON file: a FeatureCollection, a list of features, or one feature.

    Parameters
    ----------
    path
        The file: not trusted. At most 256 MB, a million objects, 50 million points.

    Raises
    ------
    LabelError
        Naming the file and the number of the feature (from 1): no JSON, a number that is none or too large, a geometry
        of another kind, rings with fewer than four points or not closed, limits passed.

    Notes
    -----
    A third coordinate is left out of the rings and stays in `text`. Ellipses and rectangles come as the polygons that
    QuPath writes.
    """
    with disk_errors(path, LabelError), open(path, "rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise _refused(path, f"more than {MOST_BYTES >> 20} MB", None)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(path, f"no UTF-8 ({error.reason} at byte {error.start})", None) from error
    del data
    result: list[Annotation] = []
    vertices = 0
    try:
        for feature, start, stop in _features(text):
            if len(result) == MOST_OBJECTS:
                raise ValueError(f"more than {MOST_OBJECTS} objects")
            with _in_feature():
                annotation = _annotation(feature, text[start:stop])
            vertices += sum(len(ring) for part in annotation.parts for ring in part)
            if vertices > MOST_VERTICES:
                raise ValueError(f"more than {MOST_VERTICES} points")
            result.append(annotation)
    except (ValueError, RecursionError) as error:
        number = len(result) + 1 if isinstance(error, _FeatureError) else None
        raise _refused(path, _reason(error), number) from error
    return tuple(result)


class _FeatureError(ValueError):
    """Something is wrong inside one feature."""


@contextmanager
def _in_feature() -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise _FeatureError(_reason(error)) from error


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deep"
    if isinstance(error, json.JSONDecodeError):
        return f"no JSON: {error.msg} in line {error.lineno}, column {error.colno}"
    return str(error)


def _refused(path: Path, found: str, number: int | None) -> LabelError:
    where = f"feature {number} of {path.name}" if number is not None else path.name
    return LabelError(
        f"{where} cannot be imported, and nothing of the file was",
        slide=path.name,
        expected="GeoJSON as QuPath exports it",
        found=found,
        next="export it again from QuPath (File > Export objects as GeoJSON)",
    )


_DECODER = json.JSONDecoder(parse_constant=no_constant, parse_float=finite, parse_int=whole_number)


def _features(text: str) -> Iterator[tuple[Any, int, int]]:
    """Each feature with the place of its text, one at a time: the whole file is never held as Python objects."""
    start = place = _skip(text, 0)
    if text.startswith("[", place):
        place = yield from _items(text, place)
        _at_end(text, place)
        return
    place = _expect(text, place, "{")
    kind, found, first = None, False, True
    while not text.startswith("}", place):
        if not first:
            place = _expect(text, place, ",")
        _expect(text, place, '"')
        key, place = _DECODER.raw_decode(text, place)
        place = _expect(text, _skip(text, place), ":")
        if key == "features":
            if found or not text.startswith("[", place):
                raise ValueError("features that are no list, or stand there twice")
            found = True
            place = yield from _items(text, place)
        else:
            value, place = _DECODER.raw_decode(text, place)
            kind = value if key == "type" else kind
        place, first = _skip(text, place), False
    _at_end(text, place + 1)
    if kind == "Feature" and not found:
        yield _DECODER.raw_decode(text, start)[0], start, place + 1
    elif kind != "FeatureCollection" or not found:
        raise ValueError(f"an object of type {kind!r}, not a FeatureCollection, a list of features or one Feature")


def _items(text: str, place: int) -> Generator[tuple[Any, int, int], None, int]:
    place = _expect(text, place, "[")
    first = True
    while not text.startswith("]", place):
        if not first:
            place = _expect(text, place, ",")
        with _in_feature():
            value, stop = _DECODER.raw_decode(text, place)
        yield value, place, stop
        place, first = _skip(text, stop), False
    return _skip(text, place + 1)


def _skip(text: str, place: int) -> int:
    match = _BLANK.match(text, place)
    return match.end() if match else place


def _expect(text: str, place: int, sign: str) -> int:
    if not text.startswith(sign, place):
        raise json.JSONDecodeError(f"{sign} expected", text, place)
    return _skip(text, place + 1)


def _at_end(text: str, place: int) -> None:
    if _skip(text, place) != len(text):
        raise json.JSONDecodeError("something after the end", text, place)


def _annotation(feature: Any, text: str) -> Annotation:
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        raise ValueError("an object that is no Feature")
    if "\\ud" in text.lower():
        _line(feature).encode()  # half a character pair can be read but never be written again
    geometry = feature.get("geometry")
    if not isinstance(geometry, dict):
        raise ValueError("no geometry")
    kind, parts = _parts(geometry.get("type"), geometry.get("coordinates"))
    properties = feature.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    classification = properties.get("classification")
    classification = classification if isinstance(classification, dict) else {}
    found_id, name = feature.get("id"), properties.get("name")
    return Annotation(
        kind,
        parts,
        class_name=_class_name(classification),
        colour=_colour(classification) or _colour(properties),
        name=name if isinstance(name, str) else None,
        id=str(found_id) if isinstance(found_id, (str, int)) else "",
        kind=str(properties.get("objectType") or properties.get("object_type") or "annotation"),
        properties=properties,
        text=text,
    )


def _class_name(classification: Mapping[str, Any]) -> str | None:
    if isinstance(classification.get("name"), str):
        return classification["name"] or None
    names = classification.get("names")
    if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
        return ": ".join(names)
    return None


def _colour(found: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """`color: [r, g, b]`, or QuPath's older `colorRGB`: one signed number of alpha, red, green, blue."""
    three = found.get("color")
    if isinstance(three, list) and len(three) >= 3 and all(_is_byte(value) for value in three[:3]):
        return (three[0], three[1], three[2])
    packed = found.get("colorRGB", found.get("color"))
    if isinstance(packed, int) and not isinstance(packed, bool):
        return ((packed >> 16) & 255, (packed >> 8) & 255, packed & 255)
    return None


def _is_byte(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255


def _parts(kind: Any, coordinates: Any) -> tuple[Geometry, tuple[tuple[Points, ...], ...]]:
    if kind == "Polygon":
        return "Polygon", (_polygon(coordinates),)
    if kind == "MultiPolygon":
        return "MultiPolygon", tuple(_polygon(part) for part in _list(coordinates))
    if kind == "Point":
        return "Point", ((_ring([coordinates]),),)
    if kind == "MultiPoint":
        return "MultiPoint", ((_ring(coordinates),),)
    if kind == "LineString":
        return "LineString", ((_ring(coordinates, least=2),),)
    if kind == "MultiLineString":
        return "MultiLineString", (tuple(_ring(line, least=2) for line in _list(coordinates)),)
    raise ValueError(f"a geometry of type {str(kind)[:40]!r}")


def _list(found: Any) -> list[Any]:
    if not isinstance(found, list) or not found:
        raise ValueError("coordinates that are no list, or an empty one")
    return found


def _polygon(found: Any) -> tuple[Points, ...]:
    rings = tuple(_ring(ring, least=4) for ring in _list(found))
    for ring in rings:
        if not np.array_equal(ring[0], ring[-1]):
            raise ValueError("a ring that is not closed")
    return rings


def _ring(found: Any, least: int = 1) -> Points:
    several = _list(found)
    if len(several) < least:
        raise ValueError(f"{len(several)} points where at least {least} belong")
    for point in several:
        if not isinstance(point, list) or not 2 <= len(point) <= 4:
            raise ValueError("a point that is not X, Y")
        # numpy would take true and "1" for numbers.
        if type(point[0]) not in (int, float) or type(point[1]) not in (int, float):
            raise ValueError("a coordinate that is no number")
    return np.array([(point[1], point[0]) for point in several], np.float64)


def write_geojson(path: Path, annotations: Sequence[Annotation]) -> None:
    """Write a FeatureCollection as QuPath does, whole or not at all.

    Parameters
    ----------
    path
        The file.
    annotations
        Those with `text` are written as that text, unchanged. Of the others: closed rings, one part is a Polygon,
        `objectType`, `classification` with name and colour, and an id (a UUID made of the content where it has none, so
        that equal objects give equal files).

    Raises
    ------
    LabelError
        Where the disk is full or read-only.
    """
    features = ",\n".join(annotation.text or feature_text(annotation) for annotation in annotations)
    text = f'{{"type":"FeatureCollection","features":[\n{features}\n]}}\n'
    write_whole(path, text.encode(), LabelError)


def feature_text(annotation: Annotation) -> str:
    """One annotation as the text of a GeoJSON feature, on one line.

    Raises
    ------
    ValueError
        For a coordinate that is no number, or a polygon without a part.
    """
    rings = [[[_pair(point) for point in _shut(annotation, ring)] for ring in part] for part in annotation.parts]
    if not rings or not all(rings):
        raise ValueError(f"a {annotation.geometry} without a part")
    geometry: str = annotation.geometry
    if geometry in _AREAS:
        geometry = "Polygon" if len(rings) == 1 else "MultiPolygon"
        coordinates: Any = rings[0] if len(rings) == 1 else rings
    elif geometry == "MultiLineString":
        coordinates = rings[0]
    else:
        coordinates = rings[0][0][0] if geometry == "Point" else rings[0][0]
    properties: dict[str, Any] = {"objectType": annotation.kind}
    if annotation.name is not None:
        properties["name"] = annotation.name
    if annotation.class_name is not None:
        properties["classification"] = {"name": annotation.class_name}
        if annotation.colour is not None:
            properties["classification"]["color"] = list(annotation.colour)
    elif annotation.colour is not None:
        properties["color"] = list(annotation.colour)
    properties |= {key: value for key, value in annotation.properties.items() if key not in properties}
    place = {"type": geometry, "coordinates": coordinates}
    found_id = annotation.id or str(uuid.uuid5(_NAMESPACE, _line([place, properties])))
    return _line({"type": "Feature", "id": found_id, "geometry": place, "properties": properties})


def _line(found: Any) -> str:
    return json.dumps(found, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _shut(annotation: Annotation, ring: NDArray[Any]) -> NDArray[Any]:
    if annotation.is_mark or np.array_equal(ring[0], ring[-1]):
        return ring
    return np.concatenate([ring, ring[:1]])


def _pair(point: NDArray[Any]) -> list[float | int]:
    """X, Y; whole numbers without a decimal point."""
    row, col = float(point[0]), float(point[1])
    return [int(value) if value.is_integer() else value for value in (col, row)]
