"""The jet studies as Markdown."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from benchmarks.jet_table_text import CLASSES, NAMES
from benchmarks.jet_table_text import COLUMNS as METRICS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Results = Sequence[Mapping[str, Any]]
    Columns = Mapping[str, tuple[str, float]]

ROWS: Mapping[str, str] = {
    **NAMES,
    "spline": "splines",
    "affine": "affine couplings",
    "free": "CNF(m, n)",
    "made_exact": "the same, made exact",
    "difference": "difference",
    "known": "its training jets",
    "others": "other real jets",
    "x1": "as many generated",
    "x10": "10 times as many",
    "x100": "100 times as many",
    "memory": "generated",
}
"""Names of the rows, in their order."""
FOLLOWING: Columns = {
    "bias": ("bias [%]", 100),
    "spread": ("spread [%]", 100),
    "off_99": ("99 % are off by less than [%]", 100),
    "off_max": ("largest [%]", 100),
    "miss": ("mended: mean [%]", 100),
    "miss_spread": ("mended: spread [%]", 100),
}
INSIDE: Columns = {"inside": ("inside [%]", 100)} | {name: METRICS[name] for name in ("w1p", "w1efp", "frechet_tagger")}
WHOLE: Columns = {name: METRICS[name] for name in ("w1m", "w1p")}
MEMORY: Columns = {
    "distance_ratio": ("ratio of medians", 1),
    "share_near": ("nearer than 99 % of held-out jets [%]", 100),
}


def tables(results: Results) -> str:
    """A section for each class and study that has results."""
    parts = []
    for kind, label in CLASSES.items():
        for study, render in SECTIONS.items():
            found = [entry for entry in results if (entry["kind"], entry["study"]) == (kind, study)]
            if found:
                parts.append(f"## {label}: {study}\n\n{render(found)}")
    return "\n".join(parts)


def figure(entry: Mapping[str, float] | None, factor: float = 1.0) -> str:
    """A number with its error, both to two digits of the error; small ones with an exponent.

    Example:
        >>> figure({"value": 0.012345, "error": 0.00021}, 100)
        '1.234 ± 0.021'
    """
    if entry is None:
        return ""
    value, error = entry["value"] * factor, entry["error"] * factor
    if not error > 0 or not math.isfinite(value):
        return f"{value:.3g}"
    if max(abs(value), error) < 1e-3:
        return f"{value:.1e} ± {error:.1e}"
    places = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{places}f} ± {error:.{places}f}"


def _transform(results: Results) -> str:
    return _table("couplings", _ordered(results), METRICS)


def _constituents(results: Results) -> str:
    groups = _groups(results)
    variants = [name for name in ROWS if any(entry["name"] == name for entry in results)]
    lines = _head(["W1M x1e3, constituents", *(ROWS[name] for name in variants)])
    for group in sorted(groups, key=int):
        found = {entry["name"]: entry["metrics"]["w1m"] for entry in groups[group]}
        lines.append(_line([group, *(figure(found.get(name), 1e3) for name in variants)]))
    return "\n".join(lines) + "\n"


def _condition(results: Results) -> str:
    return _table("m / m(condition) - 1", _ordered(results), FOLLOWING)


def _window(results: Results) -> str:
    groups = _groups(results).items()
    return "\n".join(_table(f"mass {group}", _ordered(entries), INSIDE) for group, entries in groups)


def _constraint(results: Results) -> str:
    return _table("mean of samples", _ordered(results), METRICS)


def _oversampling(results: Results) -> str:
    parts = []
    for group, entries in _groups(results).items():
        samples = [entry for entry in entries if entry["name"] != "memory"]
        memory = [entry for entry in entries if entry["name"] == "memory"]
        if samples:
            parts.append(_table(f"trained on {group}", _ordered(samples), WHOLE))
        if memory:
            parts.append(_table("distance to the nearest training jet", memory, MEMORY))
    return "\n".join(parts)


SECTIONS: Mapping[str, Callable[[Results], str]] = {
    "transform": _transform,
    "constituents": _constituents,
    "condition": _condition,
    "window": _window,
    "constraint": _constraint,
    "oversampling": _oversampling,
}
"""Study -> what renders its results."""


def _table(corner: str, results: Results, columns: Columns) -> str:
    """One row for each result; columns that no result has are left out."""
    present = {name: column for name, column in columns.items() if any(name in e["metrics"] for e in results)}
    trained = any("training" in entry for entry in results)
    extra = ["epochs", "parameters", "ms a jet"] if trained else []
    lines = _head([corner, "jets", *(heading for heading, _ in present.values()), *extra])
    for entry in results:
        cells = [figure(entry["metrics"].get(name), factor) for name, (_, factor) in present.items()]
        plan = entry.get("training")
        effort = [str(plan["epochs"]), str(plan["parameters"]), f"{entry['sampling_cpu_ms']:.3g}"] if plan else []
        cells += effort or [""] * len(extra)
        lines.append(_line([ROWS[entry["name"]], str(entry["n_sample"]), *cells]))
    return "\n".join(lines) + "\n"


def _ordered(results: Results) -> list[Mapping[str, Any]]:
    order = list(ROWS)
    return sorted(results, key=lambda entry: order.index(entry["name"]))


def _groups(results: Results) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for entry in results:
        found.setdefault(entry["group"], []).append(entry)
    return found


def _head(cells: Sequence[str]) -> list[str]:
    return [_line(cells), "|---|" + "---|" * (len(cells) - 1)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
