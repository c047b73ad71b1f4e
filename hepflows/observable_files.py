"""Tables of observables from files of events, through the domain of the task that reads them.

The engine knows no physics: which observables there are, and how they are measured, is the business of the task's
package (`calofast.observables`, `jetgen.observables`, or a third party's).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hepflows.errors import ConfigError, DataError
from hepflows.feature_table import Column, FeatureTable, pick
from hepflows.files import require_file
from hepflows.table_files import is_table, read_table

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from hepflows.task import AnyTask


def read_observables(
    path: str | os.PathLike[str],
    *,
    observables: Sequence[str] | None,
    conditions: Sequence[str] | None,
    inputs: str | None = None,
    task: str | None = None,
    selection: Mapping[str, Any] | None = None,
) -> FeatureTable:
    """Read or measure the observables of a file.

    Args:
        path: table of observables, or events that a task can read; events are measured in chunks if the task can.
        observables: names. For events they must be given, for most of what a domain offers depends on the rest (layer
            energies and their sum), and a density of dependent numbers does not exist.
        conditions: names; by default those of a table, and none of events.
        inputs: instead of observables, an input set of the domain's classifier test (``log`` voxels of showers).
        task: task that reads the file, if several could.
        selection: options of `Task.read`; of a table of observables ``part`` and ``first``.

    Raises:
        ConfigError: no observables are named for events, or a name is unknown.
        DataError: the file or its content cannot be used.
    """
    file = require_file(path)
    if task is None and _is_plain_table(file):
        if inputs is not None:
            raise ConfigError("a table of observables has no input sets", where=file, found=inputs)
        return _selected(read_table(file, observables=observables, conditions=conditions), selection or {}, file)
    from hepflows import registry

    reader = registry.task_for_file(file) if task is None else registry.task(task)
    parts = [
        _measured(reader, events, observables, conditions or (), inputs=inputs, where=file)
        for events in _chunks(reader, file, selection or {})
    ]
    return FeatureTable(
        features=parts[0].features,
        values=np.concatenate([part.values for part in parts]),
        conditions=parts[0].conditions,
        condition_values=np.concatenate([part.condition_values for part in parts]),
        provenance={"file": str(file), "task": reader.name},
        weights=_weights(parts),
    )


def _selected(table: FeatureTable, selection: Mapping[str, Any], file: Path) -> FeatureTable:
    """The rows of a table that a selection keeps, by the keys that make sense for any table: ``part`` and ``first``.

    Raises:
        ConfigError: another key.
        DataError: no row is left.
    """
    if unknown := sorted(set(selection) - {"part", "first"}):
        raise ConfigError(
            "a table of observables is selected by position only",
            where=f"--read {unknown[0]}",
            expected="part, first",
            remedy="leave it out, or select when the table is made",
        )
    low, high = selection.get("part", (0.0, 1.0))
    rows = np.arange(round(low * len(table)), round(high * len(table)))[: selection.get("first")]
    if len(rows) == 0:
        raise DataError("no events are left by the selection", where=file, found=f"{len(table)} events")
    return table if len(rows) == len(table) else table.select(rows)


def _is_plain_table(file: Path) -> bool:
    if is_table(file):
        return True
    from hepflows import registry

    # a foreign Parquet file is a table unless a task knows it as events
    return file.suffix == ".parquet" and not any(task.sniff(file) for task in registry.tasks().values())


def _chunks(task: AnyTask, path: Path, selection: Mapping[str, Any]) -> Iterable[Any]:
    from hepflows.task import StreamingTask

    if isinstance(task, StreamingTask):
        return task.iterate(path, **selection)
    return [task.read(path, **selection)]


def _measured(
    task: AnyTask,
    events: Any,
    observables: Sequence[str] | None,
    conditions: Sequence[str],
    *,
    inputs: str | None,
    where: Path,
) -> FeatureTable:
    if inputs is None:
        features, values = _observables(task, events, observables, where=where)
    else:
        features, values = _inputs(task, events, inputs, where=where)
    weights = getattr(events, "weights", None)
    known = task.conditions_of(events)
    given = pick(known, conditions, what="condition", where=where)
    return FeatureTable(
        features=features,
        values=values,
        conditions=tuple(_condition(name) for name in conditions),
        condition_values=np.stack([np.asarray(v, np.float64) for v in given], axis=1)
        if given
        else np.empty((len(events), 0)),
        weights=None if weights is None else np.asarray(weights, np.float64),
    )


def _weights(parts: Sequence[FeatureTable]) -> Any:
    given = [part.weights for part in parts if part.weights is not None]
    return np.concatenate(given) if given else None


def _observables(
    task: AnyTask, events: Any, names: Sequence[str] | None, *, where: Path
) -> tuple[tuple[Column, ...], Any]:
    found = {one.name: one for one in task.domain.observables(events) if one.values.ndim == 1}
    if not names:
        raise ConfigError(
            "which observables?",
            where=where,
            expected=f"some of {', '.join(found)}",
            remedy="--observables NAME,NAME...: none that follows from the others",
        )
    chosen = pick(found, names, what="observable", where=where)
    columns = tuple(Column(name=one.name, unit=one.unit, log=one.log) for one in chosen)
    return columns, np.stack([one.values.astype(np.float64) for one in chosen], axis=1)


def _inputs(task: AnyTask, events: Any, inputs: str, *, where: Path) -> tuple[tuple[Column, ...], Any]:
    offered = task.domain.inputs
    if inputs not in offered:
        raise ConfigError(f"unknown input set {inputs!r}", where=where, expected=", ".join(offered))
    values = task.domain.classifier_inputs(events, preset="caloflow", inputs=inputs).astype(np.float64)
    return tuple(Column(name=f"{inputs}_{k}") for k in range(values.shape[1])), values


def _condition(name: str) -> Column:
    """Column of a condition: energies, which carry their unit in the name, on a logarithmic scale."""
    stem, _, unit = name.rpartition("_")
    if stem and unit in ("gev", "mev", "tev"):
        return Column(name=name, unit=f"{unit[0].upper()}eV", log=True)
    return Column(name=name)
