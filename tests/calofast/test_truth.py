"""Detectors, requests, seeds and scoring: all of the simulation that needs no Geant4."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from calofast.detector import LEAD, LIQUID_ARGON, Detector, Slab, detector, detectors
from calofast.geant4 import step_starts, volumes
from calofast.geometry import calochallenge, calogan
from calofast.truth import (
    BLOCK,
    Request,
    blocks,
    default_physics,
    draw_energies,
    event_seeds,
    score,
    simulate_events,
)
from calofast.truth_engine import Deposits, Physics
from hepflows.errors import ConfigError, GeometryError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass
class Recorder:
    """An engine that leaves its energy in one point and remembers what it was asked for."""

    asked: list[tuple[float, int]] = field(default_factory=list)
    versions: Mapping[str, str] = field(default_factory=lambda: {"geant4": "none"})

    def shower(self, energy_gev: float, seed: int) -> Deposits:
        self.asked.append((energy_gev, seed))
        return Deposits(
            position_mm=np.array([[10.0, 70.0, -200.0]]), energy_mev=np.array([energy_gev * 1e3]), cpu_seconds=0.25
        )


def request(**changes: Any) -> Request:
    whole = Request.of("calogan", "e+", energy_gev=(1.0, 100.0), n=100, seed=7)
    return replace(whole, **changes)


def test_toy_calorimeter_is_that_of_calogan() -> None:
    toy = detector("calogan")
    assert toy.geometry == calogan()
    assert (toy.front_mm, toy.depth_mm, toy.half_width_mm) == (-240.0, 480.0, 500.0)
    plates = toy.plates()
    assert len(plates) == 160
    assert plates[0] == (LEAD, -240.0, -238.0)
    assert plates[1] == (LIQUID_ARGON, -238.0, -234.0)
    assert plates[-1][2] == 240.0
    assert plates[30][1] == -150.0  # the first layer ends exactly where a plate of lead begins
    assert [material.density_g_cm3 for material in toy.materials] == [None, 1.390]


def test_fine_calorimeters_have_the_cells_of_data_set_2() -> None:
    assert detector("siw45").geometry.same_cells(calochallenge("dataset_2"))
    fine = detector("pbar45").geometry
    assert fine.n_voxels == 6480
    assert [layer.shape for layer in fine.layers] == [(16, 9)] * 45
    assert detector("siw45").depth_mm == pytest.approx(153.0)
    assert {material.element for material in detector("pbar45").materials} == {"Pb", "Ar"}
    for known in detectors().values():
        assert all(layer.z_mm is not None for layer in known.geometry.layers)
        ends = [plate[2] for plate in known.plates()]
        starts = [plate[1] for plate in known.plates()]
        assert starts[1:] == pytest.approx(ends[:-1])
        assert ends[-1] == pytest.approx(known.front_mm + known.depth_mm)


def test_detector_refuses_layers_that_do_not_fit_its_plates() -> None:
    with pytest.raises(GeometryError, match="same depth"):
        Detector(
            name="bad", geometry=calogan(), slabs=(Slab(material=LEAD, thickness_mm=2.0),), repeats=80, half_width_mm=1
        )
    with pytest.raises(GeometryError, match="does not tell its depth"):
        Detector(
            name="bad", geometry=calochallenge("dataset_2"), slabs=detector("siw45").slabs, repeats=90, half_width_mm=1
        )
    with pytest.raises(ConfigError, match="calogan, siw45, pbar45"):
        detector("calogam")


def test_volumes_are_plates_in_centimetres() -> None:
    built = volumes(detector("calogan"))
    world = built["World"]
    plates = [name for name in world if name.startswith("Plate")]
    assert len(plates) == 160
    assert world["Plate1"] == {
        "material": "LiquidArgon",
        "box": [100.0, 100.0, pytest.approx(0.4)],
        "position": [0.0, 0.0, pytest.approx(-23.6)],
        "role": "record_deposits",
    }
    assert world["Plate0"]["material"] == "G4_Pb"
    assert built["materials"]["molecules"] == {
        "LiquidArgon": {"composition": {"Ar": 1}, "density": 1.390, "state": "liquid"}
    }
    assert "materials" not in volumes(detector("siw45"))


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"particle": "elektron"}, "--particle"),
        ({"n": 0}, "-n"),
        ({"seed": -1}, "--seed"),
        ({"energy_gev": (0.0, 5.0)}, "--energy"),
        ({"energy_gev": (5.0, 1.0)}, "--energy"),
        ({"energy_gev": (1.0, float("inf"))}, "--energy"),
        ({"physics": Physics(cut_mm=0.0)}, "--cut-mm"),
        ({"detector_name": "atlas"}, "--geometry"),
    ],
)
def test_impossible_requests_are_refused(changes: dict[str, Any], where: str) -> None:
    asked: dict[str, Any] = {"detector_name": "calogan", "particle": "e+", "energy_gev": (1.0, 5.0), "n": 5, "seed": 1}
    with pytest.raises(ConfigError) as refused:
        Request.of(**{**asked, **changes})
    assert refused.value.where == where


def test_hadrons_get_hadronic_physics() -> None:
    assert default_physics(22).name == "option1"
    assert default_physics(211).name == "standard+FTFP_BERT"
    assert Request.of("calogan", "pi+", energy_gev=(1, 5), n=1, seed=0).physics.hadronic == "FTFP_BERT"


def test_blocks_do_not_depend_on_the_share() -> None:
    whole = blocks(request())
    assert whole == ((0, 32), (32, 64), (64, 96), (96, 100))
    assert blocks(request(bounds=(10, 70))) == ((10, 32), (32, 64), (64, 70))
    assert blocks(request(bounds=(BLOCK, BLOCK))) == ()


def test_an_event_follows_from_seed_and_index() -> None:
    asked = request()
    energies, seeds = draw_energies(asked, 0, 100), event_seeds(asked.seed, 0, 100)
    np.testing.assert_array_equal(draw_energies(asked, 40, 60), energies[40:60])
    assert event_seeds(asked.seed, 40, 60) == seeds[40:60]
    assert len(set(seeds)) == 100
    assert all(seed % 2 == 1 and seed < 2**128 for seed in seeds)
    assert max(seeds) > 2**120  # all four words are used
    assert not set(seeds) & set(event_seeds(asked.seed + 1, 0, 100))
    assert not np.any(draw_energies(request(seed=8), 0, 100) == energies)


def test_energies_follow_the_spectrum() -> None:
    flat = draw_energies(request(), 0, 20_000)
    assert flat.dtype == np.float32
    assert flat.min() >= 1.0
    assert flat.max() <= 100.0
    assert flat.mean() == pytest.approx(50.5, abs=1.0)
    log = draw_energies(request(spectrum="log-uniform"), 0, 20_000)
    assert np.median(log) == pytest.approx(10.0, rel=0.05)
    assert np.all(draw_energies(request(energy_gev=(50.0, 50.0)), 0, 9) == 50.0)


def test_deposits_are_counted_where_their_step_starts() -> None:
    toy = detector("calogan")
    position = np.array(
        [
            [0.0, 0.1, -240.0],  # front face
            [0.0, -0.1, -150.0],  # a face belongs to the layer behind it
            [0.0, 0.0, 196.999],
            [0.0, 0.0, 197.0],
            [239.9, 0.1, 0.0],
            [240.1, 0.1, 0.0],  # beside the cells
            [0.0, -241.0, 239.0],
        ]
    )
    energy = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0])
    voxels, overflow = score(toy, position, energy)
    first, second, third = (
        voxels[0, part].reshape(layer.shape)
        for part, layer in zip(toy.geometry.layer_slices, toy.geometry.layers, strict=True)
    )
    assert first[1, 48] == 1.0  # axis 1 is x, axis 2 is y
    assert first.sum() == 1.0
    assert (second[6, 5], second[6, 6], second[11, 6]) == (2.0, 4.0, 16.0)
    assert third[6, 3] == 8.0
    np.testing.assert_array_equal(overflow, [[0.0, 32.0, 64.0]])


def test_showers_hold_what_the_engine_left() -> None:
    engine, asked = Recorder(), request()
    truth = simulate_events(engine, asked, 30, 35)
    assert engine.asked == list(
        zip(draw_energies(asked, 30, 35).tolist(), event_seeds(asked.seed, 30, 35), strict=True)
    )
    np.testing.assert_allclose(truth.showers.e_tot_mev, truth.showers.incident_energy_gev * 1e3, rtol=1e-6)
    assert truth.showers.pdg == -11
    np.testing.assert_array_equal(truth.seconds, np.full(5, 0.25, np.float32))
    notes = truth.showers.provenance
    assert notes["seed"] == "7"
    assert notes["production_cut_mm"] == "0.7"
    assert "option1" in notes["physics"]
    assert "without nuclear" in notes["physics"]
    assert "uniform" in notes["energy"]


class _Volume:
    def __init__(self, line: Any, point: Any) -> None:
        self.line, self.point = line, point


class _Run:
    def __init__(self, deposits: dict[str, _Volume], vertices: Any) -> None:
        self.deposits, self.vertices = deposits, vertices


_LINE = [("value", "f8"), ("start", "f8", 3), ("end", "f8", 3)]
_POINT = [("value", "f8"), ("position", "f8", 3), ("time", "f8")]
_VERTEX = [("time", "f8"), ("position", "f8", 3)]


def test_steps_of_neutral_particles_start_where_their_track_was() -> None:
    line = np.array([(3.0, [1, 2, 3], [9, 9, 9])], dtype=_LINE)
    point = np.array([(5.0, [7, 7, 7], 2.5), (6.0, [8, 8, 8], 9.0)], dtype=_POINT)
    vertices = np.array([(4.0, [0, 0, 4]), (2.5, [0, 0, 2]), (1.0, [0, 0, 1])], dtype=_VERTEX)
    position, energy = step_starts(_Run({"a": _Volume(line, point)}, vertices))
    # the time of the second one is unknown: what is known is its end
    np.testing.assert_array_equal(position, [[10, 20, 30], [0, 0, 20], [80, 80, 80]])
    np.testing.assert_array_equal(energy, [3.0, 5.0, 6.0])


def test_a_shower_without_deposits_is_empty() -> None:
    position, energy = step_starts(_Run({}, None))
    assert position.shape == (0, 3)
    assert energy.shape == (0,)
    voxels, overflow = score(detector("calogan"), position, energy)
    assert not voxels.any()
    assert not overflow.any()
