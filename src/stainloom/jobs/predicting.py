"""Class maps and stain weights over cases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from stainloom.case.case import Case
from stainloom.errors import ModelError, StainloomError
from stainloom.geometry import Box, Scale, Size, size_at, whole
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
from stainloom.jobs.runs import chosen_run
from stainloom.progress import Progress, part, silent
from stainloom.settings import as_json

if TYPE_CHECKING:
    from stainloom.case.run import Run
    from stainloom.io.maps import MapFacts, SavedMaps
    from stainloom.model.predict import MapGrid, Network
    from stainloom.model.settings import PredictSettings

_TISSUE_UM = 8.0

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
    selected, problems = chosen_cases(folder, cases)
    changed: list[str] = []
    warnings: list[str] = []
    rows: list[dict[str, Any]] = []
    for number, case in enumerate(selected):
        share = part(progress, number / len(selected), (number + 1) / len(selected), case.name)
        try:
            with OpenedCase(folder, case, run.normalized) as opened:
                row, told = opened.predict(run, chosen, where, box_um, share)
        except StainloomError as error:
            problems.append(error)
            continue
        changed.append(f"cases/{case.name}/maps/{run.id}")
        warnings += [*told, *cautions(folder, case)]
        rows.append({"case": case.name, "mm2": row})
    lines = [
        f"{row['case']}: " + ", ".join(f"{name} {area:.2f} mm2" for name, area in row["mm2"].items()) for row in rows
    ]
    return Outcome(tuple(changed), {"run": run.id, "cases": rows}, "\n".join(lines), tuple(warnings), tuple(problems))


class OpenedCase:
    """The slides of a case, opened to be predicted: once for a job, for as long as nothing changes for a warm process.

    Parameters
    ----------
    folder, case
        Which.
    normalized
        Whether the network learned from normalized colours.
    """

    def __init__(self, folder: StudyFolder, case: Case, normalized: bool) -> None:
        self.folder, self.case, self.normalized = folder, case, normalized
        self.aligned, self._opened = open_aligned(folder, case, TileCache(CACHE_BYTES), normalized=normalized)
        self._tissue: NDArray[np.uint8] | None = None

    def __enter__(self) -> OpenedCase:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the slides."""
        for slide in self._opened:
            slide.close()

    def predict(
        self,
        run: Run | Network,
        settings: PredictSettings,
        where: Where,
        box_um: tuple[float, float, float, float] | None,
        progress: Progress,
    ) -> tuple[dict[str, float], list[str]]:
        """Predict and save the maps: mm2 by class on the whole section, and what the user should know."""
        from stainloom.io.maps import lay_over, open_maps
        from stainloom.model.predict import MapGrid, Network, predict_region

        known = run.run if isinstance(run, Network) else run
        if known.normalized:
            _check_normalized(self.folder, self.case, known)
        size = self.case.slide(self.folder.study.reference).size_um
        grid = MapGrid.over(whole(size_at(size, (known.um_per_px,) * 2)), known, settings)
        wanted, mask = self._wanted(known, grid, where, box_um)
        stride = settings.stride_px
        region = Box(wanted.row * stride, wanted.col * stride, wanted.rows * stride, wanted.cols * stride)
        maps = predict_region(run, self.aligned, region, mask, settings, progress=progress)
        facts = self._facts(known, grid, where, settings)
        parent = self.folder.case_path(self.case.name) / "maps"
        keep, told = (None, []) if where == "tissue" else _kept(parent, facts, grid.size)
        planes = (maps.classes, maps.probabilities, maps.weights)
        saved = lay_over(parent, facts, grid.size, (wanted.row, wanted.col), *planes, keep=keep)
        counts = np.bincount(open_maps(saved).class_map.whole().ravel(), minlength=256)
        area = facts.um_per_px[0] * facts.um_per_px[1] / 1e6
        return {lesion.short: float(counts[lesion.id] * area) for lesion in known.classes}, told

    def _facts(self, run: Run, grid: MapGrid, where: Where, settings: PredictSettings) -> MapFacts:
        from stainloom.io.maps import MapFacts

        used = [stain for stain in self.aligned.stains if stain is not None and stain.name in run.stains]
        return MapFacts(
            run.id,
            run.stains,
            run.classes,
            grid.map_um_per_px,
            grid.origin_um,
            {stain.name: stain.warp.id for stain in used if stain.warp is not None},
            self.folder.study.simulated,
            run.one_patient,
            {
                "where": where,
                "settings": as_json(settings),
                "normalizations": {stain.name: stain.colour.id for stain in used if stain.colour is not None},  # type: ignore[attr-defined]
            },
        )

    def _wanted(
        self, run: Run, grid: MapGrid, where: Where, box_um: tuple[float, float, float, float] | None
    ) -> tuple[Box, NDArray[np.bool_]]:
        """The part of the section's map that is to be predicted, and which of its windows: all maps of a run lie on one grid."""
        raster, step = self._painted() if where == "lesions" else self._where_tissue()
        part = whole(grid.size) if box_um is None else _part_of(grid, box_um)
        row, col = (
            np.clip(((origin + (np.arange(first, first + count) + 0.5) * size) / one).astype(np.intp), 0, length - 1)
            for origin, first, count, size, one, length in zip(
                grid.origin_um, (part.row, part.col), part.shape, grid.map_um_per_px, step, raster.shape, strict=True
            )
        )
        mask: NDArray[np.bool_] = raster[np.ix_(row, col)] > 0
        if box_um is not None and not mask.any():
            size = self.case.slide(self.folder.study.reference).size_um
            raise ModelError(
                f"the box holds no window of tissue in case {self.case.name}",
                expected=f"tissue, and at least {run.size_px * run.um_per_px:.0f} µm a side, on the slide of {size[0]:.0f} x {size[1]:.0f} µm",
                found=f"{box_um[2]:.0f} x {box_um[3]:.0f} µm at row {box_um[0]:.0f}, column {box_um[1]:.0f}",
                next="choose a larger box, or another place",
            )
        return part, mask

    def _painted(self) -> tuple[NDArray[np.uint8], Scale]:
        labels = take_snapshot(self.folder, self.case)
        return labels.raster, labels.um_per_px

    def _where_tissue(self) -> tuple[NDArray[np.uint8], Scale]:
        from stainloom.case.resample import overview
        from stainloom.tissue import tissue_mask

        step = (_TISSUE_UM, _TISSUE_UM)
        if self._tissue is None:
            reference = self.aligned.stains[self.aligned.names.index(self.folder.study.reference)]
            assert reference is not None
            self._tissue = tissue_mask(overview(reference.pyramid, _TISSUE_UM), step).astype(np.uint8)
        return self._tissue, step


def _part_of(grid: MapGrid, box_um: tuple[float, float, float, float]) -> Box:
    """The pixels of the maps whose centres lie in a box of the reference; empty where none does."""
    low, high = (
        [
            math.ceil((edge - origin) / step - 0.5)
            for edge, origin, step in zip(edges, grid.origin_um, grid.map_um_per_px, strict=True)
        ]
        for edges in (box_um[:2], (box_um[0] + box_um[2], box_um[1] + box_um[3]))
    )
    return Box(low[0], low[1], high[0] - low[0], high[1] - low[1]).intersect(whole(grid.size))


def _check_normalized(folder: StudyFolder, case: Case, run: Run) -> None:
    """A network that learned from normalized colours is never shown raw ones."""
    for stain in raw_stains(folder, case):
        if stain in run.stains:
            raise ModelError(
                f"case {case.name} is not normalized, and run {run.id} learned from normalized colours",
                stain=stain,
                expected="normalized colours",
                found="colours as scanned",
                next="normalize it (dock Colour, or `stainloom normalize`)",
            )


def _made_from(facts: MapFacts) -> tuple[Any, ...]:
    return facts.um_per_px, facts.origin_um, dict(facts.warps), facts.extra.get("normalizations")


def _kept(parent: Path, facts: MapFacts, size: Size) -> tuple[SavedMaps | None, list[str]]:
    """What this run predicted elsewhere, from the same grid, warps and colours; and a word where that is dropped."""
    from stainloom.io.maps import list_maps, open_maps

    if facts.run not in list_maps(parent):
        return None, []
    dropped = "What this run had predicted elsewhere on {} was dropped: {}."
    case = parent.parent.name
    try:
        earlier = open_maps(parent / facts.run)
    except StainloomError:
        return None, [dropped.format(case, "it was damaged")]
    if _made_from(earlier.facts) != _made_from(facts) or earlier.class_map.levels[0] != size:
        return None, [dropped.format(case, "it was made at another stride, or before an alignment or a colour changed")]
    return earlier, []
