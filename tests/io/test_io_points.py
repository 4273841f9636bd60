"""Landmarks of other programs."""

from pathlib import Path

import pytest

from stainloom.errors import CaseError
from stainloom.io.points import read_points


def test_points_are_read_as_row_and_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(" ,X,Y\n1,2124,1584\n3,2.5,7\n")
    assert read_points(tmp_path / "a.csv") == {1: (1584.0, 2124.0), 3: (7.0, 2.5)}


@pytest.mark.parametrize("line", ["1,2", "a,1,2", "1,nan,2", "1,2,3\n1,2,3", "1,1e999,0"])
def test_a_wrong_line_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.csv").write_text(f",X,Y\n{line}\n")
    with pytest.raises(CaseError, match=r"line [23].*a\.csv"):
        read_points(tmp_path / "a.csv")


@pytest.mark.real
def test_the_real_landmarks(lung_case: Path) -> None:
    points = read_points(lung_case / "landmarks" / "HE.csv")
    assert len(points) == 80
    assert points[1] == (1584.0, 2124.0)
