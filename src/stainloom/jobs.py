"""The verbs of the pathologist, one function each: open, call a room, save. Both faces call these and nothing below."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from stainloom.case.aligned import AlignedCase, AlignedStain
from stainloom.case.case import Case
from stainloom.case.lesions import LesionClass
from stainloom.case.view import CaseView, MapsView, StainView
from stainloom.errors import CaseError, LabelError, ModelError, PatchError, StainloomError
from stainloom.geometry import Box, BoxUm, Size, box_to_um, size_at, whole
from stainloom.io.casefile import StudyFolder
from stainloom.io.tiles import TileCache
from stainloom.opening import (
    CACHE_BYTES,
    cautions,
    chosen_cases,
    chosen_stains,
    colour_of,
    open_aligned,
    open_stain,
    open_store,
    read_snapshot,
    take_snapshot,
    verdict_of,
)
from stainloom.progress import Progress, part, silent
from stainloom.settings import as_json
from stainloom.workers import over

if TYPE_CHECKING:
    from stainloom.io.slides import OpenedSlide
    from stainloom.io.snapshot import Labels
    from stainloom.model.settings import PredictSettings, TrainSettings
    from stainloom.patches.select import PatchSettings
    from stainloom.register.register import RegisterSettings
    from stainloom.sample.settings import SimulationSettings
    from stainloom.stain.fit import NormalizeSettings


@dataclass(frozen=True)
class Outcome:
    """What a job did.

    Attributes
    ----------
    changed
        What it wrote: paths below the study, or ids.
    figures
        Measured values, JSON-ready.
    text
        The same for a reader, a few lines.
    warnings
        What the user should check.
    problems
        Slides or cases that failed while the others went on.
    """

    changed: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    warnings: tuple[str, ...] = ()
    problems: tuple[StainloomError, ...] = ()


def settings_of(job: str) -> type:
    """The settings dataclass of a job, by the name of its subcommand. Loads no torch."""
    if job == "simulate":
        from stainloom.sample.settings import SimulationSettings

        return SimulationSettings
    if job == "register":
        from stainloom.register.register import RegisterSettings

        return RegisterSettings
    if job == "normalize":
        from stainloom.stain.fit import NormalizeSettings

        return NormalizeSettings
    if job == "export":
        from stainloom.patches.select import PatchSettings

        return PatchSettings
    from stainloom.model.settings import PredictSettings, TrainSettings

    return {"train": TrainSettings, "predict": PredictSettings}[job]


# Studies and cases


def new_study(study: Path, protocol: str = "aorta", *, label_um: float = 2.0) -> Outcome:
    """Make an empty study from a built-in protocol or a JSON file of stains and lesion classes."""
    from stainloom.io.protocol import protocol_named

    folder = StudyFolder.create(study, protocol_named(protocol), label_um=label_um)
    return Outcome(changed=("study.json",), text=_said(folder))


def show_study(study: Path) -> Outcome:
    """Say what a study holds, case by case."""
    folder = StudyFolder.open(study)
    lines = [_said(folder)]
    for case in folder.cases():
        verdicts = {name: verdict_of(folder, case, name)[0] for name in folder.study.stain_names}
        painted = "painted" if folder.labels_path(case.name).exists() else "not painted"
        said = ", ".join(f"{name} {verdict}" for name, verdict in verdicts.items())
        lines.append(f"{case.name} (patient {case.patient}): {said}; {painted}")
    figures = {"cases": list(folder.case_names()), "runs": list(folder.runs()), "patchsets": list(folder.patchsets())}
    return Outcome(figures=figures, text="\n".join(lines))


def _said(folder: StudyFolder) -> str:
    study = folder.study
    mark = " SIMULATED" if study.simulated else ""
    return (
        f"Study {folder.path.name}{mark}: {len(folder.case_names())} cases, stains {', '.join(study.stain_names)} "
        f"(reference {study.reference}), classes {', '.join(lesion.short for lesion in study.classes)}"
    )


def pack(study: Path, *, case: str | None = None, target: Path | None = None, progress: Progress = silent) -> Outcome:
    """Copy slides of other places into the study; with `case` and `target`, write that case as a study of its own."""
    folder = StudyFolder.open(study)
    if case is not None and target is not None:
        made = folder.pack_case(case, target, progress)
        return Outcome(changed=(str(made.path),), text=f"Case {case} can be sent alone: {made.path}")
    cases = folder.pack(progress)
    names = tuple(found.name for found in cases)
    return Outcome(changed=names, text=f"{len(names)} cases now hold their slides inside the study")


def relocate(study: Path, folders: Sequence[Path], *, progress: Progress = silent) -> Outcome:
    """Find slides that were moved, by size and content, below some folders."""
    found = StudyFolder.open(study).relocate(folders, progress)
    return Outcome(
        changed=tuple(f"{case}/{stain}" for case, stain, _ in found.found),
        text=f"{len(found.found)} slides found again",
        warnings=tuple(f"{case}: the {stain} slide was not found" for case, stain in found.missing),
    )


def add_case(
    study: Path,
    source: Path,
    *,
    name: str | None = None,
    patient: str | None = None,
    um_per_px: float | None = None,
    allow_missing: bool = False,
    progress: Progress = silent,
) -> Outcome:
    """Take the slides of a folder or a CSV into a study."""
    from stainloom.io.intake import read_source, take_in

    folder = StudyFolder.open(study)
    rows = read_source(source, folder.study, name=name, patient=patient, um_per_px=um_per_px)
    cases = take_in(folder, rows, allow_missing=allow_missing, progress=progress)
    names = tuple(case.name for case in cases)
    return Outcome(changed=names, text=f"Taken in: {', '.join(names)}")


def import_landmarks(study: Path, case: str, source: Path, *, scale: float = 1.0) -> Outcome:
    """Take in landmarks: `STAIN.csv` a stain with the columns index, X, Y in px of the slide, times `scale`."""
    from stainloom.geometry import edge_to_um
    from stainloom.io.points import read_points

    folder = StudyFolder.open(study)
    found = folder.case(case)
    by_stain = {
        name: read_points(source / f"{name}.csv") for name in found.slides if (source / f"{name}.csv").is_file()
    }
    indices = sorted({index for points in by_stain.values() for index in points})
    nowhere = (np.nan, np.nan)
    points_um = {
        name: edge_to_um(
            np.array([points.get(index, nowhere) for index in indices]) * scale, found.slide(name).um_per_px
        )
        for name, points in by_stain.items()
    }
    folder.save_landmarks(case, points_um)
    return Outcome(
        (f"cases/{case}/landmarks.json",),
        {"landmarks": len(indices)},
        f"{len(indices)} landmarks in {len(by_stain)} stains",
    )


def check_case(study: Path, case: str | None) -> str:
    """The name of a case that exists: the one asked for, else the first."""
    folder = StudyFolder.open(study)
    names = folder.case_names()
    if case is None and names:
        return names[0]
    if case is None:
        raise CaseError("the study has no case yet", next="take one in: stainloom case add STUDY FOLDER")
    return folder.case(case).name


# The simulated study


@dataclass(frozen=True)
class _BlockTask:
    """One block to render: where slides and truth go."""

    slides: Path
    truth: Path
    settings: SimulationSettings
    patient: int


_TRUTH_UM = 2.0
_TRUTH_DYE_PX = 4


def simulate(
    study: Path, settings: SimulationSettings | None = None, *, workers: int | None = None, progress: Progress = silent
) -> Outcome:
    """Make a simulated study, painted on HE, with its truth beside it in `STUDY.truth`, which no job reads."""
    from stainloom.case.study import PROTOCOLS
    from stainloom.io.files import new_folder
    from stainloom.sample.aorta import simulate_block
    from stainloom.sample.settings import SimulationSettings

    chosen = settings or SimulationSettings()
    study = Path(study)
    with new_folder(study.with_name(f"{study.name}.truth")) as truth, new_folder(study) as beside:
        folder = StudyFolder.create(beside, PROTOCOLS[0], simulated=True)
        tasks = [_BlockTask(beside / "slides", truth, chosen, number) for number in range(chosen.patients)]
        facts = []
        for task, result in over(tasks, _render_block, workers=workers, progress=part(progress, 0, 0.95)):
            if isinstance(result, StainloomError):
                raise result
            facts.append(result)
            block = simulate_block(chosen, task.patient)
            _take_in_block(folder, block, task.slides / block.name)
        _write_json(truth / "settings.json", as_json(chosen))
        _write_json(truth / "facts.json", {"blocks": facts})
    progress(1, 1, "simulated")
    text = f"{_said(StudyFolder.open(study))}; the truth lies in {study.name}.truth"
    return Outcome((str(study), f"{study}.truth"), {"blocks": facts}, text)


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
    dyes = block.dyes(stain, whole(block.size(stain)))
    return {
        **{f"warp_{name}": array for name, array in block.truth_warp(stain).to_arrays().items()},
        "mask": block.mask(stain, _TRUTH_UM),
        "reference_mask": block.reference_mask_in(stain, _TRUTH_UM),
        "lost": block.lost(stain, _TRUTH_UM),
        "landmarks_um": block.landmarks(stain),
        "dyes": dyes[_TRUTH_DYE_PX // 2 :: _TRUTH_DYE_PX, _TRUTH_DYE_PX // 2 :: _TRUTH_DYE_PX].astype(np.float16),
    }


def _take_in_block(folder: StudyFolder, block: Any, slides: Path) -> None:
    from stainloom.io.intake import read_source, take_in

    rows = read_source(slides, folder.study, name=block.name, patient=block.patient)
    (case,) = take_in(folder, rows)
    _paint(folder, case, block.painted(folder.study.label_um), "simulated outline", "simulation")


def _write_json(path: Path, content: dict[str, Any]) -> None:
    from stainloom.io.files import write_json

    write_json(path, content)


# The way from the slides to the aligned case


@dataclass(frozen=True)
class _SlideTask:
    """Work on one slide of one case."""

    study: Path
    case: str
    stain: str
    settings: Any = None
    refine: bool = False


def register(
    study: Path,
    settings: RegisterSettings | None = None,
    *,
    refine: bool = False,
    cases: Sequence[str] = (),
    stains: Sequence[str] = (),
    workers: int | None = None,
    progress: Progress = silent,
) -> Outcome:
    """Align each stain to the reference; with `refine`, refine the current alignment inside painted lesions."""
    from stainloom.register.register import RegisterSettings

    folder = StudyFolder.open(study)
    chosen = settings or RegisterSettings()
    tasks = []
    for case in chosen_cases(folder, cases):
        if refine:
            take_snapshot(folder, case)
        tasks += [
            _SlideTask(study, case.name, stain, chosen, refine)
            for stain in chosen_stains(folder, stains)
            if stain != folder.study.reference and stain in case.slides and stain not in case.left_out
        ]
    changed, warnings, problems, rows = [], [], [], []
    for task, result in over(tasks, _register_slide, workers=workers, progress=progress):
        if isinstance(result, StainloomError):
            problems.append(result)
            continue
        id, quality = result
        changed.append(f"cases/{task.case}/warps/{task.stain}/{id}")
        rows.append({"case": task.case, "stain": task.stain, "warp": id, **quality})
        if quality["verdict"] != "good":
            warnings.append(f"{task.case}, {task.stain}: {quality['verdict']}. {quality['message']}")
    lines = [_registered(row) for row in rows]
    return Outcome(tuple(changed), {"slides": rows}, "\n".join(lines), tuple(warnings), tuple(problems))


def _registered(row: Mapping[str, Any]) -> str:
    error = row.get("landmarks")
    measured = (
        f"; landmarks {error['median_before_um']:.0f} um before, {error['median_um']:.0f} um after (median of {error['count']})"
        if error
        else ""
    )
    return f"{row['case']}, {row['stain']}: {row['verdict']}{measured}"


def _register_slide(task: _SlideTask, progress: Progress) -> tuple[str, dict[str, Any]]:
    from stainloom.register.register import refine_lesions, register

    folder = StudyFolder.open(task.study)
    case = folder.case(task.case)
    cache = TileCache(CACHE_BYTES)
    with (
        open_stain(folder, case, folder.study.reference, cache) as fixed,
        open_stain(folder, case, task.stain, cache) as moving,
    ):
        try:
            if task.refine:
                current = folder.current_warp(case.name, task.stain)
                if current is None:
                    raise _not_aligned(case, task.stain)
                boxes = _lesion_boxes(read_snapshot(folder, case))
                result = refine_lesions(fixed, moving, current[0], boxes, task.settings, progress=progress)
            else:
                result = register(fixed, moving, task.settings, progress=progress)
        except StainloomError as error:
            raise type(error)(
                f"case {case.name}: {error.what}",
                slide=error.slide or case.slide(task.stain).path,
                stain=error.stain or task.stain,
                expected=error.expected,
                found=error.found,
                next=error.next or "look at both slides, or leave this stain out",
            ) from error
    quality = dict(result.quality.as_dict())
    landmarks = _landmark_error(folder, case, task.stain, result.warp)
    if landmarks is not None:
        quality["landmarks"] = landmarks
    id = folder.save_warp(case.name, task.stain, result.warp, {**quality, "settings": as_json(task.settings)})
    return id, quality


def _not_aligned(case: Case, stain: str) -> CaseError:
    return CaseError(
        f"case {case.name} is not aligned yet",
        stain=stain,
        expected="an alignment",
        found="none",
        next="run `stainloom register`",
    )


def _landmark_error(folder: StudyFolder, case: Case, stain: str, warp: Any) -> dict[str, float] | None:
    """How far landmarks lie apart before and after, um; None where the case has none of this stain."""
    points = folder.landmarks(case.name)
    if folder.study.reference not in points or stain not in points:
        return None
    fixed, moving = points[folder.study.reference], points[stain]
    known = np.isfinite(fixed).all(axis=1) & np.isfinite(moving).all(axis=1)
    before = np.linalg.norm(fixed[known] - moving[known], axis=1)
    after = np.linalg.norm(warp.points(fixed[known]) - moving[known], axis=1)
    after = np.where(np.isfinite(after), after, np.inf)
    diagonal = float(np.hypot(*case.slide(stain).size_um))
    return {
        "count": int(known.sum()),
        "median_before_um": float(np.median(before)),
        "median_um": float(np.median(after)),
        "worst_tenth_um": float(np.quantile(after, 0.9, method="lower")),
        "median_of_diagonal": float(np.median(after)) / diagonal,
    }


# Labels


def _paint(
    folder: StudyFolder, case: Case, after: NDArray[np.uint8], what: str, author: str, objects: Sequence[Any] = ()
) -> str:
    """Paint a whole raster as one stroke a class, and leave a snapshot."""
    with folder.hold(case.name):
        store = open_store(folder, case, author)
        try:
            box = whole(store.size)
            for class_id in np.unique(after[after > 0]).tolist():
                before = store.raster()
                store.paint(box, before, np.where(after == class_id, after, before), what=what, class_id=class_id)
            if objects:
                now = store.raster()
                store.paint(box, now, now, what=what, class_id=0, objects=objects)
            id: str = store.snapshot(folder.snapshot_path(case.name))
        finally:
            store.close()
    return id


def _lesion_boxes(labels: Labels) -> list[BoxUm]:
    from stainloom.case.regions import components

    _, found = components(labels.raster)
    return [box_to_um(component.box, labels.um_per_px) for component in found]


def transfer(
    study: Path,
    *,
    cases: Sequence[str] = (),
    stains: Sequence[str] = (),
    workers: int | None = None,
    progress: Progress = silent,
) -> Outcome:
    """Carry the painted labels into each stain's own frame."""
    folder = StudyFolder.open(study)
    tasks, warnings = [], []
    for case in chosen_cases(folder, cases):
        take_snapshot(folder, case)
        for stain in chosen_stains(folder, stains):
            verdict, message = verdict_of(folder, case, stain)
            if verdict in ("good", "check"):
                tasks.append(_SlideTask(study, case.name, stain))
            if verdict not in ("good", "reference", "left out"):
                warnings.append(f"{case.name}, {stain}: {verdict}. {message}".rstrip())
    changed, problems, rows = [], [], []
    for task, result in over(tasks, _transfer_slide, workers=workers, progress=progress):
        if isinstance(result, StainloomError):
            problems.append(result)
            continue
        changed.append(f"cases/{task.case}/carried/{task.stain}")
        rows.append({"case": task.case, "stain": task.stain, "mm2": result})
    text = f"Labels carried into {len(changed)} slides"
    return Outcome(tuple(changed), {"slides": rows}, text, tuple(warnings), tuple(problems))


def _transfer_slide(task: _SlideTask, progress: Progress) -> dict[str, float]:
    from stainloom.labels.transfer import carry_labels

    folder = StudyFolder.open(task.study)
    case = folder.case(task.case)
    labels = read_snapshot(folder, case)
    found = folder.current_warp(case.name, task.stain)
    if found is None:
        raise _not_aligned(case, task.stain)
    warp, _ = found
    scale = (folder.study.label_um, folder.study.label_um)
    raster = carry_labels(
        labels.raster, labels.um_per_px, warp, case.slide(task.stain).size_um, scale, progress=progress
    )
    folder.save_carried(case.name, task.stain, raster, scale, labels_id=labels.labels_id, warp_id=warp.id)
    area = scale[0] * scale[1] / 1e6
    return {
        lesion.short: float((raster == lesion.id).sum() * area)
        for lesion in folder.study.lesions
        if (raster == lesion.id).any()
    }


# Colours


def normalize(
    study: Path,
    settings: NormalizeSettings | None = None,
    *,
    cases: Sequence[str] = (),
    stains: Sequence[str] = (),
    workers: int | None = None,
    progress: Progress = silent,
) -> Outcome:
    """Fit each slide's dyes once, and keep the numbers that bring it to the study's look of that stain.

    The look is that of the cases normalized before; without any it is the median of the fits of this call.
    """
    from stainloom.stain.fit import NormalizeSettings, reference_fit
    from stainloom.stain.normalize import Normalization

    folder = StudyFolder.open(study)
    chosen = settings or NormalizeSettings()
    if chosen.method == "none":
        return _as_scanned(folder, chosen_cases(folder, cases), chosen_stains(folder, stains))
    tasks = [
        _SlideTask(study, case.name, stain, chosen)
        for case in chosen_cases(folder, cases)
        for stain in chosen_stains(folder, stains)
        if stain in case.slides and stain not in case.left_out
    ]
    fits: dict[str, dict[str, Any]] = {}
    problems, warnings, changed = [], [], []
    for task, result in over(tasks, _fit_slide, workers=workers, progress=progress):
        if isinstance(result, StainloomError):
            problems.append(result)
            continue
        fits.setdefault(task.stain, {})[task.case] = result
        warnings += [f"{task.case}, {task.stain}: {text}" for text in result.warnings]
    for stain, by_case in fits.items():
        target = _look(folder, stain, set(by_case)) or reference_fit(list(by_case.values()))
        for name, fit in by_case.items():
            folder.save_normalization(name, stain, Normalization(fit, target).as_dict())
            changed.append(f"cases/{name}/normalization/{stain}.json")
    text = f"Colours of {len(changed)} slides brought to the study's look"
    return Outcome(tuple(changed), {"slides": len(changed)}, text, tuple(warnings), tuple(problems))


def _as_scanned(folder: StudyFolder, cases: Sequence[Case], stains: Sequence[str]) -> Outcome:
    for case in cases:
        for stain in stains:
            folder.drop_normalization(case.name, stain)
    return Outcome(changed=tuple(case.name for case in cases), text="Colours are left as they were scanned")


def _look(folder: StudyFolder, stain: str, without: set[str]) -> Any:
    """The look that the study's other cases of a stain were brought to; None where there is none yet."""
    from stainloom.stain.normalize import Normalization

    for name in folder.case_names():
        stored = None if name in without else folder.normalization(name, stain)
        if stored is not None:
            return Normalization.from_dict(stored).target
    return None


def _fit_slide(task: _SlideTask, progress: Progress) -> Any:
    from stainloom.stain.sample import fit_slide

    folder = StudyFolder.open(task.study)
    case = folder.case(task.case)
    with open_stain(folder, case, task.stain, TileCache(CACHE_BYTES)) as pyramid:
        return fit_slide(pyramid, folder.study.stain(task.stain), task.settings, progress=progress)


# Patches


@dataclass(frozen=True)
class _Cut:
    """The patches of one case, on their way from the process that cut them."""

    windows: tuple[Any, ...]
    blocks: list[tuple[NDArray[np.int64], NDArray[np.uint8]]]
    counts: dict[str, int]
    labels_id: str
    warp_ids: dict[str, str]
    normalization_ids: dict[str, str]
    cautions: list[str]


def export(
    study: Path,
    settings: PatchSettings | None = None,
    *,
    cases: Sequence[str] = (),
    stains: Sequence[str] = (),
    workers: int | None = None,
    one_patient: bool = False,
    progress: Progress = silent,
) -> Outcome:
    """Cut aligned patches of all stains, and split them by patient into training, validation and test.

    `one_patient` splits inside a patient instead; only the demo on the one real case does so, and the set is marked.
    """
    from stainloom.io.patchset import PatchSetWriter
    from stainloom.patches.select import PatchSettings
    from stainloom.patches.split import split_figures, split_halves, split_patients

    if stains:
        raise PatchError(
            "patches are cut from all stains", found=", ".join(stains), next="choose stains at `stainloom train`"
        )
    folder = StudyFolder.open(study)
    chosen = settings or PatchSettings()
    selected = chosen_cases(folder, cases)
    for case in selected:
        take_snapshot(folder, case)
    tasks = [_SlideTask(study, case.name, "", chosen) for case in selected]
    problems, warnings = [], []
    windows: list[Any] = []
    by_patient: dict[str, dict[int, int]] = {}
    with PatchSetWriter(
        folder.path / "patchsets",
        stains=folder.study.stain_names,
        classes=folder.study.classes,
        settings=as_json(chosen),
        simulated=folder.study.simulated,
    ) as writer:
        for task, result in over(tasks, _cut_case, workers=workers, progress=part(progress, 0, 0.9)):
            if isinstance(result, StainloomError):
                problems.append(result)
                continue
            patient = folder.case(task.case).patient
            writer.add_case(
                task.case,
                patient,
                result.windows,
                result.blocks,
                labels_id=result.labels_id,
                warp_ids=result.warp_ids,
                normalization_ids=result.normalization_ids,
                left_out=result.counts,
            )
            warnings += result.cautions
            windows += result.windows
            counts = by_patient.setdefault(patient, {})
            for window in result.windows:
                counts[window.class_id] = counts.get(window.class_id, 0) + 1
        if problems and not windows:
            raise problems[0]
        split: Mapping[str, str] | Sequence[str]
        figures: dict[str, Any] = {}
        if one_patient:
            split = split_halves(windows)
        else:
            split = split_patients(by_patient, seed=chosen.seed)
            measured = split_figures(by_patient, split)
            figures = {
                "deviation_points": measured.deviation_points,
                "patients": measured.patients,
                "windows": measured.windows,
            }
            warnings += measured.warnings
        path = writer.finish(split, figures=figures, progress=part(progress, 0.9, 1))
    totals = _totals(by_patient, folder)
    said = ", ".join(f"{short} {count}" for short, count in totals.items())
    text = f"Patch set {path.name}: {len(windows)} windows ({said}), each in {len(chosen.turns)} turns"
    if figures:
        text += f"; windows per set {figures['windows']}, class mix within {figures['deviation_points']:.1f} points"
    return Outcome(
        (f"patchsets/{path.name}",),
        {"patchset": path.name, "windows": len(windows), "classes": totals, **figures},
        text,
        tuple(warnings),
        tuple(problems),
    )


def _totals(by_patient: Mapping[str, Mapping[int, int]], folder: StudyFolder) -> dict[str, int]:
    return {
        lesion.short: sum(counts.get(lesion.id, 0) for counts in by_patient.values()) for lesion in folder.study.classes
    }


def _cut_case(task: _SlideTask, progress: Progress) -> _Cut:
    from stainloom.patches.cut import cut_patches
    from stainloom.patches.select import select_windows

    folder = StudyFolder.open(task.study)
    case = folder.case(task.case)
    labels = read_snapshot(folder, case)
    aligned, opened = open_aligned(folder, case, TileCache(CACHE_BYTES))
    try:
        ids = [lesion.id for lesion in folder.study.classes]
        selection = select_windows(
            labels.raster, labels.um_per_px, aligned, ids, task.settings, progress=part(progress, 0, 0.2)
        )
        blocks = [
            (block.windows, block.patches)
            for block in cut_patches(aligned, selection.windows, task.settings, progress=part(progress, 0.2, 1))
        ]
    except PatchError as error:
        raise PatchError(
            f"case {case.name}: {error.what}", expected=error.expected, found=error.found, next=error.next
        ) from error
    finally:
        for slide in opened:
            slide.close()
    used = [stain for stain in aligned.stains if stain is not None]
    return _Cut(
        selection.windows,
        blocks,
        selection.counts,
        labels.labels_id,
        {stain.name: stain.warp.id for stain in used if stain.warp is not None},
        {stain.name: stain.colour.id for stain in used if stain.colour is not None},  # type: ignore[attr-defined]
        cautions(folder, case),
    )


# Training, prediction, report


def _go() -> Literal["go"]:
    return "go"


def train(
    study: Path,
    settings: TrainSettings | None = None,
    *,
    patchset: str | None = None,
    resume: bool = False,
    control: Callable[[], Literal["go", "pause", "cancel"]] = _go,
    progress: Progress = silent,
) -> Outcome:
    """Train the network that weighs the stains, on the latest patch set unless another is named."""
    from stainloom.io.patchset import open_patchset
    from stainloom.io.runs import drop_state, load_state, save_run, save_state
    from stainloom.model.settings import TrainSettings
    from stainloom.model.train import train as train_network

    folder = StudyFolder.open(study)
    chosen = settings or TrainSettings()
    patches = open_patchset(folder.patchset_path(patchset or _latest_patchset(folder)))
    place = folder.path / "runs" / f".training-{_hash(patches.id, as_json(chosen))}"
    state = load_state(place) if resume else None
    if resume and state is None:
        raise ModelError(
            "there is no training to go on with",
            expected="a training of these patches with these settings that was interrupted",
            found="none",
            next="start it without --resume",
        )
    result = train_network(
        patches,
        chosen,
        state=state,
        save_state=lambda kept: save_state(place, kept),
        control=control,
        progress=part(progress, 0, 0.97),
    )
    run = result.run(
        um_per_px=patches.um_per_px,
        patchset=patches.id,
        simulated=patches.simulated,
        one_patient=patches.one_patient,
        normalized=patches.normalized,
    )
    if run.outcome == "learned":
        run = replace(run, figures={**run.figures, "test": _test_figures(run, patches)})
    id = save_run(folder.path / "runs", run)
    drop_state(place)
    progress(1, 1, "trained")
    said = f"Run {id} on {', '.join(run.stains)}: {run.outcome}"
    if run.outcome != "learned":
        raise ModelError(
            f"the network did not learn from these patches (run {id} keeps the record)",
            expected="a validation loss below that of guessing by class shares",
            found=f"{run.figures.get('best_validation_loss')} against {run.figures.get('prior_loss')}",
            next="look at the patches of each class, export more of them, or train longer",
        )
    test = run.figures["test"]
    if test:
        said += f"; on held-out patients {test['accuracy']:.1%} right, {test['balanced_accuracy']:.1%} balanced over classes"
    return Outcome((f"runs/{id}",), {"run": id, **run.figures}, said)


def _hash(patchset: str, settings: Mapping[str, Any]) -> str:
    import hashlib
    import json

    return hashlib.sha256(json.dumps([patchset, settings], sort_keys=True).encode()).hexdigest()[:16]


def _latest_patchset(folder: StudyFolder) -> str:
    names = folder.patchsets()
    if not names:
        raise PatchError("the study has no patches yet", next="run `stainloom export`")
    return max(names, key=lambda name: folder.patchset_path(name).stat().st_mtime_ns)


def held_out_cases(study: Path) -> tuple[str, ...]:
    """Cases whose patient is in the test set of the latest patch set."""
    from stainloom.io.patchset import open_patchset

    folder = StudyFolder.open(study)
    patches = open_patchset(folder.patchset_path(_latest_patchset(folder)))
    return tuple(sorted(set(patches.cases[patches.sets == "test"].tolist())))


def _test_figures(run: Any, patches: Any) -> dict[str, Any]:
    """Accuracy on the test patients; empty where the set holds none."""
    from stainloom.model.metrics import accuracy, balanced_accuracy, confusion
    from stainloom.model.predict import evaluate

    indices = patches.indices("test", augmented=False)
    if len(indices) == 0:
        return {}
    found = evaluate(run, patches, indices)
    matrix = confusion(found.truth, found.predicted, run.class_ids)
    weights = found.weights.mean(axis=0)
    return {
        "samples": len(indices),
        "patients": sorted(set(found.patients.tolist())),
        "accuracy": accuracy(matrix),
        "balanced_accuracy": balanced_accuracy(matrix),
        "confusion": matrix.tolist(),
        "mean_weights": {stain: float(weight) for stain, weight in zip(run.stains, weights, strict=True)},
    }


def _learned_runs(folder: StudyFolder) -> list[Any]:
    """The runs that learned, oldest first."""
    from stainloom.io.runs import load_run

    runs = [load_run(folder.run_path(id)) for id in folder.runs()]
    return [run for run in runs if run.outcome == "learned"]


def _chosen_run(folder: StudyFolder, id: str | None) -> Any:
    """A run by id, else the latest with the most stains."""
    from stainloom.io.runs import load_run

    if id is not None:
        return load_run(folder.run_path(id))
    runs = _learned_runs(folder)
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
    from stainloom.io.maps import MapFacts, save_maps
    from stainloom.model.predict import predict_region
    from stainloom.model.settings import PredictSettings

    folder = StudyFolder.open(study)
    chosen = settings or PredictSettings()
    run = _chosen_run(folder, run_id)
    selected = chosen_cases(folder, cases)
    changed: list[str] = []
    warnings: list[str] = []
    problems: list[StainloomError] = []
    rows: list[dict[str, Any]] = []
    for number, case in enumerate(selected):
        share = part(progress, number / len(selected), (number + 1) / len(selected))
        aligned, opened = open_aligned(folder, case, TileCache(CACHE_BYTES), normalized=run.normalized)
        try:
            box, mask = _wanted(folder, case, aligned, run, chosen, where, box_um)
            maps = predict_region(run, aligned, box, mask, chosen, progress=share)
        except StainloomError as error:
            problems.append(error)
            continue
        finally:
            for slide in opened:
                slide.close()
        facts = MapFacts(
            run.id,
            run.stains,
            run.classes,
            maps.um_per_px,
            maps.origin_um,
            {s.name: s.warp.id for s in aligned.stains if s is not None and s.warp is not None},
            folder.study.simulated,
            run.one_patient,
            {"where": where, "settings": as_json(chosen)},
        )
        path = save_maps(folder.case_path(case.name) / "maps", facts, maps.classes, maps.probabilities, maps.weights)
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


def _wanted(
    folder: StudyFolder,
    case: Case,
    aligned: AlignedCase,
    run: Any,
    settings: PredictSettings,
    where: Where,
    box_um: tuple[float, float, float, float] | None,
) -> tuple[Any, NDArray[np.bool_] | None]:
    """The box to predict, px of the run's grid, and which of its windows."""
    from stainloom.case.resample import overview
    from stainloom.geometry import um_to_box
    from stainloom.model.predict import MapGrid
    from stainloom.tissue import tissue_mask

    scale = (run.um_per_px, run.um_per_px)
    size = case.slide(folder.study.reference).size_um
    if where == "box":
        assert box_um is not None
        box = um_to_box(BoxUm(*box_um), scale).intersect(whole(size_at(size, scale)))
        if min(box.shape) < run.size_px:
            raise ModelError(
                f"the box holds no window in case {case.name}",
                expected=f"at least {run.size_px * run.um_per_px:.0f} um a side, on the slide of {size[0]:.0f} x {size[1]:.0f} um",
                found=f"{box.rows * scale[0]:.0f} x {box.cols * scale[1]:.0f} um",
                next="choose a larger box",
            )
        return box, None
    box = whole(size_at(size, scale))
    grid = MapGrid.over(box, run, settings)
    if where == "lesions":
        labels = take_snapshot(folder, case)
        raster, step = labels.raster, labels.um_per_px
    else:
        reference = aligned.stains[aligned.names.index(folder.study.reference)]
        assert reference is not None
        step = (8.0, 8.0)
        raster = tissue_mask(overview(reference.pyramid, step[0]), step).astype(np.uint8)
    centres = grid.centres_um()
    index = np.clip((centres / np.array(step)).astype(np.intp), 0, np.array(raster.shape) - 1)
    return box, raster[index[..., 0], index[..., 1]] > 0


def report(study: Path, *, cases: Sequence[str] = (), progress: Progress = silent) -> Outcome:
    """Write the report of the latest run of all stains beside it: figures, confusion matrix, single stains, pictures."""
    from stainloom.reporting import gather_report

    path, figures = gather_report(StudyFolder.open(study), cases, progress)
    lines = [f"{name}: {score['accuracy']:.1%} right" for name, score in figures.get("scores", {}).items()]
    return Outcome((path,), figures, "\n".join([*lines, f"Report: {study / path}"]))


# Outlines of other programs


def import_annotations(study: Path, case: str, file: Path, *, stain: str | None = None) -> Outcome:
    """Paint the outlines of a GeoJSON file into the labels, and keep the objects beside them as they came.

    Outlines drawn on another stain than the reference are carried over by its alignment.
    """
    from stainloom.io.annotations import read_geojson

    folder = StudyFolder.open(study)
    found = folder.case(case)
    name = folder.study.stain(stain or folder.study.reference).name
    annotations = read_geojson(file)
    by_name = {key.casefold(): lesion for lesion in folder.study.lesions for key in (lesion.short, lesion.name)}
    warnings: list[str] = []
    with folder.hold(case):
        store = open_store(folder, found)
        try:
            after, objects = store.raster(), []
            for number, annotation in enumerate(annotations, start=1):
                lesion = by_name.get((annotation.class_name or "").casefold())
                if lesion is None and not annotation.is_mark:
                    known = ", ".join(lesion.short for lesion in folder.study.lesions)
                    said = annotation.class_name or "no class"
                    warnings.append(
                        f"object {number} is of {said!r}, which is none of {known}: kept as a mark, not painted"
                    )
                mask = _mask_of(folder, found, name, annotation, store.size) if lesion is not None else None
                objects.append(_label_object(annotation, lesion, mask))
                if lesion is not None and mask is not None:
                    after[mask] = lesion.id
            box, before = whole(store.size), store.raster()
            store.paint(box, before, after, what=f"import of {file.name}", class_id=0, objects=objects)
            id = store.snapshot(folder.snapshot_path(case))
        finally:
            store.close()
    painted = sum(item.class_id > 0 for item in objects)
    text = f"{painted} outlines painted, {len(objects) - painted} objects kept as marks"
    return Outcome((f"cases/{case}/labels.sqlite",), {"labels": id, "painted": painted}, text, tuple(warnings))


def _mask_of(folder: StudyFolder, case: Case, stain: str, annotation: Any, size: Size) -> NDArray[np.bool_] | None:
    """Which pixels of the class raster an outline covers; None for a mark."""
    from stainloom.geometry import edge_to_um, um_to_edge
    from stainloom.labels.polygons import fill_polygons

    if annotation.is_mark:
        return None
    scale = case.slide(stain).um_per_px
    step = (folder.study.label_um, folder.study.label_um)
    found = None if stain == folder.study.reference else folder.current_warp(case.name, stain)
    if found is None and stain != folder.study.reference:
        raise _not_aligned(case, stain)
    rings = []
    for ring in (ring for polygon in annotation.parts for ring in polygon):
        points = edge_to_um(ring, scale)
        if found is not None:
            points = found[0].inverse().points(points)
        rings.append(um_to_edge(points, step))
    if not all(np.isfinite(ring).all() for ring in rings):
        raise LabelError(
            "an outline reaches beyond where the alignment is known",
            stain=stain,
            expected="outlines inside the aligned tissue",
            next="draw it on the reference, or align the stain again",
        )
    return np.asarray(fill_polygons(rings, size), np.bool_)


def _label_object(annotation: Any, lesion: LesionClass | None, mask: NDArray[np.bool_] | None) -> Any:
    from stainloom.io.strokelog import LabelObject

    if lesion is None or mask is None or not mask.any():
        return LabelObject(annotation.text, 0, Box(0, 0, 0, 0), np.zeros((0, 0), np.bool_))
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = Box(int(rows[0]), int(cols[0]), int(rows[-1] - rows[0] + 1), int(cols[-1] - cols[0] + 1))
    return LabelObject(annotation.text, lesion.id, box, mask[box.within(Box(0, 0, *mask.shape))].copy())


def export_annotations(study: Path, case: str, file: Path, *, stain: str | None = None) -> Outcome:
    """Write the painted labels, or with another stain those carried to it, as GeoJSON in that slide's px.

    On the reference, imported objects that nobody edited are written as they came, and only other paint as new outlines.
    """
    from stainloom.geometry import edge_to_um, um_to_edge
    from stainloom.io.annotations import Annotation, Geometry, write_geojson
    from stainloom.labels.polygons import raster_to_polygons

    folder = StudyFolder.open(study)
    found = folder.case(case)
    name = folder.study.stain(stain or folder.study.reference).name
    kept: list[Annotation] = []
    if name == folder.study.reference:
        labels = take_snapshot(folder, found)
        raster, scale = labels.raster.copy(), labels.um_per_px
        kept = [Annotation("Polygon", (), text=item.text) for item in labels.objects]
        for item in labels.objects:
            raster[item.box.within(Box(0, 0, *raster.shape))][item.mask] = 0
    else:
        carried = folder.carried(case, name)
        if carried is None:
            raise LabelError(
                f"nothing was carried to this stain of case {case}", stain=name, next="run `stainloom transfer`"
            )
        raster, scale = carried.raster, carried.um_per_px
    by_id = {lesion.id: lesion for lesion in folder.study.lesions}
    made = []
    for outline in raster_to_polygons(raster):
        lesion = by_id[outline.class_id]
        parts = tuple(
            tuple(um_to_edge(edge_to_um(ring, scale), found.slide(name).um_per_px) for ring in rings)
            for rings in outline.parts
        )
        geometry: Geometry = "Polygon" if len(parts) == 1 else "MultiPolygon"
        made.append(Annotation(geometry, parts, class_name=lesion.short, colour=lesion.rgb))
    write_geojson(file, [*kept, *made])
    text = f"{len(kept)} imported objects unchanged and {len(made)} outlines written to {file}"
    return Outcome((str(file),), {"kept": len(kept), "outlines": len(made)}, text)


# Looking


def open_view(study: Path, case: str | None = None, *, cache_bytes: int = CACHE_BYTES) -> CaseView:
    """A case as the window shows it; close it when it is no longer shown."""
    folder = StudyFolder.open(study)
    found = folder.case(check_case(study, case))
    cache = TileCache(cache_bytes)
    opened: list[OpenedSlide] = []
    stains = []
    for name in folder.study.stain_names:
        verdict, message = verdict_of(folder, found, name)
        if verdict in ("missing", "left out"):
            stains.append(StainView(name, None, verdict, message))
            continue
        pyramid = open_stain(folder, found, name, cache)
        opened.append(pyramid)
        warp = None if verdict == "reference" else folder.current_warp(found.name, name)
        aligned = AlignedStain(name, pyramid, None if warp is None else warp[0], colour_of(folder, found, name))
        stains.append(StainView(name, aligned, verdict, message))

    def close() -> None:
        for slide in opened:
            slide.close()

    labels, scale = None, (folder.study.label_um, folder.study.label_um)
    if folder.labels_path(found.name).exists():
        snapshot = take_snapshot(folder, found)
        labels, scale = snapshot.raster, snapshot.um_per_px
    return CaseView(
        folder.study,
        found,
        tuple(stains),
        labels,
        scale,
        _carried_at(folder, found),
        _maps_view(folder, found),
        folder.study.simulated,
        close,
    )


def _carried_at(folder: StudyFolder, case: Case) -> dict[str, tuple[float, float]]:
    kept = {name: folder.carried(case.name, name) for name in folder.study.moving if name in case.slides}
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
    maps = open_maps(parent / names[-1])
    weights = maps.weights.whole().astype(np.float32) / 255
    return MapsView(
        maps.facts.run,
        maps.facts.um_per_px,
        maps.facts.origin_um,
        maps.class_map.whole(),
        maps.probabilities.whole(),
        dict(zip(maps.facts.stains, weights, strict=True)),
        maps.facts.classes,
    )
