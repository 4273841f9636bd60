"""What is painted, carried to the other stains beside the window's thread."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from qtpy.QtCore import QObject, Signal

from stainloom.errors import StainloomError
from stainloom.geometry import Box, Scale
from stainloom.jobs import Carrying

_log = logging.getLogger(__name__)


class Carrier(QObject):
    """Carries the paint of one case, in a thread of its own, box by box in the order of the strokes.

    Parameters
    ----------
    um_per_px
        Of what is painted, and of what is carried.
    parent
        Owns it.
    """

    carried = Signal(str)
    """The paint in this stain's own frame is another."""
    _box = Signal(str)

    def __init__(self, um_per_px: Scale, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._um_per_px = um_per_px
        self._carrying: Carrying | None = None
        self._closed = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="stainloom-carry")
        # Told in the window's thread, whoever listens.
        self._box.connect(self.carried)

    def take(self, carrying: Carrying | None) -> None:
        """Carry by these alignments from now on; None: there are none."""
        self.abandon()
        self._carrying = carrying

    def abandon(self) -> None:
        """End what is being filled: nobody waits for it."""
        if self._carrying is not None:
            self._carrying.abandon()

    def raster(self, stain: str) -> tuple[np.ndarray, Scale] | None:
        """The paint in a stain's own frame, (rows, cols) uint8, and its um per px; None where the stain is not aligned.

        The array is the one that is kept current: read it, and draw it anew when `carried` names the stain.
        """
        carrying = self._carrying
        raster = None if carrying is None else carrying.raster(stain)
        if carrying is None or raster is None:
            return None
        if not carrying.filled(stain):
            self._behind(lambda: self._fill(carrying, stain))
        return raster, self._um_per_px

    def carry(self, box: Box) -> None:
        """Carry what a box of the paint holds now."""
        carrying = self._carrying
        if carrying is None or box.empty:
            return

        def carry() -> None:
            for stain in carrying.stains:
                carrying.carry(box, stain)
                self._box.emit(stain)

        self._behind(carry)

    def save(self, labels_id: str, still_so: Callable[[], bool]) -> None:
        """Write what is carried where jobs read it, behind all boxes so far, as long as the paint is `still_so`; any thread."""
        carrying = self._carrying
        if carrying is not None:
            self._thread.submit(self._save, carrying, labels_id, still_so)

    def close(self, *, finish: bool) -> None:
        """Wait until the thread has ended: with what waits for it, or without."""
        self._closed = True
        self._thread.shutdown(wait=True, cancel_futures=not finish)

    # In the thread

    def _fill(self, carrying: Carrying, stain: str) -> None:
        if not carrying.filled(stain):
            carrying.fill(stain)
            self._box.emit(stain)

    def _save(self, carrying: Carrying, labels_id: str, still_so: Callable[[], bool]) -> None:
        for stain in carrying.stains:
            if carrying.stored(stain):
                continue
            self._fill(carrying, stain)
            # What was painted meanwhile may be in it already, and has another id: it is saved when the hand rests again.
            if not carrying.filled(stain) or not still_so():
                return
            try:
                carrying.save(stain, labels_id)
            except StainloomError as error:
                # It is carried anew at the next start; what was painted is safe.
                _log.warning("%s", error)

    def _behind(self, act: Callable[[], None]) -> None:
        def run() -> None:
            try:
                act()
            except Exception:
                _log.exception("paint could not be carried")

        if not self._closed:
            self._thread.submit(run)
