"""Which events train a model, and which are held out to choose the best epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hepflows.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Split(NamedTuple):
    """Indices of the two parts, each in rising order."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]


def chosen_rows(n: int, most: int, *, seed: int) -> NDArray[np.int64]:
    """At most so many of n rows, at random, in rising order: files may be sorted, so that their first rows differ.

    Example:
        >>> len(chosen_rows(1000, 10, seed=1)), len(chosen_rows(5, 10, seed=1))
        (10, 5)
    """
    rows: NDArray[np.int64] = np.sort(np.random.default_rng(seed).permutation(n)[:most])
    return rows


def split_events(
    n: int, validation_fraction: float, *, seed: int, at_least: int, what: str, where: object = None
) -> Split:
    """Draw the events that are held out, at least one.

    Example:
        >>> [len(part) for part in split_events(1000, 0.1, seed=1, at_least=20, what="showers")]
        [900, 100]

    Args:
        n: number of events.
        validation_fraction: part that is held out.
        seed: of the draw.
        at_least: training events needed.
        what: what the events are, in the plural.
        where: file that they come from.

    Raises:
        DataError: too few training events.
    """
    n_validation = max(1, round(validation_fraction * n))
    if n - n_validation < at_least:
        raise DataError(
            f"too few {what} to train on",
            where=where,
            expected=f"at least {at_least}",
            found=n - n_validation,
            remedy="use more data: a larger file, or a wider selection of it",
        )
    order = np.random.default_rng(seed).permutation(n)
    return Split(np.sort(order[n_validation:]), np.sort(order[:n_validation]))
