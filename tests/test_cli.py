"""The command line: options from settings, exit codes, JSON lines, cancel and pause; and every bad input by its message."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from stainloom.cli import CANCELLED, DONE, FAILED, WRONG_USE, main

_STAINS = ("HE", "AB-PAS", "Masson", "SMA", "VG")


def _slides(folder: Path, names: tuple[str, ...] = _STAINS) -> Path:
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        picture = np.random.default_rng([number, len(folder.name)]).integers(100, 200, (64, 80, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{name}.png"), picture)
    return folder


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty aorta study, and a place of its own for what belongs to the user."""
    monkeypatch.setenv("STAINLOOM_CONFIG", str(tmp_path / "config"))
    assert main(["study", "new", str(tmp_path / "study")]) == DONE
    return tmp_path / "study"


def _lines(text: str) -> list[dict[str, dict[str, object]]]:
    return [json.loads(line) for line in text.splitlines()]


def test_without_a_job_it_helps(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == WRONG_USE
    assert "register" in capsys.readouterr().out


def test_every_job_of_the_issue_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["demo"], ["simulate"], ["study", "new"], ["study", "show"], ["study", "pack"], ["study", "relocate"],
        ["case", "add"], ["case", "leave-out"], ["case", "lay"], ["register"], ["transfer"], ["normalize"], ["export"], ["train"], ["predict"], ["report"],
        ["annotations", "import"], ["annotations", "export"], ["view"],
    ):  # fmt: skip
        with pytest.raises(SystemExit) as left:
            main([*words, "--help"])
        assert left.value.code == 0
        assert "--json" in capsys.readouterr().out


def test_options_come_from_settings_with_bounds_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "--most-epochs" in text
    assert "1 to 8000; default 8000" in text


def test_a_value_out_of_bounds_is_wrong_use(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(study), "--size-px", "4"]) == WRONG_USE
    assert "size_px" in capsys.readouterr().err


def test_json_lines_tell_start_and_result(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["study", "show", str(study), "--json"]) == DONE
    lines = _lines(capsys.readouterr().out)
    assert [next(iter(line)) for line in lines] == ["start", "result"]
    assert lines[0]["start"]["job"] == "show"
    assert lines[1]["result"]["figures"] == {"cases": [], "runs": [], "patchsets": []}


def test_an_error_line_names_expected_found_and_next(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slides = _slides(tmp_path / "in", _STAINS[:4])
    capsys.readouterr()
    words = ["case", "add", str(study), str(slides), "--patient", "P1", "--um-per-px", "1", "--json"]
    assert main(words) == FAILED
    error = _lines(capsys.readouterr().out)[-1]["error"]
    assert error["stain"] == "VG"
    assert set(error) >= {"slide", "expected", "found", "next", "detail"}


@pytest.mark.parametrize(
    ("break_it", "options", "said"),
    [
        (lambda folder: (folder / "VG.png").unlink(), [], r"VG.*--allow-missing"),
        (lambda folder: (folder / "SMA.png").write_text("no picture"), [], r"SMA\.png"),
        (lambda folder: shutil.copy(folder / "HE.png", folder / "VG.png"), [], r"same"),
        (lambda folder: None, ["no scale"], r"--um-per-px"),
        (lambda folder: None, ["no patient"], r"--patient"),
    ],
    ids=["missing stain", "no image", "same file twice", "no um per px", "no patient"],
)
def test_bad_slides_are_refused_by_name_and_nothing_is_taken_in(
    study: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    break_it,
    options: list[str],
    said: str,
) -> None:
    import re

    slides = _slides(tmp_path / "in")
    break_it(slides)
    words = ["case", "add", str(study), str(slides)]
    words += [] if options == ["no patient"] else ["--patient", "P1"]
    words += [] if options == ["no scale"] else ["--um-per-px", "1.0"]
    assert main(words) == FAILED
    text = capsys.readouterr().err
    assert re.search(said, text, re.DOTALL), text
    assert main(["study", "show", str(study), "--json"]) == DONE
    assert _lines(capsys.readouterr().out)[-1]["result"]["figures"]["cases"] == []


def test_two_patients_in_one_case_are_refused(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slides = _slides(tmp_path / "in")
    rows = [f"{stain},in/{stain}.png,B1,{'P1' if stain != 'VG' else 'P2'},1.0" for stain in _STAINS]
    table = tmp_path / "table.csv"
    table.write_text("stain,path,case,patient,um_per_px\n" + "\n".join(rows) + "\n")
    assert slides.is_dir()
    assert main(["case", "add", str(study), str(table)]) == FAILED
    text = capsys.readouterr().err
    assert "2 patients" in text
    assert "VG.png" in text


def test_a_study_of_a_newer_version_is_refused(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = study / "study.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "version": 99}))
    before = file.read_bytes()
    assert main(["register", str(study)]) == FAILED
    assert "newer" in capsys.readouterr().err
    assert file.read_bytes() == before


def test_a_path_that_leaves_its_root_is_refused(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slides = _slides(study / "slides")
    assert main(["case", "add", str(study), str(slides), "--name", "B1", "--patient", "P1", "--um-per-px", "1"]) == DONE
    file = study / "cases" / "B1" / "case.json"
    file.write_text(file.read_text().replace("slides/VG.png", "../../outside/VG.png"))
    assert main(["register", str(study)]) == FAILED
    text = capsys.readouterr().err
    assert "VG" in text


def test_a_path_of_windows_or_none_is_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "show", str(tmp_path / "nowhere")]) == FAILED
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.parametrize("box", [["nan", "0", "300", "300"], ["0", "0", "-5", "300"]])
def test_a_box_that_is_none_is_wrong_use(study: Path, capsys: pytest.CaptureFixture[str], box: list[str]) -> None:
    assert main(["predict", str(study), "--where", "box", "--box-um", *box]) == WRONG_USE
    assert "--box-um" in capsys.readouterr().err


def test_labels_of_no_scale_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "new", str(tmp_path / "s"), "--label-um", "0"]) == FAILED
    assert "µm per px" in capsys.readouterr().err


def test_a_mistake_of_ours_is_a_line_for_the_dock_and_no_silence(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*words: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("stainloom.jobs.show_study", broken)
    capsys.readouterr()
    assert main(["study", "show", str(study), "--json"]) == FAILED
    assert "ZeroDivisionError" in str(_lines(capsys.readouterr().out)[-1]["error"]["found"])


def _start(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "stainloom.cli", *words, "--json", "--control"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )


def _wait_for(process: subprocess.Popen[str], kind: str) -> dict[str, object]:
    assert process.stdout is not None
    for line in process.stdout:
        content = json.loads(line)
        if kind in content:
            return content[kind]
    raise AssertionError(f"the job ended without a {kind} line: {process.stderr.read() if process.stderr else ''}")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_cancel_ends_a_job_and_leaves_nothing_half_made(tmp_path: Path, workers: str) -> None:
    process = _start(["simulate", str(tmp_path / "study"), "--patients", "3", "--workers", workers])
    assert process.stdin is not None
    _wait_for(process, "progress")
    process.stdin.write("cancel\n")
    process.stdin.flush()
    assert process.wait(60) == CANCELLED
    process.communicate()
    assert list(tmp_path.iterdir()) == []


def test_the_end_of_input_means_that_the_window_is_gone(tmp_path: Path) -> None:
    process = _start(["simulate", str(tmp_path / "study"), "--patients", "3", "--workers", "1"])
    assert process.stdin is not None
    _wait_for(process, "progress")
    process.stdin.close()
    process.stdin = None
    assert process.wait(60) == CANCELLED
    process.communicate()
    assert list(tmp_path.iterdir()) == []


def _paused(study: Path) -> subprocess.Popen[str]:
    """A simulation that has begun and rests."""
    words = ["simulate", str(study), "--patients", "1", "--width-um", "700", "--height-um", "700"]
    process = _start([*words, "--um-per-px", "2", "--workers", "1"])
    assert process.stdin is not None
    _wait_for(process, "progress")
    process.stdin.write("pause\n")
    process.stdin.flush()
    while _wait_for(process, "progress")["what"] != "paused":
        pass
    return process


def test_pause_stops_progress_and_resume_goes_on(tmp_path: Path) -> None:
    process = _paused(tmp_path / "study")
    assert process.stdin is not None
    time.sleep(0.5)
    assert process.poll() is None
    assert not (tmp_path / "study").exists()
    process.stdin.write("resume\n")
    process.stdin.flush()
    _wait_for(process, "result")
    process.communicate()
    assert process.returncode == DONE
    assert (tmp_path / "study" / "study.json").exists()


def test_detach_leaves_a_job_running(tmp_path: Path) -> None:
    words = ["simulate", str(tmp_path / "study"), "--patients", "1", "--width-um", "700", "--height-um", "700"]
    process = _start([*words, "--um-per-px", "2", "--workers", "1"])
    assert process.stdin is not None
    process.stdin.write("detach\n")
    process.stdin.close()
    process.stdin = None
    process.communicate()
    assert process.returncode == DONE


def test_a_paused_job_that_is_detached_goes_on(tmp_path: Path) -> None:
    process = _paused(tmp_path / "study")
    assert process.stdin is not None
    process.stdin.write("detach\n")
    process.stdin.close()
    process.stdin = None
    process.communicate(timeout=120)
    assert process.returncode == DONE


def test_progress_names_the_slide(tiny_case: Path) -> None:
    process = _start(["transfer", str(tiny_case), "--case", "S01", "--workers", "1"])
    told = []
    while not told:
        told = [line["slide"] for line in [_wait_for(process, "progress")] if line["slide"]]
    process.communicate()
    assert told[0].startswith("S01 ")


@pytest.mark.parametrize(
    "words",
    [["register", "S", "--workers", "0"], ["demo", "--seed", "-1"], ["report", "S", "--stain", "HE"], ["train", "S", "--case", "A"]],
)  # fmt: skip
def test_options_that_make_no_sense_are_wrong_use(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == WRONG_USE
    assert "error:" in capsys.readouterr().err


def test_a_folder_that_is_no_study_opens_no_window(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(tmp_path)]) == FAILED
    said = capsys.readouterr().err
    assert "there is no study here" in said
    assert "xvfb" not in said


def test_the_window_process_and_the_parser_load_no_torch() -> None:
    code = (
        "import sys; from stainloom import jobs, cli; cli._parser(); import stainloom.plugin.session;"
        "print([name for name in sys.modules if name.split('.')[0] == 'torch'])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
