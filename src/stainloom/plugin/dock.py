"""What every dock is made of: purpose, state, form, Run, Cancel, bar, result, messages; and the dock that is a form and a Run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDockWidget,
    QFrame,
    QHBoxLayout,
    QPushButton,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from stainloom.plugin.controls import JobControls
from stainloom.plugin.form import SettingsForm, options
from stainloom.plugin.job import Job, Result
from stainloom.plugin.messages import CANCELLED, COLOURS, Act, Messages, words
from stainloom.plugin.workspace import Workspace

_PLACE = re.compile(r"(?P<case>[^,:]+)(?:, (?P<stain>[^,:]+))?: ")


@dataclass(frozen=True)
class Plan:
    """What Run would do now.

    Attributes
    ----------
    run
        What the button says: *Align 4 stains*.
    state
        The state of this case or study in one line of plain words.
    words
        The command line behind `stainloom`, without the settings.
    missing
        What has to be done first, one sentence; empty where nothing has.
    caution
        What should be known before Run is pressed, one sentence; empty where there is nothing.
    remedy
        Name of the dock that does what is missing, or mends what is cautioned against.
    """

    run: str
    state: str
    words: tuple[str, ...] = ()
    missing: str = ""
    caution: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class JobSpec:
    """A dock that is a form and a Run.

    Attributes
    ----------
    name, purpose
        Of the dock; the purpose is one sentence.
    settings
        The dataclass of its form.
    plan
        What Run would do, from the state of the study and the case, to all cases or to the one that is shown.
    basic
        Fields that are always shown.
    hidden
        Fields that are not shown.
    done
        What a result comes to, one sentence.
    fine
        Whether all that a result gave is good.
    by_case
        Whether the user may choose between this case and all cases; otherwise it is all.
    all_first
        Whether all cases are chosen until the user says otherwise.
    pauses
        Whether it may rest on the way, by a button.
    offers
        What fields of many may take, from the state of the study: shown as ticks.
    cancelled
        What is so after a cancel.
    panel
        Makes what the dock shows below Run, where a result is judged.
    anew
        What a check box says that makes Run do also what is done already, and what Run would do then.
    following
        Name of the dock that comes next; empty for none.
    pairs
        Whether what is said of a stain is judged in a checkerboard with the reference.
    """

    name: str
    purpose: str
    settings: type
    plan: Callable[[Workspace, bool], Plan]
    done: Callable[[Result], str]
    by_case: bool = False
    all_first: bool = False
    pauses: bool = False
    offers: Callable[[Workspace], Mapping[str, Sequence[str]]] | None = None
    cancelled: str = CANCELLED
    basic: Sequence[str] = ()
    hidden: Sequence[str] = ()
    panel: Callable[[Workspace], Panel] | None = None
    anew: tuple[str, Callable[[Workspace, bool], Plan]] | None = None
    following: Callable[[Workspace], str] = lambda workspace: ""
    pairs: bool = False
    fine: Callable[[Result], bool] = lambda result: True


class Panel(QWidget):
    """What a job dock shows of its own, below Run: where a result can be judged.

    Parameters
    ----------
    workspace
        What is open.

    Attributes
    ----------
    form, plan, ready
        Of the dock: its settings, what Run would do, and whether Run may be pressed; set before `look`.
    caution, remedy
        What should be known before Run is pressed, one sentence, and the dock that mends it; empty where there is nothing.
    """

    run_wanted = Signal(str, list)
    """A job that the dock is to run as its own: its title, and the command line behind `stainloom`."""
    said = Signal(str, str)
    """Something that the dock is to say: `done`, `check` or `failed`, and the sentence."""
    alone_wanted = Signal(bool)
    """The panel wants the dock for itself, without form and Run, or no longer."""
    cautioned = Signal()
    """`caution` is another."""
    asked = Signal(list)
    """Jobs to run one after another: pairs of title and words, the settings among these."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self.workspace = workspace
        self.form: SettingsForm | None = None
        self.plan = Plan("", "")
        self.ready = False
        self.caution = self.remedy = ""

    def beware(self, caution: str, remedy: str = "") -> None:
        """Say something before Run is pressed; empty takes it back."""
        if (caution, remedy) != (self.caution, self.remedy):
            self.caution, self.remedy = caution, remedy
            self.cautioned.emit()

    def cancelled(self, usual: str) -> str:
        """What is so after a cancel."""
        return usual

    def shows(self, warning: str) -> bool:
        """Whether the panel itself shows what a warning of a result says, so that it need not be said twice."""
        return False

    def look(self) -> None:
        """Show what is so now: another study, another case, another result."""

    def follow(self, job: Job) -> None:
        """A job of this dock begins, or waits as the next one."""

    def take(self, result: Result) -> None:
        """It ended."""


class Dock(QScrollArea):
    """Purpose, state, whatever the dock is for, and messages, from top to bottom; narrow windows scroll it.

    Parameters
    ----------
    workspace
        What is open.
    name, purpose
        Of the dock.
    """

    def __init__(self, workspace: Workspace, name: str, purpose: str) -> None:
        super().__init__()
        self.workspace = workspace
        self.setObjectName(f"stainloom-{name.lower()}")
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        inner = QWidget()
        self.setWidget(inner)
        self.rows = QVBoxLayout(inner)
        self.rows.setContentsMargins(10, 8, 10, 8)
        self.rows.setSpacing(8)
        first = QHBoxLayout()
        first.addWidget(words(purpose), 1)
        first.addWidget(self._help_button(), 0, Qt.AlignmentFlag.AlignTop)
        self.rows.addLayout(first)
        self.state = words("")
        self.state.setStyleSheet("font-weight: bold")
        self.rows.addWidget(self.state)
        self.messages = Messages(self._place_in)
        self._pairs = False
        self._frame: QDockWidget | None = None
        workspace.state_changed.connect(self.look)
        workspace.case_changed.connect(self.look)

    def _help_button(self) -> QToolButton:
        button = QToolButton()
        button.setText("?")
        button.setToolTip("All keys of the window")
        button.setAccessibleName("All keys of the window")
        button.clicked.connect(lambda: self.workspace.help_wanted.emit())
        return button

    def _place_in(self, text: str) -> Act | None:
        """The way to the case, and the stain, that a message begins with: *S02, VG: ...*."""
        state, found = self.workspace.state, _PLACE.match(text)
        if state is None or found is None or found["case"] not in {case.name for case in state.cases}:
            return None
        case, stain = found["case"], found["stain"] or ""
        stain = stain if stain in state.stains else ""
        said = f"Show {stain} of {case}" if stain else f"Show {case}"
        return said, lambda: self.workspace.show_place(case, stain, pair=self._pairs)

    def look(self) -> None:
        """Show what is so now. Docks that show more say more."""

    def showEvent(self, event: QShowEvent) -> None:
        """Learn from the frame when another dock's tab covers this one."""
        super().showEvent(event)
        frame = frame_of(self)
        if frame is not None and frame is not self._frame:
            self._frame = frame
            frame.visibilityChanged.connect(self._be_seen)

    def _be_seen(self, seen: bool) -> None:
        # For Qt a dock behind another tab is as visible as any: what is in it would go on looking for things to show.
        self.widget().setVisible(seen)


def frame_of(dock: Dock) -> QDockWidget | None:
    """What holds a dock in its window; None where it is in none."""
    widget = dock.parentWidget()
    while widget is not None and not isinstance(widget, QDockWidget):
        widget = widget.parentWidget()
    return widget


class JobDock(Dock):
    """A dock that is a form and a Run.

    Parameters
    ----------
    workspace
        What is open.
    spec
        What it does.
    """

    def __init__(self, workspace: Workspace, spec: JobSpec) -> None:
        super().__init__(workspace, spec.name, spec.purpose)
        self.spec, self._pairs = spec, spec.pairs
        self.form = SettingsForm(spec.settings, spec.basic, spec.hidden)
        self.form.changed.connect(self.look)
        self.scope = QComboBox()
        self.scope.addItems(["This case", "All cases of the study"])
        self.scope.setAccessibleName("Which cases")
        self.scope.setVisible(spec.by_case)
        self.scope.setCurrentIndex(int(spec.all_first))
        self.scope.currentIndexChanged.connect(self.look)
        self.first, self.mend = QPushButton(), QPushButton()
        for button in (self.first, self.mend):
            button.clicked.connect(lambda: workspace.dock_wanted.emit(self._remedy))
        self._remedy = ""
        # Below Run: what comes and goes above it would move it from under the mouse.
        self.caution = words("")
        self.caution.setStyleSheet(f"color: {COLOURS['check']}")
        self.anew = QCheckBox("" if spec.anew is None else spec.anew[0])
        self.anew.setVisible(spec.anew is not None)
        self.anew.toggled.connect(self.look)
        self.reset = QToolButton()
        self.reset.setText("Reset settings")
        self.reset.setAutoRaise(True)
        self.reset.clicked.connect(self.form.reset)
        self.controls = JobControls(spec.pauses)
        self.controls.run.clicked.connect(self.start)
        self.controls.cancel.clicked.connect(self.cancel)
        self._asked: list[Job] = []
        self.panel = Panel(workspace) if spec.panel is None else spec.panel(workspace)
        self.panel.form = self.form
        self.panel.asked.connect(self.ask)
        self.panel.cautioned.connect(self._take_caution)
        self.panel.run_wanted.connect(self.run)
        self.panel.said.connect(self._say)
        self.panel.alone_wanted.connect(self._leave_alone)
        for part in (
            self.first, self.scope, self.anew, self.form, self.reset, self.controls, self.caution, self.mend, self.messages,
            self.panel,
        ):  # fmt: skip
            self.rows.addWidget(part)
        self.rows.addStretch()
        workspace.queue.changed.connect(self.look)
        self._plan = Plan("", "")
        self.look()

    def look(self) -> None:
        """Show what Run would do now, or what is missing for it."""
        for name, choices in (self.spec.offers(self.workspace) if self.spec.offers else {}).items():
            self.form.offer(name, choices)
        everything = not self.spec.by_case or self.scope.currentIndex() == 1
        make = self.spec.anew[1] if self.spec.anew is not None and self.anew.isChecked() else self.spec.plan
        self._plan = plan = make(self.workspace, everything)
        self.state.setText(plan.missing or plan.state)
        cautions = [] if plan.missing else [f"! {text}" for text in (plan.caution, self.panel.caution) if text]
        self.caution.setText("\n".join(cautions))
        self.caution.setVisible(bool(cautions))
        self._remedy = plan.remedy or self.panel.remedy
        for button, wanted in ((self.first, plan.missing), (self.mend, cautions)):
            button.setVisible(bool(wanted and self._remedy))
            button.setText(f"Go to {self._remedy}")
        self.reset.setEnabled(bool(self.form.problem or self.form.changes()))
        if self.controls.job is None:
            self.controls.run.setText(plan.run)
        busy = self.controls.job is not None
        ready = bool(plan.words) and not (plan.missing or self.form.problem or busy)
        self.controls.run.setEnabled(ready)
        self.panel.plan, self.panel.ready = plan, ready
        self.panel.look()

    def _take_caution(self) -> None:
        if self.panel.caution and self.controls.job is None:
            # What was said of the last job holds no more, and neither does the way on.
            self.messages.clear()
        self.look()

    def start(self) -> None:
        """Run."""
        self.run(self._plan.run, self._plan.words)

    def run(self, title: str, words: Sequence[str]) -> None:
        """Run a job with the form's settings, and show it."""
        if self.form.problem:
            self.messages.say_alone("check", f"Mend the settings first. {self.form.problem}")
            return
        self.ask([(title, [*words, *options(self.form.changes())])])

    def ask(self, jobs: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Run jobs one after another, when those that others asked for have ended."""
        queue = self.workspace.queue
        before = [*([queue.current] if queue.current else []), *queue.waiting]
        self.messages.clear()
        for title, command in jobs:
            self._asked.append(self._run(title, list(command)))
        self._follow(before[-1].title if before else "")
        self.look()

    def _run(self, title: str, command: list[str]) -> Job:
        job = self.workspace.run(title, command, lambda result: self._end(job, result))
        return job

    def _leave_alone(self, alone: bool) -> None:
        self.messages.clear()
        for part in (self.form, self.reset, self.controls):
            part.setVisible(not alone)
        self.scope.setVisible(self.spec.by_case and not alone)
        self.anew.setVisible(self.spec.anew is not None and not alone)

    def _follow(self, waits_for: str = "") -> None:
        job, more = self._asked[0], len(self._asked) - 1
        self.controls.follow(job, waits_for)
        self.controls.run.setText(f"{job.title}; {more} more to follow" if more else job.title)
        self.panel.follow(job)

    def _next_dock(self) -> Act | None:
        following = self.spec.following(self.workspace)
        return (f"Next: {following}", lambda: self.workspace.dock_wanted.emit(following)) if following else None

    def _say(self, kind: str, text: str) -> None:
        self.messages.clear()
        # Where nothing is left to run, what was said of the panel is the last step here.
        self.messages.say(kind, text, act=self._next_dock() if kind == "done" and not self._plan.words else None)

    def cancel(self) -> None:
        """Stop what was asked for, or forget it where it waits."""
        for job in reversed(self._asked):
            self.workspace.queue.drop(job)

    def _end(self, job: Job, result: Result) -> None:
        first = job is self._asked[0]
        self._asked.remove(job)
        if first:
            self.controls.rest()
            cancelled = self.panel.cancelled(self.spec.cancelled)
            fine = self.spec.fine(result)
            told = replace(result, warnings=tuple(each for each in result.warnings if not self.panel.shows(each)))
            self.messages.say_result(told, self.spec.done(result), cancelled, self._next_dock(), fine=fine)
            self.panel.take(result)
            if self._asked:
                self._follow()
        self.look()
