"""Comparing generated events with a reference: every metric with its uncertainty and its floor.

Example:
    >>> import calofast, validation
    >>> result = validation.compare(test, fast, calofast.OBSERVABLES)  # doctest: +SKIP
    >>> result.samples["generated"]["auc_low"].value  # doctest: +SKIP
    >>> result.write("report/")  # doctest: +SKIP
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from hepflows.train.progress import SilentReporter
from validation.baseline import Baseline, BaselineOutcome, check_baseline, compare_with_baseline
from validation.domain import Events
from validation.gates import GateOutcome, apply_gates
from validation.job import Job
from validation.job_views import views_of
from validation.metric import Metric  # noqa: TC001 - shown by typing.get_type_hints of the dataclass
from validation.settings import Settings
from validation.timing import Timing  # noqa: TC001 - shown by typing.get_type_hints of the dataclass
from validation.views import Views  # noqa: TC001 - shown by typing.get_type_hints of the dataclass

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from hepflows.train.progress import Reporter
    from validation.domain import Domain

EventsT = TypeVar("EventsT", bound=Events)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Result of a comparison; `write` makes the report.

    Attributes:
        domain: name of the domain.
        noun: what the events are called.
        reference_label: what the reference is called.
        samples: sample name -> metric name -> `Metric`.
        n_reference: events of the reference.
        n_generated: events of each sample.
        settings: how it was compared.
        domain_settings: settings of the domain in force.
        gates: outcome of every gate.
        cautions: what a reader should know.
        skipped: ``sample/metric`` -> why it could not be measured.
        provenance: free texts on the origin of the samples.
        wall_seconds: time the comparison took.
        views: what the pictures show.
        baseline: what the comparison with an older report says, if there was one.
        timings: how fast the generators sample, if that was asked for.
    """

    domain: str
    noun: str
    reference_label: str
    samples: Mapping[str, Mapping[str, Metric]]
    n_reference: int
    n_generated: Mapping[str, int]
    settings: Settings
    domain_settings: Mapping[str, float | str]
    gates: tuple[GateOutcome, ...]
    cautions: tuple[str, ...]
    skipped: Mapping[str, str]
    provenance: Mapping[str, Mapping[str, str]]
    wall_seconds: float
    views: Views
    baseline: BaselineOutcome | None = None
    timings: tuple[Timing, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every gate passed and nothing is worse than the baseline; true if there are none."""
        return all(gate.passed for gate in self.gates) and (self.baseline is None or self.baseline.passed)

    def to_json(self) -> dict[str, object]:
        """The public JSON form (schema ``hepflows-report/1``)."""
        from validation.document import to_json

        return to_json(self)

    def write(self, directory: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write ``report.html``, ``report.json`` and ``pictures/*.png`` into a directory.

        Raises:
            OutputError: the directory exists and `force` is false, or cannot be written.
        """
        from validation.report import write_report

        return write_report(self, directory, force=force)


def compare(
    reference: EventsT,
    generated: EventsT | Mapping[str, EventsT],
    domain: Domain[EventsT],
    *,
    settings: Settings | None = None,
    provenance: Mapping[str, Mapping[str, str]] | None = None,
    training: EventsT | None = None,
    baseline: Baseline | None = None,
    timings: tuple[Timing, ...] = (),
    reporter: Reporter | None = None,
) -> Comparison:
    """Compare generated events with reference events.

    Args:
        reference: trusted events, such as Geant4 showers the generators were not trained on.
        generated: one sample, or several by name.
        domain: turns the events into arrays, such as ``calofast.OBSERVABLES``.
        settings: how to compare.
        provenance: sample name (``reference`` for the reference) -> free texts shown in the report.
        training: events the generators were trained on, to tell whether they were copied.
        baseline: an older report; `Settings.baseline_sigma` says how much worse a metric may be.
        timings: how fast the generators sample, for the report.
        reporter: where progress goes.

    Returns:
        Frozen result with every number and everything the pictures need.

    Raises:
        ConfigError: unknown preset, inputs, option or gate.
        DataError: too few events, or samples that cannot be compared.
    """
    start = time.perf_counter()
    settings = settings or Settings()
    samples = dict(generated) if isinstance(generated, Mapping) else {"generated": generated}
    domain = domain.configured(settings.options) if settings.options else domain
    if baseline is not None:
        check_baseline(baseline, tuple(samples), domain=domain.name, sigma=settings.baseline_sigma)
    job = Job(reference, samples, domain, settings, reporter or SilentReporter(), training=training)
    metrics, scores = job.metrics()
    return Comparison(
        domain=domain.name,
        noun=domain.noun,
        reference_label=settings.reference_label or domain.reference_label,
        samples=metrics,
        n_reference=len(reference),
        n_generated={name: len(events) for name, events in samples.items()},
        settings=settings,
        domain_settings=domain.settings(reference),
        gates=apply_gates(
            settings.gates,
            metrics,
            settings.suite().gates if settings.default_gates else None,
            unmeasured=job.unmeasured,
        ),
        cautions=job.cautions,
        skipped=job.skipped,
        provenance=provenance or {},
        views=views_of(job, scores),
        baseline=None
        if baseline is None
        else compare_with_baseline(baseline, metrics, domain=domain.name, sigma=settings.baseline_sigma),
        timings=timings,
        wall_seconds=time.perf_counter() - start,
    )


__all__ = ["Comparison", "Settings", "compare"]
