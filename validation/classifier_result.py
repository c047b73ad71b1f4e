"""Outcome of the classifier two-sample test and its statistical uncertainty."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from validation.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hepflows.classifier_presets import ClassifierPreset
    from validation.metric import JsonValue


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The test part of one training.

    Attributes:
        scores: calibrated probabilities to be a reference event, (K,).
        labels: 1 for reference, 0 for generated events, (K,).
        weights: weights with which both classes count the same, (K,).
        events: positions in the reference events followed by the generated ones, (K,).
    """

    scores: NDArray[np.float64]
    labels: NDArray[np.float64]
    weights: NDArray[np.float64]
    events: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ClassifierResult:
    """Outcome of several trainings.

    Attributes:
        auc: area under the ROC curve on the test part, after calibration, one number a training.
        auc_raw: the same before calibration.
        jsd: Jensen-Shannon divergence (ln 2 - BCE) / ln 2 on the test part, one number a training.
        best_epoch: epoch kept, counted from 1.
        auc_test_error: statistical uncertainty of one AUC from the size of the test part.
        jsd_test_error: the same for one JSD.
        n_per_class: events per class in all three parts together.
        n_train_per_class: events per class in the training part.
        mirrored: whether training batches were mirrored at random.
        preset: architecture and training.
        folds: k of a k-fold test, None for independent splits.
        tests: test part of each training.
    """

    auc: tuple[float, ...]
    auc_raw: tuple[float, ...]
    jsd: tuple[float, ...]
    best_epoch: tuple[int, ...]
    auc_test_error: float
    jsd_test_error: float
    n_per_class: int
    n_train_per_class: int
    mirrored: bool
    preset: ClassifierPreset
    folds: int | None = None
    tests: tuple[HeldOut, ...]

    @property
    def scores(self) -> NDArray[np.float64]:
        """Calibrated scores of the last training's test part, for plots."""
        return self.tests[-1].scores

    @property
    def labels(self) -> NDArray[np.float64]:
        """Their labels, 1 for the reference."""
        return self.tests[-1].labels

    @property
    def weights(self) -> NDArray[np.float64]:
        """Their weights, with which both classes count the same."""
        return self.tests[-1].weights

    def summary(self, which: str) -> tuple[float, float, float]:
        """Mean, uncertainty (spread of trainings and test statistics) and spread of `auc` or `jsd`."""
        values = np.asarray(self.auc if which == "auc" else self.jsd)
        statistical = self.auc_test_error if which == "auc" else self.jsd_test_error
        return over_trainings(values, statistical)


def over_trainings(values: Sequence[float] | NDArray[np.float64], statistical: float) -> tuple[float, float, float]:
    """Mean, uncertainty and spread of one number of each training, given its error from the size of the test part."""
    array = np.asarray(values, np.float64)
    spread = float(array.std(ddof=1)) if len(array) > 1 else 0.0
    # trainings share events, so their spread alone would understate the error of a small sample
    return float(array.mean()), math.hypot(spread / math.sqrt(len(array)), statistical), spread


def auc_error(auc: float, labels: NDArray[np.float64], weights: NDArray[np.float64] | None = None) -> float:
    """Statistical uncertainty of an AUC (Hanley and McNeil, Radiology 143 (1982) 29).

    Weighted events count as the (sum w)^2 / sum w^2 of their class that scatter as much.
    """
    w = np.ones(len(labels)) if weights is None else weights
    n1, n0 = (float(w[labels == label].sum() ** 2 / (w[labels == label] ** 2).sum()) for label in (1, 0))
    a = max(auc, 1 - auc)
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    variance = (a * (1 - a) + (n1 - 1) * (q1 - a * a) + (n0 - 1) * (q2 - a * a)) / (n1 * n0)
    return math.sqrt(max(0.0, variance))


def classifier_metrics(
    result: ClassifierResult, floor: ClassifierResult, *, inputs: str, n: int, suffix: str
) -> dict[str, Metric]:
    """``auc`` and ``jsd`` with this suffix, of n events a sample, and their floors."""
    metrics = {}
    for which, target in (("auc", 0.5), ("jsd", 0.0)):
        value, error, spread = result.summary(which)
        floor_value, floor_error, _ = floor.summary(which)
        details: dict[str, JsonValue] = {
            "spread": spread,
            "trainings": len(result.auc),
            "inputs": inputs,
            "preset": result.preset.name,
            "standardised": result.preset.standardise,
            "mirrored": result.mirrored,
            "n_train_per_class": result.n_train_per_class,
        }
        if result.folds is not None:
            details["folds"] = result.folds
        if which == "auc":
            details["uncalibrated"] = float(np.mean(result.auc_raw))
        metrics[f"{which}{suffix}"] = Metric(
            value=value,
            error=error,
            floor=floor_value,
            floor_error=floor_error,
            n=n,
            target=target,
            details=details,
        )
    return metrics
