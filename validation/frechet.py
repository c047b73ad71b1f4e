"""Frechet distances between samples of feature vectors, among them the Frechet physics distance (FPD).

Both compare two Gaussians with the samples' means and covariances,
d^2 = |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), so they see means, widths and linear correlations of the features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from hepflows.errors import DataError
from validation.resampling import carried, draw, weighted_moments

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Weights = NDArray[np.floating] | None

MAX_SAMPLES: Final = 50_000
"""Largest batch of FPD, as published; smaller samples are drawn from up to their size."""
MIN_SHARE: Final = 0.4
"""Smallest batch of FPD as a share of the largest (20 000 of 50 000 in the publication)."""
BATCHES: Final = 20
POINTS: Final = 10


@dataclass(frozen=True, kw_only=True)
class Extrapolated:
    """A distance extrapolated to infinite samples.

    Attributes:
        value: intercept of the fit.
        fit_error: its uncertainty from the fit, what the publication calls the error.
        spread: standard deviation of single batches of the largest size, the bootstrap estimate of the noise that
            the finite samples themselves have and no extrapolation removes.
    """

    value: float
    fit_error: float
    spread: float

    @property
    def error(self) -> float:
        """Both uncertainties together."""
        return math.hypot(self.fit_error, self.spread)


def frechet_distance(mean1: Floats, covariance1: Floats, mean2: Floats, covariance2: Floats) -> float:
    """Squared Frechet (Wasserstein-2) distance between two Gaussians.

    Args:
        mean1: shape (F,).
        covariance1: shape (F, F), symmetric, positive semi-definite.
        mean2: mean of the other one.
        covariance2: its covariance.

    Returns:
        Not below 0 but for rounding, in the features' unit squared. The trace of (C1 C2)^(1/2) is the sum of the
        singular values of C1^(1/2) C2^(1/2), which loses no digits where a covariance is singular.
    """
    cross = np.linalg.svd(_root(covariance1) @ _root(covariance2), compute_uv=False).sum()
    difference = mean1 - mean2
    return float(difference @ difference + np.trace(covariance1) + np.trace(covariance2) - 2 * cross)


def frechet_samples(
    first: Floats, second: Floats, *, replicas: int, seed: int, weights: tuple[Weights, Weights] = (None, None)
) -> tuple[float, float]:
    """Frechet distance between two samples of feature vectors and its bootstrap error.

    Args:
        first: shape (N, F).
        second: shape (M, F).
        replicas: bootstrap replicas.
        seed: their seed.
        weights: event weights of the samples.

    Returns:
        Distance (biased by about the number of free parameters over N, as every finite sample's) and error.
    """
    rng = np.random.default_rng(seed)
    centre = first.mean(0)
    samples = [(v - centre, carried(w, len(v))) for v, w in zip((first, second), weights, strict=True)]
    for values, _ in samples:
        check_features(values, first.shape[1])
    value = frechet_distance(*(m for v, w in samples for m in weighted_moments(v, np.ones(len(v)), w)))
    drawn = []
    for _ in range(replicas):
        moments: list[Floats] = []
        for values, weight in samples:
            moments += weighted_moments(values, _counts(draw(rng, len(values), len(values)), len(values)), weight)
        drawn.append(frechet_distance(*moments))
    return value, float(np.std(drawn, ddof=1)) if replicas > 1 else 0.0


def frechet_physics_distance(
    reference: Floats,
    generated: Floats,
    *,
    min_samples: int | None = None,
    max_samples: int | None = None,
    batches: int = BATCHES,
    points: int = POINTS,
    seed: int = 42,
    weights: tuple[Weights, Weights] = (None, None),
) -> Extrapolated:
    """FPD (arXiv 2211.10295): the Frechet distance extrapolated linearly in 1/N to infinite samples.

    At each of `points` batch sizes, equidistant in 1/N, the distance is averaged over batches drawn with replacement.
    The intercept and the slope of the line are kept from being negative, as in the reference implementation.

    Args:
        reference: features, shape (N, F); divided, like the others, by their largest absolute values.
        generated: shape (M, F).
        min_samples: smallest batch; None takes 0.4 of the largest.
        max_samples: largest batch; None takes 50 000 or as many as the smaller sample has.
        batches: batches per size.
        points: batch sizes.
        seed: of the draws.
        weights: event weights of the samples; means and covariances of batches are weighted.

    Raises:
        DataError: fewer than 4 events in the smallest batch, or weights or features that do not fit together.
    """
    largest = min(MAX_SAMPLES, len(reference), len(generated)) if max_samples is None else max_samples
    least = round(MIN_SHARE * largest) if min_samples is None else min_samples
    if least < 4:
        raise DataError("too few events for FPD", expected="4 in the smallest batch", found=least)
    x, y = scaled_features(reference, generated)
    centre = x.mean(0)
    samples = [(v - centre, carried(w, len(v))) for v, w in zip((x, y), weights, strict=True)]
    sizes = (1 / np.linspace(1.0 / least, 1.0 / largest, points)).astype(np.int64)
    rng = np.random.default_rng(seed)
    means, found = [], [0.0]
    for size in sizes:  # ascending
        found = []
        for _ in range(batches):
            index = [draw(rng, len(values), int(size)) for values, _ in samples]
            moments = [
                moment
                for (values, weight), i in zip(samples, index, strict=True)
                for moment in weighted_moments(values, _counts(i, len(values)), weight)
            ]
            found.append(frechet_distance(*moments))
        means.append(np.mean(found))
    value, error = _intercept(1.0 / sizes, np.array(means))
    return Extrapolated(value=value, fit_error=error, spread=float(np.std(found)))


def scaled_features(reference: Floats, generated: Floats) -> tuple[Floats, Floats]:
    """Both samples divided by the largest absolute value of each feature in the reference.

    Raises:
        DataError: not matrices of equally many columns, or values that are not finite.
    """
    for values in (reference, generated):
        check_features(values, reference.shape[-1])
    scale = np.abs(reference).max(axis=0)
    scale[scale == 0] = 1.0
    return reference / scale, generated / scale


def check_features(values: Floats, columns: int) -> None:
    """Raise `DataError` unless these are finite vectors of so many numbers."""
    if values.ndim != 2 or values.shape[1] != columns or len(values) < 2:
        raise DataError("features must be a matrix", expected=f"(2 or more, {columns})", found=values.shape)
    if not np.isfinite(values).all():
        raise DataError("features are not finite", found=f"event {int(np.argmin(np.isfinite(values).all(1)))}")


def _root(covariance: Floats) -> Floats:
    """The symmetric square root; eigenvalues below 0 are rounding."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)


def _intercept(x: Floats, y: Floats) -> tuple[float, float]:
    """Least squares for y = a + b x with a, b >= 0: a and its error, the error of a fit without bounds."""
    n = len(x)
    spread = ((x - x.mean()) ** 2).sum()
    b = float(((x - x.mean()) * y).sum() / spread)
    a = float(y.mean() - b * x.mean())
    if a < 0:
        a, b = 0.0, max(0.0, float((x * y).sum() / (x * x).sum()))
    elif b < 0:
        a, b = max(0.0, float(y.mean())), 0.0
    residual = ((y - a - b * x) ** 2).sum() / (n - 2)
    return a, float(np.sqrt(residual * (1 / n + x.mean() ** 2 / spread)))


def _counts(index: NDArray[np.int64], n: int) -> Floats:
    return np.bincount(index, minlength=n).astype(np.float64)
