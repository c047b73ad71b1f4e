"""Geant4 through calzone: one shower a call, each from its own seed.

calzone is imported here and nowhere else, and late: it is an optional dependency. It counts in cm and MeV.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from calofast.geant4_data import import_calzone, require_data_sets
from calofast.geant4_symbols import record_photon_steps, remove_photonuclear
from calofast.truth_engine import Deposits
from hepflows.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from calofast.detector import Detector, Material
    from calofast.truth_engine import Physics

_CM = 10.0  # mm
_BEFORE_FRONT_MM = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class Geant4Engine:
    """A built detector.

    Attributes:
        versions: of Geant4 and calzone.
    """

    versions: Mapping[str, str]
    _calzone: Any
    _simulation: Any
    _particle: Any

    def shower(self, energy_gev: float, seed: int) -> Deposits:
        """Simulate one particle that enters the front face along +z at x = y = 0.

        Args:
            energy_gev: kinetic energy.
            seed: 128 bits; the lowest one counts for nothing, as calzone's generator sets it.
        """
        self._particle["energy"] = energy_gev * 1e3
        self._simulation.random = self._calzone.Random(seed)
        start = time.process_time()
        run = self._simulation.run(self._particle)
        seconds = time.process_time() - start
        position, energy = step_starts(run)
        return Deposits(position_mm=position, energy_mev=energy, cpu_seconds=seconds)


def open_geant4(
    detector: Detector, pdg: int, physics: Physics, *, steps: bool = True, tracks: bool = False
) -> Geant4Engine:
    """Build a detector for Geant4.

    Args:
        detector: what to build.
        pdg: code of the incoming particle.
        physics: which interactions to simulate.
        steps: whether to record steps; without, a shower has no deposits.
        tracks: whether to record all tracks as well: the same showers in twice the time. It is done anyway with
            hadrons, and where the start of photons' steps cannot be had otherwise.

    Raises:
        MissingDependencyError: calzone or Geant4's data sets are not there.
        ConfigError: Geant4 knows no such particle or physics list.
    """
    calzone = import_calzone()
    require_data_sets(detector, physics)
    try:
        settings = calzone.Physics(physics.em, default_cut=physics.cut_mm / _CM, had_model=physics.hadronic)
    except ValueError as error:
        raise ConfigError("not a physics list", where="--physics", found=f"{physics.name} ({error})") from None
    simulation = calzone.Simulation(calzone.Geometry(volumes(detector)))
    simulation.physics = settings
    simulation.sample_deposits = "detailed" if steps else None
    start = (0.0, 0.0, (detector.front_mm - _BEFORE_FRONT_MM) / _CM)
    particle = calzone.particles(1, pid=pdg, energy=1.0, position=start, direction=(0.0, 0.0, 1.0))
    simulation.run(particle[:0])  # puts the processes together, and nothing else
    if physics.hadronic is None:
        remove_photonuclear(calzone)
    try:
        simulation.run(particle)
    except ValueError as error:
        raise ConfigError(
            "Geant4 knows no such particle", where="--particle", found=f"PDG code {pdg} ({error})"
        ) from None
    if steps:
        # neutrons, too, leave energy in steps of which only the end is told
        simulation.tracking = tracks or physics.hadronic is not None or not record_photon_steps(calzone)
    versions = {"geant4": str(calzone.GEANT4_VERSION), "calzone": str(calzone.VERSION)}
    return Geant4Engine(versions=versions, _calzone=calzone, _simulation=simulation, _particle=particle)


def volumes(detector: Detector) -> dict[str, Any]:
    """The detector as calzone describes geometries: plates in an empty world, all of them recorded."""
    width = 2 * detector.half_width_mm / _CM
    world: dict[str, Any] = {"material": "G4_Galactic", "box": [2 * width, 2 * width, 2 * _half_length(detector) / _CM]}
    for number, (material, front, back) in enumerate(detector.plates()):
        world[f"Plate{number}"] = {
            "material": _material_name(material),
            "box": [width, width, (back - front) / _CM],
            "position": [0.0, 0.0, 0.5 * (front + back) / _CM],
            "role": "record_deposits",
        }
    own = {
        _material_name(material): {
            "composition": {material.element: 1},
            "density": material.density_g_cm3,
            "state": material.state,
        }
        for material in detector.materials
        if material.density_g_cm3 is not None
    }
    return {"World": world} if not own else {"materials": {"molecules": own}, "World": world}


def step_starts(run: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the steps of a run began [mm], shape (S, 3), and what they left [MeV], shape (S,).

    Of steps of neutral particles calzone may give the end only, see `calofast.geant4_symbols`; the start is then
    the point of the track at the time that calzone states, which is that of the start.
    """
    cells = getattr(run, "deposits", {}).values()  # no such attribute if nothing is recorded
    charged = np.concatenate([cell.line for cell in cells]) if cells else None
    if charged is None:
        return np.zeros((0, 3)), np.zeros(0)
    neutral = np.concatenate([cell.point for cell in cells])
    if not len(neutral):
        return charged["start"] * _CM, charged["value"].copy()
    vertices = run.vertices
    order = np.argsort(vertices["time"], kind="stable")
    times = vertices["time"][order]
    found = np.minimum(np.searchsorted(times, neutral["time"]), max(len(times) - 1, 0))
    known = times[found] == neutral["time"]
    start = np.where(known[:, None], vertices["position"][order[found]], neutral["position"])
    position = np.concatenate([charged["start"], start]) * _CM
    return position, np.concatenate([charged["value"], neutral["value"]])


def _material_name(material: Material) -> str:
    if material.density_g_cm3 is None:
        return f"G4_{material.element}"
    return "".join(word.capitalize() for word in material.name.split())


def _half_length(detector: Detector) -> float:
    return 2 * max(abs(detector.front_mm), abs(detector.front_mm + detector.depth_mm))
