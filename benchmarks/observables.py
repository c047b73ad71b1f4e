"""Speed and memory of the validation's observables: showers to arrays.

python -m benchmarks.observables --json observables.json
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

import calofast as cf
from benchmarks.options import Options, parse, run
from benchmarks.showing import describe, show_notes, show_sides
from benchmarks.sides import Side, calling, measure
from calofast.classifier_inputs import feature_matrix
from calofast.observables import default_threshold_mev
from calofast.shower_observables import event_observables
from calofast.shower_profiles import profile_observables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_COPIES = 6  # arrays of the showers' size that one side holds at most


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(__doc__ or "", argv, batches=(1000, 10_000, 100_000), quick_batches=(1000, 10_000))
    return run("observables", dataclasses.replace(options, peers=()), work, show=show, draw=draw)


def work(options: Options) -> dict[str, Any]:
    """Measure everything on the packaged showers, repeated as often as needed."""
    packaged = cf.read_showers(cf.embedded_showers_path())
    showers = packaged.select(np.arange(max(options.batches)) % len(packaged))
    threshold = default_threshold_mev(showers.geometry)

    def on_showers(function: Callable[..., object], **settings: object) -> Side:
        return Side(
            call=lambda n: calling(lambda: function(showers.select(slice(0, n)), **settings)),
            bytes_per_event=_COPIES * 4 * showers.geometry.n_voxels,
        )

    sides = {
        "all observables": on_showers(cf.OBSERVABLES.observables),
        "response and profiles": on_showers(cf.OBSERVABLES.response),
        "hit threshold": on_showers(cf.Showers.with_threshold, threshold_mev=threshold),
        "layers, centres, widths": on_showers(event_observables),
        "distances from the axis": on_showers(profile_observables),
        "classifier inputs, log": on_showers(feature_matrix, inputs="log", caloflow=False, threshold_mev=threshold),
    }
    measured = measure(sides, options.batches, options.effort)
    return {
        "geometry": showers.geometry.name,
        "voxels": showers.geometry.n_voxels,
        "observables_us": {k: 1e3 * ms for k, ms in measured.ms("all observables").items()},
        "observables_s": {k: 1e-3 * ms for k, ms in measured.ms("all observables", per_event=False).items()},
        "peak_mib": {str(k): peak for k, peak in measured.peaks["all observables"].items()},
        "not_run": measured.left_out,
        "sides": measured.to_dict(),
    }


def show(results: Mapping[str, Any]) -> None:
    """Print tables."""
    console, batches = Console(), results["settings"]["batches"]
    title = f"observables of {results['voxels']} voxels"
    show_sides(console, f"{title}: ms per shower, median of wall times, by showers", results["sides"], batches)
    show_sides(console, f"{title}: growth of memory in MiB", results["sides"], batches, key="peak_mib")
    show_notes(console, results)


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Time against batch."""
    from benchmarks.plot import plot_results

    plot_results(results["sides"], path, title="Observables of showers", subtitle=describe(results))


if __name__ == "__main__":
    raise SystemExit(main())
