"""The OME-XML of a slide: the few facts read from it by a parser that follows nothing, and the same facts written."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat
from xml.sax.saxutils import escape

from stainloom.errors import SlideError
from stainloom.geometry import Scale, Size

MAX_XML = 64 * 2**20
_UNITS_UM = {"m": 1e6, "cm": 1e4, "mm": 1e3, "\u00b5m": 1.0, "\u03bcm": 1.0, "um": 1.0, "nm": 1e-3}


@dataclass
class OmeFacts:
    """What the first image of an OME-XML says of itself.

    Attributes
    ----------
    size
        px, None where not stated.
    scale
        um per px, (row, col), None where not stated in a unit of length.
    ifd
        Which page of the file holds it.
    """

    size: Size | None = None
    scale: Scale | None = None
    ifd: int = 0

    @property
    def stated(self) -> str:
        """How the scale is stated, or that it is not; for error messages."""
        return "PhysicalSizeX and PhysicalSizeY" if self.scale else "no PhysicalSizeX and PhysicalSizeY"


def is_ome(description: str) -> bool:
    """Whether an image description is OME-XML."""
    text = description.lstrip("\ufeff \r\n\t")
    return text.startswith("<") and re.search(r"<(\w+:)?OME[\s>]", text[:4096]) is not None


def read_ome(xml: str, path: Path, stain: str | None = None) -> OmeFacts:
    """The few facts that a slide needs from its OME-XML.

    Raises
    ------
    SlideError
        When the XML is broken, declares a document type or entities, describes several planes or channels that are
        not one RGB picture, or says that pixels lie in other files: these are never followed.
    """
    parse = _OmeParse(path, stain)
    if len(xml) > MAX_XML:
        raise parse.refuse(f"at most {MAX_XML // 2**20} Mi characters", f"{len(xml)}")
    try:
        parse.parser.Parse(xml.strip("\ufeff\0 \r\n\t").encode(), True)
    except (expat.ExpatError, ValueError, OverflowError) as error:
        raise parse.refuse("readable OME-XML", str(error)) from error
    others = parse.files - {path.name}
    if others and not (len(parse.files) == 1 and parse.uuids == {parse.own_uuid}):
        raise parse.refuse("all pixels in this file", f"pixels in {', '.join(sorted(others)[:3])}")
    return parse.facts


class _OmeParse:
    """Handlers of expat, which keep only what is asked for; nothing is built in memory."""

    def __init__(self, path: Path, stain: str | None) -> None:
        self.path, self.stain = path, stain
        self.facts = OmeFacts()
        self.files: set[str] = set()
        self.uuids: set[str] = set()
        self.own_uuid = ""
        self._images = 0
        self._planes = 0
        self._size_c = 1
        self._text: list[str] | None = None
        self.parser = expat.ParserCreate("UTF-8", " ")  # as it is handed over, whatever its first line says
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.StartDoctypeDeclHandler = self._doctype

    def refuse(self, expected: str, found: str) -> SlideError:
        return SlideError(
            "The OME-XML of this slide is not accepted",
            slide=self.path.name,
            stain=self.stain,
            expected=expected,
            found=found,
            next="export the slide again as one RGB OME-TIFF",
        )

    def _doctype(self, *_: object) -> None:
        raise self.refuse("plain OME-XML", "a document type declaration")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        match name.rpartition(" ")[2]:
            case "OME":
                self.own_uuid = attributes.get("UUID", "").strip()
            case "BinaryOnly":
                raise self.refuse("all metadata in this file", f"metadata in {attributes.get('MetadataFile', '')}")
            case "Image":
                self._images += 1
            case "Pixels" if self._images == 1:
                self._pixels(attributes)
            case "Channel" if self._images == 1:
                self._channels(attributes)
            case "TiffData" if self._images == 1:
                if not self._planes:
                    self.facts.ifd = max(0, int(attributes.get("IFD", "0")))
                self._planes += 1
            case "UUID":
                self._text = []
                if "FileName" in attributes:
                    self.files.add(attributes["FileName"])

    def _end(self, name: str) -> None:
        if name.rpartition(" ")[2] == "UUID" and self._text is not None:
            self.uuids.add("".join(self._text).strip())
            self._text = None

    def _characters(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def _pixels(self, attributes: dict[str, str]) -> None:
        for axis in ("SizeZ", "SizeT"):
            if int(attributes.get(axis, "1")) != 1:
                raise self.refuse("one plane", f"{axis} {attributes[axis]}")
        self._size_c = int(attributes.get("SizeC", "1"))
        if "SizeX" in attributes and "SizeY" in attributes:
            self.facts.size = Size(int(attributes["SizeY"]), int(attributes["SizeX"]))
        scale = []
        for axis in ("Y", "X"):
            length = float(attributes.get(f"PhysicalSize{axis}", "nan"))
            scale.append(length * _UNITS_UM.get(attributes.get(f"PhysicalSize{axis}Unit", "um"), math.nan))
        if all(math.isfinite(each) and each > 0 for each in scale):
            self.facts.scale = (scale[0], scale[1])

    def _channels(self, attributes: dict[str, str]) -> None:
        samples = int(attributes.get("SamplesPerPixel", "1"))
        if samples != self._size_c:
            raise self.refuse("one RGB or gray picture", f"{self._size_c} channels in planes of {samples}")


def write_ome(size: Size, um_per_px: Scale, description: str) -> bytes:
    """OME-XML of one RGB picture, ASCII; without UUID and creator, so that equal slides are equal files.

    Parameters
    ----------
    size, um_per_px
        Of level 0.
    description
        Free text; characters that XML cannot hold become blanks.
    """
    namespace = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    text = re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", " ", description)
    about = f"<Description>{escape(text)}</Description>" if text else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<OME xmlns="{namespace}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xsi:schemaLocation="{namespace} {namespace}/ome.xsd">'
        f'<Image ID="Image:0">{about}'
        f'<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" Interleaved="true" '
        f'SizeX="{size.cols}" SizeY="{size.rows}" SizeC="3" SizeZ="1" SizeT="1" '
        f'PhysicalSizeX="{um_per_px[1]!r}" PhysicalSizeXUnit="\u00b5m" '
        f'PhysicalSizeY="{um_per_px[0]!r}" PhysicalSizeYUnit="\u00b5m">'
        '<Channel ID="Channel:0:0" SamplesPerPixel="3"><LightPath/></Channel>'
        '<TiffData IFD="0" PlaneCount="1"/></Pixels></Image></OME>'
    ).encode("ascii", "xmlcharrefreplace")
