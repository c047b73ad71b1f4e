"""The gates that a validation applies when asked for default gates.

Each is a statement on statistics: the excess of a metric over the floor (``k = 1``) stays within `m` standard errors.
`m` is that of one gate in about a hundred that are read at once, several of them with long tails:
``python -m benchmarks.gate_honesty`` counts how often two parts of the same data pass all of them.
`max` allows what no analysis would notice at any sample size. The first pattern that matches a metric counts.
"""

from __future__ import annotations

from typing import Final

from validation.gates import Gate

_EVENTS: Final[dict[str, Gate]] = {
    "memorisation_ratio": Gate(m=4.0, max=0.02),
    "memorised_share": Gate(m=4.0, max=0.002),
    "duplicates": Gate(k=2.0, max=0.001),
    "near_duplicates": Gate(m=4.5, max=0.002),
    "cell_occupancy_max": Gate(max=5.5),
    "cell_occupancy_chi2": Gate(k=1.0, m=5.0, max=0.2),
}
_DISTANCES: Final[dict[str, Gate]] = {
    "separation_mean": Gate(k=1.0, m=4.0),
    "separation_*": Gate(k=1.0, m=4.0),
    "w1_*": Gate(k=1.0, m=4.0),
    "ks_*": Gate(k=1.0, m=4.0),
}
_JOINT: Final[dict[str, Gate]] = {
    "precision": Gate(k=1.0, m=5.0),
    "recall": Gate(k=1.0, m=5.0),
    "coverage": Gate(k=1.0, m=5.0),
    "density": Gate(m=5.0, max=0.1),
    "correlation_*": Gate(k=1.0, m=5.0),
    "layer_correlations*": Gate(k=1.0, m=5.0),
}
_DETECTOR: Final[dict[str, Gate]] = {
    "resolution_bin_*": Gate(m=4.5, max=1.0),  # one leaking shower of the reference widens a bin several times
    "response_slope": Gate(m=4.5, max=0.002),
    "response_offset": Gate(m=4.5),
    "resolution_sampling": Gate(m=4.5, max=0.02),
    "resolution_constant": Gate(m=4.5),
    "*_w1": Gate(k=1.0, m=5.0),
    "*_contained_90": Gate(m=4.5),
    "longitudinal_maximum": Gate(m=4.5),
}
_CLASSIFIERS: Final[dict[str, Gate]] = {"auc*": Gate(k=1.0, m=4.0)}
_RATIOS: Final[dict[str, Gate]] = {
    "e_tot_ratio_*": Gate(m=4.0, max=0.002),
    "*_bin_*": Gate(m=4.5, max=0.005),
    "*_mean": Gate(m=4.5, max=0.005),
    "*_std": Gate(m=4.5, max=0.01),
}
_JETS: Final[dict[str, Gate]] = {
    "w1m": Gate(k=1.0, m=5.0),
    "w1p": Gate(k=1.0, m=5.0),
    "w1efp": Gate(k=1.0, m=5.0),
    "cov": Gate(k=1.0, m=5.0),
    "mmd": Gate(k=1.0, m=5.0),
    "fpd": Gate(k=1.0, m=5.0),
    "kpd": Gate(k=1.0, m=5.0),
    "frechet_tagger": Gate(k=1.0, m=4.0),
}

QUICK_GATES: Final[dict[str, Gate]] = _EVENTS | _DISTANCES | _JOINT | _DETECTOR | _CLASSIFIERS | _RATIOS | _JETS
"""Statistics alone decide."""
PUBLISHED_GATES: Final[dict[str, Gate]] = QUICK_GATES | {"auc*": Gate(k=1.0, m=4.0, max=0.05)}
"""Strong classifiers tell any generator from the simulation when events are many: an AUC of 0.55 is allowed."""
JET_GATES: Final[dict[str, Gate]] = _EVENTS | _JETS | _DISTANCES | _JOINT | _CLASSIFIERS | _RATIOS
"""The published metrics of jets and what belongs to single events."""
