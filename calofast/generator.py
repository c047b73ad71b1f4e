"""A trained CaloFlow generator: sampling, density, saving and loading."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np
import torch

from calofast.caloflow import CaloFlowModel, SamplingModule
from calofast.condition_values import ENERGY, condition_matrix, conditions_of, drawn_uniformly, within_range
from calofast.config import CaloFlowConfig
from calofast.density import Density, Precision, evaluate_density
from calofast.geometry import Geometry
from calofast.shower_flow import Kind
from calofast.showers import Showers, require_cells, unit_of
from hepflows.artefact import GeneratorDocument, load_artefact, load_state, rebuilding, save_artefact
from hepflows.config import build
from hepflows.document import RESTORE, require_kind, require_ranges
from hepflows.errors import ArtefactError, GeometryError
from hepflows.masked_storage import with_masked, without_masked
from hepflows.sampler import sample_in_tiles

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from hepflows.out_of_range import OutOfRange

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
    def kind(self) -> Kind:
        """`teacher` (MAF), `student` (IAF), `coupling` or `inductive`."""
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
        """Normal numbers a shower takes: one a layer, two if it learns hits (Flow I), then one a voxel (Flow II)."""
        return self.model.noise_dim

    def sample(
        self,
        conditions: ArrayLike | Mapping[str, ArrayLike],
        *,
        n: int | None = None,
        seed: int,
        first_event: int = 0,
        out_of_range: OutOfRange = "error",
        latents: NDArray[np.float32] | None = None,
        tile_done: Callable[[int], None] | None = None,
    ) -> Showers:
        """Generate one shower per incident energy.

        Args:
            conditions: incident energies in GeV, shape (N,), if there are no further conditions; or all conditions
                by name.
            n: number of showers, if it is to be checked.
            seed: with the shower's index it determines the shower, whatever the batch it is generated in.
            first_event: index of the first shower.
            out_of_range: what to do with conditions outside the trained range: "error", or with a warning "clamp" them
                to its nearest end or "pass" them on, which extrapolates.
            latents: shape (N, Z), instead of the noise that follows from the seed.
            tile_done: called with the number of new showers as they are made.

        Raises:
            ConditionError: a condition is missing, unknown, ill-shaped, not finite or outside the range.
        """
        matrix = self._within_range(self.condition_matrix(conditions, n=n), out_of_range)
        voxels = sample_in_tiles(
            lambda cond, noise, rows: self.model.sample(noise, cond, rows=rows),
            matrix,
            self.noise_dim,
            seed=seed,
            first_event=first_event,
            latents=latents,
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

    def draw_conditions(
        self,
        n: int,
        *,
        seed: int,
        first_event: int = 0,
        ranges: Mapping[str, tuple[float, float]] = MappingProxyType({}),
    ) -> dict[str, NDArray[np.floating[Any]]]:
        """Draw conditions uniformly, each in its range; see `hepflows.generator.Generator.draw_conditions`."""
        return drawn_uniformly(self.condition_names, ranges, n, seed=seed, first_event=first_event)

    def check_conditions(self, conditions: ArrayLike | Mapping[str, ArrayLike]) -> None:
        """Raise the `ConditionError` that `sample` would raise for these conditions."""
        self._within_range(self.condition_matrix(conditions), "error")

    def sample_stages(
        self, conditions: ArrayLike | Mapping[str, ArrayLike], *, seed: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Flow I's layer energies (N, L) and the voxels (N, V) before the hit threshold, both in MeV.

        The energies are those that the voxels are scaled to: zero for layers that Flow I left empty.
        """
        first, layers = self.model.n_totals, self.model.n_layers

        def both(cond: torch.Tensor, noise: torch.Tensor, rows: slice) -> torch.Tensor:
            totals = self.model.sample_layers(noise[:, :first], cond)
            voxels = self.model.sample_voxels(noise[:, first:], cond, totals, rows=rows)
            return torch.cat([self.model.voxels.final_energies(totals[:, :layers]), voxels], dim=1)

        device = self.model.conditions.low.device
        matrix = self.condition_matrix(conditions)
        events = sample_in_tiles(both, matrix, self.noise_dim, seed=seed, device=device)
        return events[:, :layers], events[:, layers:]

    def energy_removed_by_threshold(self, conditions: ArrayLike | Mapping[str, ArrayLike], *, seed: int) -> float:
        """Share of the deposited energy that the hit threshold removes from showers of these conditions.

        It is 0 if nothing is deposited.
        """
        energies, voxels = self.sample_stages(conditions, seed=seed)
        kept = self.model.voxels.apply_threshold(torch.from_numpy(voxels), torch.from_numpy(energies))
        deposited = float(energies.astype(np.float64).sum())
        return 1.0 - float(kept.double().sum()) / deposited if deposited > 0 else 0.0

    def log_prob(
        self,
        showers: Showers,
        *,
        seed: int = 0,
        first_event: int = 0,
        dtype: Precision = "float32",
        tile_done: Callable[[int], None] | None = None,
    ) -> Density:
        """Exact log densities of showers; the student's cost as little as the teacher's.

        Memory beside the showers is 24 bytes a shower and some tens of megabytes, so that a million showers are
        no problem; files larger than memory are read with `iterate_showers`, `first_event` counting on.

        Args:
            showers: showers of the same geometry.
            seed: of the dequantisation noise of dark voxels; with a shower's index it determines the noise.
            first_event: index of the first shower.
            dtype: precision of the arithmetic; float64 takes a copy of the model.
            tile_done: called with the number of new showers as they are done.

        Raises:
            GeometryError: the showers belong to another geometry.
            ConditionError: a condition is missing or not finite.
            ConfigError: the precision is unknown.
        """
        require_cells(self.geometry, showers)
        available = conditions_of(showers)
        matrix = self.condition_matrix({name: available[name] for name in self.condition_names if name in available})
        return evaluate_density(
            self.model,
            showers.voxels_mev,
            matrix,
            seed=seed,
            first_event=first_event,
            dtype=dtype,
            tile_done=tile_done,
        )

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
                "order": f"{self.model.n_totals} of Flow I, then {self.model.n_voxels} of Flow II",
            },
            "output": {"name": "voxels", "unit": "MeV", "order": "layers front to back, first axis slowest"},
            "geometry": self.geometry.to_dict(),
            "normalisation": "deposited energies, absolute",
            "threshold_mev": self.config.preprocessing.threshold_mev,
            "pdg": self._pdg(),
            "provenance": document["provenance"],
            "training_data_sha256": document["provenance"].get("data_sha256"),
            "simulation_version": document["provenance"].get("geant4"),
            "detector": document["provenance"].get("geometry"),
            "training_seed": self.config.seed,
            "metrics": document["metrics"],
        }

    def save(
        self,
        directory: str | os.PathLike[str],
        *,
        storage: Literal["float32", "float16"] = "float32",
        force: bool = False,
    ) -> Path:
        """Write the artefact directory; see `hepflows.artefact.save_artefact`.

        Args:
            directory: directory to create.
            storage: `float16` rounds the weights of the networks, though not what preprocessing has learnt, and leaves
                out what masks set to zero: half the size or, of teachers and students, a quarter, and what is loaded
                again differs from this generator by the rounding.
            force: replace an existing directory.
        """
        from pathlib import Path

        halved, state = list[str](), self.model.state_dict()
        if storage == "float16":
            halved, state = [name for name, _ in self.model.named_parameters()], without_masked(self.model, state)
        self._document = save_artefact(directory, self._document, state, halved=halved, force=force)
        return Path(directory)

    @staticmethod
    def load(directory: str | os.PathLike[str], *, device: str = "cpu") -> CaloGenerator:
        """Read an artefact that `save` wrote.

        Raises:
            ArtefactError: it is incomplete, altered, of another task or of another schema version.
        """
        document, state = load_artefact(directory)
        require_kind(document, TASK_NAME, get_args(Kind), where=directory)
        config = build(CaloFlowConfig, document.config, where=f"{directory}: config")
        try:
            geometry = Geometry.from_dict(document.geometry, where="geometry")
        except GeometryError as error:
            raise ArtefactError(
                "the geometry is damaged", where=f"{directory}/generator.json", found=str(error), remedy=RESTORE
            ) from error
        require_ranges(document, config.data.conditions, where=directory)
        with rebuilding(directory):
            model = CaloFlowModel(geometry, config, cast("Kind", document.kind))
            state = with_masked(model, state)
        load_state(model, state, where=directory)
        return CaloGenerator(model.to(device), geometry, config, document)

    def condition_matrix(
        self, conditions: ArrayLike | Mapping[str, ArrayLike], *, n: int | None = None
    ) -> NDArray[np.float32]:
        """Conditions as (N, C) float32 in the order of `condition_names`; `n` is compared with N."""
        given = conditions if isinstance(conditions, Mapping) else {ENERGY: conditions}
        return condition_matrix(self.condition_names, given, n=n)

    def _within_range(self, matrix: NDArray[np.float32], out_of_range: OutOfRange) -> NDArray[np.float32]:
        ranges = {name: self._document.valid_range[name] for name in self.condition_names}
        return within_range(matrix, ranges, out_of_range=out_of_range)

    def _pdg(self) -> int | None:
        pdg = self._document.provenance.get("pdg")
        return pdg if isinstance(pdg, int) else None
