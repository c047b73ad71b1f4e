"""Tutorial: one sample, many jobs (docs/tutorials/scale-out.md).

Each shard is what a job of a batch system makes; put together they are the sample that one job would have made.

    python examples/tutorial_scale_out.py --out runs/tutorial-scale-out --jobs 4
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np

import calofast as cf

EVENTS, SEED, TILE = 2000, 7, 256


def train(out: Path, *, epochs: int) -> None:
    """A small generator, saved as an artefact that the jobs read."""
    showers = cf.read_showers(cf.embedded_showers_path())
    training = {"epochs": epochs, "batch_size": 160, "learning_rate": 2e-3}
    config = cf.CaloFlowConfig(
        architecture="coupling",
        layer_energies={"training": training},
        coupling={"blocks": 4, "width": 32, "training": training},
    )
    cf.fit(cf.CaloFlow(showers.geometry, config), showers).save(out, force=True)


def command(artefact: Path, out: Path, *options: str) -> list[str]:
    """The command line of one job."""
    what = ["--energy", "5..95GeV", "-n", str(EVENTS), "--seed", str(SEED)]
    return [
        sys.executable,
        "-m",
        "hepflows",
        "generate",
        str(artefact),
        *what,
        "--threads",
        "1",
        "--out",
        str(out),
        *options,
    ]


def draw(parts: list[cf.Showers], whole: cf.Showers, file: Path) -> None:
    """Which events each job made, in tiles of 256, over the energies of the whole sample."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.4), layout="constrained")
    axis = figure.subplots()
    axis.plot(whole.e_tot_mev / 1000, ",", color="0.6")
    first = 0
    for number, part in enumerate(parts, start=1):
        axis.plot(np.arange(first, first + len(part), 8), part.e_tot_mev[::8] / 1000, ".", ms=3, label=f"job {number}")
        first += len(part)
    for edge in range(0, EVENTS, TILE):
        axis.axvline(edge, color="0.85", lw=0.5, zorder=0)
    axis.set(xlabel="event", ylabel="energy in the cells [GeV]", xlim=(0, EVENTS))
    axis.legend(fontsize=7, loc="upper right")
    figure.savefig(file, dpi=80)


def main(out: Path, *, jobs: int = 4, epochs: int = 6) -> bool:
    """Train, run all jobs at once and one job alone, compare, draw; returns whether every bit agrees."""
    artefact = out / "generator"
    train(artefact, epochs=epochs)
    files = [out / f"shard-{number}.h5" for number in range(1, jobs + 1)]
    running = [
        subprocess.Popen(command(artefact, file, "--shard", f"{number}/{jobs}", "--force"))  # noqa: S603 - our own command
        for number, file in enumerate(files, start=1)
    ]
    if any(job.wait() for job in running):
        raise SystemExit("a job failed; its message stands above")
    subprocess.run(command(artefact, out / "whole.h5", "--force"), check=True)  # noqa: S603

    parts, whole = [cf.read_showers(file) for file in files], cf.read_showers(out / "whole.h5")
    joined = cf.Showers.concatenate(parts)
    same = np.array_equal(joined.voxels_mev, whole.voxels_mev)
    verdict = "identical to the bit" if same else "DIFFERENT"
    print(f"jobs made {[len(part) for part in parts]} of {len(whole)} events; {verdict}")
    draw(parts, whole, out / "tutorial-scale-out.png")
    return same


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/tutorial-scale-out"))
    parser.add_argument("--jobs", type=int, default=4)
    options = parser.parse_args()
    if not main(options.out, jobs=options.jobs):
        raise SystemExit(1)
