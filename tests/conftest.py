"""Fixtures that every room shares."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from stainloom.sample.settings import SimulationSettings

_DATA = Path(os.environ.get("STAINLOOM_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")).resolve()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Torch after an OpenGL context is a segmentation fault on some drivers: no process with a window may load it."""
    if session.config.option.markexpr == "screen" and "torch" in sys.modules:
        sys.stderr.write("FAILED: a test with a screen loaded torch\n")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real slides; the test is skipped, with the reason, where it is missing."""
    if not (_DATA / "lung-lesion-3").is_dir():
        pytest.skip("no real slides: set STAINLOOM_DATA to their folder")
    return _DATA


@pytest.fixture(scope="session")
def lung_case(real_data: Path) -> Path:
    """The real five sections with landmarks: folder of `HE.jpg` and the other four, `landmarks/<stain>.csv` (X, Y times 0.1)."""
    return real_data / "lung-lesion-3"


@pytest.fixture(scope="session")
def small_simulation() -> SimulationSettings:
    """Of a small study of three patients, without what makes sections hard to align."""
    from stainloom.sample.settings import SimulationSettings

    return SimulationSettings(
        patients=3, width_um=1100, height_um=1100, um_per_px=2, lesions=3, turn_deg=8, mirror_share=0,
        half_turn_share=0, failed_share=0, tear=0, fold=0, dye_variation=0.05, uneven=0.08,
    )  # fmt: skip


@pytest.fixture(scope="session")
def simulated_study(small_simulation: SimulationSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small simulated study of three patients, painted, not aligned, its truth beside it. Shared: copy it to change it."""
    from stainloom import jobs

    path = tmp_path_factory.mktemp("simulated") / "study"
    jobs.simulate(path, small_simulation, workers=1)
    return path


@pytest.fixture(scope="session")
def aligned_study(simulated_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small simulated study with its true alignments, the truth beside it. Shared: copy it to change it."""
    import shutil

    from stainloom.case.warp import Warp
    from stainloom.io.arrays import read_arrays
    from stainloom.io.casefile import StudyFolder

    home = tmp_path_factory.mktemp("aligned")
    shutil.copytree(simulated_study.parent, home, dirs_exist_ok=True)
    folder = StudyFolder.open(home / "study")
    for case in folder.case_names():
        for stain in folder.study.moving:
            arrays = read_arrays(home / "study.truth" / case / f"{stain}.npz", 1 << 28)
            warp = Warp.from_arrays({k.removeprefix("warp_"): v for k, v in arrays.items() if k.startswith("warp_")})
            folder.save_warp(case, stain, warp, {"verdict": "good", "message": ""})
    return folder.path


@pytest.fixture
def tiny_case(aligned_study: Path, tmp_path: Path) -> Path:
    """A study of its own of five small simulated stains a case, bent by known warps, with labels and true alignments."""
    import shutil

    shutil.copytree(aligned_study, tmp_path / "study")
    return tmp_path / "study"
