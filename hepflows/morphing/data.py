"""Checking and scaling the two sets of a morphing."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from hepflows.discrete import Grid, find_grid, spread
from hepflows.errors import DataError
from hepflows.feature_table import FeatureTable, require_same_columns
from hepflows.train.split import Split, split_events
from hepflows.weights import training_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hepflows.morphing.config import MorphingConfig

_LEAST_EVENTS: Final = 50
_LEAST_EIGENVALUE: Final = 1e-5
"""Of the correlation matrix; observables that follow from the others leave a density without a bound."""
_MOST_OUTSIDE: Final = 0.01  # share of source events at conditions that the target set does not have


@dataclass(frozen=True, kw_only=True, eq=False)
class MorphingSet:
    """One of the two sets, complete events only.

    Attributes:
        table: the events.
        split: which of them train, and which are held out.
    """

    table: FeatureTable
    split: Split

    def weights(self) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Weights of the training and of the held-out events, each with a mean of 1; None where all count the same.

        Raises:
            DataError: weights that no density has, or that leave too few effective events.
        """
        where = self.table.provenance.get("file")
        if self.table.weights is None:
            return None, None
        train, held_out = (
            training_weights(self.table.weights[part], at_least=least, where=where)
            for part, least in ((self.split.train, _LEAST_EVENTS), (self.split.validation, 1))
        )
        return (
            None if train is None else torch.from_numpy(train),
            None if held_out is None else torch.from_numpy(held_out),
        )


def make_sets(
    source: FeatureTable, target: FeatureTable, config: MorphingConfig
) -> tuple[MorphingSet, MorphingSet, tuple[Grid, ...]]:
    """Check that the two sets can be morphed, drop incomplete events, and hold some out.

    Returns:
        Source, target, and the grid of each observable.

    Raises:
        DataError: other dimensions, conditions or units; too few events; no common range of a condition; a constant
            observable, or one that follows from the others.
    """
    require_same_columns(source, target)
    source, target = (_complete(table) for table in (source, target))
    _check_ranges(source, target)
    grids = tuple(
        Grid() if column.log else find_grid(np.concatenate([source.values[:, k], target.values[:, k]]))
        for k, column in enumerate(source.features)
    )
    for table in (source, target):
        check_independent(table)
    sets = []
    for number, table in enumerate((source, target)):
        split = split_events(
            len(table),
            config.validation_fraction,
            seed=config.seed + number,
            at_least=_LEAST_EVENTS,
            what="events",
            where=table.provenance.get("file"),
        )
        sets.append(MorphingSet(table=table, split=split))
    return sets[0], sets[1], grids


def check_independent(table: FeatureTable) -> None:
    """Refuse observables that are constant or follow linearly from the others.

    Raises:
        DataError: naming the observables concerned.
    """
    where = table.provenance.get("file")
    log = np.array([column.log for column in table.features])
    values = np.where(log, np.log(np.where(log, table.values, 1.0)), table.values)
    spreads = values.std(axis=0)
    if (constant := np.flatnonzero(spreads <= 1e-12 * np.abs(values).max(axis=0))).size:
        raise DataError(
            "an observable is the same in all events",
            where=where,
            found=table.names[constant[0]],
            remedy="leave it out",
        )
    if values.shape[1] < 2:
        return
    eigenvalues, vectors = np.linalg.eigh(np.corrcoef(values, rowvar=False))
    if eigenvalues[0] < _LEAST_EIGENVALUE:
        involved = [name for name, part in zip(table.names, vectors[:, 0], strict=True) if abs(part) > 0.05]
        raise DataError(
            "observables follow from each other, so that their density has no bound",
            where=where,
            found=", ".join(involved),
            remedy="leave one of them out",
        )


def dequantised(table: FeatureTable, grids: tuple[Grid, ...], *, seed: int) -> NDArray[np.float64]:
    """Values (N, D) with those of discrete observables spread over their steps."""
    return spread(table.values, grids, np.random.default_rng(seed).random(table.values.shape))


def as_tensor(values: NDArray[np.float64]) -> torch.Tensor:
    """In float64, for fitting and scaling."""
    return torch.from_numpy(np.ascontiguousarray(values))


def _complete(table: FeatureTable) -> FeatureTable:
    good = table.complete()
    if good.all():
        return table
    where = table.provenance.get("file")
    if good.sum() < _LEAST_EVENTS:
        every = np.concatenate([table.values, table.condition_values], axis=1)
        names = (*table.names, *(column.name for column in table.conditions))
        column = int(np.argmin(np.isfinite(every).sum(axis=0)))
        raise DataError(
            "hardly an event has all of these observables and conditions",
            where=where,
            expected=f"at least {_LEAST_EVENTS} events with finite values, positive where a logarithm is taken",
            found=f"{int(good.sum())} of {len(table)}",
            remedy=f"leave out what is often undefined, {names[column]} for example",
        )
    warnings.warn(
        f"{where or 'table'}: {int((~good).sum())} of {len(table)} events lack an observable and are left out",
        UserWarning,
        stacklevel=4,
    )
    return table.select(good)


def _check_ranges(source: FeatureTable, target: FeatureTable) -> None:
    """The target must have been seen where the source is, but for the odd event at the ends."""
    for k, column in enumerate(source.conditions):
        ours, theirs = source.condition_values[:, k], target.condition_values[:, k]
        outside = float(((ours < theirs.min()) | (ours > theirs.max())).mean())
        if outside > _MOST_OUTSIDE:
            raise DataError(
                "the target set does not cover the range of a condition",
                where=f"{target.provenance.get('file', 'target')}: {column.name}",
                expected=f"{ours.min():g} ... {ours.max():g} {column.unit}".rstrip(),
                found=f"{theirs.min():g} ... {theirs.max():g}: {outside:.1%} of the source events lie outside",
                remedy="choose sets at the same conditions, or check the units",
            )
