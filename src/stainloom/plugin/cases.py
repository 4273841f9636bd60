"""The Cases dock: a study to try, to open or to make; its cases with what is done and what is not; slides taken in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QFileDialog, QSizePolicy, QStackedWidget, QWidget

from stainloom import jobs
from stainloom.errors import CaseError, StainloomError
from stainloom.jobs.intake import Intake
from stainloom.jobs.survey import CaseState
from stainloom.plugin.controls import JobControls
from stainloom.plugin.dock import Dock
from stainloom.plugin.intake import IntakePage, Looking
from stainloom.plugin.intaketable import IntakeTable
from stainloom.plugin.job import Job, Result
from stainloom.plugin.listpage import NEXT_KEY, PREVIOUS_KEY, ListPage
from stainloom.plugin.question import Question
from stainloom.plugin.start import NewStudyPage, StartPage
from stainloom.plugin.trial import Chain, trial_folder, trial_steps
from stainloom.plugin.workspace import Workspace

_PATIENTS, _UNPAINTED = 6, 1
_BUSY = "Something is running: wait for it, or cancel it, and try again."


class CasesDock(Dock):
    """Three large buttons while no study is open; then its cases.

    Parameters
    ----------
    workspace
        What is open.
    name, purpose
        Of the dock.
    """

    def __init__(self, workspace: Workspace, name: str, purpose: str) -> None:
        super().__init__(workspace, name, purpose)
        self.pages = QStackedWidget()
        self.empty, self.new, self.list, self.intake = StartPage(), NewStudyPage(), ListPage(workspace), IntakePage()
        for page in (self.empty, self.new, self.list, self.intake):
            self.pages.addWidget(page)
        self.question = Question()
        self.controls = JobControls()
        self.controls.run.hide()
        self.controls.hide()
        self.controls.cancel.clicked.connect(self._cancel)
        for part in (self.question, self.pages, self.controls, self.messages):
            self.rows.addWidget(part, 1 if part is self.pages else 0)
        self._looking: Looking | None = None
        self._chain: Chain | None = None
        self._pending: tuple[Path, ...] = ()
        self._page: QWidget | None = None
        self._study: Path | None = None
        self._connect()
        self.look()

    def _connect(self) -> None:
        workspace, page = self.workspace, self.list
        workspace.refused.connect(self._say_refusal)
        workspace.queue.changed.connect(self._look_at_queue)
        workspace.slides_opened.connect(self.offer_slides)
        self.empty.go_on.connect(self.open_study)
        self.empty.try_it.connect(self.try_it)
        self.empty.open_it.connect(self.ask_for_study)
        self.empty.make_it.connect(lambda: self._show(self.new))
        self.new.left.connect(lambda: self._show(None))
        self.new.wanted.connect(self.make_study)
        page.list.wanted.connect(self.choose)
        page.step_wanted.connect(self.step)
        page.folder_wanted.connect(self.ask_for_folder)
        page.table_wanted.connect(self.ask_for_table)
        page.slide_wanted.connect(self.ask_for_slide)
        page.removal_wanted.connect(self.ask_to_remove)
        page.search_wanted.connect(self.ask_where_slides_are)
        page.open_wanted.connect(self.ask_for_study)
        page.new_wanted.connect(lambda: self._show(self.new))
        page.closing_wanted.connect(self.close_study)
        self.intake.wanted.connect(self.take_in)
        self.intake.left.connect(lambda: self._show(None))
        # A drop anywhere on the dock, whatever child lies under it.
        for target in (self, self.widget(), self.viewport()):
            target.setAcceptDrops(True)
            target.installEventFilter(self)
        for key, by in ((NEXT_KEY, 1), (PREVIOUS_KEY, -1)):
            workspace.viewer.bind_key(key, lambda _, by=by: self.step(by), overwrite=True)

    # What is shown

    def _show(self, page: QWidget | None) -> None:
        """Show a page until the user leaves it; None for what the study calls for."""
        self._page = page
        if page is self.new:
            self.new.look()
        self.look()

    def look(self) -> None:
        """Show the cases as they are now."""
        state = self.workspace.state
        study = None if state is None else state.path
        if study != self._study:
            # A table of slides was meant for the study that was open.
            self._study, self._page = study, None
        page = self._page or (self.empty if state is None else self.list)
        self._turn_to(page)
        if page is self.empty:
            self.empty.look()
        if state is None:
            self.state.setText("A new study." if page is self.new else "No study is open.")
            return
        self.list.look()
        done = sum(case.aligned and case.painted for case in state.cases)
        simulated = " SIMULATED." if state.simulated else ""
        count = f"{len(state.cases)} case{'' if len(state.cases) == 1 else 's'}"
        unseen = sum(not case.looked for case in state.cases)
        said = f"looking at {unseen} of them" if unseen else f"{done} aligned and painted"
        self.state.setText(f"{state.path.name}: {count}, {said}.{simulated}")

    def _turn_to(self, page: QWidget) -> None:
        """Show a page; those behind it ask for no room."""
        for number in range(self.pages.count()):
            other = self.pages.widget(number)
            kind = QSizePolicy.Policy.Preferred if other is page else QSizePolicy.Policy.Ignored
            other.setSizePolicy(kind, kind)
        self.pages.setCurrentWidget(page)
        self.pages.updateGeometry()

    def _look_at_queue(self) -> None:
        busy = self._is_busy()
        for button in (self.empty.last, *self.empty.buttons.values()):
            button.setEnabled(not busy)

    def _is_busy(self) -> bool:
        return self._looking is not None or self.workspace.queue.current is not None

    # Opening

    def ask_for_study(self) -> None:
        """Let the user choose a folder, and open it."""
        chosen = QFileDialog.getExistingDirectory(self, "Open a study: the folder that holds study.json")
        if chosen:
            self.open_study(Path(chosen))

    def open_study(self, study: Path, case: str | None = None) -> None:
        """Open a study, or say why not; what was open stays then."""
        self._try(lambda: self.workspace.open_study(study, case, wait=False))
        self._show(None)

    def close_study(self) -> None:
        """Close the study: back to the three buttons."""
        self._try(self.workspace.close_study)
        self._show(None)

    def step(self, by: int) -> None:
        """Show the next case or the one before."""
        self._try(lambda: self.workspace.step(by))

    def choose(self, case: CaseState) -> None:
        """Show a case, or say why it cannot be read."""
        if case.problem:
            self.messages.say_alone("failed", case.problem)
        else:
            self._try(lambda: self.workspace.ask_for_case(case.name))

    def _try(self, act: Callable[[], object]) -> None:
        self.messages.clear()
        self.question.drop()
        try:
            act()
        except StainloomError as error:
            self.messages.say_error(error)
        except OSError as error:
            self.messages.say_error(
                CaseError("the disk refused it", found=str(error), next="check that it is connected")
            )

    def _say_refusal(self, error: StainloomError) -> None:
        # A study that is gone is looked for again and again: said once.
        self.messages.say_alone("failed", str(error))

    # Jobs

    def run(self, title: str, words: Sequence[str], ended: Callable[[Result], None]) -> None:
        """Run a job of this dock, its bar and Cancel shown here."""
        self.messages.clear()

        def end(result: Result) -> None:
            self.controls.hide()
            ended(result)

        waits_for = self.workspace.queue.current
        job = self.workspace.run(title, list(words), end)
        self._follow(job, title, waits_for.title if waits_for is not None else "")

    def _follow(self, job: Job | Looking, title: str, waits_for: str = "") -> None:
        self.controls.show()
        self.controls.follow(job, waits_for)  # type: ignore[arg-type]
        self.controls.bar.setToolTip(title)

    def _cancel(self) -> None:
        running = self.controls.job
        if isinstance(running, Looking):
            running.cancel()
        elif running is not None:
            self.workspace.queue.drop(running)

    # The simulated study

    def try_it(self) -> None:
        """Simulate a study in the user's documents, open it, and align its first case; an earlier one is opened at once."""
        study = trial_folder()
        if (study / "study.json").is_file():
            self.open_study(study)
            return
        self.messages.clear()
        steps = trial_steps(study, patients=_PATIENTS, unpainted=_UNPAINTED)
        self._chain = Chain(steps, self.workspace.run, self)
        self._chain.started.connect(self._trial_step)
        self._chain.done.connect(lambda place: self.open_study(study) if place == 0 else None)
        self._chain.ended.connect(lambda result: self._trial_ended(result, study))
        self._chain.start()

    def _trial_step(self, job: Job, place: int) -> None:
        assert self._chain is not None
        self._follow(job, job.title)
        left = " Look around meanwhile; S06 is left for you to paint." if place else ""
        self.state.setText(f"Step {place + 1} of {len(self._chain.steps)}: {job.title}.{left}")

    def _trial_ended(self, result: Result, study: Path) -> None:
        self._chain = None
        self.controls.hide()
        self.look()
        if result.ending == "done":
            self.messages.say_alone(
                "done",
                "S01 is aligned: F1 to F5 show its stains. S06 is left for you to paint, and the dock Align does the rest.",
            )
        else:
            self.messages.clear()
            self.messages.say_result(result, "")
            if (study / "study.json").is_file():
                self.messages.say("check", "The study is there; the dock Align lays its stains on HE.")

    # A new study

    def make_study(self, folder: Path, protocol: str) -> None:
        """Make an empty study and open it; slides that were dropped before are looked at then."""
        self.run(
            "Make the study", ["study", "new", str(folder), "--protocol", protocol], lambda r: self._made(r, folder)
        )

    def _made(self, result: Result, folder: Path) -> None:
        if result.ending != "done":
            self.messages.say_result(result, "")
            return
        self.open_study(folder)
        pending, self._pending = self._pending, ()
        if pending:
            self.look_at_slides(pending)

    # Slides taken in

    def ask_for_folder(self) -> None:
        """Let the user choose a folder of slides, and look at it."""
        chosen = QFileDialog.getExistingDirectory(self, "A folder of slides, or of folders, one a block")
        if chosen:
            self.look_at_slides([Path(chosen)])

    def ask_for_table(self) -> None:
        """Let the user choose a table of slides, and look at it."""
        chosen, _ = QFileDialog.getOpenFileName(self, "A table of slides", "", "Tables (*.csv *.tsv *.txt)")
        if chosen:
            self.look_at_slides([Path(chosen)])

    def look_at_slides(self, sources: Sequence[Path]) -> None:
        """Recognise slides behind the window and show them as a table; without a study, make one first. A study is opened."""
        self.messages.clear()
        if len(sources) == 1 and (sources[0] / "study.json").is_file():
            self.open_study(sources[0])
            return
        if self.workspace.state is None:
            self._pending = tuple(sources)
            self._show(self.new)
            self.messages.say("check", "Slides belong to a study: make one here; then they are looked at.")
            return
        if self._looking is not None:
            self.messages.say("check", "Other slides are just being looked at: wait for them, or cancel.")
            return
        self._looking = Looking(self.workspace.state.path, sources, self)
        self._looking.ended.connect(self._looked)
        self._follow(self._looking, "Look at the slides")
        self._looking.start()

    def _looked(self, intake: Intake | None, error: StainloomError | None) -> None:
        self.controls.rest()
        self.controls.hide()
        self._looking = None
        if error is not None:
            self.messages.say_error(error)
        elif intake is not None:
            self.intake.show_intake(intake)
            self._show(self.intake)
        else:
            self.messages.say("check", "Cancelled. Nothing was taken in.")

    def offer_slides(self, files: Sequence[Path]) -> None:
        """Slides were opened like any picture: offer to take in the folder that they lie in."""
        home = files[0].parent
        self.workspace.dock_wanted.emit("Cases")
        self.question.ask(
            f"{files[0].name} was opened by itself, to look at only. Take in the slides of its folder {home.name}, so that "
            "they can be aligned and painted?",
            "Look at the folder",
            "Only look at it",
            lambda: self.look_at_slides([home]),
        )

    def take_in(self, table: IntakeTable, allow_missing: bool) -> None:
        """Take the corrected table into the study."""
        state = self.workspace.state
        if state is None:
            return
        file = self._written(table)
        if file is None:
            return
        words = ["case", "add", str(state.path), str(file), *(["--allow-missing"] if allow_missing else [])]
        self.intake.take.setEnabled(False)

        def end(result: Result) -> None:
            jobs.drop_table(file)
            self.intake.look()
            self.messages.say_result(result, result.text)
            if result.ending == "done":
                self._show(None)
                self._open_new(result.changed[0])

        self.run(self.intake.take.text(), words, end)

    def _written(self, table: IntakeTable) -> Path | None:
        try:
            return jobs.write_table(table.guesses)
        except (StainloomError, OSError, UnicodeError) as error:
            self.messages.say_alone("failed", f"The table could not be handed on: {error}")
            return None

    def _open_new(self, case: str) -> None:
        try:
            self.workspace.ask_for_case(case)
        except StainloomError as error:
            self.messages.say_error(error)

    # Cases taken out, slides replaced and found

    def ask_to_remove(self) -> None:
        """Ask whether the selected case is to go; never silently."""
        case, state = self.list.list.selected(), self.workspace.state
        if case is None or state is None:
            self._refuse("Choose the case in the list first.")
            return
        if self._is_busy():
            self._refuse(_BUSY)
            return
        painted = " What was painted on it is kept there." if case.painted else ""
        self.question.ask(
            f"Remove {case.name} from the study? Its folder moves to {state.path.name}/removed.{painted} Its slides stay "
            "where they are; patch sets and runs made with it stay as they are.",
            f"Remove {case.name}",
            "Keep it",
            lambda: self._change(
                f"Remove {case.name}", ["case", "remove", str(state.path), case.name], case.name, gone=True
            ),
        )

    def ask_for_slide(self, stain: str) -> None:
        """Let the user choose another scan of a stain of the selected case, and ask before anything changes."""
        chosen, _ = QFileDialog.getOpenFileName(self, f"The new {stain} slide")
        if chosen:
            self.offer_slide(stain, Path(chosen))

    def offer_slide(self, stain: str, file: Path) -> None:
        """Ask whether a file is to take the place of a slide of the selected case."""
        case, state = self.list.list.selected(), self.workspace.state
        if case is None or state is None:
            self._refuse("Choose the case in the list first.")
            return
        if self._is_busy():
            self._refuse(_BUSY)
            return
        words = ["case", "replace", str(state.path), case.name, stain, str(file)]
        self.question.ask(
            f"Take {file.name} as the {stain} slide of {case.name}? {stain} has to be aligned and normalized anew; the old "
            "file stays where it is.",
            "Take it",
            "Keep what is there",
            lambda: self._change(f"Replace {stain} of {case.name}", words, case.name),
        )

    def _change(self, title: str, words: list[str], case: str, *, gone: bool = False) -> None:
        """Run a job that wants the case for itself: this window lets go of it, and shows it again after it."""
        shown = case in self.workspace.shown_or_asked
        if shown:
            self.workspace.close_case()

        def end(result: Result) -> None:
            self.messages.say_result(result, result.text)
            if shown and (not gone or result.ending != "done"):
                self._open_new(case)

        self.run(title, words, end)

    def ask_where_slides_are(self) -> None:
        """Let the user choose the folder that moved slides lie below, and find them."""
        chosen = QFileDialog.getExistingDirectory(self, "The folder that the slides lie in now, or one above it")
        if chosen:
            self.find_slides(Path(chosen))

    def find_slides(self, folder: Path) -> None:
        """Find moved slides below a folder."""
        state = self.workspace.state
        if state is None:
            return
        words = ["study", "relocate", str(state.path), "--in", str(folder)]
        shown = self.workspace.case

        def end(result: Result) -> None:
            self.messages.say_result(result, f"{result.text}.")
            if shown is not None and any(path.startswith(f"{shown.name}/") for path in result.changed):
                self._open_new(shown.name)

        self.run("Find moved slides", words, end)

    def _refuse(self, text: str) -> None:
        self.messages.say_alone("check", text)

    # Drops

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Take folders, tables and slides that are dropped anywhere on the dock."""
        kind = event.type()
        if kind in (QEvent.Type.DragEnter, QEvent.Type.DragMove):
            if event.mimeData().hasUrls():
                event.acceptProposedAction()
                return True
        elif kind == QEvent.Type.Drop:
            paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
            if paths:
                event.acceptProposedAction()
                self.look_at_slides(paths)
                return True
        return super().eventFilter(watched, event)
