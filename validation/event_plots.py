"""Pictures of events that are points in a plane: the mean of a sample, and single events as discs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.collections import EllipseCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from validation.plots import colours

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

    from hepflows.observable import Discs, Image

_COLUMNS = 4
_DECADES = 4.0  # depth of the colour scale
_DISC = 0.36  # diameter of a disc of size 1, in units of the reach


def mean_figure(images: Mapping[str, Image]) -> Figure:
    """One picture a sample, up to four in a row, on one logarithmic colour scale."""
    columns = min(_COLUMNS, len(images))
    rows = math.ceil(len(images) / columns)
    figure, grid = _panels(rows, columns, side=2.6, right=1.0)
    top = max(float(image.values.max()) for image in images.values()) or 1.0
    norm = LogNorm(vmin=top * 10**-_DECADES, vmax=top)
    colormap = mpl.colormaps["viridis"].with_extremes(bad="#ededed", under="#ededed")
    panels = [axes for row in grid for axes in row]
    for axes, (name, image) in zip(panels, images.items(), strict=False):
        mesh = axes.pcolormesh(image.x_corners, image.y_corners, image.values, norm=norm, cmap=colormap)
        mesh.set_rasterized(True)
        axes.set_title(name)
        _finish(axes, image.x_label, image.y_label)
    for above, axes in zip(panels[len(images) - columns :], panels[len(images) :], strict=False):
        axes.set_visible(False)
        above.set_xlabel(image.x_label)
        above.tick_params(labelbottom=True)
    width = figure.get_figwidth()
    place = grid[0][-1].get_position()
    frame = figure.add_axes((1 - 0.85 / width, place.y0, 0.14 / width, place.height))
    figure.colorbar(mesh, cax=frame).set_label(image.value_label)
    return figure


def disc_figure(rows: Mapping[str, tuple[Discs, ...]]) -> Figure:
    """Single events: one row a sample, the area of a disc proportional to the size of its point."""
    columns = max(len(events) for events in rows.values())
    figure, grid = _panels(len(rows), columns, side=2.3, right=0.1)
    palette = colours(list(rows))
    for line, (name, events) in zip(grid, rows.items(), strict=True):
        for axes, event in zip(line, events, strict=True):
            diameters = _DISC * 2 * event.reach * event.sizes**0.5
            discs = EllipseCollection(
                diameters,
                diameters,
                [0.0] * len(diameters),
                units="xy",
                offsets=list(zip(event.x, event.y, strict=True)),
                offset_transform=axes.transData,
                facecolor=palette[name],
                edgecolor="white",
                linewidth=0.4,
                alpha=0.65,
            )
            axes.add_collection(discs)
            axes.axhline(0, color="#cccccc", linewidth=0.5, zorder=0)
            axes.axvline(0, color="#cccccc", linewidth=0.5, zorder=0)
            axes.set(xlim=(-event.reach, event.reach), ylim=(-event.reach, event.reach))
            axes.set_title(event.title, fontsize=8)
            _finish(axes, event.x_label, event.y_label)
        line[0].set_ylabel(f"{name}\n{events[0].y_label}")
    return figure


def _panels(rows: int, columns: int, *, side: float, right: float) -> tuple[Figure, list[list[Axes]]]:
    """A figure of square panels of so many inches, with room for titles, labels and `right` inches of colour scale."""
    left, bottom, top, gap_x, gap_y = 0.85, 0.5, 0.3, 0.12, 0.32
    width = left + columns * side + (columns - 1) * gap_x + right
    height = bottom + rows * side + (rows - 1) * gap_y + top
    figure = Figure(figsize=(width, height))
    places = {
        "left": left / width,
        "right": 1 - right / width,
        "bottom": bottom / height,
        "top": 1 - top / height,
        "wspace": gap_x / side,
        "hspace": gap_y / side,
    }
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True, gridspec_kw=places)
    return figure, grid.tolist()


def _finish(axes: Axes, x_label: str, y_label: str) -> None:
    axes.minorticks_off()
    if axes.get_subplotspec().is_last_row():  # type: ignore[union-attr]  # made by subplots, so there is one
        axes.set_xlabel(x_label)
    if axes.get_subplotspec().is_first_col():  # type: ignore[union-attr]
        axes.set_ylabel(y_label)
