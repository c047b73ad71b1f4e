"""`hepflows generate`: events from a generator into a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
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
from hepflows.out_of_range import OutOfRange  # noqa: TC001 - cyclopts reads the annotations

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from hepflows.generator import AnyGenerator
    from hepflows.task import AnyTask
    from hepflows.train.progress import Stage

TILE = 256
"""Events that the engine evaluates together; shards and batches begin at multiples of it."""

_BATCH_A_THREAD = 4 * TILE
_BATCH_ON_GPU = 64 * TILE

_ENERGY = "incident_energy_gev"

_DRAWN_AT_ONCE = 1 << 16
"""Conditions drawn together: bounds what drawing takes beside the conditions themselves."""


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Conditions of a whole sample.

    Attributes:
        n: number of events.
        values: conditions by name, shape (n,) each.
    """

    n: int
    values: Mapping[str, NDArray[np.floating[Any]]]

    def part(self, start: int, stop: int) -> dict[str, NDArray[np.floating[Any]]]:
        """Conditions of events start ... stop - 1."""
        return {name: values[start:stop] for name, values in self.values.items()}


def generate(
    artefact: Path | None = None,
    /,
    *,
    model: Annotated[
        str | None, Parameter(help="Instead of an artefact, a model of `hepflows models` by name.")
    ] = None,
    seed: Annotated[
        Seed | None, Parameter(help="The same seed gives the same events; with --model 1 by default.")
    ] = None,
    out: Annotated[
        Path | None, Parameter(help="File to write, .h5 or .root; by default the model's name with .h5.")
    ] = None,
    energy: Annotated[str | None, Parameter(help="Incident energy with unit: 50GeV, or 1..100GeV.")] = None,
    condition: Annotated[
        list[str] | None,
        Parameter(help="Any condition as NAME=VALUE or NAME=LOW..HIGH, drawn uniformly or as the data; repeatable."),
    ] = None,
    n: Annotated[
        int | None, Parameter(name=["-n", "--number"], converter=whole_number, help="Number of events.")
    ] = None,
    like: Annotated[Path | None, Parameter(help="Take the conditions of the events in this file.")] = None,
    part: Annotated[str, Parameter(help="Part of the file of --like, by position.")] = "0.0:1.0",
    read: Reading = None,
    shard: Annotated[str | None, Parameter(help="Only share k of n, as k/n with k from 1; give each job one.")] = None,
    batch: Annotated[
        int | None,
        Parameter(
            converter=whole_number,
            help="Events a step, rounded up to a multiple of 256; by default 1024 a thread, 16384 on a GPU.",
        ),
    ] = None,
    out_of_range: Annotated[
        OutOfRange,
        Parameter(
            help="Conditions outside the trained range: refuse them, clamp them to it, or pass them on: an artefact "
            "extrapolates, an exported file clamps."
        ),
    ] = "error",
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
    source = _source(artefact, model)
    if model is None and (out is None or seed is None):
        raise ConfigError("the seed or the file to write is missing", remedy="--seed 1 --out events.h5, for example")
    out, seed = out or Path(f"{model}.h5"), 1 if seed is None else seed
    from hepflows import registry
    from hepflows.commands.options import (
        apply_threads,
        parse_part,
        parse_ranges,
        parse_reading,
        resolve_device,
        terminal_reporter,
    )
    from hepflows.files import check_output, require_file

    ranges = parse_ranges(energy, condition)
    piece = parse_part(part)
    if batch is not None and batch < 1:
        raise ConfigError("not a number of events", where="--batch", expected="1 or more", found=batch)
    if like is not None and ranges:
        raise ConfigError("--like gives the conditions already", remedy="leave out --energy and --condition")
    if n is not None and n < 1:
        raise ConfigError("not a number of events", where="-n", expected="1 or more", found=n)
    if ranges and n is None:
        raise ConfigError("the number of events is missing", where="-n", remedy="-n 1000")
    if like is None and n is None:
        raise ConfigError(
            "how many events, and under which conditions?", remedy="--energy 1..100GeV -n 1000, or --like FILE"
        )
    check_output(out, force=force)
    apply_threads(threads)
    device = resolve_device(device)
    generator = registry.load(source, device=device)
    task = registry.task(generator.task)
    if like is None:
        if model is not None and _ENERGY in generator.condition_names:
            ranges = {_ENERGY: _trained_range(generator, _ENERGY)} | ranges
        conditions = drawn_conditions(generator, ranges, n or 0, seed=seed)
    else:
        selection = {"part": piece} | parse_reading(read)
        conditions = conditions_of_file(generator, task, require_file(like, "file of --like"), selection, n)
    first, last = shard_bounds(conditions.n, shard)
    if out_of_range == "error":
        generator.check_conditions(conditions.part(first, last))
    reporter = terminal_reporter()
    with reporter.stage("generating", total=last - first, unit="events") as stage:
        batches = sampled(
            generator,
            conditions,
            seed=seed,
            bounds=(first, last),
            batch=_batch_size(batch, device),
            out_of_range=out_of_range,
            stage=stage,
        )
        written = task.write(batches, out, force=force)
    reporter.message(f"{last - first} events: {written}")


def drawn_conditions(
    generator: AnyGenerator, ranges: Mapping[str, tuple[float, float]], n: int, *, seed: int
) -> Conditions:
    """Draw conditions of n events in the given ranges; event i's conditions follow from (seed, i).

    Raises:
        ConditionError: a range is missing, impossible, or of a condition that the generator does not have.
    """
    import numpy as np

    parts = [
        generator.draw_conditions(min(_DRAWN_AT_ONCE, n - start), seed=seed, first_event=start, ranges=ranges)
        for start in range(0, n, _DRAWN_AT_ONCE)
    ]
    return Conditions(n=n, values={name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def conditions_of_file(
    generator: AnyGenerator, task: AnyTask, path: Path, selection: Mapping[str, Any], n: int | None
) -> Conditions:
    """Take the conditions of the first n events of a file, or of all; the events are read in chunks if possible.

    Raises:
        DataError: there are fewer events, or a condition of the generator is missing.
    """
    import numpy as np

    from hepflows.task import StreamingTask

    chunks = (
        task.iterate(path, **selection) if isinstance(task, StreamingTask) else iter([task.read(path, **selection)])
    )
    found, parts = 0, []
    for events in chunks:
        parts.append(conditions_like(generator, task, events, None if n is None else min(n - found, len(events))))
        found += parts[-1].n
        if n is not None and found >= n:
            break
    if n is not None and found < n:
        raise DataError("not enough events", where="--like", expected=f"-n {n} or more", found=found)
    names = parts[0].values
    return Conditions(n=found, values={name: np.concatenate([part.values[name] for part in parts]) for name in names})


def conditions_like(generator: AnyGenerator, task: AnyTask, events: Any, n: int | None) -> Conditions:
    """Take the conditions of the first n events, or of all.

    Raises:
        DataError: a condition of the generator is missing.
    """
    available = task.conditions_of(events)
    if missing := [name for name in generator.condition_names if name not in available]:
        raise DataError(
            "a condition of the generator is missing",
            where="--like",
            expected=", ".join(missing),
            found=", ".join(available) or "none",
        )
    count = len(events) if n is None else n
    return Conditions(n=count, values={name: available[name][:count] for name in generator.condition_names})


def shard_bounds(total: int, shard: str | None, *, tile: int = TILE) -> tuple[int, int]:
    """First and last (exclusive) event of one share of a sample, in whole tiles of `tile` events.

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
    tiles = -(-total // tile)
    first = min(total, tiles * (int(number) - 1) // int(count) * tile)
    last = min(total, tiles * int(number) // int(count) * tile)
    if first == last:
        raise ConfigError(
            "this share has no events",
            where=f"--shard {shard}",
            expected=f"at most {tiles} shares (of {tile} events)",
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
            conditions.part(start, stop),
            n=stop - start,
            seed=seed,
            first_event=start,
            out_of_range=out_of_range,
        )
        if stage is not None:
            stage.advance(stop - start)


def _source(artefact: Path | None, model: str | None) -> Path:
    """What to load.

    Raises:
        ConfigError: neither or both are given, or no model has this name.
    """
    if model is None and artefact is not None:
        return artefact
    if model is None or artefact is not None:
        raise ConfigError(
            "one generator is needed",
            expected="an artefact directory, an exported file, or --model NAME",
            found="none" if model is None else f"{artefact} and --model {model}",
        )
    from hepflows.models import model_directory

    return model_directory(model)


def _trained_range(generator: AnyGenerator, name: str) -> tuple[float, float]:
    low, high = generator.document["valid_range"][name]
    return low, high


def _batch_size(batch: int | None, device: str) -> int:
    """Events a step: as asked, or enough to fill threads or GPU; whole tiles."""
    if batch is None:
        import torch

        batch = _BATCH_ON_GPU if device != "cpu" else _BATCH_A_THREAD * torch.get_num_threads()
    return -(-batch // TILE) * TILE
