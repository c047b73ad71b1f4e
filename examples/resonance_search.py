"""Resonant anomaly search on jets: ANODE and CATHODE.

A signal of unknown kind is looked for in a window of a resonant mass. Background is learned outside of the window
(side bands) and interpolated into it by a flow p_B(x | m):

* ANODE (Nachman and Shih, arXiv:2001.04990): score p_data(x | m) / p_B(x | m), with a second flow inside the window;
* CATHODE (Hallin et al., arXiv:2109.00546): a classifier between data in the window and samples of p_B at its masses.

Jets are the packaged top jets: background are jets with random masses from a falling spectrum, so that substructure
does not know the mass; the signal are the jets of narrowest tau32 at masses about a resonance.

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

    @property
    def in_window(self) -> NDArray[np.bool_]:
        """Events inside the window, (N,)."""
        return (self.m > WINDOW[0]) & (self.m < WINDOW[1])


def mix(x: Floats, signal_like: NDArray[np.bool_], fraction: float, *, seed: int) -> Sample:
    """Background at falling masses, and signal at a resonance of 3.5 TeV, a fraction of the events in all."""
    rng = np.random.default_rng(seed)
    kept = ~signal_like | (rng.random(len(x)) < fraction * (~signal_like).sum() / max(1, signal_like.sum()))
    x, signal = x[kept], signal_like[kept]
    falling = 2.5 + np.minimum(rng.exponential(0.9, len(x)), 2.5)
    return Sample(x, np.where(signal, rng.normal(3.5, 0.05, len(x)), falling), signal)


def density(x: Floats, m: Floats, scaling: Scaling, *, epochs: int, seed: int) -> ConditionalFlow:
    """A flow of scaled x given m."""
    y, context = _tensors(x, m, scaling)
    with seeded(seed):
        flow = autoregressive_flow(x.shape[1], 1, NetworkConfig(blocks=3, hidden=(48, 48)))
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    y, context = y[order], context[order]
    n = len(y) // 10
    objective = MaximumLikelihood(flow, lambda i: (y[n:][i], context[n:][i]), lambda: (y[:n], context[:n]))
    settings = TrainingConfig(epochs=epochs, batch_size=100, learning_rate=2e-3, schedule="cosine")
    fit(flow, objective, len(y) - n, settings, seed=seed)
    return flow


def search(data: Sample, *, epochs: int = 30, seed: int = 1) -> tuple[Sample, dict[str, Floats]]:
    """Anomaly scores of the events in the window by both methods, and by the labels as a limit."""
    scaling = Scaling([False] * data.x.shape[1])
    scaling.fit(torch.tensor(data.x, dtype=torch.float32))
    side, window = data.part(~data.in_window), data.part(data.in_window)
    background = density(side.x, side.m, scaling, epochs=epochs, seed=seed)
    inside = density(window.x, window.m, scaling, epochs=epochs, seed=seed + 1)
    y, context = _tensors(window.x, window.m, scaling)
    with torch.no_grad():
        anode = (inside.log_prob(y, context) - background.log_prob(y, context)).double().numpy()
        # more background than data, at masses of the window: the flow costs nothing
        more = context.repeat(4, 1)
        noise = torch.randn(len(more), y.shape[1], generator=torch.Generator().manual_seed(seed))
        made = background.sample(noise, more).double().numpy()
    return window, {"ANODE": anode, "CATHODE": _out_of_fold(y.double().numpy(), made, seed=seed)}


def _out_of_fold(data: Floats, background: Floats, *, seed: int, folds: int = 5) -> Floats:
    """Classifier scores (N,) of data against background, each by classifiers that have not seen the event."""
    rng = np.random.default_rng(seed)
    fold, scores = rng.integers(0, folds, len(data)), np.empty(len(data))
    for k in range(folds):
        train = np.concatenate([data[fold != k], background])
        label = np.repeat([1, 0], [(fold != k).sum(), len(background)])
        weight = np.where(label, len(background) / (fold != k).sum(), 1.0)
        trees = HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=8, learning_rate=0.1, random_state=seed)
        scores[fold == k] = trees.fit(train, label, weight).predict_proba(data[fold == k])[:, 1]
    return scores


def _tensors(x: Floats, m: Floats, scaling: Scaling) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        y: torch.Tensor = scaling(torch.tensor(x, dtype=torch.float32))[0]
    return y, torch.tensor(m[:, None] - 3.5, dtype=torch.float32)


def main() -> None:
    """Search in the packaged jets with 2 % of signal."""
    table = read_observables(embedded_jets_path(), observables=OBSERVABLES, conditions=None)
    x = table.values[table.complete()]
    data = mix(x, x[:, 0] < np.quantile(x[:, 0], 0.1), 0.02, seed=1)
    window, scores = search(data)
    print(f"{len(window.x)} events in the window, {window.signal.sum()} of them signal")
    for name, score in scores.items():
        cut = score > np.quantile(score, 0.95)
        gain = window.signal[cut].mean() / window.signal.mean()
        print(f"{name}: AUC {roc_auc_score(window.signal, score):.3f}, signal {gain:.1f} times enriched in the top 5 %")


if __name__ == "__main__":
    main()
