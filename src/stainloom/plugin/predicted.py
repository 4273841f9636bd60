"""What runs there are and what the chosen one predicted for the case that is shown: looked at beside the window's thread."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal
from superqt.utils import create_worker

from stainloom import jobs
from stainloom.case.run import RunFacts
from stainloom.case.view import MapsView
from stainloom.errors import StainloomError

if TYPE_CHECKING:
    from stainloom.plugin.workspace import Workspace

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Found:
    """What was found."""

    study: Path
    case: str
    runs: tuple[RunFacts, ...] = ()
    with_maps: tuple[str, ...] = ()
    run: str = ""
    report: Path | None = None
    maps: MapsView | None = None
    error: StainloomError | None = None


class Predicted(QObject):
    """The runs of the study that is open, and the maps of the chosen one over the case that is shown.

    Parameters
    ----------
    workspace
        What is open.
    """

    changed = Signal()
    """Other runs, other maps, or another reason why there are none."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._workspace = workspace
        self._found = _Found(Path(), "")
        self._before = ""
        self._looking = self._again = False
        workspace.state_changed.connect(self.look)
        workspace.case_changed.connect(self._other_case)
        workspace.run_chosen.connect(self.look)

    @property
    def runs(self) -> tuple[RunFacts, ...]:
        """Runs that learned, and those that cannot be used with the reason; oldest first."""
        return tuple(run for run in self._found.runs if run.learned or run.problem)

    @property
    def looked(self) -> bool:
        """Whether all runs that the study has now were looked at."""
        state = self._workspace.state
        return state is not None and {run.id for run in self._found.runs} >= set(state.runs)

    @property
    def with_maps(self) -> tuple[str, ...]:
        """Ids of runs that predicted something for the case that is shown; the run itself may be gone."""
        return self._found.with_maps

    @property
    def run(self) -> str:
        """Id of the run that is meant; empty where there is none.

        The chosen one, else the one whose map was shown first, so that none goes when another network has learned; else the
        best.
        """
        return self._found.run

    @property
    def newer(self) -> str:
        """Id of the best run where it is newer than the one that is meant, and predicted nothing here yet; else empty."""
        ids, best = [run.id for run in self._found.runs], jobs.best_run(self._found.runs)
        if best is None or best.id in self.with_maps or self.run not in ids:
            return ""
        return best.id if ids.index(best.id) > ids.index(self.run) else ""

    @property
    def beside(self) -> str:
        """Id of another run with maps of this case, to compare with: the one that was meant before, else the latest."""
        others = [run for run in self.with_maps if run != self.run]
        return "" if not others else self._before if self._before in others else others[-1]

    @property
    def report(self) -> Path | None:
        """The report of the run that is meant, where it was written."""
        return self._found.report

    @property
    def facts(self) -> RunFacts | None:
        """What that run is; None where it is gone."""
        return next((run for run in self._found.runs if run.id == self.run), None)

    @property
    def maps(self) -> MapsView | None:
        """Its maps over the case that is shown."""
        return self._found.maps

    @property
    def error(self) -> StainloomError | None:
        """Why runs or maps cannot be read."""
        return self._found.error

    def look(self, *_: Any) -> None:
        """Look anew; `changed` when it is done."""
        state, session = self._workspace.state, self._workspace.session
        if state is None:
            return
        if self._looking:
            self._again = True
            return
        self._looking = True
        case = "" if session is None else session.view.case.name
        worker = create_worker(_look, state.path, case, self._workspace.chosen_run, _start_thread=False)
        worker.returned.connect(self._take)
        worker.finished.connect(self._looked)
        worker.start()

    def _other_case(self) -> None:
        # What is shown of the last case must not be taken for this one's meanwhile.
        self._found = replace(self._found, case="", with_maps=(), maps=None, error=None)
        self.changed.emit()
        self.look()

    def _take(self, found: _Found) -> None:
        state, session = self._workspace.state, self._workspace.session
        if state is None or state.path != found.study:
            return
        if session is not None and session.view.case.name != found.case:
            return
        before = self._found.maps
        if before is not None and found.maps is not None and before.same_as(found.maps):
            found = replace(found, maps=before)
        if found.run != self._found.run and self._found.study == found.study:
            self._before = self._found.run
        self._found = found
        if found.maps is not None and not self._workspace.chosen_run:
            self._workspace.chosen_run = found.run
        if session is not None and session.maps is not found.maps:
            session.take_maps(found.maps)
        self.changed.emit()

    def _looked(self) -> None:
        self._looking = False
        if self._again:
            self._again = False
            QTimer.singleShot(0, self.look)


def _look(study: Path, case: str, chosen: str) -> _Found:
    found = _Found(study, case, run=chosen)
    try:
        found = replace(found, runs=jobs.known_runs(study), with_maps=jobs.maps_of(study, case) if case else ())
        if chosen not in {*(run.id for run in found.runs), *found.with_maps}:
            best = jobs.best_run(found.runs)
            found = replace(found, run=best.id if best is not None else (*found.with_maps, "")[-1])
        maps = jobs.open_maps_view(study, case, found.run) if found.run in found.with_maps else None
        return replace(found, maps=maps, report=jobs.report_of(study, found.run) if found.run else None)
    except StainloomError as error:
        return replace(found, error=error)
    except Exception as error:
        # What a worker raises ends in Qt's event loop.
        _log.exception("the maps of case %s could not be looked at", case)
        return replace(found, error=StainloomError("the maps cannot be read", found=str(error), next="predict again"))
