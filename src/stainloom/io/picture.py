"""PNG and JPEG pictures: decoded once, held in memory, shown as a pyramid with the um per px that the user states."""

from __future__ import annotations

import re
from pathlib import Path
from types import TracebackType
from typing import Self

import imagecodecs
import numpy as np

from stainloom.errors import SlideError
from stainloom.geometry import ArrayPyramid, Box, Pixels, Scale, Size
from stainloom.io.opened import OpenGuard, SlideFacts, stated_scale
from stainloom.io.tiles import TileCache

MAX_PICTURE_PX = 400_000_000
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_PNG_END = 1024
_HEADER_BYTES = 8 * 1024 * 1024
_FRAMES = {0xC0, 0xC1, 0xC2}
_OTHER_FRAMES = {0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)


def opens(path: Path, head: bytes) -> bool:
    """Whether a file begins as a PNG or a JPEG."""
    return head.startswith((_PNG, _JPEG))


def describe(path: Path, stain: str | None) -> SlideFacts:
    """Size and kind, and that the file has its end; such files state no um per px that could be believed."""
    size, kind = _header(path, stain)
    _check_end(path, kind, stain)
    return SlideFacts(size, None, 1, kind)


def open_picture(path: Path, cache: TileCache, um_per_px: float | Scale | None, stain: str | None) -> PictureSlide:
    """A PNG or JPEG, decoded.

    Raises
    ------
    SlideError
        When it is damaged, cut short, larger than 400 Mpx, has 16 bits a channel, or no um per px is given.
    """
    size, _ = _header(path, stain)
    scale = stated_scale(um_per_px, None, path, stain, "a picture without one")
    return PictureSlide(path, ArrayPyramid(_decode(path, size, stain), scale))


class PictureSlide:
    """A picture in memory as an opened slide.

    Parameters
    ----------
    path
        The file.
    pyramid
        Its pixels and their halves.
    """

    def __init__(self, path: Path, pyramid: ArrayPyramid) -> None:
        self._path = path
        self._pyramid: ArrayPyramid | None = pyramid
        self._levels = pyramid.levels
        self._um_per_px = pyramid.um_per_px
        self._guard = OpenGuard(path.name)

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def levels(self) -> tuple[Size, ...]:
        """Size of each level, px."""
        return self._levels

    @property
    def um_per_px(self) -> tuple[Scale, ...]:
        """True um per px of each level, (row, col)."""
        return self._um_per_px

    def read(self, level: int, box: Box) -> Pixels:
        """The pixels of a box of one level, RGB, a copy, white outside the picture.

        Raises
        ------
        ValueError
            For a level that does not exist, a box of negative size, a closed slide.
        """
        if not 0 <= level < len(self._levels):
            raise ValueError(f"levels are 0 to {len(self._levels) - 1}: {level}")
        if box.rows < 0 or box.cols < 0:
            raise ValueError(f"a box has no negative size: {box}")
        with self._guard.reading():
            assert self._pyramid is not None
            return np.array(self._pyramid.read(level, box))

    def close(self) -> None:
        """Give the memory back."""
        if self._guard.close():
            self._pyramid = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def on_white(colour: Pixels, alpha: Pixels, *, associated: bool = False) -> Pixels:
    """Colours laid on white by their opacity (0 to 255); `associated` says that they are multiplied by it already."""
    opacity = alpha.astype(np.uint16)
    part = colour.astype(np.uint16) if associated else (colour * opacity + 127) // 255
    return np.minimum(part + (255 - opacity), 255).astype(np.uint8)


def jpeg_header(data: bytes) -> tuple[Size, int, int]:
    """Size, number of channels and bits a channel that a JPEG declares.

    Raises
    ------
    ValueError
        Where it declares none, or is of a kind that is not decoded (lossless, arithmetic).
    """
    position = 2
    if data[:2] != b"\xff\xd8":
        raise ValueError("no JPEG")
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            raise ValueError("a JPEG without a marker where one must be")
        marker = data[position + 1]
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD7:
            position += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if marker in _FRAMES and position + 10 <= len(data):
            rows, cols = (int.from_bytes(data[position + at : position + at + 2], "big") for at in (5, 7))
            return Size(rows, cols), data[position + 9], data[position + 4]
        if marker in _FRAMES | _OTHER_FRAMES | {0xD9, 0xDA} or length < 2:
            raise ValueError(f"a JPEG of a kind that is not read (marker {marker:#x})")
        position += 2 + length
    raise ValueError("a JPEG that ends within its header")


def _jpeg_is_whole(data: bytes) -> bool:
    """Whether a JPEG reaches its end marker: libjpeg fills what is missing with gray and does not fail."""
    position = 2
    while position + 4 <= len(data):
        marker = data[position + 1]
        if data[position] != 0xFF:
            return False
        if marker == 0xD9:
            return True
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD7:
            position += 1 if marker == 0xFF else 2
            continue
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == 0xDA:
            found = _AFTER_SCAN.search(data, position)
            if found is None:
                return False
            position = found.start()
    return data[position : position + 2] == b"\xff\xd9"


def _header(path: Path, stain: str | None) -> tuple[Size, str]:
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    try:
        if head.startswith(_PNG):
            size, bits, kind = _png_header(head), head[24], "PNG"
        else:
            size, channels, bits = jpeg_header(head)
            kind = "JPEG"
            if channels not in (1, 3):
                raise _unfit(path, stain, "RGB or gray", f"{channels} channels")
    except ValueError as error:
        raise _broken(path, stain, str(error)) from error
    if size.rows < 1 or size.cols < 1:
        raise _broken(path, stain, f"{size.cols} x {size.rows} px")
    if bits > 8:
        raise _unfit(path, stain, "8 bits a channel", f"{bits} bits")
    if size.rows * size.cols > MAX_PICTURE_PX:
        found = f"{size.cols} x {size.rows} px, {size.rows * size.cols / 1e6:.0f} Mpx"
        raise _unfit(path, stain, f"at most {MAX_PICTURE_PX // 10**6} Mpx in a PNG or JPEG", found)
    return size, kind


def _check_end(path: Path, kind: str, stain: str | None) -> None:
    """Refuse a file that was cut short, without decoding it."""
    data = path.read_bytes()
    if not (_jpeg_is_whole(data) if kind == "JPEG" else b"IEND" in data[-_PNG_END:]):
        raise _broken(path, stain, f"a {kind} that ends before its end")


def _png_header(head: bytes) -> Size:
    if len(head) < 33 or head[12:16] != b"IHDR":
        raise ValueError("a PNG without its header")
    return Size(int.from_bytes(head[20:24], "big"), int.from_bytes(head[16:20], "big"))


def _decode(path: Path, size: Size, stain: str | None) -> Pixels:
    data = path.read_bytes()
    try:
        if data.startswith(_PNG):
            pixels = imagecodecs.png_decode(data)
        elif _jpeg_is_whole(data):
            pixels = imagecodecs.jpeg8_decode(data)
        else:
            raise ValueError("a JPEG that ends before its end")
        if pixels.shape[:2] != size.shape or pixels.dtype != np.uint8:
            raise ValueError(f"a picture of {pixels.shape[1]} x {pixels.shape[0]} px, {pixels.dtype}")
    except Exception as error:  # each codec has an exception class of its own
        raise _broken(path, stain, f"{type(error).__name__}: {error}") from error
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    colours = 3 if pixels.shape[2] >= 3 else 1
    colour = pixels[..., :colours]
    if pixels.shape[2] > colours:
        colour = on_white(colour, pixels[..., colours:])
    return np.ascontiguousarray(np.broadcast_to(colour, (*colour.shape[:2], 3)))


def _broken(path: Path, stain: str | None, found: str) -> SlideError:
    return SlideError(
        "This picture is damaged or cut short",
        slide=path.name,
        stain=stain,
        expected="a whole PNG or JPEG",
        found=found,
        next="copy the file again from its source",
    )


def _unfit(path: Path, stain: str | None, expected: str, found: str) -> SlideError:
    return SlideError(
        "This picture is of a kind that is not read",
        slide=path.name,
        stain=stain,
        expected=expected,
        found=found,
        next="save it as a tiled, pyramidal TIFF with 8 bits a channel",
    )
