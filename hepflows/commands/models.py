"""`hepflows models`: the trained generators that are installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from hepflows.document import GeneratorDocument
    from hepflows.models import Model


def models(
    *, as_json: Annotated[bool, Parameter(name="--json", help="Print the list as JSON.", negative="")] = False
) -> None:
    """List the trained generators that are installed; `hepflows generate --model NAME` samples from one."""
    import json

    from rich.console import Console

    from hepflows.document import read_document
    from hepflows.models import models as installed

    found = [(model, read_document(model.directory)) for model in installed().values()]
    console = Console()
    if as_json:
        console.print_json(json.dumps([_entry(*pair) for pair in found]))
        return
    if not found:
        console.print("no installed package brings trained generators")
        return
    from rich.table import Table

    table = Table("model", "what", "conditions", "size", "where", box=None, pad_edge=False)
    for pair in found:
        entry = _entry(*pair)
        ranges = (f"{name} {low:.6g} to {high:.6g}" for name, (low, high) in pair[1].valid_range.items())
        table.add_row(
            str(entry["name"]),
            f"{entry['task']} {entry['kind']}, {entry['geometry']}",
            "\n".join(ranges),
            f"{pair[1].weights.n_bytes / 1e6:.1f} MB" if pair[1].weights else "-",
            str(entry["directory"]),
        )
    console.print(table)


def _entry(model: Model, document: GeneratorDocument) -> dict[str, object]:
    """What is told about one model."""
    return {
        "name": model.name,
        "distribution": model.distribution,
        "directory": str(model.directory),
        "task": document.task,
        "kind": document.kind,
        "geometry": (document.geometry or {}).get("name", "-"),
        "pdg": document.provenance.get("pdg"),
        "conditions": {name: list(bounds) for name, bounds in document.valid_range.items()},
        "n_bytes": document.weights.n_bytes if document.weights else None,
        "metrics": document.metrics,
    }
