"""A masked network with the units of each hidden layer in ascending order of degree, as torch tensors.

In this order "all units of degree <= m" is the start of a layer, and a layer's weights are a staircase.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812 - torch's own customary name

if TYPE_CHECKING:
    from torch import Tensor

    from hepflows.made import MADE


@dataclass(frozen=True)
class SortedNetwork:
    """Weights in force (masks applied), differentiable functions of the network's parameters.

    Attributes:
        weights: of the L hidden layers, shapes (H_l, H_{l-1}) with H_{-1} = D, then of the output, (D P, H_{L-1}).
        biases: shapes (H_l,), then (D P,).
        stops: stops[l][m] is the number of units of degree <= m in hidden layer l, m = 0 ... D.
        multiplier: outputs P of a feature.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    stops: tuple[tuple[int, ...], ...]
    multiplier: int

    @property
    def depth(self) -> int:
        """Number of hidden layers L."""
        return len(self.stops)

    def with_tensors(self, tensors: tuple[Tensor, ...]) -> SortedNetwork:
        """The same network with other tensors, weights first, in the order of `tensors`."""
        cut = self.depth + 1
        return SortedNetwork(tensors[:cut], tensors[cut:], self.stops, self.multiplier)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Weights, then biases."""
        return self.weights + self.biases


def sorted_network(made: MADE) -> SortedNetwork:
    """Sort a network's units; a few launches and one copy of the weights, nothing is read back from a GPU."""
    orders = [torch.argsort(degrees, stable=True) for degrees in made.unit_degrees]
    columns: list[Tensor | None] = [None, *(_index(order, made.output.weight.device) for order in orders)]
    rows = [*columns[1:], None]
    weights: list[Tensor] = []
    biases: list[Tensor] = []
    for layer, row, column in zip([*made.layers, made.output], rows, columns, strict=True):
        weight = layer.masked_weight()
        weight = weight if row is None else weight[row]
        weights.append(weight if column is None else weight[:, column])
        biases.append(layer.bias if row is None else layer.bias[row])
    levels = torch.arange(made.features + 1)
    stops = tuple(
        tuple(torch.searchsorted(degrees[order], levels, right=True).tolist())
        for degrees, order in zip(made.unit_degrees, orders, strict=True)
    )
    return SortedNetwork(tuple(weights), tuple(biases), stops, made.multiplier)


def context_share(made: MADE, context: Tensor | None) -> Tensor | None:
    """What the context adds to the first layer's units in their sorted order, shape (N, H_0); None without context."""
    if made.context is None or context is None:
        return None
    order = _index(torch.argsort(made.unit_degrees[0], stable=True), made.context.weight.device)
    return F.linear(context, made.context.weight if order is None else made.context.weight[order])


def _index(order: Tensor, device: torch.device) -> Tensor | None:
    """The order as an index on the device, without waiting for it; None if nothing is to be reordered."""
    return None if torch.equal(order, torch.arange(len(order))) else order.to(device, non_blocking=True)
