"""Validation: is this fast simulation good enough?

`compare` measures generated events against a reference with observables, distances and a classifier test,
each number with its statistical uncertainty and with the floor that the reference reaches against itself.
The package knows no detector: a `Domain` (``calofast.OBSERVABLES``, say) turns events into arrays.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hepflows.classifier_presets import PRESETS, ClassifierPreset
    from hepflows.weights import effective_sample_size
    from validation.baseline import Baseline, read_baseline
    from validation.classifier_test import ClassifierResult, two_sample_test
    from validation.comparison import Comparison, compare
    from validation.correlations import correlation_difference
    from validation.distances import kolmogorov_smirnov, wasserstein
    from validation.domain import Domain, Events
    from validation.gates import Gate, read_gates
    from validation.histograms import separation_power
    from validation.measure import Estimate, Part
    from validation.metric import Metric
    from validation.neighbours import support_overlap
    from validation.plugged import PluggedMetric
    from validation.sample_metrics import Judgement
    from validation.settings import Settings
    from validation.suites import SUITES, Suite
    from validation.timing import Timing, read_timing

__all__ = [
    "PRESETS",
    "SUITES",
    "Baseline",
    "ClassifierPreset",
    "ClassifierResult",
    "Comparison",
    "Domain",
    "Estimate",
    "Events",
    "Gate",
    "Judgement",
    "Metric",
    "Part",
    "PluggedMetric",
    "Settings",
    "Suite",
    "Timing",
    "compare",
    "correlation_difference",
    "effective_sample_size",
    "kolmogorov_smirnov",
    "read_baseline",
    "read_gates",
    "read_timing",
    "separation_power",
    "support_overlap",
    "two_sample_test",
    "wasserstein",
]

_HOME = {
    "Baseline": "validation.baseline",
    "read_baseline": "validation.baseline",
    "SUITES": "validation.suites",
    "Suite": "validation.suites",
    "Timing": "validation.timing",
    "read_timing": "validation.timing",
    "PRESETS": "hepflows.classifier_presets",
    "ClassifierPreset": "hepflows.classifier_presets",
    "ClassifierResult": "validation.classifier_test",
    "two_sample_test": "validation.classifier_test",
    "Comparison": "validation.comparison",
    "Settings": "validation.settings",
    "compare": "validation.comparison",
    "correlation_difference": "validation.correlations",
    "effective_sample_size": "hepflows.weights",
    "kolmogorov_smirnov": "validation.distances",
    "support_overlap": "validation.neighbours",
    "Domain": "validation.domain",
    "Events": "validation.domain",
    "Gate": "validation.gates",
    "read_gates": "validation.gates",
    "Metric": "validation.metric",
    "Estimate": "validation.measure",
    "Part": "validation.measure",
    "Judgement": "validation.sample_metrics",
    "PluggedMetric": "validation.plugged",
    "separation_power": "validation.histograms",
    "wasserstein": "validation.distances",
}


def __getattr__(name: str) -> object:
    """Import a public name on first use, so that `hepflows --help` does not pay for torch."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
