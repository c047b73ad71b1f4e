"""`hepflows merge`: shards of a production listed, or put together into one file."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from hepflows.commands.options import Force  # noqa: TC001 - cyclopts reads the annotations
from hepflows.errors import ConfigError

if TYPE_CHECKING:
    from hepflows.train.progress import Reporter


def merge(
    *paths: Path,
    out: Annotated[Path | None, Parameter(help="File to write; its suffix names the format.")] = None,
    task: Annotated[str | None, Parameter(help="Task that reads the files, if several could.")] = None,
    force: Force = False,
) -> None:
    """List the shards of a production in its manifest, or put files of events together into one.

    Without --out, the directory of a production gets its manifest.json, once all shards are there. With --out their
    events are also written into one file, after a check of all hashes.

    Parameters
    ----------
    paths
        Directory of a production; or, with --out, data files in the order in which their events follow.
    """
    from hepflows import registry
    from hepflows.commands.options import terminal_reporter
    from hepflows.files import check_output
    from hepflows.production.merging import merge_files

    if not paths:
        raise ConfigError("nothing to merge", expected="the directory of a production, or data files")
    reporter = terminal_reporter()
    if out is not None:
        check_output(out, force=force)
    if paths[0].is_dir():
        if len(paths) > 1:
            raise ConfigError("one production at a time", found=", ".join(map(str, paths)))
        _merge_production(paths[0], out, force=force, reporter=reporter)
        return
    if out is None:
        raise ConfigError("where to put the events of these files?", remedy="--out FILE")
    reader = registry.task(task) if task is not None else registry.task_for_file(paths[0])
    n = merge_files(paths, out, task=reader, force=force, reporter=reporter)
    reporter.message(f"{n} events of {len(paths)} files: {out}")


def _merge_production(directory: Path, out: Path | None, *, force: bool, reporter: Reporter) -> None:
    from hepflows import registry
    from hepflows.production.folder import MANIFEST, open_folder
    from hepflows.production.manifest import verify, write_manifest
    from hepflows.production.merging import merge_files

    manifest = write_manifest(open_folder(directory))
    reporter.message(f"{manifest.n_events} events in {len(manifest.shards)} shards: {directory / MANIFEST}")
    if out is None:
        return
    verify(directory, reporter=reporter)
    reader = registry.task(manifest.request.generator.task)
    files = [directory / shard.file for shard in manifest.shards]
    merge_files(files, out, task=reader, n_events=manifest.n_events, force=force, reporter=reporter)
    reporter.message(f"{manifest.n_events} events: {out}")
