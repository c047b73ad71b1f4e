"""Tutorial: a generator as one file inside of a simulation program (docs/tutorials/embed.md).

The host here is Python with numpy and ONNX Runtime; the C++ host of the page does the same with the same file.

    python examples/tutorial_embed.py --out runs/tutorial-embed
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import calofast as cf
import exporters

HIT_MEV = 0.01


def train(*, epochs: int) -> cf.CaloGenerator:
    """A small student of a small teacher."""
    showers = cf.read_showers(cf.embedded_showers_path(), part=(0.0, 0.8))
    training = {"epochs": epochs, "batch_size": 160, "learning_rate": 2e-3}
    config = cf.CaloFlowConfig(
        preprocessing={"mirrors": ("mirror_x", "mirror_y")},
        layer_energies={"training": training},
        teacher={"blocks": 2, "hidden": (64, 64), "training": training},
        student={"hidden": (64, 64), "training": training | {"epochs": max(1, epochs // 2)}},
    )
    return cf.distill(cf.fit(cf.CaloFlow(showers.geometry, config), showers), showers)


def host(file: Path, energies_gev: list[float], *, seed: int) -> np.ndarray:
    """What a simulation program does: physical conditions in, MeV by cell out, (N, 504); no torch."""
    generator = exporters.OnnxGenerator(file)  # the file is compared with its manifest
    return generator.sample(energies_gev, seed=seed)


def draw(student: np.ndarray, hosted: np.ndarray, tolerance: float, file: Path) -> None:
    """Cell energies of both, and what they differ by."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    lit = (student > HIT_MEV) & (hosted > HIT_MEV)
    left.loglog(student[lit], hosted[lit], ",", color="C0")
    left.set(xlabel="cell energy, torch [MeV]", ylabel="ONNX Runtime [MeV]")
    right.hist(np.log10(np.abs(student - hosted)[lit] + 1e-7), 60, color="C0")
    right.axvline(np.log10(tolerance), color="C3", label="of 99.9 %, allowed\nagainst float64")
    right.set(xlabel="log10 |difference| [MeV]", yticks=[])
    right.legend(fontsize=7)
    figure.savefig(file, dpi=80)


def main(out: Path, *, epochs: int = 12, n: int = 256) -> Path:
    """Train, export, verify, run as a host does, draw; returns the exported file."""
    student = train(epochs=epochs)
    file = out / "student.onnx"
    result = exporters.to_onnx(student, file, force=True)  # checked against float64 torch before it is written
    print(f"{file.name}: {result.n_bytes / 1e6:.1f} MB, parity {result.parity.passed}")
    print(f"on this machine: {'as exported' if exporters.verify(file).passed else 'outside of the tolerance'}")

    energies = np.linspace(5.0, 95.0, n).tolist()
    hosted, own = host(file, energies, seed=7), student.sample(energies, seed=7).voxels_mev
    close = float(np.quantile(np.abs(hosted - own), 0.999))
    print(f"99.9 % of the cells within {close:.2g} MeV; against float64 allowed {result.parity.bound.p999:.2g} MeV")
    draw(own, hosted, result.parity.bound.p999, out / "tutorial-embed.png")
    return file


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/tutorial-embed"))
    main(parser.parse_args().out)
