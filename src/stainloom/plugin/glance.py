"""A look at files behind the window: the newest question is answered, older ones are forgotten."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, Signal
from superqt.utils import create_worker

from stainloom.errors import StainloomError

_log = logging.getLogger(__name__)


class Glance(QObject):
    """Asks in a thread, one question at a time."""

    seen = Signal(object)
    """What was found."""
    failed = Signal(object)
    """A `StainloomError` instead."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._wanted: Callable[[], Any] | None = None
        self._busy = False

    @property
    def busy(self) -> bool:
        """Whether an answer is still to come."""
        return self._busy or self._wanted is not None

    def ask(self, question: Callable[[], Any]) -> None:
        """Ask; an earlier question that is not answered yet is not answered any more."""
        self._wanted = question
        self._next()

    def _next(self) -> None:
        if self._busy or self._wanted is None:
            return
        self._busy, question = True, self._wanted
        self._wanted = None
        worker = create_worker(_answer, question, _start_thread=False)
        worker.returned.connect(self._take)
        worker.finished.connect(self._rest)
        worker.start()

    def _take(self, answer: tuple[Any, StainloomError | None]) -> None:
        found, error = answer
        if self._wanted is not None:
            return
        if error is None:
            self.seen.emit(found)
        else:
            self.failed.emit(error)

    def _rest(self) -> None:
        self._busy = False
        self._next()


def _answer(question: Callable[[], Any]) -> tuple[Any, StainloomError | None]:
    """What a worker raises, or returns as an error, ends in Qt's event loop."""
    try:
        return question(), None
    except StainloomError as error:
        return None, error
    except Exception as error:
        _log.exception("a look at the study failed")
        return None, StainloomError("the study cannot be read", found=str(error), next="check its disk")
