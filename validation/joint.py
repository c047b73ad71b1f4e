"""Metrics of several observables at once: overlap of supports, correlations, and what weights leave of a sample."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from hepflows.weights import are_weighted, effective_sample_size
from validation.correlations import correlation_difference
from validation.measure import Estimate
from validation.neighbours import MAX_EVENTS, NAMES, NEIGHBOURS, support_overlap
from validation.sample_metrics import Judgement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from validation.measure import Part, Sample

    Floats = NDArray[np.float64]

_BALLS: Final = (
    f"balls to the {NEIGHBOURS}th neighbour in all observables with one value an event, standardised by the reference, "
    f"at most {MAX_EVENTS} events; errors from random halves"
)
_CORRELATION: Final = "between the correlation matrices of all observables with one value an event, bootstrap error"

JOINT_JUDGEMENTS: Final[Mapping[str, Judgement]] = {
    "precision": Judgement(
        target=1.0, rising=True, meaning=f"Share of generated events inside a ball of a reference event; {_BALLS}"
    ),
    "recall": Judgement(
        target=1.0, rising=True, meaning=f"Share of reference events inside a ball of a generated event; {_BALLS}"
    ),
    "density": Judgement(
        target=1.0,
        rising=False,
        two_sided=True,
        meaning=f"Reference balls a generated event lies in, over {NEIGHBOURS}, on average; above 1 events crowd in "
        f"the core; {_BALLS}",
    ),
    "coverage": Judgement(
        target=1.0, rising=True, meaning=f"Share of balls of reference events with a generated event inside; {_BALLS}"
    ),
    "correlation_rms": Judgement(
        target=0.0, rising=False, meaning=f"Root mean square difference {_CORRELATION}"
    ),
    "correlation_max": Judgement(target=0.0, rising=False, meaning=f"Largest difference {_CORRELATION}"),
}  # fmt: skip
"""How the metrics of this module are to be read."""


def event_observables(sample: Sample) -> tuple[str, ...]:
    """Names of the observables with one value an event, as far as they vary in the sample."""
    found = []
    for name, observable in sample.observables.items():
        if observable.values.ndim == 1:
            defined = observable.values[np.isfinite(observable.values)]
            if defined.size and defined.max() > defined.min():
                found.append(name)
    return tuple(found)


def joint_metrics(
    generated: Part, reference: Part, names: tuple[str, ...], *, replicas: int, seed: int
) -> dict[str, Estimate]:
    """``precision recall density coverage``, ``correlation_rms correlation_max``, and the effective sample size.

    Args:
        generated: the generated events.
        reference: as many reference events.
        names: the observables, see `event_observables`.
        replicas: bootstrap replicas, or halves, for the errors.
        seed: of all draws.
    """
    if not names:
        reason = "no observable has one value an event"
        return {name: Estimate(value=math.nan, error=math.nan, reason=reason) for name in JOINT_JUDGEMENTS}
    r, g = (np.stack([part.values(n) for n in names], axis=1).astype(np.float64) for part in (reference, generated))
    return {
        **_overlap(r, g, weighted=any(are_weighted(part.weights) for part in (reference, generated)), replicas=replicas,
                   seed=seed),
        **_correlation(r, g, names, (reference.weights, generated.weights), replicas=replicas, seed=seed),
    }  # fmt: skip


def effective_size(generated: Part, reference: Part) -> dict[str, Estimate]:
    """``effective_sample_size`` of the generated events if one of the samples has weights, else nothing."""
    if generated.weights is None and reference.weights is None:
        return {}
    sizes = [
        (float(len(part.index)), 0.0) if part.weights is None else effective_sample_size(part.weights)
        for part in (generated, reference)
    ]
    return {
        "effective_sample_size": Estimate(
            value=sizes[0][0], error=sizes[0][1], details={"reference_effective_sample_size": sizes[1][0]}
        )
    }


def size_judgement(n: int) -> Judgement:
    """How to read the effective sample size of n events."""
    return Judgement(
        target=float(n),
        rising=True,
        chief=False,
        meaning="Events without weights that would scatter as much, (sum w)^2 / sum w^2",
    )


def standardised(reference: Floats, generated: Floats) -> tuple[Floats, Floats]:
    """Both samples (N, F) with the reference's mean and deviation taken out of each column.

    Undefined entries, such as the centre of an empty layer, are put at the mean: their distance in this direction
    says nothing then, while the layer's energy still does.
    """
    defined = np.isfinite(reference)
    count = np.maximum(defined.sum(0), 1)
    mean = np.where(defined, reference, 0.0).sum(0) / count
    deviation = np.sqrt(np.where(defined, (reference - mean) ** 2, 0.0).sum(0) / count)
    scale = np.where(deviation > 1e-12 * np.abs(mean), deviation, 1.0)
    first, second = (np.where(np.isfinite(v), (v - mean) / scale, 0.0) for v in (reference, generated))
    return first, second


def _overlap(reference: Floats, generated: Floats, *, weighted: bool, replicas: int, seed: int) -> dict[str, Estimate]:
    if weighted:
        reason = "not defined for weighted events: a ball counts neighbours"
        return {name: Estimate(value=math.nan, error=math.nan, reason=reason) for name in NAMES}
    first, second = standardised(reference, generated)
    rng = np.random.default_rng(seed)
    chosen = [v if len(v) <= MAX_EVENTS else v[rng.permutation(len(v))[:MAX_EVENTS]] for v in (first, second)]
    found = support_overlap(chosen[0], chosen[1], replicas=replicas, seed=seed)
    details = {"neighbours": NEIGHBOURS, "events": len(chosen[1]), "observables": reference.shape[1]}
    return {
        name: Estimate(value=float(found.values[k]), error=float(found.errors[k]), details=details)
        for k, name in enumerate(NAMES)
    }


def _correlation(
    reference: Floats,
    generated: Floats,
    names: tuple[str, ...],
    weights: tuple[Floats | None, Floats | None],
    *,
    replicas: int,
    seed: int,
) -> dict[str, Estimate]:
    found = correlation_difference(reference, generated, replicas=replicas, seed=seed, weights=weights)
    pair = "" if found.pair is None else f"{names[found.pair[0]]}, {names[found.pair[1]]}"
    details = {"observables": len(names)}
    return {
        "correlation_rms": Estimate(value=found.rms, error=found.rms_error, details=details),
        "correlation_max": Estimate(value=found.largest, error=found.largest_error, details={**details, "pair": pair}),
    }
