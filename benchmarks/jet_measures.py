"""Metrics of generated jets against held-out jets, as the jet table reports them.

The reference are the held-out jets of a file, a fifth of it. Against them stand as many generated jets as the file has
training jets, and, for the floor, the training jets themselves: real jets that the reference does not share. W1 is
averaged over batches of 50 000 jets drawn with replacement, the published procedure (arXiv:2106.11535); a sample's
own size stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import jetgen as jg
from hepflows.splitting import condition_groups
from jetgen.classifier_inputs import feature_matrix
from validation.classifier_test import two_sample_test
from validation.distances import wasserstein_batches
from validation.measure import Estimate
from validation.sample_metrics import compare_measures

if TYPE_CHECKING:
    from numpy.typing import NDArray

W1_SAMPLES, W1_BATCHES = 50_000, 5
TRAININGS = 3
_REPLICAS = 20


@dataclass(frozen=True)
class Measurer:
    """Compares samples with one reference.

    Attributes:
        reference: held-out jets.
        seed: of all draws.
        classifier: whether to train classifiers, which takes most of the time.
    """

    reference: jg.Jets
    seed: int = 0
    classifier: bool = True

    def __call__(self, sample: jg.Jets) -> dict[str, dict[str, float]]:
        """Every metric with value and error."""
        ours, theirs = (jg.OBSERVABLES.measures(jets) for jets in (self.reference, sample))
        drawn = [(a, b) for a, b in zip(ours, theirs, strict=True) if a.kind == "wasserstein"]
        others = [(a, b) for a, b in zip(ours, theirs, strict=True) if a.kind != "wasserstein"]
        found = {a.names[0]: drawn_wasserstein(a.values, b.values, seed=self.seed) for a, b in drawn}
        found |= compare_measures(
            ([a for a, _ in others], np.arange(len(self.reference)), None),
            ([b for _, b in others], np.arange(len(sample)), None),
            replicas=_REPLICAS,
            seed=self.seed,
        )
        if self.classifier:
            found["auc"] = self._auc(sample)
        return {name: {"value": e.value, "error": e.error} for name, e in found.items() if np.isfinite(e.value)}

    def _auc(self, sample: jg.Jets) -> Estimate:
        n = min(len(sample), len(self.reference))
        rows = np.random.default_rng(self.seed).choice(len(sample), n, replace=False)
        chosen = sample.select(np.sort(rows))
        conditions = [jg.OBSERVABLES.condition(jets) for jets in (self.reference, chosen)]
        result = two_sample_test(
            feature_matrix(self.reference),
            feature_matrix(chosen),
            preset="quick",
            groups=tuple(condition_groups(*conditions)),  # type: ignore[arg-type]
            seed=self.seed,
        )
        spread = float(np.std(result.auc, ddof=1)) / np.sqrt(len(result.auc))
        return Estimate(value=float(np.mean(result.auc)), error=float(np.hypot(spread, result.auc_test_error)))


def drawn_wasserstein(first: NDArray[np.floating], second: NDArray[np.floating], *, seed: int) -> Estimate:
    """W1 as in the jet table: over batches drawn with replacement, the mean of all features of (N, ..., F)."""
    found = wasserstein_batches(first, second, eval_samples=W1_SAMPLES, batches=W1_BATCHES, seed=seed)
    batches = found.mean(axis=1)
    return Estimate(value=float(batches.mean()), error=float(batches.std()))


def sizes(reference: jg.Jets, sample: jg.Jets) -> dict[str, Any]:
    """How many jets stand behind the numbers."""
    return {"n_reference": len(reference), "n_sample": len(sample)}
