"""Calibration: from the logits of a classifier to probabilities, fitted on events that it was not trained on.

A weight w = f / (1 - f) is a ratio of densities only if f is a probability (arXiv 1506.02169, section 3). Three ways:

* `isotonic`: monotone regression, what the validation's classifier test uses;
* `histogram`: the ratio of the two classes' histograms of the logit, equation (3.8) there, interpolated between bins;
* `affine`: two numbers a and b in f = sigmoid(a logit + b) (Platt 1999), smooth, so that its weights have gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from hepflows.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CalibrationKind: TypeAlias = Literal["isotonic", "histogram", "affine"]
HISTOGRAM_BINS: Final = 20
_NEWTON_STEPS: Final = 50
_LEAST_SLOPE, _LARGEST_SLOPE = 0.02, 20.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """A monotone, piecewise linear map of logits; constant beyond the outermost knots.

    Attributes:
        knots: logits, rising, shape (K,); two equal ones are a step.
        scores: probability to be a reference event at each knot, shape (K,), inside (0, 1).
        affine: (a, b) of f = sigmoid(a logit + b) instead of interpolation, clipped to the outermost scores.
    """

    knots: Floats
    scores: Floats
    affine: tuple[float, float] | None = None

    def __call__(self, logits: Floats) -> Floats:
        """Probabilities (N,) of logits (N,)."""
        if self.affine is None:
            return np.asarray(np.interp(logits, self.knots, self.scores), np.float64)
        a, b = self.affine
        return np.asarray(np.clip(_sigmoid(a * logits + b), self.scores[0], self.scores[-1]), np.float64)


def calibrate(logits: Floats, labels: Floats, weights: Floats | None = None, *, kind: CalibrationKind) -> Calibration:
    """Fit one of the three calibrations.

    No probability is ever certain: of n events none beyond 1 / (n + 2) or 1 - 1 / (n + 2) can be known.

    Args:
        logits: of n events the classifier has not seen, (n,).
        labels: 1 for reference, 0 for generated events (n,).
        weights: weights (n,), all 1 if None.
        kind: see the module.

    Raises:
        DataError: events of one class only.
    """
    weights = np.ones(len(logits)) if weights is None else weights
    if len(np.unique(labels)) < 2:
        raise DataError("a calibration needs events of both classes", where="labels", found=np.unique(labels))
    edge = 1.0 / (len(logits) + 2)
    fit = {"isotonic": _isotonic, "histogram": _histogram, "affine": _affine}[kind]
    return fit(logits, labels, weights, edge)


def _isotonic(logits: Floats, labels: Floats, weights: Floats, edge: float) -> Calibration:
    from sklearn.isotonic import IsotonicRegression

    found = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip")
    found.fit(logits, labels, sample_weight=weights)
    return Calibration(knots=np.asarray(found.X_thresholds_), scores=np.asarray(found.y_thresholds_))


def _histogram(logits: Floats, labels: Floats, weights: Floats, edge: float) -> Calibration:
    """Bins of equal numbers of events; each class's share of a bin, with half an event added to both."""
    edges = np.unique(np.quantile(logits, np.linspace(0, 1, min(HISTOGRAM_BINS, max(2, len(logits) // 10)) + 1)))
    if len(edges) < 3:
        middle, half = float(np.median(logits)), float(np.average(labels, weights=weights))
        return Calibration(knots=np.array([middle]), scores=np.array([np.clip(half, edge, 1 - edge)]))
    of_bin = np.clip(np.searchsorted(edges, logits, side="right") - 1, 0, len(edges) - 2)
    bins = len(edges) - 1
    counts = [np.bincount(of_bin, weights * (labels == value), bins) + 0.5 for value in (0, 1)]
    centres = np.bincount(of_bin, logits, bins) / np.maximum(np.bincount(of_bin, minlength=bins), 1)
    filled = np.bincount(of_bin, minlength=bins) > 0
    scores = np.clip(counts[1] / (counts[0] + counts[1]), edge, 1 - edge)
    return Calibration(knots=centres[filled], scores=scores[filled])


def _affine(logits: Floats, labels: Floats, weights: Floats, edge: float) -> Calibration:
    """Newton's method on the cross entropy with Platt's smoothed targets."""
    n1, n0 = (float(np.count_nonzero(labels == value)) for value in (1, 0))
    target = np.where(labels == 1, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))
    a, b = 1.0, 0.0
    x = np.stack([logits, np.ones_like(logits)])
    for _ in range(_NEWTON_STEPS):
        p = _sigmoid(a * logits + b)
        slope = x @ (weights * (p - target))
        curve = (x * (weights * p * (1 - p))) @ x.T + 1e-9 * len(logits) * np.eye(2)
        step = np.linalg.solve(curve, slope)
        # a step beyond 1 leaves the region in which the second order means something
        step *= min(1.0, 1.0 / max(1e-300, float(np.abs(step).max())))
        a, b = a - float(step[0]), b - float(step[1])
        if float(np.abs(step).max()) < 1e-10:
            break
    a = float(np.clip(a, _LEAST_SLOPE, _LARGEST_SLOPE))
    return Calibration(knots=np.array([0.0, 0.0]), scores=np.array([edge, 1 - edge]), affine=(a, b))


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)), np.float64)
