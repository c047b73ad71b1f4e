"""Showers from a full detector simulation: what event i is follows from (seed, i) alone.

So the showers are the same for any number of processes, any shard and after any number of interruptions. The
work is done in blocks of `BLOCK` events by worker processes, each block is kept beside the output as soon as
it is finished, and the output is put together from all of them at the end.

Example:
    >>> import calofast.truth as ct
    >>> request = ct.Request.of("calogan", "e+", energy_gev=(1.0, 100.0), n=1000, seed=1)
    >>> ct.blocks(request)[:2], request.pdg
    (((0, 32), (32, 64)), -11)
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from calofast.detector import detector
from calofast.particles import pdg_code
from calofast.showers import Showers
from calofast.truth_engine import Physics
from calofast.voxelise import Hits, voxelise
from hepflows.errors import ConfigError
from hepflows.philox import random_words, uniform_noise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from calofast.detector import Detector
    from calofast.truth_engine import Engine

Spectrum = Literal["uniform", "log-uniform"]

BLOCK = 32
"""Events that are simulated and kept together."""

_ENERGY_STREAM = 0x47
_SEED_STREAM = 0x48
_LIGHT = (11, -11, 22)  # electrons, positrons and photons need no hadronic physics


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be simulated.

    Attributes:
        detector: name of a detector, see `calofast.detector.detectors`.
        particle: name of the incoming particle.
        pdg: its code.
        energy_gev: least and largest kinetic energy.
        n: number of events of the whole sample.
        seed: of the whole sample, 64 bits.
        spectrum: how energies are drawn.
        bounds: first event of this share and the one after its last.
        physics: which interactions are simulated.
    """

    detector: str
    particle: str
    pdg: int
    energy_gev: tuple[float, float]
    n: int
    seed: int
    spectrum: Spectrum = "uniform"
    bounds: tuple[int, int]
    physics: Physics = field(default_factory=Physics)

    @classmethod
    def of(
        cls,
        detector_name: str,
        particle: str,
        *,
        energy_gev: tuple[float, float],
        n: int,
        seed: int,
        spectrum: Spectrum = "uniform",
        bounds: tuple[int, int] | None = None,
        physics: Physics | None = None,
    ) -> Self:
        """Check what a user asks for.

        Args:
            detector_name: name of a detector.
            particle: name or PDG code of a particle.
            energy_gev: least and largest kinetic energy.
            n: number of events of the whole sample.
            seed: of the whole sample.
            spectrum: how energies are drawn.
            bounds: events of one share; None for all.
            physics: None for the particle's own, see `default_physics`.

        Raises:
            ConfigError: an unknown name or an impossible number.
        """
        detector(detector_name)
        code = pdg_code(particle)
        if code is None:
            raise ConfigError(
                "not a particle", where="--particle", expected="e+, e-, gamma, pi+ or a PDG code", found=repr(particle)
            )
        if n < 1:
            raise ConfigError("not a number of showers", where="-n", expected="1 or more", found=n)
        if not 0 <= seed < 2**64:
            raise ConfigError("not a seed", where="--seed", expected="0 <= seed < 2**64", found=seed)
        low, high = energy_gev
        if not 0 < low <= high < math.inf:
            raise ConfigError("not a positive, rising range", where="--energy", found=f"{low:g} to {high:g} GeV")
        chosen = default_physics(code) if physics is None else physics
        if not 0 < chosen.cut_mm < math.inf:
            raise ConfigError("not a production cut", where="--cut-mm", expected="above 0", found=chosen.cut_mm)
        return cls(
            detector=detector_name,
            particle=particle,
            pdg=code,
            energy_gev=(low, high),
            n=n,
            seed=seed,
            spectrum=spectrum,
            bounds=(0, n) if bounds is None else bounds,
            physics=chosen,
        )

    def to_dict(self) -> dict[str, object]:
        """JSON-able form, for comparison with a request that was interrupted."""
        return {**asdict(self), "energy_gev": list(self.energy_gev), "bounds": list(self.bounds)}

    def __len__(self) -> int:
        return self.bounds[1] - self.bounds[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """Simulated showers and what each of them cost.

    Attributes:
        showers: N of them.
        seconds: processor time of the simulation, shape (N,).
    """

    showers: Showers
    seconds: NDArray[np.float32]


def default_physics(pdg: int) -> Physics:
    """``option1`` for electrons, positrons and photons, ``standard+FTFP_BERT`` for all others."""
    return Physics() if pdg in _LIGHT else Physics(em="standard", hadronic="FTFP_BERT")


def blocks(request: Request) -> tuple[tuple[int, int], ...]:
    """First event and the one after the last of each block; blocks begin at multiples of `BLOCK` of the sample."""
    first, last = request.bounds
    starts = range(first - first % BLOCK, last, BLOCK)
    return tuple((max(first, start), min(last, start + BLOCK)) for start in starts)


def draw_energies(request: Request, start: int, stop: int) -> NDArray[np.float32]:
    """Kinetic energies [GeV] of events start ... stop - 1, shape (stop - start,)."""
    low, high = request.energy_gev
    u = uniform_noise(request.seed, start, stop - start, 1, stream=_ENERGY_STREAM)[:, 0]
    energy = low + (high - low) * u if request.spectrum == "uniform" else low * (high / low) ** u
    return np.clip(energy.astype(np.float32), np.float32(low), np.float32(high))


def event_seeds(seed: int, start: int, stop: int) -> list[int]:
    """Seeds of 128 bits for the simulation's own generator, odd (the least bit counts for nothing there)."""
    words = random_words(seed, start, stop - start, 4, stream=_SEED_STREAM)
    return [sum(int(word) << (32 * i) for i, word in enumerate(row)) | 1 for row in words]


def simulate_events(engine: Engine, request: Request, start: int, stop: int) -> Truth:
    """Simulate events start ... stop - 1 of the sample, one after the other."""
    built = detector(request.detector)
    energies = draw_energies(request, start, stop)
    voxels = np.empty((stop - start, built.geometry.n_voxels), dtype=np.float32)
    overflow = np.empty((stop - start, built.geometry.n_layers), dtype=np.float32)
    seconds = np.empty(stop - start, dtype=np.float32)
    for i, seed in enumerate(event_seeds(request.seed, start, stop)):
        deposits = engine.shower(float(energies[i]), seed)
        seconds[i] = deposits.cpu_seconds
        voxels[i : i + 1], overflow[i : i + 1] = score(built, deposits.position_mm, deposits.energy_mev)
    showers = Showers(
        geometry=built.geometry,
        incident_energy_gev=energies,
        voxels_mev=voxels,
        overflow_mev=overflow,
        pdg=request.pdg,
        provenance=provenance(request, engine.versions),
    )
    return Truth(showers=showers, seconds=seconds)


def score(
    built: Detector, position_mm: NDArray[np.float64], energy_mev: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sum one shower's deposits, (S, 3) and (S,), into voxels (1, V) and overflow (1, L)."""
    hits = Hits(
        offsets=np.array([0, len(energy_mev)], dtype=np.int64),
        x_mm=position_mm[:, 0],
        y_mm=position_mm[:, 1],
        z_mm=position_mm[:, 2],
        energy=energy_mev,
    )
    return voxelise(hits, built.geometry)


def provenance(request: Request, versions: Mapping[str, str]) -> dict[str, str]:
    """What a file says about its origin; the same for every shard but for ``events``."""
    physics, (low, high), built = request.physics, request.energy_gev, detector(request.detector)
    nuclear = "" if physics.hadronic else ", without nuclear interactions of photons and electrons"
    return {
        **versions,
        "physics": f"{physics.name}{nuclear}",
        "production_cut_mm": f"{physics.cut_mm:g}",
        "detector": built.describe(),
        "scored": "all energy deposits of all plates, at the start of each step",
        "particle": f"{request.particle} (PDG {request.pdg}), along +z at x = y = 0, from z = {built.front_mm:g} mm",
        "energy": f"{request.spectrum} kinetic energy, {low:g} to {high:g} GeV",
        "units": "incident energy: see the data sets; deposits MeV; lengths mm",
        "seed": str(request.seed),
        "events": f"{request.bounds[0]} to {request.bounds[1] - 1} of {request.n}",
    }
