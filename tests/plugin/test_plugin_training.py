"""The Colour, Patches and Train docks on a real study, with real children: colours switched, windows counted, a network trained."""

from __future__ import annotations

import numpy as np
import pytest

from stainloom import jobs
from stainloom.jobs.survey import survey
from stainloom.plugin._napari import draw_now

pytestmark = pytest.mark.screen


@pytest.fixture
def docks(make_napari_viewer, qtbot):
    from stainloom.plugin.window import Docks
    from stainloom.plugin.workspace import Workspace

    viewer = make_napari_viewer(show=True)
    made = Docks(Workspace(viewer), ask=lambda title: "stop")
    yield made
    made.workspace.stop_looking()
    made.workspace.queue.stop()
    made.workspace.thumbnails.close()
    panels = [dock.panel for name, dock in made.docks.items() if name in ("Colour", "Patches", "Train")]
    glances = [panel._glance for panel in panels if hasattr(panel, "_glance")]
    glances += [made.docks["Patches"].panel._listed, made.docks["Patches"].panel._drawn]
    qtbot.waitUntil(
        lambda: not any(glance.busy for glance in glances) and not made.workspace.thumbnails._busy, timeout=20_000
    )
    qtbot.waitUntil(lambda: not made.workspace._looking, timeout=20_000)
    made.workspace.close_case()


def shown(workspace, layer, qtbot) -> np.ndarray:
    """The pixels that napari took of a layer, not what it was made of, when all of them are there at one zoom."""
    workspace.viewer.scene.camera.zoom = 0.9
    draw_now(workspace.viewer)
    qtbot.waitUntil(lambda: workspace.settled, timeout=30_000)
    return np.asarray(layer._slice.image.raw).copy()


def test_colours_switch_at_once_and_stay_switched_in_the_next_case(docks, tiny_case, qtbot):
    jobs.normalize(tiny_case, cases=["S01", "S02"], workers=1)
    workspace = docks.workspace
    workspace.open_study(tiny_case)
    docks.show("Colour")
    panel = docks.docks["Colour"].panel
    layer = workspace.session.layers.stains["HE"]
    camera = workspace.viewer.scene.camera
    normalized = shown(workspace, layer, qtbot)
    assert panel.normalized.isChecked()
    assert "Colours normalized" in workspace.session._panel.legend.notes
    panel.scanned.click()
    assert layer.visible
    assert camera.zoom == pytest.approx(0.9)
    scanned = shown(workspace, layer, qtbot)
    assert (scanned != normalized).mean() > 0.1
    assert "Colours raw" in workspace.session._panel.legend.notes
    workspace.session.show_stain("VG")
    panel.normalized.click()
    workspace.session.show_stain("HE")  # it was hidden when the colours were switched
    np.testing.assert_array_equal(shown(workspace, layer, qtbot), normalized)
    panel.scanned.click()
    workspace.open_case("S02")
    workspace.open_case("S01")
    assert "Colours raw" in workspace.session._panel.legend.notes
    np.testing.assert_array_equal(shown(workspace, workspace.session.layers.stains["HE"], qtbot), scanned)
    workspace.open_case("S03")
    assert not panel.scanned.isEnabled()
    assert "not normalized yet" in panel.reason.text()
    qtbot.waitUntil(lambda: panel.look_of is not None, timeout=20_000)
    assert panel.cases.rowCount() == 3
    workspace.show_colours("scanned")
    assert panel.scanned.isChecked()


def test_windows_are_counted_before_anything_is_written_and_the_patches_shown(docks, tiny_case, qtbot):
    workspace = docks.workspace
    workspace.open_study(tiny_case)
    docks.show("Patches")
    dock = docks.docks["Patches"]
    panel = dock.panel
    qtbot.waitUntil(lambda: bool(panel.chart.rows), timeout=60_000)
    counted = {row.name: row.counts for row in panel.chart.rows}
    assert workspace.queue.current is None
    assert not (tiny_case / "patchsets").exists()
    assert panel.counted.text().startswith("An export cuts ")
    first = panel._job
    dock.form.rows["size_px"].editor.setText("20")  # the count before is obsolete
    qtbot.waitUntil(lambda: panel._job is not first and panel._job is not None, timeout=20_000)
    obsolete = panel._job
    dock.form.reset()
    qtbot.waitUntil(lambda: not obsolete.running, timeout=20_000)
    qtbot.waitUntil(
        lambda: panel._job is None and {row.name: row.counts for row in panel.chart.rows} == counted, timeout=60_000
    )
    dock.start()
    qtbot.waitUntil(lambda: dock.controls.job is None, timeout=120_000)
    qtbot.waitUntil(lambda: panel.chosen() is not None and panel.sheet.sheet is not None, timeout=30_000)
    assert panel.chosen().windows == sum(sum(counts) for counts in counted.values())
    assert "Up to date" in panel.about.text()
    before = panel.sheet.sheet
    panel.another.click()
    qtbot.waitUntil(lambda: panel.sheet.sheet is not before and panel.sheet.sheet is not None, timeout=20_000)


def test_a_training_draws_pauses_goes_on_is_cancelled_and_taken_up_again(docks, tiny_case, qtbot):
    jobs.export(tiny_case, workers=1)
    workspace = docks.workspace
    workspace.open_study(tiny_case)
    docks.show("Train")
    dock = docks.docks["Train"]
    panel, controls = dock.panel, dock.controls
    dock.form.put(
        {"features": 32, "epoch_samples": 64, "most_epochs": 400, "learn_epochs": 400, "threads": 1, "save_minutes": 0}
    )
    dock.form.rows["stains"].editor.tick(("HE", "VG"))
    dock.start()
    assert not controls.pause.isEnabled()
    qtbot.waitUntil(lambda: len(panel._live) >= 2, timeout=120_000)
    assert panel.loss.isVisible()
    assert [len(curve.points) >= 2 for curve in panel.loss.curves] == [True, True]
    assert [curve.name for curve in panel.accuracy.curves] == ["training", "validation"]

    controls.pause.click()
    qtbot.waitUntil(lambda: controls.stage.text().startswith("Paused"), timeout=20_000)
    assert controls.pause.text() == "Resume"
    rows = len(panel._live)
    qtbot.wait(1500)
    assert len(panel._live) == rows
    assert panel._elsewhere() is None  # what this window trains is not shown as somebody else's
    controls.pause.click()
    qtbot.waitUntil(lambda: len(panel._live) > rows, timeout=20_000)

    controls.cancel.click()
    qtbot.waitUntil(lambda: controls.job is None, timeout=20_000)
    qtbot.waitUntil(lambda: bool(panel.seen.interrupted), timeout=20_000)
    qtbot.waitUntil(panel.go_on.isVisible, timeout=20_000)
    kept = len(panel.seen.interrupted[0].history)
    assert kept >= 2

    dock.form.put({"stop_after_minutes": 50, "most_epochs": 8000})
    panel.go_on.click()
    words = controls.job.words  # a limit is as the form says now, also one that is lifted
    assert words[words.index("--stop-after-minutes") + 1] == "50.0"
    assert words[words.index("--most-epochs") + 1] == "8000"
    qtbot.waitUntil(lambda: len(panel._live) > kept, timeout=120_000)
    assert panel._live[0]["epoch"] == 1  # the curve is whole from its first epoch
    qtbot.waitUntil(controls.finish.isEnabled, timeout=20_000)
    controls.finish.click()
    assert controls.stage.text().startswith("Ends with what was learned so far")
    assert not controls.pause.isEnabled()
    qtbot.waitUntil(lambda: controls.job is None, timeout=60_000)
    qtbot.waitUntil(lambda: len(panel.seen.runs) == 1, timeout=20_000)
    qtbot.waitUntil(lambda: workspace.settled, timeout=20_000)

    (run,) = panel.seen.runs
    dock.form.put({"stop_after_minutes": 0, "most_epochs": 3})
    qtbot.waitUntil(lambda: panel.longer.isVisible() and panel.longer.isEnabled(), timeout=20_000)
    panel.longer.click()
    qtbot.waitUntil(lambda: controls.job is None, timeout=120_000)
    qtbot.waitUntil(lambda: len(panel.seen.runs) == 2, timeout=20_000)
    longer, before = panel.seen.runs
    assert longer.history[: len(run.history)] == run.history
    assert len(longer.history) == len(run.history) + 3  # the limits of the form count from where it stopped
    assert before.settings is None  # the state is that of the longer one
    qtbot.waitUntil(lambda: workspace.settled, timeout=20_000)


def test_patches_that_are_older_than_the_paint_are_said_before_they_are_trained_on(docks, tiny_case, qtbot):
    jobs.export(tiny_case, workers=1)
    workspace = docks.workspace
    workspace.open_study(tiny_case)
    train = docks.docks["Train"]
    docks.show("Train")
    qtbot.waitUntil(lambda: not train.panel._patches.busy, timeout=20_000)
    assert "older" not in train.state.text()
    docks.show("Paint")
    painter = workspace.painter
    painter.choose(2)
    before = painter.paint.stroke
    painter.layer.paint((20, 20), 2)
    qtbot.waitUntil(lambda: painter.paint.stroke > before, timeout=20_000)
    docks.show("Train")
    qtbot.waitUntil(
        lambda: "! The latest patches are older than the paint of 1 case" in train.caution.text(), timeout=20_000
    )
    assert train.mend.text() == "Go to Patches"
    assert train.controls.run.isEnabled()
    docks.show("Patches")
    patches = docks.docks["Patches"]
    qtbot.waitUntil(lambda: "older than the paint" in patches.caution.text(), timeout=20_000)
    assert patches.mend.isHidden()


def test_a_training_left_running_is_found_and_can_be_stopped(docks, tiny_case, qtbot):
    jobs.export(tiny_case, workers=1)
    workspace = docks.workspace
    from stainloom.plugin.job import Job

    words = [
        "train",
        str(tiny_case),
        "--features",
        "32",
        "--epoch-samples",
        "64",
        "--learn-epochs",
        "400",
        "--threads",
        "1",
        "--stains",
        "HE",
    ]
    left = Job("Train", words)
    left.start()
    workspace.open_study(tiny_case)
    docks.show("Train")
    panel = docks.docks["Train"].panel
    qtbot.waitUntil(lambda: panel._elsewhere() is not None and len(panel._elsewhere().history) > 1, timeout=120_000)
    assert "HE alone runs outside this window" in panel.elsewhere.text()
    assert panel.loss.curves[0].points
    panel.stop.click()
    qtbot.waitUntil(lambda: not left.running, timeout=90_000)
    qtbot.waitUntil(lambda: panel._elsewhere() is None and bool(panel.seen.interrupted), timeout=90_000)


def test_fused_and_each_single_stain_are_asked_for_in_turn_and_cancelled_together(docks, tiny_case, qtbot):
    jobs.export(tiny_case, workers=1)
    workspace = docks.workspace
    workspace.open_study(tiny_case)
    docks.show("Train")
    dock = docks.docks["Train"]
    dock.form.put({"features": 32, "threads": 1})
    dock.form.rows["stains"].editor.tick(("HE", "VG"))
    assert "(3 trainings)" in dock.panel.each.text()
    dock.panel.each.click()
    titles = [workspace.queue.current.title, *(job.title for job in workspace.queue.waiting)]
    assert titles == ["Train 2 stains fused", "Train HE alone", "Train VG alone"]
    stains = [
        job.words[job.words.index("--stains") + 1 :] for job in (workspace.queue.current, *workspace.queue.waiting)
    ]
    assert stains == [("HE", "VG"), ("HE",), ("VG",)]
    assert dock.controls.run.text() == "Train 2 stains fused; 2 more to follow"
    dock.controls.cancel.click()
    qtbot.waitUntil(lambda: dock.controls.job is None and workspace.queue.current is None, timeout=20_000)
    assert workspace.queue.waiting == ()
    qtbot.waitUntil(lambda: workspace.settled, timeout=20_000)


def test_a_run_is_handed_to_review(docks, tiny_case, qtbot):
    from stainloom.io.runs import save_run
    from test_jobs_trained import make_run

    patchset = str(jobs.export(tiny_case, workers=1).figures["patchset"])
    good = save_run(tiny_case / "runs", make_run(patchset=patchset))
    strange = save_run(tiny_case / "runs", make_run(stains=("HE", "PAS")))
    workspace = docks.workspace
    workspace.open_study(tiny_case)
    assert set(survey(tiny_case).runs) == {good, strange}
    docks.show("Train")
    panel = docks.docks["Train"].panel
    qtbot.waitUntil(lambda: panel.table.rowCount() == 2, timeout=20_000)
    rows = [run.id for run in panel.seen.runs]
    panel.table.selectRow(rows.index(strange))
    assert not panel.use.isEnabled()
    assert "PAS" in panel.details.text()
    panel.table.selectRow(rows.index(good))
    with qtbot.waitSignal(workspace.run_chosen) as chosen:
        panel.use.click()
    assert chosen.args == [good]
    assert workspace.chosen_run == good
    assert "Review predicts with this run" in panel.details.text()
