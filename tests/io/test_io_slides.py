"""Slides of every kind: one contract over all readers, real slides, and files that are no slides."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile

from stainloom.errors import SlideError
from stainloom.geometry import Box, Pixels, Pyramid, Size, read_padded, whole
from stainloom.io.openslide import open_with_openslide
from stainloom.io.slides import READERS, OpenedSlide, Reader, describe_slide, fingerprint, open_slide
from stainloom.io.tiff import write_pyramid
from stainloom.io.tiles import TileCache
from stainloom.progress import Cancelled


def picture(rows: int, cols: int) -> Pixels:
    row, col = np.mgrid[:rows, :cols]
    return np.stack([(row * 3) % 256, (col * 5) % 256, (row + col) % 256], -1).astype(np.uint8)


PIXELS = picture(601, 830)


def _tiff(path: Path) -> None:
    write_pyramid(path, Size(601, 830), 1.0, lambda b: PIXELS[b.row : b.row_end], jpeg_quality=None, tile_px=64)


def _png(path: Path) -> None:
    path.write_bytes(imagecodecs.png_encode(PIXELS))


SAMPLES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "OME-TIFF, tiled TIFF and Aperio SVS": ("a.ome.tif", _tiff),
    "slides that OpenSlide knows (NDPI, SCN, MRXS, BIF, ...)": ("a.ome.tif", _tiff),
    "PNG and JPEG": ("a.png", _png),
}


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_every_reader_keeps_the_contract(tmp_path: Path, reader: Reader) -> None:
    name, make = SAMPLES[reader.name]
    path = tmp_path / name
    make(path)
    assert reader.opens(path, path.read_bytes()[:4096])
    (tmp_path / "text.tif").write_text("no slide")
    assert not reader.opens(tmp_path / "text.tif", b"no slide")

    facts = reader.describe(path, "HE")
    assert facts.size == Size(601, 830)
    cache = TileCache(200_000)
    with reader.open(path, cache, (0.5, 0.25), "HE") as slide:
        assert isinstance(slide, Pyramid)
        assert isinstance(slide, OpenedSlide)
        assert slide.path == path
        assert slide.levels[0] == facts.size
        assert slide.um_per_px[0] == (0.5, 0.25)
        assert len(slide.levels) == len(slide.um_per_px) >= 2
        assert slide.um_per_px[1] == (1.0, 0.5)
        assert max(slide.levels[-1].shape) <= 512
        for box in (
            Box(0, 0, 601, 830),
            Box(-7, -9, 40, 50),
            Box(590, 800, 64, 64),
            Box(9000, 9000, 3, 4),
            Box(5, 5, 0, 9),
        ):
            got = slide.read(0, box)
            assert got.dtype == np.uint8
            np.testing.assert_array_equal(got, read_padded(PIXELS, box))
        coarse = slide.read(1, whole(slide.levels[1]))
        np.testing.assert_allclose(coarse[100, 100], PIXELS[200:202, 200:202].mean((0, 1)), atol=0.51)
        got[...] = 0  # the reader's own pixels stay as they are
        np.testing.assert_array_equal(slide.read(0, Box(0, 0, 9, 9)), PIXELS[:9, :9])
        assert cache.bytes <= 200_000
        for level, wrong in ((-1, Box(0, 0, 1, 1)), (99, Box(0, 0, 1, 1)), (0, Box(0, 0, -1, 1))):
            with pytest.raises(ValueError, match=r"levels|negative"):
                slide.read(level, wrong)
    assert cache.bytes == 0
    with pytest.raises(ValueError, match="closed"):
        slide.read(0, Box(0, 0, 1, 1))


def test_every_reader_has_its_contract_sample() -> None:
    assert set(SAMPLES) == {reader.name for reader in READERS}


@pytest.mark.parametrize("name", ["a.tif", "a.svs", "a.png", "a.jpg", "a"])
def test_no_image_is_refused_by_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("Dear colleague, please find enclosed")
    for act in (describe_slide, lambda path, stain: open_slide(path, cache=TileCache(), um_per_px=1.0, stain=stain)):
        with pytest.raises(SlideError, match=rf"stain Masson, file {name}\).*Dear colleag"):
            act(path, stain="Masson")


def test_what_is_no_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "empty.tif").touch()
    (tmp_path / "folder.tif").mkdir()
    for name, found in (("empty.tif", "empty"), ("folder.tif", "folder"), ("missing.tif", "nothing")):
        for act in (
            lambda path: open_slide(path, cache=TileCache(), stain="VG"),
            lambda path: describe_slide(path, stain="VG"),
        ):
            with pytest.raises(SlideError, match=rf"stain VG, file {name}.*Found: an? ?{found}|{found}"):
                act(tmp_path / name)
        with pytest.raises(SlideError, match=name):
            fingerprint(tmp_path / name)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_picture_needs_its_scale_and_is_checked(tmp_path: Path, name: str) -> None:
    path, encode = tmp_path / name, imagecodecs.png_encode if name == "a.png" else imagecodecs.jpeg8_encode
    path.write_bytes(encode(PIXELS))
    facts = describe_slide(path)
    assert (facts.size, facts.um_per_px, facts.levels) == (Size(601, 830), None, 1)
    with pytest.raises(SlideError, match=rf"stain SMA, file {name}.*--um-per-px"):
        open_slide(path, cache=TileCache(), stain="SMA")
    data = path.read_bytes()
    for share in (0.002, 0.01, 0.5, 0.9, 0.999):
        path.write_bytes(data[: int(len(data) * share) - 20])
        with pytest.raises(SlideError, match=name):
            open_slide(path, cache=TileCache(), um_per_px=1.0)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (np.ascontiguousarray(PIXELS[..., 0]), np.repeat(PIXELS[..., :1], 3, -1)),
        (np.dstack([PIXELS, np.full((601, 830), 255, np.uint8)]), PIXELS),
        (np.dstack([PIXELS, np.zeros((601, 830), np.uint8)]), np.full_like(PIXELS, 255)),
    ],
    ids=["gray", "opaque", "transparent"],
)
def test_gray_and_transparent_pictures_become_rgb(tmp_path: Path, stored: Pixels, expected: Pixels) -> None:
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(stored))
    with open_slide(tmp_path / "a.png", cache=TileCache(), um_per_px=1.0) as slide:
        np.testing.assert_array_equal(slide.read(0, Box(0, 0, 601, 830)), expected)


def test_16_bit_and_huge_pictures_are_refused_from_the_header(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(PIXELS.astype(np.uint16)))
    with pytest.raises(SlideError, match="16 bits"):
        open_slide(path, cache=TileCache(), um_per_px=1.0)
    header = b"IHDR" + struct.pack(">IIBBBBB", 200_000, 200_000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)))
    for act in (describe_slide, lambda path: open_slide(path, cache=TileCache(), um_per_px=1.0)):
        with pytest.raises(SlideError, match=r"200000 x 200000 px, 40000 Mpx"):
            act(path)
    jpeg = bytearray(imagecodecs.jpeg8_encode(PIXELS))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 65_000, 65_000)
    (tmp_path / "a.jpg").write_bytes(jpeg)
    with pytest.raises(SlideError, match="4225 Mpx"):
        open_slide(tmp_path / "a.jpg", cache=TileCache(), um_per_px=1.0)


def test_a_jpeg_may_hold_a_smaller_one_and_be_followed_by_bytes(tmp_path: Path) -> None:
    jpeg = imagecodecs.jpeg8_encode(PIXELS)
    thumbnail = imagecodecs.jpeg8_encode(PIXELS[:50, :50])
    inner = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg[:2] + inner + jpeg[2:] + b"\0\0 after")
    with open_slide(path, cache=TileCache(), um_per_px=1.0) as slide:
        assert slide.levels[0] == Size(601, 830)
    path.write_bytes(jpeg[:2] + inner + jpeg[2:-100])  # its thumbnail's end is not the picture's
    with pytest.raises(SlideError, match="ends before its end"):
        open_slide(path, cache=TileCache(), um_per_px=1.0)


def test_the_fingerprint_is_size_and_ends(tmp_path: Path) -> None:
    path, mib = tmp_path / "a", 1024 * 1024
    data = np.random.default_rng(0).bytes(3 * mib + 5)
    path.write_bytes(data)
    mark = fingerprint(path)
    assert mark.bytes == len(data)
    assert mark.ends_sha256 == hashlib.sha256(data[:mib] + data[-mib:]).hexdigest()
    assert mark.sha256 is None
    told: list[tuple[float, float]] = []
    full = fingerprint(path, full=True, progress=lambda done, total, what, slide="": told.append((done, total)))
    assert full.sha256 == hashlib.sha256(data).hexdigest()
    assert told[-1] == (len(data), len(data))
    path.write_bytes(data[:mib] + b"x" + data[mib + 1 :])
    assert fingerprint(path) == mark  # the middle is the full hash's business
    path.write_bytes(data[:-1] + b"x")
    assert fingerprint(path) != mark
    path.write_bytes(b"tiny")
    assert fingerprint(path).ends_sha256 == hashlib.sha256(b"tinytiny").hexdigest()

    def cancelled(done: float, total: float, what: str, slide: str = "") -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        fingerprint(path, full=True, progress=cancelled)


def test_jpeg_2000_is_left_to_openslide(tmp_path: Path) -> None:
    """An Aperio slide in JPEG 2000 without loss, its tiles made here."""
    path, side = tmp_path / "a.svs", 128
    padded = np.pad(PIXELS, ((0, 39), (0, 66), (0, 0)), mode="edge")

    def tiles() -> Iterator[bytes]:
        for row in range(0, padded.shape[0], side):
            for col in range(0, padded.shape[1], side):
                tile = np.ascontiguousarray(padded[row : row + side, col : col + side])
                yield imagecodecs.jpeg2k_encode(tile, level=0, codecformat="j2k", mct=False)

    text = "Aperio Image Library v1\r\n830x601 J2K/RGB Q=100|AppMag = 20|MPP = 0.25"
    with tifffile.TiffWriter(path) as tif:
        shape, how = (601, 830, 3), {"photometric": "rgb", "compression": 33005, "metadata": None}
        tif.write(tiles(), shape=shape, dtype=np.uint8, tile=(side, side), description=text, **how)
    assert describe_slide(path).format == "OpenSlide aperio"
    with open_slide(path, cache=TileCache()) as slide:
        assert slide.um_per_px[0] == (0.25, 0.25)
        np.testing.assert_array_equal(slide.read(0, Box(-5, 7, 610, 830)), read_padded(PIXELS, Box(-5, 7, 610, 830)))


# --- real slides


@pytest.mark.real
@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "small.svs", "boxes.tiff"])
def test_real_slides_equal_openslide_bit_for_bit(real_data: Path, name: str) -> None:
    path = real_data / "slides" / name
    um = 1.0 if name == "boxes.tiff" else None
    with (
        open_slide(path, cache=TileCache(), um_per_px=um) as slide,
        open_with_openslide(path, TileCache(), um, None) as foreign,
        openslide.OpenSlide(path) as theirs,
    ):
        for level, (cols, rows) in enumerate(theirs.level_dimensions):
            assert slide.levels[level] == Size(rows, cols)
            expected = np.array(theirs.read_region((0, 0), level, (cols, rows)))[..., :3]
            np.testing.assert_array_equal(slide.read(level, Box(0, 0, rows, cols)), expected)
            np.testing.assert_array_equal(foreign.read(level, Box(0, 0, rows, cols)), expected)
        assert foreign.um_per_px == slide.um_per_px
        assert foreign.levels == slide.levels


@pytest.mark.real
def test_real_facts(real_data: Path) -> None:
    cmu = describe_slide(real_data / "slides" / "CMU-1-Small-Region.svs")
    assert (cmu.size, cmu.um_per_px, cmu.levels) == (Size(2967, 2220), (0.499, 0.499), 1)
    assert describe_slide(real_data / "slides" / "boxes.tiff").levels == 4
    assert describe_slide(real_data / "slides" / "boxes.tiff").um_per_px is None


@pytest.mark.real
@pytest.mark.parametrize("name", ["unopenable.tiff", "unreadable.svs"])
def test_real_broken_slides_are_refused_by_name(real_data: Path, name: str) -> None:
    with pytest.raises(SlideError, match=rf"stain HE, file {name}"):  # noqa: SIM117
        with open_slide(real_data / "slides" / name, cache=TileCache(), um_per_px=1.0, stain="HE") as slide:
            slide.read(0, whole(slide.levels[0]))


@pytest.mark.real
@pytest.mark.parametrize("stain", ["HE", "CD31", "Cc10", "Ki67", "proSPC"])
def test_the_real_case_opens_with_its_scale(lung_case: Path, stain: str) -> None:
    path = lung_case / f"{stain}.jpg"
    with pytest.raises(SlideError, match="--um-per-px"):
        open_slide(path, cache=TileCache(), stain=stain)
    with open_slide(path, cache=TileCache(), um_per_px=3.48, stain=stain) as slide:
        pixels = slide.read(0, whole(slide.levels[0]))
    np.testing.assert_array_equal(pixels, imagecodecs.imread(path))
