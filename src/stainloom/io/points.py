"""Points in tables: landmarks as other programs write them."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

from stainloom.errors import CaseError
from stainloom.io.files import disk_errors

_MOST_BYTES = 16 << 20


def read_points(path: Path) -> dict[int, tuple[float, float]]:
    """Points by index, (row, col), in the units of the file.

    Parameters
    ----------
    path
        A CSV with one line of titles and then index, X, Y; UTF-8.

    Raises
    ------
    CaseError
        Naming the file and the line: too large, an index twice, something that is no number.
    """
    with disk_errors(path), path.open("rb") as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise CaseError("a table of points is too large", slide=path.name, expected=f"at most {_MOST_BYTES >> 20} MB")
    rows = csv.reader(io.StringIO(data.decode("utf-8-sig", errors="replace")))
    points: dict[int, tuple[float, float]] = {}
    for number, row in enumerate(rows, start=1):
        if number == 1 or not row:
            continue
        try:
            index, x, y = int(row[0]), float(row[1]), float(row[2])
            if not (math.isfinite(x) and math.isfinite(y)) or index in points:
                raise ValueError("twice" if index in points else "no number")
        except (ValueError, IndexError) as error:
            raise CaseError(
                f"line {number} of a table of points is wrong",
                slide=path.name,
                expected="index, X, Y; each index once",
                found=",".join(row)[:80],
            ) from error
        points[index] = (y, x)
    return points
