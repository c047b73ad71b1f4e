"""Tutorial: jets with exact masses (docs/tutorials/jets.md).

python examples/tutorial_jets.py --out runs/tutorial-jets
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import jetgen as jg

WINDOW = (0.15, 0.19)
"""Of the relative mass, around that of the top quark for jets of about 1 TeV."""


def train(jets: jg.Jets, *, epochs: int) -> jg.JetGenerator:
    """The preset `exact`: a coupling flow whose jets have the mass that was asked for."""
    flow = jg.JetFlow("exact", coupling={"blocks": 6, "width": 64}, training={"epochs": epochs, "batch_size": 128})
    return jg.fit(flow, jets)


def draw(held_out: jg.Jets, free: jg.Jets, window: jg.Jets, file: Path) -> None:
    """Masses, the asked-for window, and transverse momenta of constituents."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    edges = np.linspace(0, 0.25, 40)
    left.hist(held_out.mass_rel, edges, color="0.8", density=True, label="Pythia")
    left.hist(free.mass_rel, edges, histtype="step", color="C1", density=True, label="generated")
    left.hist(window.mass_rel, edges, histtype="step", color="C0", density=True, label="asked for: a window")
    left.set(xlabel="mass / pT of the jet", yticks=[])
    left.legend(fontsize=7)
    middle.hist(np.log10(np.abs(window.mass_rel / window.mass_condition - 1) + 1e-9), 40, color="C0")
    middle.set(xlabel="log10 |mass / asked for - 1|", yticks=[])
    edges = np.linspace(-4, 0, 40)
    for jets, style in ((held_out, {"color": "0.8"}), (free, {"histtype": "step", "color": "C1"})):
        right.hist(np.log10(jets.pt_rel[jets.mask] + 1e-9), edges, density=True, **style)
    right.set(xlabel="log10 pT of constituents / pT of the jet", yticks=[])
    figure.savefig(file, dpi=80)


def main(out: Path, *, epochs: int = 10, n: int = 1000) -> jg.Jets:
    """Train, generate jets like the training jets and in a mass window, draw; returns those of the window."""
    jets = jg.read_jets(jg.embedded_jets_path())
    training, held_out = jets.select(slice(0, 6400)), jets.select(slice(6400, None))
    generator = train(training, epochs=epochs)
    generator.save(out / "generator", force=True)

    free = generator.sample(n=n, seed=7)  # masses and multiplicities drawn like the training jets'
    asked = generator.draw_conditions(n, seed=7, ranges={"mass": WINDOW})
    window = generator.sample(asked, seed=7)
    jg.write_jets(window, out / "window.h5", force=True)

    off = np.abs(window.mass_rel / asked["mass"] - 1).max()
    print(f"mean mass: Pythia {held_out.mass_rel.mean():.4f}, generated {free.mass_rel.mean():.4f}")
    print(f"in the window {WINDOW}: {np.mean((window.mass_rel > 0.1499) & (window.mass_rel < 0.1901)):.0%} of the jets")
    print(f"largest deviation from the mass asked for: {off:.1e}")
    draw(held_out, free, window, out / "tutorial-jets.png")
    return window


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/tutorial-jets"))
    main(parser.parse_args().out)
