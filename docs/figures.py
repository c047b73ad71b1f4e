"""Draw the pictures of concepts.md: python docs/figures.py [DIRECTORY], by default docs/images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

IMAGES = Path(__file__).with_name("images")
GIVEN, NET, MADE = "#dde7f2", "#f7e3c8", "#dcefd9"


def _box(axes: Axes, x: float, text: str, colour: str, y: float) -> None:
    axes.text(x, y, text, ha="center", va="center", fontsize=9, bbox={"boxstyle": "round,pad=0.5", "fc": colour})


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "lw": 1.2, "color": "0.3"})


def two_stages(file: Path) -> None:
    """From energy and noise over layer energies to cells."""
    figure = Figure(figsize=(9, 2.4), layout="constrained")
    axes = figure.subplots()
    axes.axis("off")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    for x, y, text, colour in (
        (0.07, 0.75, "incident energy,\nconditions", GIVEN),
        (0.07, 0.2, "noise", GIVEN),
        (0.27, 0.5, "Flow I", NET),
        (0.45, 0.5, "energy of\neach layer", MADE),
        (0.63, 0.5, "Flow II", NET),
        (0.8, 0.5, "shares of\nthe cells", MADE),
        (0.95, 0.5, "cells\nin MeV", MADE),
    ):
        _box(axes, x, text, colour, y)
    for start, end in (
        ((0.15, 0.72), (0.235, 0.56)),
        ((0.105, 0.22), (0.235, 0.44)),
        ((0.31, 0.5), (0.39, 0.5)),
        ((0.51, 0.5), (0.59, 0.5)),
        ((0.67, 0.5), (0.745, 0.5)),
        ((0.855, 0.5), (0.912, 0.5)),
    ):
        _arrow(axes, start, end)
    axes.annotate(
        "",
        (0.63, 0.4),
        (0.105, 0.17),
        arrowprops={"arrowstyle": "->", "color": "0.6", "connectionstyle": "arc3,rad=0.18"},
    )
    axes.annotate(
        "",
        (0.63, 0.6),
        (0.15, 0.8),
        arrowprops={"arrowstyle": "->", "color": "0.6", "connectionstyle": "arc3,rad=-0.12"},
    )
    axes.annotate(
        "",
        (0.95, 0.66),
        (0.45, 0.66),
        arrowprops={"arrowstyle": "->", "color": "C2", "connectionstyle": "arc3,rad=-0.22"},
    )
    axes.text(
        0.78, 0.93, "each layer is scaled to its energy: energy is conserved", ha="center", fontsize=8, color="C2"
    )
    figure.savefig(file, dpi=80)


def exact_sampling(file: Path, *, dimensions: int = 12) -> None:
    """Which outputs are computed in which step: D whole passes, against each row once."""
    used = np.eye(dimensions)
    naive = 1 + used  # every pass computes every row, and uses one
    once = used * 2
    figure = Figure(figsize=(7.5, 3.4), layout="constrained")
    for axes, grid, title in (
        (figure.add_subplot(1, 2, 1), naive, f"D passes: {dimensions * dimensions} rows computed"),
        (figure.add_subplot(1, 2, 2), once, f"each unit once: {dimensions} rows computed"),
    ):
        axes.pcolormesh(grid, cmap="Oranges", vmin=0, vmax=2.6, edgecolors="white", lw=0.5)
        axes.set(title=title, xlabel="dimension", ylabel="step", xticks=[], yticks=[])
        axes.set_aspect("equal")
        axes.invert_yaxis()
    figure.text(0.5, -0.03, "dark: computed and used    light: computed and thrown away", ha="center", fontsize=8)
    figure.savefig(file, dpi=80, bbox_inches="tight")


def exact_mass(file: Path, *, seed: int = 3, wanted: float = 0.11) -> None:
    """The mass of a jet against a common scale of its angles, and the jet before and after."""
    import torch

    import jetgen as jg

    jets = jg.read_jets(jg.embedded_jets_path(), first=seed + 1)
    eta, phi, pt, mask = (array[seed] for array in (jets.eta_rel, jets.phi_rel, jets.pt_rel, jets.mask))
    scales = np.linspace(0.2, 2.0, 60)
    angles = [torch.tensor(array, dtype=torch.float64) for array in (eta, phi, pt)]
    masses = np.array([float(jg.mass_rel(s * angles[0], s * angles[1], angles[2])) for s in scales])
    scale = float(np.exp(np.interp(np.log(wanted), np.log(masses), np.log(scales))))
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(scales, masses, color="C0")
    left.axhline(wanted, color="C1", lw=1)
    left.axvline(scale, color="C1", lw=1, ls=":")
    left.plot(1, np.interp(1.0, scales, masses), "o", color="0.5")
    left.set(xlabel="common scale of all angles", ylabel="mass / pT of the jet")
    left.text(1.15, wanted * 1.08, "the mass asked for", fontsize=8, color="C1")
    for factor, colour, label in ((1.0, "0.6", "a jet"), (scale, "C1", "scaled")):
        right.scatter(
            factor * eta[mask], factor * phi[mask], 900 * pt[mask] + 4, color=colour, alpha=0.6, lw=0, label=label
        )
    right.set(xlabel="eta from the axis", ylabel="phi from the axis")
    right.set_aspect("equal", adjustable="datalim")
    right.legend(fontsize=7)
    figure.savefig(file, dpi=80)


def main(directory: Path = IMAGES) -> None:
    """Draw all of them."""
    directory.mkdir(parents=True, exist_ok=True)
    two_stages(directory / "concept-two-stages.png")
    exact_sampling(directory / "concept-exact-sampling.png")
    exact_mass(directory / "concept-exact-mass.png")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
