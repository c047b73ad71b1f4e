"""The shower tables as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.shower_recipes import PARTICLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_AUC = ("auc_low", "auc_low_normed", "auc_log", "auc_high", "auc_gbt")
_OTHERS = ("separation_mean", "e_tot_ratio_mean", "e_tot_ratio_std", "fpd", "kpd")


def tables(results: Sequence[Mapping[str, Any]]) -> str:
    """Quality, then cost, one line for each generator."""
    return f"{_quality(results)}\n{_cost(results)}"


def _quality(results: Sequence[Mapping[str, Any]]) -> str:
    names = [name for name in (*_AUC, *_OTHERS) if any(name in result["metrics"] for result in results)]
    lines = ["| showers | generator | n | " + " | ".join(f"`{name}`" for name in names) + " |"]
    lines.append("|---|---|---|" + "---|" * len(names))
    seen: set[str] = set()
    for result in results:
        metrics = result["metrics"]
        if result["particle"] not in seen:
            seen.add(result["particle"])
            floor = [_cell({"value": metrics.get(name, {}).get("floor")}) for name in names]
            lines.append(
                f"| {_particle(result)} | Geant4 itself | {result['n_reference'] // 2} | {' | '.join(floor)} |"
            )
        cells = [_cell(metrics.get(name, {"value": None})) for name in names]
        lines.append(f"| {_particle(result)} | {_name(result)} | {result['n_reference']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cost(results: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "| showers | generator | training showers | processor min | weights [MB] | ms, batch 1 | 100 | 10000 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        training = result["training"]
        speed = " | ".join(f"{result['sampling_ms'][batch]:.3g}" for batch in ("1", "100", "10000"))
        lines.append(
            f"| {_particle(result)} | {_name(result)} | {training['n_showers']} | {training['cpu_s'] / 60:.0f} "
            f"| {result['weights_bytes'] / 1e6:.1f} | {speed} |"
        )
    return "\n".join(lines) + "\n"


def _particle(result: Mapping[str, Any]) -> str:
    return PARTICLES[result["particle"]]


def _name(result: Mapping[str, Any]) -> str:
    return f"published {result['kind']}" if result["recipe"] == "published" else str(result["kind"])


def _cell(entry: Mapping[str, Any]) -> str:
    if entry.get("value") is None:
        return "-"
    error = entry.get("error")
    return f"{entry['value']:.3g}" + ("" if error is None else f" ± {error:.1g}")
