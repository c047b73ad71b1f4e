"""Do neighbouring voxels light up together as often as they should? Correlations of occupancy by distance.

python -m benchmarks.neighbour_correlations SHOWERS --generators DIR ... --read part=[0.0,0.8]

Correlation coefficients of "lit" between two cells of a layer, in bins of the incident energy (so that the energy
does not correlate them), averaged over all pairs whose cells are lit in 2 to 90 % of a bin's showers.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

import calofast as cf
from calofast.generator import CaloGenerator
from calofast.reading_config import ReadingConfig
from hepflows.config import build, with_overrides
from hepflows.errors import HepflowsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

EDGES_GEV = (1.0, 10.0, 30.0, 60.0, 100.0)
STEPS = ((0, 1), (0, 2), (0, 3), (1, 0), (1, 1))
_SEED = 7
_FRACTIONS = (0.02, 0.9)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("showers", type=Path)
    parser.add_argument("--generators", type=Path, nargs="*", default=[], help="directories of trained generators")
    parser.add_argument("--read", action="append", metavar="KEY=VALUE", help="which showers, as in hepflows train")
    parser.add_argument("--json", type=Path, help="write the numbers there")
    options = parser.parse_args(argv)
    try:
        reading = build(ReadingConfig, with_overrides({}, options.read or ()), where="--read")
        showers = cf.read_showers(options.showers, **reading.arguments())
        samples = {"reference": showers}
        for path in options.generators:
            generator = CaloGenerator.load(path)
            samples[str(path)] = generator.sample(showers.incident_energy_gev, seed=_SEED, out_of_range="clamp")
        found = {name: correlations(sample) for name, sample in samples.items()}
    except HepflowsError as error:
        Console(stderr=True).print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        return error.exit_code
    print(text(found))
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def correlations(showers: cf.Showers) -> dict[str, float]:
    """Mean correlation of occupancy, named ``layer step_first step_second``; steps that no pair makes are left out."""
    lit = showers.voxels_mev >= cf.OBSERVABLES.threshold(showers.geometry)
    found = {}
    layers = zip(showers.geometry.layers, showers.geometry.layer_slices, strict=True)
    for number, (layer, part) in enumerate(layers):
        cells = lit[:, part].reshape(-1, *layer.shape)
        for step in STEPS:
            values = np.concatenate([
                _pairs(cells[(showers.incident_energy_gev >= low) & (showers.incident_energy_gev < high)], step)
                for low, high in pairwise(EDGES_GEV)
            ])  # fmt: skip
            if len(values):
                found[f"{number} {step[0]} {step[1]}"] = float(values.mean())
    return found


def _pairs(lit: NDArray[np.bool_], step: tuple[int, int]) -> NDArray[np.float64]:
    """Coefficients of all pairs of cells that are a step apart."""
    if len(lit) < 2:
        return np.empty(0)
    mean = lit.mean(0)
    used = (mean > _FRACTIONS[0]) & (mean < _FRACTIONS[1])
    standard = (lit - mean) / np.sqrt(np.where(used, mean * (1 - mean), 1.0))
    first, second = (slice(None, size - shift) for size, shift in zip(lit.shape[1:], step, strict=True))
    here, there = (slice(None), first, second), (slice(None), slice(step[0], None), slice(step[1], None))
    chosen: NDArray[np.float64] = (standard[here] * standard[there]).mean(0)[used[here[1:]] & used[there[1:]]]
    return chosen


def text(found: dict[str, dict[str, Any]]) -> str:
    """A Markdown table, a line for each layer and step."""
    names = list(found)
    lines = ["| layer, step | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for key in found[names[0]]:
        layer, first, second = key.split()
        cells = (f"{found[name][key]:.3f}" for name in names)
        lines.append(f"| {layer}, ({first}, {second}) | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
