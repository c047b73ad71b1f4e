"""The steps of one comparison, between the events and the frozen result.

The reference is split at random into halves A and B of n events. The floor of a metric is metric(A, B), its
value metric(A, n generated events), so both have the same statistical bias.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np

from hepflows.splitting import choose_generated, condition_groups
from validation.classifier_result import classifier_metrics
from validation.classifier_study import ClassifierStudy, Tested
from validation.classifier_test import ClassifierResult, two_sample_test
from validation.classifier_views import ClassifierViews
from validation.detector_metrics import Chosen, detector_metrics
from validation.domain import Events, Measured, Responding
from validation.event_metrics import EVENT_JUDGEMENTS, EventMetrics
from validation.gates import check_gates
from validation.job_checks import check_sizes, wanted_inputs
from validation.joining import measured_metrics, ratio_judgements
from validation.joint import JOINT_JUDGEMENTS, effective_size, event_observables, joint_metrics
from validation.measure import (
    Estimate,
    Sample,
    bin_edges,
    distances,
    edges_for,
    moment_ratios,
    profile_ratios,
)
from validation.plugged import plugged_metrics
from validation.sample_metrics import compare_measures, judgements
from validation.settings import CALOCHALLENGE, Settings
from validation.views import ScoreView

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hepflows.observable import Measure
    from hepflows.train.progress import Reporter
    from validation.domain import Domain
    from validation.metric import Metric

    Index = NDArray[np.int64]

EventsT = TypeVar("EventsT", bound=Events)

CLASSIFIER_FAMILIES = ("auc", "jsd", "ece", "weights_", "driver_", "log_posterior_", "learning_curve_")
"""How the names of the classifiers' metrics begin, which are measured last."""


class _Advance(Protocol):
    def __call__(self, amount: int = 1, /) -> None: ...


class Job(Generic[EventsT]):
    """The arrays of one comparison while it is computed."""

    def __init__(
        self,
        reference: EventsT,
        generated: dict[str, EventsT],
        domain: Domain[EventsT],
        settings: Settings,
        reporter: Reporter,
        *,
        training: EventsT | None = None,
    ) -> None:
        self.domain, self.settings, self.reporter = domain, settings, reporter
        self.reference, self.generated = reference, generated
        self.inputs = wanted_inputs(domain.inputs, settings)
        check_sizes(reference, generated, domain.noun)
        cautions = []
        for name, events in generated.items():
            domain.compatible(reference, events)
            cautions += [f"{name}: {text}" for text in domain.cautions(reference, events)]
        self.unmeasured: dict[str, dict[str, str]] = {name: {} for name in generated}
        self.skipped: dict[str, str] = {}
        self._leave_out_classifiers()
        everything = {"reference": reference, **generated}
        with reporter.stage("observables", total=len(everything), unit="samples") as stage:
            self.arrays, self.measures, self.responses = {}, {}, {}
            for name, events in everything.items():
                self.arrays[name] = _sample(events, domain)
                self.measures[name] = _measures(events, domain)
                if isinstance(domain, Responding):
                    self.responses[name] = domain.response(events)
                stage.advance()
        if made_by := getattr(reference, "provenance", {}).get("generator"):
            cautions.append(f"the reference was generated, by {made_by}")
        cautions += [
            f"{name}: these are the events of the reference, and say nothing of a generator"
            for name in generated
            if _identical(self.arrays["reference"], self.arrays[name])
        ]
        self.cautions = tuple(cautions)
        self.judgements = {**JOINT_JUDGEMENTS, **EVENT_JUDGEMENTS, **judgements(self.measures["reference"])}
        self.joint = event_observables(self.arrays["reference"])
        if training is not None:
            domain.compatible(training, reference)
        self.events = EventMetrics(
            self.arrays,
            None if training is None else _sample(training, domain),
            most=settings.suite().neighbours,
            replicas=settings.replicas,
            seed=settings.seed,
        )
        self.conditions = {name: domain.condition(events) for name, events in everything.items()}
        largest = max(self._n(name) for name in generated)
        self.edges = edges_for(self.arrays["reference"], n=largest, bins=settings.bins)
        self.bins = bin_edges(self.arrays["reference"].binning, settings.condition_bins)
        self.profiled = domain.profiled(reference)
        self.plugged = plugged_metrics(domain.name)
        self.judgements |= {name: j for metric in self.plugged for name, j in metric.judgements.items()}
        self.judgements |= ratio_judgements(domain.ratios, self.profiled, len(self.bins) - 1)
        self._features: dict[tuple[str, str], NDArray[np.float32]] = {}
        self.classifier_views = ClassifierViews()

    def _leave_out_classifiers(self) -> None:
        """A classifier cannot be trained with negative weights, nor its ROC curve drawn.

        Of the reference they leave nothing to compare with, so that no gate waits for a classifier then.
        """
        negative = [
            name
            for name, events in {"reference": self.reference, **self.generated}.items()
            if events.weights is not None and bool((np.asarray(events.weights, np.float64) < 0).any())
        ]
        if not self.inputs or not negative:
            return
        why = f"{negative[0]} has negative weights"
        names = [f"auc{self._suffix(inputs)}" for inputs in self.inputs]
        names += [f"jsd{self._suffix(inputs)}" for inputs in self.inputs]
        for name, lost in self.unmeasured.items():
            reasons = dict.fromkeys([*names, "auc_gbt"], why)
            self.skipped |= {f"{name}/{key}": text for key, text in reasons.items()}
            if "reference" not in negative:
                lost.update(reasons)
        self.inputs = ()

    def _suffix(self, inputs: str) -> str:
        return f"_{inputs}" if len(self.domain.inputs) > 1 else ""

    def _n(self, name: str) -> int:
        return min(len(self.reference) // 2, len(self.generated[name]))

    def metrics(self) -> tuple[dict[str, dict[str, Metric]], tuple[ScoreView, ...]]:
        """All metrics of all samples, and the classifier scores."""
        shuffled = np.random.default_rng(self.settings.seed).permutation(len(self.reference))
        floors: dict[int, tuple[dict[str, Estimate], dict[str, ClassifierResult]]] = {}
        metrics, scores, tested = {}, [], []
        sizes = {self._n(name) for name in self.generated}
        preset = self.settings.classifier()
        total = (len(self.generated) + len(sizes)) * (1 + len(self.inputs) * preset.trainings)
        with self.reporter.stage("metrics", total=total, unit="steps") as stage:
            for name in self.generated:
                n = self._n(name)
                a, b = np.sort(shuffled[:n]), np.sort(shuffled[n : 2 * n])
                c = self.conditions
                chosen = choose_generated(c[name], c["reference"][a], c["reference"][b], n, seed=self.settings.seed)
                found, classified = self._measure((name, chosen), a, stage.advance)
                if n not in floors:
                    floors[n] = self._measure(("reference", b), a, stage.advance)
                metrics[name], skipped, lost = measured_metrics(found, floors[n][0], self.judgements, n=n)
                self.unmeasured[name] |= lost
                self.skipped |= {f"{name}/{key}": reason for key, reason in skipped.items()}
                tested.append(Tested(sample=name, a=a, b=b, chosen=chosen, results=classified, floors=floors[n][1]))
                for inputs, result in classified.items():
                    metrics[name] |= classifier_metrics(
                        result, floors[n][1][inputs], inputs=inputs, n=n, suffix=self._suffix(inputs)
                    )
                    scores.append(
                        ScoreView(
                            inputs=inputs,
                            sample=name,
                            auc=result.auc[-1],
                            scores=result.scores,
                            labels=result.labels,
                            weights=result.weights,
                        )
                    )
        if self.inputs:
            more, self.classifier_views = ClassifierStudy(self, tested).run()
            metrics = {name: found | more[name] for name, found in metrics.items()}
        return metrics, tuple(scores)

    def _measure(
        self, generated: tuple[str, Index], a: Index, advance: _Advance
    ) -> tuple[dict[str, Estimate], dict[str, ClassifierResult]]:
        """Everything between half A of the reference and the chosen events of a sample."""
        name, index = generated
        g, r = self.arrays[name].take(index), self.arrays["reference"].take(a)
        found: dict[str, Estimate] = {}
        for observable in self.domain.ratios:
            found |= moment_ratios(g, r, observable)
        for observable in self.profiled:
            found |= profile_ratios(g, r, observable, self.bins)
        found |= distances(
            g,
            r,
            self.edges,
            replicas=self.settings.replicas,
            seed=self.settings.seed,
            drop_out_of_range=self.settings.compat == CALOCHALLENGE,
        )
        found |= joint_metrics(g, r, self.joint, replicas=self.settings.replicas, seed=self.settings.seed)
        found |= effective_size(g, r)
        found |= compare_measures(
            (self.measures["reference"], a, r.weights),
            (self.measures[name], index, g.weights),
            replicas=self.settings.replicas,
            seed=self.settings.seed,
        )
        if self.responses:
            judged = detector_metrics(
                Chosen(response=self.responses["reference"], index=a, weights=r.weights),
                Chosen(response=self.responses[name], index=index, weights=g.weights),
                replicas=self.settings.replicas,
                seed=self.settings.seed,
            )
            found |= {key: estimate for key, (estimate, _) in judged.items()}
            self.judgements |= {key: judgement for key, (_, judgement) in judged.items()}
        found |= self.events.measure(name, g, r)
        for metric in self.plugged:
            found |= metric.measured(g, r, taken=found, replicas=self.settings.replicas, seed=self.settings.seed)
        if name != "reference":  # which has fewer metrics: no effective size where only the sample has weights
            known = (*found, *self.unmeasured[name])
            check_gates(self.settings.gates, known, to_come=CLASSIFIER_FAMILIES if self.inputs else ())
        advance()
        results = {}
        preset = self.settings.classifier()
        groups = condition_groups(self.conditions["reference"][a], self.conditions[name][index])
        for inputs in self.inputs:
            results[inputs] = two_sample_test(
                self.inputs_of("reference", inputs)[a],
                self.inputs_of(name, inputs)[index],
                preset,
                groups=(groups[0], groups[1]),
                weights=(r.weights, g.weights),
                mirrors=self.domain.mirrors(self.reference, inputs=inputs),
                standardise=True if inputs == "log" else None,
                folds=self.settings.folds,
                seed=self.settings.seed,
                device=self.settings.device,
            )
            advance(preset.trainings)
        return found, results

    def inputs_of(self, name: str, inputs: str) -> NDArray[np.float32]:
        """Classifier inputs (N, F) of all events of a sample, computed once."""
        if (name, inputs) not in self._features:
            events = self.reference if name == "reference" else self.generated[name]
            preset = self.settings.classifier().name
            self._features[name, inputs] = self.domain.classifier_inputs(events, preset=preset, inputs=inputs)
        return self._features[name, inputs]


def _sample(events: EventsT, domain: Domain[EventsT]) -> Sample:
    observables = {o.name: o for o in domain.observables(events)}
    weights = None if events.weights is None else np.asarray(events.weights, np.float64)
    return Sample(observables=observables, binning=domain.binning(events).values, weights=weights)


def _identical(a: Sample, b: Sample) -> bool:
    return a.observables.keys() == b.observables.keys() and all(
        np.array_equal(one.values, b.observables[name].values, equal_nan=True) for name, one in a.observables.items()
    )


def _measures(events: EventsT, domain: Domain[EventsT]) -> tuple[Measure, ...]:
    return domain.measures(events) if isinstance(domain, Measured) else ()
