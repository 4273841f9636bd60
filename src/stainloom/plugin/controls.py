"""Run, Cancel and the bar of a job, and how long it still takes in words."""

from __future__ import annotations

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from stainloom.plugin.job import Job
from stainloom.plugin.messages import words

_TICK_MS = 500
_BAR_STEPS = 1000
_PAUSED = "paused"


class JobControls(QWidget):
    """Run, Cancel, and a bar that says what is being done and for how long still; for some jobs also Pause.

    Parameters
    ----------
    pauses
        Whether the job may rest.
    """

    def __init__(self, pauses: bool = False) -> None:
        super().__init__()
        self._pauses = pauses
        self.pause = QPushButton("Pause")
        self.pause.setCheckable(True)
        self.pause.setToolTip("Rests at the end of the step; what was learned so far is kept on disk")
        self.pause.toggled.connect(self._pause)
        self.finish = QPushButton("Finish")
        self.finish.setToolTip(
            "Ends now: the best that was learned so far becomes a run. Where nothing was learned yet, that is said"
        )
        self.finish.clicked.connect(self._finish)
        self.run = QPushButton("Run")
        self.cancel = QPushButton("Cancel")
        self.cancel.setEnabled(False)
        self.bar = QProgressBar()
        self.bar.setRange(0, _BAR_STEPS)
        self.bar.setTextVisible(False)
        self.stage = words("")
        buttons = QHBoxLayout()
        buttons.addWidget(self.run, 3)
        buttons.addWidget(self.pause, 1)
        buttons.addWidget(self.finish, 1)
        buttons.addWidget(self.cancel, 1)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addLayout(buttons)
        rows.addWidget(self.bar)
        rows.addWidget(self.stage)
        self.job: Job | None = None
        self._what = ""
        self._finishing = False
        self._clock = QTimer(self)
        self._clock.setInterval(_TICK_MS)
        self._clock.timeout.connect(self._tell)
        self.cancel.clicked.connect(self._cancel)
        self.rest()

    def follow(self, job: Job, waits_for: str = "") -> None:
        """Show a job until it ends."""
        self.job = job
        self._finishing = False
        self._what = f"Waits for: {waits_for}" if waits_for else "Starting"
        self.cancel.setEnabled(True)
        self.pause.setVisible(self._pauses)
        self.pause.setChecked(False)
        self.pause.setEnabled(False)
        self.finish.setVisible(self._pauses)
        self.finish.setEnabled(False)
        self.bar.setVisible(True)
        self.stage.setVisible(True)
        self.bar.setValue(0)
        job.progressed.connect(self._progress)
        job.ended.connect(lambda _: self.rest() if self.job is job else None)
        self._clock.start()
        self._tell()

    def _cancel(self) -> None:
        if self.job is not None:
            self._what = "Stopping"
            self.cancel.setEnabled(False)
            self.pause.setEnabled(False)
            self.finish.setEnabled(False)
            self._tell()

    def _finish(self) -> None:
        if self.job is not None:
            self._what = "Ends with what was learned so far"
            self._finishing = True
            self.finish.setEnabled(False)
            self.pause.setEnabled(False)
            self.job.finish()
            self._tell()

    def _pause(self, rest: bool) -> None:
        self.pause.setText("Resume" if rest else "Pause")
        if self.job is None:
            return
        self._what = "Pauses at the end of this step" if rest else "Goes on"
        (self.job.pause if rest else self.job.resume)()
        self._tell()

    def _progress(self, share: float, what: str, slide: str) -> None:
        self.bar.setValue(round(share * _BAR_STEPS))
        if not self.cancel.isEnabled():
            return
        if self._finishing:
            return
        self.pause.setEnabled(True)
        self.finish.setEnabled(True)
        if self.pause.isChecked():
            if what == _PAUSED:
                self._what = "Paused; what was learned so far is kept on disk"
        elif what != _PAUSED:
            self._what = f"{slide}: {what}" if slide else what

    def _tell(self) -> None:
        left = self.job.seconds_left if self.job is not None else None
        self.stage.setText(f"{self._what} \N{MIDDLE DOT} {time_left(left)}" if left is not None else self._what)

    def rest(self) -> None:
        """Show that nothing runs."""
        self.job = None
        self._clock.stop()
        self.cancel.setEnabled(False)
        self.pause.setVisible(False)
        self.finish.setVisible(False)
        self.bar.setVisible(False)
        self.stage.setVisible(False)


def time_left(seconds: float) -> str:
    """How long something still takes, as people say it."""
    if seconds < 10:
        return "a few seconds left"
    if seconds < 90:
        return f"{round(seconds / 10) * 10:.0f} s left"
    return f"{seconds / 60:.0f} min left" if seconds < 5400 else f"{seconds / 3600:.1f} h left"
