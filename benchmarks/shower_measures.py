"""Metrics of generated showers against held-out ones, as the shower table reports them.

Separation powers, response and so on are those of `validation.compare`: two halves of the reference give the floor.
The classifiers, for which size is all, get the whole reference and as many generated showers; their floor is that of
the halves, at half the size.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

import calofast as cf
import validation
from hepflows.splitting import condition_groups
from validation.boosted import boosted_test

if TYPE_CHECKING:
    from calofast.generator import CaloGenerator

INPUTS: Final = ("low", "low_normed", "log", "high")
SEED: Final = 7
_BATCHES = (1, 100, 10_000)

Found = dict[str, dict[str, Any]]
"""Metric -> value, error and more."""


@dataclass(frozen=True, kw_only=True)
class Measurer:
    """Compares samples with one reference.

    Attributes:
        reference: held-out showers.
        preset: of the neural classifiers.
        trainings: of each classifier.
        epochs: of each training, None for the preset's.
        seed: of all draws.
    """

    reference: cf.Showers
    preset: str = "full"
    trainings: int = 5
    epochs: int | None = None
    seed: int = 0

    def metrics(self, sample: cf.Showers) -> Found:
        """Every metric that needs no classifier, with value, error and floor."""
        settings = validation.Settings(preset="quick", trainings=0, seed=self.seed)
        report = validation.compare(self.reference, {"sample": sample}, cf.OBSERVABLES, settings=settings)
        content: Any = report.to_json()
        return {
            name: {key: entry.get(key) for key in ("value", "error", "floor", "n")}
            for name, entry in content["samples"]["sample"].items()
        }

    def classifiers(self, sample: cf.Showers) -> Found:
        """Every classifier's AUC."""
        return self._classifiers(self.reference, sample)

    def floors(self) -> Found:
        """The AUCs of one half of the reference against the other."""
        return self._classifiers(*self.reference.split(0.5, seed=self.seed))

    def auc(self, reference: cf.Showers, sample: cf.Showers, inputs: str) -> dict[str, Any]:
        """Mean AUC of neural classifiers with these inputs."""
        domain = cf.OBSERVABLES
        real, made = (domain.classifier_inputs(s, preset=self.preset, inputs=inputs) for s in (reference, sample))
        preset = validation.PRESETS[self.preset]
        result = validation.two_sample_test(
            real,
            made,
            preset=replace(preset, trainings=self.trainings, epochs=self.epochs or preset.epochs),
            groups=_groups(reference, sample),
            mirrors=domain.mirrors(reference, inputs=inputs),
            seed=self.seed,
        )
        return _entry(*result.summary("auc"), result.n_train_per_class) | {
            "trainings": len(result.auc),
            "preset": self.preset,
            "epochs": self.epochs or preset.epochs,
        }

    def _classifiers(self, reference: cf.Showers, sample: cf.Showers) -> Found:
        real, made = (
            cf.OBSERVABLES.classifier_inputs(showers, preset=self.preset, inputs="high").astype(np.float64)
            for showers in (reference, sample)
        )
        boosted = boosted_test(
            real,
            made,
            groups=_groups(reference, sample),
            repeats=self.trainings,
            seed=self.seed,
        )
        trees = _entry(*boosted.summary(), boosted.n_train_per_class) | {"trainings": len(boosted.auc)}
        return {f"auc_{inputs}": self.auc(reference, sample, inputs) for inputs in INPUTS} | {"auc_gbt": trees}


def _groups(reference: cf.Showers, sample: cf.Showers) -> tuple[Any, Any]:
    """Showers of the same conditions stay in one part of a classifier's split."""
    first, second = condition_groups(*map(cf.OBSERVABLES.condition, (reference, sample)))
    return first, second


def _entry(value: float, error: float, spread: float, n_train_per_class: int) -> dict[str, Any]:
    return {"value": value, "error": error, "spread": spread, "n_train_per_class": n_train_per_class}


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
