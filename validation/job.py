"""The steps of one comparison, between the events and the frozen result.

The reference is split at random into halves A and B of n events. The floor of a metric is metric(A, B), its
value metric(A, n generated events), so both have the same statistical bias.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np

from hepflows.errors import ConfigError, DataError
from hepflows.splitting import choose_generated, condition_groups
from validation.classifier_result import classifier_metrics
from validation.classifier_study import ClassifierStudy, Tested
from validation.classifier_test import ClassifierResult, two_sample_test
from validation.classifier_views import ClassifierViews
from validation.correlation_plots import correlation_views
from validation.detector_metrics import Chosen, detector_metrics
from validation.detector_views import detector_view
from validation.domain import Drawn, Events, Measured, Responding
from validation.event_metrics import EVENT_JUDGEMENTS, EventMetrics
from validation.joint import JOINT_JUDGEMENTS, effective_size, event_observables, joint_metrics, size_judgement
from validation.measure import (
    Estimate,
    Sample,
    bin_edges,
    distances,
    edges_for,
    moment_ratios,
    profile_ratios,
)
from validation.metric import Metric
from validation.sample_metrics import compare_measures, judgements
from validation.settings import CALOCHALLENGE, Settings
from validation.views import ExampleView, ScoreView, Views, histogram_views, profile_view

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from hepflows.observable import Discs, Measure
    from hepflows.train.progress import Reporter
    from validation.domain import Domain
    from validation.metric import JsonValue

    Index = NDArray[np.int64]

MIN_EVENTS = 50
"""Least n for a comparison: fewer events make every metric noise."""

EventsT = TypeVar("EventsT", bound=Events)


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
        self.inputs = _inputs(domain.inputs, settings)
        _check_sizes(reference, generated, domain.noun)
        cautions = []
        for name, events in generated.items():
            domain.compatible(reference, events)
            cautions += [f"{name}: {text}" for text in domain.cautions(reference, events)]
        self.cautions = tuple(cautions)
        self.skipped: dict[str, str] = {}
        everything = {"reference": reference, **generated}
        with reporter.stage("observables", total=len(everything), unit="samples") as stage:
            self.arrays, self.measures, self.responses = {}, {}, {}
            for name, events in everything.items():
                self.arrays[name] = _sample(events, domain)
                self.measures[name] = _measures(events, domain)
                if isinstance(domain, Responding):
                    self.responses[name] = domain.response(events)
                stage.advance()
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
        self._features: dict[tuple[str, str], NDArray[np.float32]] = {}
        self.classifier_views = ClassifierViews()

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
                if n not in floors:
                    floors[n] = self._measure(("reference", b), a, stage.advance)
                c = self.conditions
                chosen = choose_generated(c[name], c["reference"][a], c["reference"][b], n, seed=self.settings.seed)
                found, classified = self._measure((name, chosen), a, stage.advance)
                metrics[name] = self._join(name, n, found, floors[n][0])
                tested.append(Tested(sample=name, a=a, b=b, chosen=chosen, results=classified, floors=floors[n][1]))
                for inputs, result in classified.items():
                    suffix = f"_{inputs}" if len(self.domain.inputs) > 1 else ""
                    metrics[name] |= classifier_metrics(result, floors[n][1][inputs], inputs=inputs, n=n, suffix=suffix)
                    scores.append(
                        ScoreView(
                            inputs=inputs,
                            sample=name,
                            auc=result.auc[-1],
                            scores=result.scores,
                            labels=result.labels,
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

    def _join(self, sample: str, n: int, found: dict[str, Estimate], floors: dict[str, Estimate]) -> dict[str, Metric]:
        """Metrics from estimates and their floors; what could not be measured is noted and left out."""
        result = {}
        one_each = {f"{name}_{which}" for name in self.domain.ratios for which in ("mean", "std")}
        binned = {f"{name}_bin_{k}": k for name in self.profiled for k in range(len(self.bins) - 1)}
        for name, estimate in found.items():
            if not np.isfinite(estimate.value):
                self.skipped[f"{sample}/{name}"] = estimate.reason or "no defined value in one of the samples"
                continue
            if name == "effective_sample_size":
                result[name] = size_judgement(n).metric(estimate, floors.get(name, Estimate(value=n, error=0.0)), n=n)
                continue
            if name in self.judgements:
                result[name] = self.judgements[name].metric(estimate, floors[name], n=n)
                continue
            details: dict[str, JsonValue] = dict(estimate.details)
            if name in binned:
                low, high = self.bins[binned[name] : binned[name] + 2]
                details = {"low": round(float(low), 6), "high": round(float(high), 6)}
            elif name.startswith("w1_"):
                details = {"unit": self.arrays["reference"].observables[name.removeprefix("w1_")].unit}
            is_ratio = name in one_each or name in binned
            result[name] = Metric(
                value=estimate.value,
                error=estimate.error,
                floor=floors[name].value,
                floor_error=floors[name].error,
                n=n,
                target=1.0 if is_ratio else 0.0,
                two_sided=is_ratio,
                details=details,
            )
        return result

    def views(self, scores: tuple[ScoreView, ...]) -> Views:
        """Everything the pictures show, from all events."""
        quantity = self.domain.binning(self.reference)
        x_label = f"{quantity.label} [{quantity.unit}]" if quantity.unit else quantity.label
        everything = {"reference": self.reference, **self.generated}
        return Views(
            samples=tuple(everything),
            histograms=histogram_views(self.arrays, self.edges),
            ratios=tuple(profile_view(self.arrays, name, self.bins, x_label) for name in self.domain.ratios),
            profiles=tuple(profile_view(self.arrays, name, self.bins, x_label) for name in self.profiled),
            images={name: self.domain.images(events) for name, events in everything.items()},
            examples=() if isinstance(self.domain, Drawn) else tuple(self._example(share) for share in (0.2, 0.8)),
            discs={name: self._discs(name) for name in everything} if isinstance(self.domain, Drawn) else {},
            scores=scores,
            correlations=correlation_views(self.arrays, self.joint),
            detector=detector_view(self.responses, {name: self.arrays[name].weights for name in self.responses}),
            classifier=self.classifier_views,
            nearest=self.events.views,
        )

    def _discs(self, name: str) -> tuple[Discs, ...]:
        """Single events of a sample at about the same conditions as those of the others."""
        if not isinstance(self.domain, Drawn):
            return ()
        wanted = np.quantile(self.domain.binning(self.reference).values, (0.1, 0.4, 0.7, 0.95))
        near = np.array([np.argmin(np.abs(self.arrays[name].binning - value)) for value in wanted])
        return self.domain.discs((self.reference if name == "reference" else self.generated[name]).select(near))

    def _example(self, share: float) -> ExampleView:
        """Single events of all samples whose condition is nearest to a quantile of the reference's."""
        quantity = self.domain.binning(self.reference)
        wanted = float(np.quantile(quantity.values, share))
        titles, images = {}, {}
        for name, sample in self.arrays.items():
            events = self.reference if name == "reference" else self.generated[name]
            near = np.argmin(np.abs(sample.binning - wanted))
            titles[name] = f"{sample.binning[near]:.3g} {quantity.unit}".strip()
            images[name] = self.domain.images(events.select(np.array([near])))
        label = f"{wanted:.3g} {quantity.unit}".strip()
        return ExampleView(label=label, titles=titles, images=images)


def _sample(events: EventsT, domain: Domain[EventsT]) -> Sample:
    observables = {o.name: o for o in domain.observables(events)}
    weights = None if events.weights is None else np.asarray(events.weights, np.float64)
    return Sample(observables=observables, binning=domain.binning(events).values, weights=weights)


def _measures(events: EventsT, domain: Domain[EventsT]) -> tuple[Measure, ...]:
    return domain.measures(events) if isinstance(domain, Measured) else ()


def _inputs(offered: tuple[str, ...], settings: Settings) -> tuple[str, ...]:
    if settings.trainings == 0:
        return ()
    wanted = offered if settings.inputs is None else settings.inputs
    unknown = [name for name in wanted if name not in offered]
    if unknown:
        raise ConfigError("unknown classifier inputs", expected=", ".join(offered), found=", ".join(unknown))
    return tuple(dict.fromkeys(wanted))


def _check_sizes(reference: Events, generated: Mapping[str, Events], noun: str) -> None:
    if not generated:
        raise ConfigError("nothing to compare with the reference", remedy="give at least one generated sample")
    if "reference" in generated:
        raise ConfigError("a generated sample must not be called 'reference'", remedy="name it differently")
    for name, n, least in (
        ("reference", len(reference), 2 * MIN_EVENTS),
        *((name, len(events), MIN_EVENTS) for name, events in generated.items()),
    ):
        if n < least:
            raise DataError(
                f"too few {noun} for a comparison",
                where=name,
                expected=f"at least {least}",
                found=n,
                remedy="use more events; the reference is split into two halves",
            )
