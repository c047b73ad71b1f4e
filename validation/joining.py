"""From estimates and their floors to metrics that say how they are to be judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from validation.joint import size_judgement
from validation.measure import Estimate
from validation.sample_metrics import Judgement

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from validation.metric import Metric

_DISTANCE = Judgement(target=0.0, chief=False)
_RATIO = Judgement(target=1.0, two_sided=True, chief=False)


def measured_metrics(
    found: Mapping[str, Estimate],
    floors: Mapping[str, Estimate],
    judgements: Mapping[str, Judgement],
    *,
    n: int,
) -> tuple[dict[str, Metric], dict[str, str], dict[str, str]]:
    """Metrics from estimates and their floors, why the others could not be measured, and which the reference has.

    The last are those that are defined between halves of the reference and not for the generated events.

    Args:
        found: what was measured between half A and the generated events.
        floors: the same between the halves.
        judgements: how they are read; without one, distances with target 0.
        n: events of each sample.
    """
    metrics, skipped, lost = {}, {}, {}
    for name, estimate in found.items():
        if not np.isfinite(estimate.value):
            skipped[name] = estimate.reason or "no defined value in one of the samples"
            if name in floors and np.isfinite(floors[name].value):
                lost[name] = skipped[name]
        elif name == "effective_sample_size":
            floor = floors.get(name, Estimate(value=n, error=0.0))
            metrics[name] = size_judgement(n).metric(estimate, floor, n=n)
        else:
            metrics[name] = judgements.get(name, _DISTANCE).metric(estimate, floors[name], n=n)
    return metrics, skipped, lost


def ratio_judgements(ratios: Collection[str], profiled: Collection[str], bins: int) -> dict[str, Judgement]:
    """How ratios of moments, whole and in bins, are read."""
    names = [f"{name}_{which}" for name in ratios for which in ("mean", "std")]
    names += [f"{name}_bin_{k}" for name in profiled for k in range(bins)]
    return dict.fromkeys(names, _RATIO)
