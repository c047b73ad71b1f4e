"""What is done with a mutated file, in the confined process: everything that a user could do to read it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hepflows import registry
from hepflows.commands.inspect import describe
from hepflows.config import load_config
from hepflows.errors import HepflowsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hepflows.generator import AnyGenerator


def read(request: Mapping[str, str]) -> str:
    """Read a file in every way that its format has.

    Args:
        request: ``name`` of the specimen, ``family`` and ``path``.

    Returns:
        "accepted", if the last way was; otherwise an error of ours is raised.
    """
    path, name = Path(request["path"]), request["name"]
    if request["family"] == "toml":
        load_config(path)
        return "accepted"
    if request["family"] == "xml":
        from calofast.binning_xml import read_binning_xml

        read_binning_xml(path)
        return "accepted"
    if name.startswith("table"):
        from hepflows.table_files import is_table, read_table

        is_table(path)
        read_table(path)
        return "accepted"
    with contextlib.suppress(HepflowsError):
        describe(path, None, {})
    if request["family"] in ("artefact", "onnx"):
        _sample(registry.load(path))
    else:
        task = registry.task("jetgen" if name.startswith("jet") else "calofast")
        task.conditions_of(task.read(path))
    return "accepted"


def _sample(generator: AnyGenerator) -> None:
    """Two events at the lower end of the valid ranges."""
    document = generator.document
    entries = {entry["name"]: entry["valid_range"] for entry in document.get("conditions") or ()}
    ranges: Mapping[str, tuple[float, float]] = document.get("valid_range") or entries
    conditions = {name: np.full(2, low) for name, (low, _) in ranges.items()}
    draw: Callable[..., object] = generator.sample
    draw(conditions or None, n=2, seed=1)
