"""Tests of a case as layers, without a window: names, places, colours, verdicts, legend."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from stainloom.case.aligned import AlignedStain
from stainloom.case.case import Case
from stainloom.case.study import PROTOCOLS, Study
from stainloom.case.view import CaseView, MapsView, StainView
from stainloom.case.warp import Warp
from stainloom.geometry import ArrayPyramid
from stainloom.jobs.opening import OUT_OF_FOCUS
from stainloom.plugin import layers as case_layers
from stainloom.plugin.overlay import (
    RESEARCH_ONLY,
    SIGNS,
    SIMULATED,
    Overlay,
    Present,
    Shown,
    caution,
    class_colormap,
    overlay_values,
    overlays_of,
)
from stainloom.plugin.overlay import legend as legend_of
from stainloom.plugin.pyramid import Renderer

ROWS, COLS, UM = 700, 900, 0.5
NAMES = ("HE", "AB-PAS", "Masson", "SMA", "VG")
DEFAULT = ("reference", "good", "good", "good", "good")


@pytest.fixture
def renderer():
    made = Renderer()
    yield made
    made.close()


def small_case(verdicts=DEFAULT, *, labels=True, maps=True, simulated=True) -> CaseView:
    """A case whose stains are flat colours, with a lesion painted and two classes predicted."""
    study = Study(PROTOCOLS[0], simulated=simulated)
    stains = []
    for number, (name, verdict) in enumerate(zip(NAMES, verdicts, strict=True)):
        slide = ArrayPyramid(np.full((ROWS, COLS, 3), 200 - 20 * number, np.uint8), UM)
        aligned = AlignedStain(name, slide, None if verdict == "reference" else Warp.from_affine())
        stains.append(StainView(name, None if verdict in ("missing", "left out") else aligned, verdict))
    painted = np.zeros((175, 225), np.uint8)
    painted[50:70, 100:150] = 3
    predicted = np.zeros((10, 12), np.uint8)
    predicted[:5], predicted[5:8] = 1, 6
    weights = {name: np.full((10, 12), 0.1 * n, np.float32) for n, name in enumerate(NAMES)}
    probabilities = np.zeros((len(study.classes), 10, 12), np.uint8)
    run = MapsView("run-1", (28.0, 28.0), (7.0, 21.0), predicted, probabilities, weights, study.classes)
    case = Case("P01-A", "P01", "A")
    return CaseView(
        study,
        case,
        tuple(stains),
        painted if labels else None,
        (2.0, 2.0),
        maps=run if maps else None,
        simulated=simulated,
    )


def legend(view, shown):
    return legend_of(view, view.maps, shown, Present.of(view, view.maps))


def opened(view, renderer):
    viewer = ViewerModel()
    return viewer, case_layers.add_case(viewer, view, renderer)


def test_layers_are_named_for_people_and_only_the_reference_is_shown(renderer):
    viewer, layers = opened(small_case(), renderer)
    assert [layer.name for layer in viewer.layers] == [
        *NAMES,
        "Checkerboard",
        "Lesions",
    ]
    assert layers.shown(viewer) == Shown(stains=("HE",), lesions=True)


def test_every_layer_is_in_um_with_its_first_pixel_centred(renderer):
    viewer, layers = opened(small_case(), renderer)
    for layer in viewer.layers:
        assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
    for layer in (*layers.stains.values(), layers.lesions):
        np.testing.assert_allclose(layer.translate, layer.scale / 2)
    predicted = case_layers.predicted_layer(small_case().maps)
    assert [str(unit) for unit in predicted.units] == ["micrometer", "micrometer"]
    np.testing.assert_allclose(predicted.translate, (7 + 14, 21 + 14))
    # The same place, in um, is the same place in every layer.
    place = np.array([110.0, 230.0])
    for layer in (layers.stains["VG"], layers.lesions, predicted):
        edge = layer.world_to_data(place) + 0.5
        origin = np.array((7.0, 21.0)) if layer is predicted else 0
        np.testing.assert_allclose(edge * layer.scale + origin, place)


def test_slides_are_multiscale_and_read_as_what_they_are(renderer):
    _, layers = opened(small_case(), renderer)
    for number, name in enumerate(NAMES):
        layer = layers.stains[name]
        assert isinstance(layer, Image)
        assert layer.multiscale
        assert layer.rgb
        assert layer.data[0].chunks[0] <= 1024
        assert layer.data[0][100, 100].tolist() == [200 - 20 * number] * 3


@pytest.mark.parametrize("verdict", ["check", "failed", "not aligned"])
def test_a_doubtful_stain_says_so_in_its_name_and_the_legend(renderer, verdict):
    view = small_case(("reference", verdict, "good", "good", "good"))
    _, layers = opened(view, renderer)
    assert layers.stains["AB-PAS"].name == f"{verdict.upper()}: AB-PAS"
    assert legend(view, Shown(stains=("AB-PAS",))).notes[0].startswith("AB-PAS: ")
    assert not any(note.startswith("AB-PAS") for note in legend(view, Shown(stains=("HE",))).notes)
    lines = {line.name: line.verdict for line in legend(view, Shown()).stains}
    assert lines["AB-PAS"] == verdict


@pytest.mark.parametrize(
    ("verdict", "shown"), [("good", True), ("check", True), ("failed", False), ("not aligned", False)]
)
def test_the_checkerboard_shows_no_stain_that_does_not_lie_on_the_reference(renderer, verdict, shown):
    view = small_case(("reference", verdict, "good", "good", "good"))
    _, layers = opened(view, renderer)
    board = np.asarray(layers.checkerboard.data[-1])
    assert (180 in np.unique(board)) is shown  # the flat grey of AB-PAS
    said = legend(view, Shown(checkerboard=True))
    assert next(line for line in said.stains if line.name == "AB-PAS").shown is shown
    assert any(note.startswith("AB-PAS: ") for note in said.notes) is (verdict == "check")


def test_maps_older_than_an_alignment_say_so_where_they_are_shown(renderer):
    view = small_case()
    old = dataclasses.replace(view, maps=dataclasses.replace(view.maps, realigned=("SMA", "VG")))
    notes = legend(old, Shown(predicted=True)).notes
    assert "Predicted before SMA, VG changed: predict again" in notes
    assert not any("predict again" in note for note in legend(old, Shown(stains=("HE",))).notes)
    assert not any("predict again" in note for note in legend(view, Shown(predicted=True)).notes)


@pytest.mark.parametrize("verdict", ["missing", "left out"])
def test_a_stain_without_a_slide_has_no_layer_and_the_legend_says_so(renderer, verdict):
    view = small_case(("reference", "good", "good", verdict, "good"))
    _, layers = opened(view, renderer)
    assert "SMA" not in layers.stains
    assert not case_layers.show_stain(layers, "SMA")
    said = legend(view, Shown(stains=("HE",), checkerboard=True))
    assert any(note.startswith("SMA: ") for note in said.notes)
    assert [line.shown for line in said.stains] == [True, True, True, False, True]


def test_the_reason_of_a_verdict_is_told_in_its_own_words():
    assert caution(StainView("VG", None, "missing", "the file was not found")) == "VG: the file was not found"


def test_stains_that_are_alike_are_said_together_and_one_out_of_focus_by_itself():
    view = small_case(("reference", "check", "check", "good", "check"))
    stains = [
        dataclasses.replace(stain, message=f"{OUT_OF_FOCUS}." if stain.name == "VG" else "a reason of its own")
        if stain.verdict == "check"
        else stain
        for stain in view.stains
    ]
    said = legend(dataclasses.replace(view, stains=tuple(stains)), Shown(checkerboard=True)).notes
    assert "AB-PAS and Masson: alignments to be checked" in said
    assert f"VG: {OUT_OF_FOCUS}." in said
    assert not any("a reason of its own" in note for note in said)


def test_every_verdict_has_a_sign_that_differs_without_colour():
    told = {verdict: sign for verdict, (sign, _) in SIGNS.items()}
    assert told["good"] not in {told[v] for v in ("check", "failed", "not aligned", "missing", "left out")}
    assert told["check"] not in {told[v] for v in ("failed", "missing")}


def test_showing_a_stain_hides_the_others(renderer):
    viewer, layers = opened(small_case(), renderer)
    assert case_layers.show_stain(layers, "SMA")
    assert layers.shown(viewer).stains == ("SMA",)
    assert case_layers.show_checkerboard(layers)
    assert layers.shown(viewer) == Shown(checkerboard=True, lesions=True)
    assert case_layers.show_stain(layers, "HE")
    assert layers.shown(viewer) == Shown(stains=("HE",), lesions=True)


def test_a_removed_layer_is_not_shown(renderer):
    viewer, layers = opened(small_case(), renderer)
    viewer.layers.remove(layers.lesions)
    assert not layers.shown(viewer).lesions


def test_classes_have_their_colours_and_unknown_labels_are_clear():
    view = small_case()
    colors = class_colormap(view.study.lesions)
    for lesion in view.study.lesions:
        np.testing.assert_allclose(colors.map(lesion.id), [*(v / 255 for v in lesion.rgb), 1], atol=1e-6)
    for clear in (0, 77):
        assert colors.map(clear)[3] == 0


def test_labels_know_the_names_of_classes_and_cannot_be_painted_yet(renderer):
    _, layers = opened(small_case(), renderer)
    for layer in (layers.lesions, case_layers.predicted_layer(small_case().maps)):
        assert isinstance(layer, Labels)
        assert not layer.editable
        names = dict(zip(layer.features["index"], layer.features["class"], strict=True))
        assert names[0] == "not annotated"
        assert names[1] == "MEMA"


@pytest.mark.parametrize("values", [np.float32, np.uint8])
def test_weights_are_always_shown_from_0_to_1_and_clear_where_nothing_was_predicted(values):
    maps = small_case().maps
    if values is np.uint8:
        weights = {name: np.round(255 * weight).astype(np.uint8) for name, weight in maps.weights.items()}
        maps = dataclasses.replace(maps, weights=weights)
    for number, name in enumerate(NAMES):
        overlay = Overlay("weight", name)
        layer = case_layers.shares_layer(maps, overlay, overlay_values(maps, overlay))
        assert layer.name == f"Weight of {name}"
        assert layer.contrast_limits == [0, 1]
        np.testing.assert_allclose(layer.data[:8], 0.1 * number, atol=0.5 / 255 + 1e-6)
        assert np.isnan(layer.data[8:]).all()


def test_certainty_is_the_highest_probability_and_a_probability_is_that_of_its_class():
    maps = small_case().maps
    probabilities = np.zeros_like(maps.probabilities)
    probabilities[0], probabilities[5] = 51, 204
    maps = dataclasses.replace(maps, probabilities=probabilities)
    np.testing.assert_allclose(overlay_values(maps, Overlay("certainty"))[:8], 0.8)
    np.testing.assert_allclose(overlay_values(maps, Overlay("probability", "MEMA"))[:8], 0.2)
    assert [overlay.name for overlay in overlays_of(maps)[:4]] == [
        "Predicted class", "Certainty", "Weight of HE", "Weight of AB-PAS",
    ]  # fmt: skip


def test_a_layer_takes_other_maps_in_place():
    maps = small_case().maps
    overlay = Overlay("weight", "VG")
    layer = case_layers.shares_layer(maps, overlay, overlay_values(maps, overlay))
    predicted = case_layers.predicted_layer(maps)
    class_map = np.full((20, 24), 2, np.uint8)
    weights = {name: np.full((20, 24), 0.5, np.float32) for name in NAMES}
    other = dataclasses.replace(
        maps, um_per_px=(14.0, 14.0), origin_um=(0.0, 0.0), class_map=class_map, weights=weights
    )
    case_layers.fill_shares(layer, other, Overlay("weight", "SMA"), overlay_values(other, Overlay("weight", "SMA")))
    case_layers.fill_predicted(predicted, other)
    assert layer.name == "Weight of SMA"
    assert predicted.data[19, 23] == 2
    for one in (layer, predicted):
        assert one.data.shape == (20, 24)
        np.testing.assert_allclose(one.translate, (7, 7))
        np.testing.assert_allclose(one.scale, (14, 14))


def test_the_legend_names_what_is_on_the_screen_and_nothing_else():
    view = small_case()
    painted = legend(view, Shown(stains=("HE",), lesions=True))
    assert [s.color for s in painted.swatches] == [view.study.lesion("SMNL").color]
    assert painted.swatches[0].text == "SMNL  smooth muscle cell nuclei loss"
    predicted = legend(view, Shown(predicted=True))
    assert [s.text.split()[0] for s in predicted.swatches] == ["MEMA", "normal"]
    assert predicted.heading == "Classes predicted"
    both = legend(view, Shown(lesions=True, predicted=True))
    assert len(both.swatches) == 3
    assert legend(view, Shown(stains=("HE",))).swatches == ()
    assert legend(view, Shown()).bar is None
    assert legend(view, Shown(overlay=Overlay("weight", "VG"))).bar.text.startswith("Weight of VG")


@pytest.mark.parametrize("simulated", [True, False])
def test_simulated_and_research_use_are_always_said(simulated):
    for shown in (Shown(), Shown(checkerboard=True, lesions=True, predicted=True, overlay=Overlay("weight", "VG"))):
        notes = legend(small_case(simulated=simulated), shown).notes
        assert RESEARCH_ONLY in notes
        assert (SIMULATED in notes) == simulated


def test_a_case_without_paint_and_prediction_has_neither_layer(renderer):
    _, layers = opened(small_case(labels=False, maps=False), renderer)
    assert layers.lesions is None
    assert layers.predicted is None
    assert case_layers.lesion_extent_um(small_case(labels=False)) is None


def test_the_extent_of_lesions_is_in_um():
    assert case_layers.lesion_extent_um(small_case()) == (100.0, 200.0, 140.0, 300.0)


def test_a_second_case_in_the_same_viewer_is_told_from_the_first(renderer):
    viewer, first = opened(small_case(), renderer)
    second = case_layers.add_case(viewer, small_case(), renderer)
    found = case_layers.collect(viewer.layers)
    assert found.stains["HE"] is second.stains["HE"]
    assert first.stains["HE"] is not second.stains["HE"]
