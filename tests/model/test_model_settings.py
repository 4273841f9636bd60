"""Settings without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from stainloom.errors import ModelError
from stainloom.model.settings import PredictSettings, TrainSettings, settings_from, thread_count
from stainloom.settings import as_json, describe


def test_settings_load_no_torch():
    code = "import sys, stainloom.model.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_settings_survive_json():
    settings = TrainSettings(stains=("HE", "VG"), gray=True, most_passes=10, cool_down=True)
    assert settings_from(as_json(settings)) == settings


@pytest.mark.parametrize("settings", [TrainSettings, PredictSettings])
def test_each_setting_is_described(settings):
    assert all(field.help for field in describe(settings))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"rate": 0}, "rate"),
        ({"batch": 1}, "batch"),
        ({"stains": []}, "stains"),
        ({"stains": ["HE", "HE"]}, "stains"),
        ({"backbone": "other"}, "backbone"),
        ({"fusion": "other"}, "fusion"),
        ({"control": "other"}, "control"),
        ({"cool_down": True}, "most_passes"),
        ({"colour": 1}, "colour"),
    ],
)
def test_a_wrong_setting_is_named(wrong, named):
    with pytest.raises(ModelError, match=named):
        settings_from(wrong)


def test_threads():
    assert thread_count(3) == 3
    assert thread_count(0) >= 1
