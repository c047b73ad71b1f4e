"""`hepflows generate`: events from a generator into a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from hepflows.commands.options import (
    Device,
    Force,
    Reading,
    Seed,
    Threads,
    whole_number,
)
from hepflows.errors import ConfigError
from hepflows.out_of_range import OutOfRange  # noqa: TC001 - cyclopts reads the annotations

if TYPE_CHECKING:
    from hepflows.generator import AnyGenerator
    from hepflows.production.conditions import Conditions, GivenConditions
    from hepflows.production.request import Request, Source
    from hepflows.task import AnyTask

_ENERGY = "incident_energy_gev"


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
        Path | None,
        Parameter(
            help="File to write, .h5, .root or .parquet; by default the model's name with .h5. A name without "
            "suffix is a directory of shards with a manifest."
        ),
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
    part: Annotated[
        str | None, Parameter(help="Part of the file of --like, by position; by default 0.0:1.0, all.")
    ] = None,
    read: Reading = None,
    shard: Annotated[str | None, Parameter(help="Only share k of n, as k/n with k from 1; give each job one.")] = None,
    dask: Annotated[
        str | None,
        Parameter(
            help="Let the workers of a Dask cluster make shards: local, local:4 (worker processes), tcp://host:8786 or "
            "a scheduler file."
        ),
    ] = None,
    shard_size: Annotated[
        int | None,
        Parameter(converter=whole_number, help="Events of a shard, a multiple of 256; by default 65536."),
    ] = None,
    format: Annotated[  # noqa: A002 - the name of the option
        str | None, Parameter(help="Suffix of the shards in a directory: h5 (default), root or parquet.")
    ] = None,
    resume: Annotated[
        bool,
        Parameter(help="Work in shards, and continue a production that was stopped, if there is one.", negative=""),
    ] = False,
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
        parse_ranges,
        parse_selection,
        resolve_device,
        terminal_reporter,
    )
    from hepflows.files import check_output, require_file
    from hepflows.production.batches import batch_size, sampled, shard_bounds
    from hepflows.production.conditions import DrawnConditions, check_conditions, conditions_of_file
    from hepflows.production.job import Means, is_directory_output, produce

    ranges = parse_ranges(energy, condition)
    selection = parse_selection(part or "0.0:1.0", read)
    _check_numbers(n, batch, like=like is not None, ranges=bool(ranges))
    if like is None and (part is not None or read):
        raise ConfigError("--part and --read say how the file of --like is read", remedy="add --like FILE")
    in_shards = dask is not None or resume or shard_size is not None or is_directory_output(out)
    suffix = _suffix(out, format)
    if not in_shards:
        check_output(out, force=force)
    apply_threads(threads)
    # the workers of a cluster have their own devices; this process only draws and checks conditions
    device = resolve_device(device) if dask is None else ("cpu" if device == "auto" else device)
    generator = registry.load(source.locate(), device=device if dask is None else "cpu")
    task = registry.task(generator.task)
    given: GivenConditions | None = None
    if like is None:
        if model is not None and _ENERGY in generator.condition_names:
            ranges = {_ENERGY: _trained_range(generator, _ENERGY)} | ranges
        conditions: Conditions = DrawnConditions(n=n or 0, generator=generator, seed=seed, ranges=ranges)
    else:
        given = conditions_of_file(generator, task, require_file(like, "file of --like"), selection, n)
        conditions = given
    reporter = terminal_reporter()
    if in_shards:
        request = _request(
            source,
            task,
            seed=seed,
            n=conditions.n,
            size=shard_size,
            suffix=suffix,
            ranges=ranges,
            like=None if like is None or given is None else (like, given),
            out_of_range=out_of_range,
            device=device,
        )
        written = produce(
            request,
            out,
            source=source,
            generator=generator,
            task=task,
            conditions=conditions,
            means=Means(dask=dask, device=device, threads=threads, batch=batch),
            reporter=reporter,
            shard=shard,
            resume=resume,
            force=force,
        )
        reporter.message(f"{conditions.n} events: {written}" if shard is None else f"share {shard}: {written}")
        return
    bounds = shard_bounds(conditions.n, shard)
    if out_of_range == "error":
        check_conditions(generator, conditions, bounds, reporter=reporter)
    with reporter.stage("generating", total=bounds[1] - bounds[0], unit="events") as stage:
        size = batch_size(batch, device)
        batches = sampled(
            generator, conditions, seed=seed, bounds=bounds, batch=size, out_of_range=out_of_range, stage=stage
        )
        written = task.write(batches, out, force=force)
    reporter.message(f"{bounds[1] - bounds[0]} events: {written}")


def _check_numbers(n: int | None, batch: int | None, *, like: bool, ranges: bool) -> None:
    """Refuse numbers of events that cannot be, and contradictions about the conditions.

    Raises:
        ConfigError: naming the option.
    """
    if batch is not None and batch < 1:
        raise ConfigError("not a number of events", where="--batch", expected="1 or more", found=batch)
    if like and ranges:
        raise ConfigError("--like gives the conditions already", remedy="leave out --energy and --condition")
    if n is not None and n < 1:
        raise ConfigError("not a number of events", where="-n", expected="1 or more", found=n)
    if ranges and n is None:
        raise ConfigError("the number of events is missing", where="-n", remedy="-n 1000")
    if not like and n is None:
        raise ConfigError(
            "how many events, and under which conditions?", remedy="--energy 1..100GeV -n 1000, or --like FILE"
        )


def _request(
    source: Source,
    task: AnyTask,
    *,
    seed: int,
    n: int,
    size: int | None,
    suffix: str,
    ranges: dict[str, tuple[float, float]],
    like: tuple[Path, GivenConditions] | None,
    out_of_range: OutOfRange,
    device: str,
) -> Request:
    """The document of a production."""
    from hepflows.config import build
    from hepflows.production.request import GeneratorRecord, GivenRecord, Request, conditions_digest, generator_digest
    from hepflows.production.request import shard_size as checked_size

    path = source.locate()
    name = source.model or path.resolve().name
    given = None if like is None else GivenRecord(file=like[0].name, sha256=conditions_digest(like[1]))
    content = {
        "generator": GeneratorRecord(name=name, task=task.name, sha256=generator_digest(path)).model_dump(),
        "seed": seed,
        "n_events": n,
        "shard_size": checked_size(size),
        "suffix": suffix,
        "ranges": ranges,
        "given": None if given is None else given.model_dump(),
        "out_of_range": out_of_range,
        "arithmetic": "cpu" if device == "cpu" else "cuda",
    }
    return build(Request, content, where="generate")


def _suffix(out: Path, wanted: str | None) -> str:
    """Suffix of the files to write, without the dot.

    Raises:
        ConfigError: a format is named beside a suffix.
    """
    from hepflows.production.job import is_directory_output

    if is_directory_output(out):
        return (wanted or "h5").lower()
    if wanted is not None:
        raise ConfigError(
            "the suffix of --out tells the format",
            where=f"--format {wanted}",
            found=out,
            remedy="leave out --format, or name a directory without suffix",
        )
    return out.suffix.removeprefix(".").lower()


def _source(artefact: Path | None, model: str | None) -> Source:
    """What to load.

    Raises:
        ConfigError: neither or both are given, or no model has this name.
    """
    from hepflows.production.request import Source

    if (model is None) == (artefact is None):
        raise ConfigError(
            "one generator is needed",
            expected="an artefact directory, an exported file, or --model NAME",
            found="none" if model is None else f"{artefact} and --model {model}",
        )
    return Source(model=model, path=None if artefact is None else artefact.absolute())


def _trained_range(generator: AnyGenerator, name: str) -> tuple[float, float]:
    low, high = generator.document["valid_range"][name]
    return low, high
