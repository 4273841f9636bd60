"""Class maps and stain weights over cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from stainloom.case.aligned import AlignedCase
from stainloom.case.case import Case
from stainloom.errors import ModelError, StainloomError
from stainloom.geometry import Box, size_at, whole
from stainloom.io.casefile import StudyFolder
from stainloom.io.tiles import TileCache
from stainloom.jobs.opening import (
    CACHE_BYTES,
    cautions,
    chosen_cases,
    open_aligned,
    raw_stains,
    take_snapshot,
)
from stainloom.jobs.outcome import Outcome
from stainloom.progress import Progress, part, silent
from stainloom.settings import as_json

if TYPE_CHECKING:
    from stainloom.io.maps import MapFacts
    from stainloom.model.predict import Maps
    from stainloom.model.settings import PredictSettings


def learned_runs(folder: StudyFolder) -> list[Any]:
    """The runs that learned, oldest first, without controls."""
    from stainloom.io.runs import load_run

    runs = [load_run(folder.run_path(id)) for id in folder.runs()]
    return [run for run in runs if run.outcome == "learned" and run.settings.get("control", "none") == "none"]


def chosen_run(folder: StudyFolder, id: str | None) -> Any:
    """A run by id, else the latest with the most stains."""
    from stainloom.io.runs import load_run

    if id is not None:
        return load_run(folder.run_path(id))
    runs = learned_runs(folder)
    if not runs:
        raise ModelError("the study has no trained run yet", next="run `stainloom train`")
    most = max(len(run.stains) for run in runs)
    return [run for run in runs if len(run.stains) == most][-1]


Where = Literal["lesions", "tissue", "box"]


def predict(
    study: Path,
    settings: PredictSettings | None = None,
    *,
    run_id: str | None = None,
    where: Where = "tissue",
    box_um: tuple[float, float, float, float] | None = None,
    cases: Sequence[str] = (),
    progress: Progress = silent,
) -> Outcome:
    """Lay class map, probabilities and stain weights of a run over cases: over lesions, a box (um) or all tissue."""
    from stainloom.model.settings import PredictSettings

    folder = StudyFolder.open(study)
    chosen = settings or PredictSettings()
    run = chosen_run(folder, run_id)
    selected = chosen_cases(folder, cases)
    changed: list[str] = []
    warnings: list[str] = []
    problems: list[StainloomError] = []
    rows: list[dict[str, Any]] = []
    for number, case in enumerate(selected):
        share = part(progress, number / len(selected), (number + 1) / len(selected), case.name)
        try:
            path, maps = _predict_case(folder, case, run, chosen, where, box_um, share)
        except StainloomError as error:
            problems.append(error)
            continue
        changed.append(f"cases/{case.name}/maps/{path.name}")
        warnings += cautions(folder, case)
        area = maps.um_per_px[0] * maps.um_per_px[1] / 1e6
        rows.append(
            {"case": case.name, "mm2": {c.short: float((maps.classes == c.id).sum() * area) for c in run.classes}}
        )
    lines = [
        f"{row['case']}: " + ", ".join(f"{name} {area:.2f} mm2" for name, area in row["mm2"].items()) for row in rows
    ]
    return Outcome(tuple(changed), {"run": run.id, "cases": rows}, "\n".join(lines), tuple(warnings), tuple(problems))


def _predict_case(
    folder: StudyFolder,
    case: Case,
    run: Any,
    settings: PredictSettings,
    where: Where,
    box_um: tuple[float, float, float, float] | None,
    progress: Progress,
) -> tuple[Path, Maps]:
    """The maps of one case, saved: a part of the section is laid over what this run predicted elsewhere."""
    from stainloom.io.maps import MapFacts, save_maps
    from stainloom.model.predict import predict_region

    if run.normalized:
        _check_normalized(folder, case, run)
    aligned, opened = open_aligned(folder, case, TileCache(CACHE_BYTES), normalized=run.normalized)
    try:
        box, mask = _wanted(folder, case, aligned, run, settings, where, box_um)
        maps = predict_region(run, aligned, box, mask, settings, progress=progress)
    finally:
        for slide in opened:
            slide.close()
    used = [stain for stain in aligned.stains if stain is not None and stain.name in run.stains]
    facts = MapFacts(
        run.id,
        run.stains,
        run.classes,
        maps.um_per_px,
        maps.origin_um,
        {stain.name: stain.warp.id for stain in used if stain.warp is not None},
        folder.study.simulated,
        run.one_patient,
        {
            "where": where,
            "settings": as_json(settings),
            "normalizations": {stain.name: stain.colour.id for stain in used if stain.colour is not None},  # type: ignore[attr-defined]
        },
    )
    parent = folder.case_path(case.name) / "maps"
    if where != "tissue":
        maps = _laid_over(parent, facts, maps)
    return save_maps(parent, facts, maps.classes, maps.probabilities, maps.weights), maps


def _check_normalized(folder: StudyFolder, case: Case, run: Any) -> None:
    """A network that learned from normalized colours is never shown raw ones."""
    for stain in raw_stains(folder, case):
        if stain in run.stains:
            raise ModelError(
                f"case {case.name} is not normalized, and run {run.id} learned from normalized colours",
                stain=stain,
                expected="normalized colours",
                found="colours as scanned",
                next="run `stainloom normalize`",
            )


def _made_from(facts: MapFacts) -> tuple[Any, ...]:
    return facts.um_per_px, facts.origin_um, dict(facts.warps), facts.extra.get("normalizations")


def _laid_over(parent: Path, facts: MapFacts, maps: Maps) -> Maps:
    """New maps of a part of the section over what this run predicted elsewhere, from the same grid, warps and colours."""
    from stainloom.io.maps import list_maps, open_maps

    if facts.run not in list_maps(parent):
        return maps
    try:
        earlier = open_maps(parent / facts.run)
    except StainloomError:
        return maps  # damaged: what is predicted now takes its place
    known = earlier.facts
    same = _made_from(known) == _made_from(facts)
    if not same or earlier.class_map.levels[0].shape != maps.classes.shape:
        return maps
    there = maps.classes > 0
    return replace(
        maps,
        classes=np.where(there, maps.classes, earlier.class_map.whole()),
        probabilities=np.where(there, maps.probabilities, earlier.probabilities.whole().astype(np.float32) / 255),
        weights=np.where(there, maps.weights, earlier.weights.whole().astype(np.float32) / 255),
    )


def _wanted(
    folder: StudyFolder,
    case: Case,
    aligned: AlignedCase,
    run: Any,
    settings: PredictSettings,
    where: Where,
    box_um: tuple[float, float, float, float] | None,
) -> tuple[Box, NDArray[np.bool_]]:
    """The whole section, px of the run's grid, and which of its windows: so all maps of a run lie on one grid."""
    from stainloom.case.resample import overview
    from stainloom.model.predict import MapGrid
    from stainloom.tissue import tissue_mask

    scale = (run.um_per_px, run.um_per_px)
    size = case.slide(folder.study.reference).size_um
    box = whole(size_at(size, scale))
    grid = MapGrid.over(box, run, settings)
    centres = grid.centres_um()
    if where == "lesions":
        labels = take_snapshot(folder, case)
        raster, step = labels.raster, labels.um_per_px
    else:
        reference = aligned.stains[aligned.names.index(folder.study.reference)]
        assert reference is not None
        step = (8.0, 8.0)
        raster = tissue_mask(overview(reference.pyramid, step[0]), step).astype(np.uint8)
    index = np.clip((centres / np.array(step)).astype(np.intp), 0, np.array(raster.shape) - 1)
    mask = raster[index[..., 0], index[..., 1]] > 0
    if where == "box":
        assert box_um is not None
        low, high = np.array(box_um[:2]), np.array(box_um[:2]) + box_um[2:]
        mask &= ((centres >= low) & (centres < high)).all(axis=-1)
        if not mask.any():
            raise ModelError(
                f"the box holds no window of tissue in case {case.name}",
                expected=f"tissue, and at least {run.size_px * run.um_per_px:.0f} um a side, on the slide of {size[0]:.0f} x {size[1]:.0f} um",
                found=f"{box_um[2]:.0f} x {box_um[3]:.0f} um at row {box_um[0]:.0f}, column {box_um[1]:.0f}",
                next="choose a larger box, or another place",
            )
    return box, mask
