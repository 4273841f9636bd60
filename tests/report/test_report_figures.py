"""Pictures of a report show what they say."""

import cv2
import numpy as np
import pytest

from stainloom.case.lesions import LESIONS
from stainloom.report.figures import (
    Score,
    checkerboard,
    draw_confusion,
    draw_history,
    draw_scores,
    encode_png,
    outline_labels,
    paint_classes,
)


def _decode(png: bytes) -> np.ndarray:
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def test_a_png_gives_the_picture_back() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (9, 13, 3), dtype=np.uint8)
    assert (_decode(encode_png(picture)) == picture).all()


def test_a_checkerboard_shows_each_picture_in_turn() -> None:
    pictures = [np.full((8, 8, 3), value, np.uint8) for value in (10, 20, 30)]
    board = checkerboard(pictures, 4)[..., 0]
    assert (board[0, 0], board[0, 4], board[4, 0], board[4, 4]) == (10, 20, 20, 30)
    with pytest.raises(ValueError, match="checkerboard"):
        checkerboard([], 4)


def test_painted_classes_take_their_colours_and_leave_the_rest() -> None:
    picture = np.full((20, 20, 3), 100, np.uint8)
    labels = np.zeros((10, 10), np.uint8)
    labels[2:5, 2:5] = LESIONS[0].id
    painted = paint_classes(picture, labels, LESIONS, opacity=1.0)
    assert tuple(painted[6, 6]) == LESIONS[0].rgb
    assert (painted[0] == 100).all()
    outlined = outline_labels(picture, labels, LESIONS)
    assert (outlined == LESIONS[0].rgb).all(axis=-1).any()
    assert (picture == 100).all()


def test_charts_are_pictures_with_ink() -> None:
    confusion = _decode(draw_confusion(np.array([[5, 1], [0, 7]]), ["MEMA", "EFFL"]))
    scores = _decode(draw_scores([Score("fused", 0.8, 0.8, 0.7, 0.9, True), Score("HE alone", 0.5, 0.5)], 1 / 6))
    history = _decode(draw_history([2.0, 1.0], [2.1, 1.2], 1.79))
    for chart in (confusion, scores, history):
        assert chart.std() > 10
        assert min(chart.shape[:2]) > 100
    assert (scores == [0x00, 0x72, 0xB2]).all(axis=-1).any()
