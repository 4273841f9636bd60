"""A case opened for looking at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stainloom.case.aligned import AlignedStain
from stainloom.case.case import Case
from stainloom.case.view import USABLE, CaseView, MapsView, StainView
from stainloom.errors import StainloomError
from stainloom.io.casefile import StudyFolder
from stainloom.io.tiles import TileCache
from stainloom.jobs.opening import (
    CACHE_BYTES,
    colour_of,
    in_focus,
    open_stain,
    take_snapshot,
    verdict_of,
)
from stainloom.jobs.studies import check_case

if TYPE_CHECKING:
    from stainloom.io.slides import OpenedSlide
    from stainloom.jobs.paint import Paint


def open_view(
    study: Path, case: str | None = None, *, paint: Paint | None = None, cache_bytes: int = CACHE_BYTES
) -> CaseView:
    """A case as the window shows it; close it when it is no longer shown.

    With `paint`, that of the window which holds the case, its labels are the very raster that is painted on.
    """
    folder = StudyFolder.open(study)
    found = folder.case(check_case(study, case))
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
        _carried_at(folder, found, [stain.name for stain in stains if stain.aligned is not None]),
        _maps_view(folder, found),
        folder.study.simulated,
        close,
    )


def _carried_at(folder: StudyFolder, case: Case, shown: Sequence[str]) -> dict[str, tuple[float, float]]:
    kept = {name: folder.carried(case.name, name) for name in folder.study.moving if name in shown}
    return {
        name: carried.um_per_px
        for name, carried in kept.items()
        if carried is not None and carried.warp_id == folder.current_warp_id(case.name, name)
    }


def _maps_view(folder: StudyFolder, case: Case) -> MapsView | None:
    from stainloom.io.maps import list_maps, open_maps

    parent = folder.case_path(case.name) / "maps"
    names = list_maps(parent)
    if not names:
        return None
    maps = open_maps(max((parent / name for name in names), key=lambda path: (path / "maps.json").stat().st_mtime_ns))
    weights = maps.weights.whole().astype(np.float32) / 255
    usable = {name for name in maps.facts.stains if name in folder.study.moving and name in case.slides}
    usable = {name for name in usable if verdict_of(folder, case, name)[0] in USABLE and in_focus(folder, case, name)}
    now = {name: folder.current_warp_id(case.name, name) for name in usable}
    then = maps.facts.warps
    return MapsView(
        maps.facts.run,
        maps.facts.um_per_px,
        maps.facts.origin_um,
        maps.class_map.whole(),
        maps.probabilities.whole(),
        dict(zip(maps.facts.stains, weights, strict=True)),
        maps.facts.classes,
        tuple(stain for stain in maps.facts.stains if now.get(stain) != then.get(stain)),
    )
