"""The shower tables as Markdown."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from benchmarks.quoting import with_error
from benchmarks.shower_recipes import MODEL, PARTICLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.shower_measures import Found

_AUC: Final = ("auc_low", "auc_low_normed", "auc_log", "auc_high", "auc_gbt")
_SIZE: Final = "auc_low"
SPEEDUP: Final = ("standard", "1000", "50")
"""Of what the speed-up over Geant4 is quoted: list of interactions, batch, GeV."""


def tables(
    results: Sequence[Mapping[str, Any]],
    floors: Mapping[str, Mapping[str, Any]],
    geant4: Mapping[str, Mapping[str, Any]],
) -> str:
    """Classifiers, then other metrics, then cost; one line for each generator.

    Args:
        results: what was measured of each generator.
        floors: particle -> the classifiers' AUC of the reference's halves, and the number of showers there.
        geant4: particle -> results of `benchmarks.geant4_speedup`, whose generators are called as `side_name` says.
    """
    return f"{_classifiers(results, floors)}\n{_physics(results)}\n{_cost(results, geant4)}"


def side_name(result: Mapping[str, Any]) -> str:
    """What a generator is called beside Geant4: ``coupling``, ``published-student``, or ``model``."""
    recipe, kind = result["recipe"], result["kind"]
    return str({MODEL: MODEL, "published": f"published-{kind}"}.get(recipe, kind))


def _classifiers(results: Sequence[Mapping[str, Any]], floors: Mapping[str, Mapping[str, Any]]) -> str:
    lines = _head("showers", "generator", "trained on", *(f"`{name}`" for name in _AUC))
    seen: set[str] = set()
    for result in results:
        if result["particle"] not in seen:
            seen.add(result["particle"])
            lines.append(_aucs(result, "Geant4 itself", floors[result["particle"]]["metrics"]))
        lines.append(_aucs(result, _name(result), result["metrics"]))
    return "\n".join(lines) + "\n"


def _aucs(result: Mapping[str, Any], name: str, metrics: Found) -> str:
    cells = [with_error(metrics[auc]["value"], metrics[auc]["error"]) for auc in _AUC]
    return _row(_particle(result), name, f"2 x {metrics[_SIZE]['n_train_per_class']}", *cells)


def _physics(results: Sequence[Mapping[str, Any]]) -> str:
    lines = _head(
        "showers",
        "generator",
        "worst separation / floor",
        "observables above 3 floors",
        "response, worst bin",
        "its floor",
        "resolution, worst bin",
        "its floor",
        "FPD x1e3",
        "its floor",
    )
    for result in results:
        metrics: Found = result["metrics"]
        ratios = separation_ratios(metrics)
        worst = max(ratios, key=lambda name: ratios[name])
        fpd = metrics["fpd"]
        lines.append(
            _row(
                _particle(result),
                _name(result),
                f"{ratios[worst]:.1f} (`{worst.removeprefix('separation_')}`)",
                f"{sum(ratio > 3 for ratio in ratios.values())} of {len(ratios)}",
                *(f"{100 * _worst(metrics, 'response_bin_', key):.2f} %" for key in ("value", "floor")),
                *(f"{100 * _worst(metrics, 'resolution_bin_', key):.1f} %" for key in ("value", "floor")),
                with_error(1e3 * fpd["value"], 1e3 * fpd["error"]),
                f"{1e3 * fpd['floor']:.2f}",
            )
        )
    return "\n".join(lines) + "\n"


def separation_ratios(metrics: Found) -> dict[str, float]:
    """Separation power of each observable over its floor, but where both are nought."""
    return {
        name: entry["value"] / entry["floor"] if entry["floor"] else math.inf
        for name, entry in metrics.items()
        if name.startswith("separation_") and name != "separation_mean" and (entry["floor"] or entry["value"])
    }


def _worst(metrics: Found, prefix: str, key: str) -> float:
    """Largest deviation from one over the bins of the incident energy."""
    return max(abs(float(entry[key]) - 1) for name, entry in metrics.items() if name.startswith(prefix))


def _cost(results: Sequence[Mapping[str, Any]], geant4: Mapping[str, Mapping[str, Any]]) -> str:
    lines = _head(
        "showers",
        "generator",
        "training showers",
        "training min",
        "weights [MB]",
        "ms, batch 1",
        "100",
        "10000",
        "times faster than Geant4",
    )
    for result in results:
        training = result["training"]
        lines.append(
            _row(
                _particle(result),
                _name(result),
                str(training["n_showers"]),
                f"{training['seconds'] / 60:.0f}",
                f"{result['weights_bytes'] / 1e6:.1f}",
                *(f"{result['sampling_ms'][batch]:.3g}" for batch in ("1", "100", "10000")),
                _speedup(geant4.get(result["particle"], {}), side_name(result)),
            )
        )
    return "\n".join(lines) + "\n"


def _speedup(beside: Mapping[str, Any], name: str) -> str:
    physics, batch, energy = SPEEDUP
    ratio = beside.get("speedup", {}).get(physics, {}).get(name, {}).get(batch, {}).get(energy)
    return "-" if ratio is None else f"{float(f'{ratio:.2g}'):g}"


def _head(*cells: str) -> list[str]:
    return [_row(*cells), "|" + "---|" * len(cells)]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _particle(result: Mapping[str, Any]) -> str:
    return PARTICLES[result["particle"]]


def _name(result: Mapping[str, Any]) -> str:
    words = {"published": f"published {result['kind']}", MODEL: f"{result['kind']}, as shipped"}
    return words.get(result["recipe"], str(result["kind"]))
