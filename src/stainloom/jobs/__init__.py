"""The verbs of the pathologist, one function each: open, call rooms, save. Both faces call these and nothing below.

Rooms are imported inside functions: a process that shows a window never loads torch.
"""

from __future__ import annotations

from stainloom.jobs.aligning import accept, keep_laid, laid, lay, register
from stainloom.jobs.colours import normalize
from stainloom.jobs.exporting import export
from stainloom.jobs.intake import drop_table, find_faults, look_at_slides, write_table
from stainloom.jobs.looks import stain_look
from stainloom.jobs.mapstate import maps_of
from stainloom.jobs.outcome import Outcome
from stainloom.jobs.paint import Carrying, Paint
from stainloom.jobs.painting import export_annotations, import_annotations, transfer
from stainloom.jobs.patchsets import contact_sheet, patchsets
from stainloom.jobs.predicting import predict
from stainloom.jobs.previewing import preview
from stainloom.jobs.reporting import report
from stainloom.jobs.reviewing import mark_reviewed, unmark_reviewed
from stainloom.jobs.runs import best_run, known_runs
from stainloom.jobs.serving import serve
from stainloom.jobs.simulating import simulate
from stainloom.jobs.studies import (
    add_case,
    check_case,
    check_study,
    import_landmarks,
    leave_out,
    new_study,
    pack,
    relocate,
    remove_case,
    replace_slide,
    show_study,
)
from stainloom.jobs.survey import survey
from stainloom.jobs.thumbnails import thumbnail
from stainloom.jobs.trained import report_of, stop_training, trained
from stainloom.jobs.training import held_out_cases, train
from stainloom.jobs.viewing import open_maps_view, open_view

__all__ = [
    "Carrying", "Outcome", "Paint", "accept", "add_case", "best_run", "check_case", "check_study", "contact_sheet",
    "drop_table", "export", "export_annotations", "find_faults", "held_out_cases", "import_annotations",
    "import_landmarks", "keep_laid", "known_runs", "laid", "lay", "leave_out", "look_at_slides", "maps_of",
    "mark_reviewed", "new_study", "normalize", "open_maps_view", "open_view", "pack", "patchsets", "predict",
    "preview", "register", "relocate", "remove_case", "replace_slide", "report", "report_of", "serve", "settings_of",
    "show_study", "simulate", "stain_look", "stop_training", "survey", "thumbnail", "train", "trained", "transfer",
    "unmark_reviewed", "write_table",
]  # fmt: skip


def settings_of(job: str) -> type:
    """The settings dataclass of a job, by the name of its subcommand. Loads no torch."""
    if job == "simulate":
        from stainloom.sample.settings import SimulationSettings

        return SimulationSettings
    if job == "register":
        from stainloom.register.settings import RegisterSettings

        return RegisterSettings
    if job == "normalize":
        from stainloom.stain.fit import NormalizeSettings

        return NormalizeSettings
    if job == "export":
        from stainloom.patches.select import PatchSettings

        return PatchSettings
    from stainloom.model.settings import PredictSettings, TrainSettings

    return {"train": TrainSettings, "predict": PredictSettings}[job]
