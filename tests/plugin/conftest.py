"""Tests of the plugin change nobody's napari preferences, and nothing that the window remembers."""

import atexit
import gc
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

# Before anything imports napari, which reads the variable once.
_folder = Path(tempfile.mkdtemp(prefix="stainloom-napari-"))
os.environ["NAPARI_CONFIG"] = str(_folder / "settings.yaml")
os.environ["STAINLOOM_CONFIG"] = str(_folder / "stainloom")
atexit.register(shutil.rmtree, _folder, ignore_errors=True)

from napari.resources import _icons  # noqa: E402
from qtpy.QtCore import QTimer  # noqa: E402

# Each napari writes its icons anew into one cache: the tests of another process would read them half written.
_icons.user_cache_dir = lambda: str(_folder)


class Watchdog:
    """The longest turn of the event loop in each step: what somebody at the window would have waited.

    Time in which the machine ran other programs is taken off where the system tells it.
    """

    TICK_MS = 5

    def __init__(self) -> None:
        self.longest_ms: dict[str, float] = {}
        self._step = ""
        self._timer = QTimer()
        self._timer.setInterval(self.TICK_MS)
        self._timer.timeout.connect(self._tick)
        self._last = self._now()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Watch what happens in the block, under this name."""
        self._step, self._last = name, self._now()
        self.longest_ms.setdefault(name, 0.0)
        self._timer.start()
        try:
            yield
            self._tick()
        finally:
            self._timer.stop()

    @staticmethod
    def _now() -> float:
        waited = 0
        with suppress(OSError):
            waited = int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1])
        return time.perf_counter() - waited / 1e9

    def _tick(self) -> None:
        now = self._now()
        self.longest_ms[self._step] = max(self.longest_ms[self._step], (now - self._last) * 1000 - self.TICK_MS)
        self._last = now


@pytest.fixture
def watchdog(qtbot) -> Watchdog:
    """Measures how long the window makes somebody wait."""
    return Watchdog()


@pytest.fixture(scope="module")
def window(qapp):
    """One window of 1280 x 800 px for a module's tests, because opening one takes seconds."""
    import napari
    from napari._app_model import get_app_model
    from napari._qt._qapp_model.qactions import init_qactions
    from napari.plugins import _initialize_plugins

    from stainloom.plugin._napari import main_window, settle

    viewer = napari.Viewer(show=True, show_welcome_screen=False)
    main_window(viewer).resize(1280, 800)
    settle(viewer)
    yield viewer
    viewer.close()
    del viewer
    gc.collect()
    # napari names its commands once a process, and its own fixture, between two modules, makes it forget that it did.
    app = get_app_model()
    type(app).destroy(app.name)
    for once in (init_qactions, _initialize_plugins):
        once.cache_clear()


@pytest.fixture
def opened(window):
    """Opens cases in the window and takes them out again."""
    from stainloom.plugin._napari import main_window, settle
    from stainloom.plugin.session import Session

    sessions = []

    def open_case(view):
        sessions.append(Session.open(window, view))
        settle(window)
        return sessions[-1]

    yield open_case
    for session in sessions:
        session.close()
    window.layers.clear()
    main_window(window).resize(1280, 800)
    settle(window)
