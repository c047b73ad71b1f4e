"""`hepflows simulate`: showers from Geant4."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from hepflows.commands.options import Force, Seed, whole_number

if TYPE_CHECKING:
    from calofast.truth_engine import Physics


def simulate(
    *,
    geometry: Annotated[str, Parameter(help="Detector: calogan, siw45 or pbar45.")],
    particle: Annotated[str, Parameter(help="Incoming particle: e+, e-, gamma, pi+ ... or a PDG code.")],
    energy: Annotated[str, Parameter(help="Kinetic energy with unit: 50GeV, or 1..100GeV.")],
    n: Annotated[int, Parameter(name=["-n", "--number"], converter=whole_number, help="Number of showers.")],
    seed: Seed,
    out: Annotated[Path, Parameter(help="HDF5 file to write.")],
    spectrum: Annotated[
        Literal["uniform", "log-uniform"], Parameter(help="How energies of a range are drawn.")
    ] = "uniform",
    physics: Annotated[
        str | None,
        Parameter(
            help="Geant4's electromagnetic list (standard, option1 ... option4, livermore, penelope), with hadrons "
            "as option1+FTFP_BERT. By default option1 for e-, e+ and gamma, standard+FTFP_BERT for others."
        ),
    ] = None,
    cut_mm: Annotated[float, Parameter(help="Production cut of secondary particles [mm].")] = 0.7,
    processes: Annotated[int, Parameter(converter=whole_number, help="Processes that simulate side by side.")] = 1,
    shard: Annotated[str | None, Parameter(help="Only share k of n, as k/n with k from 1; give each job one.")] = None,
    resume: Annotated[
        bool, Parameter(help="Continue a simulation that was stopped, if there is one.", negative="")
    ] = False,
    force: Force = False,
) -> None:
    """Simulate showers with Geant4, through the package calzone.

    Shower i follows from the seed and i alone, however many processes, jobs and interruptions there are.
    """
    from calofast.truth import Request
    from calofast.truth_file import simulate as simulate_file
    from hepflows.commands.options import parse_energy, terminal_reporter
    from hepflows.production.batches import shard_bounds

    found = parse_energy(energy)
    request = Request.of(
        geometry,
        particle,
        energy_gev=(found.low_gev, found.high_gev),
        n=n,
        seed=seed,
        spectrum=spectrum,
        bounds=shard_bounds(n, shard, tile=1) if n > 0 else None,
        physics=parse_physics(physics, cut_mm, particle),
    )
    reporter = terminal_reporter()
    written = simulate_file(request, out, processes=processes, resume=resume, force=force, reporter=reporter)
    reporter.message(f"{len(request)} showers: {written}")


def parse_physics(text: str | None, cut_mm: float, particle: str) -> Physics:
    """Read ``option1`` or ``option1+FTFP_BERT``; None stands for the particle's own."""
    from dataclasses import replace

    from calofast.particles import pdg_code
    from calofast.truth import default_physics
    from calofast.truth_engine import Physics

    if text is None:
        return replace(default_physics(pdg_code(particle) or 0), cut_mm=cut_mm)
    em, _, hadronic = text.partition("+")
    return Physics(em=em, hadronic=hadronic or None, cut_mm=cut_mm)
