"""What the artefact of a freshly trained jet generator says about itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hepflows.artefact import GeneratorDocument
from hepflows.config import config_to_dict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jetgen.config import JetFlowConfig
    from jetgen.jetflow import JetFlowModel

UNITS = {"mass": "", "multiplicity": "", "eta_rel": "", "phi_rel": "rad", "pt_rel": "", "mask": ""}
"""Unit of each quantity by name; masses and transverse momenta are relative to the jet's pT."""


def make_document(
    model: JetFlowModel, config: JetFlowConfig, *, provenance: Mapping[str, Any], training: Mapping[str, Any]
) -> GeneratorDocument:
    """Content of ``generator.json`` for a freshly trained model."""
    ranges = zip(model.conditions.low.tolist(), model.conditions.high.tolist(), strict=True)
    return GeneratorDocument(
        task=config.task,
        kind=config.preset,
        config=config_to_dict(config),
        units=UNITS,
        geometry={"n_slots": model.n_slots, "order": "falling pT", "massless": True},
        valid_range=dict(zip(model.condition_names, ranges, strict=True)),
        provenance=dict(provenance),
        training=dict(training),
    )
