"""A file's summary as lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jetgen.describe import FileSummary, Spread


def summary_rows(summary: FileSummary) -> tuple[tuple[str, str], ...]:
    """(label, text) pairs of what `hepflows inspect` prints; texts carry units."""
    first = f"(first {summary.n_sampled} jets)"
    number, total = summary.multiplicity, summary.n_constituents_all
    constituents = (
        f"{number.low:.0f} ... {number.high:.0f} in {summary.n_slots} slots, mean {number.mean:.2f}, "
        f"{summary.full:.1%} of the jets full {first}"
    )
    rows = [
        ("format", summary.format),
        ("jets", f"{summary.n_jets} of {summary.n_entries} entries"),
        ("kind", ", ".join(f"{n} x {kind}" for kind, n in summary.kinds.items()) or "not told"),
        ("constituents", constituents),
        ("of the whole jet", "not told" if total is None else f"{_range(total, '.0f')}, mean {total.mean:.1f}"),
        ("order", "falling pT" if summary.ordered else "not by pT"),
        ("jet pT", _feature(summary.jet_pt_gev, " GeV")),
        ("jet eta", _feature(summary.jet_eta, "")),
        ("jet mass", _feature(summary.jet_mass_gev, " GeV")),
        ("units assumed", ", ".join(f"{name} in {unit}" for name, unit in summary.units.items()) or "none needed"),
        ("sum of pT_rel", f"{_moments(summary.pt_sum)} {first}"),
        ("mean distance", f"{_moments(summary.spread)} rad from the jet axis, weighted by pT"),
        ("relative mass", f"{_moments(summary.mass_rel)}, of the stored massless constituents"),
    ]
    if summary.mass_ratio is not None:
        rows.append(("", f"over mass / pT of the whole jet: {_moments(summary.mass_ratio)}"))
    if summary.weighted:
        rows.append(("weights", "yes"))
    rows += [("assumed", note) for note in summary.notes]
    rows += [(name, text) for name, text in summary.provenance.items()]
    return tuple(rows)


def _range(spread: Spread, form: str) -> str:
    return f"{spread.low:{form}} ... {spread.high:{form}}"


def _feature(spread: Spread | None, unit: str) -> str:
    return "not told" if spread is None else f"{_range(spread, '.4g')}{unit}, median {spread.median:.4g}{unit}"


def _moments(spread: Spread) -> str:
    return f"mean {spread.mean:.4f}, median {spread.median:.4f}, std {spread.std:.4f}"
