"""Calibrating a fast simulation's observables to full simulation's: separation powers before and after a morphing.

The morphing is trained on the first part of both files and judged on the rest. The separation power of each observable
is between full and fast simulation, as it comes and morphed; its floor between two halves of the full simulation. Both
files must have incident energies from the same range; the shared spectrum is morphed at each energy::

    python -m benchmarks.morphing_showers student.h5 calofast/data/eplus.h5 --out runs/calibration
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console

from hepflows.commands.options import terminal_reporter
from hepflows.config import build, with_overrides
from hepflows.errors import HepflowsError
from hepflows.files import atomic_file
from hepflows.morphing.config import METHODS, MorphingConfig
from hepflows.morphing.morph import fit_morphing
from hepflows.observable_files import read_observables
from hepflows.train.run import Run
from validation.histograms import derive_edges, separation_power

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hepflows.feature_table import FeatureTable

OBSERVABLES = ("layer_energy_0", "layer_energy_1", "layer_energy_2", "width_x_0", "width_x_1", "sparsity_1")


def main(argv: Sequence[str] | None = None) -> int:
    options = _parse(argv)
    try:
        run(options)
    except HepflowsError as error:
        Console(stderr=True).print(f"error: {error}", markup=False, highlight=False)
        return error.exit_code
    return 0


def run(options: argparse.Namespace) -> None:
    """Train one morphing, print the table and keep it as JSON."""
    torch.set_num_threads(1)
    entries = {"method": options.method}
    config = build(MorphingConfig, with_overrides(entries, options.set or ()), where="--set")
    fast, full = (
        [_read(path, part, options) for part in ((0.0, options.split * used), (options.split * used, used))]
        for path, used in ((options.fast, 1.0), (options.full, options.use))
    )
    work = Run(directory=options.out / "training", resume=True, reporter=terminal_reporter())
    morphing = fit_morphing(fast[0], full[0], config, run=work)
    morphing.save(options.out, force=True)
    morphed = morphing.apply(fast[1], seed=1, out_of_range="clamp")
    found = powers(full[1], fast[1], morphed)
    sizes = {"fast": [len(part) for part in fast], "full": [len(part) for part in full]}
    content = {"events": sizes, "config": morphing.document.config, "powers": found}
    with atomic_file(options.out / "result.json", force=True) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")
    sys.stdout.write(table(found))


def powers(full: FeatureTable, fast: FeatureTable, morphed: FeatureTable) -> dict[str, dict[str, float]]:
    """Separation powers of each observable: ``before``, ``after`` and ``floor``."""
    found = {}
    for k, column in enumerate(full.features):
        edges = derive_edges(full.values[:, k], n_events=len(full), log=column.log)
        halves = full.values[::2, k], full.values[1::2, k]
        pairs = {
            "before": (full.values[:, k], fast.values[:, k]),
            "after": (full.values[:, k], morphed.values[:, k]),
            "floor": halves,
        }
        found[column.name] = {name: _power(*pair, edges) for name, pair in pairs.items()}
    return found


def table(found: Mapping[str, Mapping[str, float]]) -> str:
    """Markdown of `powers`, times 1000."""
    lines = ["| separation power x1e3 | before | after | floor |", "|---|---|---|---|"]
    for name, entry in found.items():
        cells = (f"{1000 * entry[key]:.1f}" for key in ("before", "after", "floor"))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _power(first: Any, second: Any, edges: Any) -> float:
    counts = [np.histogram(values[np.isfinite(values)], edges)[0] for values in (first, second)]
    missing = [len(values) - part.sum() for values, part in zip((first, second), counts, strict=True)]
    return float(separation_power(*(np.append(part, rest) for part, rest in zip(counts, missing, strict=True))))


def _read(path: Path, part: tuple[float, float], options: argparse.Namespace) -> FeatureTable:
    return read_observables(
        path, observables=options.observables, conditions=["incident_energy_gev"], selection={"part": part}
    )


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fast", type=Path, help="showers of the fast simulation")
    parser.add_argument("full", type=Path, help="showers of the full simulation")
    parser.add_argument("--out", type=Path, required=True, help="directory of the morphing and the result")
    parser.add_argument("--split", type=float, default=0.6, help="part of both files that trains (default: 0.6)")
    parser.add_argument("--use", type=float, default=1.0, help="share of the full simulation's file, from its start")
    parser.add_argument("--observables", type=lambda text: text.split(","), default=list(OBSERVABLES))
    parser.add_argument("--method", choices=METHODS, default="identity")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="entry of the configuration")
    options = parser.parse_args(argv)
    if not 0 < options.use <= 1:
        parser.error(f"--use {options.use:g} is not in (0, 1]")
    return options


if __name__ == "__main__":
    sys.exit(main())
