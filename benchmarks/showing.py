"""What the benchmark commands print of their results: tables by side and batch, and a line on the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from hepflows.benchmarking.tables import table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console


def show_notes(console: Console, results: Mapping[str, Any]) -> None:
    """Print what was not run and why, machine, threads and versions."""
    for what, why in results["not_run"].items():
        console.print(Text(f"not run: {what}: {why}"), soft_wrap=True)
    console.print(Text(describe(results)), soft_wrap=True)


def show_sides(console: Console, title: str, sides: Mapping[str, Any], batches: Sequence[int], key: str = "ms") -> None:
    """Print one figure of all sides by batch."""
    rows = [
        [
            name + ("" if side["extrapolated"] is None else " (extrapolated)"),
            *(side["batches"].get(str(batch), {}).get(key) for batch in batches),
        ]
        for name, side in sides.items()
    ]
    console.print(table(title, ["", *map(str, batches)], rows))


def show_ratios(console: Console, title: str, figures: Mapping[str, Any], batches: Sequence[int]) -> None:
    """Print the ratios by batch that are among the figures, those of medians and of processor times."""
    rows = [
        [name.replace("_", " "), *(by_batch.get(str(batch)) for batch in batches)]
        for name, by_batch in figures.items()
        if ("_over_" in name) and not name.endswith(("_least", "_is")) and by_batch
    ]
    if rows:
        console.print(table(title, ["", *map(str, batches)], rows))


def describe(results: Mapping[str, Any]) -> str:
    """One line on machine, threads and versions."""
    machine, settings = results["machine"], results["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    line = f"{machine['cpu']}, {settings['threads']} of {machine['cores']} cores, {settings['dtype']}; {versions}"
    unset = results["unset_variables"]
    return line if unset is None else f"{line}; started without {', '.join(unset)}"
