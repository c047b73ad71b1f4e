"""What is learned from the classifier test besides AUC and JSD: the steps, on the events of one comparison."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hepflows.splitting import choose_generated, condition_groups
from validation.boosted import boosted_test
from validation.classifier_numbers import auc_estimate, boosted_metric, driver_metrics, learning_metrics, score_metrics
from validation.classifier_views import ClassifierViews, DriverRow, DriverView, ExtremeView, LearningView
from validation.classifier_weights import pooled_log_weights
from validation.domain import Drawn
from validation.drivers import Driver, driver, extreme_events
from validation.learning_curve import learning_curve
from validation.metric import Metric
from validation.multiclass import log_posteriors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from validation.boosted import BoostedResult
    from validation.classifier_result import ClassifierResult
    from validation.job import Job
    from validation.learning_curve import LearningPoint

    Floats = NDArray[np.float64]
    Index = NDArray[np.int64]
    Metrics = dict[str, Metric]

_SHOWN_IMAGES, _SHOWN_DISCS = 2, 4  # extreme events of each kind in a picture


@dataclass(frozen=True, kw_only=True)
class Tested:
    """A sample whose classifiers are trained.

    Attributes:
        sample: its name.
        a: reference events it was compared with.
        b: reference events of the floor.
        chosen: its events.
        results: classifier results by input set.
        floors: the same of the floor.
    """

    sample: str
    a: Index
    b: Index
    chosen: Index
    results: Mapping[str, ClassifierResult]
    floors: Mapping[str, ClassifierResult]

    @property
    def sharpest(self) -> str:
        """The input set with the largest AUC."""
        return max(self.results, key=lambda inputs: self.results[inputs].summary("auc")[0])


class ClassifierStudy:
    """Calibration, weights, learning curves, boosted trees, posteriors, drivers and extreme events."""

    def __init__(self, job: Job[Any], tested: Sequence[Tested]) -> None:
        self.job, self.tested = job, tuple(tested)
        self.seed = job.settings.seed

    def run(self) -> tuple[dict[str, Metrics], ClassifierViews]:
        """All further metrics by sample, and what the pictures show."""
        metrics: dict[str, Metrics] = {t.sample: {} for t in self.tested}
        learning: list[LearningView] = []
        drivers, extremes = [], []
        floors: dict[int, BoostedResult] = {}
        with self.job.reporter.stage("classifier studies", total=2 * len(self.tested) + 1, unit="steps") as stage:
            for t in self.tested:
                for inputs, result in t.results.items():
                    metrics[t.sample] |= score_metrics(
                        result, t.floors[inputs], n=len(t.a), suffix=self._suffix(inputs), inputs=inputs, seed=self.seed
                    )
                if len(t.a) not in floors:
                    floors[len(t.a)] = self._boosted(t.a, "reference", t.b)
                boosted = self._boosted(t.a, t.sample, t.chosen)
                metrics[t.sample]["auc_gbt"] = boosted_metric(boosted, floors[len(t.a)], n=len(t.a))
                view = self._drivers(t)
                metrics[t.sample] |= driver_metrics(view, n=len(t.a))
                drivers.append(view)
                extremes.append(self._extremes(t))
                stage.advance()
            found, learning = self._learning_curves(stage.advance)
            for sample, more in found.items():
                metrics[sample] |= more
            if len(self.tested) > 1:
                for sample, metric in self._posteriors().items():
                    metrics[sample][f"log_posterior_{sample}"] = metric
            stage.advance()
        return metrics, ClassifierViews(learning=tuple(learning), drivers=tuple(drivers), extremes=tuple(extremes))

    def _suffix(self, inputs: str) -> str:
        return f"_{inputs}" if len(self.job.domain.inputs) > 1 else ""

    def _weights(self, name: str, index: Index) -> Floats | None:
        return self.job.arrays[name].take(index).weights

    def _boosted(self, a: Index, name: str, index: Index) -> BoostedResult:
        conditions = self.job.conditions
        groups = condition_groups(conditions["reference"][a], conditions[name][index])
        return boosted_test(
            self._scalars("reference", a),
            self._scalars(name, index),
            groups=(groups[0], groups[1]),
            weights=(self._weights("reference", a), self._weights(name, index)),
            seed=self.seed,
        )

    def _scalars(self, name: str, index: Index) -> Floats:
        """Observables with one value an event and the binning quantity, (N, F)."""
        part = self.job.arrays[name].take(index)
        columns = [part.binning, *(part.values(key) for key in self._scalar_names())]
        return np.stack(columns, axis=1).astype(np.float64)

    def _scalar_names(self) -> list[str]:
        return [key for key, o in self.job.arrays["reference"].observables.items() if o.values.ndim == 1]

    def _learning_curves(self, advance: Any) -> tuple[dict[str, Metrics], list[LearningView]]:
        metrics: dict[str, Metrics] = {t.sample: {} for t in self.tested}
        views: list[LearningView] = []
        floors: dict[tuple[int, str], tuple[LearningPoint, ...]] = {}
        for t in self.tested if self.job.settings.learning_curve else ():
            for inputs, whole in t.results.items():
                key = (len(t.a), inputs)
                if key not in floors:
                    floors[key] = self._curve(t.a, "reference", t.b, inputs)
                points = self._curve(t.a, t.sample, t.chosen, inputs)
                metrics[t.sample] |= learning_metrics(
                    points, floors[key], n=len(t.a), suffix=self._suffix(inputs), inputs=inputs
                )
                results = [*(p.result for p in points), whole]
                views.append(
                    LearningView(
                        inputs=inputs,
                        sample=t.sample,
                        sizes=tuple(r.n_train_per_class for r in results),
                        auc=tuple(auc_estimate(r) for r in results),
                        floor=tuple(auc_estimate(r) for r in [*(p.result for p in floors[key]), t.floors[inputs]]),
                    )
                )
            advance()
        return metrics, views

    def _curve(self, a: Index, name: str, index: Index, inputs: str) -> tuple[LearningPoint, ...]:
        job = self.job
        groups = condition_groups(job.conditions["reference"][a], job.conditions[name][index])
        return learning_curve(
            job.inputs_of("reference", inputs)[a],
            job.inputs_of(name, inputs)[index],
            job.settings.classifier(),
            groups=(groups[0], groups[1]),
            weights=(self._weights("reference", a), self._weights(name, index)),
            mirrors=job.domain.mirrors(job.reference, inputs=inputs),
            standardise=True if inputs == "log" else None,
            folds=job.settings.folds,
            seed=self.seed,
            device=job.settings.device,
        )

    def _posteriors(self) -> dict[str, Metric]:
        """Mean log posterior of the reference events for each sample, with half B of the reference as a rival."""
        job, c = self.job, self.job.conditions
        first = min(self.tested, key=lambda t: len(t.a))
        a, b, n = first.a, first.b, len(first.a)
        means = {i: np.mean([t.results[i].summary("auc")[0] for t in self.tested]) for i in first.results}
        inputs = max(means, key=lambda i: means[i])
        rivals = [
            ("reference", b),
            *(
                (t.sample, choose_generated(c[t.sample], c["reference"][a], c["reference"][b], n, seed=self.seed))
                for t in self.tested
            ),
        ]
        preset = job.settings.classifier()
        if inputs == "log":
            preset = dataclasses.replace(preset, standardise=True)
        trainings = max(2, preset.trainings // 3)  # one alone has no spread
        found = log_posteriors(
            job.inputs_of("reference", inputs)[a],
            [job.inputs_of(name, inputs)[index] for name, index in rivals],
            preset,
            groups=condition_groups(*(c[name][index] for name, index in rivals)),
            weights=[self._weights("reference", a), *(self._weights(name, index) for name, index in rivals)],
            mirrors=job.domain.mirrors(job.reference, inputs=inputs),
            trainings=trainings,
            seed=self.seed,
            device=job.settings.device,
        )
        return {
            name: Metric(
                value=estimate.value,
                error=estimate.error,
                floor=found[0].value,
                floor_error=found[0].error,
                n=n,
                target=-math.log(len(rivals)),
                rising=True,
                details={"inputs": inputs, "preset": preset.name, "classes": len(rivals), "trainings": trainings},
            )
            for (name, _), estimate in zip(rivals[1:], found[1:], strict=True)
        }

    def _drivers(self, t: Tested) -> DriverView:
        inputs = t.sharpest
        samples = (("reference", t.a), (t.sample, t.chosen), ("reference", t.b))
        n = len(t.a)
        logs = pooled_log_weights(t.results[inputs].tests, n + len(t.chosen))
        of_floor = pooled_log_weights(t.floors[inputs].tests, n + len(t.b))
        rows = []
        tails = (
            (samples[1], logs[n:], False),
            (samples[0], logs[:n], True),
            (samples[2], of_floor[n:], False),
        )
        for name in self._scalar_names():
            found = [self._driver(name, *tail) for tail in tails]
            rows.append(
                DriverRow(
                    name=name,
                    label=self.job.arrays["reference"].observables[name].label,
                    ks=found[0].ks,
                    difference=found[0].difference,
                    reference_ks=found[1].ks,
                    floor=found[2].ks,
                )
            )
        rows = [row for row in rows if np.isfinite(row.ks.value)]
        return DriverView(sample=t.sample, inputs=inputs, rows=tuple(sorted(rows, key=lambda row: -row.pull())))

    def _driver(self, observable: str, sample: tuple[str, Index], logs: Floats, highest: bool) -> Driver:
        part = self.job.arrays[sample[0]].take(sample[1])
        extreme = np.zeros(len(logs), bool)
        extreme[extreme_events(logs, highest=highest)] = True
        known = np.isfinite(logs)
        weights = None if part.weights is None else part.weights[known]
        return driver(np.asarray(part.values(observable)[known], np.float64), extreme[known], weights, seed=self.seed)

    def _extremes(self, t: Tested) -> ExtremeView:
        """The generated events with the lowest and the reference events with the highest weights."""
        job, inputs, n = self.job, t.sharpest, len(t.a)
        logs = pooled_log_weights(t.results[inputs].tests, n + len(t.chosen))
        titles: dict[str, str] = {}
        images, discs = {}, {}
        for kind, events, index, of_events, highest in (
            ("lowest w", job.generated[t.sample], t.chosen, logs[n:], False),
            ("highest w", job.reference, t.a, logs[:n], True),
        ):
            label = f"{t.sample if kind == 'lowest w' else 'reference'}, {kind}"
            worst = extreme_events(of_events, highest=highest)
            if isinstance(job.domain, Drawn):
                worst = worst[:_SHOWN_DISCS]
                drawn = job.domain.discs(events.select(index[worst]))
                discs[label] = tuple(
                    dataclasses.replace(d, title=f"{d.title}, w = {math.exp(of_events[i]):.2g}".lstrip(", "))
                    for d, i in zip(drawn, worst, strict=True)
                )
                continue
            for rank, i in enumerate(worst[:_SHOWN_IMAGES]):
                titles[f"{label} ({rank + 1})"] = f"w = {math.exp(of_events[i]):.2g}"
                images[f"{label} ({rank + 1})"] = job.domain.images(events.select(index[[i]]))
        return ExtremeView(sample=t.sample, inputs=inputs, titles=titles, images=images, discs=discs)
