"""Arrays on disk: equal arrays give equal bytes, and no header is believed."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stainloom.errors import CaseError
from stainloom.io.arrays import read_arrays, write_arrays

DTYPES = st.sampled_from([np.uint8, np.int64, np.float32, np.float64, np.bool_])
ARRAYS = DTYPES.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)


@settings(max_examples=25, deadline=None)
@given(
    arrays=st.dictionaries(st.sampled_from(["a", "b_c", "forward_0_affine"]), ARRAYS, max_size=3),
    compress=st.booleans(),
)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, Any], compress: bool) -> None:
    file = tmp_path_factory.getbasetemp() / "round.npz"
    write_arrays(file, arrays, compress=compress)
    first = file.read_bytes()
    found = read_arrays(file, 1 << 20)
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)
    write_arrays(file, dict(reversed(arrays.items())), compress=compress)
    assert file.read_bytes() == first


def test_numpy_reads_it_too(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", {"x": np.arange(6).reshape(2, 3)[:, ::-1]})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        np.testing.assert_array_equal(found["x"], [[2, 1, 0], [5, 4, 3]])


def npz(path: Path, entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def npy(array: Any, **said: Any) -> bytes:
    packed = io.BytesIO()
    np.lib.format.write_array(packed, array, allow_pickle=True)
    return packed.getvalue()


def lying(shape: str, descr: str = "<f4", data: bytes = b"") -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data


@pytest.mark.parametrize(
    "entry",
    [
        npy(np.array([{"a": 1}], dtype=object)),
        npy(np.array(["text"])),
        npy(np.zeros(3, dtype=[("a", "<f4")])),
        lying("(200000, 200000)", data=b"\0" * 64),
        lying("(-1, -16)", data=b"\0" * 64),
        lying("(2,)", data=b"\0" * 64),
        lying("(16,)", data=b"\0" * 63),
        lying("(__import__('os'),)", data=b"\0" * 64),
        b"\x93NUMPY\x09\x00" + b"\0" * 100,
        b"no array at all",
        b"",
    ],
)
def test_arrays_that_are_refused(tmp_path: Path, entry: bytes) -> None:
    file = npz(tmp_path / "warp.npz", {"a.npy": entry})
    with pytest.raises(CaseError, match=r"warp\.npz"):
        read_arrays(file, 1 << 20)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    file = npz(tmp_path / "a.npz", {"a.npy": npy(np.zeros(50_000_000, np.uint8))}, zipfile.ZIP_DEFLATED)
    assert file.stat().st_size < 100_000
    with pytest.raises(CaseError, match="at most 1000000 bytes"):
        read_arrays(file, 1_000_000)


def test_other_compression_is_refused(tmp_path: Path) -> None:
    file = npz(tmp_path / "a.npz", {"a.npy": npy(np.zeros(1000))}, zipfile.ZIP_LZMA)
    with pytest.raises(CaseError, match="not read"):
        read_arrays(file, 1 << 20)


@pytest.mark.parametrize("compress", [False, True])
def test_no_damage_passes_unseen(tmp_path: Path, compress: bool) -> None:
    file = tmp_path / "a.npz"
    truth = np.arange(400, dtype=np.float32).reshape(20, 20)
    write_arrays(file, {"a": truth}, compress=compress)
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 150):
        broken = bytearray(whole)
        broken[place] ^= 1 << int(rng.integers(8))
        file.write_bytes(bytes(broken))
        try:
            found = read_arrays(file, 1 << 20)
        except CaseError:
            continue
        # Dates and attributes of the archive carry nothing.
        assert list(found) != ["a"] or np.array_equal(found["a"], truth)
    for length in range(0, len(whole), 97):
        file.write_bytes(whole[:length])
        with pytest.raises(CaseError):
            read_arrays(file, 1 << 20)
