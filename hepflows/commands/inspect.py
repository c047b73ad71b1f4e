"""`hepflows inspect`: what is in a data file or a generator."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from cyclopts import Parameter

from hepflows.commands.options import Reading, whole_number
from hepflows.printable import printable
from hepflows.task import Description

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import JsonValue

    from hepflows.train.progress import Reporter


def inspect(
    path: Path,
    /,
    *,
    task: Annotated[str | None, Parameter(help="Task that reads the file, if several could.")] = None,
    read: Reading = None,
    untrusted: Annotated[
        bool,
        Parameter(help="Parse in another process under limits: for files of unknown origin.", negative=""),
    ] = False,
    time_limit: Annotated[float, Parameter(help="With --untrusted: seconds that reading may take.")] = 60.0,
    memory_limit: Annotated[
        int, Parameter(converter=whole_number, help="With --untrusted: MiB that reading may take.")
    ] = 2048,
) -> None:
    """Say what is in a data file, an artefact directory, an exported generator or a production, which is checked.

    Parameters
    ----------
    path
        Data file (HDF5, ROOT, Parquet), artefact directory, exported file; directory or manifest.json of a
        production, whose files are counted and compared with their hashes.
    """
    from hepflows.commands.options import parse_reading, terminal_reporter

    options = parse_reading(read)
    if not untrusted:
        _show(describe(path, task, options, reporter=terminal_reporter()))
        return
    from hepflows.confined import Limits, confined
    from hepflows.errors import ConfigError

    for name, value in (("--time-limit", time_limit), ("--memory-limit", memory_limit)):
        if not 0 < value < 10**9:
            raise ConfigError("not a limit", where=name, expected="a positive number", found=value)
    request: JsonValue = {"path": os.fspath(path), "task": task, "read": options}
    limits = Limits(seconds=time_limit, memory_mib=memory_limit)
    found = cast("dict[str, Any]", confined(f"{__name__}:answer", request, limits=limits, where=path))
    rows = tuple((str(label), str(text)) for label, text in found["rows"])
    _show(Description(title=found["title"], rows=rows, warnings=tuple(found["warnings"])))


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """`describe` for a process of its own: what it is asked, and what it gives, as JSON holds them."""
    return asdict(describe(Path(request["path"]), request["task"], request["read"]))


def describe(
    path: Path, task: str | None, reading: Mapping[str, Any], *, reporter: Reporter | None = None
) -> Description:
    """What is in a data file, an artefact directory, an exported generator or a production.

    Args:
        path: the file or directory.
        task: task that reads a data file; None to ask all of them.
        reading: keyword arguments of the task's `read`.
        reporter: where the progress of a check goes.

    Raises:
        HepflowsError: it is missing, damaged, or nothing that is known here.
    """
    from hepflows import registry
    from hepflows.artefact import check_weights, read_document
    from hepflows.files import require_file
    from hepflows.production.folder import is_production
    from hepflows.production.manifest import describe_production, verify
    from hepflows.train.progress import SilentReporter

    if is_production(path):
        return describe_production(path, verify(path, reporter=reporter or SilentReporter()))
    if path.is_dir():
        document = read_document(path)
        check_weights(path, document)
        return describe_generator(path, document.to_dict())
    file = require_file(path)
    if file.suffix.removeprefix(".").lower() in registry.plugins("hepflows.runtimes"):
        return describe_generator(file, registry.load(file).document)
    reader = registry.task_for_file(file) if task is None else registry.task(task)
    return reader.describe(file, **reading)


def describe_generator(path: Path, document: Mapping[str, object]) -> Description:
    """Summarise the document of a generator."""
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
        table.add_row(Text(printable(label)), Text(printable(text)))
    console = Console()
    console.print(Text(printable(description.title), style="bold cyan"), soft_wrap=True)
    console.print(table)
    for warning in description.warnings:
        console.print(Text.assemble(("warning: ", "yellow"), printable(warning)), soft_wrap=True)
