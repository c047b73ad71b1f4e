"""Tutorial: what a classifier can repair (docs/tutorials/refine.md).

A generator that was trained too briefly makes showers of 36 coarse cells; DCTR gives its showers weights.

    python examples/tutorial_refine.py --out runs/tutorial-refine
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import calofast as cf
from hepflows.refine import refine
from hepflows.refine.config import RefineConfig
from hepflows.refine.reweight import unweight
from hepflows.weights import effective_sample_size

if TYPE_CHECKING:
    from hepflows.generator import AnyGenerator

EDGES_MM = (-240.0, -40.0, 40.0, 240.0)
DEPTHS_MM = (-240.0, -150.0, 197.0, 240.0)


def coarse_showers() -> cf.Showers:
    """The packaged showers in 3 layers of 3 x 4 cells: small enough to train in seconds."""
    fine = cf.read_showers(cf.embedded_showers_path())
    y_edges = (-240.0, -80.0, 0.0, 80.0, 240.0)
    layers = tuple(
        cf.Layer(name=f"layer_{i}", kind="regular", x_edges_mm=EDGES_MM, y_edges_mm=y_edges, z_mm=DEPTHS_MM[i : i + 2])
        for i in range(3)
    )
    cells = []
    for i, layer in enumerate(fine.geometry.layers):
        part = fine.geometry.layer_slices[i]
        x, y = fine.geometry.x_mm[part], fine.geometry.y_mm[part]
        share = np.zeros((layer.n_voxels, 12), dtype=np.float32)
        cell = (np.digitize(x, EDGES_MM) - 1) * 4 + np.digitize(y, y_edges) - 1
        share[np.arange(layer.n_voxels), cell] = 1
        cells.append(fine.voxels_mev[:, part] @ share)
    return cf.Showers(
        geometry=cf.Geometry(name="coarse", layers=layers),
        incident_energy_gev=fine.incident_energy_gev,
        voxels_mev=np.concatenate(cells, axis=1),
        pdg=fine.pdg,
    )


def train(showers: cf.Showers, *, epochs: int) -> cf.CaloGenerator:
    """A coupling flow that would like to be trained longer."""
    training = {"epochs": epochs, "batch_size": 160, "learning_rate": 2e-3}
    config = cf.CaloFlowConfig(
        architecture="coupling",
        layer_energies={"training": training},
        coupling={"blocks": 4, "width": 32, "training": training},
    )
    return cf.fit(cf.CaloFlow(showers.geometry, config), showers)


def width(showers: cf.Showers) -> np.ndarray:
    """Share of the middle layer's energy outside its four central cells, (N,)."""
    middle = showers.voxels_mev[:, 12:24].reshape(-1, 3, 4)
    return 1 - middle[:, 1, 1:3].sum(axis=1) / np.maximum(middle.sum(axis=(1, 2)), 1e-6)


def distance(full: cf.Showers, fast: cf.Showers) -> float:
    """Kolmogorov-Smirnov distance of the widths."""
    from validation import kolmogorov_smirnov

    return kolmogorov_smirnov(width(full), width(fast), second_weights=fast.weights)


def draw(full: cf.Showers, plain: cf.Showers, weighted: cf.Showers, file: Path) -> None:
    """Widths before and after, and the weights."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    edges = np.quantile(width(full), np.linspace(0.01, 0.99, 25))
    left.hist(width(full), edges, color="0.8", density=True, label="Geant4")
    left.hist(width(plain), edges, histtype="step", color="C1", density=True, label="generated")
    left.hist(
        width(weighted), edges, histtype="step", color="C0", density=True, weights=weighted.weights, label="weighted"
    )
    left.set(xlabel="share of energy outside of the centre", yticks=[])
    left.legend(fontsize=7)
    right.hist(np.log10(np.maximum(weighted.weights, 1e-3)), 40, color="C0")
    right.set(xlabel="log10 weight", yticks=[])
    figure.savefig(file, dpi=80)


def main(out: Path, *, epochs: int = 3, classifier_epochs: int = 60) -> AnyGenerator:
    """Train, refine, measure on held-out showers, draw; returns the refined generator."""
    showers = coarse_showers()
    training, held_out = showers.split(0.8, seed=1)
    generator = train(training, epochs=epochs)
    settings = RefineConfig(copies=4, classifier={"epochs": classifier_epochs})
    weighted = refine(generator, training, "dctr", settings)
    weighted.save(out / "weighted", force=True)

    energies = np.tile(held_out.incident_energy_gev, 5)
    fast = weighted.sample({"incident_energy_gev": energies}, seed=7, out_of_range="clamp")
    plain = generator.sample(energies, seed=7, out_of_range="clamp")  # the same showers without weights
    found = unweight(fast.weights, seed=7)
    print(f"distance of the widths: plain {distance(held_out, plain):.3f}, weighted {distance(held_out, fast):.3f}")
    print(f"effective sample size {effective_sample_size(fast.weights)[0] / len(fast):.0%} of {len(fast)} showers")
    print(f"unweighting keeps {found.efficiency:.1%} of them")
    draw(held_out, plain, fast, out / "tutorial-refine.png")
    return weighted


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/tutorial-refine"))
    main(parser.parse_args().out)
