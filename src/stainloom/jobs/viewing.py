"""A case opened for looking at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stainloom.case.aligned import AlignedStain
from stainloom.case.case import Case
from stainloom.case.lesions import LesionClass
from stainloom.case.view import CaseView, MapsView, Shares, StainView, as_shares
from stainloom.errors import CaseError, StainloomError
from stainloom.io.casefile import StudyFolder
from stainloom.io.tiles import TileCache
from stainloom.jobs.mapstate import maps_of, realigned, recoloured
from stainloom.jobs.opening import colour_of, open_stain, take_snapshot, verdict_of
from stainloom.jobs.studies import check_case

if TYPE_CHECKING:
    from stainloom.io.maps import SavedMap
    from stainloom.io.slides import OpenedSlide
    from stainloom.jobs.paint import Paint

_CACHE_BYTES = 96 * 2**20
"""A few screens of each stain; what is drawn of them, warped and coloured, has a cache of its own."""


def open_view(
    study: Path,
    case: str | None = None,
    *,
    run: str | None = None,
    with_maps: bool = True,
    paint: Paint | None = None,
    cache_bytes: int = _CACHE_BYTES,
) -> CaseView:
    """A case as the window shows it; close it when it is no longer shown.

    Parameters
    ----------
    study, case
        Which; the first case unless one is named.
    run
        Whose maps; the latest predicted unless one is named.
    with_maps
        Whether to look for maps at all: a window asks for them later, by `open_maps_view`, beside its own thread.
    paint
        That of the window which holds the case: the labels are then the very raster that is painted on.
    cache_bytes
        Decoded tiles that are kept.
    """
    folder = StudyFolder.open(study)
    found = folder.case(check_case(study, case))
    # Before the slides: what cannot be shown leaves none of them open.
    maps = _maps_view(folder, found, run) if with_maps else None
    cache = TileCache(cache_bytes)
    opened: list[OpenedSlide] = []
    stains: list[StainView] = []

    def close() -> None:
        for slide in opened:
            slide.close()

    for name in folder.study.stain_names:
        verdict, message = verdict_of(folder, found, name)
        if verdict in ("missing", "left out"):
            stains.append(StainView(name, None, verdict, message))
            continue
        try:
            pyramid = open_stain(folder, found, name, cache)
        except StainloomError as error:
            if name == folder.study.reference:
                close()
                raise
            # One slide that is gone or another is no reason to hide the rest of the case.
            stains.append(StainView(name, None, "missing", f"{error.what}; the dock Cases says what to do"))
            continue
        opened.append(pyramid)
        warp = None if verdict == "reference" else folder.current_warp(found.name, name)
        aligned = AlignedStain(name, pyramid, None if warp is None else warp[0], colour_of(folder, found, name))
        stains.append(StainView(name, aligned, verdict, message))

    labels, scale = None, (folder.study.label_um, folder.study.label_um)
    if paint is not None:
        labels = paint.raster
    elif folder.labels_path(found.name).exists():
        snapshot = take_snapshot(folder, found)
        labels, scale = snapshot.raster, snapshot.um_per_px
    return CaseView(
        folder.study,
        found,
        tuple(stains),
        labels,
        scale,
        maps,
        folder.study.simulated,
        close,
    )


def open_maps_view(study: Path, case: str, run: str | None = None) -> MapsView | None:
    """The maps of a run over a case, the latest predicted unless one is named; None where there are none."""
    folder = StudyFolder.open(study)
    return _maps_view(folder, folder.case(case), run)


def _maps_view(folder: StudyFolder, case: Case, run: str | None) -> MapsView | None:
    from stainloom.io.maps import maps_id, open_maps

    parent = folder.case_path(case.name) / "maps"
    names = maps_of(folder.path, case.name)
    if run is not None and run not in names:
        raise CaseError(
            f"run {run} predicted nothing over case {case.name}",
            expected=", ".join(names) or "a prediction",
            found="none of this run",
            next=f"predict with it (dock Review, or `stainloom predict --run {run}`), or take another run",
        )
    if not names:
        return None
    maps = open_maps(parent / (run or names[-1]))
    facts = maps.facts

    def pixel(row: int, col: int) -> tuple[Shares, Shares]:
        return as_shares(maps.probabilities.at(row, col)), as_shares(maps.weights.at(row, col))

    return MapsView(
        facts.run,
        facts.um_per_px,
        facts.origin_um,
        maps.class_map.whole(),
        _Planes(maps.probabilities),
        _ByStain(facts.stains, _Planes(maps.weights)),
        _as_named_now(facts.classes, folder.study.lesions),
        realigned(folder, case, facts),
        recoloured(folder, case, facts),
        tuple(stain for stain in facts.stains if stain != folder.study.reference and stain not in facts.warps),
        maps_id(parent / facts.run),
        pixel,
    )


def _as_named_now(classes: tuple[LesionClass, ...], now: Sequence[LesionClass]) -> tuple[LesionClass, ...]:
    """The classes of a run in the study's present colours; one that the study no longer has stays as the run has it."""
    known = {(lesion.id, lesion.short): lesion for lesion in now}
    return tuple(known.get((lesion.id, lesion.short), lesion) for lesion in classes)


class _Planes(Sequence[NDArray[np.uint8]]):
    """The layers of a saved map, each read when it is asked for."""

    def __init__(self, saved: SavedMap) -> None:
        self._saved = saved

    def __len__(self) -> int:
        return self._saved.depth

    def __getitem__(self, number: Any) -> Any:
        if not 0 <= number < len(self):
            raise IndexError(number)
        return self._saved.plane(number)


class _ByStain(Mapping[str, NDArray[np.uint8]]):
    """The same by stain."""

    def __init__(self, stains: tuple[str, ...], planes: _Planes) -> None:
        self._places = {stain: number for number, stain in enumerate(stains)}
        self._planes = planes

    def __getitem__(self, stain: str) -> NDArray[np.uint8]:
        found: NDArray[np.uint8] = self._planes[self._places[stain]]
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
