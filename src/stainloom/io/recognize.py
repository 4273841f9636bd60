"""What a folder of slides or a table may mean: one guess a slide, for a person to correct; what a person can mend is not refused."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from stainloom.case.stains import name_around_stain, stain_in_name
from stainloom.case.study import Study
from stainloom.errors import CaseError, StainloomError
from stainloom.geometry import Scale, as_scale
from stainloom.io import slides
from stainloom.io.files import disk_errors, safe_name
from stainloom.io.intake import SLIDE_ENDINGS
from stainloom.io.table import cells_of_csv, path_said, stain_said
from stainloom.progress import Progress, silent

SLIDES_MOST = 10_000
_LOOKED_MOST = 200_000
_TABLES = (".csv", ".tsv", ".txt")
_NOT_TISSUE = {"label", "macro", "thumbnail", "thumb", "overview", "barcode", "preview"}
NO_SLIDE, NO_TISSUE = "no slide by its ending", "a label, macro or preview picture"


@dataclass(frozen=True)
class Guess:
    """One slide as it was recognised, or as a person corrected it.

    Attributes
    ----------
    path
        The file.
    case, patient, block
        As guessed from folders and names, or as a table says; the patient is empty where nothing says it.
    stain
        Name of its stain in the study, or None where it cannot be told.
    um_per_px
        um per px as a person or a table states it, or None.
    own
        um per px as the file states it, or None.
    problem
        Why the file cannot be taken in, whatever is corrected; empty where it can.
    """

    path: Path
    case: str
    patient: str
    block: str
    stain: str | None
    um_per_px: float | None = None
    own: Scale | None = None
    problem: str = ""


@dataclass(frozen=True)
class Recognized:
    """What was found.

    Attributes
    ----------
    guesses
        In the order of cases and stains.
    left_out
        How many files were left out, by reason.
    """

    guesses: tuple[Guess, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)


def recognize(sources: Sequence[Path], study: Study, progress: Progress = silent) -> Recognized:
    """Look at folders, tables and slides, and guess what each slide is. Writes nothing.

    Parameters
    ----------
    sources
        Folders of slides (of one block, of many, or of folders of them), tables as `rows_of_csv` reads them, single slides.
    study
        Whose stains are looked for.
    progress
        Counts slides.

    Returns
    -------
    One guess a slide; files that are no slides are counted.

    Raises
    ------
    CaseError
        Where there is no slide at all, a table does not name its columns, or there are too many files to look through.
    """
    left_out: Counter[str] = Counter()
    guesses: list[Guess] = []
    loose = [Path(source) for source in sources if source.is_file() and source.suffix.lower() not in _TABLES]
    for source in sources:
        if source.is_dir():
            for folder, paths in _folders(source, left_out, progress):
                guesses += _of_folder(folder, source, paths, study)
        elif source not in loose:
            guesses += _of_table(source, study)
    for folder in sorted({path.parent for path in loose}):
        guesses += _of_folder(
            folder, folder, _slides(folder, [p.name for p in loose if p.parent == folder], left_out), study
        )
    _check_number(guesses, sources, left_out)
    described = [_described(guess, number, len(guesses), progress) for number, guess in enumerate(guesses)]
    order = {name: number for number, name in enumerate(study.stain_names)}
    described.sort(key=lambda guess: (_natural(guess.case), order.get(guess.stain or "", len(order)), guess.path.name))
    return Recognized(tuple(described), dict(left_out))


def _check_number(guesses: Sequence[Guess], sources: Sequence[Path], left_out: Mapping[str, int]) -> None:
    named = ", ".join(source.name for source in sources[:3])
    if not guesses:
        found = "; ".join(f"{count} files: {reason}" for reason, count in left_out.items())
        raise CaseError(
            "there is no slide here",
            slide=named,
            expected="files that end with " + ", ".join(SLIDE_ENDINGS),
            found=found or "nothing",
            next="choose the folder that holds the slides",
        )
    if len(guesses) > SLIDES_MOST:
        raise _too_many(named, f"{len(guesses)} slides", SLIDES_MOST)


def _too_many(named: str, found: str, most: int) -> CaseError:
    return CaseError(
        "too many files for one table",
        slide=named,
        expected=f"at most {most}",
        found=found,
        next="choose a smaller folder, and take the slides in one part after another",
    )


def _folders(source: Path, left_out: Counter[str], progress: Progress) -> Iterator[tuple[Path, list[Path]]]:
    """Each folder that holds slides, with them."""
    looked = 0
    with disk_errors(source):
        for place, inner, names in os.walk(source, onerror=_refuse):
            looked += len(names) + len(inner)
            progress(0, 1, f"looking through {Path(place).name}")
            if looked > _LOOKED_MOST:
                raise _too_many(source.name, f"over {looked} files and folders", _LOOKED_MOST)
            # The folder beside a MIRAX slide holds its pixels.
            companions = {Path(name).stem for name in names if name.lower().endswith(".mrxs")}
            inner[:] = sorted(name for name in inner if not name.startswith(".") and name not in companions)
            found = _slides(Path(place), names, left_out)
            if found:
                yield Path(place), found


def _refuse(error: OSError) -> None:
    raise error


def _slides(folder: Path, names: Sequence[str], left_out: Counter[str]) -> list[Path]:
    found = []
    for name in sorted(names):
        path = folder / name
        if name.startswith("."):
            continue
        if path.suffix.lower() not in SLIDE_ENDINGS:
            left_out[NO_SLIDE] += 1
        elif _NOT_TISSUE & set(re.findall(r"[a-z]+", path.stem.lower())):
            left_out[NO_TISSUE] += 1
        else:
            found.append(path)
    return found


def _of_folder(folder: Path, source: Path, paths: Sequence[Path], study: Study) -> list[Guess]:
    """A folder is a block, and the folder around it a patient; or, where stains come twice, its names tell blocks apart."""
    below = folder.resolve().relative_to(source.resolve()).parts
    patient = _plain(below[-2]) if len(below) > 1 else ""
    base = folder.resolve().name or "case"
    stains = {path: stain_in_name(path.name, study.stains) for path in paths}
    blocks = _blocks_in_names(paths, study) or dict.fromkeys(paths, base)
    result = []
    for path, stain in stains.items():
        block = _plain(blocks[path])
        case = _plain(f"{patient}_{block}") if patient else block
        result.append(Guess(path, case, patient, block, None if stain is None else stain.name))
    return result


def _blocks_in_names(paths: Sequence[Path], study: Study) -> dict[Path, str] | None:
    """A block for each slide of a folder that holds many, by what its names share beside the stain; None for one block."""
    parts = {path: name_around_stain(path.name, study.stains) for path in paths}
    told = {path: part for path, part in parts.items() if part is not None}
    stains = [stain_in_name(path.name, study.stains) for path in told]
    if len(set(stains)) == len(stains):
        return None
    for blocks in (
        {path: " ".join(piece for piece in part if piece) for path, part in told.items()},
        {path: part[0] for path, part in told.items()},
        {path: part[1] for path, part in told.items()},
    ):
        groups = Counter(blocks.values())
        pairs = {(blocks[path], stain) for path, stain in zip(told, stains, strict=True)}
        if all(groups) and len(groups) < len(told) and len(pairs) == len(told):
            return blocks | {path: _nearest(path.stem, groups) for path in paths if path not in told}
    return None


def _nearest(stem: str, blocks: Mapping[str, int]) -> str:
    """The block that a name without a stain begins with, the longest; else the name alone."""
    return max((block for block in blocks if stem.startswith(block)), key=len, default=stem)


def _of_table(path: Path, study: Study) -> list[Guess]:
    guesses = []
    for number, said in cells_of_csv(path):
        file, cell = said.get("path", ""), said.get("um_per_px", "")
        case = said.get("case") or _plain(path.stem)
        problem = "" if file else f"line {number} of the table names no file"
        stain = stain_said(said.get("stain", ""), study)
        where = path_said(file, path) if file else path.parent / f"line {number}"
        block = said.get("block") or case
        guesses.append(Guess(where, case, said.get("patient", ""), block, stain, _number(cell), problem=problem))
    return guesses


def _number(cell: str) -> float | None:
    if not cell:
        return None
    try:
        return float(cell.replace(",", "."))
    except ValueError:
        return float("nan")  # said beside the cell as a number that is none


def _described(guess: Guess, number: int, total: int, progress: Progress) -> Guess:
    progress(number, total, f"reading {guess.path.name}")
    if guess.problem:
        return guess
    try:
        own = slides.describe_slide(guess.path, stain=guess.stain).um_per_px
    except StainloomError as error:
        return replace(guess, problem=f"cannot be read: {error.found or error.what}")
    return replace(guess, own=None if own is None else as_scale(own))


def _plain(name: str) -> str:
    """A name for a case that people can still read: what no folder can be called becomes `_`."""
    near = re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:64].strip("._- ")
    return near if near and safe_name(near) == near else safe_name(name)


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    """Sorts block 2 before block 10."""
    return tuple(
        (int(piece), "") if piece.isdigit() else (-1, piece) for piece in re.split(r"(\d+)", name.casefold()) if piece
    )
