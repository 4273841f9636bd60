"""What the header of a TIFF says: which pages are the slide's levels, their tile tables, um per px; nothing is decoded.

A file comes from anywhere, so every size is checked before something is allocated by it, no other file is ever
followed, and pages that show the label or the whole glass are left alone: they carry the patient's name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers import expat

import tifffile

from stainloom.errors import SlideError
from stainloom.geometry import Scale, Size

MAX_SIDE_PX = 4_000_000
MAX_SEGMENT_PX = 64_000_000
MAX_PAGES = 1_000
COMPRESSIONS = {
    1: "none",
    5: "LZW",
    7: "JPEG",
    8: "deflate",
    32773: "PackBits",
    32946: "deflate",
    50000: "Zstandard",
}
"""What is decoded here: each either bounds its output or states its size before decoding. OpenSlide reads further ones."""

_UNITS_UM = {"m": 1e6, "cm": 1e4, "mm": 1e3, "\u00b5m": 1.0, "\u03bcm": 1.0, "um": 1.0, "nm": 1e-3}
_PLAUSIBLE_UM_PER_PX = (0.05, 20.0)


@dataclass(frozen=True)
class TiffLevel:
    """One level of a TIFF slide.

    Attributes
    ----------
    size
        px.
    segment
        Rows and columns of a tile or strip, px.
    page
        The TIFF page.
    decode
        `decode(data, index, jpegtables=...)`: tifffile's decoder for the page, from bytes to (array, place, shape).
    """

    size: Size
    segment: Size
    page: Any
    decode: Callable[..., Any]

    @property
    def across(self) -> int:
        """Segments in a row of them."""
        return -(-self.size.cols // self.segment.cols)

    @property
    def segments(self) -> int:
        """Segments of one plane."""
        return self.across * -(-self.size.rows // self.segment.rows)


@dataclass(frozen=True)
class TiffHeader:
    """A TIFF slide before anything is decoded.

    Attributes
    ----------
    levels
        The finest first.
    um_per_px
        Of level 0, as the file states it.
    stated
        How the file states its scale, or that it does not; for error messages.
    format
        OME-TIFF, Aperio SVS or TIFF.
    """

    levels: tuple[TiffLevel, ...]
    um_per_px: Scale | None
    stated: str
    format: str


def is_tiff(head: bytes) -> bool:
    """Whether a file that begins so is a TIFF (classic or big)."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_header(path: Path, stain: str | None = None) -> TiffHeader:
    """The levels of a TIFF slide and its scale.

    Parameters
    ----------
    path
        An OME-TIFF, an Aperio SVS or another TIFF, tiled or in strips.
    stain
        For error messages.

    Raises
    ------
    SlideError
        When the file is cut short, holds no 8 bit colour or gray picture, leaves its data in other files, or declares
        sizes that it cannot hold.
    """
    try:
        # is_ome=False: tifffile would follow an OME-XML FileName to any file of this machine.
        with tifffile.TiffFile(path, is_ome=False) as tif:
            return _Reading(tif, path, stain).header()
    except (SlideError, OSError):
        raise
    except Exception as error:  # a parser at the mercy of its file raises anything from struct.error to RecursionError
        raise SlideError(
            "The header of this TIFF cannot be read",
            slide=path.name,
            stain=stain,
            expected="a whole TIFF, OME-TIFF or SVS file",
            found=f"{type(error).__name__}: {error}",
            next="copy the file again from its source, or export it again from the scanner",
        ) from error


def compression_of(path: Path) -> int | None:
    """Compression tag of the first page, None where the header cannot be read."""
    try:
        with tifffile.TiffFile(path, is_ome=False) as tif:
            return int(tif.pages.first.compression)
    except Exception:  # as in read_header, which then says what is wrong
        return None


class _Reading:
    """One pass over the pages of an open file."""

    def __init__(self, tif: Any, path: Path, stain: str | None) -> None:
        self.tif = tif
        self.path = path
        self.stain = stain
        self.bytes = path.stat().st_size

    def header(self) -> TiffHeader:
        pages = self.pages(self.tif.pages)
        description = str(pages[0].description or "")
        ome = read_ome(description, self.path, self.stain) if _is_ome(description) else None
        svs = description.startswith("Aperio")
        main = pages[ome.ifd if ome and ome.ifd < len(pages) else 0]
        if ome and ome.size not in (None, Size(main.imagelength, main.imagewidth)):
            raise self.broken(f"{ome.size} px in the OME-XML", f"{main.imagewidth} x {main.imagelength} px in the tags")
        levels = tuple(self.level(page) for page in self.level_pages(main, pages, svs))
        scale, stated = _ome_scale(ome) if ome else _svs_scale(description) if svs else _tag_scale(main)
        return TiffHeader(levels, scale, stated, "OME-TIFF" if ome else "Aperio SVS" if svs else "TIFF")

    def pages(self, chain: Any) -> list[Any]:
        """The pages of a chain, once it is known that none is cut off."""
        pages = []
        for page in chain:
            pages.append(page)
            if len(pages) > MAX_PAGES:
                raise self.broken(f"at most {MAX_PAGES} pages", "more")
        if not pages:
            raise self.broken("at least one page", "none")
        if self.next_page(pages[-1]) > self.bytes:
            raise self.cut_short("a further page that would lie beyond the end of the file")
        return pages

    def next_page(self, page: Any) -> int:
        """Where the page after this one is said to begin; 0 after the last."""
        form, handle = self.tif.tiff, self.tif.filehandle
        handle.seek(page.offset)
        count = int.from_bytes(handle.read(form.tagnosize), "little" if form.byteorder == "<" else "big")
        handle.seek(page.offset + form.tagnosize + count * form.tagsize)
        pointer = handle.read(form.offsetsize)
        if len(pointer) < form.offsetsize:
            raise self.cut_short("a page that ends beyond the end of the file")
        return int.from_bytes(pointer, "little" if form.byteorder == "<" else "big")

    def level_pages(self, main: Any, pages: list[Any], svs: bool) -> list[Any]:
        """Level 0 and the smaller pictures of the same kind and shape; never a label, a macro or a thumbnail."""
        if main.subifds:
            if max(main.subifds) >= self.bytes:
                raise self.cut_short("a level that would lie beyond the end of the file")
            candidates = [main.pages[index].aspage() for index in range(min(len(main.subifds), MAX_PAGES))]
        else:
            candidates = [page for page in pages if page is not main and (svs or page.subfiletype & 1)]
        levels = [main]
        for page in candidates:
            if page.subfiletype & 8 or page.is_tiled != main.is_tiled or not _smaller(page, levels[-1]):
                continue
            if page.samplesperpixel == main.samplesperpixel and _same_shape(page, main):
                levels.append(page)
        return levels

    def level(self, page: Any) -> TiffLevel:
        """A page as a level, once its sizes and its tile table have been checked."""
        self.check_pixels(page)
        size = Size(int(page.imagelength), int(page.imagewidth))
        if not (0 < size.rows <= MAX_SIDE_PX and 0 < size.cols <= MAX_SIDE_PX):
            raise self.broken(f"1 to {MAX_SIDE_PX} px a side", f"{size.cols} x {size.rows} px declared")
        if page.is_tiled:
            segment = Size(int(page.tilelength), int(page.tilewidth))
        else:
            segment = Size(min(int(page.rowsperstrip) or size.rows, size.rows), size.cols)
        if segment.rows < 1 or segment.cols < 1:
            raise self.broken("tiles of at least 1 px", f"{segment.cols} x {segment.rows} px")
        if segment.rows * segment.cols > MAX_SEGMENT_PX:
            raise self.broken(
                f"tiles or strips of at most {MAX_SEGMENT_PX // 10**6} Mpx",
                f"{segment.cols} x {segment.rows} px in one piece",
                "save it again as a tiled, pyramidal TIFF (QuPath, bfconvert and vips do)",
            )
        level = TiffLevel(size, segment, page, page.decode)
        self.check_table(level)
        return level

    def check_pixels(self, page: Any) -> None:
        """Refuse what is no 8 bit picture in gray, RGB or YCbCr, in a compression that is decoded here."""
        bits = page.bitspersample
        if bits != 8 or page.sampleformat != 1:
            raise self.unfit("8 bits a channel", f"{bits} bits a channel", "save it with 8 bits a channel")
        if page.photometric not in (0, 1, 2, 6) or not 1 <= page.samplesperpixel <= 4:
            found = f"{page.samplesperpixel} channels, photometric interpretation {int(page.photometric)}"
            raise self.unfit("an RGB or gray picture", found, "save it as RGB")
        colours = 3 if page.photometric in (2, 6) else 1
        if not colours <= page.samplesperpixel <= colours + 1:
            raise self.unfit(
                f"{colours} channels, with or without transparency", f"{page.samplesperpixel}", "save it as RGB"
            )
        if page.compression not in COMPRESSIONS:
            known = ", ".join(sorted(set(COMPRESSIONS.values())))
            raise self.unfit(
                f"one of the compressions {known}", f"compression {int(page.compression)}", "save it with one of these"
            )
        if page.photometric == 6 and page.compression != 7:
            raise self.unfit("YCbCr in JPEG only", "YCbCr without JPEG", "save it as RGB")
        if page.imagedepth != 1:
            raise self.unfit("a flat picture", f"a depth of {page.imagedepth}", "save one plane of it")

    def check_table(self, level: TiffLevel) -> None:
        """Refuse a table of tiles that is too short, or that points beyond the end of the file."""
        page = level.page
        planes = page.samplesperpixel if page.planarconfig == 2 else 1
        offsets, counts = page.dataoffsets, page.databytecounts
        if min(len(offsets), len(counts)) < level.segments * planes:
            raise self.broken(f"a table of {level.segments * planes} tiles", f"{min(len(offsets), len(counts))}")
        most = 2 * level.segment.rows * level.segment.cols * page.samplesperpixel + 2**20
        for offset, count in zip(offsets, counts, strict=False):
            if count and offset + count > self.bytes:
                raise self.cut_short(f"a tile that ends at byte {offset + count}")
            if count > most:
                raise self.broken(f"at most {most} bytes a tile", f"{count}")

    def broken(self, expected: str, found: str, next: str | None = None) -> SlideError:
        return SlideError(
            "The header of this TIFF contradicts itself or is out of bounds",
            slide=self.path.name,
            stain=self.stain,
            expected=expected,
            found=found,
            next=next or "export the slide again",
        )

    def unfit(self, expected: str, found: str, next: str) -> SlideError:
        return SlideError(
            "This TIFF holds a kind of picture that is not read",
            slide=self.path.name,
            stain=self.stain,
            expected=expected,
            found=found,
            next=next,
        )

    def cut_short(self, found: str) -> SlideError:
        return SlideError(
            "This slide is cut short",
            slide=self.path.name,
            stain=self.stain,
            expected="all tiles within the file",
            found=f"{found}, in a file of {self.bytes} bytes",
            next="copy the file again from its source; the copy did not finish",
        )


def _smaller(page: Any, than: Any) -> bool:
    return page.imagelength <= than.imagelength and page.imagewidth < than.imagewidth


def _same_shape(page: Any, main: Any) -> bool:
    """Whether a page is the main one made smaller: sides in one ratio, but for the rounding of one pixel."""
    ratio = main.imagewidth / page.imagewidth
    return bool(
        abs(main.imagelength / ratio - page.imagelength) <= 1.5
        or abs(main.imagewidth * page.imagelength / main.imagelength - page.imagewidth) <= 1.5
    )


def _tag_scale(page: Any) -> tuple[Scale | None, str]:
    """um per px of the resolution tags: believed only in px per cm and within what a slide scanner gives."""
    tags = page.tags
    if not {"XResolution", "YResolution"} <= {tag.name for tag in tags}:
        return None, "no resolution"
    if int(tags.valueof("ResolutionUnit", 2)) != 3:
        return None, "a resolution, but not in px per cm"
    scale = []
    for name in ("YResolution", "XResolution"):
        above, below = tags.valueof(name)
        scale.append(1e4 * below / above if above else math.inf)
    low, high = _PLAUSIBLE_UM_PER_PX
    if not all(low <= each <= high for each in scale):
        return None, f"{scale[1]:.4g} x {scale[0]:.4g} um per px in the resolution tags, not plausible for a slide"
    return (scale[0], scale[1]), "resolution tags"


def _svs_scale(description: str) -> tuple[Scale | None, str]:
    found = re.search(r"\|\s*MPP\s*=\s*([0-9.eE+-]+)", description)
    try:
        um_per_px = float(found.group(1)) if found else math.nan
    except ValueError:
        um_per_px = math.nan
    if not (math.isfinite(um_per_px) and um_per_px > 0):
        return None, "no MPP in the description"
    return (um_per_px, um_per_px), "MPP"


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


def _is_ome(description: str) -> bool:
    text = description.lstrip("\ufeff \r\n\t")
    return text.startswith("<") and re.search(r"<(\w+:)?OME[\s>]", text[:4096]) is not None


def _ome_scale(ome: OmeFacts) -> tuple[Scale | None, str]:
    return ome.scale, "PhysicalSizeX and PhysicalSizeY" if ome.scale else "no PhysicalSizeX and PhysicalSizeY"


def read_ome(xml: str, path: Path, stain: str | None = None) -> OmeFacts:
    """The few facts that a slide needs from its OME-XML.

    Raises
    ------
    SlideError
        When the XML is broken, declares a document type or entities, describes several planes or channels that are
        not one RGB picture, or says that pixels lie in other files: these are never followed.
    """
    parse = _OmeParse(path, stain)
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
        self.parser = expat.ParserCreate(namespace_separator=" ")
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
