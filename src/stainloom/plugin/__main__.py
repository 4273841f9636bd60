"""`python -m stainloom.plugin [STUDY] [--case NAME]`: the window with its docks as a process of its own, or pictures of a case."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from stainloom.errors import CaseError, StainloomError

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Open the window with its docks, or photograph a case and leave.

    Returns
    -------
    0 done, 1 failed.
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        if options.screenshot is None and options.screenshots is None:
            _open(options.study, options.case, options.run)
        else:
            _show(options.study, options.case, options.run, options.screenshot, options.screenshots)
    except StainloomError as error:
        _log.error("%s", error)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stainloom.plugin", description="Open Stainloom's window.")
    parser.add_argument("study", type=Path, nargs="?", help="the study folder; without one the window asks for it")
    parser.add_argument("--case", help="name of the case; the first one when left out")
    parser.add_argument("--run", help="id of the run whose maps are shown; the latest predicted when left out")
    parser.add_argument("--screenshot", type=Path, metavar="FILE", help="photograph the window into a PNG and leave")
    parser.add_argument(
        "--screenshots",
        type=Path,
        metavar="DIR",
        help="photograph all that the case can show, with captions, and leave",
    )
    return parser


def _open(study: Path | None, case: str | None, run: str | None) -> None:
    from stainloom import jobs

    if study is not None:
        # A wrong path is told at once, not after seconds of imports. A study without a case opens, and says so.
        jobs.check_study(study)
        if case is not None:
            jobs.check_case(study, case)
    import napari

    from stainloom.plugin._napari import give_room
    from stainloom.plugin.early import EarlyImports
    from stainloom.plugin.pictures import SMALL_PX, WINDOW_PX
    from stainloom.plugin.window import open_workspace

    viewer = napari.Viewer(title="Stainloom", show=True, show_welcome_screen=False)
    give_room(viewer, WINDOW_PX, SMALL_PX)
    docks = open_workspace(viewer)
    EarlyImports(docks)
    if study is not None:
        docks.workspace.open_study(study, case)
        if run is not None:
            docks.workspace.choose_run(run)
    napari.run()


def _show(
    study: Path | None, case: str | None, run: str | None, screenshot: Path | None, screenshots: Path | None
) -> None:
    from stainloom import jobs

    if study is None:
        raise CaseError("there is no study to photograph", next="name its folder")
    view = jobs.open_view(study, case, run=run)
    try:
        import napari

        from stainloom.plugin.pictures import WINDOW_PX
        from stainloom.plugin.session import Session

        viewer = napari.Viewer(show=True, show_welcome_screen=False)
        viewer.window.resize(*WINDOW_PX)
        session = Session.open(viewer, view)
    except BaseException:
        view.close()
        raise
    try:
        _photograph(session, screenshot, screenshots)
        viewer.close()
    finally:
        session.close()


def _photograph(session, screenshot: Path | None, screenshots: Path | None) -> None:
    from stainloom.io.files import write_json, write_whole
    from stainloom.plugin._napari import photograph, settle
    from stainloom.plugin.pictures import captions, take_pictures

    if screenshot is not None:
        settle(session.viewer)
        session.viewer.reset_view()
        write_whole(screenshot, photograph(session.viewer))
    if screenshots is not None:
        screenshots.mkdir(parents=True, exist_ok=True)
        taken = []
        for picture in take_pictures(session):
            write_whole(screenshots / picture.name, picture.png)
            taken.append(picture)
            _log.info("%s: %s", picture.name, picture.caption)
        write_json(screenshots / "captions.json", captions(taken))


if __name__ == "__main__":
    sys.exit(main())
