"""Classifier weights w = f / (1 - f) = p_reference / p_generated, event by event, and the tails of their distribution.

An AUC is one number; the weights tell where a generator fails (arXiv 2305.16774): generated events with
w << 1 lie where the generator makes too many, reference events with w >> 1 where it makes too few or none.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from hepflows.weights import likelihood_ratios
from validation.measure import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from validation.classifier_result import HeldOut

    Floats = NDArray[np.float64]

HIGH: Final = 10.0
LOW: Final = 0.1


def share(chosen: NDArray[np.bool_], weights: Floats) -> Estimate:
    """Share of events that are chosen, with the error of n_eff = (sum w)^2 / sum w^2 independent events.

    The error is that of (k + 1) out of (n_eff + 2), so that it does not vanish for a share of 0 or 1.

    Args:
        chosen: which events count (N,).
        weights: weights (N,).
    """
    value = float(weights[chosen].sum() / weights.sum())
    effective = float(weights.sum() ** 2 / np.sum(weights**2))
    smooth = (value * effective + 1) / (effective + 2)
    return Estimate(value=value, error=math.sqrt(smooth * (1 - smooth) / effective))


def tail_shares(test: HeldOut) -> dict[str, Estimate]:
    """Shares of generated and of reference events of a test part with weights above 10 and below 0.1.

    Returns:
        ``reference_high``, ``reference_low``, ``generated_high``, ``generated_low``.
    """
    w = likelihood_ratios(test.scores)
    found = {}
    for name, label in (("reference", 1), ("generated", 0)):
        mask = test.labels == label
        found[f"{name}_high"] = share(w[mask] > HIGH, test.weights[mask])
        found[f"{name}_low"] = share(w[mask] < LOW, test.weights[mask])
    return found


def pooled_log_weights(tests: Sequence[HeldOut], n: int) -> Floats:
    """Mean ln w of each event over the trainings that tested it, (n,); NaN for events that none has tested.

    Args:
        tests: test parts of the trainings.
        n: events of both samples together.
    """
    total, count = np.zeros(n), np.zeros(n)
    for test in tests:
        total[test.events] += np.log(likelihood_ratios(test.scores))
        count[test.events] += 1
    return np.asarray(np.divide(total, count, out=np.full(n, np.nan), where=count > 0), np.float64)
