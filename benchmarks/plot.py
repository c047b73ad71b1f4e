"""Pictures of time against batch, and of a sweep over the dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hepflows.files import atomic_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.axes import Axes

_COLOURS = {"hepflows": "tab:blue", "nflows": "tab:orange", "zuko": "tab:green", "normflows": "tab:red",
            "numba": "tab:blue", "torch": "tab:orange", "onnxruntime": "tab:purple",
            "onnxruntime_float16": "tab:pink", "onnxruntime_int8": "tab:brown"}  # fmt: skip
_MARKERS = {"teacher": "o", "student": "^", "coupling": "s"}


def plot_results(
    sides: Mapping[str, Any],
    path: Path,
    *,
    title: str,
    subtitle: str,
    xlabel: str = "batch",
    ylabel: str = "time per event [ms]",
    sweep: Mapping[str, Any] | None = None,
) -> None:
    """Draw milliseconds against batch for all sides, with quartiles; extrapolated ones are dashed.

    Args:
        sides: ``sides`` of a benchmark's results; a side is called ``LIBRARY ROLE ...``.
        path: PNG file; replaced if it exists.
        title: above the picture.
        subtitle: machine and versions, in small type below the picture.
        xlabel: what is on the horizontal axis.
        ylabel: what is on the vertical axis.
        sweep: result of `benchmarks.sweep`, for a second picture beside it.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5 if sweep is None else 13.0, 5.2), layout="constrained")
    axes, *others = figure.subplots(1, 1 if sweep is None else 2, squeeze=False)[0]
    for name, side in sides.items():
        _draw_side(axes, name, side)
    axes.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel, title=title)
    if sweep is not None:
        _draw_sweep(others[0], sweep["features"])
    for each in (axes, *others):
        each.grid(visible=True, which="major", alpha=0.4)
        each.legend(fontsize="small")
    figure.supxlabel(subtitle, fontsize=5.5, color="gray")
    with atomic_file(path, force=True) as temporary:
        figure.savefig(temporary, dpi=160, format="png")


def _draw_side(axes: Axes, name: str, side: Mapping[str, Any]) -> None:
    library, role = name.replace(",", "").split()[:2]
    entries = sorted((int(batch), entry) for batch, entry in side["batches"].items())
    batches = [batch for batch, _ in entries]
    extrapolated = side["extrapolated"] is not None
    colour = _COLOURS.get(library, "tab:gray")
    axes.plot(
        batches,
        [entry["ms"] for _, entry in entries],
        color=colour,
        marker=_MARKERS.get(role, "x"),
        markerfacecolor="none" if extrapolated else None,
        linestyle="--" if extrapolated else "-",
        label=name + (" (extrapolated)" if extrapolated else ""),
    )
    low = [entry["ms_quartile_low"] for _, entry in entries]
    high = [entry["ms_quartile_high"] for _, entry in entries]
    axes.fill_between(batches, low, high, color=colour, alpha=0.15, linewidth=0)


def _draw_sweep(axes: Axes, series: Mapping[str, Any]) -> None:
    """CPU time of one block against the dimensions D, with lines of D^2 and D^3."""
    lines = [("hepflows teacher, one block", series, "tab:blue", "-", 2)]
    if "nflows_naive" in series:
        lines.append(("nflows naive (extrapolated)", series["nflows_naive"], "tab:orange", "--", 3))
    for label, values, colour, style, power in lines:
        sizes, times = values["sizes"], values["cpu_ms"]
        axes.plot(sizes, times, style, color=colour, marker="o", label=label)
        guide = [times[-1] * (size / sizes[-1]) ** power for size in sizes]
        axes.plot(sizes, guide, ":", color=colour, label=f"D^{power}")
    title = f"One block of the teacher, batch {series['batch']}, hidden 3/4 D"
    axes.set(xscale="log", yscale="log", xlabel="dimensions D", ylabel="CPU time per event [ms]", title=title)
