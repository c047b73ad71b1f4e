"""The table at the end of the demonstration: metrics of each sample, beside those of the reference against itself.

Where it is wider than the console it is turned, or goes on below itself, so that no number is ever cut.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from hepflows.task import DemoAssets

Rows: TypeAlias = list[list[str]]
"""Cells row by row; the first row is the head, the first column names the rows."""

_GAP: Final = "  "


def print_table(summary: Mapping[str, Any], assets: DemoAssets, *, console: Console) -> None:
    """Print the chief metrics of a summary: floor of the reference, and each sample with its error."""
    samples: Mapping[str, Mapping[str, Mapping[str, Any]]] = summary["samples"]
    rows = [["metric", f"{assets.reference} floor", *samples]]
    for metric in assets.metrics:
        entries = [sample.get(metric) for sample in samples.values()]
        floors = [entry.get("floor") for entry in entries if entry is not None]
        rows.append([metric, _number(floors[0] if floors else None), *(_entry(entry) for entry in entries)])

    def line(text: str, style: str = "") -> None:
        # soft_wrap: a line that is wider than the console all the same is the terminal's to break, not cut
        console.print(text, style=style, soft_wrap=True, highlight=False, markup=False)

    line(assets.title, "bold italic")
    for block in fitting_blocks(rows, console.width):
        widths = _widths(block)
        for number, row in enumerate(block):
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            line(_GAP.join(cells).rstrip(), "" if number else "bold")
        line("")
    line(f"{summary['n_reference']} reference events; value ± statistical error\n", "italic")


def fitting_blocks(rows: Rows, width: int) -> list[Rows]:
    """Cut a table, or the table turned, whichever takes fewer lines, into blocks that are at most `width` wide.

    Each block has the first column, and only one with a single further column may be wider.

    Example:
        >>> fitting_blocks([["metric", "a", "b"], ["mass", "1.25", "1.5"]], width=14)
        [[['metric', 'mass'], ['a', '1.25'], ['b', '1.5']]]
    """
    turned = [list(column) for column in zip(*rows, strict=True)]
    return min((_cut(rows, width), _cut(turned, width)), key=lambda blocks: sum(len(block) + 1 for block in blocks))


def _cut(rows: Rows, width: int) -> list[Rows]:
    """Blocks of as many columns as fit, in order."""
    named, *others = _widths(rows)
    starts, used = [1], named
    for column, needed in enumerate(others, start=1):
        used += len(_GAP) + needed
        if used > width and column > starts[-1]:
            starts.append(column)
            used = named + len(_GAP) + needed
    ends = pairwise([*starts, len(others) + 1])
    return [[[row[0], *row[first:last]] for row in rows] for first, last in ends]


def _widths(rows: Rows) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _entry(entry: Mapping[str, Any] | None) -> str:
    if entry is None or entry.get("value") is None:
        return "-"
    error = entry.get("error")
    return _number(entry["value"]) + ("" if error is None else f" ± {error:.2g}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
