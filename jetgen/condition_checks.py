"""Conditions of jets to generate: their shape, and whether the training jets had such ones."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from hepflows.conditions import stack_conditions
from hepflows.errors import ConditionError
from hepflows.out_of_range import check_policy, clamped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from hepflows.out_of_range import OutOfRange
    from jetgen.multiplicity import ConditionTables

_EXTRAPOLATE = "or extrapolate with --out-of-range pass (in Python out_of_range='pass')"
_CHOOSE = "or choose --out-of-range clamp or pass (extrapolate); in Python out_of_range='clamp' or 'pass'"


def required_number(n: int | None) -> int:
    """The number of jets, which must be given."""
    if n is None or n < 0:
        raise ConditionError("how many jets?", where="n", expected="0 or more, or conditions", found=n)
    return n


def condition_matrix(
    conditions: Mapping[str, ArrayLike], names: Sequence[str], *, n: int | None = None
) -> NDArray[np.float32]:
    """Conditions as (N, C) float32 in the order of `names`; (N, 0) if there are none.

    Args:
        conditions: by name, each of shape (N,); other names than those of the generator are passed over.
        names: of the generator's conditions.
        n: number of jets; it may be left out if there is any entry.

    Raises:
        ConditionError: one is missing, ill-shaped, not finite, a multiplicity that is not whole, or their number is
            not n.
    """
    if not names:
        count = n if n is not None or not conditions else len(np.atleast_1d(next(iter(conditions.values()))))
        return np.zeros((required_number(count), 0), dtype=np.float32)
    if missing := [name for name in names if name not in conditions]:
        raise ConditionError(
            "a condition is missing",
            where=missing[0],
            expected=", ".join(names),
            found=", ".join(conditions) or "none",
        )
    matrix = stack_conditions(conditions, names, n=n)
    for name, column in zip(names, matrix.T, strict=True):
        if name == "multiplicity" and (wrong := column != np.round(column)).any():
            first = int(np.argmax(wrong))
            raise ConditionError("not a whole number", where=f"{name}[{first}]", found=f"{column[first]:g}")
    return matrix


def within_range(
    matrix: NDArray[np.float32],
    valid_range: Mapping[str, tuple[float, float]],
    tables: ConditionTables,
    out_of_range: OutOfRange,
) -> NDArray[np.float32]:
    """Refuse conditions (N, C) unlike those of the training jets, or warn: what the generator is to be given.

    Args:
        matrix: as `condition_matrix` gives it.
        valid_range: lowest and highest value of each condition, in the order of the columns.
        tables: tell the masses that jets with a certain multiplicity have.
        out_of_range: policy. `clamp` moves each condition to its own range; a mass may still be unusual for its
            multiplicity. With `pass`, too, impossible values are refused.

    Raises:
        ConditionError: naming the first jet at fault.
        ConfigError: there is no such policy.
    """
    if check_policy(out_of_range, where="out_of_range") == "clamp":
        matrix = clamped(matrix, valid_range, stacklevel=4)
    for column, (name, (low, high)) in enumerate(valid_range.items()):
        values = matrix[:, column]
        outside = (values < np.float32(low)) | (values > np.float32(high))
        impossible = values < 0
        if name == "multiplicity":
            impossible = (values < 1) | (values > tables.n_slots)
        elif matrix.shape[1] > 1:
            outside &= matrix[:, 1] != 1  # a single constituent: looked at below
        outside |= impossible
        if outside.any():
            first = int(np.argmax(impossible)) if impossible.any() else int(np.argmax(outside))
            expected = f"{low:.6g} ... {high:.6g}"
            if out_of_range == "error" or impossible.any():
                raise ConditionError(
                    "a condition lies outside the trained range",
                    where=f"{name}[{first}]",
                    expected=expected,
                    found=f"{values[first]:.6g} ({int(outside.sum())} of {len(matrix)} jets are outside)",
                    remedy=f"generate inside the range, train on a wider one, {_CHOOSE}",
                )
            _warn(f"{name} lies outside the trained range {expected}")
    if len(valid_range) > 1:
        _check_masses_of_multiplicities(matrix, tables, out_of_range)
    return matrix


def _check_masses_of_multiplicities(
    matrix: NDArray[np.float32], tables: ConditionTables, out_of_range: OutOfRange
) -> None:
    mass, multiplicity = matrix[:, 0], matrix[:, 1].astype(np.int64)
    low, high = tables.mass_bounds(multiplicity)
    outside = (mass < low) | (mass > high)
    if not outside.any():
        return
    alone = outside & (multiplicity == 1)
    if out_of_range == "error" or alone.any():
        first = int(np.argmax(alone)) if alone.any() else int(np.argmax(outside))
        expected = "0, the mass of a single constituent"
        if not alone.any():
            about = f"about what training jets with multiplicity {multiplicity[first]} have"
            expected = f"{low[first]:.6g} ... {high[first]:.6g}, {about}"
        raise ConditionError(
            "no jet with so many constituents has this mass",
            where=f"mass[{first}]",
            expected=expected,
            found=f"{mass[first]:.6g} ({int(outside.sum())} of {len(matrix)} jets)",
            remedy=f"take masses and multiplicities that occur together in the data, {_EXTRAPOLATE}",
        )
    _warn("masses lie outside what training jets of their multiplicity have")


def _warn(what: str) -> None:
    # the same words for every batch, so that Python shows them once
    warnings.warn(f"{what}: these jets are extrapolated", UserWarning, stacklevel=5)
