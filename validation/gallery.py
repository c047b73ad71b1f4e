"""Which pictures a report shows, in which order, under which headings."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from validation.classifier_pictures import classifier_pictures
from validation.correlation_plots import correlation_figures
from validation.detector_plots import detector_figures
from validation.event_plots import disc_figure, mean_figure
from validation.nearest_plots import nearest_figure
from validation.plots import classifier_figure, histogram_figure, image_figure, profile_figure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matplotlib.figure import Figure

    from hepflows.observable import Image
    from validation.views import HistogramView, ProfileView, Views

MAX_PANELS = 12
"""A group with more observables (calorimeters of many layers) shows evenly spaced ones."""
_PER_FIGURE = 6
_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure with its place in the report."""

    key: str
    section: str
    caption: str
    figure: Figure


def gallery(views: Views, *, reference_label: str, noun: str) -> Iterator[Picture]:
    """Yield all pictures of a report, one at a time.

    Args:
        views: what to show.
        reference_label: what the reference is called.
        noun: plural of what the events are called.
    """
    labels = {name: reference_label if i == 0 else name for i, name in enumerate(views.samples)}
    if any(views.images.values()):
        yield Picture(
            key="average",
            section=f"Average {noun}",
            caption="Mean over all events; one logarithmic scale a column, down to 1e-5 of its maximum."
            if max(len(images) for images in views.images.values()) > 1
            else "Mean over all events, on one logarithmic scale.",
            figure=_average(_named(views.images, labels)),
        )
    if views.ratios:
        yield Picture(
            key="response",
            section="Means and widths in bins of the condition",
            caption="Mean and width in bins of the condition. Grey band: statistical error of the reference.",
            figure=profile_figure([_profile(view, labels) for view in views.ratios], widths=True),
        )
    for part, chunk in enumerate(_chunks(views.profiles)):
        yield Picture(
            key=f"profiles_{part}",
            section="Means in bins of the condition",
            caption="The numbers ..._bin_k of the table are the ratios of such points.",
            figure=profile_figure([_profile(view, labels) for view in chunk]),
        )
    yield from _detector(views, labels)
    for i, example in enumerate(views.examples):
        if any(example.images.values()):
            yield Picture(
                key=f"example_{i}",
                section=f"Single {noun}",
                caption=f"One event of each sample, the nearest to {example.label}.",
                figure=image_figure(_named(example.images, labels), _named(example.titles, labels)),
            )
    if views.discs:
        yield Picture(
            key="examples",
            section=f"Single {noun}",
            caption="In each column one event of every sample, those nearest to one condition. The area of a disc is "
            "proportional to what it stands for.",
            figure=disc_figure(_named(views.discs, labels)),
        )
    for group in dict.fromkeys(view.group for view in views.histograms):
        members = [_histogram(view, labels) for view in views.histograms if view.group == group]
        for part, histograms in enumerate(_chunks(members)):
            yield Picture(
                key=f"{group.lower().replace(' ', '_')}_{part}",
                section=group,
                caption="Grey: reference with its statistical error. Outside: entries beyond the axis or "
                "undefined, in the order of the legend.",
                figure=histogram_figure(histograms),
            )
    yield from _correlations(views, labels)
    yield from _nearest(views, labels)
    if views.scores:
        yield from _classifier(views, reference_label=reference_label, noun=noun)


def _classifier(views: Views, *, reference_label: str, noun: str) -> Iterator[Picture]:
    yield Picture(
        key="classifier",
        section="Classifier test",
        caption="Test part of the last training. The dashed diagonal is a perfect generator.",
        figure=classifier_figure(views.scores, views.samples),
    )
    for key, section, caption, figure in classifier_pictures(views, reference_label=reference_label, noun=noun):
        yield Picture(key=key, section=section, caption=caption, figure=figure)


def _correlations(views: Views, labels: Mapping[str, str]) -> Iterator[Picture]:
    if views.correlations is not None:
        for part, figure in enumerate(correlation_figures(views.correlations, labels)):
            yield Picture(
                key=f"correlations_{part}",
                section="Correlations",
                caption="Correlation coefficients of the observables with one value an event (top) and their "
                "differences from the reference (bottom); all events.",
                figure=figure,
            )


def _detector(views: Views, labels: Mapping[str, str]) -> Iterator[Picture]:
    if views.detector is not None:
        for key, section, caption, figure in detector_figures(views.detector, labels):
            yield Picture(key=key, section=section, caption=caption, figure=figure)


def _nearest(views: Views, labels: Mapping[str, str]) -> Iterator[Picture]:
    if views.nearest:
        yield Picture(
            key="nearest",
            section="Copies",
            caption="Distances to the nearest training event and to the nearest other event of the same sample, in "
            "standard deviations of the observables. Copied events lie to the left of the reference.",
            figure=nearest_figure(_named(views.nearest, labels)),
        )


def _average(rows: dict[str, tuple[Image, ...]]) -> Figure:
    if max(len(images) for images in rows.values()) > 1:
        return image_figure(rows)
    return mean_figure({name: images[0] for name, images in rows.items()})


def _named(rows: Mapping[str, _T], labels: Mapping[str, str]) -> dict[str, _T]:
    return {labels[name]: row for name, row in rows.items()}


def _histogram(view: HistogramView, labels: Mapping[str, str]) -> HistogramView:
    return dataclasses.replace(view, shares=_named(view.shares, labels), errors=_named(view.errors, labels))


def _profile(view: ProfileView, labels: Mapping[str, str]) -> ProfileView:
    return dataclasses.replace(view, rows=_named(view.rows, labels))


def _chunks(members: Sequence[_T]) -> list[list[_T]]:
    count = min(MAX_PANELS, len(members))
    shown = np.unique(np.linspace(0, max(0, len(members) - 1), count).round().astype(int))
    chosen = [members[i] for i in shown]
    return [chosen[i : i + _PER_FIGURE] for i in range(0, len(chosen), _PER_FIGURE)]
