"""Which metric notices which mistake of a generator? A Markdown table of distortion x metric.

python -m benchmarks.distortions                       on the packaged showers
python -m benchmarks.distortions --data my.h5 --json distortions.json

All showers are the reference, and all showers, distorted, the generated sample: the comparison takes half A of the
reference and the distorted half B, and the floor is half A against the undistorted half B. So value and floor differ
by the distortion alone. Numbers are pulls, (value - floor) / error; bold where the default gate fails.
"""

from __future__ import annotations

import argparse
import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.event_rows import RowDomain
from benchmarks.shower_distortions import DISTORTIONS
from hepflows import registry
from hepflows.files import atomic_file
from validation.comparison import compare
from validation.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from calofast import Showers
    from validation.comparison import Comparison

FAMILIES = (
    "e_tot_ratio_mean",
    "response_slope",
    "resolution_*",
    "layer_fraction_*_bin_*",
    "longitudinal_*",
    "radial_*",
    "separation_depth",
    "*_width_*",
    "*_centre_*",
    "*_sparsity*",
    "*_voxel_energy*",
    "separation_mean",
    "correlation_rms",
    "layer_correlations",
    "recall",
    "precision",
    "cell_occupancy_max",
    "cell_occupancy_chi2",
    "near_duplicates",
)
"""Rows of the table: the metric of each family with the largest pull is shown."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a file of showers; default: the packaged ones")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    task = registry.task("calofast")
    showers = task.read(given.data or task.demo.data_path)  # type: ignore[union-attr]  # this task has one
    comparison = distorted(showers, preset=given.preset, seed=given.seed)
    print(table(comparison))
    print()
    caught = caught_by(comparison)
    for distortion in DISTORTIONS:
        print(f"{distortion.name}: caught by {', '.join(caught[distortion.name]) or 'NOTHING that is meant for it'}")
    if given.json is not None:
        with atomic_file(given.json, force=True) as temporary:
            temporary.write_text(json.dumps(comparison.to_json(), indent=1) + "\n", encoding="utf-8")
    return 0 if all(caught.values()) else 1


def distorted(
    showers: Showers,
    *,
    preset: str = "quick",
    replicas: int = 0,
    seed: int = 0,
    only: Collection[str] = (),
    spectra: bool = True,
) -> Comparison:
    """Compare showers with themselves, distorted; the sample ``nothing`` is not distorted.

    Args:
        showers: of the simulation.
        preset: of the validation; classifiers are left out.
        replicas: of the bootstrap, 0 for the preset's.
        seed: of all draws.
        only: names of distortions; none for all.
        spectra: whether the spectrum of each layer's voxels is compared as well.
    """
    domain: Any = registry.task("calofast").domain
    rows, reference = RowDomain.of(domain, showers, spectra=spectra)
    samples = {d.name: rows.rows(d.apply(showers, seed)) for d in DISTORTIONS if not only or d.name in only}
    settings = Settings(preset=preset, trainings=0, replicas=replicas, seed=seed, default_gates=True)
    return compare(reference, {"nothing": reference, **samples}, rows, settings=settings)


def caught_by(comparison: Comparison) -> Mapping[str, tuple[str, ...]]:
    """For each distortion the metrics meant for it whose default gates fail."""
    failed = {(gate.sample, gate.metric) for gate in comparison.gates if not gate.passed}
    return {
        d.name: tuple(
            metric
            for metric in comparison.samples[d.name]
            if (d.name, metric) in failed and any(fnmatchcase(metric, pattern) for pattern in d.metrics)
        )
        for d in DISTORTIONS
        if d.name in comparison.samples
    }


def table(comparison: Comparison) -> str:
    """Markdown table of pulls: one row a family of metrics, one column a distortion."""
    lines = [
        "| metric | " + " | ".join(comparison.samples) + " |",
        "|---" * (len(comparison.samples) + 1) + "|",
    ]
    failed = {(gate.sample, gate.metric) for gate in comparison.gates if not gate.passed}
    for family in FAMILIES:
        cells = []
        for sample, metrics in comparison.samples.items():
            names = [name for name in metrics if fnmatchcase(name, family)]
            if not names:
                cells.append("-")
                continue
            text = f"{max(metrics[name].pull() for name in names):.1f}"
            cells.append(f"**{text}**" if any((sample, name) in failed for name in names) else text)
        lines.append(f"| `{family}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
