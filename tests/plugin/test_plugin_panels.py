"""What the panels of Patches and Train say, without a window."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from stainloom.io.trainings import Training
from stainloom.jobs.patchsets import PatchSetState
from stainloom.jobs.trained import HeldOut, Interrupted, RunState
from stainloom.model.settings import TrainSettings
from stainloom.plugin.patches import set_lines, told_lines
from stainloom.plugin.runwords import (
    basis_said,
    compared_runs,
    comparison_said,
    elsewhere_said,
    interrupted_said,
    run_cells,
    run_lines,
    runs_said,
)
from stainloom.plugin.training import changed_settings

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
FIGURES = {
    "windows": 300, "bytes": 4_000_000, "free_bytes": 1_000_000, "patients": {"train": ["P01", "P03"], "test": ["P02"]},
    "left_out": {"off the tissue": 1, "smaller than a window": 1200}, "missing": {"VG": 7}, "cases": 3,
}  # fmt: skip
SET = PatchSetState("abcdef0123456789", Path("/s/patchsets/abcdef0123456789"), NOON, 300, 1500, 4_000_000, ("HE", "VG"), ("MEMA",), {"train": 200, "test": 100}, {"train": ("P01",), "test": ("P02",)})  # fmt: skip
TEST = HeldOut(90, 2, 0.5, 0.45, (0.4, 0.6), 0.2)
RUN = RunState("20261123-120000-abcdef", NOON, ("HE", "VG"), ("MEMA", "MF"), "set", "learned", TEST, ({"epoch": 1.0, "passes": 2000.0},), 1, seconds=100)  # fmt: skip


def test_what_is_left_out_is_said_in_words_the_most_first():
    lines = told_lines(FIGURES)
    assert lines[:2] == ["Training: P01 and P03", "Test: P02"]
    reasons = lines[lines.index("Left out:") + 1 :]
    assert reasons[0] == "1,200 windows at the edge of a lesion, where no whole window fits"
    assert reasons[1] == "1 window on glass, not on tissue"
    assert "VG in 7 windows" in lines
    assert lines[-1] == "! The disk has 1 MB left: too little for these patches."
    assert told_lines({}) == []


def test_a_patch_set_says_whether_it_is_out_of_date():
    assert set_lines(SET)[0].startswith("\N{CHECK MARK} Up to date")
    assert (
        set_lines(replace(SET, outdated=("older than the paint of 2 cases",)))[0]
        == "! Older than the paint of 2 cases."
    )
    assert "it is broken" in set_lines(replace(SET, problem="it is broken"))[0]


def test_time_is_only_told_from_a_run_of_as_many_stains():
    assert "took" not in basis_said(SET, ("HE",), [RUN])
    assert basis_said(SET, ("HE", "VG"), [RUN]).endswith("; the last one of 2 stains took 2 min for 1 epoch.")


def test_a_run_is_a_row_with_its_interval_and_its_outcome():
    assert run_cells(RUN) == ("23 Nov 2026 12:00\n2 stains fused", "50 %\n40 to 60 %", "\N{CHECK MARK} learned")
    assert run_cells(replace(RUN, outcome="did not learn", test=None))[1:] == ("not tested", "\N{MULTIPLICATION SIGN} did not\nlearn")  # fmt: skip
    assert "control" in run_cells(replace(RUN, control="shuffled labels"))[2]
    assert run_cells(RunState("x", problem="newer"))[2].startswith("\N{MULTIPLICATION SIGN}")
    assert "Range: 40 to 60 %, which over 2 patients says little." in "\n".join(run_lines(RUN))
    alone = replace(RUN, test=replace(RUN.test, patients=1))
    assert "Range" not in "\n".join(run_lines(alone))
    assert "One patient says little of others." in "\n".join(run_lines(alone))
    assert "newer" in run_lines(RunState("x", problem="newer"))[0]


def test_fused_is_compared_with_the_latest_single_stains_of_the_same_patches():
    def single(stain: str, right: float, patchset: str = "set") -> RunState:
        return replace(RUN, id=stain, stains=(stain,), test=replace(TEST, accuracy=right), patchset=patchset)

    runs = [single("HE", 0.3), single("HE", 0.9), RUN, single("VG", 0.4), single("VG", 0.8, "other")]
    found = compared_runs(runs)
    assert [(run.stains, run.test.accuracy) for run in found] == [(("HE", "VG"), 0.5), (("HE",), 0.3), (("VG",), 0.4)]
    assert "+10 points against the best single stain (VG)" in comparison_said(found)
    assert compared_runs([replace(RUN, problem="other stains")]) == []


def test_a_training_elsewhere_and_an_interrupted_one_are_said():
    history = ({"epoch": 1.0},)
    training = Training(
        "k", "lab-3", 4, "2026-11-23T10:00:00+00:00", "set", ("HE", "VG"), 0.5, "epoch 4", 300, history, 1
    )
    assert (
        "2 stains fused runs outside this window (lab-3, since 2026-11-23 10:00 UTC): 50 %, 5 min left"
        in elsewhere_said(training, False)
    )
    assert "stopping" in elsewhere_said(training, True)
    found = Interrupted("k", "set", TrainSettings(stains=("HE",), batch=32), history, NOON)
    assert (
        interrupted_said(found)
        == "A training of HE alone was interrupted after 1 epoch; its state of 23 Nov 2026 12:00 is kept. It goes on with "
        "the limits of the form."
    )
    assert changed_settings(found.settings) == {"stains": ("HE",), "batch": 32}


def test_runs_of_other_patches_are_not_to_be_compared():
    one, other = RunState("a", patchset="1", test=TEST), RunState("b", patchset="2", test=TEST)
    assert runs_said([one, RunState("c", patchset="2")]) == "Runs, newest first:"
    assert "compares only roughly" in runs_said([one, other])


def test_runs_of_other_patches_compare_where_their_test_windows_are_the_same():
    same = replace(TEST, windows_id="w")
    fused = replace(RUN, patchset="2", test=same)
    alone = replace(RUN, id="alone", stains=("HE",), patchset="1", test=same)
    assert runs_said([fused, alone]) == "Runs, newest first:"
    assert compared_runs([fused, alone]) == [fused, alone]
    assert compared_runs([fused, replace(alone, test=replace(TEST, windows_id="v"))]) == [fused]
