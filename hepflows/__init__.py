"""hepflows: normalizing-flow fast simulation for high-energy physics.

The engine knows no physics: tasks such as calofast and jetgen, exporters and the validation suite are found
through entry points (see `hepflows.registry`). Nothing heavy is imported before it is used.

Example:
    >>> import hepflows
    >>> generator = hepflows.load("runs/eplus/student")  # doctest: +SKIP
    >>> showers = generator.sample([10.0, 50.0], seed=7)  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from hepflows._version import __version__

if TYPE_CHECKING:
    from hepflows.artefact import GeneratorDocument, load_artefact, save_artefact
    from hepflows.config import StrictConfig, load_config
    from hepflows.generator import Generator
    from hepflows.registry import load
    from hepflows.task import Task

__all__ = [
    "Generator",
    "GeneratorDocument",
    "StrictConfig",
    "Task",
    "__version__",
    "load",
    "load_artefact",
    "load_config",
    "save_artefact",
]

_HOME = {
    "Generator": "hepflows.generator",
    "GeneratorDocument": "hepflows.artefact",
    "StrictConfig": "hepflows.config",
    "Task": "hepflows.task",
    "load": "hepflows.registry",
    "load_artefact": "hepflows.artefact",
    "load_config": "hepflows.config",
    "save_artefact": "hepflows.artefact",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'hepflows' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted(__all__)
