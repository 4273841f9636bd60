"""Views predicted one after another by one process that keeps the network and the slides: the warm child of a window."""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stainloom.errors import ModelError, StainloomError
from stainloom.io.casefile import StudyFolder
from stainloom.jobs.opening import cautions, colour_of, verdict_of
from stainloom.jobs.predicting import OpenedCase
from stainloom.progress import Cancelled, Progress

if TYPE_CHECKING:
    from stainloom.model.predict import Network

_log = logging.getLogger(__name__)

_BATCH = 64
"""Windows computed together: few, because a view that is no longer wanted ends between two batches."""

Say = Callable[..., None]
"""Writes one line: a kind, and what it holds."""


@dataclass(frozen=True)
class ViewRequest:
    """A part of a case that somebody looks at.

    Attributes
    ----------
    id
        Comes back with every line of the answer.
    run, case
        Whose network, and over what.
    box_um
        Row, column, height and width on the reference.
    stride_px
        Distance of windows where this run has no maps of this case yet; else theirs, so that the view joins them.
    """

    id: int
    run: str
    case: str
    box_um: tuple[float, float, float, float]
    stride_px: int

    @classmethod
    def read(cls, content: Any) -> ViewRequest:
        """A request from JSON; ValueError where it is none."""
        try:
            box = tuple(float(value) for value in content["box_um"])
            if len(box) != 4 or not (min(box[2:]) > 0 and all(abs(value) < 1e9 for value in box)):
                raise ValueError(f"a box has a row, a column, a height and a width: {box}")
            run, case = str(content["run"]), str(content["case"])
            return cls(int(content["id"]), run, case, (box[0], box[1], box[2], box[3]), int(content["stride_px"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"a request holds id, run, case, box_um and stride_px: {error}") from error


class ViewServer:
    """Predicts views; keeps the last network and the last case for as long as their files stay as they are.

    Parameters
    ----------
    study
        The study's folder.
    """

    def __init__(self, study: Path) -> None:
        self._study = study
        self._network: tuple[Any, Network] | None = None
        self._case: tuple[Any, OpenedCase] | None = None

    def predict(self, request: ViewRequest, progress: Progress) -> dict[str, Any]:
        """Predict one view and lay it over the maps that are there: `changed`, `figures`, `warnings`."""
        from stainloom.model.settings import PredictSettings
        from stainloom.settings import check

        folder = StudyFolder.open(self._study)
        progress(0, 1, "making the network ready", request.case)
        network = self._ready(folder, request.run)
        opened = self._opened(folder, request.case, network.run.normalized)
        stride = _stride_of_maps(folder, request, network.run.um_per_px) or request.stride_px
        settings = check(PredictSettings, {"stride_px": stride, "batch": _BATCH})

        def told(done: float, total: float, what: str, slide: str = "") -> None:
            progress(done, total, what, request.case)

        areas, warnings = opened.predict(network, settings, "box", request.box_um, told)
        return {
            "changed": [f"cases/{request.case}/maps/{request.run}"],
            "figures": {"run": request.run, "mm2": areas},
            "warnings": [*warnings, *cautions(folder, opened.case)],
        }

    def close(self) -> None:
        """Close the slides."""
        if self._case is not None:
            self._case[1].close()
        self._case = None

    def _ready(self, folder: StudyFolder, run: str) -> Network:
        # A run is never rewritten under its name; a folder that was replaced by another all the same is read anew.
        key = (run, *_stamps(folder.run_path(run)))
        if self._network is None or self._network[0] != key:
            from stainloom.io.runs import load_run
            from stainloom.model.predict import load_network

            self._network = None
            self._network = (key, load_network(load_run(folder.run_path(run))))
        return self._network[1]

    def _opened(self, folder: StudyFolder, name: str, normalized: bool) -> OpenedCase:
        case = folder.case(name)
        key = (case, normalized, folder.study, *(_made_from(folder, case, stain) for stain in case.slides))
        if self._case is None or self._case[0] != key:
            self.close()
            self._case = (key, OpenedCase(folder, case, normalized))
        return self._case[1]


def _stamps(folder: Path) -> tuple[tuple[int, int], ...]:
    found = []
    for name in ("run.json", "weights.safetensors"):
        try:
            stat = (folder / name).stat()
        except OSError:
            raise ModelError(
                f"run {folder.name} is no longer there", slide=folder.name, next="choose another run"
            ) from None
        found.append((stat.st_mtime_ns, stat.st_size))
    return tuple(found)


def _made_from(folder: StudyFolder, case: Any, stain: str) -> tuple[Any, ...]:
    colour = colour_of(folder, case, stain)
    warp = None if stain == folder.study.reference else folder.current_warp_id(case.name, stain)
    slide = folder.slide_path(case, case.slide(stain)).stat()
    return verdict_of(folder, case, stain)[0], warp, None if colour is None else colour.id, slide.st_mtime_ns


def _stride_of_maps(folder: StudyFolder, request: ViewRequest, um_per_px: float) -> int | None:
    from stainloom.io.maps import list_maps, open_maps

    parent = folder.case_path(request.case) / "maps"
    if request.run not in list_maps(parent):
        return None
    try:
        return max(1, round(open_maps(parent / request.run).facts.um_per_px[0] / um_per_px))
    except StainloomError:
        return None


def serve(study: Path, lines: Iterable[str], say: Say, *, idle_s: float) -> None:
    """Answer requests line by line until the input ends or nobody has asked for a while.

    Parameters
    ----------
    study
        The study's folder.
    lines
        `{"predict": {...}}` (see `ViewRequest`), or the word `cancel`, which ends all requests that came before it.
    say
        Writes lines: `ready`, `progress`, `warning`, `error`, and for each request one `answer` {`id`, `ending`: done,
        failed or cancelled, `changed`, `figures`}.
    idle_s
        How long it waits for a request.
    """
    asked = _Asked(lines)
    server = ViewServer(study)
    say("ready")
    try:
        while (content := asked.next(idle_s)) is not None:
            _answer(server, content, asked, say)
    finally:
        server.close()


def _answer(server: ViewServer, content: Any, asked: _Asked, say: Say) -> None:
    number = content.get("id") if isinstance(content, dict) else None

    def progress(done: float, total: float, what: str, slide: str = "") -> None:
        asked.check()
        say("progress", done=done, total=total, what=what, slide=slide or None)

    answer: dict[str, Any] = {"ending": "failed", "changed": [], "figures": {}}
    try:
        found = server.predict(ViewRequest.read(content), progress)
        for text in found.pop("warnings"):
            say("warning", text=text)
        answer = {"ending": "done", **found}
    except Cancelled:
        answer["ending"] = "cancelled"
    except StainloomError as error:
        say("error", **error.as_dict(), detail=str(error))
    except Exception as error:
        _log.exception("a view could not be predicted")
        mistake = ModelError(
            "the program made a mistake", found=f"{type(error).__name__}: {error}", next="try it again"
        )
        say("error", **mistake.as_dict(), detail=str(mistake))
    say("answer", id=number, **answer)


class _Asked:
    """What was asked, read in a thread: requests in their order, and whether the one at work is still wanted."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._requests: queue.Queue[tuple[int, Any]] = queue.Queue()
        self._count = self._at = self._unwanted = 0
        self._ended = False
        threading.Thread(target=self._listen, args=(lines,), daemon=True).start()

    def _listen(self, lines: Iterable[str]) -> None:
        for line in lines:
            if line.strip() == "cancel":
                self._unwanted = self._count
                continue
            try:
                content = json.loads(line)["predict"]
            except (ValueError, KeyError, TypeError, RecursionError):
                _log.warning("a line that asks for nothing: %s", line[:200].strip())
                continue
            self._count += 1
            self._requests.put((self._count, content))
        # Whoever asked is gone.
        self._ended = True
        self._requests.put((0, None))

    def next(self, idle_s: float) -> Any:
        """The next request; None where the input has ended, or nothing came for a while."""
        try:
            self._at, content = self._requests.get(timeout=idle_s)
        except queue.Empty:
            return None
        return None if self._ended else content

    def check(self) -> None:
        """`Cancelled` where the request at work is no longer wanted."""
        if self._ended or self._at <= self._unwanted:
            raise Cancelled
