"""What the pictures of a report show, as small frozen arrays, so that no events need be kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from validation.classifier_views import ClassifierViews
from validation.histograms import histogram
from validation.measure import moments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from hepflows.observable import Discs, Image
    from validation.detector_views import DetectorView
    from validation.measure import Sample

    Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class HistogramView:
    """One observable in all samples.

    Attributes:
        name: identifier of the observable.
        label: axis label without unit.
        unit: unit.
        group: heading.
        log: whether the axis is logarithmic.
        edges: (K + 1,).
        shares: per sample, shares of all entries (K + 3,): below, bins, above, undefined.
        errors: per sample, their statistical errors (K + 3,).
    """

    name: str
    label: str
    unit: str
    group: str
    log: bool
    edges: Floats
    shares: Mapping[str, Floats]
    errors: Mapping[str, Floats]


@dataclass(frozen=True, kw_only=True)
class ProfileView:
    """Mean and standard deviation of an observable in bins of the condition, per sample.

    Attributes:
        name: identifier of the observable.
        label: axis label.
        x_label: label of the condition with its unit.
        edges: bin edges (K + 1,).
        rows: per sample (4, K): mean, deviation and their errors.
    """

    name: str
    label: str
    x_label: str
    edges: Floats
    rows: Mapping[str, Floats]


@dataclass(frozen=True, kw_only=True)
class ExampleView:
    """Single events of all samples at about the same condition.

    Attributes:
        label: the condition of the reference event.
        titles: per sample, the condition of its event.
        images: per sample, its pictures.
    """

    label: str
    titles: Mapping[str, str]
    images: Mapping[str, tuple[Image, ...]]


@dataclass(frozen=True, kw_only=True)
class ScoreView:
    """Scores of one classifier training on its test part.

    Attributes:
        inputs: of the classifier.
        sample: what was told from the reference.
        auc: of this training.
        scores: calibrated probabilities (K,) to be a reference event.
        labels: 1 for reference, 0 for generated events (K,).
        weights: with which both classes count the same (K,).
    """

    inputs: str
    sample: str
    auc: float
    scores: Floats
    labels: Floats
    weights: Floats


@dataclass(frozen=True, kw_only=True)
class CorrelationView:
    """Correlation matrices of the observables with one value an event, all events used.

    Attributes:
        labels: of the F observables.
        matrices: per sample (F, F), NaN where a coefficient does not exist.
    """

    labels: tuple[str, ...]
    matrices: Mapping[str, Floats]


@dataclass(frozen=True, kw_only=True)
class NearestView:
    """Distances of the events of a sample to their nearest neighbours, in standard deviations.

    Attributes:
        to_training: to the nearest training event (N,), None if the training events are not known.
        to_others: to the nearest other event of the sample (N,).
    """

    to_training: Floats | None
    to_others: Floats


@dataclass(frozen=True, kw_only=True)
class Views:
    """All pictures of a comparison; the first sample is the reference.

    Single events are shown as `examples` or, per sample, as `discs`; `detector` is there if the domain tells the
    response of one.
    """

    samples: tuple[str, ...]
    histograms: tuple[HistogramView, ...]
    ratios: tuple[ProfileView, ...]
    profiles: tuple[ProfileView, ...]
    images: Mapping[str, tuple[Image, ...]]
    examples: tuple[ExampleView, ...]
    scores: tuple[ScoreView, ...]
    discs: Mapping[str, tuple[Discs, ...]] = field(default_factory=dict)
    correlations: CorrelationView | None = None
    detector: DetectorView | None = None
    classifier: ClassifierViews = field(default_factory=ClassifierViews)
    nearest: Mapping[str, NearestView] = field(default_factory=dict)


def histogram_views(samples: Mapping[str, Sample], edges: Mapping[str, Floats]) -> tuple[HistogramView, ...]:
    """Histograms of every observable in every sample, all events used."""
    reference = next(iter(samples.values()))
    result = []
    for name, observable in reference.observables.items():
        shares, errors = {}, {}
        for key, sample in samples.items():
            values, weights = sample.observables[name].values, sample.weights
            counts = histogram(values, edges[name], weights)
            squares = counts if weights is None else histogram(values, edges[name], weights**2)
            shares[key] = counts / counts.sum()
            errors[key] = np.sqrt(squares) / counts.sum()
        result.append(
            HistogramView(
                name=name,
                label=observable.label,
                unit=observable.unit,
                group=observable.group,
                log=observable.log,
                edges=edges[name],
                shares=shares,
                errors=errors,
            )
        )
    return tuple(result)


def profile_view(samples: Mapping[str, Sample], name: str, edges: Floats, x_label: str) -> ProfileView:
    """Mean and deviation of one observable in bins of the condition."""
    rows = {}
    for key, sample in samples.items():
        columns = []
        for low, high in pairwise(edges):
            mask = (sample.binning >= low) & (sample.binning < high)
            weights = None if sample.weights is None else sample.weights[mask]
            columns.append(moments(sample.observables[name].values[mask], weights))
        rows[key] = np.array(columns).T
    label = next(iter(samples.values())).observables[name].label
    return ProfileView(name=name, label=label, x_label=x_label, edges=edges, rows=rows)
