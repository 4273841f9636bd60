"""The plugin's manifest is the same in the repository, in a wheel and in an editable install, and napari accepts it."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from npe2 import PluginManifest

ROOT = Path(__file__).parents[1]
KINDS = {"wheel": "build_wheel", "editable": "build_editable"}


def run_python(*words: str, **environment: str) -> str:
    """What a Python process of its own says; it must succeed."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> dict[str, Path]:
    """The package built in both ways from the repository as it stands, and unpacked as an installer does."""
    folders = {}
    for kind, build in KINDS.items():
        built, site = tmp_path_factory.mktemp(kind), tmp_path_factory.mktemp(f"{kind}-site")
        run_python("-c", f"from hatchling.build import {build}; {build}({str(built)!r})")
        with zipfile.ZipFile(next(built.glob("stainloom-*.whl"))) as archive:
            archive.extractall(site)
        folders[kind] = site
    return folders


def discovered(site: Path) -> PluginManifest:
    """The manifest that npe2 finds through the entry point of a package in a folder."""
    code = "from npe2 import PluginManifest; print(PluginManifest.from_distribution('stainloom').model_dump_json())"
    return PluginManifest.model_validate_json(run_python("-c", code, PYTHONPATH=str(site)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_manifest_of_the_repository_is_installed(installed, kind):
    folder = installed[kind] / "stainloom_manifest"
    assert [path.name for path in folder.iterdir()] == ["napari.yaml"]
    assert (folder / "napari.yaml").read_bytes() == (ROOT / "napari.yaml").read_bytes()


def test_the_wheel_holds_the_code_and_the_editable_install_points_at_it(installed):
    assert (installed["wheel"] / "stainloom" / "plugin" / "reader.py").is_file()
    assert not (installed["editable"] / "stainloom").exists()
    assert list(installed["editable"].glob("*.pth"))


def test_napari_finds_the_same_plugin_in_both(installed):
    wheel, editable = (discovered(installed[kind]) for kind in KINDS)
    assert wheel.contributions == editable.contributions
    assert wheel.contributions == PluginManifest.from_file(ROOT / "napari.yaml").contributions
    assert wheel.contributions.readers
    assert wheel.contributions.sample_data


@pytest.mark.parametrize("kind", KINDS)
def test_npe2_validates_both(installed, kind):
    said = run_python("-m", "npe2", "validate", str(installed[kind] / "stainloom_manifest" / "napari.yaml"))
    assert "valid" in said


def test_npe2_would_refuse_a_broken_manifest(tmp_path):
    broken = tmp_path / "napari.yaml"
    broken.write_text((ROOT / "napari.yaml").read_text().replace("command: stainloom.get_reader", "comand: nothing"))
    with pytest.raises(AssertionError):
        run_python("-m", "npe2", "validate", str(broken))


def test_every_command_of_the_manifest_exists():
    contributions = PluginManifest.from_file(ROOT / "napari.yaml").contributions
    for command in contributions.commands:
        module, name = str(command.python_name).split(":")
        assert callable(getattr(importlib.import_module(module), name))
    offers = (*contributions.readers, *contributions.sample_data, *contributions.widgets)
    used = [offer.command for offer in offers]
    assert set(used) == {command.id for command in contributions.commands}


def test_every_dock_can_be_opened_alone():
    from stainloom.plugin.docks import DOCKS

    widgets = PluginManifest.from_file(ROOT / "napari.yaml").contributions.widgets
    assert [offer.display_name for offer in widgets] == ["All docks", *(entry.name for entry in DOCKS)]
