"""An exported file as a generator of events: what `hepflows generate student.onnx` and the demo use."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from exporters.runtime import OnnxGenerator
from hepflows.errors import ConditionError, ConfigError, OutputError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike, NDArray

    from hepflows.generator import OutOfRange


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
        if self.task not in _EVENTS:
            raise ConfigError(
                "this file's numbers cannot be turned into events here",
                where=path,
                expected=f"a generator of the task {' or '.join(_EVENTS)}",
                found=self.task,
                remedy="use exporters.OnnxGenerator, which gives plain arrays",
            )

    @property
    def document(self) -> Mapping[str, Any]:
        """The file's metadata."""
        return self.runtime.metadata

    def sample(
        self,
        incident_energy_gev: ArrayLike,
        *,
        seed: int,
        conditions: Mapping[str, ArrayLike] | None = None,
        first_event: int = 0,
        out_of_range: OutOfRange = "error",
    ) -> Any:
        """Generate one event per condition; see `hepflows.generator.Generator.sample`.

        Outside the valid range the graph clamps: "warn" gives the events of the nearest valid condition.
        """
        columns = self._columns(incident_energy_gev, conditions or {})
        stacked = np.stack(list(columns.values()), axis=1)
        if out_of_range == "warn" and self._outside(stacked):
            warnings.warn("conditions outside the valid range of the exported file were clamped to it", stacklevel=2)
        x = self.runtime.sample(
            stacked,
            seed=seed,
            first_event=first_event,
            out_of_range="error" if out_of_range == "error" else "clamp",
        )
        return _EVENTS[self.task](x, columns, self.runtime.metadata)

    def check_conditions(
        self, incident_energy_gev: ArrayLike, *, conditions: Mapping[str, ArrayLike] | None = None
    ) -> None:
        """Raise the `ConditionError` that `sample` would raise for these conditions."""
        self.runtime.check_conditions(np.stack(list(self._columns(incident_energy_gev, conditions or {}).values()), 1))

    def save(self, directory: str | os.PathLike[str], *, force: bool = False) -> NoReturn:
        """Refuse: an exported file is no artefact."""
        raise OutputError(
            "an exported file cannot be saved as an artefact",
            where=directory,
            found=f"force={force}",
            remedy="copy the file with its manifest",
        )

    def _columns(
        self, incident_energy_gev: ArrayLike, others: Mapping[str, ArrayLike]
    ) -> dict[str, NDArray[np.float64]]:
        given = {self.condition_names[0]: incident_energy_gev, **others}
        if set(given) != set(self.condition_names):
            raise ConditionError(
                "other conditions than the exported file has",
                expected=", ".join(self.condition_names),
                found=", ".join(given),
            )
        columns = {name: np.atleast_1d(np.asarray(given[name], dtype=float)) for name in self.condition_names}
        shapes = {name: column.shape for name, column in columns.items()}
        if len(set(shapes.values())) > 1 or len(columns[self.condition_names[0]].shape) != 1:
            raise ConditionError("conditions have different shapes", expected="(N,) each", found=shapes)
        return columns

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


_EVENTS: dict[str, Callable[..., Any]] = {"calofast": _showers}
