"""The metrics: small functions from arrays to `Metric` numbers."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from validation.distances import line_distances, line_replicas
from validation.histograms import Resampler, derive_edges, out_of_range, separation_inside, separation_power

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
    """A number with its uncertainty.

    Attributes:
        value: the number; NaN if it could not be measured.
        error: its statistical uncertainty, one standard deviation.
        details: further facts for the report.
        reason: why there is no value, if there is none.
    """

    value: float
    error: float
    details: Mapping[str, JsonValue] = field(default_factory=dict)
    reason: str = ""


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
    variance = max(0.0, float(np.average((x - mean) ** 2, weights=w)))  # negative weights
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
        quotient = ratio(numbers[0][0], numbers[1][0], numbers[0][2], numbers[1][2])
        details = {"low": round(float(low), 6), "high": round(float(high), 6)}
        result[f"{name}_bin_{k}"] = dataclasses.replace(quotient, details=details)
    return result


def distances(
    generated: Part,
    reference: Part,
    edges: Mapping[str, Floats],
    *,
    replicas: int,
    seed: int,
    drop_out_of_range: bool = False,
) -> dict[str, Estimate]:
    """``separation_<obs>``, ``w1_<obs>`` and ``ks_<obs>`` of every observable, ``separation_mean``.

    Args:
        generated: the generated events.
        reference: as many reference events.
        edges: histogram edges by observable.
        replicas: bootstrap replicas for the errors.
        seed: their seed.
        drop_out_of_range: leave entries beyond the edges out of separation powers instead of counting them; an
            undefined value of an event counts as 0 then (see `separation_inside`).
    """
    samplers = (
        Resampler(len(generated.index), replicas=replicas, seed=seed),
        Resampler(len(reference.index), replicas=replicas, seed=seed + 1),
    )
    separation = separation_inside if drop_out_of_range else separation_power
    result: dict[str, Estimate] = {}
    values, drawn = [], []
    for name, edge in edges.items():
        g, r = generated.values(name), reference.values(name)
        counted_g, counted_r = (_zeros_for_undefined(g), _zeros_for_undefined(r)) if drop_out_of_range else (g, r)
        histogram_g, replica_g = samplers[0].histograms(counted_g, edge, generated.weights)
        histogram_r, replica_r = samplers[1].histograms(counted_r, edge, reference.weights)
        values.append(float(separation(histogram_g, histogram_r)))
        drawn.append(separation(replica_g, replica_r))
        result[f"separation_{name}"] = Estimate(
            value=values[-1], error=_spread(drawn[-1]), details=out_of_range(histogram_r, histogram_g)
        )
        w1, ks = line_distances(g, r, generated.weights, reference.weights)
        replica_w1, replica_ks = line_replicas(g, r, samplers, generated.weights, reference.weights)
        unit = reference.sample.observables[name].unit
        result[f"w1_{name}"] = Estimate(value=w1, error=_spread(replica_w1), details={"unit": unit})
        result[f"ks_{name}"] = Estimate(value=ks, error=_spread(replica_ks))
    kept = [k for k, value in enumerate(values) if math.isfinite(value)]
    mean = np.mean([drawn[k] for k in kept], axis=0) if kept else np.full(replicas, np.nan)
    value = float(np.mean([values[k] for k in kept])) if kept else math.nan
    result["separation_mean"] = Estimate(value=value, error=_spread(mean))
    return result


def _zeros_for_undefined(values: Values) -> Values:
    """Values of events with 0 for undefined ones; entries of which an event has several stay undefined."""
    return np.where(np.isnan(values), 0.0, values) if values.ndim == 1 else values


def _spread(replicas: Floats) -> float:
    """Standard deviation of the replicas that are defined."""
    defined = replicas[np.isfinite(replicas)]
    return float(defined.std(ddof=1)) if defined.size > 1 else math.nan


def edges_for(reference: Sample, *, n: int, bins: int | None) -> dict[str, Floats]:
    """Histogram edges of every observable: the published ones, else derived from the whole reference."""
    return {
        name: o.edges if o.edges is not None else derive_edges(o.values, n_events=n, log=o.log, bins=bins)
        for name, o in reference.observables.items()
    }
