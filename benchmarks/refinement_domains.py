"""Weak generators for `benchmarks.refinement_events`: of showers and of jets, with the settings of their refinement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import calofast as cf
import jetgen as jg
from calofast.config import CaloFlowConfig
from hepflows.config import build

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Domain:
    """Events of one kind.

    Attributes:
        file: of the shared data, under HEPFLOWS_DATA.
        read: the first N events of the first 80 % of a file.
        fit: the weak generator.
        weak: its settings.
        refinement: settings of the refinements, as `--set` takes them.
        observables: what the classifier's inputs come from.
        inputs: low-level inputs of the classifier.
        conditions: conditions of events by name.
    """

    file: str
    read: Callable[[Path, int], Any]
    fit: Callable[[Any], Any]
    weak: Mapping[str, Any]
    refinement: tuple[str, ...]
    observables: Any
    inputs: str
    conditions: Callable[[Any], Mapping[str, Any]]


_PART: Final = (0.0, 0.8)

_SHOWERS: Final[Mapping[str, Any]] = {
    "architecture": "coupling",
    "data": {"energy_range_gev": [1.0, 100.0]},
    "layer_energies": {"alpha": 1e-9, "training": {"epochs": 1, "batch_size": 125, "learning_rate": 5e-4}},
    "coupling": {"blocks": 4, "width": 48, "training": {"epochs": 6, "batch_size": 125, "learning_rate": 2e-3}},
}

_JETS: Final[Mapping[str, Any]] = {
    "preset": "exact",
    "coupling": {"blocks": 6, "width": 64, "depth": 1},
    "training": {"epochs": 12, "batch_size": 250, "learning_rate": 2e-3},
}

_REFINEMENT: Final = (
    "copies=1",
    "classifier.hidden=[128,128]",
    "classifier.epochs=20",
    "pull.classifier.hidden=[64,64]",
    "pull.classifier.epochs=15",
    "flow.blocks=4",
    "flow.width=32",
    "flow.events=10000",
    "flow.training.epochs=6",
    "hmc.adapt=true",
    "hmc.step=0.02",
    "hmc.leapfrog=10",
    "hmc.burn_in=200",
    "hmc.draws=200",
    "hmc.candidates=64",
    "hmc.transitions=5",
)


def _read_showers(path: Path, first: int) -> cf.Showers:
    return cf.read_showers(path, part=_PART, energy_range_gev=(1.0, 100.0), first=first)


def _fit_showers(showers: cf.Showers) -> Any:
    return cf.fit(cf.CaloFlow(showers.geometry, build(CaloFlowConfig, dict(_SHOWERS), where="weak")), showers)


def _read_jets(path: Path, first: int) -> jg.Jets:
    return jg.read_jets(path, part=_PART, first=first)


def _fit_jets(jets: jg.Jets) -> Any:
    settings = {key: value for key, value in _JETS.items() if key != "preset"}
    return jg.fit(jg.JetFlow(_JETS["preset"], **settings), jets)


DOMAINS: Final[Mapping[str, Domain]] = {
    "showers": Domain(
        file="showers/eplus.h5",
        read=_read_showers,
        fit=_fit_showers,
        weak=_SHOWERS,
        refinement=_REFINEMENT,
        observables=cf.OBSERVABLES,
        inputs="low",
        conditions=lambda showers: {"incident_energy_gev": showers.incident_energy_gev},
    ),
    "jets": Domain(
        file="jets/g.hdf5",
        read=_read_jets,
        fit=_fit_jets,
        weak=_JETS,
        refinement=_REFINEMENT,
        observables=jg.OBSERVABLES,
        inputs="all",
        conditions=lambda jets: {"mass": jets.mass_rel, "multiplicity": jets.multiplicity},
    ),
}
