"""A trained CaloFlow generator: sampling, density, saving and loading."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from calofast.caloflow import CaloFlowModel, SamplingModule
from calofast.config import CaloFlowConfig
from calofast.geometry import Geometry
from calofast.showers import Showers, unit_of
from hepflows.artefact import GeneratorDocument, load_artefact, load_state, save_artefact
from hepflows.config import build
from hepflows.document import RESTORE
from hepflows.errors import ArtefactError, ConditionError, GeometryError
from hepflows.sampler import sample_in_tiles

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

TASK_NAME = "calofast"


class CaloGenerator:
    """Showers for given incident energies (and further conditions, if it was trained with any).

    Args:
        model: trained model in evaluation mode.
        geometry: calorimeter the showers belong to.
        config: configuration of the training.
        document: content of ``generator.json``.
    """

    def __init__(
        self, model: CaloFlowModel, geometry: Geometry, config: CaloFlowConfig, document: GeneratorDocument
    ) -> None:
        self.model, self.geometry, self.config = model.eval(), geometry, config
        self._document = document

    @property
    def task(self) -> str:
        """Name of the task, ``calofast``."""
        return TASK_NAME

    @property
    def kind(self) -> Literal["teacher", "student"]:
        """`teacher` (MAF) or `student` (IAF)."""
        return self.model.kind

    @property
    def condition_names(self) -> tuple[str, ...]:
        """Names of the conditions, the incident energy first."""
        return self.config.data.conditions

    @property
    def document(self) -> dict[str, Any]:
        """Content of ``generator.json``."""
        return self._document.to_dict()

    @property
    def noise_dim(self) -> int:
        """Normal numbers a shower takes: one a layer (Flow I), then one a voxel (Flow II)."""
        return self.model.noise_dim

    def sample(
        self,
        incident_energy_gev: ArrayLike,
        *,
        seed: int,
        conditions: Mapping[str, ArrayLike] | None = None,
        first_event: int = 0,
        out_of_range: Literal["error", "warn"] = "error",
        tile_done: Callable[[int], None] | None = None,
    ) -> Showers:
        """Generate one shower per incident energy.

        Args:
            incident_energy_gev: shape (N,), GeV.
            seed: with the shower's index it determines the shower, whatever the batch it is generated in.
            conditions: further conditions by name, each of shape (N,).
            first_event: index of the first shower.
            out_of_range: refuse conditions outside the trained range, or warn and extrapolate.
            tile_done: called with the number of new showers as they are made.

        Raises:
            ConditionError: a condition is missing, unknown, ill-shaped, not finite or outside the range.
        """
        matrix = self.condition_matrix(incident_energy_gev, conditions)
        self._check_range(matrix, out_of_range)
        voxels = sample_in_tiles(
            lambda cond, noise: self.model.sample(noise, cond),
            matrix,
            self.noise_dim,
            seed=seed,
            first_event=first_event,
            device=self.model.conditions.low.device,
            tile_done=tile_done,
        )
        extra = self.condition_names[1:]
        return Showers(
            geometry=self.geometry,
            incident_energy_gev=matrix[:, 0],
            voxels_mev=voxels,
            pdg=self._pdg(),
            conditions={name: matrix[:, i] for i, name in enumerate(extra, start=1)},
            condition_units={name: unit_of(name) for name in extra},
            provenance={
                "generator": f"hepflows {self._document.version} {TASK_NAME} {self.kind}",
                "weights_sha256": self._document.weights.sha256 if self._document.weights else "not saved",
                "seed": str(seed),
                "first_event": str(first_event),
            },
        )

    def check_conditions(
        self, incident_energy_gev: ArrayLike, *, conditions: Mapping[str, ArrayLike] | None = None
    ) -> None:
        """Raise the `ConditionError` that `sample` would raise for these conditions."""
        self._check_range(self.condition_matrix(incident_energy_gev, conditions), "error")

    def sample_stages(
        self, incident_energy_gev: ArrayLike, *, seed: int, conditions: Mapping[str, ArrayLike] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Flow I's layer energies (N, L) and the voxels (N, V) before the hit threshold, both in MeV.

        The energies are those that the voxels are scaled to: zero for layers that Flow I left empty.
        """
        layers = self.model.n_layers

        def both(cond: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
            energies = self.model.sample_layers(noise[:, :layers], cond)
            voxels = self.model.sample_voxels(noise[:, layers:], cond, energies)
            return torch.cat([self.model.voxels.final_energies(energies), voxels], dim=1)

        device = self.model.conditions.low.device
        matrix = self.condition_matrix(incident_energy_gev, conditions)
        events = sample_in_tiles(both, matrix, self.noise_dim, seed=seed, device=device)
        return events[:, :layers], events[:, layers:]

    def energy_removed_by_threshold(self, incident_energy_gev: ArrayLike, *, seed: int) -> float:
        """Share of the deposited energy that the hit threshold removes from showers of these energies."""
        energies, voxels = self.sample_stages(incident_energy_gev, seed=seed)
        kept = self.model.voxels.apply_threshold(torch.from_numpy(voxels), torch.from_numpy(energies))
        return 1.0 - float(kept.double().sum()) / float(energies.astype(np.float64).sum())

    def log_prob(self, showers: Showers, *, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Log densities of Flow I (MeV^-L) and Flow II (MeV^-V) of showers, each (N,).

        Args:
            showers: showers of the same geometry.
            seed: of the dequantisation noise of dark voxels.
        """
        extra = {name: showers.conditions[name] for name in self.condition_names[1:]}
        matrix = torch.from_numpy(self.condition_matrix(showers.incident_energy_gev, extra))
        device = self.model.conditions.low.device
        voxels = torch.from_numpy(showers.voxels_mev)
        first, second = [], []
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for part, cond in zip(voxels.split(1024), matrix.split(1024), strict=True):
                one, two = self.model.log_prob(part.to(device), cond.to(device))
                first.append(one.double().cpu().numpy())
                second.append(two.double().cpu().numpy())
        return np.concatenate(first), np.concatenate(second)

    def sampling_module(self, *, threshold: bool = True) -> SamplingModule:
        """Module for export: forward(cond (N, C), noise (N, Z)) -> voxels (N, V) in MeV."""
        return SamplingModule(self.model, threshold=threshold).eval()

    def export_metadata(self) -> dict[str, Any]:
        """What a host needs to know about the graph, JSON-able."""
        document = self.document
        return {
            "task": TASK_NAME,
            "kind": self.kind,
            "conditions": [
                {"name": name, "unit": unit_of(name), "valid_range": document["valid_range"][name]}
                for name in self.condition_names
            ],
            "noise": {
                "distribution": "standard normal",
                "size": self.noise_dim,
                "order": f"{self.model.n_layers} of Flow I, then {self.model.n_voxels} of Flow II",
            },
            "output": {"name": "voxels", "unit": "MeV", "order": "layers front to back, first axis slowest"},
            "geometry": self.geometry.to_dict(),
            "threshold_mev": self.config.preprocessing.threshold_mev,
            "pdg": self._pdg(),
            "provenance": document["provenance"],
            "training_data_sha256": document["provenance"].get("data_sha256"),
            "simulation_version": document["provenance"].get("geant4"),
            "detector": document["provenance"].get("geometry"),
            "training_seed": self.config.seed,
            "metrics": document["metrics"],
        }

    def save(self, directory: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the artefact directory; see `hepflows.artefact.save_artefact`."""
        from pathlib import Path

        self._document = save_artefact(directory, self._document, self.model.state_dict(), force=force)
        return Path(directory)

    @staticmethod
    def load(directory: str | os.PathLike[str], *, device: str = "cpu") -> CaloGenerator:
        """Read an artefact that `save` wrote.

        Raises:
            ArtefactError: it is incomplete, altered, of another task or of another schema version.
        """
        document, state = load_artefact(directory)
        if document.task != TASK_NAME or document.kind not in ("teacher", "student"):
            raise ArtefactError(
                "this is not a calofast generator",
                where=directory,
                expected="task calofast, kind teacher or student",
                found=f"task {document.task}, kind {document.kind}",
            )
        config = build(CaloFlowConfig, document.config, where=f"{directory}: config")
        try:
            geometry = Geometry.from_dict(document.geometry, where="geometry")
        except GeometryError as error:
            raise ArtefactError(
                "the geometry is damaged", where=f"{directory}/generator.json", found=str(error), remedy=RESTORE
            ) from error
        if missing := [name for name in config.data.conditions if name not in document.valid_range]:
            raise ArtefactError(
                "a condition has no valid range", where=f"{directory}: valid_range", expected=missing[0], remedy=RESTORE
            )
        kind: Literal["teacher", "student"] = "teacher" if document.kind == "teacher" else "student"
        model = CaloFlowModel(geometry.layer_sizes, config, kind)
        load_state(model, state, where=directory)
        return CaloGenerator(model.to(device), geometry, config, document)

    def condition_matrix(
        self, incident_energy_gev: ArrayLike, conditions: Mapping[str, ArrayLike] | None
    ) -> NDArray[np.float32]:
        """Conditions as (N, C) float32 in the order of `condition_names`."""
        given = {"incident_energy_gev": incident_energy_gev, **(conditions or {})}
        if set(given) != set(self.condition_names):
            raise ConditionError(
                "the conditions do not fit the generator",
                expected=", ".join(self.condition_names),
                found=", ".join(given),
                remedy="pass every condition that the generator was trained with, and no other",
            )
        columns = [np.asarray(given[name], dtype=np.float32) for name in self.condition_names]
        for name, column in zip(self.condition_names, columns, strict=True):
            if column.ndim != 1 or len(column) != len(columns[0]):
                raise ConditionError(
                    "wrong shape",
                    where=name,
                    expected=f"({len(np.atleast_1d(columns[0]))},)",
                    found=column.shape,
                )
            if not np.isfinite(column).all():
                raise ConditionError("not a finite number", where=f"{name}[{int(np.argmin(np.isfinite(column)))}]")
        return np.stack(columns, axis=1)

    def _check_range(self, matrix: NDArray[np.float32], out_of_range: str) -> None:
        for column, name in enumerate(self.condition_names):
            low, high = self._document.valid_range[name]
            outside = (matrix[:, column] < np.float32(low)) | (matrix[:, column] > np.float32(high))
            if not outside.any():
                continue
            first = int(np.argmax(outside))
            error = ConditionError(
                "a condition lies outside the trained range",
                where=f"{name}[{first}]",
                expected=f"{low:.6g} ... {high:.6g}",
                found=f"{matrix[first, column]:.6g} ({int(outside.sum())} of {len(matrix)} events are outside)",
                remedy="generate inside the range, train on a wider one, or extrapolate with --out-of-range warn "
                "(in Python out_of_range='warn')",
            )
            nonsense = name == "incident_energy_gev" and bool((matrix[:, column] <= 0).any())
            if out_of_range == "error" or nonsense:
                raise error
            # the same words for every batch, so that Python shows them once
            warnings.warn(
                f"{name} lies outside the trained range {error.expected}: these showers are extrapolated",
                UserWarning,
                stacklevel=3,
            )

    def _pdg(self) -> int | None:
        pdg = self._document.provenance.get("pdg")
        return pdg if isinstance(pdg, int) else None
