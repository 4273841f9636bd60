"""The simulated study: slides, paint, and the truth beside them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stainloom.errors import CaseError, StainloomError
from stainloom.geometry import Box, whole
from stainloom.io.casefile import StudyFolder
from stainloom.io.tiles import TileCache
from stainloom.jobs.opening import CACHE_BYTES, open_stain
from stainloom.jobs.outcome import Outcome
from stainloom.jobs.painting import paint_whole
from stainloom.jobs.studies import said_of
from stainloom.progress import Progress, part, silent
from stainloom.settings import as_json
from stainloom.workers import over

if TYPE_CHECKING:
    from stainloom.sample.settings import SimulationSettings


# The simulated study


@dataclass(frozen=True)
class _BlockTask:
    """One block to render: where slides and truth go."""

    slides: Path
    truth: Path
    settings: SimulationSettings
    patient: int


_TRUTH_UM = 2.0


def simulate(
    study: Path,
    settings: SimulationSettings | None = None,
    *,
    unpainted: int = 0,
    beside: Mapping[str, Path] | None = None,
    workers: int | None = None,
    progress: Progress = silent,
) -> Outcome:
    """Make a simulated study, painted on HE, with its truth beside it in `STUDY.truth`, which no job reads.

    The last `unpainted` cases are left to be painted by hand. `beside` names pictures of real slides by stain: they stand beside the simulated ones on the truth's contact sheet.
    """
    from stainloom.case.study import PROTOCOLS
    from stainloom.io.files import new_folder, write_json, write_whole
    from stainloom.sample.aorta import simulate_block
    from stainloom.sample.settings import SimulationSettings

    chosen = settings or SimulationSettings()
    study = Path(study).resolve()
    with new_folder(study.with_name(f"{study.name}.truth")) as truth, new_folder(study) as made:
        folder = StudyFolder.create(made, PROTOCOLS[0], simulated=True)
        tasks = [_BlockTask(made / "slides", truth, chosen, number) for number in range(chosen.patients)]
        facts = []
        for task, result in over(tasks, _render_block, workers=workers, progress=part(progress, 0, 0.9)):
            if isinstance(result, StainloomError):
                raise result
            facts.append(result)
            block = simulate_block(chosen, task.patient)
            _take_in_block(folder, block, task.slides / block.name, task.patient < chosen.patients - unpainted)
        checked = _check(folder, chosen, part(progress, 0.9, 0.98))
        write_whole(truth / "contact-sheet.png", _contact_sheet(chosen, beside or {}))
        write_json(truth / "settings.json", as_json(chosen))
        write_json(truth / "facts.json", {"blocks": facts, "checks": checked})
    progress(1, 1, "simulated")
    text = f"{said_of(StudyFolder.open(study))}; the truth lies in {study.name}.truth"
    return Outcome((str(study), f"{study}.truth"), {"checks": checked}, "\n".join([text, *checked]))


def _contact_sheet(settings: SimulationSettings, beside: Mapping[str, Path]) -> bytes:
    """Media of the first blocks in every stain, and of real slides where some are given, as PNG."""
    from stainloom.io.slides import open_slide
    from stainloom.report.figures import encode_png
    from stainloom.sample.aorta import simulate_block
    from stainloom.sample.sheet import contact_sheet

    blocks = [simulate_block(settings, number) for number in range(min(4, settings.patients))]
    unknown = set(beside) - set(blocks[0].stains)
    if unknown:
        raise CaseError("the simulation has no such stain", stain=unknown.pop(), expected=", ".join(blocks[0].stains))
    real = {}
    for stain, path in beside.items():
        with open_slide(path, cache=TileCache(CACHE_BYTES), um_per_px=1.0, stain=stain) as slide:
            real[stain] = slide.read(0, whole(slide.levels[0]))
    return encode_png(contact_sheet(blocks, real))


def _check(folder: StudyFolder, settings: SimulationSettings, progress: Progress) -> list[str]:
    """What a sceptic would ask of the study, measured on its written slides."""
    from stainloom.sample.aorta import simulate_block
    from stainloom.sample.checks import check_study

    cache = TileCache(CACHE_BYTES)
    blocks = [simulate_block(settings, number) for number in range(settings.patients)]
    with ExitStack() as stack:
        slides = {
            (case.name, stain): stack.enter_context(open_stain(folder, case, stain, cache))
            for case in folder.cases()
            for stain in case.slides
        }

        def read(block: Any, stain: str, box: Box) -> NDArray[np.uint8]:
            return slides[block.name, stain].read(0, box)

        return check_study(settings, blocks, read=read, progress=progress).lines()


def _render_block(task: _BlockTask, progress: Progress) -> dict[str, Any]:
    from stainloom.io.arrays import write_arrays
    from stainloom.io.tiff import write_pyramid
    from stainloom.sample.aorta import simulate_block

    block = simulate_block(task.settings, task.patient)
    slides, truth = task.slides / block.name, task.truth / block.name
    slides.mkdir(parents=True)
    truth.mkdir()
    for number, stain in enumerate(block.stains):
        share = part(progress, number / len(block.stains), (number + 1) / len(block.stains))

        def render(box: Box, stain: str = stain) -> NDArray[np.uint8]:
            return block.render(stain, box)

        size, description = block.size(stain), "Simulated by Stainloom: no patient"
        write_pyramid(
            slides / f"{stain}.ome.tif",
            size,
            block.um_per_px,
            render,
            description=description,
            progress=part(share, 0, 0.8),
        )
        write_arrays(truth / f"{stain}.npz", _truth_of(block, stain), compress=True)
        share(1, 1, f"{block.name}, {stain}")
    return dict(block.facts())


def _truth_of(block: Any, stain: str) -> dict[str, NDArray[Any]]:
    return {
        **{f"warp_{name}": array for name, array in block.truth_warp(stain).to_arrays().items()},
        "mask": block.mask(stain, _TRUTH_UM),
        "reference_mask": block.reference_mask_in(stain, _TRUTH_UM),
        "lost": block.lost(stain, _TRUTH_UM),
        "landmarks_um": block.landmarks(stain),
        "dyes": block.dye_map(stain),
    }


def _take_in_block(folder: StudyFolder, block: Any, slides: Path, painted: bool) -> None:
    from stainloom.io.intake import read_source, take_in

    rows = read_source(slides, folder.study, name=block.name, patient=block.patient)
    (case,) = take_in(folder, rows)
    if painted:
        paint_whole(folder, case, block.painted(folder.study.label_um), "simulated outline", "simulation")
