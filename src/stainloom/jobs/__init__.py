"""The verbs of the pathologist, one function each: open, call rooms, save. Both faces call these and nothing below.

Rooms are imported inside functions: a process that shows a window never loads torch.
"""

from __future__ import annotations

from stainloom.jobs.aligning import register
from stainloom.jobs.colours import normalize
from stainloom.jobs.exporting import export
from stainloom.jobs.outcome import Outcome
from stainloom.jobs.painting import export_annotations, import_annotations, transfer
from stainloom.jobs.predicting import predict
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
    new_study,
    pack,
    relocate,
    show_study,
)
from stainloom.jobs.survey import survey
from stainloom.jobs.thumbnails import thumbnail
from stainloom.jobs.training import held_out_cases, train
from stainloom.jobs.viewing import maps_of, open_maps_view, open_view

__all__ = [
    "Outcome", "add_case", "best_run", "check_case", "check_study", "export", "export_annotations", "held_out_cases",
    "import_annotations", "import_landmarks", "known_runs", "maps_of", "mark_reviewed", "new_study", "normalize",
    "open_maps_view", "open_view", "pack", "predict", "register", "relocate", "report", "serve", "settings_of",
    "show_study", "simulate", "survey", "thumbnail", "train", "transfer", "unmark_reviewed",
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
