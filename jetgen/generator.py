"""A trained jet generator: conditions, sampling, saving and loading."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hepflows.artefact import GeneratorDocument, load_artefact, load_state, rebuilding, save_artefact
from hepflows.config import build, config_to_dict
from hepflows.document import RESTORE, require_kind, require_ranges
from hepflows.errors import ArtefactError
from hepflows.sampler import sample_in_tiles
from jetgen.condition_checks import condition_matrix, required_number, within_range
from jetgen.config import JetFlowConfig
from jetgen.generator_document import UNITS
from jetgen.jetflow import JetFlowModel, SamplingModule, stacked
from jetgen.jets import Jets
from jetgen.mass_constraint import require_reached
from jetgen.mass_kernel import jet_masses
from jetgen.multiplicity import drawn_conditions
from jetgen.presets import PRESETS, SAME_NETWORK

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from hepflows.out_of_range import OutOfRange

TASK_NAME = "jetgen"


class JetGenerator:
    """Jets with given or drawn masses and multiplicities.

    Args:
        model: trained model in evaluation mode.
        config: configuration of the training.
        document: content of ``generator.json``.
    """

    def __init__(self, model: JetFlowModel, config: JetFlowConfig, document: GeneratorDocument) -> None:
        self.model, self.config = model.eval(), config
        self._document = document

    @property
    def task(self) -> str:
        """Name of the task, ``jetgen``."""
        return TASK_NAME

    @property
    def kind(self) -> str:
        """Preset that it was trained as."""
        return self.config.preset

    @property
    def condition_names(self) -> tuple[str, ...]:
        """Names of the conditions: none, ``mass``, or ``mass`` and ``multiplicity``."""
        return self.model.condition_names

    @property
    def document(self) -> dict[str, Any]:
        """Content of ``generator.json``."""
        return self._document.to_dict()

    @property
    def noise_dim(self) -> int:
        """Normal numbers that a jet takes: three a slot, and one before if its sum of pT is drawn."""
        return self.model.noise_dim

    def sample(
        self,
        conditions: Mapping[str, ArrayLike] | None = None,
        *,
        n: int | None = None,
        seed: int,
        first_event: int = 0,
        out_of_range: OutOfRange = "error",
        latents: NDArray[np.float32] | None = None,
        tile_done: Callable[[int], None] | None = None,
    ) -> Jets:
        """Generate jets.

        Args:
            conditions: ``mass`` (relative) and ``multiplicity``, shape (N,) each; names that the generator does not
                know are passed over. None draws them like the training jets'.
            n: number of jets, needed where conditions are drawn or the generator has none.
            seed: with the jet's index it determines the jet, whatever the batch it is generated in.
            first_event: index of the first jet.
            out_of_range: what to do with conditions outside the trained range: "error", or with a warning "clamp" them
                to its nearest end or "pass" them on, which extrapolates.
            latents: shape (N, Z), instead of the noise that follows from the seed.
            tile_done: called with the number of new jets as they are made.

        Raises:
            ConditionError: a condition is missing, ill-shaped, not finite, outside the range, or a mass that the
                jet cannot have.
        """
        if conditions is None:
            conditions = self.draw_conditions(required_number(n), seed=seed, first_event=first_event)
        matrix = self.condition_matrix(conditions, n=n)
        matrix = self._within_range(matrix, out_of_range)

        values = sample_in_tiles(
            lambda cond, noise, rows: stacked(self.model.sample(noise, cond, rows=rows)),
            matrix,
            self.noise_dim,
            seed=seed,
            first_event=first_event,
            latents=latents,
            device=self.model.conditions.low.device,
            tile_done=tile_done,
        )
        jets = to_jets(values, self.model.n_slots, self._document.provenance)
        if "mass" in self.condition_names:
            jets = replace(jets, mass_condition=matrix[:, 0])
        if self.config.constraint == "exact":
            found = jet_masses(jets.eta_rel, jets.phi_rel, jets.pt_rel)
            wanted = matrix[:, 0].astype(np.float64)
            require_reached(
                torch.from_numpy(found),
                torch.from_numpy(wanted),
                torch.from_numpy(jets.multiplicity),
                first_event=first_event,
            )
        return jets

    def draw_conditions(
        self,
        n: int,
        *,
        seed: int,
        first_event: int = 0,
        ranges: Mapping[str, tuple[float, float]] = MappingProxyType({}),
    ) -> dict[str, NDArray[np.floating[Any]]]:
        """Draw masses and multiplicities like those of the training jets; jet i's follow from (seed, i).

        Args:
            n: number of jets.
            seed: of the counter-based noise.
            first_event: index of the first jet.
            ranges: ``mass`` between these two only; ``multiplicity`` exactly this (both ends equal).

        Raises:
            ConditionError: no training jets are like that, or the generator has no such condition.
        """
        tables = self.model.tables
        return drawn_conditions(tables, self.condition_names, n, seed=seed, first_event=first_event, ranges=ranges)

    def check_conditions(self, conditions: Mapping[str, ArrayLike]) -> None:
        """Raise the `ConditionError` that `sample` would raise for these conditions."""
        if self.condition_names:
            self._within_range(self.condition_matrix(conditions), "error")

    def sampling_module(self, *, threshold: bool = True) -> SamplingModule:  # noqa: ARG002 - jets have no threshold
        """Module for export: forward(cond (N, C), noise (N, Z)) -> eta, phi, pT, mask of each slot, (N, 4 P)."""
        return SamplingModule(self.model).eval()

    def export_metadata(self) -> dict[str, Any]:
        """What a host needs to know about the graph, JSON-able."""
        document = self.document
        slots = self.model.n_slots
        return {
            "task": TASK_NAME,
            "kind": self.kind,
            "conditions": [
                {"name": name, "unit": UNITS[name], "valid_range": document["valid_range"][name]}
                for name in self.condition_names
            ],
            "condition_tables": self.model.tables.to_dict(),
            "noise": {
                "order": ("sum of pT, " if self.model.pt_sum is not None else "") + "three a slot",
            },
            "output": {
                "name": "constituents",
                "unit": "eta_rel, phi_rel [rad], pt_rel, mask",
                "order": f"{slots} slots of these four numbers, in falling order of pT; mask is 1 for a constituent "
                "and 0 for an empty slot",
            },
            "mass_constraint": self.config.constraint,
            "out_of_reach": "a single constituent has no mass and stays as it is",
            "provenance": document["provenance"],
            "training_data_sha256": document["provenance"].get("data_sha256"),
            "training_seed": self.config.seed,
            "metrics": document["metrics"],
        }

    def save(self, directory: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the artefact directory; see `hepflows.artefact.save_artefact`."""
        from pathlib import Path

        self._document = save_artefact(directory, self._document, self.model.state_dict(), force=force)
        return Path(directory)

    @staticmethod
    def load(directory: str | os.PathLike[str], *, device: str = "cpu") -> JetGenerator:
        """Read an artefact that `save` wrote.

        Raises:
            ArtefactError: it is incomplete, altered, of another task or of another schema version.
        """
        document, state = load_artefact(directory)
        require_kind(document, TASK_NAME, PRESETS, where=directory)
        config = build(JetFlowConfig, document.config, where=f"{directory}: config")
        slots = document.geometry.get("n_slots")
        if not isinstance(slots, int) or slots < 1:
            raise ArtefactError(
                "the number of slots is missing", where=f"{directory}/generator.json: geometry", remedy=RESTORE
            )
        require_ranges(document, config.conditions, where=directory)
        with rebuilding(directory):
            model = JetFlowModel(slots, config)
            model.keep_trained()
        load_state(model, state, where=directory)
        return JetGenerator(model.to(device), config, document)

    def with_exact_mass(self) -> JetGenerator:
        """The same trained network, its masses exact by construction: it need not be trained for that.

        Raises:
            ConfigError: the network is not told the mass.
        """
        kind = {trained: made for made, trained in SAME_NETWORK.items()}.get(self.config.preset, self.config.preset)
        # the network has not learned jets up to their scale, whatever the configuration would have made of it
        jitter = self.config.scale_jitter if self.config.constraint == "exact" else 0.0
        own = {"preset": kind, "mass_constraint": "exact", "scale_jitter": jitter}
        settings = config_to_dict(self.config) | own
        config = build(JetFlowConfig, settings, where="with_exact_mass")
        model = JetFlowModel(self.model.n_slots, config)
        model.keep_trained()
        model.load_state_dict(self.model.state_dict())
        document = self._document.model_copy(update={"kind": kind, "config": config_to_dict(config), "metrics": {}})
        return JetGenerator(model.to(self.model.conditions.low.device), config, document)

    def condition_matrix(self, conditions: Mapping[str, ArrayLike], *, n: int | None = None) -> NDArray[np.float32]:
        """Conditions as (N, C) float32 in the order of `condition_names`; (N, 0) if there are none."""
        return condition_matrix(conditions, self.condition_names, n=n)

    def _within_range(self, matrix: NDArray[np.float32], out_of_range: OutOfRange) -> NDArray[np.float32]:
        ranges = {name: self._document.valid_range[name] for name in self.condition_names}
        return within_range(matrix, ranges, self.model.tables, out_of_range)


def to_jets(values: NDArray[np.float32], n_slots: int, provenance: Mapping[str, Any]) -> Jets:
    """Jets from the output (N, 4 P) of a sampling module."""
    eta, phi, pt, mask = np.moveaxis(values.reshape(-1, n_slots, 4), 2, 0)
    kind = provenance.get("kind")
    return Jets(
        eta_rel=np.ascontiguousarray(eta),
        phi_rel=np.ascontiguousarray(phi),
        pt_rel=np.ascontiguousarray(pt),
        mask=mask > 0.5,
        kind=kind if isinstance(kind, str) else None,
        provenance={"generator": "hepflows jetgen"},
    )
