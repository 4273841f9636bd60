"""The scale bar: round lengths that are as long as they say."""

from __future__ import annotations

import pytest

from stainloom.plugin.scalebar import ScaleBar, in_words, round_length


@pytest.mark.parametrize(
    ("most", "length"),
    [(150, 100), (200, 200), (199.9, 100), (999, 500), (1000, 1000), (0.7, 0.5), (0.2, 0.2), (5.0000000001, 5)],
)
def test_a_length_is_one_two_or_five_times_a_power_of_ten(most, length):
    assert round_length(most) == pytest.approx(length)


@pytest.mark.parametrize(("um", "said"), [(0.5, "0.5 µm"), (200, "200 µm"), (1000, "1 mm"), (20_000, "20 mm")])
def test_lengths_are_said_in_um_or_mm(um, said):
    assert in_words(um) == said


@pytest.mark.screen
def test_the_bar_is_as_long_as_it_says_at_each_zoom_and_stays_in_its_corner(window, qtbot):
    from stainloom.plugin._napari import canvas_widget, um_at

    bar, canvas = ScaleBar(window), canvas_widget(window)
    for zoom, said in ((0.04, "2 mm"), (0.5, "200 µm"), (3.0, "50 µm")):
        window.scene.camera.zoom = zoom
        assert bar.text == said
        assert 50 < bar.length_px <= 150
        assert bar.width() <= 150 + 20
        left, right = um_at(window, 100, 100), um_at(window, 100 + bar.length_px, 100)
        value, unit = said.split()
        assert right[1] - left[1] == pytest.approx(float(value) * (1000 if unit == "mm" else 1), rel=1e-3)
        assert 0 < canvas.width() - bar.geometry().right() < 20
        assert 0 < canvas.height() - bar.geometry().bottom() < 20
    bar.leave()
    assert bar.parent() is None
