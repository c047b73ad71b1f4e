"""The JSON form of a comparison, schema ``hepflows-report/1`` (public and stable)."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from validation.gates import GateOutcome  # noqa: TC001 - used in annotations that tools resolve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from validation.baseline import BaselineOutcome
    from validation.comparison import Comparison
    from validation.metric import JsonValue

SCHEMA = "hepflows-report/1"


def to_json(comparison: Comparison) -> dict[str, object]:
    """JSON-able dictionary of every number of a comparison.

    Keys: ``schema domain passed n_reference n_generated wall_seconds samples settings gates default_gates baseline
    timing cautions skipped unmeasured provenance``. ``samples`` maps sample -> metric -> ``{value, error, floor,
    floor_error, n, target, ...}``; a metric with a gate also has ``gate`` (the largest excess that passes) and
    ``passed``. ``n_generated`` is a number if there is one sample, else a table.
    """
    settings = comparison.settings
    counts = dict(comparison.n_generated)
    return {
        "schema": SCHEMA,
        "domain": comparison.domain,
        "passed": comparison.passed,
        "n_reference": comparison.n_reference,
        "n_generated": next(iter(counts.values())) if len(counts) == 1 else counts,
        "wall_seconds": round(comparison.wall_seconds, 3),
        "samples": {sample: _metrics(comparison, sample, comparison.gates) for sample in comparison.samples},
        "settings": {
            "classifier": None if settings.trainings == 0 else dataclasses.asdict(settings.classifier()),
            "preset": settings.suite().name,
            "bootstrap_replicas": settings.replicas,
            "condition_bins": settings.condition_bins,
            "compat": settings.compat,
            "seed": settings.seed,
            "domain": dict(comparison.domain_settings),
        },
        "gates": {name: dataclasses.asdict(gate) for name, gate in settings.gates.items()},
        "default_gates": {name: dataclasses.asdict(gate) for name, gate in settings.suite().gates.items()}
        if settings.default_gates
        else {},
        "baseline": None if comparison.baseline is None else _baseline(comparison.baseline),
        "timing": {timing.name: timing.to_json() for timing in comparison.timings},
        "cautions": list(comparison.cautions),
        "skipped": dict(comparison.skipped),
        "unmeasured": [f"{gate.sample}/{gate.metric}" for gate in comparison.gates if gate.unmeasured],
        "provenance": {name: dict(facts) for name, facts in comparison.provenance.items()},
    }


def _baseline(outcome: BaselineOutcome) -> dict[str, object]:
    return {
        "file": outcome.file,
        "sigma": outcome.sigma,
        "passed": outcome.passed,
        "compared": outcome.compared,
        "worse": [
            {**dataclasses.asdict(worse), "sigmas": worse.sigmas if math.isfinite(worse.sigmas) else None}
            for worse in outcome.worse
        ],
        "missing": list(outcome.missing),
    }


def _metrics(
    comparison: Comparison, sample: str, gates: tuple[GateOutcome, ...]
) -> Mapping[str, Mapping[str, JsonValue]]:
    documents = {name: metric.to_json() for name, metric in comparison.samples[sample].items()}
    for gate in gates:
        # several patterns may name a metric: the strictest limit is the one stated
        if gate.sample == sample and gate.metric in documents:
            entry = documents[gate.metric]
            earlier = entry.get("gate")
            entry["gate"] = min(gate.limit, earlier) if isinstance(earlier, float) else gate.limit
            entry["passed"] = gate.passed and entry.get("passed", True) is True
    return documents
