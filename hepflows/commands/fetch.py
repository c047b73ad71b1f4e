"""`hepflows fetch`: published data sets, downloaded and checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from hepflows.commands.options import Force  # noqa: TC001 - cyclopts reads the annotations

if TYPE_CHECKING:
    from hepflows.datasets import DataSet


def fetch(
    name: str | None = None,
    /,
    *,
    out: Annotated[Path, Parameter(help="Directory for the files.")] = Path(),
    list_: Annotated[bool, Parameter(name="--list", help="Say which data sets there are.", negative="")] = False,
    force: Force = False,
) -> None:
    """Download a published data set; a download that broke off is continued, and checksums are compared.

    Parameters
    ----------
    name
        Data set, as --list tells it.
    """
    from hepflows.commands.options import terminal_reporter
    from hepflows.datasets import catalogue, dataset
    from hepflows.download import fetch_file
    from hepflows.errors import ConfigError
    from hepflows.records import files_of

    if list_:
        _show(catalogue())
        return
    if name is None:
        raise ConfigError("which data set?", remedy="name one; hepflows fetch --list tells them")
    chosen = dataset(name)
    reporter = terminal_reporter()
    for file in files_of(chosen):
        reporter.message(f"{fetch_file(file, out, force=force, reporter=reporter)}: {file.checksum}")


def _show(sets: dict[str, DataSet]) -> None:
    from rich.console import Console

    console = Console()
    for name, one in sets.items():
        console.print(f"{name}: {one.title}", highlight=False, markup=False, soft_wrap=True)
        console.print(f"  {one.page}", highlight=False, markup=False, soft_wrap=True)
        stated = "" if one.record is None else " (checksums as the record states them)"
        console.print(f"  {', '.join(one.names)}{stated}", highlight=False, markup=False, soft_wrap=True)
