"""Painting on the class raster: every stroke goes into the durable store as it happens and is carried to the other stains."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QObject, QTimer, Signal

from stainloom.case.lesions import LesionClass
from stainloom.case.regions import Lesion
from stainloom.errors import LabelError, StainloomError
from stainloom.geometry import Box
from stainloom.jobs import Carrying, Paint
from stainloom.plugin._napari import guard_paint, keep_no_history, redraw_labels, take_back_corner
from stainloom.plugin.carrier import Carrier
from stainloom.plugin.overlay import class_colormap
from stainloom.wording import DAY, DAY_AND_TIME, moment

if TYPE_CHECKING:
    from stainloom.io.strokes import StrokeFacts

_log = logging.getLogger(__name__)

_PART_MS = 1500
_RETRY_MS = 3000
_IDLE_MS = 1500
_BACKUP_MS = 60_000
_CLOSE_S = 20.0
_READ_S = 0.6
_NOTHING = Box(0, 0, 0, 0)
_TOOLS = {"paint": "brush", "erase": "eraser", "fill": "fill", "polygon": "polygon"}

Turn = Literal["undo", "redo"]


@dataclass(frozen=True, eq=False)
class _Stroke:
    box: Box
    after: np.ndarray
    what: str
    class_id: int


@dataclass(frozen=True, eq=False)
class _Turned:
    """What became of an undo or a redo: the pixels that changed, in words, or the older stroke that it asks about."""

    changed: tuple[Box, np.ndarray] | None = None
    said: str = ""
    asks: StrokeFacts | None = None
    error: StainloomError | None = None


class Painter(QObject):
    """Paint of one case between napari's labels layer, the store of strokes and the other stains.

    Parameters
    ----------
    paint
        The case's raster and its store; the painter closes it.
    classes
        The study's classes, in the order of their digits.

    Attributes
    ----------
    carrier
        Carries what is painted to the other stains.

    Notes
    -----
    What changed is told by the boxes that napari draws anew, and what is stored is the raster itself in that box: so
    every tool is caught, also parts of a stroke that goes on. Strokes wait in a queue until the disk has them; where it
    refuses they are tried again, and the status line says so until it worked.
    """

    saving_changed = Signal(str, bool)
    """*saved 14:03* and True, or *NOT SAVED: ...* and False."""
    painted = Signal()
    """Something else is painted: areas, lesions, what can be undone."""
    classes_changed = Signal()
    """Another class is chosen, locked or hidden."""
    refused = Signal(object)
    """A `StainloomError`: something could not be kept or done."""
    asked = Signal(str)
    """Whether a stroke from before the case was opened is to be taken back; empty where that is no question any more."""
    turned = Signal(str)
    """What was taken back, or made again."""
    _kept = Signal(object)
    _failed = Signal(object)
    _turned = Signal(object)
    _written = Signal(object)

    def __init__(self, paint: Paint, classes: Iterable[LesionClass], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.paint = paint
        self.classes = (*classes, *_unknown_classes(paint, classes))
        self.trouble: StainloomError | None = None
        self.locked: set[int] = set()
        self.hidden: set[int] = set()
        self.layer: Labels | None = None
        self._in_hand: tuple[int, str, float] = (0, "", 0.0)
        self.areas_px: dict[int, int] = {}
        self.lesions: tuple[Lesion, ...] = ()
        self.carrier = Carrier(paint.um_per_px, self)
        self._saved: datetime | None = None
        self._waiting: deque[_Stroke] = deque()
        self._turns: deque[Turn] = deque()
        self._writing = self._turning = self._drawing = self._closed = False
        self._dirty = self._stroke = _NOTHING
        self._prepared: list[Callable[[StainloomError | None], None]] = []
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="stainloom-paint")
        self._last: Future[None] | None = None
        self._part = self._timer(_PART_MS, self.flush)
        self._retry = self._timer(_RETRY_MS, self._try_again)
        self._idle = self._timer(_IDLE_MS, self._rest)
        self._opened_at = paint.stroke
        self._granted, self._asked_at = 0, 0.0
        self._backup = self._timer(_BACKUP_MS, lambda: self._in_order(self.paint.backup))
        self._kept.connect(self._take_kept)
        self._failed.connect(self._take_failure)
        self._turned.connect(self._take_turn)
        self._written.connect(self._take_written)
        self._count()

    def _timer(self, milliseconds: int, act: Callable[[], Any]) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(milliseconds)
        timer.timeout.connect(act)
        return timer

    @property
    def read_only(self) -> str:
        """Why nothing can be painted here; empty where it can."""
        return self.paint.refusal

    @property
    def saving(self) -> tuple[str, bool]:
        """What is so of the paint: *saved 14:03*, and whether that is well."""
        if self.read_only:
            return "read-only", True
        if self.trouble is not None:
            return f"NOT SAVED: {self.trouble.what}", False
        if self._waiting:
            return "saving", True
        return (f"saved {self._saved:%H:%M}" if self._saved is not None else "all saved"), True

    @property
    def unsaved(self) -> bool:
        """Whether the disk lacks anything that is on the screen."""
        return bool(self._waiting) or not self._dirty.empty

    # The layer

    def attach(self, layer: Labels) -> None:
        """Paint on a layer whose data is the raster."""
        self.layer = layer
        layer.editable = not self.read_only
        layer.selected_label = self._in_hand[0] or (self.classes[0].id if self.classes else 0)
        layer.preserve_labels = False
        layer.contour = 0
        self._color()
        keep_no_history(layer)
        guard_paint(layer, self._may_change)
        layer.events.labels_update.connect(self._drawn)
        layer.events.paint.connect(self._stroke_ended)
        layer.events.set_data.connect(self._drawn_whole)
        layer.events.selected_label.connect(self._tell_classes)
        if self._in_hand[1] and not self.read_only:
            layer.mode, layer.brush_size = self._in_hand[1:]
        for digit, lesion in enumerate(self.classes[:9], start=1):
            layer.bind_key(str(digit), lambda _, id=lesion.id: self.choose(id), overwrite=True)
        for keys, act in (("Control-Z", self.undo), ("Control-Shift-Z", self.redo), ("Control-Y", self.redo)):
            layer.bind_key(keys, lambda _, act=act: act(), overwrite=True)

    def detach(self) -> None:
        """Let go of the layer; what was painted on it is kept."""
        layer, self.layer = self.layer, None
        if layer is None:
            return
        self._in_hand = (int(layer.selected_label), str(layer.mode), float(layer.brush_size))
        self.flush()
        layer.events.labels_update.disconnect(self._drawn)
        layer.events.paint.disconnect(self._stroke_ended)
        layer.events.set_data.disconnect(self._drawn_whole)
        layer.events.selected_label.disconnect(self._tell_classes)

    def choose(self, class_id: int) -> None:
        """Paint with this class from now on, with the brush where no tool that paints is in the hand."""
        layer = self.layer
        if layer is None or self.read_only:
            return
        layer.selected_label = class_id
        if layer.mode not in ("paint", "fill", "polygon"):
            layer.mode = "paint"

    @property
    def chosen(self) -> int:
        """The class that is painted with; 0 for none."""
        return 0 if self.layer is None else int(self.layer.selected_label)

    def lock(self, class_id: int, locked: bool) -> None:
        """Keep what is painted of a class from being painted over or erased, and from growing."""
        (self.locked.add if locked else self.locked.discard)(class_id)
        self.classes_changed.emit()

    def hide(self, class_id: int, hidden: bool) -> None:
        """Leave a class off the screen; its paint stays."""
        (self.hidden.add if hidden else self.hidden.discard)(class_id)
        self._color()
        self.classes_changed.emit()

    def _color(self) -> None:
        if self.layer is not None:
            self.layer.colormap = class_colormap(lesion for lesion in self.classes if lesion.id not in self.hidden)

    def _may_change(self, pixels: np.ndarray, new: int) -> np.ndarray | bool:
        if self.read_only or self._turning:
            return False
        known = {lesion.id: lesion.short for lesion in self.classes}
        if new and new not in known:
            self.refused.emit(LabelError(f"{new} is no class of this study", next="choose a class in Paint"))
            return False
        if new in self.locked:
            self.refused.emit(LabelError(f"{known[new]} is locked", next="unlock it in Paint, or choose another class"))
            return False
        if not self.locked:
            return True
        table = np.ones(256, np.bool_)
        table[list(self.locked)] = False
        return table[pixels]

    def _tell_classes(self, *_: Any) -> None:
        self.classes_changed.emit()

    # From the layer to the store

    def _drawn(self, event: Any) -> None:
        if self._drawing or event.data is None:
            return
        row, col = (int(n) for n in event.offset)
        box = Box(row, col, *(int(n) for n in event.data.shape[:2]))
        self._dirty, self._stroke = _union(self._dirty, box), _union(self._stroke, box)
        if not self._part.isActive():
            self._part.start()

    def _stroke_ended(self, *_: Any) -> None:
        self.flush()
        self._stroke = _NOTHING

    def _drawn_whole(self, *_: Any) -> None:
        # A stroke that was given up is taken back without a word about where.
        if not self._drawing and not self._stroke.empty:
            self._dirty, self._stroke = _union(self._dirty, self._stroke), _NOTHING
            QTimer.singleShot(0, self.flush)

    def flush(self) -> None:
        """Hand what changed to the store."""
        self._part.stop()
        box, self._dirty = self._dirty, _NOTHING
        raster = self.paint.raster
        if box.empty or raster is None or self.read_only:
            return
        after = raster[box.row : box.row_end, box.col : box.col_end].copy()
        self._waiting.append(_Stroke(box, after, *self._named()))
        self._write()
        self._tell()

    def _named(self) -> tuple[str, int]:
        mode = str(self.layer.mode) if self.layer is not None else ""
        class_id = 0 if mode == "erase" or self.layer is None else self.chosen
        short = next((lesion.short for lesion in self.classes if lesion.id == class_id), "")
        return f"{_TOOLS.get(mode, 'change')} {short}".rstrip(), class_id

    def _write(self) -> None:
        if self._writing or not self._waiting or self._closed:
            return
        self._writing = True
        self._writer.submit(self._keep, self._waiting[0])

    def _keep(self, stroke: _Stroke) -> None:
        """In the writer's thread."""
        try:
            self._kept.emit(self.paint.keep(stroke.box, stroke.after, what=stroke.what, class_id=stroke.class_id))
        except StainloomError as error:
            self._failed.emit(error)
        except Exception as error:
            _log.exception("a stroke could not be kept")
            self._failed.emit(LabelError("this stroke was not kept", found=str(error), next="it is tried again"))

    def _take_kept(self, changed: Box) -> None:
        if self._closed:
            return
        self._waiting.popleft()
        self._writing = False
        self.trouble = None
        if not changed.empty:
            self._end_question()
            self._saved = datetime.now()
            self._changed(changed)
        self._write()
        self._next_turn()
        self._tell()

    def _take_failure(self, error: StainloomError) -> None:
        if self._closed:
            return
        self._writing = False
        if self.trouble is None or self.trouble.what != error.what:
            self.refused.emit(error)
        self.trouble = error
        self._retry.start()
        self._tell()

    def _try_again(self) -> None:
        self._write()

    def _changed(self, box: Box) -> None:
        self._count()
        self.carrier.carry(box)
        self._idle.start()
        if not self._backup.isActive():
            self._backup.start()
        self.painted.emit()

    def _count(self) -> None:
        if self.read_only:
            self.areas_px = dict(self.paint.seen_px)
            return
        self.lesions = self.paint.lesions()
        self.areas_px = {}
        for lesion in self.lesions:
            self.areas_px[lesion.class_id] = self.areas_px.get(lesion.class_id, 0) + lesion.area_px

    def _tell(self) -> None:
        self.saving_changed.emit(*self.saving)

    # Undo

    def undo(self) -> None:
        """Take back the last corner of a polygon that is being drawn, else the last stroke.

        A stroke from before the case was opened is taken back only when asked twice.
        """
        if self.layer is None or not take_back_corner(self.layer):
            self._turn("undo")

    def redo(self) -> None:
        """Make the stroke again that was taken back last."""
        self._turn("redo")

    def _turn(self, turn: Turn) -> None:
        self.flush()
        if self.read_only or self.trouble is not None:
            self.refused.emit(self.trouble or LabelError("nothing can be undone on this case", found=self.read_only))
            return
        if turn == "undo" and self._granted and time.monotonic() - self._asked_at < _READ_S:
            return  # pressed before the question could be read
        self._turns.append(turn)
        self._next_turn()

    def _next_turn(self) -> None:
        # Painting rests for the milliseconds until the raster is as the store is.
        if self._turns and not self._turning and not self._waiting:
            self._turning = True
            self._writer.submit(self._make_turn, self._turns.popleft())

    def _make_turn(self, turn: Turn) -> None:
        """In the writer's thread."""
        undo = turn == "undo"
        try:
            stroke = self.paint.next_undo if undo else self.paint.next_redo
            if stroke is None:
                self._turned.emit(_Turned())
            elif undo and stroke.number <= self._opened_at and stroke.number != self._granted:
                self._turned.emit(_Turned(asks=stroke))
            else:
                changed = self.paint.undo() if undo else self.paint.redo()
                said = "Taken back: {}. Ctrl+Shift+Z makes it again" if undo else "Made again: {}"
                self._turned.emit(_Turned(changed, said.format(_called(stroke))))
        except Exception as error:
            _log.info("no %s: %s", turn, error)
            told = error if isinstance(error, StainloomError) else LabelError(f"no {turn}", found=str(error))
            self._turned.emit(_Turned(error=told))

    def _take_turn(self, turned: _Turned) -> None:
        if self._closed:
            return
        self._turning = False
        self._end_question()
        if turned.error is not None:
            self.refused.emit(turned.error)
        elif turned.asks is not None:
            self._granted, self._asked_at = turned.asks.number, time.monotonic()
            self._turns.clear()
            self.asked.emit(
                f"Undo once more takes back an older stroke, from before this case was opened: {_called(turned.asks)}."
            )
        elif turned.changed is not None:
            box, pixels = turned.changed
            self._put(box, pixels)
            self._saved = datetime.now()
            self._changed(box)
            self.turned.emit(turned.said)
        self._next_turn()
        self._tell()

    def _end_question(self) -> None:
        if self._granted:
            self._granted = 0
            self.asked.emit("")

    def _put(self, box: Box, pixels: np.ndarray) -> None:
        raster = self.paint.raster
        if box.empty or raster is None:
            return
        raster[box.row : box.row_end, box.col : box.col_end] = pixels
        if self.layer is not None:
            self._drawing = True
            try:
                redraw_labels(self.layer, box)
            finally:
                self._drawing = False

    # The other stains

    def realign(self, carrying: Carrying | None) -> None:
        """Carry all paint by other alignments, in a moment; nowhere without any."""
        self.carrier.take(carrying)
        if carrying is not None and self.lesions:
            # Not while the case appears: the carrier would take turns with what draws it.
            self._idle.start()

    # What jobs read

    def prepare(self, then: Callable[[StainloomError | None], None]) -> None:
        """Write down all paint for a job, then call back: with None, or with why it could not be written."""
        self.flush()
        if self.trouble is not None:
            then(self.trouble)
            return
        self._prepared.append(then)
        self._writer.submit(self._snapshot)

    def _snapshot(self) -> None:
        """In the writer's thread, behind every stroke that waited."""
        try:
            self.paint.snapshot()
            self._written.emit(None)
        except Exception as error:
            _log.info("no snapshot: %s", error)
            told = (
                error
                if isinstance(error, StainloomError)
                else LabelError("the paint was not written", found=str(error))
            )
            self._written.emit(told)

    def _take_written(self, error: StainloomError | None) -> None:
        if self._waiting and error is None and self._prepared:
            # A stroke came in between: it belongs to what the job is to see.
            self._writer.submit(self._snapshot)
            return
        prepared, self._prepared = self._prepared, []
        for then in prepared:
            then(error)

    def _rest(self) -> None:
        """Nothing was painted for a while: leave everything as jobs and other programs want it."""
        if not self.read_only and self.trouble is None:
            self._in_order(self._settle)

    def _settle(self) -> None:
        labels_id, stroke = self.paint.snapshot(), self.paint.stroke
        if labels_id:
            self.carrier.save(labels_id, lambda: not self.unsaved and self.paint.stroke == stroke)

    def _in_order(self, act: Callable[[], Any]) -> None:
        """Do something in the writer's thread, behind the strokes that wait."""

        def run() -> None:
            try:
                act()
            except StainloomError as error:
                _log.warning("%s", error)
            except Exception:
                _log.exception("the paint could not be settled")

        self._last = self._writer.submit(run)

    # The end

    def close(self) -> None:
        """Keep what is left, leave the store at rest and let the case go, all in the writer's thread: see `wait`."""
        if self._closed:
            return
        self.detach()
        under_way = bool(self._waiting or self._turns or self._turning)
        changed = under_way or self.paint.stroke != self._opened_at
        if not changed:
            self.carrier.abandon()
        self._closed = True
        for timer in (self._part, self._retry, self._idle, self._backup):
            timer.stop()
        left, self._waiting = list(self._waiting), deque()

        def end() -> None:
            try:
                # The first may be kept already: keeping it again changes nothing.
                for stroke in left:
                    self.paint.keep(stroke.box, stroke.after, what=stroke.what, class_id=stroke.class_id)
                if not self.read_only and under_way:
                    self.paint.snapshot()  # what is under way was not carried yet: the next opening does it
                elif not self.read_only and changed:
                    self._settle()
                if not self.read_only and changed:
                    self.paint.backup()
            except StainloomError as error:
                _log.error("%s", error)
            finally:
                self.carrier.close(finish=changed)
                self.paint.close()

        self._last = self._writer.submit(end)
        self._writer.shutdown(wait=False)

    def wait(self, seconds: float = _CLOSE_S) -> bool:
        """Wait until all is written, after `close`; whether it was."""
        return self._last is None or not wait([self._last], seconds).not_done


def _called(stroke: StrokeFacts) -> str:
    """A stroke for the reader: *brush VSMC of 21 Nov 2026 14:03*; of today, *brush VSMC of 14:03*."""
    today = moment(datetime.now(), f"{DAY} ", None)
    return f"{stroke.what} of {moment(stroke.utc, DAY_AND_TIME, None).removeprefix(today)}"


def _union(one: Box, other: Box) -> Box:
    if one.empty or other.empty:
        return other if one.empty else one
    row, col = min(one.row, other.row), min(one.col, other.col)
    return Box(row, col, max(one.row_end, other.row_end) - row, max(one.col_end, other.col_end) - col)


def _unknown_classes(paint: Paint, classes: Iterable[LesionClass]) -> tuple[LesionClass, ...]:
    """Classes that were painted and are no longer in the study: shown in gray, and kept."""
    if paint.raster is None:
        return ()
    known = {lesion.id for lesion in classes}
    found = {lesion.class_id for lesion in paint.lesions()} - known
    return tuple(
        LesionClass(id=id, short=f"class {id}", name=f"class {id}, no longer in this study", color="#8A8A8A")
        for id in sorted(found)
    )
