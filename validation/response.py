r"""Response and resolution of a detector against the true energy E, and fits of both.

In bins of E: the mean of S / E, S the measured energy, and the resolution, deviation over mean of S / E. Two fits by
least squares (scipy.optimize.curve_fit):

* linearity, <S> = offset + slope * <E>;
* resolution, (sigma / mean)^2 = a^2 <1/E> + b^2, the quadrature sum of a sampling term a / sqrt(E) and a constant
  term b (PDG Review, "Particle detectors at accelerators", section on calorimeters, without the noise term). <1/E> is
  the mean in the bin, with which the form is exact for bins of any width as long as the response is linear.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from hepflows.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64] | NDArray[np.float32]
    Floats = NDArray[np.float64]

MAX_BINS: Final = 10
MAX_ENERGIES: Final = 24
"""Up to so many different energies, an energy scan, have a bin each."""
MIN_PER_BIN: Final = 10
"""A bin with fewer events has no deviation that one could trust, and is left out."""
_WANTED_PER_BIN = 50
_MIN_POINTS = 3  # two parameters and a degree of freedom


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Response of one sample in K bins of the true energy; NaN in bins with too few events.

    Attributes:
        edges: bin edges (K + 1,).
        energy: mean true energy (K,).
        inverse: mean of 1 / E (K,).
        response: mean of S / E (K,).
        response_error: its standard error (K,).
        resolution: deviation over mean of S / E (K,).
        resolution_error: its standard error (K,), from the moments up to the fourth.
        signal: mean of S (K,).
        signal_error: its standard error at the given true energies (K,).
    """

    edges: Floats
    energy: Floats
    inverse: Floats
    response: Floats
    response_error: Floats
    resolution: Floats
    resolution_error: Floats
    signal: Floats
    signal_error: Floats


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Two fitted parameters with their errors; all NaN if fewer than three bins hold enough events.

    Attributes:
        values: (slope, offset) or (a, b).
        errors: their standard errors.
    """

    values: tuple[float, float]
    errors: tuple[float, float]


def response_edges(truth: Values) -> Floats:
    """Edges (K + 1,): one bin an energy for up to 24 different energies, else up to 10 bins of equal content.

    Raises:
        DataError: an energy is not positive.
    """
    energies = np.asarray(truth, np.float64)
    if energies.size == 0 or not (np.isfinite(energies).all() and energies.min() > 0):
        raise DataError("true energies must be positive", where="response", remedy="check the file and its units")
    different = np.unique(energies)
    if len(different) <= MAX_ENERGIES:
        middles = np.sqrt(different[1:] * different[:-1])
        return np.array([different[0] * (1 - 1e-6), *middles, different[-1] * (1 + 1e-6)])
    bins = int(np.clip(len(energies) // _WANTED_PER_BIN, _MIN_POINTS, MAX_BINS))
    edges = np.unique(np.quantile(energies, np.linspace(0, 1, bins + 1)))
    edges[-1] *= 1 + 1e-9  # the largest energy belongs to the last bin
    return edges


def response_curve(truth: Values, signal: Values, edges: Floats, weights: Values | None = None) -> Curve:
    """Response and resolution in bins.

    Args:
        truth: true energies (N,), positive.
        signal: measured energies (N,), in the same unit.
        edges: bin edges (K + 1,), closed below; energies outside belong to no bin.
        weights: event weights (N,).
    """
    e, s = np.asarray(truth, np.float64), np.asarray(signal, np.float64)
    w = np.ones(len(e)) if weights is None else np.asarray(weights, np.float64)
    rows = np.full((8, len(edges) - 1), np.nan)
    for k, (low, high) in enumerate(pairwise(edges)):
        inside = (e >= low) & (e < high)
        if np.count_nonzero(inside) >= MIN_PER_BIN and w[inside].sum() ** 2 > 2 * (w[inside] ** 2).sum():
            rows[:, k] = _bin_numbers(e[inside], s[inside], w[inside])
    return Curve(
        edges=edges,
        energy=rows[0],
        inverse=rows[1],
        response=rows[2],
        response_error=rows[3],
        resolution=rows[4],
        resolution_error=rows[5],
        signal=rows[6],
        signal_error=rows[7],
    )


def fit_linearity(curve: Curve) -> Fit:
    """Slope (dimensionless) and offset (unit of the energies) of <S> = offset + slope <E>."""
    use = np.isfinite(curve.signal) & (curve.signal_error > 0)
    values, errors = _line(curve.energy[use], curve.signal[use], curve.signal_error[use])
    return Fit(values=(float(values[0]), float(values[1])), errors=(float(errors[0]), float(errors[1])))


def fit_resolution(curve: Curve) -> Fit:
    """Sampling term a (root of the energy's unit) and constant term b (dimensionless) of a / sqrt(E) (+) b.

    Fitted in a^2 and b^2, in which the model is linear, so that no start value and no bound bias it. Where the best
    square is negative the term is 0, and its error the value that one standard error of the square allows.
    """
    use = np.isfinite(curve.resolution) & (curve.resolution > 0) & (curve.resolution_error > 0)
    resolution = curve.resolution[use]
    squares, errors = _line(curve.inverse[use], resolution**2, 2 * resolution * curve.resolution_error[use])
    (a, a_error), (b, b_error) = (_root(*pair) for pair in zip(squares, errors, strict=True))
    return Fit(values=(a, b), errors=(a_error, b_error))


def _bin_numbers(e: Floats, s: Floats, w: Floats) -> tuple[float, ...]:
    """One column of a `Curve`."""
    effective = float(w.sum() ** 2 / (w**2).sum())
    ratio = s / e
    mean = float(np.average(ratio, weights=w))
    centred = ratio - mean
    variance = max(0.0, float(np.average(centred**2, weights=w)) * effective / (effective - 1))
    deviation = math.sqrt(variance)
    resolution = resolution_error = math.nan
    if mean > 0:
        resolution = deviation / mean
        resolution_error = 0.0
    if mean > 0 and deviation > 0:
        third = float(np.average(centred**3, weights=w)) / deviation**3
        fourth = float(np.average(centred**4, weights=w)) / variance**2
        # mean and deviation of skewed data are correlated, cov = m3 / (2 sigma n)
        relative = max(0.0, fourth - 1) / 4 + resolution**2 - third * resolution
        resolution_error = resolution * math.sqrt(max(0.0, relative) / effective)
    # S scatters about slope * E: what E itself scatters within the bin is no error of <S> at this <E>
    residual = s - mean * e
    scatter = math.sqrt(max(0.0, float(np.average(residual**2, weights=w))) / (effective - 1))
    return (
        float(np.average(e, weights=w)),
        float(np.average(1 / e, weights=w)),
        mean,
        deviation / math.sqrt(effective),
        resolution,
        resolution_error,
        float(np.average(s, weights=w)),
        scatter,
    )


def _line(x: Floats, y: Floats, errors: Floats) -> tuple[Floats, Floats]:
    """Slope and offset (2,) of a straight line and their errors; NaN for too few different points."""
    from scipy.optimize import curve_fit

    if len(np.unique(x)) < _MIN_POINTS:
        return np.full(2, np.nan), np.full(2, np.nan)
    scale = float(np.abs(x).max()), float(np.abs(y).max())
    values, covariance = curve_fit(
        lambda at, slope, offset: slope * at + offset,
        x / scale[0],
        y / scale[1],
        p0=(1.0, 0.0),
        sigma=errors / scale[1],
        absolute_sigma=True,
    )
    unit = np.array([scale[1] / scale[0], scale[1]])
    return values * unit, np.sqrt(np.diag(covariance)) * unit


def _root(square: float, error: float) -> tuple[float, float]:
    """Root of a fitted square, not below 0, and its error."""
    if not math.isfinite(square):
        return math.nan, math.nan
    root = math.sqrt(max(0.0, square))
    # error / (2 root) diverges at 0, where the root can move by sqrt(error) only
    return root, min(error / (2 * root), math.sqrt(error)) if root > 0 else math.sqrt(error)
