"""`hepflows manifold`: learn the manifold of training events, and check whether other events lie on it."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from hepflows.commands.options import (
    Device,
    Force,
    Overrides,
    Reading,
    Resume,
    Threads,
    name_list,
    parse_selection,
    whole_number,
)
from hepflows.errors import ConfigError, DataError

if TYPE_CHECKING:
    from hepflows.feature_table import FeatureTable
    from hepflows.manifold.artefact import Manifold, Scores

Part = Annotated[str, Parameter(help="Part of the file, by position: 0.8:1.0 for the last fifth.")]
TaskName = Annotated[str | None, Parameter(help="Task that reads events, if several could.")]

_SUSPECT = 0.01
"""p-value below which an event counts as off the manifold: one training event in a hundred does."""

manifold = App(name="manifold", help="Learn the manifold that events lie on, and check whether others do (M-flow).")


@manifold.command
def train(
    data: Path,
    /,
    *,
    dimensions: Annotated[int, Parameter(converter=whole_number, help="Dimensions of the manifold.")],
    out: Annotated[Path, Parameter(help="Directory of the M-flow; checkpoints go to its folder training.")],
    observables: Annotated[str | None, Parameter(help="Observables around the manifold, as NAME,NAME.")] = None,
    inputs: Annotated[
        str | None,
        Parameter(help="Instead, an input set of the task's classifier test: log for the voxels of showers."),
    ] = None,
    conditions: Annotated[str | None, Parameter(help="Conditions of the density, as NAME,NAME.")] = None,
    set_: Overrides = None,
    part: Part = "0.0:1.0",
    task: TaskName = None,
    read: Reading = None,
    resume: Resume = False,
    device: Device = "auto",
    threads: Threads = None,
    force: Force = False,
) -> None:
    """Learn manifold and density from a file.

    Parameters
    ----------
    data
        Events, or a table of observables.
    """
    from hepflows.commands.options import (
        apply_threads,
        check_run_directory,
        resolve_device,
        terminal_reporter,
    )
    from hepflows.config import build, with_overrides
    from hepflows.files import sha256_of
    from hepflows.manifold.config import ManifoldConfig
    from hepflows.manifold.fitting import fit_manifold
    from hepflows.train.run import Run, training_folder

    config = build(ManifoldConfig, with_overrides({"dimensions": dimensions}, set_ or ()), where="--set")
    if inputs is not None and observables is not None:
        raise ConfigError("--observables and --inputs both say what events are described by", remedy="choose one")
    check_run_directory(out, resume=resume, force=force)
    chosen = resolve_device(device)
    apply_threads(threads)
    names = name_list(conditions, "--conditions")
    table = _table(data, name_list(observables, "--observables"), names, inputs, part, task, read)
    reporter = terminal_reporter()
    run = Run(
        directory=training_folder(out, resume=resume),
        resume=resume,
        device=chosen,
        reporter=reporter,
        provenance={"data_sha256": sha256_of(data), "inputs": inputs},
    )
    trained = fit_manifold(table, config, run=run)
    trained.save(out, force=True)  # checkpoints lie there already
    error = trained.document.to_dict()["metrics"]["reconstruction_error"]
    reporter.message(f"held-out events are {error:.3g} standard deviations from the manifold: {out}")


@manifold.command
def check(
    artefact: Path,
    events: Path,
    /,
    *,
    out: Annotated[Path | None, Parameter(help="Table to write, .h5, .hdf5 or .parquet.")] = None,
    density: Annotated[bool, Parameter(help="Compute log densities as well.", negative="")] = False,
    fail_above: Annotated[
        float | None,
        Parameter(help="Exit with 1 if more than this share of the events has a p-value below 0.01 (expected: 0.01)."),
    ] = None,
    part: Part = "0.0:1.0",
    task: TaskName = None,
    read: Reading = None,
    threads: Threads = None,
    force: Force = False,
) -> int:
    """Say which events of a file are not on the manifold of the training data.

    The table of --out holds the observables, their distance from the manifold in standard deviations
    (reconstruction_error), and the share of held-out training events that are farther away (p_value); with --density
    also the log density (log_prob). Events that lack an observable have NaN there and are not counted.

    Parameters
    ----------
    artefact
        Directory that `hepflows manifold train` wrote.
    events
        Events, or a table of observables.
    """
    import numpy as np

    from hepflows.commands.options import apply_threads, terminal_reporter
    from hepflows.files import check_output
    from hepflows.manifold.artefact import Manifold
    from hepflows.table_files import check_suffix
    from hepflows.weights import training_weights

    if fail_above is not None and not 0 <= fail_above < 1:
        raise ConfigError("not a share of events", where="--fail-above", expected="0 to 1", found=fail_above)
    if out is not None:
        check_output(check_suffix(out), force=force)
    apply_threads(threads)
    trained = Manifold.load(artefact)
    table = _measured_alike(trained, events, part, task, read)
    scores = trained.score(table, density=density)
    if out is not None:
        _write(table, scores, out, force=force)
    counted = ~np.isnan(scores.p_value)
    judged = scores.p_value[counted]
    if not len(judged):
        raise DataError("no event has all observables", where=events)
    weights = training_weights(table.select(counted).weights, at_least=1, where=events)
    off = float(np.average(judged < _SUSPECT, weights=weights))
    reporter = terminal_reporter()
    if len(judged) < len(table):
        reporter.message(f"{len(table) - len(judged)} events lack an observable and are not counted")
    reporter.message(
        f"{len(judged)} events: {off:.2%} off the manifold (p < {_SUSPECT:g}; of the training data {_SUSPECT:.0%})"
        + ("" if out is None else f": {out}")
    )
    return int(fail_above is not None and off > fail_above)


def _table(
    path: Path,
    observables: list[str] | None,
    conditions: list[str] | None,
    inputs: str | None,
    part: str,
    task: str | None,
    read: list[str] | None,
) -> FeatureTable:
    from hepflows.observable_files import read_observables

    return read_observables(
        path,
        observables=observables,
        conditions=conditions,
        inputs=inputs,
        task=task,
        selection=parse_selection(part, read),
    )


def _measured_alike(trained: Manifold, path: Path, part: str, task: str | None, read: list[str] | None) -> FeatureTable:
    """The file's events as those of the training were described."""
    inputs = trained.document.provenance.get("inputs")
    observables = None if inputs else [column.name for column in trained.features]
    conditions = [column.name for column in trained.conditions]
    return _table(path, observables, conditions, str(inputs) if inputs else None, part, task, read)


def _write(table: FeatureTable, scores: Scores, path: Path, *, force: bool) -> None:
    from dataclasses import replace

    from hepflows.table_files import write_table

    more = {"reconstruction_error": scores.reconstruction_error, "p_value": scores.p_value}
    if scores.log_prob is not None:
        more["log_prob"] = scores.log_prob
    write_table(replace(table, more={**table.more, **more}), path, force=force)
