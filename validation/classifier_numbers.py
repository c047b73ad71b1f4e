"""The metrics that the classifier test gives besides AUC and JSD, with their floors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from validation.boosted import LEAVES
from validation.calibration import calibrated_level, expected_calibration_error
from validation.classifier_result import over_trainings
from validation.classifier_weights import HIGH, LOW, tail_shares
from validation.drivers import TAIL
from validation.measure import Estimate
from validation.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from validation.boosted import BoostedResult
    from validation.classifier_result import ClassifierResult
    from validation.classifier_views import DriverView
    from validation.learning_curve import LearningPoint

    Metrics = dict[str, Metric]

_SCORED = ("ece", "weights_high", "weights_low")
_OTHER = ("generated_high", "reference_low")


def score_metrics(
    result: ClassifierResult, floor: ClassifierResult, *, n: int, suffix: str, inputs: str, seed: int
) -> Metrics:
    """``ece``, ``weights_high`` and ``weights_low`` with this suffix, of n events a sample, and their floors."""
    value, at_floor = ({key: _summary(r, key, seed) for key in _SCORED} for r in (result, floor))
    test = result.tests[-1]
    shares = {key: float(np.mean([tail_shares(t)[key].value for t in result.tests])) for key in _OTHER}
    details: dict[str, dict[str, float | str | int]] = {
        "ece": {"if_calibrated": calibrated_level(test.scores, test.weights, seed=seed)},
        "weights_high": {"threshold": HIGH, "of": "reference", "generated": shares["generated_high"]},
        "weights_low": {"threshold": LOW, "of": "generated", "reference": shares["reference_low"]},
    }
    return {
        f"{key}{suffix}": Metric(
            value=value[key].value,
            error=value[key].error,
            floor=at_floor[key].value,
            floor_error=at_floor[key].error,
            n=n,
            details={"inputs": inputs, "preset": result.preset.name, **more},
        )
        for key, more in details.items()
    }


def _summary(result: ClassifierResult, key: str, seed: int) -> Estimate:
    """Mean over trainings of one number of a test part."""
    if key == "ece":
        found = [expected_calibration_error(t.scores, t.labels, t.weights, seed=seed) for t in result.tests]
    else:
        found = [tail_shares(t)["reference_high" if key == "weights_high" else "generated_low"] for t in result.tests]
    independent = 1 if result.folds is None else result.folds
    statistical = float(np.mean([e.error for e in found])) / math.sqrt(independent)
    value, error, _ = over_trainings([e.value for e in found], statistical)
    return Estimate(value=value, error=error)


def boosted_metric(result: BoostedResult, floor: BoostedResult, *, n: int) -> Metric:
    """``auc_gbt``, of n events a sample, with its floor."""
    value, error, spread = result.summary()
    floor_value, floor_error, _ = floor.summary()
    return Metric(
        value=value,
        error=error,
        floor=floor_value,
        floor_error=floor_error,
        n=n,
        target=0.5,
        details={
            "spread": spread,
            "trainings": len(result.auc),
            "inputs": "observables",
            "features": result.features,
            "trees": float(np.mean(result.trees)),
            "leaves": LEAVES,
            "n_train_per_class": result.n_train_per_class,
        },
    )


def learning_metrics(
    points: Sequence[LearningPoint], floors: Sequence[LearningPoint], *, n: int, suffix: str, inputs: str
) -> Metrics:
    """``learning_curve<suffix>_1_of_<k>``: AUC with 1/k of the training events, and its floor."""
    return {
        f"learning_curve{suffix}_1_of_{point.divisor}": Metric(
            value=auc_estimate(point.result).value,
            error=auc_estimate(point.result).error,
            floor=auc_estimate(floor.result).value,
            floor_error=auc_estimate(floor.result).error,
            n=n,
            target=0.5,
            details={
                "inputs": inputs,
                "preset": point.result.preset.name,
                "trainings": len(point.result.auc),
                "n_train_per_class": point.result.n_train_per_class,
            },
        )
        for point, floor in zip(points, floors, strict=True)
    }


def driver_metrics(view: DriverView, *, n: int) -> Metrics:
    """``driver_<observable>`` of a sample, from the table of what its classifier sees."""
    return {
        f"driver_{row.name}": Metric(
            value=row.ks.value,
            error=row.ks.error,
            floor=row.floor.value if np.isfinite(row.floor.value) else None,
            floor_error=row.floor.error if np.isfinite(row.floor.value) else None,
            n=n,
            details={
                "inputs": view.inputs,
                "tail": TAIL,
                "rank": rank,
                "difference": _number(row.difference.value),
                "difference_error": _number(row.difference.error),
                "reference": _number(row.reference_ks.value),
                "reference_error": _number(row.reference_ks.error),
            },
        )
        for rank, row in enumerate(view.rows, start=1)
    }


def auc_estimate(result: ClassifierResult) -> Estimate:
    """Mean AUC of the trainings and its uncertainty."""
    value, error, _ = result.summary("auc")
    return Estimate(value=value, error=error)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
