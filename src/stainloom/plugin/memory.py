"""What the window remembers of a study: the case, the stain, how and where it was looked at; it comes back at the next start."""

from __future__ import annotations

import logging
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from qtpy.QtCore import QObject, QTimer
from superqt.utils import create_worker

from stainloom.errors import StainloomError
from stainloom.io.windowfile import NewerWindowFile, remember, remembered
from stainloom.plugin.field import Field, upright
from stainloom.plugin.looking import CHECKERBOARD, GRID, SINGLE, Look
from stainloom.plugin.overlay import MapKind, Overlay, overlays_of

if TYPE_CHECKING:
    from stainloom.plugin.workspace import Workspace

_log = logging.getLogger(__name__)

_SETTLED_MS = 1000


class Memory(QObject):
    """Keeps how the case of a workspace is looked at, a second after it last changed and when the window closes.

    Parameters
    ----------
    workspace
        What is open.
    """

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self.workspace = workspace
        self.refused = False
        """Whether nothing is kept, because a newer version of the program keeps its own."""
        self._kept: tuple[Path, dict[str, Any]] | None = None
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(_SETTLED_MS)
        self._settled.timeout.connect(self._keep_behind)
        camera = workspace.viewer.scene.camera
        for event in (camera.events.center, camera.events.zoom):
            event.connect(self._changed)
        self._map: Overlay | None = None
        self._session: Any = None
        self._laid = self._declined = self._offered = False
        workspace.case_changed.connect(self._take_case)
        workspace.predicted.changed.connect(self._lay_map)
        workspace.predicted.changed.connect(self._changed)

    def case_of(self, study: Path) -> str:
        """The case of a study that was looked at last; empty where nobody knows."""
        return str(self._state_of(study).get("case", ""))

    def run_of(self, study: Path) -> str:
        """The run whose maps of a study were looked at last; empty where nobody knows."""
        return str(self._state_of(study).get("run", ""))

    def recall(self) -> None:
        """Look again where the case that was just opened with its study was looked at last."""
        workspace = self.workspace
        if workspace.session is None or workspace.state is None:
            return
        state = self._state_of(workspace.state.path)
        if state.get("case") != workspace.session.view.case.name:
            return
        look = look_from(state.get("look"))
        if look is not None:
            workspace.session.looking.recall(look)
        self._map = overlay_from(state.get("map")) or self._map

    def show_map(self, overlay: Overlay) -> None:
        """Lay a map over the case that is shown, as soon as it has any; once a case, and not after the user took one off."""
        if self._offered or self._declined:
            return
        self._offered = True
        self._map = self._map or overlay
        self._laid = False
        self._lay_map()

    def _lay_map(self) -> None:
        """Another case, or the same opened anew: the map that lay over the last one is laid over it, when it is read."""
        session = self._session
        if session is None or session.maps is None or self._laid:
            return
        self._laid = True
        if self._map is not None and self._map in overlays_of(session.maps) and session.overlay.shown is None:
            session.show_overlay(self._map)

    def _take_map(self, *_: Any) -> None:
        session = self.workspace.session
        alone = session is not None and session.looking.mode == SINGLE and not session.looking.on_glass
        if session is not self._session or not self._laid or not alone or session.overlay.shown == self._map:
            return
        self._map = session.overlay.shown
        self._declined = self._map is None
        self._changed()

    def keep(self) -> None:
        """Keep what is so now, at once."""
        self._settled.stop()
        now = self._now()
        if now is None or now == self._kept or self.refused:
            return
        self._kept = now
        self._take_error(*_keep(*now))

    def _state_of(self, study: Path) -> dict[str, Any]:
        try:
            return remembered().get(study.resolve(), {})
        except StainloomError as error:
            self._refuse(error)
            return {}

    def _refuse(self, error: StainloomError) -> None:
        if not self.refused:
            self.refused = True
            self.workspace.refused.emit(error)

    def _take_case(self) -> None:
        if self._session is not None:
            self._session.looking.changed.disconnect(self._changed)
        session = self._session = self.workspace.session
        self._laid = self._offered = False
        if session is not None:
            session.shown_changed.connect(self._take_map)
            session.looking.changed.connect(self._changed)
            self._changed()

    def _changed(self) -> None:
        if self._session is not None and not self.refused:
            self._settled.start()

    def _now(self) -> tuple[Path, dict[str, Any]] | None:
        session, state = self.workspace.session, self.workspace.state
        if session is None or state is None:
            return None
        seen = {"case": session.view.case.name, "look": asdict(session.looking.look)}
        seen |= {"run": self.workspace.chosen_run} if self.workspace.chosen_run else {}
        return state.path.resolve(), seen | ({"map": asdict(self._map)} if self._map is not None else {})

    def _keep_behind(self) -> None:
        now = self._now()
        if now is None or now == self._kept or self.refused:
            return
        self._kept = now
        worker = create_worker(_keep, *now, _start_thread=False)
        worker.returned.connect(lambda found: self._take_error(*found))
        worker.start()

    def _take_error(self, newer: StainloomError | None, problem: str) -> None:
        if newer is not None:
            self._refuse(newer)
        elif problem:
            _log.warning("how the case is looked at was not kept: %s", problem)


def last_study() -> Path | None:
    """The study that was open last on this machine, where it is still there: for *Continue with ...*."""
    try:
        studies = list(remembered())
    except StainloomError:
        return None
    there = [study for study in studies if (study / "study.json").is_file()]
    return there[-1] if there else None


def look_from(found: Any) -> Look | None:
    """What `asdict` of a `Look` gave, read back from a file that anybody may have changed; None where it says nothing."""
    if not isinstance(found, dict) or not isinstance(found.get("stain"), str):
        return None
    mode = found.get("mode") if found.get("mode") in (SINGLE, GRID, CHECKERBOARD) else SINGLE
    overlay = found.get("overlay")
    return Look(
        found["stain"],
        overlay if isinstance(overlay, str) else "",
        mode,
        found.get("scanned") is True,
        _field_from(found.get("field")),
    )


def overlay_from(found: Any) -> Overlay | None:
    """What `asdict` of an `Overlay` gave, read back likewise."""
    if (
        not isinstance(found, dict)
        or found.get("kind") not in get_args(MapKind)
        or not isinstance(found.get("of"), str)
    ):
        return None
    return Overlay(found["kind"], found["of"])


def _field_from(found: Any) -> Field | None:
    if not isinstance(found, dict):
        return None
    centre = found.get("centre_um")
    if not isinstance(centre, (list, tuple)) or len(centre) != 2:
        return None
    numbers = [*centre, found.get("zoom"), found.get("turn_deg", 0.0)]
    if not all(isinstance(number, (int, float)) and math.isfinite(number) and abs(number) < 1e9 for number in numbers):
        return None
    row, col, zoom, turn = (float(number) for number in numbers)
    return Field((row, col), zoom, upright(turn)) if 1e-6 < zoom < 1e4 else None


def _keep(study: Path, state: dict[str, Any]) -> tuple[StainloomError | None, str]:
    try:
        remember(study, state)
    except NewerWindowFile as error:
        return error, ""
    except Exception as error:
        return None, str(error)
    return None, ""
