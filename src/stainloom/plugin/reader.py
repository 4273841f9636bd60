"""What File > Open and a drop on napari do with a study, a case or a slide."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari.layers import Layer

from stainloom.case.aligned import AlignedStain
from stainloom.case.view import CaseView
from stainloom.plugin.layers import LayerData, case_layer_data, collect, slide_layer_data
from stainloom.plugin.pyramid import Renderer

_DECODED_BYTES = 256 << 20
_SLIDES = (".tif", ".tiff", ".svs", ".ndpi", ".scn", ".mrxs", ".bif")

_NO_LAYERS: list[Any] = [(None,)]
"""What napari takes for: read, and nothing to add."""

ReadLayers = Callable[[str], list[LayerData]]


def get_reader(path: str | Sequence[str]) -> ReadLayers | None:
    """What reads a path: a study folder, a case folder in it, a slide; None for everything else.

    Parameters
    ----------
    path
        As napari gives it. Several paths are opened one by one, never as a stack.

    Notes
    -----
    PNG and JPEG are left to napari: they do not say how large their pixels are, and most of them are no slides.
    """
    if not isinstance(path, str):
        return None
    place = Path(path)
    if study_and_case(place) is not None:
        return read_case
    if place.is_file() and place.name.lower().endswith(_SLIDES):
        return read_slide
    return None


def study_and_case(place: Path) -> tuple[Path, str | None] | None:
    """The study folder and the case that a path means, or None: the study, its `study.json`, a case folder, its `case.json`."""
    folder = place.parent if place.name in ("study.json", "case.json") else place
    if (folder / "study.json").is_file():
        return folder, None
    study = folder.parent.parent
    if (folder / "case.json").is_file() and folder.parent.name == "cases" and (study / "study.json").is_file():
        return study, folder.name
    return None


def read_case(path: str) -> list[LayerData]:
    """The layers of a case (of a study: its first), with title, legend and keys in the window they are opened in.

    A window with docks opens it in these: there it can be painted on.
    """
    from stainloom import jobs

    found = study_and_case(Path(path))
    if found is None:
        raise ValueError(f"no study and no case: {path}")
    viewer = _viewer_in_front()
    if viewer is not None:
        from stainloom.plugin.guards import open_in_workspace

        if open_in_workspace(viewer, *found):
            return _NO_LAYERS
    return open_in_window(jobs.open_view(*found))


def open_in_window(view: CaseView) -> list[LayerData]:
    """Layers of an opened case for napari to add; the window in front gets its legend once napari has added them."""
    renderer = Renderer()
    result = case_layer_data(view, renderer, say_simulated=True)
    # Where no window takes the case over, its slides are closed when its layers are gone.
    weakref.finalize(result[0][0][0], view.close)
    _adopt_later(view, renderer, result[0][1]["metadata"])
    return result


def _viewer_in_front() -> Any:
    """The viewer that the user works in, where it has a window; None otherwise."""
    import napari

    viewer = napari.current_viewer()
    return viewer if viewer is not None and hasattr(viewer, "window") else None


def _adopt_later(view: CaseView, renderer: Renderer, mark: dict[str, Any]) -> None:
    viewer = _viewer_in_front()
    if viewer is None:
        return
    # napari adds what a reader returns before its event loop turns again; until then there is nothing to adopt.
    from qtpy.QtCore import QTimer

    from stainloom.plugin.session import Session

    front = weakref.ref(viewer)

    def adopt() -> None:
        found = front()
        added: list[Layer] = [] if found is None else list(found.layers)
        if found is not None and any(layer.metadata == mark for layer in added):
            Session(found, view, collect(added), renderer)

    QTimer.singleShot(0, adopt)


def read_slide(path: str) -> list[LayerData]:
    """One slide by itself, in um; as it lies on its own glass."""
    from stainloom.io.slides import TileCache, open_slide

    viewer = _viewer_in_front()
    if viewer is not None:
        from stainloom.plugin.guards import workspace_in

        workspace = workspace_in(viewer)
        if workspace is not None:
            workspace.slides_opened.emit([Path(path)])
    slide = open_slide(Path(path), cache=TileCache(_DECODED_BYTES))
    layer = slide_layer_data(AlignedStain(Path(path).name, slide), Renderer())
    # Nobody tells a reader when its layer is gone.
    weakref.finalize(layer[0][0], slide.close)
    return [layer]
