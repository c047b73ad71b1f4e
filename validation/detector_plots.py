"""Pictures of a detector: response and resolution with their fits, mean profiles, correlations of layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from validation.plots import colours

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from validation.detector_views import DetectorView, RangeView
    from validation.response import Curve

    Floats = NDArray[np.float64]

_RATIO_REACH = 0.5  # widest ratio panel
_CURVE_POINTS = 200
_RESPONSE_CAPTION = (
    "Left: mean response in bins of the true energy. Right: resolution, deviation over mean, with the fit of "
    "a / sqrt(E) and b added in quadrature. Lower panels: ratios to the reference."
)
_MATRIX_CAPTION = (
    "Linear correlations of layer signals over the true energy. First row: reference; then the sample minus the "
    "reference, on a scale of its own."
)


def detector_figures(view: DetectorView, labels: Mapping[str, str]) -> Iterator[tuple[str, str, str, Figure]]:
    """Yield key, section, caption and figure of each picture; `labels` names the samples, the reference first."""
    yield "resolution", "Response and resolution", _RESPONSE_CAPTION, _response_figure(view, labels)
    for k, (label, _) in enumerate(view.labels):
        yield (
            f"mean_profile_{k}",
            "Longitudinal and radial profile",
            f"Mean profile against {label.split(' [', maxsplit=1)[0]} in ranges of the true energy.",
            _profile_figure(view, k, labels),
        )
    if any(matrix.shape[0] > 1 for part in view.ranges for matrix in part.correlations.values()):
        yield "layer_correlations", "Correlations of layers", _MATRIX_CAPTION, _matrix_figure(view.ranges, labels)


def _response_figure(view: DetectorView, labels: Mapping[str, str]) -> Figure:
    figure = Figure(figsize=(9.4, 4.6), layout="constrained")
    panels = figure.subplots(2, 2, sharex="col", gridspec_kw={"height_ratios": (2.4, 1)})
    palette = colours(list(labels))
    names = list(view.curves)
    for i, (name, curve) in enumerate(view.curves.items()):
        shift = 1 + 0.015 * (i - (len(names) - 1) / 2)  # side by side, not on top of each other
        x, colour, marker = curve.energy * shift, palette[name], "s" if i == 0 else "o"
        for column, which in enumerate(("response", "resolution")):
            value, error = _column(curve, which)
            base = _column(view.curves[names[0]], which)[0]
            text = labels[name] if column == 0 else _terms(view, name, labels[name])
            panels[0, column].errorbar(x, value, error, fmt=marker, ms=3.5, lw=1, color=colour, label=text)
            scale = np.where(base != 0, base, np.nan)
            panels[1, column].errorbar(x, value / scale, error / scale, fmt=marker, ms=3, lw=1, color=colour)
        a, b = view.resolution[name].values
        if np.isfinite(a):
            at = np.geomspace(np.nanmin(curve.energy), np.nanmax(curve.energy), _CURVE_POINTS)
            panels[0, 1].plot(at, np.hypot(a / np.sqrt(at), b), color=colour, lw=0.9)
    panels[0, 0].set_ylabel(f"mean of {view.ratio_label}")
    panels[0, 1].set_ylabel(f"resolution of {view.ratio_label}")
    for column in range(2):
        panels[0, column].margins(y=0.25)
        panels[0, column].legend()
        panels[1, column].axhline(1.0, color="black", lw=0.6)
        panels[1, column].set(ylabel="ratio", xlabel=view.truth_label)
    return figure


def _column(curve: Curve, which: str) -> tuple[Floats, Floats]:
    return getattr(curve, which), getattr(curve, f"{which}_error")


def _terms(view: DetectorView, name: str, label: str) -> str:
    """Fitted terms of the resolution in per cent."""
    fit = view.resolution[name]
    if not np.isfinite(fit.values[0]):
        return label
    (a, b), (a_error, b_error) = (100 * np.array(pair) for pair in (fit.values, fit.errors))
    root = rf"$\sqrt{{\mathrm{{{view.unit}}}}}$" if view.unit else ""
    return f"{label}: a = {a:.2g} ± {a_error:.1g} % {root}, b = {b:.2g} ± {b_error:.1g} %"


def _profile_figure(view: DetectorView, k: int, labels: Mapping[str, str]) -> Figure:
    edges, (label, value_label) = view.edges[k], view.labels[k]
    columns = len(view.ranges)
    width, height = 3.7 * columns + 0.4, 4.4
    figure = Figure(figsize=(width, height))  # fixed places: a layout that is found takes as long as the drawing
    places = {
        "left": 0.8 / width,
        "right": 1 - 0.12 / width,
        "bottom": 0.5 / height,
        "top": 1 - 0.35 / height,
        "wspace": 0.24,
        "hspace": 0.07,
        "height_ratios": (2.4, 1),
    }
    panels = figure.subplots(2, columns, squeeze=False, sharex="col", gridspec_kw=places)
    palette = colours(list(labels))
    widths, centres = np.diff(edges), 0.5 * (edges[1:] + edges[:-1])
    for column, part in enumerate(view.ranges):
        upper, lower = panels[:, column]
        base = None
        for i, (name, profile) in enumerate(part.profiles[k].items()):
            density, error = profile.mean / widths, profile.error / widths
            fill = {"fill": True, "alpha": 0.25} if i == 0 else {"linewidth": 1.3}
            upper.stairs(density, edges, color=palette[name], label=labels[name], **fill)
            base = density if base is None else base
            scale = np.where(base > 0, base, np.nan)
            relative, spread = density / scale, error / scale
            if i == 0:
                band = np.nan_to_num(spread)
                lower.stairs(1 + band, edges, baseline=1 - band, fill=True, color=palette[name], alpha=0.25)
            else:
                lower.errorbar(centres, relative, spread, fmt=".", ms=4, lw=0.9, color=palette[name])
        _finish_profile(upper, lower, part.title, label, value_label if column == 0 else "")
    return figure


def _finish_profile(upper: Axes, lower: Axes, title: str, label: str, value_label: str) -> None:
    heights = np.concatenate([np.asarray(patch.get_data().values) for patch in upper.patches])  # type: ignore[attr-defined]
    positive = heights[heights > 0]
    if positive.size and positive.max() > 200 * np.quantile(positive, 0.1):
        upper.set_yscale("log")
    upper.set_title(title)
    upper.set_ylabel(value_label)
    upper.legend()
    lower.axhline(1.0, color="black", lw=0.6)
    low, high = lower.get_ylim()
    reach = min(_RATIO_REACH, max(0.02, high - 1, 1 - low))
    lower.set(xlabel=label, ylabel="ratio" if value_label else "", ylim=(1 - reach, 1 + reach))


def _matrix_figure(ranges: tuple[RangeView, ...], labels: Mapping[str, str]) -> Figure:
    names = list(labels)
    figure = Figure(figsize=(2.9 * len(ranges) + 1.0, 2.6 * len(names)), layout="constrained")
    grid = figure.subplots(len(names), len(ranges), squeeze=False)
    colormap = mpl.colormaps["RdBu_r"].with_extremes(bad="#ededed")
    tables = [
        [_difference(part, names[0], name) if i else part.correlations.get(name) for part in ranges]
        for i, name in enumerate(names)
    ]
    reach = max(
        (float(np.nanmax(np.abs(t), initial=0.0)) for row in tables[1:] for t in row if t is not None), default=0
    )
    for i, (name, row) in enumerate(zip(names, tables, strict=True)):
        limit = 1.0 if i == 0 else reach or 1.0
        mesh = None
        for axes, part, table in zip(grid[i], ranges, row, strict=True):
            axes.minorticks_off()
            axes.set_title(part.title if i == 0 else "")
            if table is None:
                axes.set_axis_off()
                continue
            mesh = axes.imshow(table, origin="lower", cmap=colormap, vmin=-limit, vmax=limit)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.yaxis.get_major_locator().set_params(integer=True)
            if i == len(names) - 1:
                axes.set_xlabel("layer")
        if mesh is not None:
            figure.colorbar(mesh, ax=grid[i].tolist(), shrink=0.8)
        grid[i, 0].set_ylabel(labels[name] + (" - reference" if i else "") + "\nlayer")
    return figure


def _difference(part: RangeView, reference: str, name: str) -> Floats | None:
    if name not in part.correlations or reference not in part.correlations:
        return None
    return part.correlations[name] - part.correlations[reference]
