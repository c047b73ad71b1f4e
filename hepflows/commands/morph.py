"""`hepflows morph`: calibrate the observables of one simulation to those of another, and apply that to files."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from hepflows.commands.options import (
    Device,
    Force,
    Overrides,
    Reading,
    Resume,
    Seed,
    Threads,
    name_list,
    parse_selection,
)
from hepflows.out_of_range import OutOfRange  # noqa: TC001 - cyclopts reads the annotations

if TYPE_CHECKING:
    from hepflows.feature_table import FeatureTable
    from hepflows.morphing.artefact import Morphing

Observables = Annotated[
    str | None,
    Parameter(help="Observables, as NAME,NAME: of events needed, of a table all columns by default."),
]
Conditions = Annotated[
    str | None, Parameter(name="--conditions", help="Conditions at which events are morphed, as NAME,NAME.")
]
Part = Annotated[str, Parameter(help="Part of the file, by position: 0.8:1.0 for the last fifth.")]
TaskName = Annotated[str | None, Parameter(help="Task that reads events, if several could.")]

morph = App(name="morph", help="Morph the observables of one set of events into those of another (flows for flows).")


@morph.command
def train(
    source: Path,
    target: Path,
    /,
    *,
    out: Annotated[Path, Parameter(help="Directory of the morphing; checkpoints go to its folder training.")],
    observables: Observables = None,
    conditions: Conditions = None,
    method: Annotated[
        Literal["base_transfer", "unidirectional", "flows_for_flows", "movement_penalty", "identity"],
        Parameter(help="How the map is trained, see docs/morphing.md."),
    ] = "identity",
    set_: Overrides = None,
    part: Part = "0.0:1.0",
    target_part: Annotated[str, Parameter(help="Part of the target's file.")] = "0.0:1.0",
    task: TaskName = None,
    read: Reading = None,
    resume: Resume = False,
    device: Device = "auto",
    threads: Threads = None,
    force: Force = False,
) -> None:
    """Train a map from the events of one file to those of another.

    Parameters
    ----------
    source
        Events to be morphed (a fast simulation), or a table of their observables.
    target
        Events as they should be (full simulation), or a table.
    """
    from hepflows.commands.options import (
        apply_threads,
        check_run_directory,
        resolve_device,
        terminal_reporter,
    )
    from hepflows.config import build, with_overrides
    from hepflows.files import sha256_of
    from hepflows.morphing.config import MorphingConfig
    from hepflows.morphing.morph import fit_morphing
    from hepflows.observable_files import read_observables
    from hepflows.train.run import Run, training_folder

    config = build(MorphingConfig, with_overrides({"method": method}, set_ or ()), where="--set")
    check_run_directory(out, resume=resume, force=force)
    chosen = resolve_device(device)
    apply_threads(threads)
    tables = [
        read_observables(
            path,
            observables=name_list(observables, "--observables"),
            conditions=name_list(conditions, "--conditions"),
            task=task,
            selection=parse_selection(piece, read, option=option),
        )
        for path, piece, option in ((source, part, "--part"), (target, target_part, "--target-part"))
    ]
    reporter = terminal_reporter()
    run = Run(
        directory=training_folder(out, resume=resume),
        resume=resume,
        device=chosen,
        reporter=reporter,
        provenance={"source_sha256": sha256_of(source), "target_sha256": sha256_of(target)},
    )
    morphing = fit_morphing(tables[0], tables[1], config, run=run)
    morphing.save(out, force=True)  # checkpoints lie there already
    for line in _summary(morphing):
        reporter.message(line)
    reporter.message(f"morphing: {out}")


@morph.command
def apply(
    artefact: Path,
    events: Path,
    /,
    *,
    out: Annotated[Path, Parameter(help="Table to write, .h5, .hdf5 or .parquet.")],
    seed: Annotated[Seed, Parameter(help="Of the numbers that spread observables of whole numbers.")] = 1,
    part: Part = "0.0:1.0",
    task: TaskName = None,
    read: Reading = None,
    out_of_range: Annotated[
        OutOfRange, Parameter(help="Conditions outside the trained range: refuse them, clamp them, or pass them on.")
    ] = "error",
    threads: Threads = None,
    force: Force = False,
) -> None:
    """Morph the observables of a file of events, or of a table, and write them as a table.

    The table holds the morphed observables, the conditions, every observable as it was (source_NAME), the distance
    moved in standard deviations (movement), and whether the event was morphed (morphed); the events themselves
    (voxels, constituents) are not changed and not written.

    Parameters
    ----------
    artefact
        Directory that `hepflows morph train` wrote.
    events
        Events, or a table of observables.
    """
    from hepflows.commands.options import apply_threads, terminal_reporter
    from hepflows.files import check_output
    from hepflows.morphing.artefact import Morphing
    from hepflows.observable_files import read_observables
    from hepflows.table_files import check_suffix, write_table

    check_output(check_suffix(out), force=force)
    apply_threads(threads)
    morphing = Morphing.load(artefact)
    table = read_observables(
        events,
        observables=[column.name for column in morphing.features],
        conditions=[column.name for column in morphing.conditions],
        task=task,
        selection=parse_selection(part, read),
    )
    morphed = morphing.apply(table, seed=seed, out_of_range=out_of_range)
    write_table(morphed, out, force=force)
    reporter = terminal_reporter()
    left = int((morphed.more["morphed"] == 0).sum())
    if left:
        reporter.message(f"{left} events lack an observable and are left as they are")
    reporter.message(f"{len(morphed) - left} events morphed, moved by {_mean_movement(morphed):.3g} sigma: {out}")


def _mean_movement(table: FeatureTable) -> float:
    import numpy as np

    kept = table.select(table.more["morphed"] > 0)
    if len(kept) == 0:
        return 0.0
    weights = kept.weights if kept.weights is not None and kept.weights.sum() > 0 else None
    return float(np.average(kept.more["movement"], weights=weights))


def _summary(morphing: Morphing) -> list[str]:
    movement = morphing.document.to_dict()["metrics"]["movement"]
    lines = [f"held-out events move by {movement['mean_l2']:.3g} +- {movement['error']:.2g} standard deviations"]
    units = morphing.document.units
    for name, entry in movement["features"].items():
        shift = f"{entry['mean_shift']:+.4g} {units[name]}".rstrip()
        distance = f"{entry['mean_distance']:.4g} {units[name]}".rstrip()
        lines.append(f"  {name}: by {shift} on average, by {distance} in absolute value")
    return lines
