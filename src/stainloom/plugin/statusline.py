"""The line below the canvas: the place under the mouse, what is there, which job runs, and whether what was painted is saved."""

from __future__ import annotations

import math
import time
from typing import Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QFontMetricsF
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QWidget

from stainloom.errors import StainloomError
from stainloom.plugin.controls import time_left
from stainloom.plugin.session import Session
from stainloom.plugin.workspace import Workspace

HEIGHT_PX = 24
_EVERY_MS = 33
_SAID_MS, _NEWS_S = 8000, 1.0
_JOB_MS = 1000
# A line that asked for all of a long sentence would make the window wider than a small screen.
_FINE_MOST_PX, _NOT_FINE_MOST_PX = 160, 280
_JOB_MOST_PX = 280
_SHARE_LEAST = 0.01
_FINE, _NOT_FINE = "#B9E6D3", "#FF7A4D"
_STYLE = """
#stainloom-status { background: #262930; }
#stainloom-status QLabel { color: #F0F1F2; background: transparent; padding: 0px; }
"""


class StatusLine(QWidget):
    """What is under the mouse, what was just said, the job that runs, and at the right whether all is saved.

    Parameters
    ----------
    workspace
        What is open.

    Notes
    -----
    The mouse is looked at thirty times a second at most. What a part of the window has to say (`viewer.status`) is shown in
    place of the readout for a few seconds.
    """

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self.setObjectName("stainloom-status")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setStyleSheet(_STYLE)
        self.setFixedHeight(HEIGHT_PX)
        self.workspace, self.viewer = workspace, workspace.viewer
        self.place, self.found, self.job, self.saved = _Elided(), _Elided(), _Elided(), _Elided()
        self.place.setMinimumWidth(int(QFontMetricsF(self.place.font()).horizontalAdvance("x 88,888  y 88,888 µm")) + 4)
        self.saved.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 0, 8, 0)
        row.setSpacing(14)
        row.addWidget(self.place)
        row.addWidget(self.found, 1)
        row.addWidget(self.job)
        row.addWidget(self.saved)
        self._job_clock = QTimer(self)
        self._job_clock.setInterval(_JOB_MS)
        self._job_clock.timeout.connect(self._tell_job)
        workspace.queue.changed.connect(self._tell_job)
        self._over = False
        self._said_at = 0.0
        self._looking: Any = None
        self._soon = self._timer(_EVERY_MS, self.read)
        self._said = self._timer(_SAID_MS, self._forget)
        self.viewer.cursor.events.position.connect(self._moved)
        self.viewer.events.status.connect(self._say)
        workspace.case_changed.connect(self._take_case)
        workspace.saving_changed.connect(self.say_saved)
        workspace.refused.connect(self._say_refusal)
        workspace.said.connect(self._say_line)
        self.read()

    def _timer(self, ms: int, act: Any) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(ms)
        timer.timeout.connect(act)
        return timer

    def close_line(self) -> None:
        """Listen no longer."""
        self.viewer.cursor.events.position.disconnect(self._moved)
        self.viewer.events.status.disconnect(self._say)
        self._leave_case()

    def say_saved(self, text: str, fine: bool) -> None:
        """What is so of the paint; that it is not saved is said by sign, word and colour."""
        self.saved.say(text if fine else f"\N{MULTIPLICATION SIGN} {text}")
        self.saved.setStyleSheet(f"color: {_FINE if fine else _NOT_FINE}; {'' if fine else 'font-weight: bold'}")
        self.saved.setMinimumWidth(min(self.saved.wanted_px, _FINE_MOST_PX if fine else _NOT_FINE_MOST_PX))

    def _tell_job(self) -> None:
        job, waiting = self.workspace.queue.current, len(self.workspace.queue.waiting)
        if job is None:
            self._job_clock.stop()
            self.job.say("")
            self.job.setMinimumWidth(0)
            return
        self._job_clock.start()
        said = [f"{job.title}: {job.share:.0%}" if job.share >= _SHARE_LEAST else job.title]
        said += [time_left(job.seconds_left)] if job.seconds_left is not None else []
        said += [f"{waiting} more to follow"] if waiting else []
        self.job.say(", ".join(said))
        self.job.setMinimumWidth(min(self.job.wanted_px, _JOB_MOST_PX))

    def _moved(self) -> None:
        self._over = True
        if not self._soon.isActive():
            self._soon.start()

    def _say(self, event: Any) -> None:
        # napari itself says "Ready" when the mouse enters, and nothing at all when it leaves.
        if event.value == "":
            self._over = False
            self.read()
        elif isinstance(event.value, str) and event.value != "Ready":
            self._say_line(event.value)

    def _say_refusal(self, error: StainloomError) -> None:
        self._say_line(f"{error.what}: see Cases")

    def _say_line(self, text: str) -> None:
        if not text:
            self._forget()
            return
        self.found.say(text)
        self._said.start()
        self._said_at = time.monotonic()

    def _take_case(self) -> None:
        self._forget()
        self._leave_case()
        if self.workspace.session is not None:
            self._looking = self.workspace.session.looking
            self._looking.changed.connect(self._look_changed)

    def _leave_case(self) -> None:
        if self._looking is not None:
            self._looking.changed.disconnect(self._look_changed)
            self._looking = None

    def _look_changed(self) -> None:
        """What was said of the stain before is not true of this one; what was said just now may be why it is shown."""
        if self._said.isActive() and time.monotonic() - self._said_at > _NEWS_S:
            self._forget()

    def _forget(self) -> None:
        self._said.stop()
        self.found.say("")
        self.read()

    def read(self) -> None:
        """Say what is under the mouse now."""
        session = self.workspace.session
        if session is None or not self._over:
            self.place.say("")
            if not self._said.isActive():
                self.found.say("")
            return
        position = self.viewer.cursor.position
        row, col = float(position[-2]), float(position[-1])
        self.place.say(f"x {col:,.0f}  y {row:,.0f} µm")
        if not self._said.isActive():
            self.found.say(under(session, row, col))


def under(session: Session, row_um: float, col_um: float) -> str:
    """What is at a place of what is shown: the class painted, and what a network predicted, as far as there is any."""
    looking = session.looking
    painted = session.layers.carried if looking.on_glass else session.layers.lesions
    said = [f"on {looking.glass.stain}'s own glass"] if looking.on_glass else []
    height, width = looking.size_um
    if not (0 <= row_um < height and 0 <= col_um < width):
        return "beside the slide"
    if painted is not None:
        number = _at(painted, row_um, col_um)
        name = next((lesion.short for lesion in session.view.study.lesions if lesion.id == number), "")
        if name:
            said.append(f"painted {name}" if not looking.on_glass else f"painted {name}, carried here")
        elif number == 0:
            said.append("not painted")
    if not looking.on_glass:
        network = session.readout((row_um, col_um)).network
        said += [network] if network else []
    return "  \N{MIDDLE DOT}  ".join(said)


def _at(labels: Any, row_um: float, col_um: float) -> int | None:
    scale = labels.scale[-2:]
    row, col = (math.floor(place / step) for place, step in zip((row_um, col_um), scale, strict=True))
    data = labels.data
    return int(data[row, col]) if 0 <= row < data.shape[0] and 0 <= col < data.shape[1] else None


class _Elided(QLabel):
    """One line that gives way where there is no room, and then says all of it as a tip."""

    def __init__(self) -> None:
        super().__init__()
        self._text = ""
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self.setMinimumWidth(0)

    @property
    def wanted_px(self) -> int:
        """Width of the whole text."""
        return int(QFontMetricsF(self.font()).horizontalAdvance(self._text)) + 6

    def say(self, text: str) -> None:
        """Show a text."""
        if text != self._text:
            self._text = text
            self._fit()

    def text_said(self) -> str:
        """The whole text."""
        return self._text

    def resizeEvent(self, event: Any) -> None:
        """Fit the text in."""
        super().resizeEvent(event)
        self._fit()

    def minimumSizeHint(self) -> Any:
        """No wider than it must be."""
        hint = super().minimumSizeHint()
        hint.setWidth(0)
        return hint

    def _fit(self) -> None:
        shown = QFontMetricsF(self.font()).elidedText(self._text, Qt.TextElideMode.ElideRight, max(self.width(), 1))
        self.setText(shown)
        self.setToolTip(self._text if shown != self._text else "")
