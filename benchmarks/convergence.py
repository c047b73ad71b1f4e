"""Does training in bfloat16 converge like training in float32? ``python -m benchmarks.convergence``.

Trains the demonstration's teacher on the packaged positron showers twice, from the same weights and on the same
batches, and prints both validation curves (negative log-likelihood a shower, always evaluated in float32) and the
processor time.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.table import Table

import calofast as cf
from calofast.config import CaloFlowConfig
from hepflows.config import build, with_overrides

if TYPE_CHECKING:
    from hepflows.precision import MatmulPrecision

PRECISIONS: tuple[MatmulPrecision, ...] = ("float32", "bfloat16")


def main() -> None:
    """Train twice and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--showers", type=int, help="take only so many showers")
    parser.add_argument("--json", type=Path, help="write the curves there")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = {name: _train(name, arguments.epochs, arguments.showers) for name in PRECISIONS}
    table = Table(title="validation loss of the teacher", show_edge=False)
    for column in ("epoch", *PRECISIONS, "difference"):
        table.add_column(column, justify="right")
    curves = [found[name]["validation_loss"] for name in PRECISIONS]
    for epoch, (single, half) in enumerate(zip(*curves, strict=True), start=1):
        table.add_row(str(epoch), f"{single:.2f}", f"{half:.2f}", f"{half - single:+.2f}")
    console = Console()
    console.print(table)
    times = {name: found[name]["cpu_seconds"] for name in PRECISIONS}
    ratio = times["float32"] / times["bfloat16"]
    console.print(", ".join(f"{name}: {seconds:.0f} s" for name, seconds in times.items()), f"ratio {ratio:.2f}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _train(precision: MatmulPrecision, epochs: int, first: int | None) -> dict[str, Any]:
    from tomllib import loads

    raw = loads(resources.files("calofast").joinpath("data", "demo.toml").read_text(encoding="utf-8"))
    raw.pop("student")
    changes = [f"teacher.training.epochs={epochs}", f"teacher.training.matmul_precision='{precision}'"]
    config = build(CaloFlowConfig, with_overrides(raw, changes), where="demo.toml")
    showers = cf.read_showers(cf.embedded_showers_path(), part=(0.0, 0.8), first=first)
    began = time.process_time()
    generator = cf.fit(cf.CaloFlow(showers.geometry, config), showers)
    history = generator.document["training"]["teacher"]["history"]
    return {
        "cpu_seconds": time.process_time() - began,
        "validation_loss": [entry["validation_loss"] for entry in history],
    }


if __name__ == "__main__":
    main()
