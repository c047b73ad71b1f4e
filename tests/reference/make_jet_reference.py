"""Reference values of the jet metrics, computed by the public jetnet and energyflow packages.

Run in an environment with requirements.txt; ``make test-parity`` sets one up::

    python make_jet_reference.py            # writes jet_reference.npz and jet_reference.json
    python make_jet_reference.py --check    # computes again and compares

The inputs are random jets made from a seed; nothing of hepflows is imported. jetnet's random generator is replaced by
a seeded one, so that the batches are known. The k-nearest-neighbour graph of the reference ParticleNet (torch_cluster)
is replaced by one written here, which finds the same neighbours and needs no compiler.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import types
import warnings
from importlib import metadata
from pathlib import Path

import numpy as np
import torch

warnings.simplefilter("ignore")
HERE = Path(__file__).resolve().parent
SEED = 20260103
N_JETS, N_SLOTS = 400, 30
BATCHES = {"num_eval_samples": 500, "num_batches": 5}
FPD = {"min_samples": 100, "max_samples": 400, "num_batches": 5, "num_points": 6, "seed": 42}
KPD = {"num_batches": 4, "batch_size": 200, "seed": 42}
MATCHING = {"num_eval_samples": 40, "num_batches": 3}
PACKAGES = ("jetnet", "energyflow", "wasserstein", "numpy", "scipy", "torch", "torch_geometric", "coffea")


def random_jets(rng: np.random.Generator, *, width: float, subjets: int) -> np.ndarray:
    """Jets of 1 to 30 constituents around a few directions, in falling order of pT: (N, P, 3) of eta, phi, pT."""
    n = rng.integers(1, N_SLOTS + 1, N_JETS)
    n[:3] = 1, 2, N_SLOTS
    mask = np.arange(N_SLOTS) < n[:, None]
    pt = np.where(mask, rng.exponential(1, (N_JETS, N_SLOTS)) ** 2, 0)
    pt = -np.sort(-pt / pt.sum(1, keepdims=True) * rng.uniform(0.85, 1, (N_JETS, 1)), axis=1)
    centres = rng.uniform(-width, width, (N_JETS, subjets, 2))
    chosen = rng.integers(0, subjets, (N_JETS, N_SLOTS))
    place = np.take_along_axis(centres, chosen[:, :, None], axis=1) + rng.normal(0, 0.02, (N_JETS, N_SLOTS, 2))
    jets = np.concatenate([place, pt[:, :, None]], axis=2)
    return np.where(mask[:, :, None], jets, 0).astype(np.float32)


def knn_graph(x: torch.Tensor, k: int, batch: torch.Tensor) -> torch.Tensor:
    """Edges (neighbour, point) to the k nearest other points of the same jet; all jets have equally many points."""
    n_jets = int(batch[-1]) + 1
    points = x.reshape(n_jets, -1, x.shape[1])
    distance = (points[:, :, None] - points[:, None]).square().sum(3)
    distance.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    nearest = distance.topk(k, dim=2, largest=False).indices
    offset = points.shape[1] * torch.arange(n_jets)[:, None, None]
    source = (nearest + offset).reshape(-1)
    target = torch.arange(len(x)).repeat_interleave(k)
    return torch.stack([source, target])


def import_metrics() -> types.ModuleType:
    """jetnet's metrics with the graph above."""
    import torch_geometric.nn  # noqa: F401 - looks for torch_cluster itself, before the stand-in is there

    stand_in = types.ModuleType("torch_cluster")
    stand_in.knn_graph = knn_graph
    sys.modules["torch_cluster"] = stand_in
    from jetnet.evaluation import gen_metrics

    return gen_metrics


def compute() -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """All inputs and reference values: arrays and numbers."""
    metrics = import_metrics()
    import energyflow
    from jetnet import utils

    rng = np.random.default_rng(SEED)
    first, second = random_jets(rng, width=0.15, subjets=3), random_jets(rng, width=0.14, subjets=3)
    features = [metrics.get_fpd_kpd_jet_features(jets, efp_jobs=1) for jets in (first, second)]
    efpset = energyflow.EFPSet(("d<=", 4), measure="hadr", beta=1, normed=None, coords="ptyphim")
    arrays = {"first": first, "second": second, "efps_first": features[0], "efps_second": features[1]}
    arrays["mass_first"] = np.asarray(utils.jet_features(first.astype(np.float64))["mass"])
    arrays["prime_efps_first"] = utils.efps(first, efp_jobs=1)
    swapped = [jets[:60, :, [2, 0, 1]] for jets in (first, second)]
    arrays["emds"] = energyflow.emd.emds(*swapped, n_jobs=1)

    numbers: dict[str, object] = {"graphs": [list(map(list, graph)) for graph in efpset.graphs()]}
    numbers["settings"] = {"seed": SEED, "w1": BATCHES, "fpd": FPD, "kpd": KPD, "matching": MATCHING}

    def seeded(function, *args, **options):
        metrics.rng = np.random.default_rng(SEED)
        return [np.asarray(part, np.float64).tolist() for part in function(*args, **options)]

    numbers["w1m"] = seeded(metrics.w1m, first.astype(np.float64), second.astype(np.float64), **BATCHES)
    numbers["w1p"] = seeded(metrics.w1p, first, second, **BATCHES)
    numbers["w1efp"] = seeded(metrics.w1efp, first, second, efp_jobs=1, **BATCHES)
    numbers["cov_mmd"] = seeded(metrics.cov_mmd, first, second, use_tqdm=False, **MATCHING)
    numbers["fpd"] = [float(number) for number in metrics.fpd(*features, **FPD)]
    numbers["kpd"] = [float(number) for number in metrics.kpd(*features, **KPD)]
    moments = [m for f in features for m in (f.mean(0), np.cov(f, rowvar=False))]
    numbers["frechet"] = float(metrics._calculate_frechet_distance(*moments))
    numbers["fpnd"] = {
        kind: float(metrics.fpnd(first, kind, device="cpu", batch_size=100, use_tqdm=False)) for kind in "gqt"
    }
    numbers["versions"] = {name: metadata.version(name) for name in PACKAGES} | {"python": platform.python_version()}
    return arrays, numbers


def differences(arrays: dict[str, np.ndarray], numbers: dict[str, object]) -> list[str]:
    """Names of what differs from the stored values by more than rounding."""
    with np.load(HERE / "jet_reference.npz") as file:
        stored = dict(file)
    kept = json.loads((HERE / "jet_reference.json").read_text())
    found = [name for name, a in arrays.items() if not np.allclose(a, stored[name], rtol=1e-5, atol=1e-9)]
    names = ("w1m", "w1p", "w1efp", "cov_mmd", "fpd", "kpd", "frechet")
    found += [n for n in names if not np.allclose(np.ravel(numbers[n]), np.ravel(kept[n]), rtol=1e-4, atol=1e-9)]
    found += [f"fpnd {k}" for k, v in numbers["fpnd"].items() if not np.isclose(v, kept["fpnd"][k], rtol=1e-3)]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the stored values")
    check = parser.parse_args().check
    arrays, numbers = compute()
    if not check:
        np.savez_compressed(HERE / "jet_reference.npz", **arrays)
        (HERE / "jet_reference.json").write_text(json.dumps(numbers, indent=1) + "\n")
        return 0
    wrong = differences(arrays, numbers)
    sys.stdout.write(f"differs: {', '.join(wrong)}\n" if wrong else "all reference values are reproduced\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
