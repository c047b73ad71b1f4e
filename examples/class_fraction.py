"""Fraction of quark jets in a mixture with gluon jets, by likelihood ratios from a classifier and from flows.

Jets x of a sample with the fraction f of quarks have the density f q(x) + (1 - f) g(x), so that the likelihood of f
needs only the ratio r(x) = q(x) / g(x): sum log(f r + 1 - f). Twice it is learned, from jets of either class: by a
classifier (Cranmer, Pavez, Louppe, arXiv:1506.02169; `hepflows.classifier`, whose weight is r), and by a flow for each
class, whose own likelihoods are divided. Neither is exact, and fractions by them are biased by up to two errors: as in
that paper, r is then only an observable, whose densities are taken from jets that the training has not seen. Intervals
follow from -2 ln of the likelihood over its largest value, by Wilks' theorem and by the quantile of toys; further toys
tell their coverage.

    python examples/class_fraction.py q.hdf5 g.hdf5
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hepflows.autoregressive_flow import NetworkConfig, autoregressive_flow
from hepflows.classifier import ClassifierConfig, fit_ratio
from hepflows.observable_files import read_observables
from hepflows.scaling import Scaling
from hepflows.train.loop import fit
from hepflows.train.objectives import MaximumLikelihood
from hepflows.train.seeding import seeded
from hepflows.train.settings import TrainingConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from hepflows.flow import ConditionalFlow

    Floats = NDArray[np.float64]
    Ratio = Callable[[Floats], Floats]

OBSERVABLES = ("mass_rel", "width", "multiplicity", "dispersion")
GRID = np.linspace(0, 1, 201)
WILKS_68 = 0.9889
"""68 % quantile of chi-square with one degree of freedom."""


def classifier_ratio(quarks: Floats, gluons: Floats, *, epochs: int = 20, seed: int = 1) -> Ratio:
    """Ratio q / g of jets (K, D) from a calibrated classifier between (N, D) and (M, D)."""
    settings = ClassifierConfig(
        hidden=(48, 48), epochs=epochs, batch_size=250, calibration="affine", max_weight=1000.0, warn_ess=0.0
    )
    reference, generated = (sample.astype(np.float32) for sample in (quarks, gluons))
    model = fit_ratio(reference, generated, settings, seed=seed, what="quark and gluon jets").model
    return lambda x: model.weights(torch.tensor(x, dtype=torch.float32))


def flow_ratio(quarks: Floats, gluons: Floats, *, epochs: int = 20, seed: int = 1) -> Ratio:
    """The same from the likelihoods of two flows."""
    scaling = Scaling([False] * quarks.shape[1])
    scaling.fit(torch.tensor(quarks), torch.tensor(gluons))
    scaled = [scaling(torch.tensor(sample, dtype=torch.float32))[0] for sample in (quarks, gluons)]
    flows = [_density(y, epochs=epochs, seed=seed) for y in scaled]

    @torch.no_grad()
    def ratio(x: Floats) -> Floats:
        y = scaling(torch.tensor(x, dtype=torch.float32))[0]
        return np.asarray((flows[0].log_prob(y) - flows[1].log_prob(y)).double().exp().numpy())

    return ratio


def _density(y: torch.Tensor, *, epochs: int, seed: int) -> ConditionalFlow:
    with seeded(seed):
        flow = autoregressive_flow(y.shape[1], 0, NetworkConfig(blocks=3, hidden=(32, 32)))
    n = len(y) // 10
    objective = MaximumLikelihood(flow, lambda rows: (y[n:][rows], None), lambda: (y[:n], None))
    settings = TrainingConfig(epochs=epochs, batch_size=100, learning_rate=3e-3, schedule="cosine")
    fit(flow, objective, len(y) - n, settings, seed=seed)
    return flow


def calibrated(ratio: Ratio, quarks: Floats, gluons: Floats, *, bins: int = 20) -> Ratio:
    """The ratio of the densities of `ratio` itself, from histograms of jets (N, D) and (M, D) that it has not seen."""
    seen = [ratio(quarks), ratio(gluons)]
    edges = np.quantile(np.concatenate(seen), np.arange(1, bins) / bins)
    # half a jet more in each bin, so that no ratio is infinite
    counts = [np.bincount(np.digitize(values, edges), minlength=bins) + 0.5 for values in seen]
    table = (counts[0] / counts[0].sum()) / (counts[1] / counts[1].sum())

    def looked_up(x: Floats) -> Floats:
        return np.asarray(table[np.digitize(ratio(x), edges)])

    return looked_up


def experiments(
    ratio: Ratio, quarks: Floats, gluons: Floats, fraction: float, *, n: int, toys: int, seed: int
) -> tuple[Floats, Floats]:
    """Estimates (T,) and -2 ln likelihood ratio at the true fraction (T,) of toys of n jets, drawn from both sets."""
    rng = np.random.default_rng(seed)
    r = [ratio(sample) for sample in (quarks, gluons)]
    estimates, statistic = np.empty(toys), np.empty(toys)
    for toy in range(toys):
        k = rng.binomial(n, fraction)
        drawn = np.concatenate([rng.choice(r[0], k), rng.choice(r[1], n - k)])
        summed = np.log(1e-12 + 1 + GRID[:, None] * (drawn - 1)).sum(axis=1)
        at = int(np.argmin(np.abs(GRID - fraction)))
        estimates[toy], statistic[toy] = GRID[summed.argmax()], 2 * (summed.max() - summed[at])
    return estimates, statistic


def coverage(statistic: Floats, threshold: float) -> float:
    """Share of experiments whose interval contains the truth."""
    return float((statistic <= threshold).mean())


def read(path: Path, part: tuple[float, float]) -> Floats:
    """Observables (N, D) of the jets of a part of a file; multiplicities are spread over their steps for the flows."""
    selection: dict[str, Any] = {"part": part, "first": 12_500}
    table = read_observables(path, observables=OBSERVABLES, conditions=None, selection=selection)
    values = table.select(table.complete()).values
    whole = np.array([name == "multiplicity" for name in OBSERVABLES])
    return values + whole * np.random.default_rng(0).uniform(-0.5, 0.5, values.shape)


def main() -> None:
    """Train and calibrate on a quarter of both files each, find thresholds and tell the coverage on 15 % each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("quarks", type=Path)
    parser.add_argument("gluons", type=Path)
    options = parser.parse_args()
    parts = ((0.0, 0.25), (0.25, 0.5), (0.5, 0.65), (0.65, 0.8))  # the last fifth of the files stays unseen
    sets = [(read(options.quarks, part), read(options.gluons, part)) for part in parts]
    for name, train in (("classifier", classifier_ratio), ("flows", flow_ratio)):
        ratio = train(*sets[0])
        for how, used in (("as learned", ratio), ("calibrated", calibrated(ratio, *sets[1]))):
            for fraction in (0.2, 0.5, 0.8):
                _, toys = experiments(used, *sets[2], fraction, n=200, toys=1000, seed=1)
                threshold = float(np.quantile(toys, 0.68))
                found, statistic = experiments(used, *sets[3], fraction, n=200, toys=1000, seed=2)
                wilks, by_toys = coverage(statistic, WILKS_68), coverage(statistic, threshold)
                print(
                    f"{name:10} {how} fraction {fraction:.1f}: estimated {found.mean():.3f} +- {found.std():.3f}; "
                    f"68 % intervals cover {wilks:.1%} (Wilks), {by_toys:.1%} (toys)"
                )


if __name__ == "__main__":
    main()
