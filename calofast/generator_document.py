"""What the artefact of a freshly trained generator says about itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from calofast.showers import unit_of
from hepflows.artefact import GeneratorDocument
from hepflows.config import config_to_dict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from calofast.caloflow import CaloFlowModel
    from calofast.config import CaloFlowConfig
    from calofast.geometry import Geometry


def make_document(
    model: CaloFlowModel,
    geometry: Geometry,
    config: CaloFlowConfig,
    *,
    provenance: Mapping[str, Any],
    training: Mapping[str, Any],
) -> GeneratorDocument:
    """Content of ``generator.json`` for a freshly trained model."""
    names = config.data.conditions
    ranges = zip(model.conditions.low.tolist(), model.conditions.high.tolist(), strict=True)
    return GeneratorDocument(
        task=config.task,
        kind=model.kind,
        config=config_to_dict(config),
        units={**{name: unit_of(name) for name in names}, "voxels": "MeV"},
        geometry=geometry.to_dict(),  # type: ignore[arg-type]  # JSON-able by contract
        valid_range=dict(zip(names, ranges, strict=True)),
        provenance=dict(provenance),
        training=dict(training),
    )
