"""Applying a trained network: to patches with known classes, and over a section as maps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from stainloom.case.aligned import AlignedCase
from stainloom.case.run import Run
from stainloom.errors import ModelError
from stainloom.geometry import Box, Pixels, Points, Scale, Size
from stainloom.model.dataset import Index, Patches, Samples, Scaling, blank
from stainloom.model.fusion import StainNetwork
from stainloom.model.settings import PredictSettings, settings_from, thread_count
from stainloom.model.train import computing
from stainloom.progress import Progress, silent

NOT_PREDICTED = 0
_CELLS_MOST = 400_000_000


@dataclass(frozen=True, eq=False)
class Network:
    """A trained network, ready to use."""

    run: Run
    module: StainNetwork
    scaling: Scaling

    def __call__(self, patches: Pixels, present: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(k, stains, size, size, 3) uint8 and (k, stains) bool to logits (k, classes) and stain weights (k, stains)."""
        with torch.inference_mode():
            output = self.module(*self.scaling.apply(patches, present))
            return output.logits.numpy(), output.weights.numpy()


def load_network(run: Run, *, control: bool = False) -> Network:
    """Build the network of a run; `ModelError` where weights and settings do not belong together or it did not learn.

    A `control` is built all the same: it was not to learn, and how well it guesses is measured.
    """
    if run.outcome != "learned" and not control:
        raise ModelError(
            f"run {run.id or '(unsaved)'} did not learn",
            expected="a validation loss below that of the class mix",
            found=f"outcome {run.outcome!r}",
            next="train again, on more patches or for longer",
        )
    settings = settings_from(run.settings)
    shape = (len(run.stains), 1 if settings.gray else 3)
    if run.mean.shape != shape or run.std.shape != shape or not np.all(run.std > 0):
        raise ModelError(
            f"run {run.id} is not whole", expected=f"mean and spread of {shape} values", found=str(run.mean.shape)
        )
    # Built without memory first: nothing is allocated before the stored shapes are known to fit.
    with torch.device("meta"):
        module = StainNetwork(
            len(run.stains),
            len(run.classes),
            run.channels,
            run.size_px,
            features=settings.features,
            dropout=settings.dropout,
            backbone=settings.backbone,
            fusion=settings.fusion,
        )
    expected = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in run.weights.items()}
    if expected != found:
        name = next(name for name in sorted({*expected, *found}) if expected.get(name) != found.get(name))
        raise ModelError(
            f"the weights of run {run.id} do not fit its settings",
            expected=f"{name} of shape {expected.get(name, 'none')}",
            found=str(found.get(name, "none")),
            next="train again, or get the whole run folder from where it was made",
        )
    if not all(np.all(np.isfinite(value)) for value in run.weights.values()):
        raise ModelError(f"the weights of run {run.id} hold values that are no numbers", next="train again")
    weights = {name: torch.from_numpy(np.array(value, np.float32)) for name, value in run.weights.items()}
    module.load_state_dict(weights, assign=True)
    module.requires_grad_(False)
    module.eval().to(memory_format=torch.channels_last)
    return Network(run, module, Scaling(run.mean, run.std, settings.gray))


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a network says about samples.

    Attributes
    ----------
    indices
        Which samples of the patch set, (n,).
    truth, predicted
        Class ids, (n,) uint8. A truth may be a class that the run does not know.
    logits, probabilities
        (n, classes) float32, in the order of the run's classes.
    weights
        (n, stains) float32: 0 to 1, 0 where a stain is missing.
    patients
        Pseudonyms, (n,).
    """

    indices: Index
    truth: NDArray[np.uint8]
    predicted: NDArray[np.uint8]
    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    weights: NDArray[np.float32]
    patients: NDArray[np.str_]


def evaluate(
    run: Run, patches: Patches, indices: Index, settings: PredictSettings | None = None, *, progress: Progress = silent
) -> Evaluation:
    """Apply a run to samples of a patch set; `ModelError` where the set lacks one of its stains or has other sizes."""
    settings = settings or PredictSettings()
    network = load_network(run, control=run.settings.get("control", "none") != "none")
    samples = Samples(patches, indices, run.stains)
    if len(samples) == 0:
        raise ModelError("there is nothing to evaluate on", expected="at least one patch", found="none")
    if samples.size_px != run.size_px:
        raise ModelError(
            "the patches have another size than the run was trained on",
            expected=f"{run.size_px} px",
            found=f"{samples.size_px} px",
            next="export patches of that size",
        )
    logits = np.empty((len(samples), len(run.classes)), np.float32)
    weights = np.empty((len(samples), len(run.stains)), np.float32)
    with computing(thread_count(settings.threads)):
        for places, pixels, present in samples.batches(settings.batch):
            logits[places], weights[places] = network(pixels, present)
            progress(int(places[-1]) + 1, len(samples), "evaluating")
    return Evaluation(
        indices=samples.indices,
        truth=samples.labels.astype(np.uint8),
        predicted=run.class_ids[logits.argmax(axis=1)],
        logits=logits,
        probabilities=softmax(logits),
        weights=weights,
        patients=samples.patients,
    )


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities along the last axis."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True), np.float32)


@dataclass(frozen=True)
class MapGrid:
    """Where the pixels of the maps lie: each is centred on the window that it describes.

    Attributes
    ----------
    size
        Rows and columns.
    first
        (row, col) px of the corner of window (0, 0), on the run's grid; may lie outside of the slide.
    stride_px, size_px
        Distance and side of windows, px.
    um_per_px
        Of the run's grid.
    """

    size: Size
    first: tuple[int, int]
    stride_px: int
    size_px: int
    um_per_px: float

    @classmethod
    def over(cls, box: Box, run: Run, settings: PredictSettings) -> MapGrid:
        """The grid whose pixels cover a box of the run's grid."""
        stride = settings.stride_px
        size = Size(math.ceil(box.rows / stride), math.ceil(box.cols / stride))
        if box.empty or size.rows * size.cols * (len(run.stains) + len(run.classes)) > _CELLS_MOST:
            raise ModelError(
                "maps of this size cannot be made",
                expected=f"1 to {_CELLS_MOST:,} values",
                found=f"{size.rows} x {size.cols} pixels of {len(run.stains) + len(run.classes)} values",
                next="predict a box, or take a larger stride",
            )
        shift = (stride - run.size_px) // 2
        return cls(size, (box.row + shift, box.col + shift), stride, run.size_px, run.um_per_px)

    @property
    def map_um_per_px(self) -> Scale:
        """um per px of the maps."""
        return (self.stride_px * self.um_per_px,) * 2

    @property
    def origin_um(self) -> tuple[float, float]:
        """Outer corner of map pixel (0, 0), um on the reference."""
        half = (self.size_px - self.stride_px) / 2
        return ((self.first[0] + half) * self.um_per_px, (self.first[1] + half) * self.um_per_px)

    def centres_um(self) -> Points:
        """Centres of the map's pixels, which are the centres of the windows, (rows, cols, 2), um."""
        step = self.map_um_per_px
        rows = self.origin_um[0] + (np.arange(self.size.rows) + 0.5) * step[0]
        cols = self.origin_um[1] + (np.arange(self.size.cols) + 0.5) * step[1]
        return np.stack(np.meshgrid(rows, cols, indexing="ij"), axis=-1)


@dataclass(frozen=True, eq=False)
class Maps:
    """A network's view of a section.

    Attributes
    ----------
    classes
        (rows, cols) uint8: class ids; 0 where nothing was predicted.
    probabilities
        (classes, rows, cols) float32, in the order of the run's classes; 0 where nothing was predicted.
    weights
        (stains, rows, cols) float32, in the order of the run's stains; 0 where a stain is missing or nothing was predicted.
    um_per_px, origin_um
        Scale of the maps and outer corner of their pixel (0, 0) on the reference.
    """

    classes: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    weights: NDArray[np.float32]
    um_per_px: Scale
    origin_um: tuple[float, float]


def predict_region(
    run: Run | Network,
    case: AlignedCase,
    box: Box,
    mask: NDArray[np.bool_] | None = None,
    settings: PredictSettings | None = None,
    *,
    progress: Progress = silent,
) -> Maps:
    """Predict windows over a box of the reference.

    Parameters
    ----------
    run
        See `load_network`; or a network that is loaded already.
    case
        Its stains must include the run's; one that is None, off its slide or blank is masked.
    box
        Pixels of the reference grid at the run's um per px.
    mask
        Which windows are wanted, (rows, cols) of `MapGrid.over(box, run, settings)`; None: all.
    settings
        See `PredictSettings`.

    Returns
    -------
    Maps over the box. A window that shows no stain at all (bare glass) is not predicted.
    """
    settings = settings or PredictSettings()
    network = run if isinstance(run, Network) else load_network(run)
    run = network.run
    chosen = _only(case, run)
    grid = MapGrid.over(box, run, settings)
    wanted = np.ones(grid.size.shape, np.bool_) if mask is None else np.asarray(mask, np.bool_)
    if wanted.shape != grid.size.shape:
        raise ValueError(f"a mask has the shape of the maps, {grid.size.shape}: {wanted.shape}")
    classes = np.zeros(grid.size.shape, np.uint8)
    probabilities = np.zeros((len(run.classes), *grid.size.shape), np.float32)
    weights = np.zeros((len(run.stains), *grid.size.shape), np.float32)
    done, total = 0, max(1, int(wanted.sum()))
    with computing(thread_count(settings.threads)):
        for rows, cols, pixels, present in _windows(chosen, grid, wanted, settings):
            logits, gates = network(pixels, present)
            shares = softmax(logits)
            classes[rows, cols] = run.class_ids[logits.argmax(axis=1)]
            probabilities[:, rows, cols] = shares.T
            weights[:, rows, cols] = gates.T
            done += len(rows)
            progress(done, total, "predicting")
    progress(total, total, "predicting")
    return Maps(classes, probabilities, weights, grid.map_um_per_px, grid.origin_um)


def _only(case: AlignedCase, run: Run) -> AlignedCase:
    """The run's stains of a case, in the run's order."""
    for name in run.stains:
        if name not in case.names:
            raise ModelError(
                f"run {run.id} was trained on a stain that this study has not",
                stain=name,
                expected=", ".join(run.stains),
                found=", ".join(case.names),
                next="take a run of this study's stains",
            )
    stains = tuple(case.stains[case.names.index(name)] for name in run.stains)
    if all(stain is None for stain in stains):
        raise ModelError(
            f"the case has none of the stains of run {run.id}",
            expected=", ".join(run.stains),
            found="none of them, or all left out",
            next="add or align these slides, or take another run",
        )
    return AlignedCase(run.stains, stains)


_Part = tuple[Index, Index, Pixels, NDArray[np.bool_]]


def _windows(case: AlignedCase, grid: MapGrid, wanted: NDArray[np.bool_], settings: PredictSettings) -> Iterator[_Part]:
    """Rows and columns of the maps, pixels and present stains of wanted windows that show anything, batch by batch."""
    side = max(1, (settings.region_px - grid.size_px) // grid.stride_px + 1)
    for top in range(0, grid.size.rows, side):
        for left in range(0, grid.size.cols, side):
            rows, cols = np.nonzero(wanted[top : top + side, left : left + side])
            if len(rows) == 0:
                continue
            yield from _windows_of_region(case, grid, rows + top, cols + left, settings.batch)


def _windows_of_region(case: AlignedCase, grid: MapGrid, rows: Index, cols: Index, batch: int) -> Iterator[_Part]:
    """The windows of one region, which is read once and cut as views."""
    size, stride = grid.size_px, grid.stride_px
    low = (int(rows.min()), int(cols.min()))
    region = Box(
        grid.first[0] + low[0] * stride,
        grid.first[1] + low[1] * stride,
        (int(rows.max()) - low[0]) * stride + size,
        (int(cols.max()) - low[1]) * stride + size,
    )
    pixels = case.read(region, grid.um_per_px)
    inside = case.inside(region, grid.um_per_px)
    down, right = (rows - low[0]) * stride, (cols - low[1]) * stride
    last = size - 1
    corners = [inside[:, down + y, right + x] for y in (0, last) for x in (0, last)]
    present: NDArray[np.bool_] = np.logical_and.reduce(corners).T
    views = np.lib.stride_tricks.sliding_window_view(pixels, (size, size), axis=(1, 2))
    for start in range(0, len(rows), batch):
        part = slice(start, start + batch)
        cut = views[:, down[part], right[part]].transpose(1, 0, 3, 4, 2)
        seen = present[part] & ~blank(cut)
        shown = seen.any(axis=1)
        if shown.any():
            yield rows[part][shown], cols[part][shown], np.ascontiguousarray(cut[shown]), seen[shown]
