"""The checks of a simulated study catch what they are for, and its parameters lie where they should."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from stainloom.geometry import Box, Pixels, box_to_um
from stainloom.sample.aorta import Block, SimulationSettings, simulate_block
from stainloom.sample.checks import check_study, class_mix, scanner_class_p
from stainloom.sample.noise import Field, Texture, at_depth, chance, generator, smooth_noise
from stainloom.sample.scanner import SCANNERS
from stainloom.sample.staining import SHOWN_ALONE, STAIN_NAMES, UPTAKE, shown
from stainloom.sample.tissue_model import Tissue

WIDE = SimulationSettings(patients=3, width_um=1300.0, height_um=1000.0, lesions=3.0, tear=0.0)


@pytest.fixture(scope="module")
def blocks() -> list[Block]:
    return [simulate_block(WIDE, number) for number in range(3)]


def _grey(block: Block, stain: str, box: Box) -> Pixels:
    """Colours that know nothing of the class."""
    rng = np.random.default_rng([abs(box.row), abs(box.col), len(stain)])
    return np.broadcast_to(rng.integers(90, 200, 3).astype(np.uint8), (box.rows, box.cols, 3))


def _leaking(block: Block, stain: str, box: Box) -> Pixels:
    """A picture whose colour gives the class away."""
    middle = box_to_um(box, block.um_per_px)
    place = block.glass_warp(stain).points(
        np.array([middle.row_um + middle.rows_um / 2, middle.col_um + middle.cols_um / 2])
    )
    label = int(block.tissue.labels(place[:1], place[1:], 0.0)[0])
    return np.full((box.rows, box.cols, 3), 60 + 25 * label, np.uint8)


def test_a_study_that_leaks_colour_is_caught_and_one_that_does_not_passes(blocks: list[Block]) -> None:
    leaky = check_study(WIDE, blocks, read=_leaking)
    assert leaky.flatters
    assert leaky.colours > 0.8
    honest = check_study(WIDE, blocks, read=_grey)
    assert not honest.flatters
    assert abs(honest.colours - honest.chance) < 0.1
    assert sum(honest.windows.values()) > 150


def test_figures_are_said_with_their_sources(blocks: list[Block]) -> None:
    text = "\n".join(check_study(WIDE, blocks, read=_grey).lines())
    assert "SIMULATED" in text
    assert "doi" in text
    assert "mean colours" in text
    for what in ("laminae", "nuclei per mm2", "dye directions", "optical density"):
        assert what in text


def test_a_study_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="without blocks"):
        check_study(WIDE, [])


def test_mean_colours_of_the_rendered_study_do_not_flatter() -> None:
    chosen = dataclasses.replace(WIDE, patients=2, width_um=900.0, height_um=800.0, lesions=4.0, turn_deg=0.0)
    figures = check_study(chosen, [simulate_block(chosen, number) for number in range(2)])
    # Few windows of two patients: a wide margin that a leak (0.8 and more) still breaks.
    assert figures.colours < figures.chance + 0.25
    assert all(one.inside for one in figures.ranges), figures.ranges


def test_scanner_and_class_mix_are_drawn_apart_over_many_seeds() -> None:
    many = [simulate_block(SimulationSettings(seed=seed), seed % 10) for seed in range(160)]
    assert scanner_class_p(many) > 0.005
    counts = [sum(block.scanner == name for block in many) for name in SCANNERS]
    assert min(counts) > 30


def test_a_planted_association_of_scanner_and_class_is_caught() -> None:
    drawn = [simulate_block(SimulationSettings(seed=seed), 0) for seed in range(60)]
    planted = [
        SimpleNamespace(tissue=block.tissue, scanner=SCANNERS[int(np.argmax(class_mix(block))) // 2]) for block in drawn
    ]
    assert scanner_class_p(planted) < 0.01  # type: ignore[arg-type]


def test_each_class_occurs_in_most_patients() -> None:
    mixes = np.array([class_mix(simulate_block(SimulationSettings(), number)) for number in range(10)])
    assert (mixes > 0).mean(axis=0).min() >= 0.6
    areas = [area for number in range(10) for area in simulate_block(SimulationSettings(), number).tissue.areas]
    assert sum(np.pi * a.axes_um[0] * a.axes_um[1] > 50_000 for a in areas) >= 5


def test_areas_do_not_meet_and_lie_in_the_media() -> None:
    tissue = simulate_block(SimulationSettings(), 4).tissue
    rows, cols = np.meshgrid(np.arange(2.0, 1800, 4), np.arange(2.0, 2400, 4), indexing="ij")
    cover = sum((area.inside_um(rows, cols, 8.0) > 0).astype(int) for area in tissue.areas)
    assert np.max(cover) == 1
    below = rows - tissue.lumen_um(cols)
    inside = cover > 0
    assert below[inside].min() > tissue.media_um[0]
    assert below[inside].max() < tissue.media_um[1]


def test_neighbouring_sections_share_some_nuclei_and_distant_ones_none(blocks: list[Block]) -> None:
    shared = blocks[0].facts()["shared_nuclei"]
    assert 0.2 < shared["HE and AB-PAS"] < 0.5
    assert shared["HE and Masson"] == 0
    assert shared["HE and VG"] == 0


def test_nuclei_lie_between_laminae_along_the_circumference(blocks: list[Block]) -> None:
    tissue = blocks[0].tissue
    nuclei = tissue.nuclei(0.0, np.zeros(5))
    _, level = tissue.level_um(nuclei.centres_um[:, 0], nuclei.centres_um[:, 1], tissue.bends(0.0))
    media = (level > tissue.media_um[0]) & (level < tissue.media_um[1])
    phase = ((level - tissue.media_um[0]) / tissue.spacing_um) % 1
    assert np.all((phase[media] > 0.2) & (phase[media] < 0.8))
    lengths = np.linalg.norm(nuclei.tips_um[:, 1] - nuclei.tips_um[:, 0], axis=1)[media]
    assert 11 < np.quantile(lengths, 0.02) < np.quantile(lengths, 0.98) < 21
    way = np.abs(nuclei.tips_um[media, 1] - nuclei.tips_um[media, 0])
    assert np.median(way[:, 0] / way[:, 1]) < 0.3


def test_nuclei_are_missing_in_smnl_alone() -> None:
    tissue = Tissue(dataclasses.replace(WIDE, seed=5), 0)
    every, none = tissue.nuclei(0.0, np.ones(5)), tissue.nuclei(0.0, np.zeros(5))
    assert set(every.ids.tolist()) < set(none.ids.tolist())
    gone = ~np.isin(none.ids, every.ids)
    labels = tissue.labels(none.centres_um[:, 0], none.centres_um[:, 1], 0.0)
    assert np.mean(labels[gone] == 3) > 0.85
    assert np.mean(gone[labels == 3]) > 0.6
    assert np.mean(gone[labels == 6]) == 0


def test_every_dye_of_every_stain_has_its_uptake() -> None:
    for block in [simulate_block(SimulationSettings(), 0)]:
        for name in STAIN_NAMES:
            staining = block.staining(name)
            assert set(UPTAKE[name]) == {dye.name for dye in staining.stain.dyes}
            assert np.allclose(np.linalg.norm(staining.directions, axis=1), 1, atol=1e-5)
            assert max(staining.turned_deg()) < 25
    assert set(SHOWN_ALONE) == set(STAIN_NAMES)
    assert sorted(SHOWN_ALONE.values()) == [1, 2, 3, 4, 5]
    alone = SimulationSettings(difficulty="exclusive")
    assert np.array_equal(sum(shown(alone, name) for name in STAIN_NAMES), np.ones(5))


def test_slides_fail_only_when_asked_and_never_he() -> None:
    failing = SimulationSettings(failed_share=1.0)
    block = simulate_block(failing, 0)
    assert not block.staining("HE").failed
    assert all(block.staining(name).failed for name in STAIN_NAMES[1:])
    sound = simulate_block(SimulationSettings(failed_share=0.0), 0)
    assert not any(sound.staining(name).failed for name in STAIN_NAMES)


def test_dyes_vary_more_between_patients_than_a_lesion_changes_the_mean() -> None:
    many = SimulationSettings(patients=60)
    strengths = [simulate_block(many, n).staining("Masson").uptake[0, 5] for n in range(60)]
    assert np.std(np.log(strengths)) > 0.18


def test_lattice_chance_is_even_and_the_same_in_any_order() -> None:
    cells = np.arange(20_000)
    values = chance(7, 1, cells, cells[::-1])
    assert abs(values.mean() - 0.5) < 0.01
    assert abs(np.histogram(values, 10, (0, 1))[0] / 2000 - 1).max() < 0.1
    assert np.array_equal(chance(7, 1, cells[5:9], cells[::-1][5:9]), values[5:9])
    assert not np.array_equal(chance(8, 1, cells, cells[::-1]), values)


def test_noise_keeps_its_spread_at_any_depth_and_forgets() -> None:
    pair = [smooth_noise(generator(1, k), 256, 3, 5) for k in range(2)]
    near, far = at_depth(*pair, 4.0, 14.0), at_depth(*pair, 22.0, 14.0)
    assert abs(near.std() - 1) < 0.1
    assert abs(far.std() - 1) < 0.1
    assert np.corrcoef(pair[0].ravel(), near.ravel())[0, 1] > 0.9
    assert abs(np.corrcoef(pair[0].ravel(), far.ravel())[0, 1]) < 0.25


def test_periodic_noise_has_no_seam() -> None:
    noise = smooth_noise(generator(2), 128, 4, 4)
    assert np.abs(noise[0] - noise[-1]).max() < 4 * np.abs(np.diff(noise, axis=0)).std()
    texture = Texture.of([noise] * 4, 1.0, 100.0)
    rows, cols = np.meshgrid(np.arange(90, 170, dtype=np.float32), np.arange(50, dtype=np.float32), indexing="ij")
    for far in (0.0, 128.0, -256.0):
        assert np.array_equal(texture.at(rows + far, cols)[0], texture.at(rows, cols)[0])
    field = Field(np.dstack([noise, noise]), 4.0)
    assert np.allclose(field.at(np.array([3.0 * 4]), np.array([5.0 * 4]))[0, 0], noise[3, 5], atol=1e-5)
