"""Tables of observables: a few numbers an event, with names and units, and the conditions that they belong to.

Morphing and manifolds work on such tables, wherever the numbers come from: files of showers or jets (through the
domain of their task, `hepflows.observable_files`), or tables written by other programs (`hepflows.table_files`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hepflows.config import did_you_mean
from hepflows.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table.

    Attributes:
        name: identifier.
        unit: of the values, empty for dimensionless ones.
        log: whether the values are positive and spread over orders of magnitude, so that networks take the logarithm.
    """

    name: str
    unit: str = ""
    log: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureTable:
    """N events of D observables under C conditions.

    Attributes:
        features: the observables.
        values: shape (N, D), float64; NaN where an observable is not defined.
        conditions: the conditions, none for unconditional sets.
        condition_values: shape (N, C), float64.
        provenance: file and selection that the events come from.
        more: further columns (N,) by name, which are carried along.
        weights: of the events (N,), carried along; None where all count the same.
    """

    features: tuple[Column, ...]
    values: NDArray[np.float64]
    conditions: tuple[Column, ...] = ()
    condition_values: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    provenance: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    weights: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if not self.conditions and self.condition_values.shape != (len(self.values), 0):
            object.__setattr__(self, "condition_values", np.empty((len(self.values), 0)))
        n = len(self.values)
        for what, columns, values in (
            ("observables", self.features, self.values),
            ("conditions", self.conditions, self.condition_values),
        ):
            if values.shape != (n, len(columns)):
                raise DataError("table has the wrong shape", where=what, expected=(n, len(columns)), found=values.shape)
        if self.weights is not None and self.weights.shape != (n,):
            raise DataError("table has the wrong shape", where="weights", expected=(n,), found=self.weights.shape)
        names = [column.name for column in (*self.features, *self.conditions)]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError("two columns of a table have the same name", found=twice, remedy="name it once")
        if not self.features:
            raise DataError("a table needs at least one observable")

    def __len__(self) -> int:
        return len(self.values)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the observables."""
        return tuple(column.name for column in self.features)

    @property
    def condition_names(self) -> tuple[str, ...]:
        """Names of the conditions."""
        return tuple(column.name for column in self.conditions)

    def select(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> FeatureTable:
        """The events at these positions."""
        return replace(
            self,
            values=self.values[index],
            condition_values=self.condition_values[index],
            more={name: values[index] for name, values in self.more.items()},
            weights=None if self.weights is None else self.weights[index],
        )

    def complete(self) -> NDArray[np.bool_]:
        """Events whose numbers are all defined, and positive where a logarithm is taken; shape (N,)."""
        return usable(self.values, self.features) & usable(self.condition_values, self.conditions)


def usable(values: NDArray[np.float64], columns: Sequence[Column]) -> NDArray[np.bool_]:
    """Rows of (N, K) that are finite, and positive in the columns with a logarithm; shape (N,)."""
    log = np.array([column.log for column in columns], dtype=np.bool_)
    good = np.isfinite(values) & ((values > 0) | ~log)
    return np.asarray(good.all(axis=1))


def require_same_columns(first: FeatureTable, second: FeatureTable) -> None:
    """Refuse two sets whose dimensions or conditions differ.

    Raises:
        DataError: other observables, conditions or units; the message names the first difference.
    """
    for what, ours, theirs in (
        ("observables", first.features, second.features),
        ("conditions", first.conditions, second.conditions),
    ):
        if len(ours) != len(theirs):
            raise DataError(
                f"the two sets have different numbers of {what}",
                where=second.provenance.get("file"),
                expected=f"{len(ours)}: {_listed(ours)}",
                found=f"{len(theirs)}: {_listed(theirs)}",
                remedy=f"choose {what} that both files have",
            )
        for one, other in zip(ours, theirs, strict=True):
            if (one.name, one.unit) != (other.name, other.unit):
                raise DataError(
                    f"the two sets have different {what}",
                    where=second.provenance.get("file"),
                    expected=f"{one.name} [{one.unit}]",
                    found=f"{other.name} [{other.unit}]",
                    remedy=f"choose {what} that both files have, in the same units and order",
                )


def pick(available: Mapping[str, Any], names: Sequence[str], *, what: str, where: object = None) -> list[Any]:
    """The entries with these names, in their order.

    Raises:
        ConfigError: a name is unknown; the message names the nearest and all there are.
    """
    for name in names:
        if name not in available:
            raise ConfigError(
                f"unknown {what} {name!r}{did_you_mean(name, available)}",
                where=where,
                expected=", ".join(available) or f"a file with such {what}s",
            )
    return [available[name] for name in names]


def _listed(columns: Sequence[Column]) -> str:
    return ", ".join(column.name for column in columns) or "none"
