"""What the pictures of a comparison show, made of the arrays of its job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from validation.correlation_plots import correlation_views
from validation.detector_views import detector_view
from validation.domain import Drawn
from validation.views import ExampleView, Views, histogram_views, profile_view

if TYPE_CHECKING:
    from hepflows.observable import Discs
    from validation.job import Job
    from validation.views import ScoreView


def views_of(job: Job[Any], scores: tuple[ScoreView, ...]) -> Views:
    """Everything the pictures show, from all events."""
    quantity = job.domain.binning(job.reference)
    x_label = f"{quantity.label} [{quantity.unit}]" if quantity.unit else quantity.label
    everything = {"reference": job.reference, **job.generated}
    return Views(
        samples=tuple(everything),
        histograms=histogram_views(job.arrays, job.edges),
        ratios=tuple(profile_view(job.arrays, name, job.bins, x_label) for name in job.domain.ratios),
        profiles=tuple(profile_view(job.arrays, name, job.bins, x_label) for name in job.profiled),
        images={name: job.domain.images(events) for name, events in everything.items()},
        examples=() if isinstance(job.domain, Drawn) else tuple(_example(job, share) for share in (0.2, 0.8)),
        discs={name: _discs(job, name) for name in everything} if isinstance(job.domain, Drawn) else {},
        scores=scores,
        correlations=correlation_views(job.arrays, job.joint),
        detector=detector_view(job.responses, {name: job.arrays[name].weights for name in job.responses}),
        classifier=job.classifier_views,
        nearest=job.events.views,
    )


def _discs(job: Job[Any], name: str) -> tuple[Discs, ...]:
    """Single events of a sample at about the same conditions as those of the others."""
    if not isinstance(job.domain, Drawn):
        return ()
    wanted = np.quantile(job.domain.binning(job.reference).values, (0.1, 0.4, 0.7, 0.95))
    near = np.array([np.argmin(np.abs(job.arrays[name].binning - value)) for value in wanted])
    return job.domain.discs((job.reference if name == "reference" else job.generated[name]).select(near))


def _example(job: Job[Any], share: float) -> ExampleView:
    """Single events of all samples whose condition is nearest to a quantile of the reference's."""
    quantity = job.domain.binning(job.reference)
    wanted = float(np.quantile(quantity.values, share))
    titles, images = {}, {}
    for name, sample in job.arrays.items():
        events = job.reference if name == "reference" else job.generated[name]
        near = np.argmin(np.abs(sample.binning - wanted))
        titles[name] = f"{sample.binning[near]:.3g} {quantity.unit}".strip()
        images[name] = job.domain.images(events.select(np.array([near])))
    label = f"{wanted:.3g} {quantity.unit}".strip()
    return ExampleView(label=label, titles=titles, images=images)
