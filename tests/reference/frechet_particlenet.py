"""Frechet ParticleNet distance (FPND, arXiv 2106.11535) of generated jets to one's own reference jets.

Runs in the environment of requirements.txt (``make test-parity`` sets it up) on JetNet HDF5 files with 30 slots::

    .venv-jetnet/bin/python tests/reference/frechet_particlenet.py test.h5 vnf=vnf.h5 exact=exact.h5 --part 0.8:1

The reference is divided at random into halves A and B of n events; the floor is the distance between A and B, the
value that between A and n generated jets, so both have the bias of n. ``--whole`` compares the whole reference with all
jets of each file instead and knows no floor: give other real jets as one of the files. ``--public g`` takes the
activations of the public JetNet jets that come with jetnet for A: such numbers say how alike the jets are to the public
ones. The answer is JSON: name -> fpnd, error (from quarters), n, floor.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import h5py
import numpy as np
import torch
from make_jet_reference import import_metrics

BATCH = 250


def read(path: Path, part: tuple[float, float]) -> np.ndarray:
    """Particles (N, 30, 3): eta_rel, phi_rel, pT_rel; 0 in empty slots."""
    with h5py.File(path) as file:
        table = file["particle_features"]
        rows = slice(*(round(share * len(table)) for share in part))
        particles = table[rows].astype(np.float32)
    if particles.shape[1] != 30:
        sys.exit(f"{path}: the reference network takes 30 constituents, not {particles.shape[1]}")
    return np.where(particles[..., 3:] > 0, particles[..., :3], np.float32(0))


def activations(particles: np.ndarray) -> np.ndarray:
    """What the reference network's first fully connected layer gives, (N, 256)."""
    import_metrics()
    import jetnet
    from jetnet.datasets import JetNet
    from jetnet.evaluation.particlenet import _ParticleNet

    folder = Path(jetnet.__file__).parent / "evaluation/fpnd_resources/jetnet/30_particles"
    network = _ParticleNet(30, 3)
    network.load_state_dict(torch.load(folder / "pnet_state_dict.pt", map_location="cpu"))
    network.eval()
    jets = torch.from_numpy(particles.copy())
    JetNet.fpnd_norm(jets, inplace=True)
    with torch.no_grad():
        return np.concatenate([network(batch, ret_activations=True).numpy() for batch in torch.split(jets, BATCH)])


def distance(first: tuple[np.ndarray, np.ndarray], second: np.ndarray) -> float:
    """Frechet distance between moments and a sample."""
    metrics = import_metrics()
    return float(metrics._calculate_frechet_distance(*first, *moments(second)))


def moments(sample: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance."""
    return sample.mean(0), np.cov(sample, rowvar=False)


def public_moments(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the public jets' activations."""
    import jetnet

    folder = Path(jetnet.__file__).parent / "evaluation/fpnd_resources/jetnet/30_particles"
    return np.loadtxt(folder / f"{kind}_mu.txt"), np.loadtxt(folder / f"{kind}_sigma.txt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path)
    parser.add_argument("generated", nargs="*", help="NAME=PATH or NAME=PATH@0:0.8, a part of the file")
    parser.add_argument("--whole", action="store_true", help="compare with the whole reference")
    parser.add_argument("--keep", type=Path, help="with --whole: file that keeps the reference's moments, NAME.npz")
    parser.add_argument("--part", default="0:1", help="part of the reference file")
    parser.add_argument("--public", choices="gqt", help="compare all files with the public jets instead")
    parser.add_argument("--first", type=int, help="that many jets of each file")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    samples = {}
    if not options.whole:
        samples["reference"] = activations(read(options.reference, share(options.part))[: options.first])
    for argument in options.generated:
        name, _, place = argument.partition("=")
        path, _, part = place.partition("@")
        samples[name] = activations(read(Path(path), share(part or "0:1"))[: options.first])
    if options.whole:
        reference = reference_moments(options)
        found = {name: against(reference, sample) for name, sample in samples.items()}
    else:
        found = compare(samples, options.public, options.seed)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


def reference_moments(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Moments of the whole reference, from the file that keeps them if they are there."""
    if options.keep is not None and options.keep.exists():
        with np.load(options.keep) as kept:
            return kept["mean"], kept["covariance"]
    mean, covariance = moments(activations(read(options.reference, share(options.part))[: options.first]))
    if options.keep is not None:
        np.savez(options.keep, mean=mean, covariance=covariance)
    return mean, covariance


def share(text: str) -> tuple[float, float]:
    """Read ``0.8:1``."""
    low, high = (float(number) for number in text.split(":"))
    return low, high


def against(reference: tuple[np.ndarray, np.ndarray], sample: np.ndarray) -> dict[str, object]:
    """FPND of a sample, with an error from quarters."""
    quarters = [distance(reference, part) for part in np.array_split(sample, 4)]
    return {"fpnd": distance(reference, sample), "error": float(np.std(quarters, ddof=1)) / 2, "n": len(sample)}


def compare(samples: dict[str, np.ndarray], public: str | None, seed: int) -> dict[str, dict[str, object]]:
    """FPND of all samples."""
    if public is not None:
        first = public_moments(public)
        return {name: {"fpnd": distance(first, sample), "n": len(sample)} for name, sample in samples.items()}
    reference = samples.pop("reference")
    shuffled = np.random.default_rng(seed).permutation(len(reference))
    found = {}
    for name, sample in samples.items():
        n = min(len(reference) // 2, len(sample))
        a, b = moments(reference[shuffled[:n]]), reference[shuffled[n : 2 * n]]
        found[name] = {**against(a, sample[:n]), "floor": distance(a, b)}
    return found


if __name__ == "__main__":
    main()
