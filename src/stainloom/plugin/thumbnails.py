"""Small pictures for docks, made one after another behind the window and kept."""

from __future__ import annotations

import logging
from collections import OrderedDict
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal
from qtpy.QtGui import QImage, QPixmap
from superqt.utils import create_worker

from stainloom.case.aligned import Look
from stainloom.errors import StainloomError
from stainloom.jobs.thumbnails import thumbnail

_log = logging.getLogger(__name__)

_KEPT_MOST = 600


class Thumbnails(QObject):
    """Pictures of slides by what they show; a picture that is not there yet is made, and `ready` says when.

    Notes
    -----
    A picture is asked for together with the ids of what it was made from (`made_from`: an alignment, a colour), so that
    it is made anew when these change.
    """

    ready = Signal()
    """Another picture is there: ask again."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._kept: OrderedDict[tuple[Any, ...], QPixmap | None] = OrderedDict()
        self._wanted: OrderedDict[tuple[Any, ...], None] = OrderedDict()
        self._busy = False
        self._over = False

    def get(
        self,
        study: Path,
        case: str,
        stain: str,
        *,
        px: int = 128,
        look: Look = "normalized",
        aligned: bool = True,
        checkered: bool = False,
        made_from: tuple[Any, ...] = (),
    ) -> QPixmap | None:
        """A picture as `jobs.thumbnail` makes it; None where it is not there yet, or cannot be made."""
        key = (study, case, stain, px, look, aligned, checkered, made_from)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if not self._over:
            # What was asked for last is what somebody looks at.
            self._wanted[key] = None
            self._wanted.move_to_end(key, last=False)
            self._next()
        return None

    @property
    def busy(self) -> bool:
        """Whether a picture is still being made."""
        return self._busy or bool(self._wanted)

    def close(self) -> None:
        """Make no more pictures."""
        self._over = True
        self._wanted.clear()

    def _next(self) -> None:
        if self._busy or not self._wanted:
            return
        self._busy = True
        key, _ = self._wanted.popitem(last=False)
        worker = create_worker(_make, key, _start_thread=False)
        worker.returned.connect(self._take)
        worker.finished.connect(self._rest)
        worker.start()

    def _take(self, made: tuple[tuple[Any, ...], Any]) -> None:
        key, pixels = made
        self._kept[key] = None if pixels is None else _pixmap(pixels)
        while len(self._kept) > _KEPT_MOST:
            self._kept.popitem(last=False)
        if not self._over:
            self.ready.emit()

    def _rest(self) -> None:
        self._busy = False
        self._next()


def _make(key: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:
    study, case, stain, px, look, aligned, checkered, _ = key
    try:
        return key, thumbnail(study, case, stain, px=px, look=look, aligned=aligned, checkered=checkered)
    except StainloomError as error:
        _log.info("no thumbnail: %s", error)
    except Exception:
        # What a worker raises ends in Qt's event loop; a missing picture is no reason for that.
        _log.exception("no thumbnail of %s of case %s", stain, case)
    return key, None


def _pixmap(pixels: Any) -> QPixmap:
    rows, cols, _ = pixels.shape
    return QPixmap.fromImage(QImage(pixels.tobytes(), cols, rows, 3 * cols, QImage.Format.Format_RGB888))
