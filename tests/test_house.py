"""Holds the house's rules: one-way floors, who may load torch or a window, who may open files; shown to catch breaches."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "stainloom"

GROUND = ("", "errors", "progress", "geometry", "tissue", "settings", "wording", "workers")
ROOMS = ("io", "register", "labels", "stain", "patches", "model", "report", "sample")
FACES = ("cli", "plugin")
FLOORS = {
    **dict.fromkeys(GROUND, 1),
    "case": 2,
    **dict.fromkeys(ROOMS, 3),
    "jobs": 4,
    **dict.fromkeys(FACES, 5),
}

WINDOW = {"napari", "npe2", "qtpy", "magicgui", "psygnal", "PyQt6", "PyQt5", "PySide6", "vispy", "superqt", "app_model"}
TORCH = {"torch", "torchvision", "timm", "lightning", "pytorch_lightning", "triton"}
FILE_LIBRARIES = {"apsw", "sqlite3", "zarr", "tifffile", "openslide", "h5py", "pyarrow", "imageio", "numcodecs"}
NEVER = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml"}

OPENING_NAMES = {"open", "imread", "imwrite", "imsave", "memmap", "fdopen"}
OPENING_METHODS = {
    *("read_text", "read_bytes", "write_text", "write_bytes", "imread", "imwrite", "imsave", "imdecode_file"),
    *("load", "save", "savez", "savez_compressed", "loadtxt", "savetxt", "genfromtxt", "fromfile", "tofile", "memmap"),
    *("fdopen", "savefig", "read_csv", "to_csv", "open_group", "open_array", "open_consolidated"),
}
HOLDERS = {
    "np",
    "numpy",
    "cv2",
    "skimage",
    "io",
    "os",
    "zarr",
    "Image",
    "tifffile",
    "plt",
    "codecs",
    "gzip",
    "tarfile",
    "zipfile",
}
"""Names whose `.load`, `.save` or `.open` opens a file; other objects may have verbs of these names."""
ALWAYS_OPENING = OPENING_METHODS - {"load", "save", "memmap"}


def room_of(module: str) -> str:
    """`stainloom.io.tiff` is of `io`, `stainloom.errors` of `errors`, `stainloom` of the ground."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports(tree: ast.AST, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Every import of a file: at the top, inside functions, for types only, relative, and by name through importlib."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{start}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__") and node.args:
            if isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value
            else:
                yield node.lineno, "<computed>"


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def openings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every call that opens a file; writing into bytes in memory opens none."""
    in_memory = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and _called(node.value) == "BytesIO"
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if node.args and isinstance(node.args[0], ast.Name) and node.args[0].id in in_memory:
            continue
        name = _called(node)
        if isinstance(node.func, ast.Name):
            if name in OPENING_NAMES:
                yield node.lineno, name
        elif isinstance(node.func, ast.Attribute):
            holder = node.func.value
            of_library = isinstance(holder, ast.Name) and holder.id in HOLDERS
            if name in ALWAYS_OPENING or (of_library and name in OPENING_METHODS | {"open"}):
                yield node.lineno, name
            elif name == "open" and _file_mode(node):
                yield node.lineno, "open"


def _file_mode(node: ast.Call) -> bool:
    """Whether a call of `.open` is that of a path: without arguments, or with a mode as its first."""
    first = node.args[0] if node.args else None
    if first is None:
        return all(word.arg in ("mode", "encoding", "newline", "buffering", "errors") for word in node.keywords)
    return isinstance(first, ast.Constant) and isinstance(first.value, str) and set(first.value) <= set("rwaxbt+")


def faults(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """What a file of the package does against the rules."""
    room, tree = room_of(module), ast.parse(source)
    found = []
    for line, target in imports(tree, module, is_package):
        for reason in _import_faults(module, room, target):
            found.append(f"{module}:{line} imports {target}: {reason}")
    if room != "io":
        found += [f"{module}:{line} calls {name}: only io/ opens files" for line, name in openings(tree)]
    return found


def _import_faults(module: str, room: str, target: str) -> Iterator[str]:
    top = target.split(".")[0]
    if target == "<computed>":
        yield "an import that cannot be read cannot be checked"
    if top in NEVER:
        yield "can run code or hang on what it reads"
    if top in WINDOW and room != "plugin":
        yield "only plugin/ knows of a window"
    if (top in TORCH or target.startswith("safetensors.torch")) and (
        room != "model" or module.endswith("model.settings")
    ):
        yield "only model/ loads torch, and its settings do not"
    if top in FILE_LIBRARIES and room != "io":
        yield "only io/ opens files"
    if top == "stainloom":
        other = room_of(target) if room_of(target) in FLOORS else ""
        if FLOORS[other] > FLOORS.get(room, 0):
            yield f"{room or 'the ground'} stands below {other}"
        elif other != room and FLOORS[other] == FLOORS.get(room) and room in ROOMS + FACES:
            yield f"{room} and {other} never import one another"


def _modules() -> list[tuple[str, Path]]:
    files = sorted(SOURCE.rglob("*.py"))
    assert len(files) > 20
    return [(".".join(("stainloom", *path.relative_to(SOURCE).with_suffix("").parts)), path) for path in files]


def test_every_file_stands_on_a_floor():
    assert {room_of(name.removesuffix(".__init__")) for name, _ in _modules()} <= set(FLOORS)


def test_no_file_breaks_the_rules_of_the_house():
    found = []
    for name, path in _modules():
        module, is_package = name.removesuffix(".__init__"), path.name == "__init__.py"
        found += faults(module, path.read_text(encoding="utf-8"), is_package=is_package)
    assert found == []


def test_every_file_says_first_what_it_is_for():
    silent = [name for name, path in _modules() if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]
    assert silent == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("stainloom.geometry", "import stainloom.case.warp"),
        ("stainloom.case.warp", "from stainloom.io import slides"),
        ("stainloom.case.warp", "from stainloom import jobs"),
        ("stainloom.io.tiff", "def read():\n    from stainloom.register import rigid"),
        ("stainloom.io.tiff", "from ..stain import macenko"),
        ("stainloom.stain.density", "if TYPE_CHECKING:\n    from stainloom.labels.transfer import carry"),
        ("stainloom.report.page", "import importlib\nimportlib.import_module('stainloom.model.train')"),
        ("stainloom.report.page", "import importlib\nimportlib.import_module(name)"),
        ("stainloom.jobs", "def view():\n    import stainloom.plugin.session"),
        ("stainloom.jobs", "from stainloom import cli"),
        ("stainloom.cli", "from stainloom.plugin import __main__"),
        ("stainloom.plugin.session", "from stainloom.cli import main"),
        ("stainloom.register.flow", "import torch"),
        ("stainloom.jobs", "def train():\n    import torch.nn as nn"),
        ("stainloom.plugin.review", "from safetensors.torch import load_file"),
        ("stainloom.model.settings", "def f():\n    from torch import nn"),
        ("stainloom.labels.transfer", "import napari"),
        ("stainloom.jobs", "def show():\n    from qtpy.QtWidgets import QWidget"),
        ("stainloom.case.case", "from psygnal import Signal"),
        ("stainloom.io.files", "import pickle"),
        ("stainloom.report.page", "open('page.html', 'w')"),
        ("stainloom.report.page", "path.write_text('page')"),
        ("stainloom.jobs", "path.read_bytes()"),
        ("stainloom.sample.real", "with path.open('rb') as file: pass"),
        ("stainloom.sample.real", "with path.open(encoding='utf-8') as file: pass"),
        ("stainloom.patches.cut", "import numpy as np\nnp.load(path, allow_pickle=False)"),
        ("stainloom.stain.macenko", "import cv2\ncv2.imread(str(path))"),
        ("stainloom.stain.macenko", "from skimage.io import imread\nimread(path)"),
        ("stainloom.labels.polygons", "import apsw"),
        ("stainloom.model.predict", "def save():\n    import zarr\n    zarr.open(store)"),
        ("stainloom.plugin.reader", "import tifffile"),
        ("stainloom.register.rigid", "figure.savefig('a.png')"),
        ("stainloom.model.train", "import os\nos.open(path, os.O_RDONLY)"),
    ],
)
def test_a_planted_breach_is_caught(module, source):
    assert len(faults(module, source)) >= 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("stainloom.io.tiff", "import tifffile\nfrom stainloom.geometry import Box\nopen(path, 'rb')"),
        ("stainloom.io.tiff", "from . import tiles\nfrom ..case.slide import Slide"),
        ("stainloom.model.train", "import torch\nfrom stainloom.model.settings import TrainSettings"),
        (
            "stainloom.jobs",
            "def train():\n    from stainloom.model.train import fit\n    from stainloom.io import runs",
        ),
        ("stainloom.plugin.session", "import napari\nfrom stainloom import jobs\nSession.open(viewer, view)"),
        ("stainloom.case.case", "from stainloom.errors import CaseError\nfrom stainloom import geometry"),
        ("stainloom.report.page", "buffer = io.BytesIO()\nfigure.savefig(buffer, format='png')"),
        ("stainloom.model.train", "network.load(state)\nstudy.save(run)"),
    ],
)
def test_what_the_rules_allow_is_not_called_a_breach(module, source):
    assert faults(module, source) == []
