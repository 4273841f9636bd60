"""The table by which a user names slides: a CSV with one row a slide."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from stainloom.case.stains import stain_in_name
from stainloom.case.study import Study
from stainloom.errors import CaseError
from stainloom.io.files import check_name, disk_errors, write_whole

NAME_IT = "name it with --name {}, for instance"
"""What to do where a case cannot be called what its folder or file is."""

_MOST_BYTES = 16 << 20
_COLUMNS = ("stain", "path", "case", "patient", "block", "um_per_px")


@dataclass(frozen=True)
class Row:
    """One slide to be taken into a study.

    Attributes
    ----------
    case
        Name of its case.
    patient
        The patient's pseudonym, or None where nobody said.
    block
        The block, as the laboratory counts it.
    stain
        Name of its stain in the study.
    path
        The file.
    um_per_px
        um per px of level 0 as the user states it, or None.
    """

    case: str
    patient: str | None
    block: str
    stain: str
    path: Path
    um_per_px: float | None = None


def rows_of_csv(
    path: Path, study: Study, name: str | None = None, patient: str | None = None, um_per_px: float | None = None
) -> list[Row]:
    """Read a table of slides.

    Parameters
    ----------
    path
        The CSV: UTF-8, with or without a byte-order mark; separated by comma, semicolon or tab. Columns stain and path,
        and if wanted case, patient, block, um_per_px. Relative paths start at the folder of the table.
    study
        Whose stains are meant: by name in any case, or by one of their words.
    name, patient, um_per_px
        For rows that leave these empty. A case is called like the table, a block like its case, where nothing is said.

    Raises
    ------
    CaseError
        Naming the line: a column that is missing or unknown, a stain that the study does not have, an empty cell, a
        number that is none.
    """
    rows = []
    for number, said in cells_of_csv(path):
        given = said.get("case")
        case = check_name(given, "a case") if given else check_name(name or path.stem, "a case", NAME_IT)
        rows.append(
            Row(
                case,
                said.get("patient") or patient,
                said.get("block") or case,
                _stain(said.get("stain", ""), study, path, number),
                _file(said.get("path", ""), path, number),
                _number(said["um_per_px"], path, number) if said.get("um_per_px") else um_per_px,
            )
        )
    return rows


def cells_of_csv(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The number of each line of a table of slides, and its cells by column; `CaseError` where its columns are not those."""
    lines = _lines(path)
    header = [cell.strip().lower() for cell in lines[0][1]] if lines else []
    strange = [cell for cell in header if cell not in _COLUMNS]
    if "stain" not in header or "path" not in header or strange or len(set(header)) != len(header):
        raise CaseError(
            "the table's first line does not name its columns",
            slide=path.name,
            expected="stain, path, and if wanted case, patient, block, um_per_px; each once",
            found=", ".join(header)[:200] or "nothing",
            next="correct the first line of the table",
        )
    found = []
    for number, cells in lines[1:]:
        if len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
            raise _mistake(path, number, f"{len(header)} cells", f"{len(cells)} cells")
        said = {key: cell.strip() for key, cell in zip(header, cells, strict=False)}
        if any(said.values()):
            found.append((number, said))
    if not found:
        raise CaseError("the table names no slide", slide=path.name, next="add one line a slide")
    return found


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write a table of slides that `rows_of_csv` reads, with absolute paths."""
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(_COLUMNS)
    for row in rows:
        scale = "" if row.um_per_px is None else repr(row.um_per_px)
        table.writerow([row.stain, str(row.path.absolute()), row.case, row.patient or "", row.block, scale])
    write_whole(path, text.getvalue().encode("utf-8"))


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    with disk_errors(path), open(path, "rb") as file:
        data = file.read(_MOST_BYTES + 1)
    try:
        if len(data) > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES >> 20} MiB")
        text = data.decode("utf-8-sig")
        if "\0" in text:
            raise ValueError("it holds zero bytes")
        first = text.split("\n", 1)[0]
        separator = max(",;\t", key=first.count)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        return [(reader.line_num, cells) for cells in reader]
    except (ValueError, csv.Error) as error:
        raise CaseError(
            "the table cannot be read",
            slide=path.name,
            expected="a CSV in UTF-8",
            found=str(error),
            next="save it as 'CSV UTF-8'",
        ) from error


def _mistake(path: Path, number: int, expected: str, found: str) -> CaseError:
    return CaseError(
        f"line {number} of the table is wrong",
        slide=path.name,
        expected=expected,
        found=found,
        next="correct this line",
    )


def stain_said(said: str, study: Study) -> str | None:
    """The stain that a cell means, by name in any case or by one of its words; None where it means none."""
    for stain in study.stains:
        if stain.name.casefold() == said.casefold():
            return stain.name
    guessed = stain_in_name(f"{said}.tif", study.stains)
    return None if guessed is None else guessed.name


def path_said(said: str, table: Path) -> Path:
    """The file that a cell of a table means, which may not be there."""
    relative = Path(said)
    # A table made on Windows names folders with backslashes.
    if os.sep == "/" and "\\" in said and not (table.parent / said).exists():
        relative = Path(PureWindowsPath(said).as_posix())
    return table.parent / relative


def _stain(said: str, study: Study, path: Path, number: int) -> str:
    found = stain_said(said, study)
    if found is None:
        raise _mistake(path, number, "a stain: one of " + ", ".join(study.stain_names), repr(said))
    return found


def _file(said: str, path: Path, number: int) -> Path:
    if not said:
        raise _mistake(path, number, "the path of a slide", "nothing")
    found = path_said(said, path)
    if not found.is_file():
        raise _mistake(path, number, "the path of a file, absolute or from the table's folder", f"no file {found}")
    return found


def _number(said: str, path: Path, number: int) -> float:
    try:
        return float(said.replace(",", "."))
    except ValueError as error:
        raise _mistake(path, number, "µm per px as a number", repr(said)) from error
