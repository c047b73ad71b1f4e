"""A production from a request to its shards, manifest or merged file, on this machine or on a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hepflows.errors import ConfigError, Interrupted
from hepflows.files import check_output, parents_of, remove_leftovers
from hepflows.production.batches import batch_size, shard_bounds
from hepflows.production.conditions import check_conditions
from hepflows.production.folder import MANIFEST, REQUEST, begin
from hepflows.production.manifest import write_manifest
from hepflows.production.merging import merge_files
from hepflows.production.shard import make_shard

if TYPE_CHECKING:
    from pathlib import Path

    from hepflows.generator import AnyGenerator
    from hepflows.production.conditions import Conditions
    from hepflows.production.folder import Folder
    from hepflows.production.request import Request, Source
    from hepflows.task import AnyTask
    from hepflows.train.progress import Reporter

_CHECKED = 1 << 20
"""Conditions that are checked before the work begins; each shard checks its own."""


@dataclass(frozen=True, kw_only=True)
class Means:
    """With what a production is made; the events do not depend on it.

    Attributes:
        dask: cluster, see `hepflows.production.cluster.connected`, or None for this process.
        device: torch device.
        threads: threads of the engine in this process or in each worker, or None for the usual number.
        batch: events a step, or None for a number that fits the device.
    """

    dask: str | None = None
    device: str = "cpu"
    threads: int | None = None
    batch: int | None = None


def is_directory_output(out: Path) -> bool:
    """Whether ``--out`` names a directory of shards: it has no suffix, or is one already."""
    return not out.suffix or (out / REQUEST).is_file()


def produce(
    request: Request,
    out: Path,
    *,
    source: Source,
    generator: AnyGenerator,
    task: AnyTask,
    conditions: Conditions,
    means: Means,
    reporter: Reporter,
    shard: str | None = None,
    resume: bool = False,
    force: bool = False,
) -> Path:
    """Make what is missing of a production.

    Args:
        request: what is asked for.
        out: directory of shards; or a file, whose shards stand in a hidden directory beside it until it is written.
        source: where workers find the generator.
        generator: the generator, loaded.
        task: that of the generator.
        conditions: of all events.
        means: with what to work.
        reporter: shows progress.
        shard: only this share, ``k/n``, of the shards of a directory.
        resume: continue what is there, if there is something.
        force: throw it away.

    Returns:
        The manifest, the merged file, or the directory if other shares are missing.

    Raises:
        ConfigError: settings that contradict each other.
        ConditionError: conditions are outside the trained range.
        OutputError: something is there already, or nothing can be written.
        ProductionError: what is there belongs to another request, or a shard failed again and again.
        Interrupted: the user or a batch system stopped it; finished shards are kept.
    """
    into_file = not is_directory_output(out)
    _check_options(out, into_file=into_file, shard=shard, resume=resume, force=force)
    share = shard_bounds(request.n_events, shard, tile=request.shard_size)
    if request.out_of_range == "error":
        check_conditions(generator, conditions, (share[0], min(share[1], share[0] + _CHECKED)))
    out = out.absolute()
    with parents_of(out):
        path = out.with_name(f".{out.name}.shards") if into_file else out
        folder = begin(path, request, resume=resume, force=force)
        try:
            _make(folder, share, source, generator, task, conditions, means, reporter)
            if into_file:
                merge_files(
                    [folder.file(bounds) for bounds in request.shards()],
                    out,
                    task=task,
                    n_events=request.n_events,
                    force=force,
                    reporter=reporter,
                )
                folder.remove()
                return out
            if folder.n_done() < request.n_events:
                reporter.message(f"other shares are missing; when they are there, hepflows merge {out} lists all")
                return out
            write_manifest(folder)
            return out / MANIFEST
        except KeyboardInterrupt:
            done = folder.n_done(share)
            _let_go(folder, shard)
            raise Interrupted(
                "the production was stopped",
                where=out,
                found=f"{done} of {share[1] - share[0]} events are in finished shards",
                remedy="--resume continues it" if done else None,
            ) from None
        except BaseException:
            _let_go(folder, shard)
            raise


def _make(
    folder: Folder,
    share: tuple[int, int],
    source: Source,
    generator: AnyGenerator,
    task: AnyTask,
    conditions: Conditions,
    means: Means,
    reporter: Reporter,
) -> None:
    total, done = share[1] - share[0], folder.n_done(share)
    if means.dask is None:
        with reporter.stage("generating", total=total, unit="events", done=done) as stage:
            for bounds in folder.missing(share):
                make_shard(
                    folder,
                    bounds,
                    generator=generator,
                    task=task,
                    conditions=conditions,
                    batch=batch_size(means.batch, means.device),
                    stage=stage,
                )
        return
    from hepflows.production.cluster import connected, run_on_cluster
    from hepflows.production.worker import Work

    work = Work(
        path=folder.path,
        request=folder.request,
        source=source,
        device=means.device,
        threads=means.threads or 1,
        batch=means.batch,
    )
    with (
        connected(means.dask, threads=means.threads) as client,
        reporter.stage("generating", total=total, unit="events", done=done) as stage,
    ):
        run_on_cluster(client, work, folder, conditions, share=share, stage=stage, reporter=reporter)


def _check_options(out: Path, *, into_file: bool, shard: str | None, resume: bool, force: bool) -> None:
    if resume and force:
        raise ConfigError("--resume and --force contradict each other", remedy="choose one: continue or start anew")
    if into_file:
        if shard is not None:
            raise ConfigError(
                "a share of a production is a part of a directory",
                where=f"--out {out}",
                remedy=f"--out {out.with_suffix('')}, and hepflows merge {out.with_suffix('')} --out {out} at the end",
            )
        check_output(out, force=force)
        return
    check_output(out, force=True, directory=True)
    if shard is not None and force:
        raise ConfigError(
            "--force would remove the shards of other jobs",
            where=f"--shard {shard}",
            remedy="remove the directory before the jobs start, or give every job --resume",
        )


def _let_go(folder: Folder, shard: str | None) -> None:
    """Remove what a failed production leaves if it is worth nothing, and if no other job is at work there."""
    if shard is not None:
        return
    remove_leftovers(folder.path)
    if folder.n_done() == 0:
        folder.remove()
