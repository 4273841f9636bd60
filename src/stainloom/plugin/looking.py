"""How the case in a viewer is looked at: which stain, aligned or as scanned, alone or side by side, from where, how turned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from psygnal import Signal
from qtpy.QtCore import QTimer

from stainloom.case.view import CaseView, StainView
from stainloom.geometry import size_um
from stainloom.plugin import layers as case_layers
from stainloom.plugin._napari import mouse_px, one_redraw, turn_view
from stainloom.plugin.field import Field, Place, around, clear_of_corner, zoom_of
from stainloom.plugin.flicker import Flicker
from stainloom.plugin.glass import Glass, middle, on_glass, on_reference
from stainloom.plugin.layers import CaseLayers
from stainloom.plugin.overlay import caution
from stainloom.plugin.pyramid import Renderer
from stainloom.plugin.sidebyside import SideBySide

Mode = Literal["single", "grid", "checkerboard"]

SINGLE, GRID, CHECKERBOARD = "single", "grid", "checkerboard"
_OVERLAY_OPACITY = 0.5
_MARGIN = 0.03


@dataclass(frozen=True)
class Look:
    """How a case is looked at, to come back to: what `Looking.look` gives and `Looking.recall` takes.

    Attributes
    ----------
    stain, overlay
        Names; no overlay is empty.
    mode
        One stain, all side by side, or all cell by cell.
    scanned
        Whether the stain is shown as it lies on its own glass.
    field
        Where, how near, how turned: on the reference, or on that glass.
    """

    stain: str
    overlay: str = ""
    mode: Mode = SINGLE
    scanned: bool = False
    field: Field | None = None


class Looking:
    """One case in one viewer, looked at.

    Parameters
    ----------
    viewer
        A viewer with a window.
    view, layers, renderer
        Of the session.
    finish
        Puts the layers into the viewer that are still to come.
    corner_px
        Height and width of the lower left corner of the canvas that the legend covers.

    Attributes
    ----------
    whole
        The field that `show_whole` showed last; None before.
    """

    changed = Signal()
    """Another stain, mode, frame, overlay or turn."""

    def __init__(
        self,
        viewer: Any,
        view: CaseView,
        layers: CaseLayers,
        renderer: Renderer,
        finish: Callable[[], None] = lambda: None,
        corner_px: Callable[[], Place] = lambda: (0.0, 0.0),
    ) -> None:
        self.viewer, self.view, self.layers = viewer, view, layers
        self._finish, self._corner_px = finish, corner_px
        self.reference = view.reference.name
        self.stain, self.overlay = self.reference, ""
        self.mode: Mode = SINGLE
        self.scanned = False
        self.wants_scanned = False
        self.turn_deg = 0.0
        self.whole: Field | None = None
        self.glass = Glass(viewer, view, layers, renderer)
        self.flicker = Flicker(viewer, layers)
        self._cells = SideBySide(viewer, layers, view.label_um_per_px)
        self._before: Look | None = None
        self._aside: list[Any] = []
        self._active: Any = None
        self._dimmed: tuple[Any, float] | None = None
        self._gone_to: tuple[Place, Place] | None = None
        self._turns: dict[str, float] = {}
        self._busy = False
        self._followed: list[Any] = []
        self._follow()
        self.glass.carrying_changed.connect(self._carried)
        self.viewer.canvas.grid.events.enabled.connect(self._grid_switched)
        self.viewer.layers.selection.events.active.connect(self._selected)
        self.viewer.layers.events.inserted.connect(self._follow)

    # What is looked at

    @property
    def field(self) -> Field:
        """Where the canvas looks; side by side, each cell."""
        camera = self.viewer.scene.camera
        return Field((float(camera.center[-2]), float(camera.center[-1])), float(camera.zoom), self.turn_deg)

    @property
    def look(self) -> Look:
        """All of it, to come back to."""
        if self._before is not None:
            return Look(self._before.stain, "", GRID, self._before.scanned, self._before.field)
        # A stain that is not aligned lies on its own glass whether that was wished or not.
        return Look(self.stain, self.overlay, self.mode, self.wants_scanned, self.field)

    @property
    def on_glass(self) -> bool:
        """Whether what is shown lies on its own glass and not on the reference: then nobody paints."""
        return bool(self.glass.stain)

    def stain_view(self, name: str) -> StainView:
        """A stain of the case by name."""
        return next(stain for stain in self.view.stains if stain.name == name)

    @property
    def size_um(self) -> tuple[float, float]:
        """Height and width of the slide that is looked at."""
        shown = self.stain_view(self.stain).aligned if self.on_glass else None
        pyramid = (shown or self.view.reference).pyramid
        return size_um(pyramid.levels[0], pyramid.um_per_px[0])

    # Which stain, and how

    def show(self, name: str) -> bool:
        """Show one stain alone: aligned or as scanned, as the last one was; one that is not aligned, as scanned."""
        stain = self.stain_view(name)
        if name not in self.layers.stains:
            self.say(caution(stain))
            return False
        with self._changing():
            self._leave_grid()
            self._drop_overlay()
            if name != self.stain:
                self.flicker.other = self.stain
            self._show(stain, scanned=self.wants_scanned or not stain.usable)
        if not stain.trusted:
            self.say(caution(stain))
        return True

    def lay_over(self, name: str) -> None:
        """Show another stain half transparent over the one that is shown; the same again takes it off."""
        stain = self.stain_view(name)
        if self.overlay == name:
            with self._changing():
                self._drop_overlay()
                self._show(self.stain_view(self.stain), scanned=False)
            return
        if name not in self.layers.stains or not stain.usable:
            self.say(f"{name} cannot be laid over: {caution(stain)}")
        elif name == self.stain:
            self.say(f"{name} is the stain that is shown: lay another one over it")
        elif self.on_glass or not self.stain_view(self.stain).usable:
            self.say(f"{self.stain} is shown as scanned, where no other stain lies on it: H shows it aligned")
        else:
            with self._changing():
                self._leave_grid()
                self._drop_overlay()
                self._show(self.stain_view(self.stain), scanned=False)
                self._lay_over(name)

    def _lay_over(self, name: str) -> None:
        below, above = self.layers.stains[self.stain], self.layers.stains[name]
        above.visible = True
        # Half of either is the same picture whichever lies above, so nobody's place in the list changes.
        upper = max(below, above, key=self.viewer.layers.index)
        self._dimmed = (upper, upper.opacity)
        upper.opacity = _OVERLAY_OPACITY
        self.overlay = name

    def _drop_overlay(self) -> None:
        self.overlay = ""
        if self._dimmed is not None:
            layer, opacity = self._dimmed
            layer.opacity = opacity
            self._dimmed = None

    def set_mode(self, mode: Mode) -> None:
        """One stain, all side by side, or all cell by cell."""
        if mode == SINGLE:
            self.show(self.stain)
        elif mode != self.mode:
            (self.show_grid if mode == GRID else self.show_checkerboard)()

    def toggle(self, mode: Mode) -> None:
        """A mode, or out of it again."""
        self.leave() if self.mode == mode else self.set_mode(mode)

    def show_checkerboard(self) -> None:
        """Show all aligned stains cell by cell."""
        if self.layers.checkerboard is None:
            self.say("A checkerboard needs two aligned stains; this case has one")
            return
        with self._changing():
            self._leave_grid()
            self._drop_overlay()
            self._off_glass()
            case_layers.show_checkerboard(self.layers)
            self.mode, self.scanned = CHECKERBOARD, False

    def leave(self) -> None:
        """One step back: out of a grid or checkerboard, off an overlay, back from as scanned to aligned."""
        if self.mode == GRID:
            with self._changing():
                self._leave_grid()
        elif self.mode == CHECKERBOARD:
            self.show(self.stain)
        elif self.overlay:
            self.lay_over(self.overlay)
        elif self.on_glass:
            self.show_scanned(False)

    # Aligned, or as scanned

    def toggle_scanned(self) -> None:
        """Aligned or as scanned, the other one."""
        self.show_scanned(not self.scanned)

    def show_scanned(self, scanned: bool) -> None:
        """Show the stain as it lies on its own glass, or on the reference, at the same place of the tissue."""
        stain = self.stain_view(self.stain)
        if not scanned and stain.aligned is not None and stain.aligned.warp is None and stain.name != self.reference:
            self.say(
                f"{stain.name} is not aligned yet: it can only be seen as scanned, until Align has run. {self.reference} is shown"
            )
            self.wants_scanned = False
            self.show(self.reference)
            return
        if scanned and self.stain == self.reference:
            self.say(f"{self.reference} is what the others are aligned to: it always lies as scanned")
        with self._changing():
            self._leave_grid()
            self._drop_overlay()
            self.wants_scanned = scanned
            self._show(stain, scanned=scanned)
        if not scanned and not stain.trusted:
            self.say(caution(stain))

    def _show(self, stain: StainView, scanned: bool) -> None:
        self.scanned = scanned
        self.mode = SINGLE
        if scanned and stain.name != self.reference:
            self._go_on_glass(stain)
        else:
            self._off_glass(stain.name)
        self.stain = stain.name

    def _go_on_glass(self, stain: StainView) -> None:
        if self.glass.stain == stain.name:
            return
        reference = self._reference_place()
        zoom = self.field.zoom
        place = on_glass(stain, reference)
        if place is None:
            self.say(f"This place is not on the aligned part of {stain.name}: its slide is shown from the middle")
            place = middle(stain)
        if not self.on_glass:
            self._turns[""] = self.turn_deg
            self._aside = [layer for layer in self.layers if layer.visible and not self._is_picture(layer)]
            self._active = self.viewer.layers.selection.active
        for layer in self.layers:
            if layer.visible:
                layer.visible = False
        self.glass.show(stain)
        self.viewer.layers.selection.active = self.layers.glass
        self._follow()
        self._gone_to = (reference, place)
        self.set_field(Field(place, zoom, self._turns.get(stain.name, 0.0)))

    def _off_glass(self, name: str = "") -> None:
        """Back onto the reference, and one stain shown alone there."""
        was_on_glass = self.on_glass
        if was_on_glass:
            place, zoom = self._reference_place(), self.field.zoom
            self.glass.hide()
        case_layers.show_stain(self.layers, name or self.stain)
        if was_on_glass:
            for layer in self._aside:
                if layer in self.viewer.layers and not layer.visible:
                    layer.visible = True
            self._aside = []
            if self._active in self.viewer.layers:
                self.viewer.layers.selection.active = self._active
            self._gone_to = None
            self.set_field(Field(place, zoom, self._turns.get("", 0.0)))

    def _reference_place(self) -> Place:
        """The place of the reference that is in the middle of the canvas."""
        centre = self.field.centre_um
        if not self.on_glass:
            return centre
        if self._gone_to is not None and _close(self._gone_to[1], centre):
            return self._gone_to[0]
        found = on_reference(self.stain_view(self.glass.stain), centre)
        if found is None:
            rows, cols = size_um(self.view.reference.pyramid.levels[0], self.view.reference.pyramid.um_per_px[0])
            return (rows / 2, cols / 2)
        return found

    # Side by side

    def show_grid(self) -> None:
        """Show all aligned stains side by side, each with the paint, moved together."""
        cells = [stain for stain in self.view.stains if stain.usable and stain.name in self.layers.stains]
        if len(cells) < 2:
            self.say("Side by side needs two aligned stains; this case has one")
            return
        self._finish()
        with self._changing():
            before = self.look
            self._drop_overlay()
            self._off_glass()
            self._open_grid(before, [stain.name for stain in cells])
        left = [stain.name for stain in self.view.stains if not stain.usable]
        self.say(f"Not side by side, because not aligned: {', '.join(left)}" if left else "")

    def _open_grid(self, before: Look, names: list[str]) -> None:
        field = self.field
        self._cells.open(names, self.reference)
        rows, cols = self.viewer.canvas.grid.actual_shape(self.viewer.layers)
        self.mode, self.scanned, self._before = GRID, False, before
        # What was seen is seen in every cell.
        self.set_field(Field(field.centre_um, field.zoom / max(rows, cols), field.turn_deg))

    def _leave_grid(self) -> None:
        if self._before is None:
            return
        before, self._before = self._before, None
        self._cells.close()
        self.mode = SINGLE
        self._restore(before)

    def _restore(self, look: Look) -> None:
        stain = self.stain_view(look.stain)
        if look.mode == CHECKERBOARD and self.layers.checkerboard is not None:
            case_layers.show_checkerboard(self.layers)
            self.mode, self.stain, self.scanned = CHECKERBOARD, stain.name, False
        else:
            self._show(stain, look.scanned or not stain.usable)
            if look.overlay:
                self._lay_over(look.overlay)
        if look.field is not None:
            self.set_field(look.field)

    def recall(self, look: Look) -> None:
        """Look again as once before; what is no longer there is left out."""
        if look.stain not in self.layers.stains:
            return
        stain, over = self.stain_view(look.stain), look.overlay
        overlaid = over in self.layers.stains and self.stain_view(over).usable and stain.usable and over != look.stain
        scanned = look.scanned or not stain.usable
        with self._changing():
            self.wants_scanned = look.scanned and stain.usable
            mode = CHECKERBOARD if look.mode == CHECKERBOARD else SINGLE
            self._restore(Look(look.stain, over if overlaid and not scanned else "", mode, scanned, look.field))
        if look.mode == GRID:
            self.show_grid()

    # Where, how near, how turned

    def set_field(self, field: Field) -> None:
        """Look somewhere."""
        if field.turn_deg != self.turn_deg:
            self.turn_deg = field.turn_deg
            turn_view(self.viewer, field.turn_deg)
        self._turns[self.glass.stain] = field.turn_deg
        camera = self.viewer.scene.camera
        camera.zoom = field.zoom
        camera.center = (0.0, *field.centre_um)
        self.changed.emit()

    def turn_by(self, degrees: float) -> None:
        """Turn the view clockwise about the middle of the canvas."""
        self.turn_to(self.turn_deg + degrees)

    def turn_to(self, degrees: float) -> None:
        """Turn the view to an angle; 0 is how the slide lies."""
        self.set_field(self.field.changed(turn_deg=degrees))

    def magnify(self, magnification: float) -> None:
        """A field as of a microscope, about what is under the mouse."""
        self.set_field(self.field.changed(zoom=zoom_of(magnification), about_px=mouse_px(self.viewer) or (0.0, 0.0)))

    def show_whole(self) -> None:
        """The whole slide, as it lies, clear of the legend where that costs little."""
        corner = (0.0, 0.0) if self.mode == GRID else self._corner_px()
        self.set_field(clear_of_corner((0.0, 0.0, *self.size_um), self.cell_px, corner, _MARGIN))
        self.whole = self.field

    def field_of(self, edges_um: tuple[float, float, float, float], turn_deg: float | None = None) -> Field:
        """The field that shows a rectangle: top, left, bottom, right."""
        height, width = self.cell_px
        return around(edges_um, width, height, self.turn_deg if turn_deg is None else turn_deg, _MARGIN)

    @property
    def cell_px(self) -> tuple[float, float]:
        """Height and width of what shows one field: the canvas, or a cell of it."""
        height, width = self.viewer.canvas.size
        if self.mode != GRID:
            return (height, width)
        rows, cols = self.viewer.canvas.grid.actual_shape(self.viewer.layers)
        return (height / rows, width / cols)

    # Flicker

    def flicker_on(self) -> None:
        """Show the reference in place of what is shown, until `flicker_off`; over the reference, the stain before."""
        if self.mode == GRID or self.on_glass:
            why = "as scanned, no stain lies on another" if self.on_glass else f"{self.reference} has a cell of its own"
            self.say(f"No flicker here: {why}")
            return
        alone = self.mode == SINGLE and not self.overlay and self.stain == self.reference
        target = self.flicker.other if alone else self.reference
        if target in self.layers.stains and self.stain_view(target).usable:
            with self._flickering():
                self.flicker.on(self.layers.stains[target])

    def flicker_off(self) -> None:
        """Back to what was shown."""
        if self.flicker.held:
            with self._flickering():
                self.flicker.off()

    # What others do to the viewer

    def say(self, text: str) -> None:
        """One line for the user, below the canvas."""
        if text:
            self.viewer.status = text

    @property
    def changing(self) -> bool:
        """Whether it is about to show something else, and will say so."""
        return self._busy

    @contextmanager
    def _changing(self) -> Iterator[None]:
        was, self._busy = self._busy, True
        try:
            with one_redraw(self.viewer):
                self.flicker.end()
                yield
        finally:
            self._busy = was
        self.changed.emit()

    @contextmanager
    def _flickering(self) -> Iterator[None]:
        # Without `one_redraw`: a change of opacity needs no new scene.
        was, self._busy = self._busy, True
        try:
            yield
        finally:
            self._busy = was
        self.changed.emit()

    def _is_picture(self, layer: Any) -> bool:
        return any(layer is picture for picture in (*self.layers.stains.values(), self.layers.checkerboard))

    def _follow(self, *_: Any) -> None:
        for layer in self.layers:
            if not any(layer is known for known in self._followed):
                layer.events.visible.connect(self._switched)
                self._followed.append(layer)

    def _switched(self, event: Any) -> None:
        """Somebody else showed or hid a layer: in the layer list, or from a dock."""
        layer = event.source
        if self._busy:
            return
        own = any(layer is one for one in (self.layers.glass, self.layers.carried))
        if self.on_glass and layer.visible and not own:
            # It lies on the reference: on this glass it would show the wrong place.
            self._aside = [kept for kept in self._aside if kept is not layer]
            name = next((name for name, one in self.layers.stains.items() if one is layer), "")
            layer.visible = self._is_picture(layer) and not name
            QTimer.singleShot(0, lambda: self._back_with(layer, name))
        elif self.mode == GRID and layer.visible and not any(layer is one for one in self.layers.stains.values()):
            # It would get a cell of its own.
            QTimer.singleShot(0, lambda: self._back_with(layer, ""))
        elif self.mode != GRID and self._is_picture(layer):
            self._look_again()
        self.changed.emit()

    def _back_with(self, layer: Any, name: str) -> None:
        if self._busy or layer not in self.viewer.layers:
            return
        self.wants_scanned = False
        if self.mode == GRID:
            self.leave()
        if name and self.stain_view(name).usable:
            self.show(name)
        elif self.on_glass:
            self.show_scanned(False)
        if not name:
            layer.visible = True

    def _look_again(self) -> None:
        """Which stain is shown now that somebody switched layers by hand."""
        seen = [name for name, layer in self.layers.stains.items() if layer.visible and layer.opacity > 0]
        board = self.layers.checkerboard
        self.mode = CHECKERBOARD if board is not None and board.visible else SINGLE
        if self.overlay and (self.overlay not in seen or self.stain not in seen):
            self._drop_overlay()
        if seen and self.stain not in seen:
            self.stain = seen[-1]

    def _grid_switched(self, event: Any) -> None:
        """napari's own button for its grid does what ours does."""
        if self._busy:
            return
        if event.value and self.mode != GRID:
            self.viewer.canvas.grid.enabled = False
            QTimer.singleShot(0, lambda: self._busy or self.show_grid())
        elif not event.value and self.mode == GRID:
            with self._changing():
                self._leave_grid()

    def _selected(self, event: Any) -> None:
        """Whoever takes up the painted layer wants to paint: on the reference, in one picture."""
        if self._busy or event.value is None or event.value is not self.layers.lesions:
            return
        if self.on_glass or self.mode == GRID:
            QTimer.singleShot(0, self._back_to_paint)

    def _back_to_paint(self) -> None:
        if self._busy or self.layers.lesions not in self.viewer.layers:
            return
        if self.mode == GRID:
            self.leave()
        if self.on_glass:
            self.wants_scanned = False
            self.show_scanned(False)
        self.layers.lesions.visible = True
        self.viewer.layers.selection.active = self.layers.lesions
        self.say(f"Back on {self.reference}: that is where paint is laid, for all stains at once")

    def _carried(self) -> None:
        self._follow()
        self.changed.emit()

    def close(self, *, restore: bool) -> None:
        """Let go of the viewer; `restore` leaves it with one canvas, upright, as far as its window is still there."""
        self._busy = True
        self.viewer.canvas.grid.events.enabled.disconnect(self._grid_switched)
        self.viewer.layers.selection.events.active.disconnect(self._selected)
        self.viewer.layers.events.inserted.disconnect(self._follow)
        for layer in self._followed:
            layer.events.visible.disconnect(self._switched)
        self.flicker.end()
        self.glass.hide()
        if not restore:
            return
        self._cells.give_back_grid()
        if self.turn_deg:
            turn_view(self.viewer, 0.0)


def _close(one: Place, other: Place) -> bool:
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) < 1e-3
