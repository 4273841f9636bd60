"""The field of view as arithmetic: places on the canvas and in um, turned and zoomed about a point."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stainloom.plugin.field import Field, around, clear_of_corner, upright, zoom_of

far = st.floats(-1e4, 1e4)
fields = st.builds(Field, st.tuples(far, far), st.floats(0.01, 10), st.floats(-179, 180))
points = st.tuples(st.floats(-800, 800), st.floats(-800, 800))


@given(fields, points)
def test_a_place_on_the_canvas_and_its_um_are_inverse(field, point):
    assert field.px(field.um(point)) == pytest.approx(point, abs=1e-5)


@given(fields, points, st.floats(0.01, 10), st.floats(-400, 400))
def test_what_lies_under_a_point_stays_there(field, point, zoom, turn):
    changed = field.changed(zoom=zoom, turn_deg=turn, about_px=point)
    assert changed.um(point) == pytest.approx(field.um(point), abs=1e-5)
    assert changed.zoom == zoom
    assert math.cos(math.radians(changed.turn_deg - turn)) == pytest.approx(1)


def test_a_turn_is_clockwise_on_the_screen():
    # What lies right of the middle lies below it after a quarter turn.
    assert Field((0, 0), 2, 0).px((0, 10)) == pytest.approx((20, 0))
    assert Field((0, 0), 2, 90).px((0, 10)) == pytest.approx((0, 20))


def test_magnification_is_as_of_a_microscope():
    assert Field((0, 0), zoom_of(10)).um_per_px == pytest.approx(1)
    assert Field((0, 0), zoom_of(40)).um_per_px == pytest.approx(0.25)
    assert Field((0, 0), zoom_of(4)).magnification == pytest.approx(4)


@given(st.floats(-179, 180), st.floats(10, 3000), st.floats(10, 3000))
def test_a_rectangle_fits_however_it_is_turned(turn, rows, cols):
    field = around((5, 7, 5 + rows, 7 + cols), 900, 600, turn, margin=0.03)
    corners = [field.px((row, col)) for row in (5, 5 + rows) for col in (7, 7 + cols)]
    assert max(abs(x) for x, _ in corners) <= 450
    assert max(abs(y) for _, y in corners) <= 300
    assert max(abs(x) for x, _ in corners) > 420 or max(abs(y) for _, y in corners) > 280


@pytest.mark.parametrize(("turn", "same"), [(0, 0), (180, 180), (-180, 180), (190, -170), (-350, 10), (720, 0)])
def test_turns_are_said_between_half_turns(turn, same):
    assert upright(turn) == same


CORNERS = st.tuples(st.floats(0, 300), st.floats(0, 400))


@given(st.floats(10, 3000), st.floats(10, 3000), CORNERS)
def test_the_whole_is_clear_of_the_corner_unless_it_would_be_much_smaller(rows, cols, corner):
    field = clear_of_corner((0, 0, rows, cols), (600, 900), corner, margin=0.03)
    (left, top), (right, bottom) = field.px((0, 0)), field.px((rows, cols))
    assert min(left + 450, top + 300, 450 - right, 300 - bottom) >= -0.01
    full = around((0, 0, rows, cols), 900, 600, 0.0, 0.03)
    assert field.zoom >= 0.75 * full.zoom
    clear = bottom <= 300.01 - corner[0] or left >= corner[1] - 450.01
    assert clear or field == full


def test_the_whole_stays_in_the_middle_where_nothing_covers_it():
    wide, high = (0, 0, 100, 1000), (0, 0, 1000, 100)
    for edges in (wide, high):
        assert clear_of_corner(edges, (600, 900), (0, 0), 0.03) == around(edges, 900, 600, 0.0, 0.03)
    # A corner that the picture leaves free anyway does not move it.
    assert clear_of_corner(wide, (600, 900), (200, 300), 0.03) == around(wide, 900, 600, 0.0, 0.03)
    assert clear_of_corner(high, (600, 900), (200, 300), 0.03) == around(high, 900, 600, 0.0, 0.03)
    # A square one goes to the right, because there is room, and keeps its size.
    square = clear_of_corner((0, 0, 1000, 1000), (600, 900), (200, 300), 0.03)
    assert square.zoom == around((0, 0, 1000, 1000), 900, 600, 0.0, 0.03).zoom
    assert square.px((0, 0))[0] == pytest.approx(300 - 450)
