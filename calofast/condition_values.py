"""Values of conditions for which showers are generated: their matrix, and the range seen in training."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hepflows.conditions import stack_conditions
from hepflows.errors import ConditionError
from hepflows.observable import Observable
from hepflows.out_of_range import check_policy, clamped
from hepflows.philox import uniform_noise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from calofast.showers import Showers
    from hepflows.out_of_range import OutOfRange

ENERGY = "incident_energy_gev"
_STREAM = 0x45
"""Philox stream of drawn conditions, apart from the stream of the noise."""


class Conditioned(Protocol):
    """Showers, or what was measured of them."""

    @property
    def incident_energy_gev(self) -> NDArray[np.floating[Any]]:
        """Incident energies (N,)."""
        ...

    @property
    def conditions(self) -> Mapping[str, NDArray[np.floating[Any]]]:
        """Further conditions by name, each (N,)."""
        ...


def conditions_of(showers: Showers) -> dict[str, NDArray[np.floating[Any]]]:
    """Everything that a generator may be conditioned on, by name, each of shape (N,)."""
    return {ENERGY: showers.incident_energy_gev, **showers.conditions}


def condition_rows(showers: Conditioned) -> NDArray[np.float64]:
    """Incident energy and further conditions by name, (N, C): showers of one row share all conditions."""
    columns = [showers.incident_energy_gev, *(showers.conditions[name] for name in sorted(showers.conditions))]
    return np.stack(columns, axis=1).astype(np.float64)


def energy_observable(showers: Conditioned) -> Observable:
    """Incident energy in GeV, in whose bins profiles are taken."""
    return Observable(
        name=ENERGY,
        label=r"$E_\mathrm{inc}$",
        unit="GeV",
        group="condition",
        values=showers.incident_energy_gev.astype(np.float64),
    )


def drawn_uniformly(
    names: Sequence[str], ranges: Mapping[str, tuple[float, float]], n: int, *, seed: int, first_event: int = 0
) -> dict[str, NDArray[np.floating[Any]]]:
    """Conditions of n showers by name, each uniform in its range; those of a shower follow from (seed, index).

    Raises:
        ConditionError: there is no range for a condition, or one for none.
    """
    if unknown := sorted(set(ranges) - set(names)):
        raise ConditionError(
            "the generator has no such condition",
            expected=", ".join(names),
            found=", ".join(unknown),
            remedy="leave it out, or check its name",
        )
    if set(ranges) != set(names):
        raise ConditionError(
            "every condition needs a range to be drawn from",
            expected=", ".join(names),
            found=", ".join(ranges) or "none",
            remedy="--energy 1..100GeV, --condition NAME=LOW..HIGH for others; or take them from a file with --like",
        )
    uniform = uniform_noise(seed, first_event, n, len(names), stream=_STREAM)
    bounds = [ranges[name] for name in names]
    return {
        name: low + (high - low) * uniform[:, i]
        for i, (name, (low, high)) in enumerate(zip(names, bounds, strict=True))
    }


def condition_matrix(
    names: Sequence[str], given: Mapping[str, ArrayLike], *, n: int | None = None
) -> NDArray[np.float32]:
    """Conditions as (N, C) float32 in the order of `names`; `n` is compared with N.

    Raises:
        ConditionError: a condition is missing, unknown, ill-shaped or not finite.
    """
    if set(given) != set(names):
        raise ConditionError(
            "the conditions do not fit the generator",
            expected=", ".join(names),
            found=", ".join(given),
            remedy="pass every condition that the generator was trained with, and no other",
        )
    return stack_conditions(given, names, n=n)


def within_range(
    matrix: NDArray[np.float32], ranges: Mapping[str, tuple[float, float]], *, out_of_range: OutOfRange
) -> NDArray[np.float32]:
    """Refuse conditions (N, C) outside the trained range, or warn of them: what the generator is to be given.

    Args:
        matrix: shape (N, C).
        ranges: lower and upper end of each column's range, by name, in the order of the columns.
        out_of_range: policy; with `pass`, too, an energy that is not positive is an error.

    Raises:
        ConditionError: a condition is outside.
        ConfigError: there is no such policy.
    """
    if check_policy(out_of_range, where="out_of_range") == "clamp":
        return clamped(matrix, ranges, stacklevel=4)
    for column, (name, (low, high)) in zip(matrix.T, ranges.items(), strict=True):
        outside = (column < np.float32(low)) | (column > np.float32(high))
        if not outside.any():
            continue
        first = int(np.argmax(outside))
        error = ConditionError(
            "a condition lies outside the trained range",
            where=f"{name}[{first}]",
            expected=f"{low:.6g} ... {high:.6g}",
            found=f"{column[first]:.6g} ({int(outside.sum())} of {len(column)} events are outside)",
            remedy="generate inside the range, train on a wider one, or choose --out-of-range clamp (to its nearest "
            "end) or pass (extrapolate); in Python out_of_range='clamp' or 'pass'",
        )
        nonsense = name == ENERGY and bool((column <= 0).any())
        if out_of_range == "error" or nonsense:
            raise error
        # the same words for every batch, so that Python shows them once
        warnings.warn(
            f"{name} lies outside the trained range {error.expected}: these showers are extrapolated",
            UserWarning,
            stacklevel=4,
        )
    return matrix
