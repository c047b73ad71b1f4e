"""The picture of distances between nearest neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from validation.nearest import SAME
from validation.plots import colours

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from validation.views import NearestView

    Floats = NDArray[np.float64]

_BINS = 40


def nearest_figure(views: Mapping[str, NearestView]) -> Figure:
    """Distances to the nearest training event, if there are any, and to the nearest other event of the sample.

    Args:
        views: by sample name, the reference first.
    """
    panels: list[tuple[str, dict[str, Floats]]] = []
    training = {name: view.to_training for name, view in views.items() if view.to_training is not None}
    if training:
        panels.append(("distance to the nearest training event", training))
    panels.append(("distance to the nearest other event", {name: view.to_others for name, view in views.items()}))
    figure = Figure(figsize=(4.6 * len(panels), 3.4), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    palette = colours(list(views))
    for axis, (label, distances) in zip(axes, panels, strict=True):
        positive = np.concatenate([d[d > SAME] for d in distances.values()])
        low, high = (positive.min(), positive.max()) if positive.size else (1e-3, 1.0)
        edges = np.geomspace(low * (1 - 1e-9), high * (1 + 1e-9) * (1 if high > low else 1.1), _BINS + 1)
        for name, values in distances.items():
            # copies of an event have the distance zero: they stand in the first bin
            counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(values)
            axis.stairs(counts, edges, color=palette[name], label=name, fill=name == next(iter(views)), alpha=0.7)
        axis.set(xscale="log", xlabel=f"{label} [standard deviations]", ylabel="share of events")
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda distance, _: f"{distance:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.legend()
    return figure
