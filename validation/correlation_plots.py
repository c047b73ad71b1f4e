"""The picture of correlation matrices: reference and samples, and what differs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from validation.correlations import correlation_matrix
from validation.views import CorrelationView

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from validation.measure import Sample

    Floats = NDArray[np.float64]

_COLUMNS = 3  # samples beside the reference in one figure
_MAX_LABELS = 40  # more would not be legible
_SIDE = 3.5  # inches of a matrix
_LEAST_RANGE = 0.05  # of the colour scale of differences


def correlation_views(samples: Mapping[str, Sample], names: tuple[str, ...]) -> CorrelationView | None:
    """Matrices of all samples, the reference first; None if there are fewer than two observables."""
    if len(names) < 2:
        return None
    reference = next(iter(samples.values()))
    matrices = {}
    for key, sample in samples.items():
        columns = [np.asarray(sample.observables[name].values, np.float64) for name in names]
        matrices[key] = correlation_matrix(np.stack(columns, axis=1), sample.weights)
    return CorrelationView(labels=tuple(reference.observables[name].label for name in names), matrices=matrices)


def correlation_figures(view: CorrelationView, titles: Mapping[str, str]) -> Iterator[Figure]:
    """Figures of the reference and up to three samples each: matrices above, differences from the reference below."""
    reference, *others = view.matrices
    for start in range(0, len(others), _COLUMNS):
        yield _figure(view, reference, others[start : start + _COLUMNS], titles)


def _figure(view: CorrelationView, reference: str, others: list[str], titles: Mapping[str, str]) -> Figure:
    columns = 1 + len(others)
    figure = Figure(figsize=(_SIDE * columns + 2.2, 2 * _SIDE + 1.6), layout="constrained")
    grid = figure.subplots(2, columns, squeeze=False)
    differences = {name: view.matrices[name] - view.matrices[reference] for name in others}
    reach = max([_LEAST_RANGE, *(float(np.max(np.abs(d[np.isfinite(d)]), initial=0.0)) for d in differences.values())])
    for column, name in enumerate([reference, *others]):
        upper = _matrix(grid[0, column], view.matrices[name], 1.0)
        grid[0, column].set_title(titles[name])
        if column:
            lower = _matrix(grid[1, column], differences[name], reach)
            grid[1, column].set_title(f"{titles[name]} - {titles[reference]}")
    grid[1, 0].set_visible(False)
    labelled = (grid[0, 0], grid[1, 1])
    if len(view.labels) <= _MAX_LABELS:
        places, size = np.arange(len(view.labels)), max(3.0, min(8.0, 170 / len(view.labels)))
        for axes in labelled:
            axes.set_yticks(places, view.labels, fontsize=size)
        for axes in grid[1, 1:]:
            axes.set_xticks(places, view.labels, fontsize=size, rotation=90)
    figure.colorbar(upper, ax=grid[0, :].tolist(), label="correlation")
    figure.colorbar(lower, ax=grid[1, :].tolist(), label="difference")
    return figure


def _matrix(axes: Axes, values: Floats, reach: float) -> mpl.image.AxesImage:
    colormap = mpl.colormaps["RdBu_r"].with_extremes(bad="#ededed")
    picture = axes.imshow(np.ma.masked_invalid(values), cmap=colormap, vmin=-reach, vmax=reach)
    axes.tick_params(which="both", top=False, right=False, bottom=False, left=False)
    axes.minorticks_off()
    axes.set(xticks=[], yticks=[])
    return picture
