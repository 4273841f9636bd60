"""Pictures and charts of a report, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stainloom.case.lesions import LesionClass
from stainloom.geometry import Pixels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK = "#222222"
_BLUE = "#0072B2"
_GREY = "#999999"


@dataclass(frozen=True)
class Score:
    """How one run did on held-out patients.

    Attributes
    ----------
    name
        For the reader: `all stains fused`, `HE alone`.
    accuracy, balanced_accuracy
        0 to 1.
    low, high
        95 % interval of the accuracy over patients, or None where it was not computed.
    fused
        Whether it is the fused run.
    """

    name: str
    accuracy: float
    balanced_accuracy: float
    low: float | None = None
    high: float | None = None
    fused: bool = False


def encode_png(picture: Pixels) -> bytes:
    """(rows, cols, 3) RGB uint8 as PNG."""
    fine, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not fine:
        raise ValueError(f"no PNG can hold {picture.shape} {picture.dtype}")
    return data.tobytes()


def checkerboard(pictures: Sequence[Pixels], cell_px: int) -> Pixels:
    """Pictures of one shape in alternating cells: where they are aligned, structures run on across the borders."""
    if not pictures or cell_px < 1:
        raise ValueError(f"a checkerboard needs pictures and a cell: {len(pictures)}, {cell_px}")
    rows, cols = pictures[0].shape[:2]
    which = (np.arange(rows)[:, None] // cell_px + np.arange(cols)[None, :] // cell_px) % len(pictures)
    board = np.empty_like(pictures[0])
    for number, picture in enumerate(pictures):
        board[which == number] = picture[which == number]
    return board


def outline_labels(picture: Pixels, labels: NDArray[np.uint8], classes: Sequence[LesionClass]) -> Pixels:
    """Painted labels as outlines: the class colour between a black and a white line, since stains share its hue."""
    result = picture.copy()
    for lesion in classes:
        mask = (labels == lesion.id).astype(np.uint8)
        if not mask.any():
            continue
        if mask.shape != picture.shape[:2]:
            mask = cv2.resize(mask, picture.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        for colour, width in (((0, 0, 0), 6), ((255, 255, 255), 4), (lesion.rgb, 2)):
            cv2.drawContours(result, contours, -1, colour, width)
    return result


def paint_classes(
    picture: Pixels, labels: NDArray[np.uint8], classes: Sequence[LesionClass], opacity: float = 0.55
) -> Pixels:
    """A class map laid over a picture, in the colours of the classes; 0 stays the picture."""
    if labels.shape != picture.shape[:2]:
        labels = np.asarray(cv2.resize(labels, picture.shape[1::-1], interpolation=cv2.INTER_NEAREST), np.uint8)
    table = np.zeros((256, 3), np.float32)
    for lesion in classes:
        table[lesion.id] = lesion.rgb
    shown = (labels > 0)[..., None]
    mixed = picture * (1 - opacity) + table[labels] * opacity
    return np.where(shown, np.round(mixed), picture).astype(np.uint8)


def draw_confusion(matrix: NDArray[Any], names: Sequence[str]) -> bytes:
    """A confusion matrix: rows the truth, columns the prediction; counts, shaded by the share of the row."""
    counts = np.asarray(matrix, dtype=float)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = _figure(1.6 + 0.75 * len(names), 1.3 + 0.65 * len(names))
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(names)):
        for col in range(len(names)):
            ink = "white" if share[row, col] > 0.5 else _INK
            axes.text(
                col, row, f"{counts[row, col]:.0f}\n{share[row, col]:.0%}", ha="center", va="center", color=ink, size=8
            )
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("classified as")
    axes.set_ylabel("painted as")
    return _png(figure)


def draw_scores(scores: Sequence[Score], chance: float) -> bytes:
    """Accuracy on held-out patients of each run, the fused one apart, with intervals and chance."""
    figure = _figure(7, 0.9 + 0.42 * len(scores))
    axes = figure.subplots()
    for place, score in enumerate(reversed(scores)):
        axes.barh(place, score.accuracy, color=_BLUE if score.fused else _GREY, height=0.65)
        if score.low is not None and score.high is not None:
            axes.plot([score.low, score.high], [place, place], color=_INK, linewidth=1.5)
        axes.text(0.01, place, f"{score.accuracy:.0%}", va="center", color="white", size=9)
    axes.axvline(chance, color=_INK, linestyle=":", linewidth=1)
    axes.text(chance, len(scores) - 0.45, " chance", size=8, color=_INK)
    axes.set_yticks(range(len(scores)), [score.name for score in reversed(scores)])
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.6, len(scores) - 0.1)
    axes.set_xlabel("share of held-out windows classified as painted")
    axes.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def draw_history(training_loss: Sequence[float], validation_loss: Sequence[float], prior_loss: float) -> bytes:
    """Loss of training and validation by epoch, and the loss of guessing by class shares."""
    figure = _figure(7, 3)
    axes = figure.subplots()
    epochs = np.arange(1, len(training_loss) + 1)
    axes.plot(epochs, training_loss, color=_BLUE, label="training")
    axes.plot(epochs, validation_loss, color="#D55E00", label="validation")
    axes.axhline(prior_loss, color=_INK, linestyle=":", linewidth=1, label="guessing by class shares")
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def _figure(width: float, height: float) -> Figure:
    """An empty figure, inches. Matplotlib takes a second to import: only a report that draws pays for it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
