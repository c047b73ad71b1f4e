"""A file's summary as lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from calofast.describe import FileSummary


def summary_rows(summary: FileSummary) -> tuple[tuple[str, str], ...]:
    """(label, text) pairs of what `hepflows inspect` prints; texts carry units."""
    low, high = summary.energy_range_gev
    layers = ", ".join(f"{layer.name} {'x'.join(str(n) for n in layer.shape)}" for layer in summary.geometry.layers[:6])
    more = f" and {summary.geometry.n_layers - 6} more" if summary.geometry.n_layers > 6 else ""
    response = (
        f"mean {summary.e_tot_ratio_mean:.4f}, median {summary.e_tot_ratio_median:.4f}, "
        f"std {summary.e_tot_ratio_std:.4f} (first {summary.n_sampled} showers)"
    )
    rows = [
        ("format", summary.format),
        ("geometry", f"{summary.geometry.name}: {summary.geometry.n_voxels} voxels; {layers}{more}"),
        ("showers", f"{summary.n_showers} of {summary.n_entries} entries"),
        ("particles", ", ".join(f"{n} x pdg {pdg}" for pdg, n in summary.pdg.items()) or "not told"),
        ("incident energy", f"{low:.4g} ... {high:.4g} GeV"),
        ("units assumed", ", ".join(f"{name} in {unit}" for name, unit in summary.units.items())),
        ("E_tot / E_inc", response),
        ("energy by layer", _shares(summary.layer_fractions)),
        ("lit voxels by layer", _shares(summary.occupancy)),
        ("overflow", "not told" if summary.overflow_fraction is None else f"{summary.overflow_fraction:.3%}"),
    ]
    rows += [
        (f"condition {name}", f"{low:.4g} ... {high:.4g} {unit}".rstrip())
        for name, (unit, low, high) in summary.conditions.items()
    ]
    if summary.weighted:
        rows.append(("weights", "yes"))
    rows += [(name, text) for name, text in summary.provenance.items()]
    return tuple(rows)


def _shares(values: tuple[float, ...]) -> str:
    shown = ", ".join(f"{value:.2%}" for value in values[:8])
    return shown + (", ..." if len(values) > 8 else "")
