"""The work picture: what registration sees of a slide, gray, small, free of background; and how one is carried onto another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stainloom.case.resample import overview
from stainloom.errors import RegistrationError
from stainloom.geometry import Points, Pyramid, index_to_um, size_um, um_to_index
from stainloom.tissue import mean_density, tissue_mask

Gray = NDArray[np.float32]
Mask = NDArray[np.bool_]
Affine = NDArray[np.float64]
"""(2, 3), reference um to moving um, (row, col)."""

_STRONGEST = 0.99
_MOST = 1.5
_TISSUE_LEAST_UM2 = 10_000.0
_DEVIATION_LEAST = 0.01
# Lung: the walls of air spaces are too thin for the mask of solid tissue, yet they are what registration holds on to.
_LOOSE_UM = 20.0
_LOOSE_DENSITY = 0.02


@dataclass(frozen=True, eq=False)
class Picture:
    """One section as registration sees it.

    Attributes
    ----------
    gray
        (rows, cols) float32: optical density, mean over the channels, 1 at its 99th percentile over the tissue; 0 on glass.
    tissue
        (rows, cols) bool; loose tissue, as the walls of air spaces, with the gaps in it.
    um_per_px
        The same along rows and columns.
    """

    gray: Gray
    tissue: Mask
    um_per_px: float

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return (self.gray.shape[0], self.gray.shape[1])

    def at(self, um_per_px: float) -> Picture:
        """The same section with larger pixels; itself where they would be smaller."""
        factor = um_per_px / self.um_per_px
        if factor <= 1.001:
            return self
        rows, cols = (max(8, round(n / factor)) for n in self.shape)
        matrix = _matrix(np.eye(2, 3), um_per_px, self.um_per_px)
        soft = cv2.GaussianBlur(self.gray, (0, 0), 0.45 * factor)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        gray = cv2.warpAffine(soft, matrix, (cols, rows), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        share = cv2.GaussianBlur(self.tissue.astype(np.float32), (0, 0), 0.45 * factor)
        tissue = cv2.warpAffine(share, matrix, (cols, rows), flags=flags, borderMode=cv2.BORDER_REPLICATE) > 0.5
        return Picture(np.asarray(gray, np.float32), np.asarray(tissue, np.bool_), um_per_px)

    def longer(self, px: int) -> Picture:
        """The same section with at most `px` pixels along its longer side."""
        return self.at(self.um_per_px * max(self.shape) / px)

    def soft(self, sigma_px: float) -> Gray:
        """The gray values' square root, blurred: it evens out how strongly a section was stained."""
        return np.asarray(cv2.GaussianBlur(np.sqrt(self.gray), (0, 0), sigma_px), np.float32)


def work_scale(reference: Pyramid, moving: Pyramid, work_px: int) -> float:
    """um per px at which both slides have at most `work_px` along the longer side; never finer than either slide."""
    longer = max(max(size_um(p.levels[0], p.um_per_px[0])) for p in (reference, moving))
    return max(longer / work_px, *(max(p.um_per_px[0]) for p in (reference, moving)))


def read_picture(pyramid: Pyramid, um_per_px: float, which: str) -> Picture:
    """A slide as registration sees it.

    Parameters
    ----------
    pyramid
        The slide.
    um_per_px
        Of the work picture.
    which
        What an error calls the slide: "reference" or "moving".

    Raises
    ------
    RegistrationError
        Where the slide shows no tissue, or tissue without any structure.
    """
    rgb = overview(pyramid, um_per_px)
    tissue = tissue_mask(rgb, (um_per_px, um_per_px))
    area_um2 = float(tissue.sum()) * um_per_px**2
    if area_um2 < _TISSUE_LEAST_UM2:
        raise RegistrationError(
            f"there is no tissue on the {which} slide",
            expected=f"at least {_TISSUE_LEAST_UM2 / 1e6:.2f} mm2 of tissue",
            found=f"{area_um2 / 1e6:.4f} mm2",
            next="look at the slide: is it the right file, and is it in focus",
        )
    density = mean_density(rgb)
    values = density[tissue]
    around = cv2.GaussianBlur(density, (0, 0), max(1.0, _LOOSE_UM / um_per_px))
    tissue = tissue | (around > _LOOSE_DENSITY)
    if float(values.std()) < _DEVIATION_LEAST:
        raise RegistrationError(
            f"the tissue on the {which} slide shows no structure",
            expected="brighter and darker places",
            found=f"the same optical density everywhere, within {float(values.std()):.4f}",
            next="look at the slide: is it a photograph of tissue",
        )
    gray = np.clip(density / max(float(np.quantile(density[tissue], _STRONGEST)), 1e-3), 0, _MOST)
    return Picture(np.asarray(gray, np.float32), tissue, um_per_px)


def _matrix(affine_um: Affine, target_um: float, source_um: float) -> NDArray[np.float64]:
    """An affine in um as OpenCV wants it: target pixel (x, y) to source pixel (x, y), centres at whole numbers."""
    linear = affine_um[:, :2] * (target_um / source_um)
    shift = linear @ np.array([0.5, 0.5]) + affine_um[:, 2] / source_um - 0.5
    return np.array([[linear[1, 1], linear[1, 0], shift[1]], [linear[0, 1], linear[0, 0], shift[0]]])


def carry(
    values: NDArray[Any], source_um: float, affine_um: Affine, shape: tuple[int, int], target_um: float
) -> tuple[Gray, Mask]:
    """A gray picture through an affine onto a grid of `shape` px, and which of its pixels the source holds."""
    matrix = _matrix(affine_um, target_um, source_um)
    size = (shape[1], shape[0])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    carried = cv2.warpAffine(values, matrix, size, flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    inside = cv2.warpAffine(np.ones(values.shape, np.float32), matrix, size, flags=flags, borderValue=0) > 0.99
    return np.asarray(carried, np.float32), np.asarray(inside, np.bool_)


def carry_by_places(values: NDArray[Any], places_px: NDArray[Any]) -> tuple[Gray, Mask]:
    """A gray picture taken at places ((rows, cols, 2), fractional (row, col) indices), and which of them it holds."""
    rows, cols = values.shape[:2]
    row = np.ascontiguousarray(places_px[..., 0], np.float32)
    col = np.ascontiguousarray(places_px[..., 1], np.float32)
    carried = cv2.remap(values, col, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    inside = (row >= 0) & (row <= rows - 1) & (col >= 0) & (col <= cols - 1)
    return np.asarray(carried, np.float32), np.asarray(inside, np.bool_)


def indices(shape: tuple[int, int]) -> Points:
    """Indices of the pixels of a picture, shape (rows, cols, 2)."""
    return np.stack(np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij"), axis=-1).astype(np.float64)


def affine_px(affine_um: Affine, um_per_px: float) -> Affine:
    """An affine in um as one between pixel indices of two pictures of the same scale."""
    zero = um_to_index(
        index_to_um(np.zeros(2), (um_per_px, um_per_px)) @ affine_um[:, :2].T + affine_um[:, 2], (um_per_px, um_per_px)
    )
    return np.hstack([affine_um[:, :2], zero[:, None]])


def boxed(values: NDArray[Any], window: int) -> Gray:
    """Mean over a square of `window` px."""
    return np.asarray(
        cv2.boxFilter(values.astype(np.float32), cv2.CV_32F, (window, window), borderType=cv2.BORDER_REFLECT),
        np.float32,
    )


def local_correlation(first: Gray, second: Gray, inside: Mask, window: int) -> tuple[Gray, Gray]:
    """Correlation of two pictures within a square around each pixel, and how much the first varies there.

    Returns
    -------
    Correlation in [-1, 1] and the first picture's standard deviation, both (rows, cols), both 0 where less than three
    quarters of the square are inside.
    """
    ok = inside.astype(np.float32)
    a, b = first * ok, second * ok
    n = boxed(ok, window)
    many = n > 0.75
    n = np.maximum(n, 1e-6)
    mean_a, mean_b = boxed(a, window) / n, boxed(b, window) / n
    var_a = np.maximum(boxed(a * a, window) / n - mean_a**2, 0)
    var_b = np.maximum(boxed(b * b, window) / n - mean_b**2, 0)
    both = boxed(a * b, window) / n - mean_a * mean_b
    correlation = np.where(many, both / np.sqrt((var_a + 1e-4) * (var_b + 1e-4)), 0)
    return np.asarray(correlation, np.float32), np.asarray(np.where(many, np.sqrt(var_a), 0), np.float32)


def similarity_of(first: Gray, second: Gray, inside: Mask, window: int) -> float:
    """Local correlation of two pictures, averaged with the first one's local deviation as weight."""
    correlation, weight = local_correlation(first, second, inside, window)
    return float((correlation * weight).sum() / max(float(weight.sum()), 1e-6))


def normalized(values: Gray, sigma_px: float, floor: float) -> Gray:
    """Each pixel's distance from the mean around it, in standard deviations around it (at least `floor`)."""
    mean = cv2.GaussianBlur(values, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT)
    variance = cv2.GaussianBlur((values - mean) ** 2, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT)
    return np.asarray((values - mean) / (np.sqrt(variance) + floor), np.float32)


@contextmanager
def one_thread() -> Iterator[None]:
    """OpenCV on one thread, then as before: its optical flow and its SIFT give other results with other thread counts."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
