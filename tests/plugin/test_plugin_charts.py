"""Charts: what they draw, in any theme and width."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtGui import QColor, QPalette

from stainloom.plugin.charts import (
    BLUE,
    GREY,
    ORANGE,
    BarChart,
    BarRow,
    CurveChart,
    Estimate,
    EstimateChart,
    epoch_curves,
)

pytestmark = pytest.mark.screen

HISTORY = [
    {"epoch": float(n), "train_loss": 2 / n, "validation_loss": 1 + 1 / n, "validation_accuracy": n / 5} for n in range(1, 5)
]  # fmt: skip


def drawn(chart, width: int = 340) -> np.ndarray:
    """What it draws on its own, (rows, cols, 3)."""
    chart.resize(width, chart.sizeHint().height())
    picture = chart.grab().toImage().convertToFormat(chart.grab().toImage().Format.Format_RGB888)
    data = np.frombuffer(picture.constBits().asstring(picture.sizeInBytes()), np.uint8)
    return data.reshape(picture.height(), picture.bytesPerLine())[:, : 3 * picture.width()].reshape(
        picture.height(), picture.width(), 3
    )


def pixels_of(picture: np.ndarray, color: str) -> np.ndarray:
    red, green, blue, _ = QColor(color).getRgb()
    return np.abs(picture.astype(int) - (red, green, blue)).max(axis=-1) < 12


def test_a_dark_bar_is_seen_and_filled(qtbot):
    chart = BarChart("Windows")
    qtbot.addWidget(chart)
    chart.show_counts(["train", "test"], [BarRow("A", "#202020", (100, 0))])
    assert pixels_of(drawn(chart), GREY).any(axis=0).sum() > 100
    assert pixels_of(drawn(chart), GREY).any(axis=1).sum() >= 8


def test_bars_are_as_long_as_their_counts(qtbot):
    chart = BarChart("Windows")
    qtbot.addWidget(chart)
    chart.show_counts(["train", "test"], [BarRow("A", "#0000ff", (100, 0)), BarRow("B", "#ff0000", (50, 0))])
    picture = drawn(chart)
    long, short = (pixels_of(picture, color).any(axis=0).sum() for color in ("#0000ff", "#ff0000"))
    assert short / long == pytest.approx(0.5, abs=0.03)
    assert chart.accessibleDescription() == "A: 100 train, 0 test; B: 50 train, 0 test"


def test_curves_fall_where_the_loss_falls(qtbot):
    chart = CurveChart("Loss")
    qtbot.addWidget(chart)
    chart.show_curves(epoch_curves(HISTORY, "loss"), best=4, level=(1.8, "guessing"))
    picture = drawn(chart)[24:]
    for color in (BLUE, ORANGE):
        rows, cols = np.nonzero(pixels_of(picture, color))
        assert np.corrcoef(rows, cols)[0, 1] > 0.5  # downwards to the right
    assert "validation 1.25" in chart.accessibleDescription()


def test_a_curve_that_was_not_measured_is_left_out():
    assert [curve.name for curve in epoch_curves(HISTORY, "accuracy")] == ["validation"]
    assert [curve.points for curve in epoch_curves([], "loss")] == [(), ()]


@pytest.mark.parametrize("history", [[], HISTORY[:1], [{**HISTORY[0], "train_loss": float("nan")}]])
def test_no_epoch_one_epoch_and_no_number_are_drawn_too(qtbot, history):
    chart = CurveChart("Loss")
    qtbot.addWidget(chart)
    chart.show_curves(epoch_curves(history, "loss"), best=1)
    assert drawn(chart).std() > 0


def test_an_estimate_is_a_bar_with_its_interval(qtbot):
    chart = EstimateChart("Right")
    qtbot.addWidget(chart)
    chart.show_estimates([Estimate("fused", 0.5, (0.25, 1.0), True), Estimate("HE", 0.25)], 0.2)
    assert pixels_of(drawn(chart), BLUE).any(axis=0).sum() > 60
    chart.show_estimates([])
    assert chart.sizeHint().height() == 0


@pytest.mark.parametrize("ink", ["#f0f1f2", "#202428"])
def test_text_takes_the_ink_of_the_theme(qtbot, ink):
    chart = EstimateChart("Right")
    qtbot.addWidget(chart)
    palette = QPalette(chart.palette())
    palette.setColor(QPalette.ColorRole.WindowText, QColor(ink))
    palette.setColor(QPalette.ColorRole.Window, QColor("#808080"))
    chart.setPalette(palette)
    chart.show_estimates([Estimate("fused", 0.5)])
    assert pixels_of(drawn(chart), ink).sum() > 20
