"""Speed and memory of the window on a big study, plain napari beside it.

    python benchmarks/big_study.py /tmp/big
    xvfb-run -a -s "-screen 0 1280x800x24" python benchmarks/window.py /tmp/big [--moves 200] [--rounds 3]

Every figure comes from a process of its own, ours and napari's in turn, `--rounds` times; medians of the rounds are
printed. GUI-thread CPU is `time.thread_time()` from a move until the canvas is settled (for ours: until the last fine
tile is drawn), which other programs on the machine change less than *wait*, the wall time of the longest turn of the
event loop in a move. Plain napari shows the same five files as multiscale layers of its own, as scanned (neither warped
nor normalized), under the same painted labels and a scale bar: once through zarr, the way most plugins do it, and once
through this program's own tile reader, the fastest that is fair. Its window is as large, with an empty dock as wide.

Before anything is measured, the rig must see a planted wait of 150 ms and a planted leak of 20 MB; it says so, or stops.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import theilslopes

ARMS = ("ours", "napari, zarr", "napari, our reader")
LEAK_ARMS = ("leak, case after case", "leak, each closed", "leak, napari")
PLANTED_S, PLANTED_MB = 0.150, 20
WARM_ROUNDS, LEAK_ROUNDS = 20, 20  # first until the caches of decoded and drawn tiles are full
SETTLED_S, GIVE_UP_S = 0.06, 60.0
WINDOW_PX = (1280, 800)
SHOWN_PX = 1536  # what a view of our levels uploads, in whole tiles


# ---- what is measured


class Watch:
    """Times the event loop's turns on the GUI thread."""

    def __init__(self, settled: Callable[[], bool]) -> None:
        from qtpy.QtWidgets import QApplication

        self._turn, self._settled = QApplication.processEvents, settled

    def move(self, act: Callable[[], None]) -> dict[str, float]:
        """Do something and wait until the canvas is settled: CPU and wall seconds, the longest turn, the first turn."""
        start, cpu, longest, quiet = time.perf_counter(), time.thread_time(), 0.0, None
        while True:
            before, cpu_before = time.perf_counter(), time.thread_time()
            if act is not None:
                act()
                act = None  # type: ignore[assignment]
            self._turn()
            longest = max(longest, time.perf_counter() - before)
            now = time.perf_counter()
            busy = time.thread_time() - cpu_before > 0.002 or not self._settled()
            quiet = None if busy else quiet or now
            if (quiet is not None and now - quiet > SETTLED_S) or now - start > GIVE_UP_S:
                return {"cpu": time.thread_time() - cpu, "wall": (quiet or now) - start, "longest": longest}
            time.sleep(0.002)


def memory_mb() -> dict[str, float]:
    """PSS and USS of this process and its peak, after what is free was given back."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    rollup = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    found = {line.split(":")[0]: float(line.split()[1]) / 1024 for line in rollup.splitlines()[1:]}
    peak = next(line for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines() if "VmHWM" in line)
    return {
        "pss": found["Pss"],
        "uss": found["Private_Clean"] + found["Private_Dirty"],
        "peak": float(peak.split()[1]) / 1024,
    }


def moves_of(count: int, seed: int, extent_um: tuple[float, float], stains: int) -> list[tuple[str, Any]]:
    """The same walk for every arm: a pathologist's pans, zooms and stain changes."""
    rng = np.random.default_rng(seed)
    zoom, centre, shown = 0.05, np.array(extent_um) / 2, 0
    result: list[tuple[str, Any]] = []
    for _ in range(count):
        kind = str(rng.choice(["pan", "zoom", "stain"], p=[0.6, 0.2, 0.2]))
        if kind == "pan":
            step = rng.uniform(0.1, 0.6) * 800 / zoom
            angle = rng.uniform(0, 2 * np.pi)
            centre = np.clip(centre + step * np.array([np.sin(angle), np.cos(angle)]), 0, extent_um)
            result.append((kind, tuple(centre)))
        elif kind == "zoom":
            zoom = float(np.clip(zoom * rng.choice([0.5, 2.0, 4.0, 0.25, 1.3]), 0.04, 2.0))
            result.append((kind, zoom))
        else:
            shown = int((shown + rng.integers(1, stains)) % stains)
            result.append((kind, shown))
    return result


def walk(watch: Watch, camera: Any, moves: list[tuple[str, Any]], show: Callable[[int], None]) -> list[dict[str, Any]]:
    """Make the moves and time each."""

    def act(kind: str, value: Any) -> None:
        if kind == "pan":
            camera.center = (0.0, *value)
        elif kind == "zoom":
            camera.zoom = value
        else:
            show(value)

    return [{"kind": kind, **watch.move(lambda: act(kind, value))} for kind, value in moves]  # noqa: B023


# ---- the arms, each in a process of its own


def new_viewer() -> Any:
    import napari

    viewer = napari.Viewer(show=True, show_welcome_screen=False)
    viewer.window.resize(*WINDOW_PX)
    return viewer


def ours(study: Path, count: int) -> dict[str, Any]:
    """The window with all its docks."""
    from stainloom.plugin.window import open_workspace

    viewer = new_viewer()
    workspace = open_workspace(viewer).workspace
    watch = Watch(lambda: _settled(workspace))
    start_up(workspace)
    watch.move(lambda: None)
    found: dict[str, Any] = {"opening": time_opening(workspace, watch, lambda: workspace.open_study(study))}
    names = [case.name for case in workspace.state.cases]
    found["next case"] = time_opening(workspace, watch, lambda: workspace.ask_for_case(names[1 % len(names)]))
    found["canvas"] = list(viewer.canvas.size)
    stains = [stain.name for stain in workspace.session.view.stains]
    size = workspace.session.view.reference.pyramid.levels[0]
    moves = moves_of(count, 0, (size.rows * 0.5, size.cols * 0.5), len(stains))
    found["moves"] = walk(
        watch, viewer.scene.camera, moves, lambda number: workspace.session.show_stain(stains[number])
    )
    found["memory"] = memory_mb()
    found["torch"] = "torch" in sys.modules
    viewer.close()
    return found


def start_up(workspace: Any) -> None:
    """Wait for what is loaded while the window comes up, as it is for a user who first looks for the study."""
    from qtpy.QtWidgets import QApplication

    from stainloom.plugin.early import EarlyImports

    early = EarlyImports(workspace)
    while not early.done:
        QApplication.processEvents()
        time.sleep(0.01)


def _settled(workspace: Any) -> bool:
    session = workspace.session
    return not workspace._opening and (session is None or session.settled)


def time_opening(workspace: Any, watch: Watch, act: Callable[[], None]) -> dict[str, float]:
    """Seconds until the reference is on the screen, until all layers are there, until nothing moves any more."""
    from stainloom.plugin._napari import canvas_widget

    canvas, seen = canvas_widget(workspace.viewer), {}
    start, cpu = time.perf_counter(), time.thread_time()
    paint, before, first = canvas.paintGL, workspace.session, set(workspace.viewer.layers)

    def paint_and_tell() -> None:
        paint()
        # The case before is closed, and white, when the next one's reference is filled in or added.
        closed = before is None or before.renderer.closed
        layers = workspace.viewer.layers
        role = [n.metadata.get("stainloom", {}).get("role") for n in layers if n.visible]
        if closed and "stain" in role and "first" not in seen:
            seen["first"], seen["first_cpu"] = time.perf_counter() - start, time.thread_time() - cpu

    canvas.paintGL = paint_and_tell
    added_at = [0.0]
    original = workspace.viewer.layers.events.inserted

    def added(_: Any) -> None:
        added_at[0] = time.perf_counter() - start

    original.connect(added)
    result = watch.move(act)
    original.disconnect(added)
    del canvas.paintGL
    new = [layer for layer in workspace.viewer.layers if layer not in first]
    return {**seen, "layers": len(workspace.viewer.layers), "new": len(new), "all": added_at[0], **result}


def plain(study: Path, count: int, levels_of: Callable[[Path], tuple[list[Any], float]]) -> dict[str, Any]:
    """Plain napari on the same files."""
    from qtpy.QtWidgets import QWidget

    from stainloom.plugin.window import WIDTH_PX

    viewer = new_viewer()
    dock = QWidget()
    dock.setFixedWidth(WIDTH_PX)
    viewer.window.add_dock_widget(dock, area="right", name="Empty")
    viewer.canvas.overlays.scale_bar.visible = True
    watch = Watch(lambda: True)
    watch.move(lambda: None)
    paths = slides_of(study)
    painted, label_um = paint_of(study)
    start, cpu, layers = time.perf_counter(), time.thread_time(), []
    first: dict[str, float] = {}

    def add() -> None:
        for number, path in enumerate(paths):
            levels, um = levels_of(path)
            layers.append(
                viewer.add_image(
                    levels, rgb=True, multiscale=True, visible=number == 0, scale=(um, um), units=("um", "um"),
                    translate=(um / 2, um / 2), interpolation2d="linear", name=path.stem,
                )
            )  # fmt: skip
            if number == 0:
                viewer.reset_view()
                watch.move(lambda: None)
                first.update(first=time.perf_counter() - start, first_cpu=time.thread_time() - cpu)
        viewer.add_labels(painted, scale=(label_um, label_um), units=("um", "um"), opacity=0.5, name="Lesions")

    opening = watch.move(add)
    opening.update(first, all=time.perf_counter() - start, layers=len(viewer.layers), new=len(viewer.layers))
    rows, cols = layers[0].data[0].shape[:2]

    def show(number: int) -> None:
        for layer in sorted(layers, key=lambda layer: layer is not layers[number]):
            if layer.visible != (layer is layers[number]):
                layer.visible = layer is layers[number]

    moves = moves_of(count, 0, (rows * 0.5, cols * 0.5), len(layers))
    found = {"opening": opening, "canvas": list(viewer.canvas.size)}
    found["moves"] = walk(watch, viewer.scene.camera, moves, show)
    found["memory"] = memory_mb()
    viewer.close()
    return found


def slides_of(study: Path) -> list[Path]:
    """The files of the first case, the reference first."""
    from stainloom.io.casefile import StudyFolder

    folder = StudyFolder.open(study)
    case = folder.cases()[0]
    return [folder.slide_path(case, case.slide(name)) for name in folder.study.stain_names]


def paint_of(study: Path) -> tuple[np.ndarray, float]:
    """What is painted on the first case, as an array."""
    from stainloom.io.casefile import StudyFolder
    from stainloom.io.snapshot import read_labels

    folder = StudyFolder.open(study)
    return read_labels(folder.snapshot_path(folder.case_names()[0])).raster, folder.study.label_um


def zarr_levels(path: Path) -> tuple[list[Any], float]:
    """As tifffile and zarr give them."""
    import tifffile
    import zarr

    group = zarr.open_group(tifffile.imread(path, aszarr=True), mode="r")
    return [group[str(number)] for number in range(len(list(group.array_keys())))], 0.5


class ReaderLevel:
    """One level of a slide through our decoded tiles: neither warp nor colour."""

    dtype, ndim = np.dtype(np.uint8), 3

    def __init__(self, slide: Any, level: int) -> None:
        size = slide.levels[level]
        self._slide, self._level = slide, level
        self.shape, self.chunks = (*size.shape, 3), (256, 256, 3)
        self.size = size.rows * size.cols * 3

    def __getitem__(self, key: Any) -> Any:
        from stainloom.geometry import Box

        spans = [part.indices(n)[:2] for part, n in zip(key, self.shape, strict=False)]
        (top, bottom), (left, right) = spans[:2]
        return self._slide.read(self._level, Box(top, left, bottom - top, right - left))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[0 : self.shape[0], 0 : self.shape[1]])


def reader_levels() -> Callable[[Path], tuple[list[Any], float]]:
    """Through our reader, one cache for all."""
    from stainloom.io.slides import TileCache, open_slide

    cache = TileCache(256 << 20)

    def levels(path: Path) -> tuple[list[Any], float]:
        slide = open_slide(path, cache=cache)
        return [ReaderLevel(slide, level) for level in range(len(slide.levels))], slide.um_per_px[0][0]

    return levels


def leak_ours(study: Path, *, closed: bool) -> dict[str, Any]:
    """Cases opened and looked at in each stain; closed by the next one that opens, or first."""
    from stainloom.plugin.window import open_workspace

    viewer = new_viewer()
    workspace = open_workspace(viewer).workspace
    watch = Watch(lambda: _settled(workspace))
    start_up(workspace)
    workspace.open_study(study)
    watch.move(lambda: None)
    names = [case.name for case in workspace.state.cases]
    layers = len(viewer.layers)
    used = []
    for number in range(WARM_ROUNDS + LEAK_ROUNDS):
        watch.move(lambda: workspace.ask_for_case(names[number % len(names)]))  # noqa: B023
        layers = len(viewer.layers)
        for stain in workspace.session.view.stains:
            watch.move(lambda: workspace.session.show_stain(stain.name))  # noqa: B023
        if closed:
            watch.move(workspace.close_case)
        used.append(memory_mb()["uss"])
    viewer.close()
    return {"used": used, "layers": layers}


def leak_plain(study: Path) -> dict[str, Any]:
    """As many layers of the same kinds, as large on the screen, added and removed: what napari itself keeps."""
    from stainloom import jobs
    from stainloom.plugin.layers import case_layer_data
    from stainloom.plugin.pyramid import Renderer

    view, renderer = jobs.open_view(study), Renderer()
    kinds = [
        (
            kind,
            None if isinstance(data, list) else np.zeros_like(data),
            {k: v for k, v in keywords.items() if k != "metadata"},
        )
        for data, keywords, kind in case_layer_data(view, renderer)
    ]
    renderer.close()
    view.close()
    viewer = new_viewer()
    watch = Watch(lambda: True)

    def add() -> None:
        for kind, raster, keywords in kinds:
            data = (
                [np.zeros((SHOWN_PX >> k, SHOWN_PX >> k, 3), np.uint8) for k in range(3)]
                if raster is None
                else raster.copy()
            )
            getattr(viewer, f"add_{kind}")(data, **keywords)

    used = []
    for _ in range(WARM_ROUNDS + LEAK_ROUNDS):
        watch.move(add)
        viewer.reset_view()
        for layer in [layer for layer in viewer.layers if layer.multiscale][:5]:
            layer.visible = True
            watch.move(lambda: None)
            layer.visible = False
        watch.move(viewer.layers.clear)
        used.append(memory_mb()["uss"])
    viewer.close()
    return {"used": used, "layers": len(kinds)}


# ---- the rig must see what is planted


def check_rig() -> None:
    """Stop where a planted wait or leak is not seen."""
    from qtpy.QtWidgets import QApplication

    app = QApplication.instance() or QApplication([])

    def plant() -> None:
        end = time.perf_counter() + PLANTED_S
        while time.perf_counter() < end:
            pass

    seen = Watch(lambda: True).move(plant)
    if seen["longest"] < 0.9 * PLANTED_S:
        raise SystemExit(f"the rig does not see a planted wait: {seen}")
    before = memory_mb()["uss"]
    planted = np.ones(PLANTED_MB << 20, np.uint8)
    growth = memory_mb()["uss"] - before
    del planted
    back = memory_mb()["uss"] - before
    if abs(growth - PLANTED_MB) > 3 or back > 3:
        raise SystemExit(f"the rig does not see a planted leak of {PLANTED_MB} MB: {growth:.1f} MB, then {back:.1f}")
    leak = [2.0 * n for n in range(LEAK_ROUNDS)]
    step = [300.0 * (n > LEAK_ROUNDS // 2) for n in range(LEAK_ROUNDS)]
    if abs(growth_mb(leak) - 20) > 0.1 or abs(largest_step_mb(step) - 300) > 0.1:
        raise SystemExit(
            f"planted growth is misread: {growth_mb(leak):.1f} MB of 20, {largest_step_mb(step):.1f} MB of 300"
        )
    print(
        f"planted wait of 150 ms seen as {1000 * seen['longest']:.0f} ms, leak of 20 MB as {growth:.1f} MB", flush=True
    )
    del app


# ---- many processes, one table


def run_arm(name: str, study: Path, moves: int) -> dict[str, Any]:
    """One arm in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, __file__, str(study), "--arm", name, "--moves", str(moves), "--out", f"{folder}/found"]
        environment = {**os.environ, "NAPARI_CONFIG": f"{folder}/settings.yaml"}
        subprocess.run(words, check=True, env=environment)
        return json.loads(Path(folder, "found").read_text(encoding="utf-8"))


def arm(name: str, study: Path, moves: int) -> dict[str, Any]:
    """What this process measures."""
    acts: dict[str, Callable[[], dict[str, Any]]] = {
        "ours": lambda: ours(study, moves),
        "napari, zarr": lambda: plain(study, moves, zarr_levels),
        "napari, our reader": lambda: plain(study, moves, reader_levels()),
        "leak, case after case": lambda: leak_ours(study, closed=False),
        "leak, each closed": lambda: leak_ours(study, closed=True),
        "leak, napari": lambda: leak_plain(study),
    }
    return acts[name]()


def moves_table(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    """CPU of the GUI thread a move, and its longest wait: medians of the rounds."""
    lines = [
        "| ms a move | kind | CPU median | CPU 99 % | wait median | wait 99 % | until sharp, median |",
        "|" + "---|" * 7,
    ]
    for name, rounds in found.items():
        for kind in ("all", "pan", "zoom", "stain"):
            rows = [[m for m in one["moves"] if kind in ("all", m["kind"])] for one in rounds]

            def over_rounds(key: str, share: float, rows: list[Any] = rows) -> float:
                return 1000 * float(np.median([np.percentile([m[key] for m in row], share) for row in rows]))

            cells = [over_rounds("cpu", 50), over_rounds("cpu", 99), over_rounds("longest", 50)]
            cells += [over_rounds("longest", 99), over_rounds("wall", 50)]
            lines.append(f"| {name} | {kind} | " + " | ".join(f"{cell:.0f}" for cell in cells) + " |")
    return lines


def opening_table(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Seconds of opening, and memory."""
    lines = ["| opening | layers, new | first picture s | CPU s | all layers s | CPU in all s |", "|" + "---|" * 6]
    for name, rounds in found.items():
        for what in ("opening", "next case"):
            rows = [one[what] for one in rounds if what in one]
            if rows:
                cells = [
                    np.median([row.get(key, np.nan) for row in rows]) for key in ("first", "first_cpu", "all", "cpu")
                ]
                lines.append(
                    f"| {name}, {what} | {rows[0]['layers']} | " + " | ".join(f"{c:.2f}" for c in cells) + " |"
                )
    lines += ["", "| memory after the moves, MB | PSS | USS | peak |", "|---|---|---|---|"]
    for name, rounds in found.items():
        cells = [np.median([one["memory"][key] for one in rounds]) for key in ("pss", "uss", "peak")]
        lines.append(f"| {name} | " + " | ".join(f"{cell:.0f}" for cell in cells) + " |")
    return lines


def growth_mb(counted: list[float]) -> float:
    """Growth over ten cases: ten times the median slope between the rounds (Theil and Sen), which dips and steps leave alone."""
    return 10 * float(theilslopes(counted).slope)


def largest_step_mb(counted: list[float]) -> float:
    """By how much one round alone was above the usual one: what the slope does not see."""
    steps = np.diff(counted)
    return float(steps.max() - np.median(steps))


def leak_lines(used: dict[str, list[float]]) -> list[str]:
    """Growth of each arm, beyond napari's, and its largest step; then memory round by round, the warm ones first."""
    growth = {name: growth_mb(mb[WARM_ROUNDS:]) for name, mb in used.items()}
    lines = ["Growth over 10 cases, MB (plain napari: as many layers of the same kinds, added and removed)"]
    for name, mb in used.items():
        beyond, step = growth[name] - growth[LEAK_ARMS[-1]], largest_step_mb(mb[WARM_ROUNDS:])
        said = f"{name}: {growth[name]:.1f}, {beyond:+.1f} beyond napari, largest step {step:.0f}; "
        lines.append(said + " ".join(f"{n:.0f}" for n in mb))
    return lines


def main() -> int:
    """Measure and print; 2 for wrong use."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="what big_study.py made")
    parser.add_argument("--moves", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["moves", "leak"], help="one part alone")
    parser.add_argument(
        "--arms", default=",".join(["ours", "zarr", "reader"]), help="which to measure, by a word of each"
    )
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not (options.study / "study.json").is_file():
        parser.error(f"no study: {options.study}")
    study = options.study.resolve()
    if options.arm:
        options.out.write_text(json.dumps(arm(options.arm, study, options.moves)), encoding="utf-8")
        return 0
    check_rig()
    if options.only != "leak":
        chosen = [name for name in ARMS if any(word in name for word in options.arms.split(","))]
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in chosen}
        for _ in range(options.rounds):
            for name in chosen:
                found[name].append(run_arm(name, study, options.moves))
        print("\n".join([*opening_table(found), "", *moves_table(found)]), flush=True)
    if options.only != "moves":
        used = {name: run_arm(name, study, 0)["used"] for name in LEAK_ARMS}
        print("\n".join(["", *leak_lines(used)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
