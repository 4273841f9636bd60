"""The docks as tabs at the right of one viewer, all or some; closing the window while a job runs asks once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import napari
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QMessageBox

from stainloom.plugin._napari import bare_tab_bars, main_window
from stainloom.plugin.desk import Desk
from stainloom.plugin.dock import Dock, frame_of
from stainloom.plugin.docks import DOCKS
from stainloom.plugin.guards import Guards
from stainloom.plugin.workspace import Workspace

WIDTH_PX = 380
STOP, LEAVE, STAY, CLOSE = "stop", "leave", "stay", "close"


class Docks(QObject):
    """The docks of one workspace in its window.

    Parameters
    ----------
    workspace
        What is open.
    names
        The docks to open now; the others come when they are asked for.
    ask
        Asks what becomes of the running job when the window closes; its title goes in, `stop`, `leave` or `stay` comes out.
    ask_unsaved
        Asks what becomes of paint that the disk refuses when the window closes; why goes in, `stay` or `close` comes out.
    """

    def __init__(
        self,
        workspace: Workspace,
        names: Sequence[str] = tuple(entry.name for entry in DOCKS),
        *,
        ask: Callable[[str], str] | None = None,
        ask_unsaved: Callable[[str], str] | None = None,
    ) -> None:
        super().__init__(workspace)
        self.workspace = workspace
        self.guards = Guards(workspace)
        self._ask = ask or self._ask_user
        self._ask_unsaved = ask_unsaved or self._ask_user_unsaved
        self.docks: dict[str, Dock] = {}
        self.desk = Desk(workspace)
        workspace.dock_wanted.connect(self.show)
        main_window(workspace.viewer).installEventFilter(self)
        for name in names:
            self._open(name)
        if names:
            self.show(names[0])

    def show(self, name: str) -> None:
        """Bring a dock to the front, opened where it is not; a name that no dock has does nothing."""
        if name not in {entry.name for entry in DOCKS}:
            return
        if name not in self.docks:
            self._open(name)
        frame = frame_of(self.docks[name])
        if frame is not None:
            frame.show()
            frame.raise_()

    def make(self, name: str) -> Dock:
        """A dock that somebody else puts into the window; `KeyError` where none has this name."""
        entry = {entry.name: entry for entry in DOCKS}[name]
        dock = entry.make(self.workspace)
        # Tabs do not inherit the width of the first dock.
        dock.setMinimumWidth(WIDTH_PX)
        self.docks[name] = dock
        return dock

    def _open(self, name: str) -> None:
        beside = any(frame_of(dock) is not None for dock in self.docks.values())
        self.workspace.viewer.window.add_dock_widget(self.make(name), name=name, area="right", tabify=beside)
        bare_tab_bars(self.workspace.viewer)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Ask once when the window closes while a job runs."""
        if event.type() != QEvent.Type.Close or watched is not main_window(self.workspace.viewer):
            return False
        running = self.workspace.queue.current
        choice = self._ask(running.title) if running is not None else STOP
        painter = self.workspace.painter
        if choice != STAY and painter is not None and painter.trouble is not None:
            choice = STAY if self._ask_unsaved(str(painter.trouble)) == STAY else choice
        if choice == STAY:
            event.ignore()
            return True
        if choice == LEAVE:
            self.workspace.queue.detach()
        else:
            self.workspace.queue.stop()
        self.desk.leave()
        self.workspace.close()
        return False

    def _ask_user_unsaved(self, why: str) -> str:
        box = QMessageBox(main_window(self.workspace.viewer))
        box.setWindowTitle("Stainloom")
        box.setIcon(QMessageBox.Icon.Warning)
        box.setText("What you painted last is NOT SAVED.")
        box.setInformativeText(f"{why} It is tried again every few seconds while the window is open.")
        stay = box.addButton("Stay here", QMessageBox.ButtonRole.RejectRole)
        close = box.addButton("Close and lose it", QMessageBox.ButtonRole.DestructiveRole)
        box.setDefaultButton(stay)
        box.exec()
        return CLOSE if box.clickedButton() is close else STAY

    def _ask_user(self, title: str) -> str:
        box = QMessageBox(main_window(self.workspace.viewer))
        box.setWindowTitle("Stainloom")
        box.setText(f"{title} is still running.")
        box.setInformativeText("What is finished is kept either way. Left running, it goes on without this window.")
        stop = box.addButton("Stop it and close", QMessageBox.ButtonRole.AcceptRole)
        leave = box.addButton("Leave it running and close", QMessageBox.ButtonRole.DestructiveRole)
        stay = box.addButton("Stay here", QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(stay)
        box.exec()
        return {stop: STOP, leave: LEAVE}.get(box.clickedButton(), STAY)


def docks_in(viewer: napari.Viewer) -> Docks | None:
    """The docks that a viewer's window has, or None."""
    return main_window(viewer).findChild(Docks)


def open_workspace(viewer: napari.Viewer) -> Docks:
    """All docks in a viewer, and no study yet."""
    return Docks(Workspace(viewer))
