"""Published metrics between whole samples, by kind: what is measured, with which statistics, and how it is judged."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from hepflows.errors import ConfigError
from validation.distances import line_replicas, wasserstein_batches
from validation.frechet import BATCHES, POINTS, frechet_physics_distance, frechet_samples
from validation.histograms import Resampler
from validation.kernel_distance import BATCH_SIZE, kernel_physics_distance
from validation.kernel_distance import BATCHES as KPD_BATCHES
from validation.matching import BATCHES as MATCHING_BATCHES
from validation.matching import EVAL_SAMPLES, coverage_and_matching
from validation.measure import Estimate
from validation.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from hepflows.observable import Measure

    Floats = NDArray[np.float64]
    Index = NDArray[np.int64]
    Values = NDArray[np.float64] | NDArray[np.float32]

W1_BATCHES: Final = 5
MAX_W1_SAMPLES: Final = 50_000
ROUNDING: Final = 1e-6
"""Relative rounding of a quantity computed from coordinates in single precision, the error of ``largest``."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Values of one `Measure` for n reference and n generated events, and how to draw from them."""

    reference: Values
    generated: Values
    weights: tuple[Floats | None, Floats | None]
    replicas: int
    seed: int


class _Compare(Protocol):
    def __call__(self, pair: Pair, /) -> tuple[Estimate, ...]: ...


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A way to compare two samples.

    Attributes:
        compare: the function that does it; one `Estimate` for each metric.
        methods: for each metric how it is measured, for reports.
        targets: for each metric the value of a perfect generator with infinite samples.
        rising: for each metric whether larger values are better.
    """

    compare: _Compare
    methods: tuple[str, ...]
    targets: tuple[float, ...] = (0.0,)
    rising: tuple[bool, ...] = (False,)


def wasserstein_metric(pair: Pair) -> tuple[Estimate, ...]:
    """Mean over batches of W1, itself the mean over the features, with its bootstrap error; values (N, ..., F).

    The deviation of five batches, the error that is published, is itself uncertain by a third, and too small a scale
    for a gate; it is stated in the details.
    """
    size = min(MAX_W1_SAMPLES, len(pair.reference), len(pair.generated))
    batches = wasserstein_batches(
        pair.reference,
        pair.generated,
        eval_samples=size,
        batches=W1_BATCHES,
        seed=pair.seed,
        weights=pair.weights,
    )
    means = batches.mean(axis=1)
    error = math.sqrt(1 + 1 / W1_BATCHES) * float(wasserstein_error(pair))
    return (Estimate(value=float(means.mean()), error=error, details={"batch_deviation": float(means.std())}),)


def wasserstein_error(pair: Pair) -> float:
    """Bootstrap error of W1 between the two samples, the mean over the features."""
    samplers = (
        Resampler(len(pair.generated), replicas=pair.replicas, seed=pair.seed),
        Resampler(len(pair.reference), replicas=pair.replicas, seed=pair.seed + 1),
    )
    arrays = [v.reshape(len(v), -1, v.shape[-1] if v.ndim > 1 else 1) for v in (pair.generated, pair.reference)]
    found = [
        line_replicas(arrays[0][..., k], arrays[1][..., k], samplers, pair.weights[1], pair.weights[0])[0]
        for k in range(arrays[0].shape[-1])
    ]
    return float(np.mean(found, axis=0).std(ddof=1))


def matching_metrics(pair: Pair) -> tuple[Estimate, ...]:
    """Coverage and minimum matching distance, means over batches; values (N, P, 3) of two coordinates and a weight."""
    found = coverage_and_matching(
        np.asarray(pair.reference, np.float64),
        np.asarray(pair.generated, np.float64),
        seed=pair.seed,
        weights=pair.weights,
    )
    return tuple(
        Estimate(value=float(batches.mean()), error=float(batches.std(ddof=1)) / math.sqrt(len(batches)))
        for batches in found
    )


def physics_metrics(pair: Pair) -> tuple[Estimate, ...]:
    """FPD and KPD; values (N, F)."""
    arrays = np.asarray(pair.reference, np.float64), np.asarray(pair.generated, np.float64)
    fpd = frechet_physics_distance(*arrays, seed=pair.seed, weights=pair.weights)
    kpd, error = kernel_physics_distance(*arrays, seed=pair.seed, weights=pair.weights)
    return Estimate(value=fpd.value, error=fpd.error), Estimate(value=kpd, error=error)


def frechet_metric(pair: Pair) -> tuple[Estimate, ...]:
    """Frechet distance with its bootstrap error; values (N, F)."""
    arrays = np.asarray(pair.reference, np.float64), np.asarray(pair.generated, np.float64)
    value, error = frechet_samples(*arrays, replicas=pair.replicas, seed=pair.seed, weights=pair.weights)
    return (Estimate(value=value, error=error),)


def largest_metric(pair: Pair) -> tuple[Estimate, ...]:
    """The largest absolute value (N,) of any generated event; NaN where it is not defined."""
    values = np.abs(np.asarray(pair.generated, np.float64))
    defined = values[np.isfinite(values)]
    return (Estimate(value=float(defined.max()) if defined.size else math.nan, error=ROUNDING),)


MATCHING: Final = f"{MATCHING_BATCHES} batches of {EVAL_SAMPLES} against {EVAL_SAMPLES}"

KINDS: Final[Mapping[str, Kind]] = {
    "wasserstein": Kind(
        compare=wasserstein_metric,
        methods=(f"Wasserstein-1 distance: mean of {W1_BATCHES} batches of n drawn with replacement, bootstrap error",),
    ),
    "matching": Kind(
        compare=matching_metrics,
        methods=(
            f"Coverage by the energy mover's distance, {MATCHING}; larger is better",
            f"Minimum matching distance, the energy mover's distance to the nearest generated event, {MATCHING}",
        ),
        targets=(1.0, 0.0),
        rising=(True, False),
    ),
    "physics": Kind(
        compare=physics_metrics,
        methods=(
            f"Frechet physics distance, extrapolated to infinite samples from {POINTS} sizes of {BATCHES} batches",
            f"Kernel physics distance, the median of {KPD_BATCHES} batches of at most {BATCH_SIZE}",
        ),
        targets=(0.0, 0.0),
        rising=(False, False),
    ),
    "frechet": Kind(compare=frechet_metric, methods=("Frechet distance, bootstrap error",)),
    "largest": Kind(
        compare=largest_metric,
        methods=(f"Largest of all events; as error stands the rounding of single precision, {ROUNDING:g}",),
    ),
}
"""The kinds by name; `hepflows.observable.Measure` names one."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """How a metric is to be read; the attributes are those of `Metric`."""

    target: float
    rising: bool = False
    two_sided: bool = False
    meaning: str = ""
    chief: bool = True

    def metric(self, estimate: Estimate, floor: Estimate, *, n: int) -> Metric:
        """The metric with this estimate and floor; a floor that is not defined is left out."""
        measured = math.isfinite(floor.value)
        return Metric(
            value=estimate.value,
            error=estimate.error,
            floor=floor.value if measured else None,
            floor_error=floor.error if measured else None,
            n=n,
            target=self.target,
            rising=self.rising,
            two_sided=self.two_sided,
            chief=self.chief,
            meaning=self.meaning,
            details=estimate.details,
        )


def judgements(measures: Sequence[Measure]) -> dict[str, Judgement]:
    """How to read the metrics of these measures, by name.

    Raises:
        ConfigError: a measure of an unknown kind, or with a wrong number of names.
    """
    found = {}
    for measure in measures:
        kind = kind_of(measure)
        for name, target, rising, method in zip(measure.names, kind.targets, kind.rising, kind.methods, strict=True):
            found[name] = Judgement(target=target, rising=rising, meaning=f"{measure.label}. {method}")
    return found


def compare_measures(
    reference: tuple[Sequence[Measure], Index, Floats | None],
    generated: tuple[Sequence[Measure], Index, Floats | None],
    *,
    replicas: int,
    seed: int,
) -> dict[str, Estimate]:
    """All metrics of the measures of two samples.

    Args:
        reference: the measures, which events count, and the weights of those events.
        generated: the same of the generated sample.
        replicas: bootstrap replicas, where a metric has them.
        seed: of all draws.
    """
    found: dict[str, Estimate] = {}
    for r, g in zip(reference[0], generated[0], strict=True):
        pair = Pair(
            reference=r.values[reference[1]],
            generated=g.values[generated[1]],
            weights=(reference[2], generated[2]),
            replicas=replicas,
            seed=seed,
        )
        found |= zip(r.names, kind_of(r).compare(pair), strict=True)
    return found


def kind_of(measure: Measure) -> Kind:
    """The kind of a measure.

    Raises:
        ConfigError: unknown, or not as many names as the kind has metrics.
    """
    kind = KINDS.get(measure.kind)
    if kind is None or len(kind.methods) != len(measure.names):
        raise ConfigError(
            "measure of an unknown kind, or with a wrong number of names",
            where=", ".join(measure.names),
            expected=", ".join(f"{name} ({len(k.methods)})" for name, k in KINDS.items()),
            found=measure.kind,
        )
    return kind
