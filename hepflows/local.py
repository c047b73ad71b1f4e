"""What the values of a few named features, a voxel's neighbours, add to the spline parameters of each feature.

A dense conditioner has to find out from the data which of hundreds of inputs matter to an output; of correlations
between neighbours it learns little from some ten thousand events. Naming the neighbours costs a few weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from hepflows.errors import ConfigError
from hepflows.plain import is_exported

if TYPE_CHECKING:
    from torch import Tensor


class LocalTerms(nn.Module):
    """Linear maps, one for each of D features, from its K neighbours to its P parameters; they start at zero.

    Args:
        index: places of the neighbours among the inputs, shape (D, K).
        inputs: number of inputs I.
        parameters: number of parameters P.

    Raises:
        ConfigError: the index is not a matrix of places of inputs.
    """

    index: Tensor

    def __init__(self, index: Tensor, inputs: int, parameters: int) -> None:
        super().__init__()
        if index.ndim != 2:
            raise ConfigError("neighbours must be a matrix", expected="(features, neighbours)", found=index.shape)
        self.inputs = inputs
        self.register_buffer("index", index.long())
        _check_places(self, None)
        self.register_load_state_dict_post_hook(_check_places)  # type: ignore[no-untyped-call]  # torch
        self.weight = nn.Parameter(torch.zeros(len(index), parameters, index.shape[1]))

    def forward(self, inputs: Tensor) -> Tensor:
        """Shape (N, I) to (N, D, P)."""
        features, count = self.index.shape
        if is_exported():
            near = torch.index_select(inputs, 1, self.index.flatten()).reshape(-1, features, count, 1)
            raw: Tensor = torch.matmul(self.weight, near).reshape(-1, features, self.weight.shape[1])
            return raw
        return local_terms(inputs, self.index, self.weight)


def local_terms(inputs: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Linear terms of neighbours, (N, D, P).

    Args:
        inputs: shape (N, I).
        index: places of the neighbours among the inputs, shape (D, J).
        weight: shape (D, P, J).
    """
    near = inputs.T.index_select(0, index.flatten()).unflatten(0, index.shape)
    return torch.bmm(weight, near).permute(2, 0, 1)


def _check_places(module: nn.Module, _: object) -> None:
    """Kernels read where the index points: a damaged one must not reach them."""
    if isinstance(module, LocalTerms):
        outside = (module.index < 0) | (module.index >= module.inputs)
        if bool(outside.any()):
            raise ConfigError(
                "a neighbour is none of the inputs",
                expected=f"places from 0 to {module.inputs - 1}",
                found=int(module.index[outside][0]),
            )
