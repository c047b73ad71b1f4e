"""Resonant anomaly search on jets: ANODE and CATHODE.

Background is learned outside of a window of a resonant mass, and interpolated into it by a flow p_B(x | m):

* ANODE (Nachman and Shih, arXiv:2001.04990): score p_data(x | m) / p_B(x | m), with flows inside the window;
* CATHODE (Hallin et al., arXiv:2109.00546): a classifier between data in the window and samples of p_B at its masses.

No event of the window is scored by what was trained on it: else ANODE finds an excess in jets without any signal.
Excesses are counted against samples of p_B. Jets are the packaged top jets, with random masses from a falling spectrum.
The signal, at masses about a resonance, are jets of the lowest tau32 after noise, so that it overlaps with the rest.

    python examples/resonance_search.py
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from hepflows.autoregressive_flow import NetworkConfig, autoregressive_flow
from hepflows.observable_files import read_observables
from hepflows.scaling import Scaling
from hepflows.train.loop import fit
from hepflows.train.objectives import MaximumLikelihood
from hepflows.train.seeding import seeded
from hepflows.train.settings import TrainingConfig
from jetgen.reading import embedded_jets_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hepflows.flow import ConditionalFlow

    Floats = NDArray[np.float64]

OBSERVABLES = ("tau32", "tau21", "dispersion")
WINDOW = (3.3, 3.7)  # of the resonant mass, in TeV


@dataclass(frozen=True)
class Sample:
    """Events: substructure x (N, D), resonant mass m (N,) in TeV, and which are signal (N,), known to the test only."""

    x: Floats
    m: Floats
    signal: NDArray[np.bool_]

    def part(self, rows: NDArray[np.bool_]) -> Sample:
        """Some of the events."""
        return Sample(self.x[rows], self.m[rows], self.signal[rows])


def mix(x: Floats, signal_like: NDArray[np.bool_], fraction: float, *, seed: int) -> Sample:
    """Background at falling masses, and signal at a resonance of 3.5 TeV, a fraction of the events in all."""
    rng = np.random.default_rng(seed)
    kept = ~signal_like | (rng.random(len(x)) < fraction * (~signal_like).sum() / max(1, signal_like.sum()))
    rows = rng.permutation(np.flatnonzero(kept))
    x, signal = x[rows], signal_like[rows]
    falling = 2.5 + np.minimum(rng.exponential(0.9, len(x)), 2.5)
    return Sample(x, np.where(signal, rng.normal(3.5, 0.05, len(x)), falling), signal)


@torch.enable_grad()
def density(data: Sample, scaling: Scaling, *, epochs: int, seed: int) -> ConditionalFlow:
    """A flow of scaled x given m."""
    y, context = _tensors(data, scaling)
    with seeded(seed):
        flow = autoregressive_flow(y.shape[1], 1, NetworkConfig(blocks=3, hidden=(48, 48)))
    n = len(y) // 10
    objective = MaximumLikelihood(flow, lambda i: (y[n:][i], context[n:][i]), lambda: (y[:n], context[:n]))
    settings = TrainingConfig(epochs=epochs, batch_size=100, learning_rate=2e-3, schedule="cosine")
    fit(flow, objective, len(y) - n, settings, seed=seed)
    return flow


@dataclass(frozen=True)
class Scores:
    """Anomaly scores of the data in the window (N,) and of a background (M,)."""

    data: Floats
    background: Floats

    def excess(self, share: float = 0.05) -> float:
        """Deviations by which more data pass a cut than the share of the background that does; both fluctuate."""
        passed = (self.data > np.quantile(self.background, 1 - share)).mean()
        variance = share * (1 - share) * (1 / len(self.data) + 1 / len(self.background))
        return float((passed - share) / np.sqrt(variance))


@torch.no_grad()
def search(data: Sample, *, epochs: int = 30, seed: int = 1) -> tuple[Sample, dict[str, Scores]]:
    """Events in the window, and their scores by both methods and, if there is signal, by its labels as a limit."""
    scaling = Scaling([False] * data.x.shape[1])
    scaling.fit(torch.tensor(data.x, dtype=torch.float32))
    inside = (data.m > WINDOW[0]) & (data.m < WINDOW[1])
    window = data.part(inside)
    model = density(data.part(~inside), scaling, epochs=epochs, seed=seed)
    y, context = _tensors(window, scaling)
    # more background than data, at masses of the window: the flow costs nothing
    n, context = len(y), context.repeat(5, 1)
    noise = torch.randn(4 * n, y.shape[1], generator=torch.Generator().manual_seed(seed))
    y = torch.cat([y, model.sample(noise, context[n:])])
    anode, half = -model.log_prob(y, context), np.arange(n) % 2
    for k in (0, 1):
        near = density(window.part(half != k), scaling, epochs=epochs, seed=seed + 1 + k)
        rows = torch.tensor(np.tile(half == k, 5))
        anode[rows] += near.log_prob(y[rows], context[rows])
    cathode = _out_of_fold(y.double().numpy(), np.arange(5 * n) < n, seed=seed)
    found = {"ANODE": anode.double().numpy(), "CATHODE": cathode}
    scores = {name: Scores(score[:n], score[n:]) for name, score in found.items()}
    if data.signal.any():
        limit = _out_of_fold(data.x, data.signal, seed=seed)
        scores["labels"] = Scores(limit[inside], limit[~inside])
    return window, scores


def _out_of_fold(x: Floats, label: NDArray[np.bool_], *, seed: int, folds: int = 5) -> Floats:
    """Classifier scores (N,) of events (N, D), each by a classifier that has not seen the event."""
    fold, scores = np.random.default_rng(seed).integers(0, folds, len(x)), np.empty(len(x))
    for k in range(folds):
        train = fold != k
        tree = HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=8, class_weight="balanced", random_state=seed)
        scores[~train] = tree.fit(x[train], label[train]).predict_proba(x[~train])[:, 1]
    return scores


def _tensors(data: Sample, scaling: Scaling) -> tuple[torch.Tensor, torch.Tensor]:
    return scaling(torch.tensor(data.x, dtype=torch.float32))[0], torch.tensor(data.m[:, None] - 3.5).float()


def main() -> None:
    """Search in the packaged jets with 2 % of signal and without."""
    table = read_observables(embedded_jets_path(), observables=OBSERVABLES, conditions=None)
    x = table.values[table.complete()]
    noisy = x[:, 0] + np.random.default_rng(0).normal(0, 0.1, len(x))
    for fraction in (0.02, 0.0):
        window, scores = search(mix(x, noisy < np.quantile(noisy, 0.1), fraction, seed=1))
        print(f"{len(window.x)} events in the window, {window.signal.sum()} of them signal")
        for name, score in scores.items():
            auc = f"AUC {roc_auc_score(window.signal, score.data):.3f}, " if fraction else ""
            print(f"  {name}: {auc}excess of {score.excess():.1f} deviations")


if __name__ == "__main__":
    main()
