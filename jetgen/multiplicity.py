"""Multiplicity and mass of the jets to generate: p(n, m) = p(n) p(m | n), from tables of the training jets.

The distribution function of the mass is known at a hundred quantiles and a monotone piecewise cubic between them
(Fritsch and Carlson, SIAM J. Numer. Anal. 17, 238; scipy's PCHIP). Masses are drawn by inverting it. The tables are
buffers of the model: any host that can evaluate a cubic can draw conditions from them.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from hepflows.errors import ConditionError, DataError
from hepflows.philox import uniform_noise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

KNOTS = 101
LEAST_JETS = 100
"""Multiplicities with fewer training jets share the masses of their neighbours."""

_STREAM = 0x4A  # of the drawn conditions, apart from that of the noise
_STEPS = 20  # of the inversion; bisection alone would reach 1e-6 of an interval


class ConditionTables(nn.Module):
    """Tables of p(n) and of the mass given n, and the mass whatever n (row 0).

    For each n from 1 to P the masses of jets with n, and with as many neighbouring multiplicities on both sides
    as it takes for 100 jets, make one row.

    Args:
        n_slots: largest number of constituents P.
    """

    share: Tensor
    mass: Tensor
    level: Tensor
    slope: Tensor

    def __init__(self, n_slots: int) -> None:
        super().__init__()
        self.n_slots = n_slots
        self.register_buffer("share", torch.zeros(n_slots + 1))
        self.register_buffer("mass", torch.linspace(0, 1, KNOTS).repeat(n_slots + 1, 1))
        self.register_buffer("level", torch.linspace(0, 1, KNOTS))
        self.register_buffer("slope", torch.ones(n_slots + 1, KNOTS))

    def fit(self, mass: NDArray[np.floating], multiplicity: NDArray[np.integer]) -> None:
        """Learn the tables from masses (N,) and multiplicities (N,) of the training jets.

        Raises:
            DataError: there are no jets with at least two constituents and a mass.
        """
        counts = np.bincount(multiplicity, minlength=self.n_slots + 1)
        usable = (multiplicity >= 2) & (mass > 0)
        if usable.sum() < 2:
            raise DataError("no jets with a mass to learn its distribution from", expected="2 or more")
        self.share.copy_(torch.from_numpy(counts / counts.sum()))
        # knots are denser towards the ends, where the distribution has its tails
        level = 0.5 - 0.5 * np.cos(np.linspace(0, np.pi, KNOTS))
        self.level.copy_(torch.from_numpy(level))
        usable_mass, usable_n = mass[usable].astype(np.float64), multiplicity[usable]
        for n in range(self.n_slots + 1):
            chosen = usable_mass if n == 0 else usable_mass[_neighbours(usable_n, n)]
            knots, slope = _monotone_cubic(chosen, level)
            self.mass[n].copy_(torch.from_numpy(knots))
            self.slope[n].copy_(torch.from_numpy(slope))

    def cumulative(self, mass: Tensor, row: Tensor) -> Tensor:
        """Distribution function of the mass: (N,) masses and (N,) rows to (N,) in [0, 1]."""
        knots, slope = self.mass[row], self.slope[row]
        mass = torch.minimum(torch.maximum(mass, knots[:, 0]), knots[:, -1])
        left, right, low, high, d0, d1 = self._interval(mass >= knots[:, 1:-1].T, knots, slope)
        width = right - left
        return _cubic((mass - left) / width, low, high, d0 * width, d1 * width)

    def quantile(self, level: Tensor, row: Tensor) -> Tensor:
        """Invert `cumulative`: (N,) levels in [0, 1] and (N,) rows to (N,) masses.

        The interval is found by comparisons and the cubic inverted by a fixed number of safeguarded Newton steps.
        """
        knots, slope = self.mass[row], self.slope[row]
        inside = level >= self.level[1:-1, None]
        left, right, low, high, d0, d1 = self._interval(inside, knots, slope)
        d0, d1 = d0 * (right - left), d1 * (right - left)
        below, above = torch.zeros_like(level), torch.ones_like(level)
        t = ((level - low) / (high - low)).clamp(0.0, 1.0)
        for _ in range(_STEPS):
            miss = _cubic(t, low, high, d0, d1) - level
            below, above = torch.where(miss < 0, t, below), torch.where(miss < 0, above, t)
            newton = t - miss / _cubic_slope(t, low, high, d0, d1).clamp_min(1e-12)
            t = torch.where((newton >= below) & (newton <= above), newton, 0.5 * (below + above))
        return left + t * (right - left)

    def draw(
        self,
        uniform: Tensor,
        *,
        mass_window: tuple[float, float] | None = None,
        multiplicity: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Draw conditions of the training jets' distribution.

        Args:
            uniform: uniform numbers (N, 2): for the multiplicity and for the mass.
            mass_window: masses between these two only; multiplicities follow p(n | window).
            multiplicity: this multiplicity only.

        Returns:
            Masses (N,) and multiplicities (N,), integers. A jet with one constituent has mass 0.

        Raises:
            ConditionError: no training jets in the window, or with the multiplicity.
        """
        rows = torch.arange(self.n_slots + 1, device=self.share.device)
        lower, upper = torch.zeros_like(self.share), torch.ones_like(self.share)
        share = self.share
        if mass_window is not None:
            bounds = torch.tensor(mass_window, dtype=self.mass.dtype, device=self.mass.device)
            lower = self.cumulative(bounds[:1].expand(len(rows)), rows)
            upper = self.cumulative(bounds[1:].expand(len(rows)), rows)
            share = share * (upper - lower) * (rows >= 2)
        if multiplicity is not None:
            self._require_multiplicity(multiplicity)
            share = share * (rows == multiplicity)
        if not bool(share.sum() > 0):
            low, high = float(self.mass[0, 0]), float(self.mass[0, -1])
            raise ConditionError(
                "no training jets lie in the mass window",
                where="mass_window",
                expected=f"two rising numbers within {low:.6g} ... {high:.6g}",
                found=f"{mass_window}" + ("" if multiplicity is None else f" with multiplicity {multiplicity}"),
            )
        edges = share.double().cumsum(0) / share.double().sum()
        n = (uniform[:, :1].double() > edges[None, :-1]).sum(1)
        level = lower[n] + uniform[:, 1] * (upper - lower)[n]
        mass = self.quantile(level, n)
        return torch.where(n >= 2, mass, torch.zeros_like(mass)), n

    def mass_bounds(self, multiplicity: NDArray[np.integer]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Masses between which a condition with these multiplicities makes sense; 0 for a single constituent.

        Half the lowest and one and a half times the highest mass of the training jets with (about) this multiplicity:
        there may be as few as a hundred, and another jet of the kind may well lie outside their range.
        """
        mass = self.mass.cpu().numpy()
        several = multiplicity > 1
        low, high = 0.5 * mass[multiplicity, 0], 1.5 * mass[multiplicity, -1]
        return np.where(several, low, np.float32(0)), np.where(several, high, np.float32(0))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able tables for hosts that draw conditions themselves."""
        return {
            "interpolation": "monotone piecewise cubic (Hermite) of the distribution function of the mass",
            "multiplicity_share": self.share.tolist(),
            "level": self.level.tolist(),
            "mass_knots": self.mass.tolist(),
            "level_slope": self.slope.tolist(),
            "rows": "row n for multiplicity n, row 0 for any",
        }

    @staticmethod
    def from_dict(tables: Mapping[str, Any]) -> ConditionTables:
        """Undo `to_dict`."""
        share = torch.tensor(tables["multiplicity_share"])
        made = ConditionTables(len(share) - 1)
        made.share.copy_(share)
        for buffer, name in ((made.level, "level"), (made.mass, "mass_knots"), (made.slope, "level_slope")):
            buffer.copy_(torch.tensor(tables[name]))
        return made

    def _require_multiplicity(self, multiplicity: int) -> None:
        if not (1 <= multiplicity <= self.n_slots and float(self.share[multiplicity]) > 0):
            seen = [n for n, share in enumerate(self.share.tolist()) if share > 0]
            raise ConditionError(
                "no training jets have this multiplicity",
                where="multiplicity",
                expected=f"{seen[0]} ... {seen[-1]}",
                found=multiplicity,
            )

    def _interval(self, passed: Tensor, knots: Tensor, slope: Tensor) -> tuple[Tensor, ...]:
        """Ends, levels and slopes of the interval that `passed` (K - 2, N) marks; sums instead of indices."""
        first = torch.cat([torch.ones_like(passed[:1]), passed]).T.to(knots.dtype)
        later = torch.cat([passed, torch.zeros_like(passed[:1])]).T.to(knots.dtype)
        chosen = first - later
        level = self.level.expand_as(knots)
        pairs = [(values[:, :-1], values[:, 1:]) for values in (knots, level, slope)]
        return tuple((side * chosen).sum(1) for pair in pairs for side in pair)


def drawn_conditions(
    tables: ConditionTables,
    names: Sequence[str],
    n: int,
    *,
    seed: int,
    first_event: int = 0,
    ranges: Mapping[str, tuple[float, float]] = MappingProxyType({}),
) -> dict[str, NDArray[np.floating[Any]]]:
    """Conditions of n jets by name; those of a jet follow from (seed, index).

    Args:
        tables: distribution of the training jets.
        names: conditions of the generator.
        n: number of jets.
        seed: of the counter-based noise.
        first_event: index of the first jet.
        ranges: ``mass`` between these two only; ``multiplicity`` exactly this (both ends equal).

    Raises:
        ConditionError: no training jets are like that, or the generator has no such condition.
    """
    if unknown := [name for name in ranges if name not in names]:
        raise ConditionError(
            "the generator has no such condition", expected=", ".join(names) or "none", found=", ".join(unknown)
        )
    low, high = ranges.get("multiplicity", (0.0, 0.0))
    if low != high or low != round(low):
        raise ConditionError("multiplicity takes one whole number", expected="multiplicity=30", found=(low, high))
    uniform = torch.from_numpy(uniform_noise(seed, first_event, n, 2, stream=_STREAM)).to(tables.mass)
    with torch.no_grad():
        mass, multiplicity = tables.draw(
            uniform,
            mass_window=ranges.get("mass"),
            multiplicity=int(low) if "multiplicity" in ranges else None,
        )
    values = {"mass": mass.cpu().numpy(), "multiplicity": multiplicity.cpu().numpy().astype(np.float32)}
    return {name: values[name].astype(np.float32) for name in names}


def _neighbours(multiplicity: NDArray[np.integer], n: int) -> NDArray[np.bool_]:
    """Jets with multiplicity n and as near to it as it takes for enough of them."""
    distance = np.abs(multiplicity - n)
    needed = np.sort(distance)[min(LEAST_JETS, len(distance)) - 1]
    near: NDArray[np.bool_] = distance <= needed
    return near


def _monotone_cubic(
    mass: NDArray[np.float64], level: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Quantiles of a sample at the levels, strictly rising, and the slopes of PCHIP there."""
    from scipy.interpolate import PchipInterpolator

    knots = np.quantile(mass, level)
    # equal masses would make a jump: part them by what float32 can tell
    least = 1e-6 * max(float(knots[-1]), 1e-6)
    knots = np.maximum.accumulate(knots - least * np.arange(len(knots))) + least * np.arange(len(knots))
    slope = PchipInterpolator(knots, level).derivative()(knots)
    return knots, np.maximum(slope, 0.0)


def _cubic(t: Tensor, low: Tensor, high: Tensor, d0: Tensor, d1: Tensor) -> Tensor:
    """Hermite cubic on [0, 1] with values low, high and derivatives d0, d1."""
    rest = 1 - t
    return low + (high - low) * t * t * (3 - 2 * t) + t * rest * (d0 * rest - d1 * t)


def _cubic_slope(t: Tensor, low: Tensor, high: Tensor, d0: Tensor, d1: Tensor) -> Tensor:
    rest = 1 - t
    return 6 * (high - low) * t * rest + d0 * rest * (1 - 3 * t) + d1 * t * (3 * t - 2)
