"""Pictures of the classifier test: calibration, weights, learning curves, drivers and extreme events."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from matplotlib.figure import Figure

from hepflows.weights import likelihood_ratios
from validation.calibration import calibration_curve
from validation.classifier_weights import HIGH, LOW
from validation.event_plots import disc_figure
from validation.plots import REFERENCE_COLOUR, colours, image_figure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matplotlib.axes import Axes

    from validation.classifier_views import DriverView, LearningView
    from validation.views import ScoreView, Views

_T = TypeVar("_T")
_SHOWN_DRIVERS = 12
_LARGEST_ERROR = 0.2  # bins of the reliability diagram with fewer than about five events say nothing
_WEIGHT_REACH = 2.5  # decades of the weight on either side of 1


def classifier_pictures(views: Views, *, reference_label: str, noun: str) -> Iterator[tuple[str, str, str, Figure]]:
    """Yield key, section, caption and figure of each picture."""
    caption = (
        "Share of reference events against the calibrated score (last training), on events unseen by training and "
    )
    caption += "calibration. On the diagonal scores are probabilities; bins with an error above 0.2 are left out."
    yield "calibration", "Classifier: calibration", caption, calibration_figure(views.scores, views.samples)
    caption = (
        f"Weights w = f / (1 - f) = p_reference / p_generated (last training). Generated {noun} far to the left are "
    )
    caption += (
        f"made too often, reference {noun} far to the right too seldom. Dashed: w = 0.1 and 10; the outermost bins "
    )
    caption += "hold what lies beyond."
    yield "weights", "Classifier: weights", caption, weight_figure(views.scores, views.samples)
    extra = views.classifier
    if extra.learning:
        caption = (
            f"AUC against the {noun} per class that the classifier learned from; grey: floor. If a curve still rises "
        )
        caption += "at its end, the classifier is not yet sharp enough to judge the generator."
        yield "learning_curve", "Classifier: learning curve", caption, learning_figure(extra.learning, views.samples)
    if any(view.rows for view in extra.drivers):
        caption = (
            f"What sets the 5 % of generated {noun} with the lowest weights apart from the others: Kolmogorov-Smirnov "
        )
        caption += "distance by observable; grey: floor."
        yield "drivers", "Classifier: what it sees", caption, driver_figure(extra.drivers, views.samples)
    section = f"Single {noun} with extreme weights"
    for number, extreme in enumerate(extra.extremes):
        caption = (
            f"Generated {noun} of {extreme.sample} that are rare in the reference, and reference {noun} that it makes "
        )
        caption += f"too seldom, by the weights of the sharpest network ({extreme.inputs} inputs)."
        if extreme.discs:
            yield f"extremes_{number}", section, caption, disc_figure(_labelled(extreme.discs, reference_label))
        elif any(extreme.images.values()):
            images, titles = _labelled(extreme.images, reference_label), _labelled(extreme.titles, reference_label)
            yield f"extremes_{number}", section, caption, image_figure(images, titles)


def _labelled(rows: Mapping[str, _T], reference_label: str) -> dict[str, _T]:
    """Rows of extreme events under the name that the report gives the reference."""
    return {
        key.replace("reference", reference_label, 1) if key.startswith("reference, ") else key: row
        for key, row in rows.items()
    }


def calibration_figure(scores: Sequence[ScoreView], samples: Sequence[str]) -> Figure:
    """Reliability diagrams, one panel a set of inputs."""
    palette = colours(samples)
    figure, panels = _panels(scores, height=3.2)
    for name, axes in panels.items():
        axes.plot([0, 1], [0, 1], color="black", linewidth=0.6, linestyle="--")
        for score in (s for s in scores if s.inputs == name):
            curve = calibration_curve(score.scores, score.labels, score.weights)
            shown = curve.errors < _LARGEST_ERROR
            axes.errorbar(
                curve.predicted[shown],
                curve.observed[shown],
                curve.errors[shown],
                fmt="o",
                ms=3,
                lw=0.9,
                color=palette[score.sample],
                label=score.sample,
            )
        axes.set(title=f"inputs: {name}", xlabel="calibrated score", xlim=(0, 1), ylim=(0, 1))
        axes.legend(loc="upper left")
    next(iter(panels.values())).set_ylabel("share of reference events")
    return figure


def weight_figure(scores: Sequence[ScoreView], samples: Sequence[str]) -> Figure:
    """Distributions of log10 w of generated (solid) and reference (dotted) events, one panel a set of inputs."""
    palette = colours(samples)
    figure, panels = _panels(scores, height=3.2)
    edges = np.linspace(-_WEIGHT_REACH, _WEIGHT_REACH, 41)
    for name, axes in panels.items():
        for edge in (LOW, HIGH):
            axes.axvline(np.log10(edge), color="black", linewidth=0.6, linestyle="--")
        for score in (s for s in scores if s.inputs == name):
            logs = np.clip(np.log10(likelihood_ratios(score.scores)), edges[0], edges[-1])
            for label, line in ((0, "-"), (1, ":")):
                chosen = score.labels == label
                counts = np.histogram(logs[chosen], edges, weights=score.weights[chosen])[0]
                title = score.sample if label == 0 else None
                axes.stairs(counts / counts.sum(), edges, color=palette[score.sample], linestyle=line, label=title)
        axes.set(title=f"inputs: {name}", xlabel=r"$\log_{10} w$", yscale="log", xlim=(edges[0], edges[-1]))
        axes.legend(loc="upper left")
    next(iter(panels.values())).set_ylabel("share (solid: generated,\ndotted: reference)")
    return figure


def learning_figure(views: Sequence[LearningView], samples: Sequence[str]) -> Figure:
    """AUC against the size of the training part, one panel a set of inputs."""
    palette = colours(samples)
    figure, panels = _panels(views, height=3.2)
    for name, axes in panels.items():
        axes.axhline(0.5, color="black", linewidth=0.6, linestyle="--")
        for view in (v for v in views if v.inputs == name):
            for points, colour, label in (
                (view.floor, REFERENCE_COLOUR, None),
                (view.auc, palette[view.sample], view.sample),
            ):
                values, errors = [p.value for p in points], [p.error for p in points]
                axes.errorbar(view.sizes, values, errors, fmt="o-", ms=3, lw=0.9, color=colour, label=label)
        axes.set(title=f"inputs: {name}", xlabel="training events per class", xscale="log")
        axes.legend(loc="upper left")
    next(iter(panels.values())).set_ylabel("AUC")
    return figure


def driver_figure(views: Sequence[DriverView], samples: Sequence[str]) -> Figure:
    """The observables that set extreme events apart most, one panel a sample."""
    palette = colours(samples)
    longest = max(min(_SHOWN_DRIVERS, len(view.rows)) for view in views)
    figure = Figure(figsize=(4.6 * len(views), 0.28 * longest + 1.0), layout="constrained")
    for axes, view in zip(figure.subplots(1, len(views), squeeze=False)[0], views, strict=True):
        rows = view.rows[:_SHOWN_DRIVERS]
        places = -np.arange(len(rows))
        axes.barh(
            places,
            [row.ks.value for row in rows],
            xerr=[row.ks.error for row in rows],
            color=palette[view.sample],
            alpha=0.7,
            error_kw={"lw": 0.8},
        )
        axes.errorbar(
            [row.floor.value for row in rows],
            places,
            xerr=[row.floor.error for row in rows],
            fmt="s",
            ms=3,
            lw=0.8,
            color=REFERENCE_COLOUR,
        )
        axes.minorticks_off()
        axes.set_yticks(places, [row.label for row in rows])
        axes.set(title=view.sample, xlabel="KS distance, lowest w", xlim=(0, None))
    return figure


def _panels(views: Sequence[ScoreView | LearningView], *, height: float) -> tuple[Figure, dict[str, Axes]]:
    """One panel for each set of inputs."""
    inputs = list(dict.fromkeys(view.inputs for view in views))
    figure = Figure(figsize=(3.1 * len(inputs) + 0.4, height), layout="constrained")
    return figure, dict(zip(inputs, figure.subplots(1, len(inputs), squeeze=False)[0], strict=True))
