"""Are the scores of a classifier probabilities? Reliability curve and expected calibration error.

A weight w = f / (1 - f) and a JSD mean something only if f is the probability that an event with this score is a
reference event. The isotonic calibration of `validation.classifier_test` sees to that; here it is checked on
events that neither training nor calibration has seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from validation.measure import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BINS: Final = 10
"""Bins of equal width between 0 and 1, as in the CaloChallenge's evaluation."""


@dataclass(frozen=True, kw_only=True)
class CalibrationCurve:
    """Reliability diagram; bins without events are left out.

    Attributes:
        predicted: mean score in each bin (K,).
        observed: share of reference events in it (K,).
        errors: statistical uncertainty of `observed` (K,).
        shares: share of all events in the bin (K,).
    """

    predicted: Floats
    observed: Floats
    errors: Floats
    shares: Floats


def calibration_curve(scores: Floats, labels: Floats, weights: Floats | None = None) -> CalibrationCurve:
    """Observed share of reference events against the mean score, in 10 bins of the score.

    The error is that of a share of n_eff = (sum w)^2 / sum w^2 events, (k + 1) of which out of (n_eff + 2) count as
    seen, so that bins with events of one kind only have an error, too.

    Args:
        scores: calibrated probabilities (N,) to be a reference event.
        labels: 1 for reference, 0 for generated events (N,).
        weights: weights (N,), all 1 if None.
    """
    w = np.ones(len(scores)) if weights is None else weights
    of_bin = _bins(scores)
    total, squares = np.bincount(of_bin, w, BINS), np.bincount(of_bin, w**2, BINS)
    filled = total > 0
    total, squares = total[filled], squares[filled]
    predicted = np.bincount(of_bin, w * scores, BINS)[filled] / total
    observed = np.bincount(of_bin, w * labels, BINS)[filled] / total
    effective = total**2 / squares
    smooth = (observed * effective + 1) / (effective + 2)
    errors = np.sqrt(smooth * (1 - smooth) / effective)
    return CalibrationCurve(predicted=predicted, observed=observed, errors=errors, shares=total / total.sum())


def expected_calibration_error(
    scores: Floats, labels: Floats, weights: Floats | None = None, *, replicas: int = 100, seed: int = 0
) -> Estimate:
    """Mean over events of |observed - predicted| of their bin, with its bootstrap error.

    ECE = sum_k (n_k / n) |observed_k - predicted_k| (arXiv 1706.04599, eq. 3). Statistical fluctuations only add to
    it; `calibrated_level` says how much.

    Args:
        scores: calibrated probabilities (N,).
        labels: 1 for reference, 0 for generated events (N,).
        weights: weights (N,), all 1 if None.
        replicas: bootstrap replicas.
        seed: of the bootstrap.
    """
    w = np.ones(len(scores)) if weights is None else weights
    terms = w * (labels - scores)
    of_bin = _bins(scores)
    value = float(np.abs(np.bincount(of_bin, terms, BINS)).sum() / w.sum())
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(replicas):
        count = random.poisson(1.0, len(scores))
        drawn.append(np.abs(np.bincount(of_bin, count * terms, BINS)).sum() / max(1e-300, float(count @ w)))
    return Estimate(value=value, error=float(np.std(drawn, ddof=1)))


def calibrated_level(scores: Floats, weights: Floats | None = None, *, replicas: int = 100, seed: int = 0) -> float:
    """The expected calibration error that perfectly calibrated scores would show, by chance alone.

    Labels are drawn from the scores themselves (consistency resampling; Broecker and Smith, Weather and Forecasting
    22 (2007) 651).

    Args:
        scores: calibrated probabilities (N,).
        weights: weights (N,), all 1 if None.
        replicas: how often labels are drawn.
        seed: of the draws.
    """
    w = np.ones(len(scores)) if weights is None else weights
    of_bin, random = _bins(scores), np.random.default_rng(seed)
    drawn = [
        np.abs(np.bincount(of_bin, w * ((random.random(len(scores)) < scores) - scores), BINS)).sum() / w.sum()
        for _ in range(replicas)
    ]
    return float(np.mean(drawn))


def _bins(scores: Floats) -> NDArray[np.int64]:
    return np.minimum((scores * BINS).astype(np.int64), BINS - 1)
