"""What to do with conditions outside the range that a generator was trained for: one set of words everywhere."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal, TypeAlias, cast, get_args

import numpy as np

from hepflows.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

OutOfRange: TypeAlias = Literal["error", "clamp", "pass"]
"""Refuse, take the nearest end of the range, or pass the value on: then an artefact extrapolates, a graph clamps."""


def check_policy(policy: object, *, where: str) -> OutOfRange:
    """The policy, if there is one of that name.

    Example:
        >>> check_policy("clamp", where="out_of_range")
        'clamp'

    Raises:
        ConfigError: there is none.
    """
    if policy not in get_args(OutOfRange):
        raise ConfigError(
            "unknown out-of-range policy", where=where, expected=" or ".join(get_args(OutOfRange)), found=policy
        )
    return cast("OutOfRange", policy)


def clamped(
    matrix: NDArray[np.float32], ranges: Mapping[str, tuple[float, float]], *, stacklevel: int
) -> NDArray[np.float32]:
    """Move conditions (N, C) outside their ranges to the nearest end, with a warning for each column that has such.

    Args:
        matrix: shape (N, C), finite.
        ranges: lower and upper end of each column, by name, in the order of the columns.
        stacklevel: of the warnings, counted from the caller.
    """
    result = matrix.copy()
    for column, (name, (low, high)) in enumerate(ranges.items()):
        np.clip(matrix[:, column], np.float32(low), np.float32(high), out=result[:, column])
        if (result[:, column] != matrix[:, column]).any():
            # the same words for every batch, so that Python shows them once
            warnings.warn(
                f"{name} lies outside the trained range {low:.6g} ... {high:.6g}: clamped to it",
                UserWarning,
                stacklevel=stacklevel + 1,
            )
    return result
