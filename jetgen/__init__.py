"""jetgen: conditional point-cloud jets, from constituents to generators whose masses are exact.

Example:
    >>> import jetgen as jg
    >>> jets = jg.read_jets(jg.embedded_jets_path(), first=100)
    >>> train, test = jets.split(0.8, seed=1)
    >>> len(train), len(test)
    (80, 20)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jetgen.config import JetFlowConfig
    from jetgen.describe import describe_file
    from jetgen.generator import JetGenerator
    from jetgen.jets import Jets
    from jetgen.kinematics import four_momenta, mass_rel, relative_constituents
    from jetgen.mass_kernel import jet_masses
    from jetgen.observables import OBSERVABLES
    from jetgen.presets import PRESETS
    from jetgen.reading import embedded_jets_path, iterate_jets, read_jets
    from jetgen.training import JetFlow, Run, fit
    from jetgen.writing import write_jets

_HOME = {
    "JetFlow": "training",
    "JetFlowConfig": "config",
    "JetGenerator": "generator",
    "Jets": "jets",
    "OBSERVABLES": "observables",
    "PRESETS": "presets",
    "Run": "training",
    "describe_file": "describe",
    "embedded_jets_path": "reading",
    "fit": "training",
    "four_momenta": "kinematics",
    "iterate_jets": "reading",
    "jet_masses": "mass_kernel",
    "mass_rel": "kinematics",
    "read_jets": "reading",
    "relative_constituents": "kinematics",
    "write_jets": "writing",
}

__all__ = [
    "OBSERVABLES",
    "PRESETS",
    "JetFlow",
    "JetFlowConfig",
    "JetGenerator",
    "Jets",
    "Run",
    "describe_file",
    "embedded_jets_path",
    "fit",
    "four_momenta",
    "iterate_jets",
    "jet_masses",
    "mass_rel",
    "read_jets",
    "relative_constituents",
    "write_jets",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: torch and the file libraries are heavy."""
    if name not in _HOME:
        raise AttributeError(f"module 'jetgen' has no attribute {name!r}")
    return getattr(import_module(f"jetgen.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
