"""The table on top of a report: its metrics in groups, the deciding ones first, each with a few words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from validation.comparison import Comparison

GROUPS: Final = (
    ("Told apart by a classifier?", ("auc*", "jsd*")),
    (
        "Distributions",
        ("separation_mean", "w1m", "w1p", "w1efp", "fpd", "kpd", "frechet_tagger", "cov", "mmd", "correlation_*"),
    ),
    ("Detector", ("e_tot_ratio_*", "response_*", "resolution_*", "layer_correlations", "cell_*")),
    ("Variety and copies", ("precision", "recall", "density", "coverage", "*duplicates", "memoris*")),
    ("Means and widths", ("*_mean", "*_std")),
    ("Further", ("*",)),
)
"""Headings, and the metrics below them; the first heading that matches counts."""

WORDS: Final = {
    "auc_gbt": "boosted trees on all observables",
    "auc_low": "network, voxels in GeV",
    "auc_low_normed": "network, voxels over layer energy",
    "auc_log": "network, log of voxels",
    "auc_high": "network, observables",
    "auc_layers": "network, layer energies",
    "auc": "network, constituents and shapes",
    "jsd*": "the same, Jensen-Shannon divergence",
    "separation_mean": "mean over all histograms",
    "w1m": "Wasserstein, relative mass",
    "w1p": "Wasserstein, constituents",
    "w1efp": "Wasserstein, energy-flow polynomials",
    "fpd": "Frechet physics distance",
    "kpd": "kernel physics distance",
    "frechet_tagger": "Frechet, activations of a tagger",
    "cov": "coverage by energy mover's distance",
    "mmd": "minimum matching distance",
    "correlation_rms": "coefficients of all pairs, r.m.s. difference",
    "correlation_max": "the largest difference",
    "e_tot_ratio_mean": "mean of E_tot / E_inc, ratio",
    "e_tot_ratio_std": "its deviation, ratio",
    "response_slope": "linearity: slope, ratio",
    "response_offset": "linearity: offset, difference",
    "resolution_sampling": "sampling term, ratio",
    "resolution_constant": "constant term, difference",
    "layer_correlations": "pairs of layers, r.m.s. difference",
    "cell_occupancy_max": "most wrong cell, in standard deviations",
    "cell_occupancy_chi2": "all cells, mean squared pull",
    "precision": "no impossible events",
    "recall": "no kind of event missing",
    "density": "crowding in the core",
    "coverage": "regions that are reached",
    "duplicates": "share of events made twice",
    "near_duplicates": "share of nearly equal events",
    "memorisation_ratio": "distance to training events, ratio",
    "memorised_share": "share of copied training events",
    "*_mean": "mean, ratio",
    "*_std": "deviation, ratio",
}
"""What a metric says; the first pattern that matches counts."""

_HEADLINES: Final = ("separation_mean", "auc", "auc_*", "jsd", "jsd_*")
"""Metrics of the table besides the ratios and the chief ones."""
_SUPERSCRIPT: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A number in a table; `mark` tells whether its gate passed, empty without one."""

    text: str
    good: str
    title: str
    mark: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """A metric in a table: a few words, the value of a perfect generator, the floor, a cell for each sample."""

    key: str
    words: str
    target: str
    floor: str
    cells: tuple[Cell, ...]


def split_metrics(comparison: Comparison) -> tuple[list[tuple[str, list[str]]], list[str]]:
    """Metrics of the table on top by heading, and all others."""
    every = list(dict.fromkeys(key for metrics in comparison.samples.values() for key in metrics))
    chief = {key for metrics in comparison.samples.values() for key, metric in metrics.items() if metric.chief}
    ratios = {f"{view.name}_{which}" for view in comparison.views.ratios for which in ("mean", "std")}
    top = [k for k in every if k in chief or k in ratios or any(fnmatchcase(k, name) for name in _HEADLINES)]
    grouped: list[tuple[str, list[str]]] = []
    left = top
    for heading, patterns in GROUPS:
        members = [k for pattern in patterns for k in left if fnmatchcase(k, pattern)]
        if members:
            grouped.append((heading, list(dict.fromkeys(members))))
        left = [k for k in left if k not in members]
    return grouped, [k for k in every if k not in top]


def rows_of(comparison: Comparison, keys: Sequence[str]) -> list[Row]:
    """Table rows of these metrics."""
    gates = {(gate.sample, gate.metric): gate.passed for gate in comparison.gates}
    rows = []
    for key in keys:
        floor, target, words, cells = "", "", "", []
        for sample, metrics in comparison.samples.items():
            if key not in metrics:
                cells.append(Cell(text="-", good="", title="not measured", mark=""))
                continue
            metric = metrics[key]
            floor = floor or ("" if metric.floor is None else number(metric.floor, metric.floor_error or 0.0))
            target = f"{metric.target:.4g}"
            words = words or _words(key, metric.meaning)
            pull, passed = metric.pull(), gates.get((sample, key))
            cells.append(
                Cell(
                    text=number(metric.value, metric.error),
                    good="good" if pull <= 3 else "fair" if pull <= 10 else "poor",
                    title=f"{pull:.1f} standard errors above the floor, n = {metric.n}",
                    mark="" if passed is None else "✓" if passed else "✗",
                )
            )
        rows.append(Row(key=key, words=words, target=target, floor=floor, cells=tuple(cells)))
    return rows


def headline_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """The table on top of the report as texts: header and rows of metric, floor and one column a sample."""
    header = ["metric", f"{comparison.reference_label} floor", *comparison.samples]
    keys = [key for _, members in split_metrics(comparison)[0] for key in members]
    return header, [[row.key, row.floor, *(cell.text for cell in row.cells)] for row in rows_of(comparison, keys)]


def number(value: float, error: float) -> str:
    """Value and error with as many digits as the error deserves, small ones with a common power of ten."""
    largest = max(abs(value), abs(error))
    if not 0 < largest < 1e-3:
        return _plain(value, error)
    exponent = math.floor(math.log10(largest))
    return f"({_plain(value / 10**exponent, error / 10**exponent)})·10{str(exponent).translate(_SUPERSCRIPT)}"


def _plain(value: float, error: float) -> str:
    digits = 3 if error <= 0 else max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _words(key: str, meaning: str) -> str:
    known = (words for pattern, words in WORDS.items() if fnmatchcase(key, pattern))
    return next(known, meaning.split(". ", maxsplit=1)[0].split(";", maxsplit=1)[0])
