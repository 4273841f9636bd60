"""`python -m stainloom.plugin STUDY [--case NAME]`: the window as a process of its own, or pictures of it."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from stainloom.errors import StainloomError

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Open a case in napari, or photograph it and leave.

    Returns
    -------
    0 done, 1 failed.
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        _show(options.study, options.case, options.screenshot, options.screenshots)
    except StainloomError as error:
        _log.error("%s", error)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stainloom.plugin", description="Open a case in napari.")
    parser.add_argument("study", type=Path, help="the study folder")
    parser.add_argument("--case", help="name of the case; the first one when left out")
    parser.add_argument("--screenshot", type=Path, metavar="FILE", help="photograph the window into a PNG and leave")
    parser.add_argument(
        "--screenshots",
        type=Path,
        metavar="DIR",
        help="photograph all that the case can show, with captions, and leave",
    )
    return parser


def _show(study: Path, case: str | None, screenshot: Path | None, screenshots: Path | None) -> None:
    # The case is opened before napari: a wrong path is told at once, not after seconds of imports.
    from stainloom import jobs

    view = jobs.open_view(study, case)
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
        if screenshot is None and screenshots is None:
            napari.run()
        else:
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
