"""Reference values of FPD and KPD of shower-like features, computed by the public jetnet package.

Run in an environment with requirements.txt; ``make test-parity`` sets one up::

    python make_feature_reference.py            # writes feature_reference.json
    python make_feature_reference.py --check    # computes again and compares

The features are made from a seed: like those of showers they have very different sizes and offsets, and are linearly
correlated, some of them nearly so. Nothing of hepflows is imported.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from importlib import metadata
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
SEED = 20260104
N_FIRST, N_SECOND, N_FEATURES = 1500, 1200, 24
FPD = {"min_samples": 300, "max_samples": 1200, "num_batches": 6, "num_points": 5, "seed": 42}
KPD = {"num_batches": 5, "batch_size": 400, "seed": 42}


def features() -> tuple[np.ndarray, np.ndarray]:
    """Two samples (1500, 24) and (1200, 24) of slightly different distributions."""
    rng = np.random.default_rng(SEED)
    mixing = rng.normal(size=(N_FEATURES, N_FEATURES)) * np.geomspace(1, 0.03, N_FEATURES)
    sizes, offsets = np.geomspace(0.01, 30, N_FEATURES), rng.normal(size=N_FEATURES)
    first, second = (rng.normal(size=(n, N_FEATURES)) for n in (N_FIRST, N_SECOND))
    second = 1.05 * second + 0.05
    first[:, 3], second[:, 3] = np.exp(first[:, 3]), np.exp(second[:, 3])
    return tuple((values @ mixing + offsets) * sizes for values in (first, second))


def compute() -> dict[str, object]:
    """Settings and reference values."""
    from make_jet_reference import import_metrics  # needs jetnet, unlike the features, which the tests make, too

    warnings.simplefilter("ignore")
    metrics = import_metrics()
    first, second = features()
    return {
        "settings": {"seed": SEED, "fpd": FPD, "kpd": KPD},
        "checksum": [float(np.abs(values).sum()) for values in (first, second)],
        "fpd": [float(number) for number in metrics.fpd(first, second, **FPD)],
        "kpd": [float(number) for number in metrics.kpd(first, second, **KPD)],
        "versions": {name: metadata.version(name) for name in ("jetnet", "numpy", "scipy")},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the stored values")
    check = parser.parse_args().check
    found = compute()
    path = HERE / "feature_reference.json"
    if not check:
        path.write_text(json.dumps(found, indent=1) + "\n")
        return 0
    kept = json.loads(path.read_text())
    wrong = [name for name in ("checksum", "fpd", "kpd") if not np.allclose(found[name], kept[name], rtol=1e-7, atol=0)]
    sys.stdout.write(f"differs: {', '.join(wrong)}\n" if wrong else "all reference values are reproduced\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
