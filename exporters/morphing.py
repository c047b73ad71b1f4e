"""A trained morphing as an ONNX file: physical observables in, morphed ones out.

Observables of whole numbers enter spread over their steps, as the metadata's ``grids`` say, and the host rounds them.
"""

from __future__ import annotations

import copy
from dataclasses import asdict
from typing import TYPE_CHECKING

import torch
from torch import nn

from exporters.exportable import Condition
from exporters.maps import EVENTS, OUTPUT, ExportedMap, Map, map_to_onnx
from hepflows.philox import normal_noise

if TYPE_CHECKING:
    import os

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from hepflows.morphing.artefact import Morphing
    from hepflows.morphing.model import MorphingModel


class _Graph(nn.Module):
    """Conditions (N, C), observables (N, D) to morphed observables (N, D)."""

    def __init__(self, model: MorphingModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, cond: Tensor, x: Tensor) -> Tensor:
        y, _ = self.model.scaling(x)
        moved, _ = self.model.move(y, self.model.context(cond))
        out: Tensor = self.model.scaling.inverse(moved)
        return out


def morphing_to_onnx(morphing: Morphing, path: str | os.PathLike[str], *, force: bool = False) -> ExportedMap:
    """Write a morphing with manifest, golden events and model card; errors as of `exporters.maps.map_to_onnx`.

    Args:
        morphing: what `hepflows morph train` wrote.
        path: file to write, ending in ``.onnx``.
        force: overwrite existing files.
    """
    document = morphing.document.to_dict()
    names = ", ".join(column.name for column in morphing.features)
    return map_to_onnx(
        Map(
            task=document["task"],
            kind=document["kind"],
            module=_Graph(copy.deepcopy(morphing.model)),
            conditions=tuple(
                Condition(name=c.name, unit=c.unit, low=low, high=high)
                for c in morphing.conditions
                for low, high in [morphing.document.valid_range[c.name]]
            ),
            features=morphing.features,
            outputs=((OUTPUT, len(morphing.features), f"morphed observables in physical units: {names}"),),
            events=_test_events(morphing),
            provenance=document["provenance"],
            more={"grids": [asdict(grid) for grid in morphing.grids]},
        ),
        path,
        force=force,
    )


def _test_events(morphing: Morphing) -> NDArray[np.float32]:
    """Observables around the middle of the training sets."""
    noise = torch.from_numpy(normal_noise(0, 0, EVENTS, len(morphing.features)))
    with torch.no_grad():
        return morphing.model.scaling.inverse(noise).numpy()
