"""TIFF slides: what is written reads back, what others write is read, and broken or hostile files are refused."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from stainloom.errors import SlideError
from stainloom.geometry import ArrayPyramid, Box, Pixels, Size, halve, read_padded, whole
from stainloom.io.opened import level_scale
from stainloom.io.slides import describe_slide, open_slide
from stainloom.io.tiff import write_pyramid
from stainloom.io.tiles import TileCache
from stainloom.progress import Cancelled


def picture(rows: int, cols: int, seed: int = 0) -> Pixels:
    """Smooth colour with fine texture: something that JPEG keeps and a shift of one pixel would change."""
    rng = np.random.default_rng(seed)
    row, col = np.mgrid[:rows, :cols]
    smooth = np.stack(
        [120 + 80 * np.sin(row / 17), 130 + 70 * np.cos(col / 23), 100 + 60 * np.sin((row + col) / 31)], -1
    )
    return (smooth + rng.integers(0, 12, (rows, cols, 1))).clip(0, 255).astype(np.uint8)


def write(path: Path, pixels: Pixels, um: Any = 0.5, **more: Any) -> Path:
    write_pyramid(path, Size(*pixels.shape[:2]), um, lambda box: pixels[box.row : box.row_end], **more)
    return path


def read_whole(path: Path, level: int = 0, um: Any = None) -> Pixels:
    with open_slide(path, cache=TileCache(), um_per_px=um, stain="HE") as slide:
        return slide.read(level, whole(slide.levels[level]))


# --- what is written reads back


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (513, 700), (600, 33), (1030, 1290), (3, 1500)])
def test_without_loss_every_level_is_the_halved_picture(tmp_path: Path, shape: tuple[int, int]) -> None:
    pixels = picture(*shape)
    path = write(tmp_path / "a.ome.tif", pixels, (0.5, 0.25), jpeg_quality=None, tile_px=64)
    expected = ArrayPyramid(pixels, (0.5, 0.25))
    with open_slide(path, cache=TileCache()) as slide:
        assert slide.levels == expected.levels
        assert slide.um_per_px == expected.um_per_px
        for level, size in enumerate(slide.levels):
            np.testing.assert_array_equal(slide.read(level, whole(size)), expected.read(level, whole(size)))
    assert describe_slide(path).levels == len(expected.levels)


def test_strips_are_asked_once_in_order_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stainloom.io.tiff._STRIP_PX", 64 * 900)
    pixels, asked = picture(1000, 900), []

    def strip(box: Box) -> Pixels:
        asked.append(box)
        return pixels[box.row : box.row_end]

    write_pyramid(tmp_path / "a.tif", Size(1000, 900), 1.0, strip, tile_px=64, jpeg_quality=None)
    assert [box.row for box in asked] == list(range(0, 1000, 64))
    assert {(box.col, box.cols) for box in asked} == {(0, 900)}
    assert asked[-1].row_end == 1000
    with open_slide(tmp_path / "a.tif", cache=TileCache()) as slide:
        for level, size in enumerate(slide.levels):
            expected = ArrayPyramid(pixels, 1.0).read(level, whole(size))
            np.testing.assert_array_equal(slide.read(level, whole(size)), expected)


def test_jpeg_stays_close_and_opens_elsewhere(tmp_path: Path) -> None:
    pixels = picture(700, 1100)
    path = write(tmp_path / "a.ome.tif", pixels, (0.5, 0.25), description="block 7, \u00b5m & <more>")
    ours = read_whole(path)
    assert np.abs(ours.astype(int) - pixels).mean() < 3
    assert np.abs(np.roll(ours, 1, 1).astype(int) - pixels).mean() > 3  # the bound above would see a shift
    with openslide.OpenSlide(path) as slide:
        assert slide.dimensions == (1100, 700)
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.25)
        assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(0.5)
        theirs = np.array(slide.read_region((0, 0), 0, slide.dimensions))[..., :3]
    np.testing.assert_array_equal(ours, theirs)
    with tifffile.TiffFile(path) as tif:
        assert tif.is_ome
        assert [level.shape for level in tif.series[0].levels] == [(700, 1100, 3), (350, 550, 3), (175, 275, 3)][:3]
        np.testing.assert_array_equal(tif.series[0].levels[1].asarray(), read_whole(path, 1))
        assert "block 7, &#181;m &amp; &lt;more&gt;" in tif.pages[0].description


def test_colour_keeps_its_resolution(tmp_path: Path) -> None:
    """Columns of two colours of one brightness: halved colour (4:2:0) would make them one."""
    pixels = np.empty((256, 256, 3), np.uint8)
    pixels[:, 0::2], pixels[:, 1::2] = (150, 100, 110), (90, 125, 140)
    got = read_whole(write(tmp_path / "a.tif", pixels)).astype(int)
    assert np.abs(got - pixels).mean() < 6


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    pixels = picture(300, 800)
    for quality in (90, None):
        first = write(tmp_path / "a.tif", pixels, jpeg_quality=quality).read_bytes()
        assert first == write(tmp_path / "b.tif", pixels, jpeg_quality=quality).read_bytes()


@given(
    st.tuples(st.integers(1, 150), st.integers(1, 150)),
    st.tuples(st.integers(-40, 160), st.integers(-40, 160), st.integers(0, 120), st.integers(0, 120)),
)
@settings(max_examples=40, deadline=None)
def test_any_box_is_that_box_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, int], corner: tuple[int, int, int, int]
) -> None:
    pixels, box = picture(*shape), Box(*corner)
    path = write(tmp_path_factory.getbasetemp() / "box.tif", pixels, tile_px=32, jpeg_quality=None)
    with open_slide(path, cache=TileCache(5_000)) as slide:
        got = slide.read(0, box)
    assert got.shape == (*box.shape, 3)
    np.testing.assert_array_equal(got, read_padded(pixels, box))


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    old = tmp_path / "a.tif"
    old.write_bytes(b"what was there")

    def cancelled(done: float, total: float, what: str, slide: str = "") -> None:
        raise Cancelled

    def broken(box: Box) -> Pixels:
        raise RuntimeError("no strip")

    with pytest.raises(Cancelled):
        write(old, picture(300, 300), progress=cancelled)
    with pytest.raises(RuntimeError, match="no strip"):
        write_pyramid(old, Size(300, 300), 1.0, broken)
    with pytest.raises(ValueError, match="strip"):
        write_pyramid(old, Size(300, 300), 1.0, lambda box: picture(10, 10))
    assert old.read_bytes() == b"what was there"
    assert os.listdir(tmp_path) == ["a.tif"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_full_or_read_only_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tifffile.TiffWriter, "write", full)
    with pytest.raises(SlideError, match=r"full|read-only"):
        write(tmp_path / "a.tif", picture(50, 50))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("wrong", [{"tile_px": 100}, {"tile_px": 0}, {"jpeg_quality": 0}, {"jpeg_quality": 101}])
def test_wrong_requests_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        write(tmp_path / "a.tif", picture(50, 50), **wrong)


def test_progress_reaches_its_total(tmp_path: Path) -> None:
    told: list[tuple[float, float]] = []
    write(
        tmp_path / "a.tif", picture(300, 300), progress=lambda done, total, what, slide="": told.append((done, total))
    )
    assert told[0] == (0, 300)
    assert told[-1] == (300, 300)


# --- what others write


RGB = picture(300, 420)
WRITERS: dict[str, tuple[Pixels, dict[str, Any]]] = {
    "one piece": (RGB, {"photometric": "rgb"}),
    "strips": (RGB, {"photometric": "rgb", "rowsperstrip": 7, "compression": "deflate"}),
    "one deflated piece": (RGB, {"photometric": "rgb", "rowsperstrip": 300, "compression": "deflate"}),
    "big endian": (RGB, {"photometric": "rgb", "tile": (64, 32)}),
    "LZW": (RGB, {"photometric": "rgb", "tile": (64, 32), "compression": "lzw", "predictor": True}),
    "zstd": (RGB, {"photometric": "rgb", "tile": (64, 32), "compression": "zstd"}),
    "packbits": (RGB, {"photometric": "rgb", "tile": (64, 32), "compression": "packbits"}),
    "planes": (RGB, {"photometric": "rgb", "tile": (64, 32), "planarconfig": "separate", "compression": "lzw"}),
    "planes in strips": (RGB, {"photometric": "rgb", "planarconfig": "separate", "rowsperstrip": 11}),
    "gray": (RGB[..., 0], {"photometric": "minisblack", "tile": (64, 64)}),
    "white is zero": (255 - RGB[..., 0], {"photometric": "miniswhite", "tile": (64, 64)}),
    "bigtiff": (RGB, {"photometric": "rgb", "tile": (64, 32), "compression": "deflate"}),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_plain_tiff_of_other_programs(tmp_path: Path, kind: str) -> None:
    stored, how = WRITERS[kind]
    path = tmp_path / "a.tif"
    if how.get("planarconfig") == "separate":
        stored = np.moveaxis(stored, -1, 0)
    order = ">" if kind == "big endian" else "<"
    tifffile.imwrite(path, stored, metadata=None, byteorder=order, bigtiff=kind == "bigtiff", **how)
    expected = np.repeat(RGB[..., :1], 3, axis=-1) if "gray" in kind or "white" in kind else RGB
    np.testing.assert_array_equal(read_whole(path, um=1.0), expected)
    with open_slide(path, cache=TileCache(), um_per_px=1.0) as slide:
        np.testing.assert_array_equal(slide.read(0, Box(290, -3, 20, 9)), read_padded(expected, Box(290, -3, 20, 9)))


@pytest.mark.parametrize(("kind", "associated"), [("unassalpha", False), ("assocalpha", True)])
def test_transparency_lies_on_white(tmp_path: Path, kind: str, associated: bool) -> None:
    alpha = np.zeros((300, 420, 1), np.uint8)
    alpha[:, 100:], alpha[:, 200:] = 128, 255
    colour = (RGB * (alpha / 255.0)).astype(np.uint8) if associated else RGB
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.concatenate([colour, alpha], -1), photometric="rgb", extrasamples=kind, metadata=None)
    got = read_whole(path, um=1.0).astype(int)
    assert (got[:, :100] == 255).all()
    np.testing.assert_allclose(got[:, 150], RGB[:, 150] * (128 / 255) + 127, atol=2)
    np.testing.assert_array_equal(got[:, 200:], RGB[:, 200:])


def test_pages_as_levels_but_never_label_macro_or_thumbnail(tmp_path: Path) -> None:
    path = tmp_path / "a.svs"
    pixels, label = picture(1000, 1400), np.zeros((100, 140, 3), np.uint8)  # in the slide's own shape
    text = "Aperio Image Library v1\r\n1400x1000 |AppMag = 20|MPP = 0.5020|Patient = somebody"
    with tifffile.TiffWriter(path) as tif:
        tile: dict[str, Any] = {"tile": (256, 256), "photometric": "rgb", "metadata": None}
        tif.write(pixels, description=text, **tile)
        tif.write(halve(halve(pixels)), photometric="rgb", metadata=None)  # a thumbnail, in strips
        tif.write(halve(halve(pixels)), **tile)
        tif.write(label, subfiletype=1, photometric="rgb", metadata=None)
        tif.write(label, subfiletype=9, **tile)
    facts = describe_slide(path)
    assert (facts.size, facts.um_per_px, facts.levels, facts.format) == (
        Size(1000, 1400),
        (0.502, 0.502),
        2,
        "Aperio SVS",
    )
    with open_slide(path, cache=TileCache()) as slide:
        assert slide.levels[:2] == (Size(1000, 1400), Size(250, 350))
        assert slide.um_per_px[1] == pytest.approx((2.008, 2.008))
        np.testing.assert_array_equal(slide.read(1, Box(0, 0, 250, 350)), halve(halve(pixels)))


def test_a_file_without_levels_gets_them_from_its_own_pixels(tmp_path: Path) -> None:
    pixels = picture(1100, 1501)
    tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(128, 128), photometric="rgb", metadata=None)
    expected = ArrayPyramid(pixels, 0.5)
    with open_slide(tmp_path / "a.tif", cache=TileCache(), um_per_px=0.5) as slide:
        assert (slide.levels, slide.um_per_px) == (expected.levels, expected.um_per_px)
        for level, size in enumerate(slide.levels):
            np.testing.assert_array_equal(slide.read(level, whole(size)), expected.read(level, whole(size)))


def test_ome_tiff_with_levels_of_another_writer(tmp_path: Path) -> None:
    pixels = picture(900, 1400)
    levels = [pixels, halve(pixels), halve(halve(pixels))]
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as tif:
        how: dict[str, Any] = {"tile": (128, 128), "photometric": "rgb", "compression": "deflate"}
        size = {
            "PhysicalSizeX": 0.25,
            "PhysicalSizeXUnit": "\u00b5m",
            "PhysicalSizeY": 0.5,
            "PhysicalSizeYUnit": "\u00b5m",
        }
        tif.write(pixels, subifds=2, metadata={"axes": "YXS", **size}, **how)
        for level in levels[1:]:
            tif.write(level, subfiletype=1, **how)
    facts = describe_slide(tmp_path / "a.ome.tif")
    assert (facts.format, facts.levels, facts.um_per_px) == ("OME-TIFF", 3, (0.5, 0.25))
    with open_slide(tmp_path / "a.ome.tif", cache=TileCache()) as slide:
        assert slide.um_per_px == ((0.5, 0.25), (1.0, 0.5), (2.0, 1.0))
        for level, expected in enumerate(levels):
            np.testing.assert_array_equal(slide.read(level, whole(slide.levels[level])), expected)


def test_a_tile_left_out_is_white(tmp_path: Path) -> None:
    def tiles() -> Any:
        yield np.full((128, 128, 3), 9, np.uint8)
        yield None

    tifffile.imwrite(
        tmp_path / "a.tif",
        tiles(),
        shape=(128, 256, 3),
        dtype=np.uint8,
        tile=(128, 128),
        photometric="rgb",
        metadata=None,
    )
    got = read_whole(tmp_path / "a.tif", um=1.0)
    assert (got[:, :128] == 9).all()
    assert (got[:, 128:] == 255).all()


# --- um per px


@given(
    st.tuples(st.integers(1, 100_000), st.integers(1, 100_000)),
    st.sampled_from([2, 3, 4, 5, 8, 16, 32, 64]),
    st.booleans(),
)
def test_the_scale_of_a_level_is_its_factor_however_its_size_was_rounded(
    shape: tuple[int, int], factor: int, up: bool
) -> None:
    rows, cols = (max(1, -(-side // factor) if up else side // factor) for side in shape)
    if min(rows, cols) < 40:
        return  # too few pixels to tell factors apart
    assert level_scale(Size(*shape), Size(rows, cols), (0.5, 0.25)) == (0.5 * factor, 0.25 * factor)


def test_the_scale_of_an_odd_level_is_the_ratio_of_sizes() -> None:
    assert level_scale(Size(1000, 2000), Size(400, 800), (1.0, 1.0)) == pytest.approx((2.5, 2.5))


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"resolution": (20_000, 40_000), "resolutionunit": "CENTIMETER"}, (0.25, 0.5)),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, None),
        ({"resolution": (28, 28), "resolutionunit": "CENTIMETER"}, None),
        ({"resolution": (1e7, 1e7), "resolutionunit": "CENTIMETER"}, None),
        ({}, None),
    ],
)
def test_resolution_tags_are_believed_in_cm_and_where_plausible(tmp_path: Path, how: Any, expected: Any) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB, tile=(64, 64), photometric="rgb", metadata=None, **how)
    found = describe_slide(path).um_per_px
    assert found == (pytest.approx(expected) if expected else None)
    if expected is None:
        with pytest.raises(SlideError, match=r"stain HE, file a\.tif.*--um-per-px"):
            open_slide(path, cache=TileCache(), stain="HE")
    with open_slide(path, cache=TileCache(), um_per_px=(3.0, 4.0)) as slide:
        assert slide.um_per_px[0] == (3.0, 4.0)


def ome(pixels_more: str = "", body: str = "", before: str = "", sizes: str = 'SizeX="420" SizeY="300"') -> str:
    return (
        f'<?xml version="1.0"?>{before}<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        f'UUID="urn:uuid:1"><Image ID="Image:0"><Pixels ID="P:0" {sizes} SizeC="3" SizeZ="1" SizeT="1" Type="uint8" '
        f'DimensionOrder="XYCZT" {pixels_more}><Channel ID="C:0" SamplesPerPixel="3"/>{body}</Pixels></Image></OME>'
    )


def write_ome(path: Path, xml: str) -> Path:
    tifffile.imwrite(path, RGB, tile=(64, 64), photometric="rgb", metadata=None, description=xml.encode())
    return path


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ('PhysicalSizeX="0.25" PhysicalSizeY="0.5"', (0.5, 0.25)),
        ('PhysicalSizeX="250" PhysicalSizeXUnit="nm" PhysicalSizeY="0.0005" PhysicalSizeYUnit="mm"', (0.5, 0.25)),
        (
            'PhysicalSizeX="0.25" PhysicalSizeXUnit="\u00b5m" PhysicalSizeY="0.5" PhysicalSizeYUnit="\u00b5m"',
            (0.5, 0.25),
        ),
        ('PhysicalSizeX="1" PhysicalSizeXUnit="pixel" PhysicalSizeY="1" PhysicalSizeYUnit="pixel"', None),
        ('PhysicalSizeX="0" PhysicalSizeY="0.5"', None),
        ("", None),
    ],
)
def test_ome_units(tmp_path: Path, stated: str, expected: Any) -> None:
    facts = describe_slide(write_ome(tmp_path / "a.ome.tif", ome(stated)))
    assert facts.format == "OME-TIFF"
    assert facts.um_per_px == (pytest.approx(expected) if expected else None)


# --- hostile and broken files


def tiff_data(name: str, uuid: str = "urn:uuid:1") -> str:
    return f'<TiffData IFD="0"><UUID FileName="{name}">{uuid}</UUID></TiffData>'


@pytest.mark.parametrize(
    ("xml", "found"),
    [
        (ome(body=tiff_data("../secret.tif", "urn:uuid:2")), "secret"),
        (ome(body=tiff_data("a.ome.tif") + tiff_data("b.ome.tif")), "b.ome.tif"),
        (ome(before='<!DOCTYPE OME [<!ENTITY a "aaaa">]>'), "document type"),
        (ome(before='<!DOCTYPE OME SYSTEM "file:///etc/passwd">'), "document type"),
        (ome(sizes='SizeX="200000" SizeY="200000"'), "420 x 300"),
        (ome().replace('SizeZ="1"', 'SizeZ="4"'), "SizeZ"),
        (ome().replace('SizeC="3"', 'SizeC="9"'), "9 channels"),
        (ome().replace("</OME>", ""), "no element|mismatched|not well-formed|unclosed"),
        (ome(body='<TiffData IFD="7"/>'), "1 pages"),
        ('<OME><BinaryOnly MetadataFile="other.ome" UUID="u"/></OME>', "other.ome"),
    ],
)
def test_ome_xml_is_not_followed_and_not_trusted(tmp_path: Path, xml: str, found: str) -> None:
    tifffile.imwrite(tmp_path / "secret.tif", RGB, photometric="rgb")
    path = write_ome(tmp_path / "a.ome.tif", xml)
    with pytest.raises(SlideError, match=rf"stain HE, file a\.ome\.tif.*({found})"):
        open_slide(path, cache=TileCache(), um_per_px=1.0, stain="HE")


def test_a_renamed_ome_tiff_still_opens(tmp_path: Path) -> None:
    path = write_ome(tmp_path / "renamed.ome.tif", ome(body=tiff_data("old-name.ome.tif")))
    np.testing.assert_array_equal(read_whole(path, um=1.0), RGB)


def reads(path: Path) -> None:
    """Open and read everything, as a job would."""
    with open_slide(path, cache=TileCache(), um_per_px=1.0, stain="HE") as slide:
        for level, size in enumerate(slide.levels):
            slide.read(level, whole(size))


@pytest.mark.parametrize("quality", [90, None])
def test_a_truncated_tiff_is_refused_wherever_it_is_cut(tmp_path: Path, quality: int | None) -> None:
    data = write(tmp_path / "a.tif", picture(600, 900), jpeg_quality=quality, tile_px=128).read_bytes()
    cut = tmp_path / "cut.tif"
    for share in (0.0001, 0.001, 0.005, 0.01, 0.1, 0.5, 0.7, 0.9, 0.99, 0.9999):
        cut.write_bytes(data[: max(1, int(len(data) * share))])
        with pytest.raises(SlideError, match=r"stain HE, file cut\.tif"):
            reads(cut)
    cut.write_bytes(data[:-1])
    with pytest.raises(SlideError, match="cut short"):
        open_slide(cut, cache=TileCache(), stain="HE")


def test_a_file_that_shrinks_while_open_is_refused_on_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", picture(600, 900))
    with open_slide(path, cache=TileCache(), stain="HE") as slide:
        os.truncate(path, path.stat().st_size // 3)
        with pytest.raises(SlideError, match=r"stain HE, file a\.tif.*shorter"):
            slide.read(0, Box(0, 0, 600, 900))


def test_mutated_files_end_in_pixels_or_a_slide_error(tmp_path: Path) -> None:
    """Nothing else: no crash, no other exception, no large allocation (the picture is 0.1 Mpx)."""
    data = write(tmp_path / "a.tif", picture(200, 520), tile_px=64, um=0.5).read_bytes()
    rng, refused = np.random.default_rng(1), 0
    for _ in range(150):
        mutant = bytearray(data)
        for at in rng.integers(0, 2500, 4):  # the header, the OME-XML and the first tables
            mutant[at] = rng.integers(256)
        (tmp_path / "m.tif").write_bytes(mutant)
        try:
            with open_slide(tmp_path / "m.tif", cache=TileCache(), um_per_px=1.0) as slide:
                got = slide.read(0, Box(0, 0, 200, 520))
                assert got.shape == (200, 520, 3)
        except SlideError:
            refused += 1
    assert refused > 20


def patched(path: Path, tag: str, value: int) -> None:
    with tifffile.TiffFile(path, mode="r+b") as tif:
        tif.pages[0].tags[tag].overwrite(value)


@pytest.mark.parametrize("tiled", [True, False])
def test_a_huge_declared_size_is_refused_before_allocation(tmp_path: Path, tiled: bool) -> None:
    path = tmp_path / "a.tif"
    how: dict[str, Any] = {"tile": (64, 64)} if tiled else {"rowsperstrip": 10}
    tifffile.imwrite(path, RGB, photometric="rgb", metadata=None, compression="deflate", **how)
    patched(path, "ImageLength", 200_000)
    patched(path, "ImageWidth", 200_000)
    with pytest.raises(SlideError, match=r"stain HE, file a\.tif"):
        reads(path)


def test_a_huge_tile_is_refused_before_allocation(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB[:64, :64], photometric="rgb", metadata=None, tile=(64, 64), compression="deflate")
    patched(path, "TileLength", 65_520)
    patched(path, "TileWidth", 65_520)
    with pytest.raises(SlideError, match=r"Mpx.*65520 x 65520"):
        reads(path)


def bomb(encode: Callable[[], bytes], compression: str, path: Path) -> Path:
    """A file of one 64 px tile whose data decode to far more."""
    more: dict[str, Any] = {"compressionargs": {"outcolorspace": "ycbcr"}} if compression == "jpeg" else {}
    tifffile.imwrite(
        path,
        iter([encode()]),
        shape=(64, 64, 3),
        dtype=np.uint8,
        tile=(64, 64),
        photometric="rgb",
        compression=compression,
        metadata=None,
        **more,
    )
    return path


HUGE = np.zeros((3000, 3000, 3), np.uint8)


@pytest.mark.parametrize(
    ("compression", "encode", "found"),
    [
        ("deflate", lambda: imagecodecs.zlib_encode(HUGE.tobytes()), "Zlib|deflate"),
        ("zstd", lambda: imagecodecs.zstd_encode(HUGE.tobytes()), "too small"),
        ("jpeg", lambda: imagecodecs.jpeg8_encode(HUGE), "a JPEG of 3000 x 3000 px"),  # known before it is decoded
        ("jpeg", lambda: imagecodecs.jpeg8_encode(HUGE[:32, :32]), "corrupted|of 32 x 32"),
        ("jpeg", lambda: imagecodecs.jpeg8_encode(HUGE[:64, :64])[:-30], "without its end"),
        ("jpeg", lambda: imagecodecs.jpeg8_encode(HUGE[:64, :64, 0].copy()), "1 channels"),
    ],
)
def test_a_tile_that_decodes_to_another_size_is_refused(
    tmp_path: Path, compression: str, encode: Callable[[], bytes], found: str
) -> None:
    path = bomb(encode, compression, tmp_path / "a.tif")
    with open_slide(path, cache=TileCache(), um_per_px=1.0, stain="HE") as slide:
        with pytest.raises(SlideError, match=rf"damaged \(stain HE, file a\.tif\).*({found})"):
            slide.read(0, Box(0, 0, 64, 64))
        with pytest.raises(SlideError, match="damaged"):  # nor is the failure kept as pixels
            slide.read(0, Box(0, 0, 1, 1))


@pytest.mark.parametrize(
    ("pixels", "how", "found"),
    [
        (RGB.astype(np.uint16), {"photometric": "rgb"}, "16 bits"),
        (RGB[..., 0] > 99, {"photometric": "minisblack"}, "1 bits"),
        (np.dstack([RGB, RGB])[..., :5], {"photometric": "minisblack", "planarconfig": "contig"}, "5 channels"),
        (RGB.astype(np.float32), {"photometric": "rgb"}, "32 bits"),
        (RGB, {"photometric": "rgb", "compression": "webp"}, "compression 50001"),
    ],
)
def test_other_kinds_of_pixels_are_refused_clearly(tmp_path: Path, pixels: Any, how: Any, found: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels, metadata=None, **how)
    with pytest.raises(SlideError, match=rf"(?i)stain HE, file a\.tif.*{found}|OpenSlide"):
        open_slide(tmp_path / "a.tif", cache=TileCache(), um_per_px=1.0, stain="HE")


def test_one_piece_that_is_shorter_than_its_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB, photometric="rgb", metadata=None)
    with path.open("ab") as file:
        file.write(bytes(300_000))  # so that the missing rows would be found in what follows
    patched(path, "StripByteCounts", 300 * 420)
    with pytest.raises(SlideError, match=r"stain HE, file a\.tif"):
        reads(path)


# --- threads and closing


def test_many_threads_read_the_same_pixels(tmp_path: Path) -> None:
    pixels = picture(700, 900)
    path = write(tmp_path / "a.tif", pixels, jpeg_quality=None, tile_px=64)
    rng = np.random.default_rng(0)
    boxes = [Box(int(r), int(c), 150, 170) for r, c in rng.integers(-50, 800, (80, 2))]
    with open_slide(path, cache=TileCache(60_000)) as slide, ThreadPoolExecutor(8) as pool:
        for box, got in zip(boxes, pool.map(lambda box: slide.read(0, box), boxes), strict=True):
            np.testing.assert_array_equal(got, read_padded(pixels, box))


def test_reading_works_without_pread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = picture(300, 300)
    path = write(tmp_path / "a.tif", pixels, jpeg_quality=None, tile_px=64)
    monkeypatch.delattr(os, "pread")
    boxes = [Box(r, c, 90, 90) for r in range(0, 300, 60) for c in range(0, 300, 60)]
    with open_slide(path, cache=TileCache(0)) as slide, ThreadPoolExecutor(8) as pool:
        for box, got in zip(boxes, pool.map(lambda box: slide.read(0, box), boxes), strict=True):
            np.testing.assert_array_equal(got, read_padded(pixels, box))


def test_closing_waits_for_readers_drops_tiles_and_ends_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cache = write(tmp_path / "a.tif", picture(300, 300)), TileCache()
    slide = open_slide(path, cache=cache)
    inside, go, pread = threading.Event(), threading.Event(), os.pread

    def slow(*where: int) -> bytes:
        inside.set()
        go.wait(5)
        return pread(*where)

    monkeypatch.setattr(os, "pread", slow)
    with ThreadPoolExecutor(2) as pool:
        read = pool.submit(slide.read, 0, Box(0, 0, 9, 9))
        inside.wait(5)
        closing = pool.submit(slide.close)
        time.sleep(0.1)
        assert not closing.done()  # the file number must not go to another file while somebody reads by it
        go.set()
        assert read.result(5).shape == (9, 9, 3)
        closing.result(5)
    assert cache.bytes == 0
    slide.close()
    with pytest.raises(ValueError, match=r"closed slide: a\.tif"):
        slide.read(0, Box(0, 0, 9, 9))


def test_halving_is_the_rounded_mean() -> None:
    rng = np.random.default_rng(0)
    for shape in [(1, 1, 3), (1, 9, 3), (64, 130, 3), (33, 65, 1), (101, 100, 4), (300, 301, 2)]:
        pixels = rng.integers(0, 256, shape, dtype=np.uint8)
        padded = np.pad(pixels, ((0, shape[0] % 2), (0, shape[1] % 2), (0, 0)), mode="edge").astype(int)
        total = padded[0::2, 0::2] + padded[1::2, 0::2] + padded[0::2, 1::2] + padded[1::2, 1::2]
        np.testing.assert_array_equal(halve(pixels), (total + 2) // 4)
