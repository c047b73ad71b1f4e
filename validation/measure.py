"""The metrics: small functions from arrays to `Metric` numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from validation.distances import wasserstein, wasserstein_replicas
from validation.histograms import Resampler, derive_edges, separation_power

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from hepflows.observable import Observable
    from validation.metric import JsonValue

    Values = NDArray[np.float64] | NDArray[np.float32]
    Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Arrays of one sample of events: observables by name, the binning quantity and the weights."""

    observables: Mapping[str, Observable]
    binning: Values
    weights: Floats | None

    def take(self, index: NDArray[np.int64]) -> Part:
        """The events at these positions."""
        return Part(sample=self, index=index)


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some events of a sample, by position."""

    sample: Sample
    index: NDArray[np.int64]

    def values(self, name: str) -> Values:
        """Values of an observable."""
        return self.sample.observables[name].values[self.index]

    @property
    def binning(self) -> Values:
        """Values of the binning quantity."""
        return self.sample.binning[self.index]

    @property
    def weights(self) -> Floats | None:
        """Event weights."""
        return None if self.sample.weights is None else self.sample.weights[self.index]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its uncertainty, and further facts for the report."""

    value: float
    error: float
    details: Mapping[str, JsonValue] = field(default_factory=dict)


def moments(values: Values, weights: Values | None = None) -> tuple[float, float, float, float]:
    """Mean, standard deviation and the standard errors of both, of the defined entries of (N,).

    The error of the deviation follows from the fourth moment, so long tails are accounted for.
    """
    mask = np.isfinite(values)
    x = np.asarray(values[mask], np.float64)
    w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)[mask]
    if len(x) < 2 or w.sum() <= 0:
        return math.nan, math.nan, math.nan, math.nan
    effective = float(w.sum() ** 2 / np.sum(w**2))
    mean = float(np.average(x, weights=w))
    variance = float(np.average((x - mean) ** 2, weights=w))
    fourth = float(np.average((x - mean) ** 4, weights=w))
    deviation = math.sqrt(variance)
    if deviation == 0:
        return mean, 0.0, 0.0, 0.0
    return (
        mean,
        deviation,
        deviation / math.sqrt(effective),
        deviation * math.sqrt(max(0.0, fourth / variance**2 - 1) / (4 * effective)),
    )


def ratio(numerator: float, denominator: float, error_n: float, error_d: float) -> Estimate:
    """Quotient of two independent numbers with its propagated error."""
    if denominator == 0 or not math.isfinite(denominator):
        return Estimate(value=math.nan, error=math.nan)
    value = numerator / denominator
    return Estimate(value=value, error=math.hypot(error_n / denominator, value * error_d / denominator))


def moment_ratios(generated: Part, reference: Part, name: str) -> dict[str, Estimate]:
    """``<name>_mean`` and ``<name>_std`` of the generated sample divided by those of the reference."""
    g = moments(generated.values(name), generated.weights)
    r = moments(reference.values(name), reference.weights)
    return {
        f"{name}_mean": ratio(g[0], r[0], g[2], r[2]),
        f"{name}_std": ratio(g[1], r[1], g[3], r[3]),
    }


def bin_edges(binning: Values, bins: int) -> Floats:
    """Edges of equally filled bins of the binning quantity; fewer if it takes few values."""
    edges = np.unique(np.quantile(np.asarray(binning, np.float64), np.linspace(0, 1, bins + 1)))
    if len(edges) < 2:
        return np.array([edges[0] * (1 - 1e-6), edges[0] * (1 + 1e-6)])
    edges[-1] *= 1 + 1e-9  # the largest value belongs to the last bin
    return edges


def profile_ratios(generated: Part, reference: Part, name: str, edges: Floats) -> dict[str, Estimate]:
    """``<name>_bin_<k>``: mean in bin k of the generated sample divided by that of the reference."""
    result = {}
    for k, (low, high) in enumerate(pairwise(edges)):
        numbers = []
        for part in (generated, reference):
            mask = (part.binning >= low) & (part.binning < high)
            numbers.append(moments(part.values(name)[mask], None if part.weights is None else part.weights[mask]))
        result[f"{name}_bin_{k}"] = ratio(numbers[0][0], numbers[1][0], numbers[0][2], numbers[1][2])
    return result


def distances(
    generated: Part,
    reference: Part,
    edges: Mapping[str, Floats],
    *,
    replicas: int,
    seed: int,
) -> dict[str, Estimate]:
    """``separation_<obs>`` and ``w1_<obs>`` of every observable, ``separation_mean``; bootstrap errors."""
    samplers = (
        Resampler(len(generated.index), replicas=replicas, seed=seed),
        Resampler(len(reference.index), replicas=replicas, seed=seed + 1),
    )
    result: dict[str, Estimate] = {}
    values, drawn = [], []
    for name, edge in edges.items():
        g, r = generated.values(name), reference.values(name)
        histogram_g, replica_g = samplers[0].histograms(g, edge, generated.weights)
        histogram_r, replica_r = samplers[1].histograms(r, edge, reference.weights)
        values.append(float(separation_power(histogram_g, histogram_r)))
        drawn.append(separation_power(replica_g, replica_r))
        result[f"separation_{name}"] = Estimate(value=values[-1], error=float(drawn[-1].std(ddof=1)))
        w1 = wasserstein(g, r, generated.weights, reference.weights)
        replica = wasserstein_replicas(g, r, samplers, generated.weights, reference.weights)
        result[f"w1_{name}"] = Estimate(value=w1, error=float(replica.std(ddof=1)))
    mean = np.mean(drawn, axis=0)
    result["separation_mean"] = Estimate(value=float(np.mean(values)), error=float(mean.std(ddof=1)))
    return result


def edges_for(reference: Sample, *, n: int, bins: int | None) -> dict[str, Floats]:
    """Histogram edges of every observable: the published ones, else derived from the whole reference."""
    return {
        name: o.edges if o.edges is not None else derive_edges(o.values, n_events=n, log=o.log, bins=bins)
        for name, o in reference.observables.items()
    }
