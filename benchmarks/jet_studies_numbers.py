"""What the jet studies measure, as functions of samples; every number comes with its error."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

import jetgen as jg
from benchmarks.jet_measures import drawn_wasserstein
from hepflows.sampler import sample_in_tiles
from validation.distances import wasserstein, wasserstein_replicas
from validation.histograms import Resampler
from validation.measure import Estimate
from validation.resampling import draw
from validation.sample_metrics import compare_measures

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from hepflows.observable import Measure
    from jetgen.generator import JetGenerator

    Floats = NDArray[np.float64]

REPLICAS = 200
SHAPE_METRICS = ("w1p", "w1efp", "frechet_tagger")
NEAR = 0.01
"""Share of the held-out jets that count as near to a training jet."""
TOLERANCE = 1e-5
"""Of a mass, relative: what the exact mass promises in single precision."""
_ROWS = 250  # whose distances to all others are in memory at once


def bootstrapped(
    statistic: Callable[..., Sequence[float]], *samples: Floats, replicas: int = REPLICAS, seed: int
) -> list[Estimate]:
    """Values of a statistic, with the deviation among samples drawn anew with replacement.

    Args:
        statistic: maps the samples to K numbers.
        samples: shape (N, ...) each, drawn independently of each other.
        replicas: how often.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    drawn = [statistic(*(s[draw(rng, len(s), len(s))] for s in samples)) for _ in range(replicas)]
    errors = np.std(drawn, axis=0, ddof=1)
    return [Estimate(value=float(v), error=float(e)) for v, e in zip(statistic(*samples), errors, strict=True)]


def mass_following(deviation: Floats, *, seed: int) -> dict[str, Estimate]:
    """How masses follow their conditions: bias, spread, and how far the worst per cent and the worst jet are off.

    Args:
        deviation: m / m_condition - 1, shape (N,); NaN, where no mass was asked for, is left out.
        seed: of the bootstrap.

    Returns:
        ``bias``, the median, ``spread``, half the interval that holds the middle 68 %, ``off_99``, what 99 % of the
        absolute deviations stay below, and ``off_max``, the largest, without an error.
    """
    defined = deviation[np.isfinite(deviation)]

    def statistic(values: Floats) -> Sequence[float]:
        low, middle, high = np.quantile(values, [0.16, 0.5, 0.84])
        return middle, 0.5 * (high - low), np.quantile(np.abs(values), 0.99)

    found = dict(zip(("bias", "spread", "off_99"), bootstrapped(statistic, defined, seed=seed), strict=True))
    return found | {"off_max": Estimate(value=float(np.abs(defined).max()), error=0.0)}


def mass_misses(generator: JetGenerator, conditions: Mapping[str, ArrayLike], *, seed: int) -> Floats:
    """Logarithm of the wanted mass over that of the network's jet, before the mass is made exact.

    Args:
        generator: with an exact mass.
        conditions: shape (N,) each.
        seed: as for sampling.

    Returns:
        Shape (N,); NaN for jets of mass 0, which say nothing of the network.
    """
    matrix = generator.condition_matrix(conditions)
    misses = sample_in_tiles(
        lambda cond, noise, _: generator.model.mass_misses(noise, cond)[:, None], matrix, generator.noise_dim, seed=seed
    )[:, 0].astype(np.float64)
    return np.where(matrix[:, 0] > 0, misses, np.nan)


def miss_moments(misses: Floats, *, seed: int) -> dict[str, Estimate]:
    """Mean ``miss`` and deviation ``miss_spread`` of the defined entries of (N,)."""
    found = bootstrapped(lambda x: (x.mean(), x.std()), misses[np.isfinite(misses)], seed=seed)
    return dict(zip(("miss", "miss_spread"), found, strict=True))


def within(mass: Floats, window: tuple[float, float], *, tolerance: float = 0.0) -> NDArray[np.bool_]:
    """Which masses (N,) lie in a window, its ends moved outwards by a relative tolerance."""
    return np.asarray((mass >= window[0] * (1 - tolerance)) & (mass <= window[1] * (1 + tolerance)))


def share(chosen: NDArray[np.bool_]) -> Estimate:
    """Share of true entries of (N,); the error is that of one more of each, so that 0 and 1 have one as well."""
    n, expected = len(chosen) + 2, (chosen.sum() + 1) / (len(chosen) + 2)
    return Estimate(value=float(chosen.mean()), error=float(np.sqrt(expected * (1 - expected) / n)))


def exact_wasserstein(reference: jg.Jets, sample: jg.Jets, *, seed: int) -> dict[str, Estimate]:
    """``w1m`` and ``w1p`` of whole samples, without draws but for the bootstrap errors."""
    samplers = tuple(
        Resampler(len(jets), replicas=REPLICAS, seed=seed + k) for k, jets in enumerate((reference, sample))
    )
    columns = [[jets.mass_rel, *_constituent_columns(jets)] for jets in (reference, sample)]
    values, replicas = [], []
    for ours, theirs in zip(*columns, strict=True):
        values.append(wasserstein(ours, theirs))
        replicas.append(wasserstein_replicas(ours, theirs, (samplers[0], samplers[1])))
    return {
        name: Estimate(value=float(np.mean(values[which])), error=float(np.mean(replicas[which], axis=0).std(ddof=1)))
        for name, which in (("w1m", slice(0, 1)), ("w1p", slice(1, None)))
    }


def entries(found: Mapping[str, Estimate]) -> dict[str, dict[str, float]]:
    """Metrics as results hold them: value and error by name."""
    return {name: {"value": e.value, "error": e.error} for name, e in found.items()}


def shape_measures(jets: jg.Jets) -> list[Measure]:
    """What `SHAPE_METRICS` are made of."""
    return [measure for measure in jg.OBSERVABLES.measures(jets) if measure.names[0] in SHAPE_METRICS]


def compare_shapes(reference: Sequence[Measure], sample: Sequence[Measure], *, seed: int) -> dict[str, Estimate]:
    """The metrics `SHAPE_METRICS` between two samples, as in the jet table."""
    found: dict[str, Estimate] = {}
    for ours, theirs in zip(reference, sample, strict=True):
        if ours.kind == "wasserstein":
            found[ours.names[0]] = drawn_wasserstein(ours.values, theirs.values, seed=seed)
        else:
            sides = [([side], np.arange(len(side.values)), None) for side in (ours, theirs)]
            found |= compare_measures(sides[0], sides[1], replicas=20, seed=seed)
    return found


def means(rows: Sequence[Mapping[str, float]]) -> dict[str, Estimate]:
    """Mean of each number over the rows, two at least, with the deviation of the mean."""
    values = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return {
        name: Estimate(value=float(v.mean()), error=float(v.std(ddof=1) / np.sqrt(len(v))))
        for name, v in values.items()
    }


def with_mirror_images(jets: jg.Jets, mirrors: Sequence[str]) -> jg.Jets:
    """The jets, and their images in each combination of the mirrors ``eta`` and ``phi``."""
    copies = [jets]
    for name in mirrors:
        copies += [replace(copy, **{f"{name}_rel": -getattr(copy, f"{name}_rel")}) for copy in copies]
    return jg.Jets.concatenate(copies)


def nearest_distances(points: Floats, others: Floats) -> Floats:
    """Euclidean distance of each point (N, F) to the nearest of the others (M, F), shape (N,)."""
    from scipy.spatial.distance import cdist

    blocks = (points[start : start + _ROWS] for start in range(0, len(points), _ROWS))
    return np.concatenate([cdist(block, others).min(axis=1) for block in blocks])


def memorisation(generated: Floats, held_out: Floats, *, seed: int) -> dict[str, Estimate]:
    """Whether generated jets lie nearer to the training jets than real jets do that the training did not see.

    Args:
        generated: distances of generated jets to the nearest training jet, shape (N,).
        held_out: those of held-out jets, shape (M,).
        seed: of the bootstrap.

    Returns:
        ``distance_ratio`` of the medians, generated over held-out: 1 without memory, 0 for copies; and
        ``share_near`` of the generated jets that are nearer than all but the nearest per cent of the held-out ones:
        0.01 without memory, 1 for copies.
    """

    def statistic(ours: Floats, theirs: Floats) -> Sequence[float]:
        return np.median(ours) / np.median(theirs), (ours < np.quantile(theirs, NEAR)).mean()

    ratio, near = bootstrapped(statistic, generated, held_out, seed=seed)
    # where none is near, or all are, the bootstrap sees no error
    least = share(generated < np.quantile(held_out, NEAR)).error
    return {"distance_ratio": ratio, "share_near": Estimate(value=near.value, error=max(near.error, least))}


def _constituent_columns(jets: jg.Jets) -> list[NDArray[np.float32]]:
    """Pseudorapidity, azimuth and pT of the constituents, (N, P) each, NaN in empty slots."""
    return [np.where(jets.mask, x, np.float32(np.nan)) for x in (jets.eta_rel, jets.phi_rel, jets.pt_rel)]
