"""Showing and keeping figures: rich tables, numbers with three digits, JSON files."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from hepflows.files import atomic_file

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from rich.table import Table


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """A table with left-aligned first and right-aligned further columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=Text(title, style="bold") if title else None, title_justify="left", box=box.SIMPLE_HEAD)
    for index, column in enumerate(columns):
        shown.add_column(Text(column), justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        shown.add_row(*(Text(number(cell)) for cell in row))
    return shown


def number(value: object) -> str:
    """Text of a cell: three significant digits, thousands separated, a dash for nothing."""
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    if not math.isfinite(value):
        return str(value)
    digits = 0 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}" if digits <= 6 else f"{value:.2e}"


def write_json(path: str | os.PathLike[str], content: Mapping[str, Any], *, force: bool = False) -> None:
    """Write a JSON file atomically; what is not finite becomes null.

    Raises:
        OutputError: the file exists and `force` is false, or it cannot be written.
    """
    text = json.dumps(plain(content), indent=1, ensure_ascii=False, allow_nan=False)
    with atomic_file(path, force=force) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def plain(value: Any) -> Any:
    """The same with floats rounded to six significant digits, string keys, and null for what is not finite."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
