"""Weights of a masked network in the order in which the one-pass solver needs them, kept until they change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import NDArray
    from torch import Tensor

    from hepflows.made import MADE

_BLOCK_ROWS = 192
"""Output rows of a block of dimensions: enough for the matrix product, few enough for the cache."""


@dataclass(frozen=True)
class Packed:
    """A masked network with the units of each hidden layer in ascending order of degree.

    Attributes:
        hidden: weights of the hidden layers, flat, one after the other.
        layers: shape (L, 4): for each hidden layer where its weights start, where its units start, its number of
            units and of inputs.
        bias: biases of all hidden units.
        stops: shape (L, D + 1): number of units of degree <= m.
        context: shape (H_0, C), C = 0 for none.
        output: shape (D P, H).
        output_bias: shape (D P,).
        block: dimensions of a block.
    """

    hidden: NDArray[Any]
    layers: NDArray[np.int64]
    bias: NDArray[Any]
    stops: NDArray[np.int64]
    context: NDArray[Any]
    output: NDArray[Any]
    output_bias: NDArray[Any]
    block: int


_cache: WeakKeyDictionary[MADE, tuple[Hashable, Packed]] = WeakKeyDictionary()


def packed(made: MADE) -> Packed:
    """The packed weights of a network, packed anew only if a parameter has changed."""
    key = tuple(_fingerprint(parameter) for parameter in made.parameters())
    entry = _cache.get(made)
    if entry is None or entry[0] != key:
        entry = (key, _pack(made))
        _cache[made] = entry
    return entry[1]


def _fingerprint(parameter: Tensor) -> Hashable:
    """Memory, version and some values of a tensor: the version alone misses changes through ``.data``."""
    flat = parameter.detach().reshape(-1)
    some = flat[:: max(1, flat.numel() // 64)].numpy().tobytes()
    version = None if parameter.is_inference() else parameter._version
    return parameter.data_ptr(), version, parameter.dtype, parameter.shape, some


def _pack(made: MADE) -> Packed:
    orders = [torch.argsort(degrees, stable=True) for degrees in made.unit_degrees]
    weights, biases, layers, stops = [], [], [], []
    inputs: Tensor | None = None
    weight_at = unit_at = 0
    for layer, degrees, order in zip(made.hidden, made.unit_degrees, orders, strict=True):
        weight = layer.weight.detach()[order]
        if inputs is not None:
            weight = weight[:, inputs]
        layers.append([weight_at, unit_at, *weight.shape])
        weights.append(weight.reshape(-1))
        biases.append(layer.bias.detach()[order])
        stops.append(torch.searchsorted(degrees[order], torch.arange(made.features + 1), right=True))
        weight_at += weight.numel()
        unit_at += len(order)
        inputs = order
    bias = torch.cat(biases)
    context = bias.new_zeros(len(orders[0]), 0) if made.context is None else made.context.weight.detach()[orders[0]]
    return Packed(
        hidden=torch.cat(weights).numpy(),
        layers=np.array(layers, dtype=np.int64),
        bias=bias.numpy(),
        stops=torch.stack(stops).numpy().astype(np.int64),
        context=context.contiguous().numpy(),
        output=made.output.weight.detach()[:, orders[-1]].contiguous().numpy(),
        output_bias=made.output.bias.detach().clone().numpy(),
        block=max(1, _BLOCK_ROWS // made.multiplier),
    )
