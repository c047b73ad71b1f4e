"""Values of conditions, as users give them by name, as one matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hepflows.errors import ConditionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray


def stack_conditions(
    given: Mapping[str, ArrayLike], names: Sequence[str], *, n: int | None = None
) -> NDArray[np.float32]:
    """Conditions as (N, C) float32 in the order of `names`.

    Example:
        >>> stack_conditions({"mass": [0.1, 0.2], "multiplicity": [30, 20]}, ("multiplicity",)).tolist()
        [[30.0], [20.0]]

    Args:
        given: by name, each of shape (N,); all of `names` are among them.
        names: of the columns, at least one.
        n: number of events, if it is to be compared with N.

    Raises:
        ConditionError: one is ill-shaped or not finite, or N is not n.
    """
    columns = [np.asarray(given[name], dtype=np.float32) for name in names]
    for name, column in zip(names, columns, strict=True):
        if column.ndim != 1 or len(column) != len(columns[0]):
            raise ConditionError(
                "wrong shape", where=name, expected=f"({len(np.atleast_1d(columns[0]))},)", found=column.shape
            )
        if not np.isfinite(column).all():
            raise ConditionError("not a finite number", where=f"{name}[{int(np.argmin(np.isfinite(column)))}]")
    if n is not None and n != len(columns[0]):
        raise ConditionError("wrong number of conditions", expected=f"n = {n}", found=len(columns[0]))
    return np.stack(columns, axis=1)
