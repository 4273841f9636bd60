"""Tests of the plugin in windows of their own: closing, File > Open, and that no window loads torch."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_plugin_layers import small_case

from stainloom import jobs
from stainloom.plugin.overlay import SIMULATED

pytestmark = pytest.mark.screen

ROOT = Path(__file__).parents[2]


def test_closing_the_window_closes_the_case_once(make_napari_viewer, qtbot):
    from stainloom.plugin.session import Session

    closed = []
    view = dataclasses.replace(small_case(), closing=lambda: closed.append(1))
    viewer = make_napari_viewer(show=True)
    session = Session.open(viewer, view)
    viewer.close()
    qtbot.waitUntil(lambda: closed == [1], timeout=5000)
    session.close()
    assert closed == [1]
    assert session.renderer.closed


def test_file_open_gives_the_window_title_legend_and_keys(make_napari_viewer, npe2pm, monkeypatch, tmp_path, qtbot):
    from npe2 import PluginManifest

    from stainloom.plugin.legend import LegendPanel

    (tmp_path / "study.json").touch()
    monkeypatch.setattr(jobs, "open_view", lambda study, case: small_case())
    with npe2pm.tmp_plugin(manifest=PluginManifest.from_file(ROOT / "napari.yaml")):
        viewer = make_napari_viewer(show=True)
        viewer.open(str(tmp_path), plugin="stainloom")
        qtbot.waitUntil(lambda: SIMULATED in viewer.title, timeout=5000)
    assert viewer.layers[0].name == "HE (simulated)"
    from stainloom.plugin._napari import canvas_widget

    assert canvas_widget(viewer).findChildren(LegendPanel)
    viewer.layers.clear()


def test_the_window_never_loads_torch():
    code = f"""
import sys, pkgutil, importlib
sys.path.insert(0, {str(Path(__file__).parent)!r})
import napari, stainloom.plugin
for module in pkgutil.iter_modules(stainloom.plugin.__path__):
    if module.name != "__main__":
        importlib.import_module("stainloom.plugin." + module.name)
from stainloom.plugin.session import Session
from stainloom.plugin.pictures import take_pictures
from stainloom import jobs
from test_plugin_layers import small_case
viewer = napari.Viewer(show=True)
session = Session.open(viewer, small_case())
names = [next(take_pictures(session)).name]
viewer.close()
session.close()
import json
print(json.dumps([names, sorted(name for name in sys.modules if name.split(".")[0] in ("torch", "triton", "timm"))]))
"""
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    names, loaded = json.loads(run.stdout.splitlines()[-1])
    assert names == ["aligned.png"]
    assert loaded == []


def test_the_window_opens_with_its_docks_and_without_torch(tiny_case, tmp_path):
    code = """
import sys, napari
from stainloom.plugin import __main__ as window

def look():
    viewer = napari.current_viewer()
    print([name for name in viewer.window.dock_widgets], viewer.title, [n for n in sys.modules if n.split('.')[0] == 'torch'])
    viewer.close()

napari.run = look
sys.exit(window.main(sys.argv[1:]))
"""
    for words, case in (([str(tiny_case)], "S01"), ([str(tiny_case), "--case", "S02"], "S02"), ([], "")):
        ended = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        assert "['Cases', 'Align', 'Paint', 'Colour', 'Patches', 'Train', 'Review']" in ended.stdout
        assert case in ended.stdout
        assert ended.stdout.rstrip().endswith("[]")


def test_a_study_that_is_not_there_is_said_before_the_window_opens(tmp_path):
    words = [sys.executable, "-m", "stainloom.plugin", str(tmp_path)]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "there is no study here" in ended.stderr


def test_the_window_fits_its_screen_and_keeps_the_size_that_its_user_left(make_napari_viewer, monkeypatch):
    from napari.settings import get_settings

    from stainloom.plugin._napari import give_room, main_window

    kept = get_settings().application
    viewer = make_napari_viewer(show=True)
    window, free = main_window(viewer), main_window(viewer).screen().availableGeometry()
    monkeypatch.setattr(kept, "window_size", None)
    give_room(viewer, (900, 700), (640, 480))
    assert (window.width(), window.height()) == (900, 700)
    monkeypatch.setattr(kept, "window_size", (700, 500))
    window.resize(700, 500)
    give_room(viewer, (900, 700), (640, 480))
    assert window.width() == 700  # left so by the user
    give_room(viewer, (900, 700), (800, 600))
    assert window.width() == 900  # too small to work in
    monkeypatch.setattr(kept, "window_size", None)
    give_room(viewer, (free.width() + 160, free.height()), (640, 480))
    assert window.isMaximized()
    assert window.width() <= free.width()
