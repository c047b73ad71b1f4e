"""Geant4's side of the speed-up: showers timed one by one, without recording them."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Any

from calofast.detector import detector
from calofast.geant4 import open_geant4
from calofast.truth import Request, event_seeds
from calofast.truth_command import parse_physics

DEFAULT_PHYSICS = "option1,standard"
_CUT_MM = 0.7


@dataclass(frozen=True, kw_only=True)
class Geant4Job:
    """What is timed.

    Attributes:
        geometry: name of the detector.
        particle: name of the incoming particle.
        physics: Geant4's list of interactions, see `hepflows simulate --physics`.
        energies_gev: kinetic energies.
        showers: number of showers an energy.
        seed: of the showers.
    """

    geometry: str
    particle: str
    physics: str
    energies_gev: tuple[float, ...]
    showers: int
    seed: int


def time_geant4(job: Geant4Job) -> tuple[dict[str, str], dict[str, Any]]:
    """Times by energy, in ms a shower; energies take turns, so that a slow minute meets all of them.

    Steps are not recorded: what is timed is what a user of the simulation cannot do without.
    """
    request = Request.of(
        job.geometry,
        job.particle,
        energy_gev=(min(job.energies_gev), max(job.energies_gev)),
        n=job.showers,
        seed=job.seed,
        physics=parse_physics(job.physics, _CUT_MM, job.particle),
    )
    engine = open_geant4(detector(job.geometry), request.pdg, request.physics, steps=False)
    cpu: dict[str, list[float]] = {f"{energy:g}": [] for energy in job.energies_gev}
    wall: dict[str, list[float]] = {f"{energy:g}": [] for energy in job.energies_gev}
    for seed in event_seeds(job.seed, 0, job.showers):
        for energy in job.energies_gev:
            start = time.perf_counter()
            cpu[f"{energy:g}"].append(1e3 * engine.shower(float(energy), seed).cpu_seconds)
            wall[f"{energy:g}"].append(1e3 * (time.perf_counter() - start))
    return dict(engine.versions), {
        energy: {
            "cpu_ms": statistics.mean(times),
            "cpu_ms_error": statistics.stdev(times) / len(times) ** 0.5 if len(times) > 1 else None,
            "ms": statistics.mean(wall[energy]),
            "showers": len(times),
        }
        for energy, times in cpu.items()
    }
