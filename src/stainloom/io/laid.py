"""Where a hand laid a section on the reference: one affine in um, as JSON."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stainloom.case.warp import Step
from stainloom.errors import CaseError
from stainloom.io.files import disk_errors, read_json, write_json
from stainloom.io.records import refuse_newer
from stainloom.io.results import described


def write_laid(file: Path, stain: str, affine: NDArray[np.float64]) -> None:
    """Write where a stain was laid: reference um to its um, (2, 3), (row, col). Numbers are kept to the last bit."""
    with disk_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, described("stainloom laid by hand", {"stain": stain, "affine": np.asarray(affine).tolist()}))


def read_laid(file: Path, stain: str) -> NDArray[np.float64]:
    """Where a stain was laid; `CaseError` where the file is of another stain or says nothing that can be used."""
    content = read_json(file)
    refuse_newer(content, file)
    of = content.get("stain", stain)
    if of != stain:
        raise CaseError(
            "this start belongs to another stain", slide=file.name, stain=stain, expected=stain, found=str(of),
            next="name its file, or lay this stain by hand",
        )  # fmt: skip
    try:
        return Step(np.array(content["affine"], np.float64)).affine
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise CaseError(
            f"{file.name} says nowhere to start from",
            slide=file.name,
            stain=stain,
            expected='the key "affine" with two rows of three numbers: reference µm to µm of the stain, (row, col)',
            found=str(error),
            next="lay the stain by hand again",
        ) from error
