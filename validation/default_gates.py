"""The gates that a validation applies when asked for default gates.

Each is a statement on statistics: the excess of a metric over the floor (``k = 1``) stays within `m` standard errors.
`m` is that of one gate in about a hundred that are read at once, several of them with long tails:
``python -m benchmarks.gate_honesty`` counts how often two parts of the same data pass all of them.
`max` allows what no analysis would notice at any sample size. The first pattern that matches a metric counts.
"""

from __future__ import annotations

from typing import Final

from validation.gates import Gate


def _above_floor(errors: float, *patterns: str) -> dict[str, Gate]:
    """The floor and so many errors."""
    return {pattern: Gate(k=1.0, m=errors) for pattern in patterns}


def _around_target(errors: float, **allowed: float | None) -> dict[str, Gate]:
    """So many errors from the target, or what passes at any n."""
    return {name: Gate(m=errors, max=most) for name, most in allowed.items()}


_EVENTS: Final[dict[str, Gate]] = (
    _around_target(4.0, memorisation_ratio=0.02, memorised_share=0.002)
    | _around_target(4.5, near_duplicates=0.002)
    | {
        "duplicates": Gate(k=2.0, max=0.001),
        "cell_occupancy_max": Gate(max=5.5),
        "cell_occupancy_chi2": Gate(k=1.0, m=5.0, max=0.2),
    }
)
_DISTANCES: Final = _above_floor(4.0, "separation_mean", "separation_*", "w1_*", "ks_*")
_JOINT: Final = (
    _above_floor(5.0, "precision", "recall", "coverage")
    | _around_target(5.0, density=0.1)
    | _above_floor(5.0, "correlation_*", "layer_correlations*")
)
_DETECTOR: Final[dict[str, Gate]] = (
    # one leaking shower of the reference widens a bin several times
    {"resolution_bin_*": Gate(m=4.5, max=1.0)}
    | _around_target(
        4.5, response_slope=0.002, response_offset=None, resolution_sampling=0.02, resolution_constant=None
    )
    | _above_floor(5.0, "*_w1")
    | {"*_contained_90": Gate(m=4.5)}
    | _around_target(4.5, longitudinal_maximum=None)
)
_CLASSIFIERS: Final = _above_floor(4.0, "auc*")
_RATIOS: Final[dict[str, Gate]] = {
    "e_tot_ratio_*": Gate(m=4.0, max=0.002),
    "*_bin_*": Gate(m=4.5, max=0.005),
    "*_mean": Gate(m=4.5, max=0.005),
    "*_std": Gate(m=4.5, max=0.01),
}
_JETS: Final = _above_floor(5.0, "w1m", "w1p", "w1efp", "cov", "mmd", "fpd", "kpd") | _above_floor(
    4.0, "frechet_tagger"
)

QUICK_GATES: Final[dict[str, Gate]] = _EVENTS | _DISTANCES | _JOINT | _DETECTOR | _CLASSIFIERS | _RATIOS | _JETS
"""Statistics alone decide."""
PUBLISHED_GATES: Final[dict[str, Gate]] = QUICK_GATES | {"auc*": Gate(k=1.0, m=4.0, max=0.05)}
"""Strong classifiers tell any generator from the simulation when events are many: an AUC of 0.55 is allowed."""
JET_GATES: Final[dict[str, Gate]] = _EVENTS | _JETS | _DISTANCES | _JOINT | _CLASSIFIERS | _RATIOS
"""The published metrics of jets and what belongs to single events."""
