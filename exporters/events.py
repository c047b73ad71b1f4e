"""An exported file as a generator of events: what `hepflows generate student.onnx` and the demo use."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from exporters.runtime import OnnxGenerator, damage_as_error
from hepflows.errors import ConditionError, ConfigError, OutputError
from hepflows.out_of_range import check_policy

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from hepflows.out_of_range import OutOfRange


class ExportedGenerator:
    """Meets `hepflows.generator.Generator` with an ONNX file inside; a seed gives the artefact's events.

    Args:
        path: the exported file.

    Raises:
        ArtefactError: the file is altered, or its manifest is missing.
        ConfigError: no package here turns the file's numbers into events.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.runtime = OnnxGenerator(path)
        self.task: str = str(self.runtime.metadata["task"])
        self.condition_names = tuple(condition.name for condition in self.runtime.conditions)
        if self.task not in _PHYSICS:
            raise ConfigError(
                "this file's numbers cannot be turned into events here",
                where=path,
                expected=f"a generator of the task {' or '.join(_PHYSICS)}",
                found=self.task,
                remedy="use exporters.OnnxGenerator, which gives plain arrays",
            )
        # metadata whose shape is damaged are found where they are used
        guarded, physics = damage_as_error(Path(path)), _PHYSICS[self.task]
        self._physics = _Physics(guarded(physics.check), guarded(physics.events), guarded(physics.draw))

    @property
    def document(self) -> Mapping[str, Any]:
        """The file's metadata."""
        return self.runtime.metadata

    def sample(
        self,
        conditions: ArrayLike | Mapping[str, ArrayLike] | None = None,
        *,
        n: int | None = None,
        seed: int,
        first_event: int = 0,
        out_of_range: OutOfRange = "error",
    ) -> Any:
        """Generate one event per condition; see `hepflows.generator.Generator.sample`.

        An array is taken for the only condition. The graph clamps what is passed: "pass" gives the events of the
        nearest valid condition, as "clamp" does. What is not a number is always refused.
        """
        if conditions is None:
            conditions = self.draw_conditions(n or 0, seed=seed, first_event=first_event)
        columns = self._columns(conditions)
        stacked = self._stacked(columns, n)
        if check_policy(out_of_range, where="out_of_range") != "error" and self._outside(stacked):
            warnings.warn("conditions outside the valid range of the exported file were clamped to it", stacklevel=2)
        # what the graph is really asked for: it clamps to the valid range
        given = {
            condition.name: np.clip(columns[condition.name], condition.low, condition.high)
            for condition in self.runtime.conditions
        }
        self._physics.check(columns if out_of_range == "error" else given, self.runtime.metadata, out_of_range)
        x, weights = self.runtime.sample_weighted(
            stacked,
            seed=seed,
            first_event=first_event,
            out_of_range=out_of_range,
        )
        events = self._physics.events(x, given, self.runtime.metadata)
        return replace(events, weights=weights) if self.runtime.weighted else events

    def draw_conditions(
        self,
        n: int,
        *,
        seed: int,
        first_event: int = 0,
        ranges: Mapping[str, tuple[float, float]] = MappingProxyType({}),
    ) -> dict[str, NDArray[np.floating[Any]]]:
        """Draw conditions as the artefact would; see `hepflows.generator.Generator.draw_conditions`."""
        return self._physics.draw(
            self.condition_names, self.runtime.metadata, n, seed=seed, first_event=first_event, ranges=ranges
        )

    def check_conditions(self, conditions: ArrayLike | Mapping[str, ArrayLike]) -> None:
        """Raise the `ConditionError` that `sample` would raise for these conditions."""
        if self.condition_names:
            columns = self._columns(conditions)
            self.runtime.check_conditions(self._stacked(columns, None))
            self._physics.check(columns, self.runtime.metadata, "error")

    def save(self, directory: str | os.PathLike[str], *, force: bool = False) -> NoReturn:
        """Refuse: an exported file is no artefact."""
        raise OutputError(
            "an exported file cannot be saved as an artefact",
            where=directory,
            found=f"force={force}",
            remedy="copy the file with its manifest",
        )

    def _columns(self, conditions: ArrayLike | Mapping[str, ArrayLike]) -> dict[str, NDArray[np.float64]]:
        if isinstance(conditions, Mapping):
            given: Mapping[str, ArrayLike] = conditions
        else:
            given = {self.condition_names[0] if self.condition_names else "conditions": conditions}
        if set(given) != set(self.condition_names):
            raise ConditionError(
                "other conditions than the exported file has",
                expected=", ".join(self.condition_names) or "none",
                found=", ".join(given) or "none",
            )
        columns = {name: np.atleast_1d(np.asarray(given[name], dtype=float)) for name in self.condition_names}
        shapes = {name: column.shape for name, column in columns.items()}
        if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
            raise ConditionError("conditions have different shapes", expected="(N,) each", found=shapes)
        return columns

    def _stacked(self, columns: Mapping[str, NDArray[np.float64]], n: int | None) -> NDArray[np.float64]:
        if not columns:
            if n is None or n < 0:
                raise ConditionError("how many events?", where="n", expected="0 or more", found=n)
            return np.empty((n, 0))
        stacked = np.stack(list(columns.values()), axis=1)
        if np.isnan(stacked).any():
            event, column = np.argwhere(np.isnan(stacked))[0]
            raise ConditionError("not a number", where=f"{self.condition_names[column]}[{event}]")
        if n is not None and n != len(stacked):
            raise ConditionError("wrong number of conditions", expected=f"n = {n}", found=len(stacked))
        return stacked

    def _outside(self, cond: NDArray[np.float64]) -> bool:
        low = [condition.low for condition in self.runtime.conditions]
        high = [condition.high for condition in self.runtime.conditions]
        return bool(((cond < low) | (cond > high)).any())


def _showers(x: NDArray[np.float32], columns: Mapping[str, NDArray[np.float64]], metadata: Mapping[str, Any]) -> Any:
    from calofast.geometry import Geometry
    from calofast.showers import Showers

    energy, *others = columns
    units = {entry["name"]: entry["unit"] for entry in metadata["conditions"]}
    return Showers(
        geometry=Geometry.from_dict(metadata["geometry"]),
        incident_energy_gev=columns[energy].astype(np.float32),
        voxels_mev=x,
        pdg=metadata["pdg"],
        conditions={name: columns[name].astype(np.float32) for name in others},
        condition_units={name: units[name] for name in others},
        provenance={"generator": "hepflows ONNX export"},
    )


def _drawn_showers(
    names: Sequence[str], metadata: Mapping[str, Any], n: int, **options: Any
) -> dict[str, NDArray[np.floating[Any]]]:
    from calofast.condition_values import drawn_uniformly

    del metadata
    ranges = options.pop("ranges")
    return drawn_uniformly(names, ranges, n, **options)


def _jets(x: NDArray[np.float32], columns: Mapping[str, NDArray[np.float64]], metadata: Mapping[str, Any]) -> Any:
    from jetgen.generator import to_jets

    jets = to_jets(x, x.shape[1] // 4, metadata["provenance"] or {})
    if "mass" in columns:
        jets = replace(jets, mass_condition=columns["mass"].astype(np.float32))
        if metadata["mass_constraint"] == "exact":
            _require_masses(jets)
    return jets


def _check_jets(
    columns: Mapping[str, NDArray[np.float64]], metadata: Mapping[str, Any], out_of_range: OutOfRange
) -> None:
    from jetgen.condition_checks import condition_matrix, within_range
    from jetgen.multiplicity import ConditionTables

    if columns:
        ranges = {entry["name"]: entry["valid_range"] for entry in metadata["conditions"]}
        tables = ConditionTables.from_dict(metadata["condition_tables"])
        within_range(condition_matrix(columns, list(columns)), ranges, tables, out_of_range)


def _drawn_jets(
    names: Sequence[str], metadata: Mapping[str, Any], n: int, **options: Any
) -> dict[str, NDArray[np.floating[Any]]]:
    from jetgen.multiplicity import ConditionTables, drawn_conditions

    return drawn_conditions(ConditionTables.from_dict(metadata["condition_tables"]), names, n, **options)


def _require_masses(jets: Any) -> None:
    import torch

    from jetgen.mass_constraint import require_reached
    from jetgen.mass_kernel import jet_masses

    found = jet_masses(jets.eta_rel, jets.phi_rel, jets.pt_rel)
    wanted, multiplicity = jets.mass_condition.astype(np.float64), jets.multiplicity
    require_reached(*(torch.from_numpy(values) for values in (found, wanted, multiplicity)))


def _accept(columns: Mapping[str, NDArray[np.float64]], metadata: Mapping[str, Any], out_of_range: OutOfRange) -> None:
    """Nothing besides the valid ranges, which the runtime client checks."""


@dataclass(frozen=True)
class _Physics:
    """What checks conditions, turns an exported file's numbers into the events of a task, and draws conditions."""

    check: Callable[[Mapping[str, NDArray[np.float64]], Mapping[str, Any], OutOfRange], None]
    events: Callable[[NDArray[np.float32], Mapping[str, NDArray[np.float64]], Mapping[str, Any]], Any]
    draw: Callable[..., dict[str, NDArray[np.floating[Any]]]]


_PHYSICS = {
    "calofast": _Physics(_accept, _showers, _drawn_showers),
    "jetgen": _Physics(_check_jets, _jets, _drawn_jets),
}
