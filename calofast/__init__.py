"""calofast: calorimeter showers with CaloFlow, from detector files to trained generators.

Example:
    >>> import calofast as cf
    >>> showers = cf.read_showers(cf.embedded_showers_path(), first=100)
    >>> train, test = showers.split(0.8, seed=1)
    >>> len(train), len(test)
    (80, 20)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from calofast.binning_xml import read_binning_xml, write_binning_xml
    from calofast.config import CaloFlowConfig
    from calofast.describe import describe_file
    from calofast.generator import CaloGenerator
    from calofast.geometry import Geometry, calochallenge, calogan, calogan_hits
    from calofast.layer import Layer
    from calofast.measured import MeasuredShowers, measure_showers
    from calofast.measured_files import measure_file
    from calofast.observables import OBSERVABLES
    from calofast.reading import embedded_showers_path, iterate_showers, read_showers
    from calofast.showers import Showers
    from calofast.training import CaloFlow, Run, distill, fit
    from calofast.writing import write_showers

_HOME = {
    "CaloFlow": "training",
    "CaloFlowConfig": "config",
    "CaloGenerator": "generator",
    "Geometry": "geometry",
    "Layer": "layer",
    "OBSERVABLES": "observables",
    "Run": "training",
    "Showers": "showers",
    "calochallenge": "geometry",
    "calogan": "geometry",
    "calogan_hits": "geometry",
    "describe_file": "describe",
    "distill": "training",
    "embedded_showers_path": "reading",
    "fit": "training",
    "MeasuredShowers": "measured",
    "measure_file": "measured_files",
    "measure_showers": "measured",
    "iterate_showers": "reading",
    "read_binning_xml": "binning_xml",
    "read_showers": "reading",
    "write_binning_xml": "binning_xml",
    "write_showers": "writing",
}

__all__ = [
    "OBSERVABLES",
    "CaloFlow",
    "CaloFlowConfig",
    "CaloGenerator",
    "Geometry",
    "Layer",
    "MeasuredShowers",
    "Run",
    "Showers",
    "calochallenge",
    "calogan",
    "calogan_hits",
    "describe_file",
    "distill",
    "embedded_showers_path",
    "fit",
    "iterate_showers",
    "measure_file",
    "measure_showers",
    "read_binning_xml",
    "read_showers",
    "write_binning_xml",
    "write_showers",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: torch and the file libraries are heavy."""
    if name not in _HOME:
        raise AttributeError(f"module 'calofast' has no attribute {name!r}")
    return getattr(import_module(f"calofast.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
