"""Tests of the plugin change nobody's napari preferences, and nothing that the window remembers."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

# Before anything imports napari, which reads the variable once.
_folder = Path(tempfile.mkdtemp(prefix="stainloom-napari-"))
os.environ["NAPARI_CONFIG"] = str(_folder / "settings.yaml")
os.environ["STAINLOOM_CONFIG"] = str(_folder / "stainloom")
atexit.register(shutil.rmtree, _folder, ignore_errors=True)
