"""A trained M-flow as an ONNX file: the projection of an event, and its distance from it as a score.

The distance is the score of events unlike the training data. The metadata's ``error_quantiles`` turn it into a p-value
by interpolation: the share of held-out training events that are farther away. The density on the manifold stays in the
package: it needs a Jacobian an event.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import nn

from exporters.maps import EVENTS, OUTPUT, ExportedMap, Map, map_to_onnx
from hepflows.philox import normal_noise

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray
    from torch import Tensor

    from hepflows.manifold.artefact import Manifold
    from hepflows.manifold.model import ManifoldModel

SCORE: Final = "reconstruction_error"


class _Graph(nn.Module):
    """Observables (N, D) to their projections (N, D) and the distances (N, 1)."""

    def __init__(self, model: ManifoldModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, cond: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002 - maps take conditions
        y, _ = self.model.scaling(x)
        projected = self.model.reconstruct(y)
        out: Tensor = self.model.scaling.inverse(projected)
        error = ((projected - y) ** 2).mean(1, keepdim=True).sqrt()
        return out, error


def manifold_to_onnx(manifold: Manifold, path: str | os.PathLike[str], *, force: bool = False) -> ExportedMap:
    """Write an M-flow with manifest, golden events and model card; errors as of `exporters.maps.map_to_onnx`.

    Args:
        manifold: what `hepflows manifold train` wrote.
        path: file to write, ending in ``.onnx``.
        force: overwrite existing files.
    """
    document = manifold.document.to_dict()
    names = ", ".join(column.name for column in manifold.features)
    score = "root mean square distance to the projection over the observables, in their standard deviations"
    return map_to_onnx(
        Map(
            task=document["task"],
            kind=document["kind"],
            module=_Graph(copy.deepcopy(manifold.model)),
            conditions=(),  # they matter for the density only
            features=manifold.features,
            outputs=((OUTPUT, len(manifold.features), f"projection onto the manifold: {names}"), (SCORE, 1, score)),
            events=_test_events(manifold),
            provenance=document["provenance"],
            more={"error_quantiles": manifold.document.extra["error_quantiles"]},
        ),
        path,
        force=force,
    )


def _test_events(manifold: Manifold) -> NDArray[np.float32]:
    """Events near the manifold and far from it: coordinates of the density, with noise of many sizes."""
    model, d = manifold.model, len(manifold.features)
    noise = torch.from_numpy(normal_noise(0, 0, EVENTS, d + 1))
    with torch.no_grad():
        latent = noise[:, :d].clone()
        latent[:, model.dimensions :] *= torch.exp(noise[:, d:] - 1)
        return np.ascontiguousarray(model.scaling.inverse(model.outer.inverse(latent)[0]).numpy())
