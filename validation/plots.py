"""The pictures of a report as matplotlib figures, in the style of the field."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import matplotlib as mpl
import mplhep
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from hepflows.observable import Image
    from validation.views import HistogramView, ProfileView, ScoreView

    Floats = NDArray[np.float64]

REFERENCE_COLOUR = "#444444"
COLOURS = ("#3f90da", "#bd1f01", "#ffa90e", "#832db6", "#92dadd", "#a96b59", "#e76300", "#b9ac70")
"""Distinguishable with colour-blindness (M. Petroff, arXiv 2107.02270)."""
MAX_IMAGES = 6
_DECADES = 5.0  # depth of the colour scale
_STYLE = {
    "font.size": 9,
    "axes.labelsize": 10,
    "axes.titlesize": 10,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "xtick.minor.visible": True,
    "axes.linewidth": 0.9,
    "axes.formatter.use_mathtext": True,
    "axes.formatter.limits": (-3, 4),
}


def style() -> AbstractContextManager[None]:
    """Context in which figures are made and saved; leaves the caller's settings alone."""
    return mpl.rc_context(_STYLE)  # type: ignore[arg-type]  # the stub asks for literal keys


def colours(samples: Sequence[str]) -> dict[str, str]:
    """Colour of each sample, the reference first."""
    return {name: REFERENCE_COLOUR if i == 0 else COLOURS[(i - 1) % len(COLOURS)] for i, name in enumerate(samples)}


def image_figure(rows: dict[str, tuple[Image, ...]], titles: dict[str, str] | None = None) -> Figure:
    """Pictures of all samples: one row a sample, one column a layer, one logarithmic colour scale a column.

    Geometries of more than six layers show six of them, evenly spaced from front to back.
    """
    first = next(iter(rows.values()))
    shown = np.unique(np.linspace(0, len(first) - 1, min(MAX_IMAGES, len(first))).round().astype(int))
    width, height = 3.0 * len(shown) + 0.5, 2.5 * len(rows) + 1.15
    figure = Figure(figsize=(width, height))
    grid = figure.subplots(
        len(rows),
        len(shown),
        squeeze=False,
        sharex="col",
        gridspec_kw={
            "left": 1.0 / width,
            "right": 1 - 0.22 / width,
            "top": 1 - 0.3 / height,
            "bottom": 1.25 / height,
            "hspace": 0.08,
            "wspace": 0.3,
        },
    )
    colormap = mpl.colormaps["viridis"].with_extremes(bad="#ededed", under="#ededed")
    for column, layer in enumerate(shown):
        top = max(float(images[layer].values.max()) for images in rows.values())
        norm = LogNorm(vmin=(top or 1.0) * 10**-_DECADES, vmax=top or 1.0)
        for row, (name, images) in enumerate(rows.items()):
            axes, image = grid[row, column], images[layer]
            mesh = axes.pcolormesh(image.x_corners, image.y_corners, image.values, norm=norm, cmap=colormap)
            mesh.set_rasterized(True)
            axes.set_aspect("equal")
            axes.minorticks_off()
            if row == 0:
                axes.set_title(image.title)
            if row == len(rows) - 1:
                axes.set_xlabel(image.x_label)
            extra = f"\n{titles[name]}" if titles else ""
            axes.set_ylabel(f"{name}{extra}\n{image.y_label}" if column == 0 else image.y_label)
        place = grid[-1, column].get_position()
        frame = figure.add_axes((place.x0, 0.55 / height, place.width, 0.12 / height))
        bar = figure.colorbar(mesh, cax=frame, orientation="horizontal")
        bar.set_label(first[layer].value_label if not titles else "energy per cell [MeV]")
    return figure


def _legend_form(names: Sequence[str], width: float) -> tuple[int, float]:
    """Entries in a row of a legend over a figure of this width, and the height of all rows but the first, in inches."""
    longest = 0.65 + 0.07 * max(map(len, names))  # handle, gap and text
    entries = min(len(names), max(1, int(width / longest)))
    return entries, 0.19 * (math.ceil(len(names) / entries) - 1)


def histogram_figure(views: Sequence[HistogramView], *, columns: int = 3) -> Figure:
    """Histograms with ratio panels, several observables a figure."""
    rows = math.ceil(len(views) / columns)
    columns = min(columns, len(views))
    names = list(views[0].shares)
    entries, more = _legend_form(names, 3.7 * columns)
    height = 3.45 * rows + 0.35 + more
    figure = Figure(figsize=(3.7 * columns, height))
    outer = figure.add_gridspec(
        rows, columns, hspace=0.36, wspace=0.32, left=0.235 / columns + 0.005, right=0.985,
        bottom=0.56 / height, top=1 - (0.5 + more) / height,
    )  # fmt: skip
    palette = colours(names)
    for position, view in enumerate(views):
        inner = outer[position // columns, position % columns].subgridspec(2, 1, height_ratios=(3, 1), hspace=0.06)
        upper = figure.add_subplot(inner[0])
        lower = figure.add_subplot(inner[1], sharex=upper)
        _histogram(upper, lower, view, palette)
        if position == 0:
            handles, labels = upper.get_legend_handles_labels()
            figure.legend(handles, labels, loc="upper center", ncols=entries, bbox_to_anchor=(0.5, 1.0))
    return figure


def _histogram(upper: Axes, lower: Axes, view: HistogramView, palette: dict[str, str]) -> None:
    names = list(view.shares)
    inside = slice(1, -2)
    base, base_error = view.shares[names[0]][inside], view.errors[names[0]][inside]
    for i, name in enumerate(names):
        share, error = view.shares[name][inside], view.errors[name][inside]
        colour = palette[name]
        if i == 0:
            mplhep.histplot(share, view.edges, ax=upper, histtype="fill", color=colour, alpha=0.25, label=name)
            mplhep.histplot(share, view.edges, ax=upper, color=colour, linewidth=0.8, yerr=False)
            relative = np.divide(error, share, out=np.zeros_like(share), where=share > 0)
            lower.stairs(1 + relative, view.edges, baseline=1 - relative, fill=True, color=colour, alpha=0.25)
        else:
            mplhep.histplot(share, view.edges, ax=upper, color=colour, linewidth=1.3, label=name, yerr=False)
            _ratio_points(lower, view.edges, (share, error), (base, base_error), colour, log=view.log)
    _finish(upper, lower, f"{view.label} [{view.unit}]" if view.unit else view.label)
    upper.set_ylabel("share per bin")
    if view.log:
        upper.set_xscale("log")
    upper.set_xlim(view.edges[0], view.edges[-1])
    filled = base[base > 0]
    if filled.size and filled.max() > 500 * np.quantile(filled, 0.05):
        upper.set_yscale("log")
        upper.set_ylim(top=20 * filled.max())
    else:
        upper.set_ylim(0, 1.28 * max(float(view.shares[name][inside].max()) for name in names))
    outside = [100 * (1 - float(view.shares[name][inside].sum())) for name in names]
    if max(outside) > 0.5:
        text = "outside: " + " | ".join(f"{share:.1f}" for share in outside) + " %"
        upper.text(0.97, 0.95, text, transform=upper.transAxes, ha="right", va="top", fontsize=7)


def _ratio_points(
    axes: Axes,
    edges: Floats,
    above: tuple[Floats, Floats],
    below: tuple[Floats, Floats],
    colour: str,
    *,
    log: bool,
) -> None:
    """Ratio with the error of the numerator (the band holds the other); arrows where it leaves the panel."""
    centres = np.sqrt(edges[1:] * edges[:-1]) if log else 0.5 * (edges[1:] + edges[:-1])
    defined = (below[0] > 0) & (above[0] > 0)
    x, share = centres[defined], below[0][defined]
    ratio, error = above[0][defined] / share, above[1][defined] / share
    low, high = 0.5, 1.5
    shown = (ratio > low) & (ratio < high)
    axes.errorbar(x[shown], ratio[shown], error[shown], fmt=".", ms=3, lw=0.8, color=colour)
    _arrows(axes, x, ratio, (low, high), colour)


def _arrows(axes: Axes, x: Floats, ratio: Floats, limits: tuple[float, float], colour: str) -> None:
    """Arrows at the edge of a panel for ratios that leave it."""
    low, high = limits
    inside = 0.06 * (high - low)
    for beyond, place, marker in ((ratio >= high, high - inside, "^"), (ratio <= low, low + inside, "v")):
        axes.plot(x[beyond], np.full(beyond.sum(), place), marker, ms=3, color=colour)


def _finish(upper: Axes, lower: Axes, label: str, ratio_limits: tuple[float, float] = (0.5, 1.5)) -> None:
    upper.tick_params(labelbottom=False)
    lower.axhline(1.0, color="black", linewidth=0.6)
    lower.set_ylim(*ratio_limits)
    step = 0.8 * (ratio_limits[1] - 1)  # inside the panel, so that no label meets the one above
    lower.set_yticks([1 - step, 1.0, 1 + step])
    lower.set_ylabel("ratio")
    lower.set_xlabel(label)
    for axes in (upper, lower):
        axes.yaxis.set_label_coords(-0.17, 0.5)


def profile_figure(views: Sequence[ProfileView], *, widths: bool = False) -> Figure:
    """Means (and, if `widths`, standard deviations) against the condition, with ratio panels."""
    panels = [(view, which) for view in views for which in ((0, 1) if widths else (0,))]
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    names = list(views[0].rows)
    entries, more = _legend_form(names, 3.9 * columns)
    height = 3.3 * rows + 0.35 + more
    figure = Figure(figsize=(3.9 * columns, height))
    outer = figure.add_gridspec(
        rows, columns, hspace=0.36, wspace=0.36, left=0.24 / columns + 0.01, right=0.985,
        bottom=0.56 / height, top=1 - (0.48 + more) / height,
    )  # fmt: skip
    palette = colours(names)
    for position, (view, which) in enumerate(panels):
        inner = outer[position // columns, position % columns].subgridspec(2, 1, height_ratios=(2.4, 1), hspace=0.06)
        upper = figure.add_subplot(inner[0])
        lower = figure.add_subplot(inner[1], sharex=upper)
        _profile(upper, lower, view, which, palette)
        if position == 0:
            handles, labels = upper.get_legend_handles_labels()
            figure.legend(handles, labels, loc="upper center", ncols=entries, bbox_to_anchor=(0.5, 1.0))
    return figure


def _profile(upper: Axes, lower: Axes, view: ProfileView, which: int, palette: dict[str, str]) -> None:
    names = list(view.rows)
    centres, half = 0.5 * (view.edges[1:] + view.edges[:-1]), 0.5 * np.diff(view.edges)
    base = view.rows[names[0]][which]
    reach, points = 0.02, {}
    for i, name in enumerate(names):
        value, error = view.rows[name][which], view.rows[name][which + 2]
        place = centres + half * 0.18 * (i - (len(names) - 1) / 2)  # side by side, not on top of each other
        marker = "s" if i == 0 else "o"
        upper.errorbar(place, value, error, xerr=None, fmt=marker, ms=3.5, lw=1, color=palette[name], label=name)
        scale = np.where(base != 0, base, np.nan)
        ratio, ratio_error = value / scale, error / np.abs(scale)
        reach = max(reach, *np.nan_to_num(np.abs(ratio - 1) + ratio_error))
        if i == 0:
            lower.stairs(
                1 + np.nan_to_num(ratio_error),
                view.edges,
                baseline=1 - np.nan_to_num(ratio_error),
                fill=True,
                color=palette[name],
                alpha=0.25,
            )
        else:
            points[name] = place, ratio
            lower.errorbar(place, ratio, ratio_error, fmt="o", ms=3, lw=1, color=palette[name])
    for edge in view.edges[1:-1]:
        upper.axvline(edge, color="#dddddd", linewidth=0.5, zorder=0)
    limit = min(0.5, round(1.25 * reach, 2 if reach < 0.08 else 1) or 0.5)
    _finish(upper, lower, view.x_label, (1 - limit, 1 + limit))
    for name, (place, ratio) in points.items():
        _arrows(lower, place, ratio, (1 - limit, 1 + limit), palette[name])
    upper.set_ylabel(f"mean of {view.label}" if which == 0 else f"std of {view.label}")
    upper.set_xlim(view.edges[0], view.edges[-1])
    upper.margins(y=0.2)


def classifier_figure(scores: Sequence[ScoreView], samples: Sequence[str]) -> Figure:
    """ROC curves (top) and calibrated scores (bottom), one column a set of inputs."""
    palette = colours(samples)
    inputs = list(dict.fromkeys(score.inputs for score in scores))
    figure = Figure(figsize=(3.1 * len(inputs) + 0.4, 5.6), layout="constrained")
    grid = figure.subplots(2, len(inputs), squeeze=False)
    for column, name in enumerate(inputs):
        upper, lower = grid[:, column]
        upper.plot([0, 1], [0, 1], color="black", linewidth=0.6, linestyle="--")
        for score in (s for s in scores if s.inputs == name):
            false, true = roc_points(score.scores, score.labels, score.weights)
            upper.plot(false, true, color=palette[score.sample], label=f"{score.sample}: AUC {score.auc:.3f}")
            for label, line in ((0, "-"), (1, ":")):
                chosen = score.labels == label
                counts, edges = np.histogram(score.scores[chosen], 20, (0, 1), weights=score.weights[chosen])
                lower.stairs(counts / counts.sum(), edges, color=palette[score.sample], linestyle=line)
        upper.set(title=f"inputs: {name}", xlabel="generated taken for reference", xlim=(0, 1), ylim=(0, 1))
        upper.legend(loc="lower right")
        lower.set(xlabel="calibrated score (1 = reference)", xlim=(0, 1))
    grid[0, 0].set_ylabel("reference recognised")
    grid[1, 0].set_ylabel("share (solid: generated,\ndotted: reference)")
    return figure


def roc_points(scores: Floats, labels: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """False and true positive rates of the ROC curve of weighted events, from (0, 0) to (1, 1)."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    true, false = (np.cumsum((weights * share)[order])[last] for share in (labels, 1 - labels))
    return np.append(0.0, false / false[-1]), np.append(0.0, true / true[-1])
