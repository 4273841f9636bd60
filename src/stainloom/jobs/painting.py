"""Painted labels: carried to other stains, brought in and written out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stainloom.case.case import Case
from stainloom.case.lesions import LesionClass
from stainloom.errors import LabelError, StainloomError
from stainloom.geometry import Box, Size, whole
from stainloom.io.casefile import StudyFolder
from stainloom.jobs.opening import (
    chosen_cases,
    chosen_stains,
    is_stale,
    not_aligned,
    open_store,
    read_snapshot,
    take_snapshot,
    verdict_of,
)
from stainloom.jobs.outcome import Outcome, SlideTask
from stainloom.progress import Progress, silent
from stainloom.workers import over

if TYPE_CHECKING:
    from stainloom.io.annotations import Annotation
    from stainloom.io.strokelog import LabelObject


def paint_whole(folder: StudyFolder, case: Case, after: NDArray[np.uint8], what: str, author: str) -> str:
    """Paint a whole raster as one stroke a class, and leave a snapshot."""
    with folder.hold(case.name):
        store = open_store(folder, case, author)
        try:
            box = whole(store.size)
            for class_id in np.unique(after[after > 0]).tolist():
                before = store.raster()
                store.paint(box, before, np.where(after == class_id, after, before), what=what, class_id=class_id)
            id: str = store.snapshot(folder.snapshot_path(case.name))
        finally:
            store.close()
    return id


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
    tasks: list[SlideTask] = []
    warnings: list[str] = []
    selected, problems = chosen_cases(folder, cases)
    for case in selected:
        try:
            take_snapshot(folder, case)
        except StainloomError as error:
            problems.append(error)
            continue
        for stain in chosen_stains(folder, stains):
            verdict, message = verdict_of(folder, case, stain)
            if verdict in ("good", "check"):
                tasks.append(SlideTask(study, case.name, stain))
            if verdict not in ("good", "reference", "left out"):
                warnings.append(f"{case.name}, {stain}: {verdict}. {message}".rstrip())
    if problems and not tasks:
        raise problems[0]
    changed, rows = [], []
    for task, result in over(tasks, _transfer_slide, workers=workers, progress=progress):
        if isinstance(result, StainloomError):
            problems.append(result)
            continue
        changed.append(f"cases/{task.case}/carried/{task.stain}")
        rows.append({"case": task.case, "stain": task.stain, "mm2": result})
    text = f"Labels carried into {len(changed)} slides"
    return Outcome(tuple(changed), {"slides": rows}, text, tuple(warnings), tuple(problems))


def _transfer_slide(task: SlideTask, progress: Progress) -> dict[str, float]:
    from stainloom.labels.transfer import carry_labels

    folder = StudyFolder.open(task.study)
    case = folder.case(task.case)
    labels = read_snapshot(folder, case)
    found = folder.current_warp(case.name, task.stain)
    if found is None:
        raise not_aligned(case, task.stain)
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


def import_annotations(study: Path, case: str, file: Path, *, stain: str | None = None) -> Outcome:
    """Paint the outlines of a GeoJSON file into the labels, and keep the objects beside them as they came.

    Outlines drawn on another stain than the reference are carried over by its alignment. Objects that the case has
    already are not taken in twice.
    """
    from stainloom.io.annotations import read_geojson

    folder = StudyFolder.open(study)
    found = folder.case(case)
    name = folder.study.stain(stain or folder.study.reference).name
    annotations = [_on_reference(folder, found, name, annotation) for annotation in read_geojson(file)]
    by_name = {key.casefold(): lesion for lesion in folder.study.lesions for key in (lesion.short, lesion.name)}
    warnings: list[str] = []
    with folder.hold(case):
        store = open_store(folder, found)
        try:
            known = {item.text for item in store.objects}
            after, objects = store.raster(), []
            for number, annotation in enumerate(annotations, start=1):
                if annotation.text in known:
                    warnings.append(f"object {number} is in the case already and was not taken in again")
                    continue
                lesion = by_name.get((annotation.class_name or "").casefold())
                if lesion is None and not annotation.is_mark:
                    shorts = ", ".join(lesion.short for lesion in folder.study.lesions)
                    said = annotation.class_name or "no class"
                    warnings.append(
                        f"object {number} is of {said!r}, which is none of {shorts}: kept as a mark, not painted"
                    )
                item = _label_object(folder, found, annotation, lesion, store.size)
                objects.append(item)
                if lesion is not None and not annotation.is_mark:
                    warnings += _off_slide(found.slide(folder.study.reference).size, annotation, item, number)
                after[item.box.within(whole(store.size))][item.mask] = item.class_id
            store.paint(
                whole(store.size), store.raster(), after, what=f"import of {file.name}", class_id=0, objects=objects
            )
            id = store.snapshot(folder.snapshot_path(case))
        finally:
            store.close()
    painted = sum(item.class_id > 0 for item in objects)
    text = f"{painted} outlines painted, {len(objects) - painted} objects kept as marks"
    return Outcome((f"cases/{case}/labels.sqlite",), {"labels": id, "painted": painted}, text, tuple(warnings))


def _off_slide(size: Size, annotation: Annotation, item: LabelObject, number: int) -> list[str]:
    """A sentence where an outline reaches beyond the slide, or paints no pixel: most often the file has another scale."""
    corners = np.concatenate([ring for part in annotation.parts for ring in part])
    low, high = corners.min(axis=0), corners.max(axis=0)
    slide = f"the slide of {size.cols} x {size.rows} px (X, Y)"
    place = f"X {low[1]:.0f} to {high[1]:.0f}, Y {low[0]:.0f} to {high[0]:.0f}"
    if (low < -0.5).any() or (high > np.array(size.shape) + 0.5).any():
        painted = "only what lies on it was painted" if item.class_id else "nothing was painted"
        return [f"object {number} reaches beyond {slide}: {place}; {painted}. Was the file made at another scale?"]
    return [] if item.class_id else [f"object {number} is smaller than a pixel of the labels and was not painted"]


def _on_reference(folder: StudyFolder, case: Case, stain: str, annotation: Annotation) -> Annotation:
    """An object in px of the reference slide; one drawn on another stain is carried by that stain's alignment."""
    from stainloom.geometry import edge_to_um, um_to_edge
    from stainloom.io.annotations import feature_text

    if stain == folder.study.reference:
        return annotation
    found = folder.current_warp(case.name, stain)
    if found is None:
        raise not_aligned(case, stain)
    back, scale = found[0].inverse(), case.slide(stain).um_per_px
    target = case.slide(folder.study.reference).um_per_px
    parts = tuple(
        tuple(um_to_edge(back.points(edge_to_um(ring, scale)), target) for ring in part) for part in annotation.parts
    )
    if not all(np.isfinite(ring).all() for part in parts for ring in part):
        raise LabelError(
            "an outline reaches beyond where the alignment is known",
            stain=stain,
            expected="outlines inside the aligned tissue",
            next="draw it on the reference, or align the stain again",
        )
    carried = replace(annotation, parts=parts, text="")
    return replace(carried, text=feature_text(carried))


def _label_object(
    folder: StudyFolder, case: Case, annotation: Annotation, lesion: LesionClass | None, size: Size
) -> LabelObject:
    """An object with the pixels that it paints; a mark, or one of no class of the study, paints none."""
    from stainloom.io.strokelog import LabelObject
    from stainloom.labels.polygons import fill_parts, rescale

    box, mask = Box(0, 0, 0, 0), np.zeros((0, 0), np.bool_)
    if lesion is not None and not annotation.is_mark:
        parts = rescale(annotation.parts, case.slide(folder.study.reference).um_per_px, folder.study.label_um)
        box, mask = fill_parts(parts, size)
    return LabelObject(annotation.text, lesion.id if lesion is not None and not box.empty else 0, box, mask)


def export_annotations(study: Path, case: str, file: Path, *, stain: str | None = None) -> Outcome:
    """Write the painted labels, or with another stain those carried to it, as GeoJSON in that slide's px.

    On the reference, imported objects that nobody edited are written as they came, and only other paint as new outlines.
    """
    from stainloom.io.annotations import Annotation, write_geojson
    from stainloom.labels.polygons import raster_to_polygons, rescale

    folder = StudyFolder.open(study)
    found = folder.case(case)
    name = folder.study.stain(stain or folder.study.reference).name
    kept: list[Annotation] = []
    warnings: list[str] = []
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
                f"nothing was carried to this stain of case {case}",
                stain=name,
                next="run `stainloom transfer` (the window carries by itself)",
            )
        raster, scale = carried.raster, carried.um_per_px
        if is_stale(folder, found, name, take_snapshot(folder, found).labels_id):
            warnings.append(
                f"{case}, {name}: paint or alignment changed since it was carried; run `stainloom transfer`"
            )
    by_id = {lesion.id: lesion for lesion in folder.study.lesions}
    made = []
    for outline in raster_to_polygons(raster):
        lesion = by_id[outline.class_id]
        parts = rescale(outline.parts, scale, found.slide(name).um_per_px)
        made.append(
            Annotation(
                "Polygon" if len(parts) == 1 else "MultiPolygon", parts, class_name=lesion.short, colour=lesion.rgb
            )
        )
    write_geojson(file, [*kept, *made])
    text = f"{len(kept)} imported objects unchanged and {len(made)} outlines written to {file}"
    return Outcome((str(file),), {"kept": len(kept), "outlines": len(made)}, text, tuple(warnings))
