"""Settings to form to settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
from annotated_types import Interval

from stainloom import jobs
from stainloom.plugin.form import SettingsForm, label_of, options
from stainloom.settings import describe

pytestmark = pytest.mark.screen

JOBS = ("simulate", "register", "normalize", "export", "train", "predict")


@dataclass(frozen=True)
class Example:
    """An example.

    Attributes
    ----------
    brush_um
        How wide.
    rounds
        How often.
    gentle
        Whether softly.
    way
        Which way.
    names
        Which stains.
    """

    brush_um: Annotated[float, Interval(ge=0.5, le=64)] = 8.0
    rounds: Annotated[int, Interval(ge=1, le=9)] = 3
    gentle: bool = True
    way: Literal["up", "down"] = "up"
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.rounds > 5 and self.gentle:
            raise ValueError("more than five rounds are not gentle")


@pytest.fixture
def form(qtbot):
    made = SettingsForm(Example, basic=["brush_um", "rounds"])
    qtbot.addWidget(made)
    made.show()
    return made


@pytest.mark.parametrize("job", JOBS)
def test_every_job_has_a_form_that_gives_its_usual_settings(qtbot, job):
    form = SettingsForm(jobs.settings_of(job))
    qtbot.addWidget(form)
    assert form.settings() == jobs.settings_of(job)()
    assert form.changes() == {}
    assert form.problem == ""


def test_units_stand_beside_names():
    fields = {field.name: label_of(field) for field in describe(Example)}
    assert fields["brush_um"] == "Brush, µm"
    assert fields["gentle"] == "Gentle"
    patches = {field.name: label_of(field) for field in describe(jobs.settings_of("export"))}
    assert patches["um_per_px"] == "µm per px"


def test_a_wrong_value_is_said_while_it_is_typed(form, qtbot):
    row = form.rows["brush_um"]
    for text in ("80", "x", "", "nan", "inf"):
        row.editor.clear()
        qtbot.keyClicks(row.editor, text)
        assert row.problem == "Takes numbers from 0.5 to 64", text
        assert form.problem.startswith("Brush, µm: ")
        with pytest.raises(ValueError, match="Takes"):
            form.settings()
    row.editor.clear()
    qtbot.keyClicks(row.editor, "12,5")
    assert form.problem == ""
    assert form.settings().brush_um == 12.5
    row = form.rows["rounds"]
    row.editor.setText("2.5")
    assert row.problem == "Takes whole numbers from 1 to 9"


def test_values_that_do_not_go_together_are_said(form):
    form.rows["rounds"].editor.setText("7")
    assert "not gentle" in form.problem
    assert "not gentle" in form._together.text()
    form.rows["gentle"].editor.setChecked(False)
    assert form.problem == ""
    assert form._together.isHidden()


def test_a_wrong_value_that_is_folded_away_comes_to_light(qtbot):
    form = SettingsForm(Example, basic=["brush_um"])
    qtbot.addWidget(form)
    form.show()
    assert not form.rows["rounds"].isVisible()
    form.rows["rounds"].editor.setText("99")
    assert form.rows["rounds"].isVisible()


def test_only_changes_become_words_of_the_command_line(form):
    form.put({"rounds": 2, "gentle": False, "way": "down", "names": ("HE", "VG")})
    assert options(form.changes()) == ["--rounds", "2", "--no-gentle", "--way", "down", "--names", "HE", "VG"]
    form.reset()
    assert options(form.changes()) == []


def test_names_are_ticked_once_they_are_known(form):
    form.offer("names", ())
    assert form.settings().names is None
    form.rows["names"].editor.setText("a")
    form.reset()
    form.offer("names", ("a", "b", "c"))
    assert form.settings().names is None
    boxes = form.rows["names"].editor.boxes
    boxes["b"].setChecked(False)
    assert (form.settings().names, options(form.changes())) == (("a", "c"), ["--names", "a", "c"])
    form.offer("names", ("a", "b"))
    assert form.settings().names == ("a",)
    form.rows["names"].editor.boxes["a"].setChecked(False)
    assert "Tick at least one" in form.problem
    form.reset()
    assert form.changes() == {}
    form.put({"names": ("b",)})
    assert form.settings().names == ("b",)


def test_no_limit_is_a_word_and_not_a_zero(qtbot):
    form = SettingsForm(jobs.settings_of("train"), ("stop_after_minutes",))
    qtbot.addWidget(form)
    row = form.rows["stop_after_minutes"]
    assert row.editor.text() == "no limit"
    row.editor.setText("30")
    assert form.changes() == {"stop_after_minutes": 30.0}
    for text in ("No limit", "0", ""):
        row.editor.setText(text)
        assert not form.problem
        assert form.changes() == {}
