"""What the header of a TIFF says: which pages are the slide's levels, their tile tables, um per px; nothing is decoded.

A file comes from anywhere, so every size is checked before something is allocated by it, no other file is ever
followed, and pages that show the label or the whole glass are left alone: they carry the patient's name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from stainloom.errors import SlideError
from stainloom.geometry import Scale, Size
from stainloom.io.omexml import OmeFacts, is_ome, read_ome

MAX_SIDE_PX = 4_000_000
MAX_SEGMENT_PX = 64_000_000
MAX_PAGES = 1_000
JPEG = 7
COMPRESSIONS = {
    1: "none",
    5: "LZW",
    JPEG: "JPEG",
    8: "deflate",
    32773: "PackBits",
    32946: "deflate",
    50000: "Zstandard",
}
"""What is decoded here: each either bounds its output or states its size before decoding. OpenSlide reads further ones."""

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
    samples
        Channels stored, transparency included.
    photometric
        How the first channels are meant: 0 gray, white is 0; 1 gray; 2 RGB; 6 YCbCr, given out as RGB by the decoder.
    transparency
        What a channel beyond the colours is: 1 multiplied into them, 2 not, 0 nothing or unknown.
    planes
        1, or `samples` where each channel has tiles of its own.
    jpeg
        Whether the tiles are JPEG files, with a size of their own.
    offsets, counts
        Where each segment lies in the file, and its bytes; 0 bytes for one that was left out.
    decode
        `decode(data, index)`: a segment's bytes to (rows, cols, channels of one plane).
    """

    size: Size
    segment: Size
    samples: int
    photometric: int
    transparency: int
    planes: int
    jpeg: bool
    offsets: NDArray[np.int64]
    counts: NDArray[np.int64]
    decode: Callable[[bytes, int], NDArray[Any]]

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
    except SlideError:
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
        ome = read_ome(description, self.path, self.stain) if is_ome(description) else None
        svs = description.startswith("Aperio")
        main = self.ome_page(ome, pages) if ome else pages[0]
        levels = tuple(self.level(page) for page in self.level_pages(main, pages, svs))
        scale, stated = (ome.scale, ome.stated) if ome else _svs_scale(description) if svs else _tag_scale(main)
        return TiffHeader(levels, scale, stated, "OME-TIFF" if ome else "Aperio SVS" if svs else "TIFF")

    def ome_page(self, ome: OmeFacts, pages: list[Any]) -> Any:
        """The page that the OME-XML names as the first image."""
        if ome.ifd >= len(pages):
            raise self.broken(f"page {ome.ifd}, which the OME-XML names", f"{len(pages)} pages")
        page = pages[ome.ifd]
        if ome.size and ome.size.shape != (page.imagelength, page.imagewidth):
            stated = f"{ome.size.cols} x {ome.size.rows} px, as the OME-XML states"
            raise self.broken(stated, f"{page.imagewidth} x {page.imagelength} px in the page")
        return page

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
        level = _uncut_rows(page, size) or _as_stored(page, size, segment)
        if level.segment.rows * level.segment.cols > MAX_SEGMENT_PX:
            raise self.broken(
                f"tiles or strips of at most {MAX_SEGMENT_PX // 10**6} Mpx",
                f"{segment.cols} x {segment.rows} px in one piece",
                "save it again as a tiled, pyramidal TIFF (QuPath, bfconvert and vips do)",
            )
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
        if page.photometric == 6 and page.compression != JPEG:
            raise self.unfit("YCbCr in JPEG only", "YCbCr without JPEG", "save it as RGB")
        if page.imagedepth != 1:
            raise self.unfit("a flat picture", f"a depth of {page.imagedepth}", "save one plane of it")

    def check_table(self, level: TiffLevel) -> None:
        """Refuse a table of tiles that is too short, or that points beyond the end of the file."""
        needed, there = level.segments * level.planes, min(len(level.offsets), len(level.counts))
        if there < needed:
            raise self.broken(f"a table of {needed} tiles", f"{there}")
        offsets, counts = level.offsets[:needed], level.counts[:needed]
        if offsets.min() < 0 or counts.min() < 0:
            raise self.broken("tiles at places within the file", "a negative place")
        last = int((offsets + np.where(counts > 0, counts, -offsets)).max())
        if last > self.bytes:
            raise self.cut_short(f"a tile that ends at byte {last}")
        most = 2 * level.segment.rows * level.segment.cols * level.samples + 2**20
        if counts.max() > most:
            raise self.broken(f"at most {most} bytes a tile", f"{counts.max()}")

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


def _as_stored(page: Any, size: Size, segment: Size) -> TiffLevel:
    """A page by its own tiles or strips, decoded as tifffile does."""
    tables, decode = page.jpegtables, page.decode

    def array(data: bytes, index: int) -> NDArray[Any]:
        return decode(data, index, jpegtables=tables)[0][0]

    colours = 3 if page.photometric in (2, 6) else 1
    extra = page.extrasamples if page.samplesperpixel > colours else ()
    return TiffLevel(
        size=size,
        segment=segment,
        samples=int(page.samplesperpixel),
        photometric=int(page.photometric),
        transparency=int(extra[0]) if extra else 0,
        planes=int(page.samplesperpixel) if page.planarconfig == 2 else 1,
        jpeg=int(page.compression) == JPEG,
        offsets=np.array(page.dataoffsets, np.int64),
        counts=np.array(page.databytecounts, np.int64),
        decode=array,
    )


def _uncut_rows(page: Any, size: Size) -> TiffLevel | None:
    """A page of one uncompressed piece as strips of about a Mpx: many programs write pictures of any size so."""
    plain = page.compression == 1 and page.predictor == 1 and page.fillorder == 1 and page.planarconfig == 1
    if page.is_tiled or not plain or len(page.dataoffsets) != 1:
        return None
    rows = min(size.rows, max(1, 2**20 // size.cols))
    row_bytes = size.cols * int(page.samplesperpixel)
    if page.databytecounts[0] < size.rows * row_bytes:
        return None
    first = np.arange(0, size.rows, rows, dtype=np.int64)

    def array(data: bytes, index: int) -> NDArray[Any]:
        return np.frombuffer(data, np.uint8).reshape(-1, size.cols, int(page.samplesperpixel))

    counts = np.minimum(rows, size.rows - first) * row_bytes
    stored = _as_stored(page, size, Size(rows, size.cols))
    return replace(stored, offsets=int(page.dataoffsets[0]) + first * row_bytes, counts=counts, decode=array)


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
        value = tags.valueof(name)
        above, below = value if isinstance(value, tuple) and len(value) == 2 else (0, 1)
        scale.append(1e4 * below / above if above else math.inf)
    low, high = _PLAUSIBLE_UM_PER_PX
    if not all(low <= each <= high for each in scale):
        return None, f"{scale[1]:.4g} x {scale[0]:.4g} µm per px in the resolution tags, not plausible for a slide"
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
