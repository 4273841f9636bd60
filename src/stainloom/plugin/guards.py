"""What napari would do to paint and slides, and what happens here instead: saving, deleting, new layers, opened files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import QEvent, QObject, QTimer, Signal
from qtpy.QtGui import QKeySequence

from stainloom.plugin._napari import main_window, on_new_labels
from stainloom.plugin.workspace import Workspace


class Guards(QObject):
    """Keeps paint from napari's own habits in the window of a workspace.

    Parameters
    ----------
    workspace
        What is open.
    """

    said = Signal(str)
    """One sentence on what happened instead, for the status line."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self.workspace = workspace
        viewer = workspace.viewer
        main_window(viewer).installEventFilter(self)
        on_new_labels(viewer, lambda: workspace.dock_wanted.emit("Paint"))
        viewer.layers.events.removed.connect(self._bring_back)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Take Ctrl+S before napari's menu does, in this window alone: napari's actions belong to all its windows."""
        if event.type() != QEvent.Type.ShortcutOverride or not event.matches(QKeySequence.StandardKey.Save):
            return False
        event.accept()
        self.say_saved()
        return True

    def say_saved(self) -> None:
        """What Ctrl+S does: nothing is left to save, and that is said; or why not."""
        painter = self.workspace.painter
        if painter is None or painter.read_only:
            self._say("There is nothing to save here.")
            return
        painter.flush()
        text, fine = painter.saving
        self._say(f"Everything is saved as you paint: {text}." if fine else f"{text}. It is tried again by itself.")

    def _bring_back(self, event: Any) -> None:
        session, layer, place = self.workspace.session, event.value, event.index
        if session is None or not any(
            layer is one for one in (session.layers.lesions, *session.layers.stains.values())
        ):
            return
        viewer = self.workspace.viewer

        def put() -> None:
            if self.workspace.session is session and layer not in viewer.layers:
                viewer.layers.insert(min(place, len(viewer.layers)), layer)
                painted = layer is session.layers.lesions
                self._say(
                    "The paint is kept: its eye hides it, the eraser erases"
                    if painted
                    else f"{layer.name} stays: its eye hides it"
                )

        # napari is still about removing it.
        QTimer.singleShot(0, put)

    def _say(self, text: str) -> None:
        self.workspace.viewer.status = text
        self.said.emit(text)


def workspace_in(viewer: Any) -> Workspace | None:
    """The workspace whose docks a viewer's window has, or None."""
    return main_window(viewer).findChild(Workspace)


def open_in_workspace(viewer: Any, study: Path, case: str | None) -> bool:
    """Open a study in the docks of a viewer's window, once its event loop turns; False where it has none."""
    workspace = workspace_in(viewer)
    if workspace is None:
        return False
    QTimer.singleShot(0, lambda: workspace.try_to_open(study, case))
    return True
