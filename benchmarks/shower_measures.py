"""Metrics of generated showers against held-out ones, as the shower table reports them.

Separation powers, response and so on are those of `validation.compare`: two halves of the reference give the floor.
The classifiers, for which size is all, get the whole reference and as many generated showers; their floor is that of
the halves, at half the size.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

import calofast as cf
import validation
from hepflows.splitting import condition_groups

if TYPE_CHECKING:
    from calofast.generator import CaloGenerator

INPUTS = ("low", "low_normed", "log", "high")
SEED = 7
_BATCHES = (1, 100, 10_000)


@dataclass(frozen=True, kw_only=True)
class Measurer:
    """Compares samples with one reference.

    Attributes:
        reference: held-out showers.
        preset: of the classifiers.
        trainings: of each classifier.
        epochs: of each training, None for the preset's.
        seed: of all draws.
    """

    reference: cf.Showers
    preset: str = "full"
    trainings: int = 5
    epochs: int | None = None
    seed: int = 0

    def __call__(self, sample: cf.Showers) -> dict[str, dict[str, Any]]:
        """Every metric with value, error and floor."""
        settings = validation.Settings(preset="quick", trainings=0, seed=self.seed)
        report = validation.compare(self.reference, {"sample": sample}, cf.OBSERVABLES, settings=settings)
        content: Any = report.to_json()
        found: dict[str, dict[str, Any]] = {
            name: {key: entry.get(key) for key in ("value", "error", "floor", "n")}
            for name, entry in content["samples"]["sample"].items()
        }
        for inputs in INPUTS:
            found[f"auc_{inputs}"] = self._auc(self.reference, sample, inputs) | {
                "floor": self._auc(*self._halves(), inputs)["value"]
            }
        return found

    def _halves(self) -> tuple[cf.Showers, cf.Showers]:
        return self.reference.split(0.5, seed=self.seed)

    def _auc(self, reference: cf.Showers, sample: cf.Showers, inputs: str) -> dict[str, Any]:
        domain = cf.OBSERVABLES
        real, made = (domain.classifier_inputs(s, preset=self.preset, inputs=inputs) for s in (reference, sample))
        groups = condition_groups(*(domain.condition(showers) for showers in (reference, sample)))
        preset = validation.PRESETS[self.preset]
        result = validation.two_sample_test(
            real,
            made,
            preset=replace(preset, trainings=self.trainings, epochs=self.epochs or preset.epochs),
            groups=(groups[0], groups[1]),
            mirrors=domain.mirrors(reference, inputs=inputs),
            seed=self.seed,
        )
        spread = float(np.std(result.auc, ddof=1)) if len(result.auc) > 1 else 0.0
        return {
            "value": float(np.mean(result.auc)),
            "error": float(np.hypot(spread / np.sqrt(len(result.auc)), result.auc_test_error)),
            "spread": spread,
            "n_train_per_class": result.n_train_per_class,
            "preset": self.preset,
            "trainings": len(result.auc),
        }


def sampling_ms(generator: CaloGenerator, energies: np.ndarray[Any, Any]) -> dict[str, float]:
    """Milliseconds of wall time a shower by batch, once everything is compiled."""
    found = {}
    for batch in _BATCHES:
        given = np.resize(energies, batch)
        generator.sample(given[:256], seed=SEED)
        times = []
        for _ in range(3 if batch > 100 else 10):
            began = time.perf_counter()
            generator.sample(given, seed=SEED)
            times.append(time.perf_counter() - began)
        found[str(batch)] = 1000 * float(np.median(times)) / batch
    return found
