"""Five simulated slides of 40,000 x 30,000 px and a study around them, to measure the window with.

    python benchmarks/big_study.py STUDY [--seed 0] [--cases 10] [--rows-px 30000] [--cols-px 40000]

The tissue of one simulated block is repeated over the slides, tile by tile in bounded memory. Each stain is bent and
turned against HE by a known warp that is saved as its alignment, at the spacing of nodes that `register` would choose.
The study is normalized, painted, and has maps that are drawn, not predicted. All cases share the five files, so ten
cases cost no more than one. Same seed, same slides.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import shutil
import sys
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from stainloom import jobs
from stainloom.case.case import Case
from stainloom.case.regions import components
from stainloom.case.resample import resample_image
from stainloom.case.study import PROTOCOLS
from stainloom.case.warp import Grid, Warp
from stainloom.errors import StainloomError
from stainloom.geometry import ArrayPyramid, Box, BoxUm, Pixels, Scale, Size
from stainloom.io.casefile import StudyFolder
from stainloom.io.intake import read_source, take_in
from stainloom.io.maps import MapFacts, save_maps
from stainloom.io.tiff import write_pyramid
from stainloom.jobs.opening import open_store
from stainloom.progress import Progress
from stainloom.sample.aorta import Block, simulate_block
from stainloom.sample.settings import SimulationSettings
from stainloom.workers import over

_log = logging.getLogger("big_study")

UM_PER_PX = 0.5
BLOCK_UM = (1800.0, 2400.0)
JPEG_QUALITY = 80
BEND_UM, BEND_WAVE_UM, TURN_DEG, SHIFT_UM = 40.0, 4000.0, 4.0, 150.0
# `register` takes eight pixels of a work picture of 900 px.
NODE_SHARE = 8 / 900
MAP_UM = 8.0


@dataclass(frozen=True)
class Task:
    """One slide to write."""

    study: Path
    size: Size
    seed: int
    stain: str

    @property
    def slide(self) -> str:
        """What the bar names."""
        return self.stain

    @property
    def size_um(self) -> tuple[float, float]:
        """Height and width."""
        return (self.size.rows * UM_PER_PX, self.size.cols * UM_PER_PX)


class Repeated:
    """One block's picture laid beside itself without end: a `Pyramid` of one level."""

    um_per_px: tuple[Scale, ...] = ((UM_PER_PX, UM_PER_PX),)

    def __init__(self, block: Pixels, size: Size) -> None:
        self._block = block
        self.levels = (size,)

    def read(self, level: int, box: Box) -> Pixels:
        """The pixels of a box, also beyond the size."""
        rows = np.arange(box.row, box.row_end) % self._block.shape[0]
        cols = np.arange(box.col, box.col_end) % self._block.shape[1]
        result = np.empty((*box.shape, 3), np.uint8)
        # Runs of neighbours: an index for each pixel takes ten times as long.
        for top, bottom in _runs(rows):
            for left, right in _runs(cols):
                part = self._block[rows[top] : rows[bottom - 1] + 1, cols[left] : cols[right - 1] + 1]
                result[top:bottom, left:right] = part
        return result


def _runs(index: np.ndarray) -> list[tuple[int, int]]:
    breaks = [0, *(np.nonzero(np.diff(index) != 1)[0] + 1).tolist(), len(index)]
    return list(itertools.pairwise(breaks))


@dataclass(frozen=True)
class Tissue:
    """The block that is repeated."""

    seed: int

    @cached_property
    def block(self) -> Block:
        """All stains of it lie alike but for a shift and a small turn, which are taken off below."""
        rows_um, cols_um = BLOCK_UM
        settings = SimulationSettings(
            patients=1, seed=self.seed, width_um=cols_um, height_um=rows_um, um_per_px=UM_PER_PX, lesions=3,
            bend_um=0, turn_deg=0, half_turn_share=0, mirror_share=0, stretch=0, tear=0, fold=0, failed_share=0,
        )  # fmt: skip
        return simulate_block(settings, 0)

    def picture(self, stain: str) -> Pixels:
        """The block in one stain, in the block's own frame."""
        size = self.block.size(stain)
        scan = ArrayPyramid(self.block.render(stain, Box(0, 0, size.rows, size.cols)), UM_PER_PX)
        rows, cols = (int(um / UM_PER_PX) for um in BLOCK_UM)
        return resample_image(scan, self.block.glass_warp(stain).inverse(), Box(0, 0, rows, cols), UM_PER_PX)

    def painted(self, size: Size, um_per_px: float) -> np.ndarray:
        """What is painted on HE, repeated over a raster; every third block only, since no section is lesions all over."""
        rows, cols = (int(um / um_per_px) for um in BLOCK_UM)
        one = self.block.painted(um_per_px)[:rows, :cols]
        one = np.pad(one, ((0, rows - one.shape[0]), (0, cols - one.shape[1])))
        result = np.zeros(size.shape, np.uint8)
        places = [(row, col) for row in range(0, size.rows, rows) for col in range(0, size.cols, cols)]
        for row, col in places[::3]:
            part = result[row : row + rows, col : col + cols]
            part[:] = one[: part.shape[0], : part.shape[1]]
        return result


def warp_of(task: Task) -> Warp:
    """HE um to the stain's um: a turn and a shift about the middle, and a smooth bend."""
    rng = np.random.default_rng(
        [task.seed, PROTOCOLS[0].reference != task.stain, len(task.stain), *task.stain.encode()]
    )
    angle = np.radians(rng.uniform(-TURN_DEG, TURN_DEG))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array(task.size_um) / 2
    shift = middle - turn @ middle + rng.uniform(-SHIFT_UM, SHIFT_UM, 2)
    extent = BoxUm(0.0, 0.0, *task.size_um)
    grid = Grid.covering(extent, NODE_SHARE * max(task.size_um))
    bend = np.zeros(grid.nodes_um.shape)
    for wave in (1.0, 0.5):
        turns, phases = rng.normal(size=(2, 2)), rng.uniform(0, 2 * np.pi, 2)
        along = grid.nodes_um @ (turns / np.linalg.norm(turns, axis=0)) * (2 * np.pi / (BEND_WAVE_UM * wave))
        bend += BEND_UM * wave * np.sin(along + phases)
    return Warp.from_grid(np.column_stack([turn, shift]), grid.with_displacement(bend), task.size_um)


def write_slide(task: Task, progress: Progress) -> str:
    """Write one slide; the id of its warp, empty for the reference."""
    repeated = Repeated(Tissue(task.seed).picture(task.stain), task.size)
    moving = task.stain != PROTOCOLS[0].reference
    back = warp_of(task).inverse() if moving else None

    def strip(box: Box) -> Pixels:
        return repeated.read(0, box) if back is None else resample_image(repeated, back, box, UM_PER_PX)

    path = task.study / "slides" / f"{task.stain}.ome.tif"
    write_pyramid(path, task.size, UM_PER_PX, strip, jpeg_quality=JPEG_QUALITY,
                  description="Simulated by Stainloom: no patient", progress=progress)  # fmt: skip
    return task.stain


def make_study(study: Path, size: Size, seed: int, cases: int) -> None:
    """The whole study."""
    folder = StudyFolder.create(study, PROTOCOLS[0], simulated=True)
    (study / "slides").mkdir()
    tasks = [Task(study, size, seed, name) for name in folder.study.stain_names]
    for task, result in over(tasks, write_slide):
        if isinstance(result, StainloomError):
            raise result
        _log.info("%s written", task.stain)
    (first,) = take_in(folder, read_source(study / "slides", folder.study, name="B01", patient="P01"))
    for task in tasks[1:]:
        folder.save_warp(first.name, task.stain, warp_of(task), {"verdict": "good", "message": "the true one"})
    jobs.normalize(study)
    label_um = folder.study.label_um
    raster = Size(*(round(n * UM_PER_PX / label_um) for n in size.shape))
    painted = Tissue(seed).painted(raster, label_um)
    paint(folder, first, painted)
    _draw_maps(folder, first, painted, seed)
    for number in range(2, cases + 1):
        _same_slides(folder, first, f"B{number:02d}", f"P{number:02d}")


def paint(folder: StudyFolder, case: Case, painted: np.ndarray) -> None:
    """Paint as a hand does: a stroke a lesion, each in its own box; and leave a snapshot."""
    with folder.hold(case.name):
        store = open_store(folder, case, "benchmark")
        try:
            for region in components(painted)[1]:
                place = region.box.within(Box(0, 0, *painted.shape))
                before = store.read(region.box)
                after = np.where(painted[place] == region.class_id, painted[place], before)
                store.paint(region.box, before, after, what="simulated outline", class_id=region.class_id)
            store.snapshot(folder.snapshot_path(case.name))
        finally:
            store.close()


def _draw_maps(folder: StudyFolder, case: Case, painted: np.ndarray, seed: int) -> None:
    """Maps as large as predicted ones: the paint as classes, smooth noise as weights."""
    step = round(MAP_UM / folder.study.label_um)
    classes = np.ascontiguousarray(painted[step // 2 :: step, step // 2 :: step])
    lesions, stains = folder.study.lesions, folder.study.stain_names
    rng = np.random.default_rng(seed)
    weights = np.stack([
        cv2.resize(rng.random((20, 30), dtype=np.float32), classes.shape[::-1], interpolation=cv2.INTER_LINEAR)
        for _ in stains
    ])  # fmt: skip
    chances = np.stack([(classes == lesion.id).astype(np.float32) * 0.9 for lesion in lesions])
    warps = {name: folder.current_warp_id(case.name, name) or "" for name in folder.study.moving}
    facts = MapFacts("drawn-not-predicted", stains, lesions, (MAP_UM, MAP_UM), (0.0, 0.0), warps, simulated=True)
    parent = folder.case_path(case.name) / "maps"
    parent.mkdir()
    save_maps(parent, facts, classes, chances, np.clip(weights, 0, 1))


def _same_slides(folder: StudyFolder, first: Case, name: str, patient: str) -> None:
    """Another case of the same files, warps, paint and maps."""
    folder.add_case(replace(first, name=name, patient=patient, block=name))
    for found in folder.case_path(first.name).iterdir():
        target = folder.case_path(name) / found.name
        if found.is_dir():
            shutil.copytree(found, target)
        elif found.name not in ("case.json", "holder.json"):
            shutil.copyfile(found, target)


def main() -> int:
    """Make it, and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="a folder that is empty or not yet there")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=10)
    parser.add_argument("--rows-px", type=int, default=30_000)
    parser.add_argument("--cols-px", type=int, default=40_000)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    start = time.perf_counter()
    try:
        make_study(options.study.resolve(), Size(options.rows_px, options.cols_px), options.seed, options.cases)
    except StainloomError as error:
        _log.error("%s", error)
        return 1
    used = sum(path.stat().st_size for path in options.study.rglob("*") if path.is_file())
    _log.info("%s: %.1f GB in %.0f s", options.study, used / 1e9, time.perf_counter() - start)
    return 0


if __name__ == "__main__":
    sys.exit(main())
