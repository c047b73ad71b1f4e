"""Picture of the speed-up over Geant4."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hepflows.files import atomic_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.axes import Axes

_COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple", "tab:brown", "tab:pink", "tab:olive")
_LINES = ("-", "--", ":", "-.")


def plot_speedup(results: Mapping[str, Any], path: Path, *, subtitle: str) -> None:
    """Draw time against energy, and beside it how many times faster than the first of Geant4's lists.

    Args:
        results: of `benchmarks.geant4_speedup`.
        path: PNG file; replaced if it exists.
        subtitle: machine and versions, in small type below the picture.
    """
    from matplotlib.figure import Figure

    first = next(iter(results["geant4"]))
    pictures = 2 if results["generators"] else 1
    figure = Figure(figsize=(6.5 * pictures, 6.0), layout="constrained")
    axes, *others = figure.subplots(1, pictures, squeeze=False)[0]
    for index, (physics, times) in enumerate(results["geant4"].items()):
        _line(axes, times, "cpu_ms", label=f"Geant4, {physics}", colour="black", style=_LINES[index % 4])
    for colour, (name, by_batch) in zip(_COLOURS, results["generators"].items(), strict=False):
        for index, (batch, by_energy) in enumerate(by_batch.items()):
            _line(axes, by_energy, "cpu_ms", label=f"{name}, batch {batch}", colour=colour, style=_LINES[index % 4])
            ratios = {
                energy: {"ratio": ratio}
                for energy, ratio in results["speedup"][first][name][batch].items()
                if ratio is not None
            }
            label = f"{name}, batch {batch}"
            _line(others[0], ratios, "ratio", label=label, colour=colour, style=_LINES[index % 4])
    what = f"{results['particle']} in {results['detector']}"
    axes.set(ylabel="processor time per shower [ms]", title=what)
    for each in others:
        each.set(ylabel=f"times faster than Geant4, {first}", title=what)
    for each in (axes, *others):
        each.set(xscale="log", yscale="log", xlabel="incident energy [GeV]")
        each.grid(visible=True, which="major", alpha=0.4)
        each.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3)
    figure.supxlabel(subtitle, fontsize=5.5, color="gray")
    with atomic_file(path, force=True) as temporary:
        figure.savefig(temporary, dpi=160, format="png")


def _line(axes: Axes, by_energy: Mapping[str, Any], key: str, *, label: str, colour: str, style: str) -> None:
    points = sorted((float(energy), values[key]) for energy, values in by_energy.items())
    if points:
        x, y = zip(*points, strict=True)
        axes.plot(x, y, style, color=colour, marker="o", markersize=4, label=label)
