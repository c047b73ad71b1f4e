"""Tutorial: how wrong is a generator, and would you notice? (docs/tutorials/validate.md).

Generators with known faults are made from Geant4's own showers, so that the right answer is known beforehand.

    python examples/tutorial_validate.py --out runs/tutorial-validate
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

import calofast as cf
import validation

SHOWN = ("e_tot_ratio_mean", "layer_fraction_0_bin_2", "separation_mean", "cell_occupancy_max", "layer_correlations")


def faulty(showers: cf.Showers) -> dict[str, cf.Showers]:
    """Samples by name: right, 2 % too much energy, and layers that do not belong together."""
    rng = np.random.default_rng(1)
    shuffled = showers.voxels_mev.copy()
    first = showers.geometry.layer_slices[0]
    # neighbours in energy exchange their first layers, so that only the correlation of the layers is lost
    order = np.argsort(showers.incident_energy_gev)
    partner = order[np.clip(np.arange(len(order)) + rng.choice([-3, 3], len(order)), 0, len(order) - 1)]
    shuffled[order, first] = showers.voxels_mev[partner, first]
    return {
        "right": showers,
        "scaled": replace(showers, voxels_mev=showers.voxels_mev * np.float32(1.02)),
        "shuffled": replace(showers, voxels_mev=shuffled),
    }


def pull(metric: validation.Metric) -> float:
    """(value - floor) / error; for ratios, which have no floor but 1, (value - 1) / error."""
    perfect = metric.target if metric.two_sided or metric.floor is None else metric.floor
    return (metric.value - perfect) / metric.error


def compare(n: int, *, replicas: int = 0) -> validation.Comparison:
    """The faulty samples against n other showers, at n showers a sample."""
    showers = cf.read_showers(cf.embedded_showers_path(), first=2 * n)
    reference, rest = showers.split(0.5, seed=1)
    settings = validation.Settings(
        trainings=0,  # no classifier test, which takes minutes
        replicas=replicas,
        gates={"e_tot_ratio_mean": validation.Gate(max=0.01), "separation_mean": validation.Gate(k=3, m=3)},
    )
    return validation.compare(reference, faulty(rest), cf.OBSERVABLES, settings=settings)


def draw(found: dict[int, validation.Comparison], file: Path) -> None:
    """Pulls of some metrics against the number of showers."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.8), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    for axis, sample in zip(axes, ("right", "scaled", "shuffled"), strict=True):
        axis.axhspan(-3, 3, color="0.92")
        for name in SHOWN:
            axis.plot(list(found), [pull(found[n].samples[sample][name]) for n in found], "o-", ms=3, label=name)
        axis.set(title=sample, xlabel="showers a sample", xscale="log", yscale="symlog")
    axes[0].set_ylabel("(value - perfect) / error")
    axes[0].legend(fontsize=6)
    figure.savefig(file, dpi=80)


def main(out: Path, *, sizes: tuple[int, ...] = (500, 1000, 2000), replicas: int = 0) -> validation.Comparison:
    """Compare at several sizes, print pulls and gates, write the report of the largest, draw; returns the largest."""
    found = {n: compare(n, replicas=replicas) for n in sizes}
    for n, comparison in found.items():
        for sample, metrics in comparison.samples.items():
            pulls = "  ".join(f"{name} {pull(metrics[name]):+.1f}" for name in SHOWN)
            print(f"n = {n:5} {sample:9} {pulls}")
    largest = found[sizes[-1]]
    for outcome in largest.gates:
        print(f"gate {outcome.metric} of {outcome.sample}: {'passed' if outcome.passed else 'FAILED'}")
    largest.write(out / "report", force=True)
    draw(found, out / "tutorial-validate.png")
    return largest


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/tutorial-validate"))
    main(parser.parse_args().out)
