"""The jet table as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.quoting import with_error
from jetgen.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

COLUMNS: Mapping[str, tuple[str, float]] = {
    "w1m": ("W1M x1e3", 1e3),
    "w1p": ("W1P x1e3", 1e3),
    "w1efp": ("W1EFP x1e5", 1e5),
    "fpnd": ("FPND", 1.0),
    "fpd": ("FPD x1e3", 1e3),
    "kpd": ("KPD x1e3", 1e3),
    "cov": ("COV", 1.0),
    "mmd": ("MMD", 1.0),
    "frechet_tagger": ("tagger", 1.0),
    "auc": ("AUC", 1.0),
}
"""Metric -> heading and factor."""
NAMES: Mapping[str, str] = {
    "floor": "Pythia itself",
    "vnf": "VNF",
    "cnf_m": "CNF(m)",
    "cnf_mn": "CNF(m, n)",
    "ccnf_m": "CCNF(m)",
    "ccnf_mn": "CCNF(m, n)",
    "exact": "exact",
    "equivariant": "equivariant",
}
CLASSES: Mapping[str, str] = {"g": "Gluon", "q": "Light quark", "t": "Top"}


def table(found: Mapping[str, Mapping[str, Any]], metrics: Collection[str] = tuple(COLUMNS)) -> str:
    """One table for each class with these metrics, and what stands behind it."""
    return "\n".join(_one(kind, entries, metrics) for kind, entries in found.items())


def _one(kind: str, entries: Mapping[str, Any], metrics: Collection[str]) -> str:
    present = [
        name for name in COLUMNS if name in metrics and any(name in entry["metrics"] for entry in entries.values())
    ]
    lines = [
        f"| {CLASSES[kind]} | " + " | ".join(COLUMNS[name][0] for name in present) + " | epochs | ms a jet |",
        "|---|" + "---|" * (len(present) + 2),
    ]
    for name in ("floor", *PRESETS):
        if name not in entries:
            continue
        entry = entries[name]
        cells = [_cell(entry["metrics"].get(metric), COLUMNS[metric][1]) for metric in present]
        epochs = str(entry["training"]["epochs"]) if "training" in entry else ""
        speed = f"{entry['sampling_cpu_ms']:.2f}" if "training" in entry else ""
        lines.append(f"| {NAMES[name]} | " + " | ".join(cells) + f" | {epochs} | {speed} |")
    return "\n".join(lines) + "\n"


def _cell(entry: Mapping[str, float] | None, factor: float) -> str:
    if entry is None:
        return ""
    return with_error(entry["value"] * factor, entry["error"] * factor)
