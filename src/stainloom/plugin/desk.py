"""What stands around the slide in a window with a workspace: strip, status line, captions, overview, keys."""

from __future__ import annotations

from contextlib import suppress

from qtpy.QtCore import QObject

from stainloom.plugin._napari import (
    around_canvas,
    bare_brush_ring,
    canvas_widget,
    fold_controls,
    hide_status_bar,
    main_window,
    show_status_bar,
    spare_layer_list,
    take_home_button,
)
from stainloom.plugin.captions import Captions
from stainloom.plugin.carrier import Carrier
from stainloom.plugin.glass import Glass
from stainloom.plugin.keys import LEGEND_KEY, KeysEverywhere, listed
from stainloom.plugin.keyspanel import KeysPanel
from stainloom.plugin.overviewmap import Overview
from stainloom.plugin.statusline import StatusLine
from stainloom.plugin.strip import StainStrip
from stainloom.plugin.workspace import Workspace


class Desk(QObject):
    """Strip above the canvas, status line below it, captions on it.

    Parameters
    ----------
    workspace
        What is open.
    """

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self.workspace = workspace
        self._left = self._folded = False
        viewer = workspace.viewer
        self.strip, self.status, self.captions = StainStrip(workspace), StatusLine(workspace), Captions(workspace)
        around_canvas(viewer, self.strip, self.status)
        fold_controls(viewer)
        spare_layer_list(viewer)
        bare_brush_ring(viewer)
        hide_status_bar(viewer)
        take_home_button(viewer, self._show_whole)
        self.keys = KeysEverywhere(main_window(viewer), canvas_widget(viewer))
        self.overview = Overview(workspace)
        self.help: KeysPanel | None = None
        self._fed: tuple[Carrier, Glass] | None = None
        workspace.case_changed.connect(self._take_case)
        workspace.help_wanted.connect(self.show_keys)
        viewer.bind_key(LEGEND_KEY, lambda _: self.fold_legend(), overwrite=True)

    def fold_legend(self) -> None:
        """Fold the legend on the slide, or unfold it; in cases that are opened later too."""
        self._folded = not self._folded
        if self.workspace.session is not None:
            self.workspace.session.fold_legend(self._folded, LEGEND_KEY)

    def _show_whole(self) -> None:
        session = self.workspace.session
        if session is None:
            self.workspace.viewer.reset_view()
        else:
            session.looking.show_whole()

    def show_keys(self) -> None:
        """Show all keys and what they do, beside the window's work and not in its way."""
        session = self.workspace.session
        names = [] if session is None else [stain.name for stain in session.view.stains]
        if self.help is None:
            self.help = KeysPanel(main_window(self.workspace.viewer), canvas_widget(self.workspace.viewer))
        self.help.say(listed(names))
        self.help.show()
        self.help.raise_()

    def _take_case(self) -> None:
        """The strip says what the legend would say of the stains; the canvas listens to keys at once."""
        session, painter = self.workspace.session, self.workspace.painter
        if self._fed is not None:
            # A carrier outlives the session that it carried for, and would keep all of it.
            with suppress(RuntimeError, TypeError):
                self._fed[0].carried.disconnect(self._fed[1].paint_changed)
            self._fed = None
        if session is None:
            return
        session.leave_stains_to_strip()
        session.fold_legend(self._folded, LEGEND_KEY)
        if painter is not None:
            glass = session.looking.glass
            glass.carried = painter.carrier.raster
            painter.carrier.carried.connect(glass.paint_changed)
            self._fed = (painter.carrier, glass)

    def leave(self) -> None:
        """The window closes: keep how it was looked at, and give napari its own back. A second time does nothing."""
        if self._left:
            return
        self._left = True
        self.workspace.memory.keep()
        self.workspace.viewer.bind_key(LEGEND_KEY, None, overwrite=True)
        show_status_bar(self.workspace.viewer)
        self.keys.close()
        self.captions.leave()
        self.overview.leave()
        if self.help is not None:
            self.help.close()
        self.status.close_line()
