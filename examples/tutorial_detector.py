"""Tutorial: from hits in a ROOT file to a generator for your own detector (docs/tutorials/detector.md).

python examples/tutorial_detector.py tests/data/detector_hits.root --out runs/tutorial-detector
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import calofast as cf

LAYERS = {"front": (-240.0, -150.0, 24, 12), "middle": (-150.0, 197.0, 12, 12), "back": (197.0, 240.0, 6, 6)}
"""z of the faces in mm, cells along x and y; all cover |x|, |y| < 240 mm."""


def my_calorimeter() -> cf.Geometry:
    """Three layers of regular cells; hits carry x, y and z, so faces in z are all that tells the layers."""
    layers = tuple(
        cf.Layer(
            name=name,
            kind="regular",
            x_edges_mm=tuple(np.linspace(-240.0, 240.0, nx + 1)),
            y_edges_mm=tuple(np.linspace(-240.0, 240.0, ny + 1)),
            z_mm=(front, back),
        )
        for name, (front, back, nx, ny) in LAYERS.items()
    )
    return cf.Geometry(name="my_calorimeter", layers=layers)


def read(file: Path) -> cf.Showers:
    """The positron showers of the file, binned into our own cells."""
    return cf.read_showers(file, geometry=my_calorimeter(), pdg=-11)


def train(showers: cf.Showers, *, epochs: int) -> cf.CaloGenerator:
    """One coupling flow, fast in both directions, small enough for a few hundred showers."""
    training = {"epochs": epochs, "batch_size": 64, "learning_rate": 2e-3}
    config = cf.CaloFlowConfig(
        architecture="coupling",
        preprocessing={"mirrors": ("mirror_x", "mirror_y")},
        layer_energies={"training": training | {"epochs": 2 * epochs}},
        coupling={"blocks": 8, "width": 64, "training": training},
    )
    return cf.fit(cf.CaloFlow(showers.geometry, config), showers)


def draw(full: cf.Showers, fast: cf.Showers, file: Path) -> None:
    """Energy by layer and lit cells, generated beside simulated."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.6), layout="constrained")
    axes = figure.subplots(1, 4)
    names = [layer.name for layer in full.geometry.layers]
    panels = [
        (f"energy in {name} / incident", lambda s, i=i: s.layer_energies_mev[:, i] / s.incident_energy_gev / 1000)
        for i, name in enumerate(names)
    ]
    panels.append(("lit cells", lambda s: (s.voxels_mev > 0.01).sum(axis=1)))
    for axis, (label, value) in zip(axes, panels, strict=True):
        edges = np.histogram_bin_edges(value(full), bins=15)
        axis.hist(value(full), edges, histtype="stepfilled", color="0.8", density=True, label="Geant4")
        axis.hist(value(fast), edges, histtype="step", color="C1", density=True, label="generated")
        axis.set_xlabel(label)
        axis.set_yticks([])
    axes[0].legend(fontsize=7)
    figure.savefig(file, dpi=80)


def main(file: Path, out: Path, *, epochs: int = 60) -> cf.Showers:
    """Read, train, save, generate at the energies of held-out showers, draw; returns the generated showers."""
    showers = read(file)
    print(
        f"{len(showers)} showers, {showers.geometry.n_voxels} cells, up to {showers.incident_energy_gev.max():.0f} GeV"
    )
    training, held_out = showers.split(0.8, seed=1)
    generator = train(training, epochs=epochs)
    generator.save(out / "generator", force=True)
    fast = generator.sample(held_out.incident_energy_gev, seed=7, out_of_range="clamp")
    cf.write_showers(fast, out / "fast.root", force=True)
    for name, sample in (("Geant4", held_out), ("generated", fast)):
        ratio = sample.e_tot_mev / sample.incident_energy_gev / 1000
        print(f"{name:10} E_tot / E_inc {ratio.mean():.4f}, spread {ratio.std():.4f}")
    draw(held_out, fast, out / "tutorial-detector.png")
    return fast


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/tutorial-detector"))
    options = parser.parse_args()
    main(options.file, options.out)
