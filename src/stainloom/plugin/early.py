"""What the first picture would wait for, loaded while the user still looks for the study."""

from __future__ import annotations

import gc
import logging
import threading

import numpy as np
from napari.layers import Image
from qtpy.QtCore import QCoreApplication, QObject, QTimer

from stainloom.plugin.layers import UNITS

_log = logging.getLogger(__name__)

_LOOK_MS = 100


class EarlyImports(QObject):
    """Imports in a thread, and takes what is there by then out of the garbage collector's rounds.

    Parameters
    ----------
    parent
        Lives as long.

    Notes
    -----
    Window, docks and libraries are 350,000 objects that stay until the end; each full round of the collector looked at
    all of them, 0.25 s on the window's thread, at any time and once for each layer that is removed.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._stop = threading.Event()
        # Waited for when the program ends: a thread cut off in the middle of an import takes the process down with it.
        self._thread = threading.Thread(target=_load, args=(self._stop,), name="stainloom-early")
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._look)
        self._timer.start(_LOOK_MS)
        self.done = False
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self._stop.set)
        self._thread.start()

    def _look(self) -> None:
        if self._thread.is_alive():
            return
        self._timer.stop()
        # napari's first layer with units loads what it knows of units, 0.4 s; on this thread, for half loaded it knows no um.
        Image(np.zeros((2, 2), np.uint8), units=UNITS)
        gc.collect()
        gc.freeze()
        self.done = True


def _load(stop: threading.Event) -> None:
    try:
        # The thumbnail of a picture.
        import scipy.ndimage  # noqa: F401

        if stop.is_set():
            return
        # The names of classes in a labels layer: 1.4 to 2.5 s.
        import pandas  # noqa: F401

        if stop.is_set():
            return
        import stainloom.io.maps
        import stainloom.io.slides
        import stainloom.io.snapshot
        import stainloom.io.strokes
        import stainloom.stain.normalize  # noqa: F401
    except ImportError:  # said where it is needed
        _log.warning("a library could not be loaded early", exc_info=True)
