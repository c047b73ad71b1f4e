"""`hepflows inspect`: what is in a data file or a generator."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from hepflows.commands.options import Reading  # noqa: TC001 - cyclopts reads the annotations

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hepflows.task import Description


def inspect(
    path: Path,
    /,
    *,
    task: Annotated[str | None, Parameter(help="Task that reads the file, if several could.")] = None,
    read: Reading = None,
) -> None:
    """Say what is in a data file, an artefact directory, an exported generator or a production, which is checked.

    Parameters
    ----------
    path
        Data file (HDF5, ROOT, Parquet), artefact directory, exported file; directory or manifest.json of a
        production, whose files are counted and compared with their hashes.
    """
    from hepflows import registry
    from hepflows.artefact import check_weights, read_document
    from hepflows.commands.options import parse_reading, terminal_reporter
    from hepflows.files import require_file
    from hepflows.production.folder import is_production
    from hepflows.production.manifest import describe_production, verify

    if is_production(path):
        _show(describe_production(path, verify(path, reporter=terminal_reporter())))
        return
    if path.is_dir():
        document = read_document(path)
        check_weights(path, document)
        _show(describe_generator(path, document.to_dict()))
        return
    file = require_file(path)
    if file.suffix.removeprefix(".").lower() in registry.plugins("hepflows.runtimes"):
        _show(describe_generator(file, registry.load(file).document))
        return
    reader = registry.task_for_file(file) if task is None else registry.task(task)
    _show(reader.describe(file, **parse_reading(read)))


def describe_generator(path: Path, document: Mapping[str, object]) -> Description:
    """Summarise the document of a generator."""
    from hepflows.task import Description

    rows = [(key, str(document[key])) for key in ("task", "kind", "version", "profile", "opset") if key in document]
    rows += [(f"condition {name}", f"{low:.6g} to {high:.6g} {unit}".rstrip())
             for name, low, high, unit in _conditions(document)]  # fmt: skip
    metrics, geometry = _table(document.get("metrics")), _table(document.get("geometry"))
    rows.append(("geometry", str(geometry.get("name", "-"))))
    tensors = _table(_table(document.get("weights")).get("tensors"))
    if tensors:
        rows.append(("parameters", f"{sum(map(_size, tensors.values())):,} numbers in {len(tensors)} tensors"))
    for head, table in (("provenance", document.get("provenance")), ("metric", metrics)):
        rows += [(f"{head}: {name}", _short(value)) for name, value in _table(table).items()]
    return Description(title=f"generator {path}", rows=tuple(rows))


def _conditions(document: Mapping[str, object]) -> Iterator[tuple[str, float, float, object]]:
    """Name, valid range and unit of each condition: of an artefact, or of an exported file."""
    units = _table(document.get("units"))
    ranges = {name: (bounds, units.get(name, "")) for name, bounds in _table(document.get("valid_range")).items()}
    listed = document.get("conditions")
    for entry in map(_table, listed if isinstance(listed, list) else ()):
        ranges[str(entry.get("name"))] = (entry.get("valid_range"), entry.get("unit", ""))
    for name, (bounds, unit) in ranges.items():
        match bounds:
            case [float() | int() as low, float() | int() as high]:
                yield name, low, high, unit
            case _:
                continue


def _table(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _size(record: object) -> int:
    from math import prod

    shape = _table(record).get("shape", ())
    return prod(shape) if isinstance(shape, list | tuple) else 0


def _short(value: object, limit: int = 100) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _show(description: Description) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in description.rows:
        table.add_row(Text(label), Text(text))
    console = Console()
    console.print(Text(description.title, style="bold cyan"), soft_wrap=True)
    console.print(table)
    for warning in description.warnings:
        console.print(Text.assemble(("warning: ", "yellow"), warning), soft_wrap=True)
