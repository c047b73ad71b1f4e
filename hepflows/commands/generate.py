"""`hepflows generate`: events from a generator into a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from hepflows.commands.options import (
    Device,
    Force,
    Reading,
    Seed,
    Threads,
    whole_number,
)
from hepflows.errors import ConfigError, DataError
from hepflows.generator import OutOfRange  # noqa: TC001 - cyclopts reads the annotations

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from hepflows.commands.options import EnergyRange
    from hepflows.generator import AnyGenerator
    from hepflows.train.progress import Stage

TILE = 256
"""Events that the engine evaluates together; shards and batches begin at multiples of it."""

ENERGY_STREAM = 0x45
"""Philox stream of the incident energies, apart from the stream of the noise."""


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Conditions of a whole sample.

    Attributes:
        incident_energy_gev: shape (N,), GeV.
        others: further conditions by name, shape (N,) each.
    """

    incident_energy_gev: NDArray[np.floating[Any]]
    others: Mapping[str, NDArray[np.floating[Any]]]


def generate(
    artefact: Path,
    /,
    *,
    seed: Seed,
    out: Annotated[Path, Parameter(help="File to write, .h5 or .root.")],
    energy: Annotated[str | None, Parameter(help="Incident energy with unit: 50GeV, or 1..100GeV.")] = None,
    n: Annotated[
        int | None, Parameter(name=["-n", "--number"], converter=whole_number, help="Number of events.")
    ] = None,
    like: Annotated[Path | None, Parameter(help="Take the conditions of the events in this file.")] = None,
    part: Annotated[str, Parameter(help="Part of the file of --like, by position.")] = "0.0:1.0",
    read: Reading = None,
    shard: Annotated[str | None, Parameter(help="Only share k of n, as k/n with k from 1; give each job one.")] = None,
    batch: Annotated[
        int, Parameter(converter=whole_number, help="Events a step, rounded up to a multiple of 256.")
    ] = 1024,
    out_of_range: Annotated[OutOfRange, Parameter(help="Conditions outside the trained range.")] = "error",
    device: Device = "auto",
    threads: Threads = None,
    force: Force = False,
) -> None:
    """Generate events with a trained or exported generator.

    The same seed gives the same events, however they are shared out to jobs and batches.

    Parameters
    ----------
    artefact
        Artefact directory, or exported file such as student.onnx.
    """
    from hepflows import registry
    from hepflows.commands.options import (
        apply_threads,
        parse_energy,
        parse_part,
        parse_reading,
        resolve_device,
        terminal_reporter,
    )
    from hepflows.files import check_output, require_file

    wanted = None if energy is None else parse_energy(energy)
    piece, batch_size = parse_part(part), _batch_size(batch)
    if (wanted is None) == (like is None):
        raise ConfigError("give either --energy or --like", remedy="--energy 1..100GeV -n 1000, or --like FILE")
    if n is not None and n < 1:
        raise ConfigError("not a number of events", where="-n", expected="1 or more", found=n)
    if wanted is not None and n is None:
        raise ConfigError("--energy needs the number of events", remedy="-n 1000")
    check_output(out, force=force)
    apply_threads(threads)
    generator = registry.load(artefact, device=resolve_device(device))
    task = registry.task(generator.task)
    if wanted is not None and n is not None:
        conditions = drawn_conditions(generator, wanted, n, seed=seed)
    else:
        events = task.read(require_file(like or out, "file of --like"), **{"part": piece} | parse_reading(read))
        conditions = conditions_like(generator, events, n)
    first, last = shard_bounds(len(conditions.incident_energy_gev), shard)
    if out_of_range == "error":
        others = {name: values[first:last] for name, values in conditions.others.items()}
        generator.check_conditions(conditions.incident_energy_gev[first:last], conditions=others or None)
    reporter = terminal_reporter()
    with reporter.stage("generating", total=last - first, unit="events") as stage:
        batches = sampled(
            generator,
            conditions,
            seed=seed,
            bounds=(first, last),
            batch=batch_size,
            out_of_range=out_of_range,
            stage=stage,
        )
        written = task.write(batches, out, force=force)
    reporter.message(f"{last - first} events: {written}")


def drawn_conditions(generator: AnyGenerator, energies: EnergyRange, n: int, *, seed: int) -> Conditions:
    """Draw n incident energies uniformly; event i's energy follows from (seed, i).

    Raises:
        ConfigError: the generator has conditions besides the energy.
    """
    from hepflows.philox import uniform_noise

    if len(generator.condition_names) > 1:
        raise ConfigError(
            "this generator has more conditions than the energy",
            where="--energy",
            found=", ".join(generator.condition_names),
            remedy="give all of them with --like FILE",
        )
    uniform = uniform_noise(seed, 0, n, 1, stream=ENERGY_STREAM)[:, 0]
    width = energies.high_gev - energies.low_gev
    return Conditions(incident_energy_gev=energies.low_gev + width * uniform, others={})


def conditions_like(generator: AnyGenerator, events: Any, n: int | None) -> Conditions:
    """Take the conditions of the first n events, or of all.

    Raises:
        DataError: there are fewer events, or a condition of the generator is missing.
    """
    if n is not None and n > len(events):
        raise DataError("not enough events", where="--like", expected=f"-n {n} or more", found=len(events))
    missing = [name for name in generator.condition_names[1:] if name not in events.conditions]
    if missing:
        raise DataError(
            "a condition of the generator is missing",
            where="--like",
            expected=", ".join(missing),
            found=", ".join(events.conditions) or "only the incident energy",
        )
    others = {name: events.conditions[name][:n] for name in generator.condition_names[1:]}
    return Conditions(incident_energy_gev=events.incident_energy_gev[:n], others=others)


def shard_bounds(total: int, shard: str | None) -> tuple[int, int]:
    """First and last (exclusive) event of one share of a sample, in whole tiles of 256.

    Raises:
        ConfigError: the share is not of the form k/n with 1 <= k <= n, or it would be empty.
    """
    if shard is None:
        return 0, total
    number, _, count = shard.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise ConfigError(
            "not a share", where="--shard", expected="k/n with k from 1 to n, 3/100 for example", found=shard
        )
    tiles = -(-total // TILE)
    first = min(total, tiles * (int(number) - 1) // int(count) * TILE)
    last = min(total, tiles * int(number) // int(count) * TILE)
    if first == last:
        raise ConfigError(
            "this share has no events",
            where=f"--shard {shard}",
            expected=f"at most {tiles} shares (of {TILE} events)",
        )
    return first, last


def sampled(
    generator: AnyGenerator,
    conditions: Conditions,
    *,
    seed: int,
    bounds: tuple[int, int],
    batch: int,
    out_of_range: OutOfRange = "error",
    stage: Stage | None = None,
) -> Iterator[Any]:
    """Yield the events of a share in batches."""
    for start in range(bounds[0], bounds[1], batch):
        stop = min(start + batch, bounds[1])
        yield generator.sample(
            conditions.incident_energy_gev[start:stop],
            seed=seed,
            conditions={name: values[start:stop] for name, values in conditions.others.items()} or None,
            first_event=start,
            out_of_range=out_of_range,
        )
        if stage is not None:
            stage.advance(stop - start)


def _batch_size(batch: int) -> int:
    if batch < 1:
        raise ConfigError("not a number of events", where="--batch", expected="1 or more", found=batch)
    return -(-batch // TILE) * TILE
