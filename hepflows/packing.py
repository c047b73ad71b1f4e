"""Weights of networks in the order in which the CPU kernels need them, kept until they change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from numpy.typing import NDArray
    from torch import Tensor

    from hepflows.conditioner import ResidualMLP
    from hepflows.made import MADE

_BLOCK_ROWS = 144
"""Output rows of a block of dimensions: enough for the matrix product, few enough for the cache."""


class Packed(NamedTuple):
    """A masked network with the units of each hidden layer in ascending order of degree (numba knows named tuples).

    Attributes:
        hidden: weights of the hidden layers, flat, one after the other.
        layers: shape (L, 4): for each hidden layer where its weights start, where its units start, its number of
            units and of inputs.
        bias: biases of all hidden units.
        stops: shape (L, D + 1): number of units of degree <= m.
        context: shape (H_0, C), C = 0 for none.
        output: weights of the last layer, flat: for each block of dimensions its P * block rows, without the columns
            that none of them reaches.
        panels: shape (number of blocks, 2): where a block's rows start and how long they are.
        output_bias: shape (D P,).
        block: dimensions of a block.
    """

    hidden: NDArray[Any]
    layers: NDArray[np.int64]
    bias: NDArray[Any]
    stops: NDArray[np.int64]
    context: NDArray[Any]
    output: NDArray[Any]
    panels: NDArray[np.int64]
    output_bias: NDArray[Any]
    block: int


class PackedResidual(NamedTuple):
    """A `ResidualMLP` with inputs I, width H and B blocks.

    Attributes:
        entry: weights, shape (H, I).
        entry_bias: shape (H,).
        inner: weights of the blocks' layers, shape (2 B, H, H).
        inner_bias: shape (2 B, H).
        out: weights of the last layer, shape (outputs, H).
        out_bias: shape (outputs,).
    """

    entry: NDArray[Any]
    entry_bias: NDArray[Any]
    inner: NDArray[Any]
    inner_bias: NDArray[Any]
    out: NDArray[Any]
    out_bias: NDArray[Any]


ModuleT = TypeVar("ModuleT", bound=nn.Module)
PackedT = TypeVar("PackedT")
_cache: WeakKeyDictionary[nn.Module, tuple[Hashable, Any]] = WeakKeyDictionary()


def packed(made: MADE) -> Packed:
    """The packed weights of a masked network, packed anew only if a parameter has changed."""
    return _kept(made, _pack)


def packed_residual(network: ResidualMLP) -> PackedResidual:
    """The packed weights of a residual network, packed anew only if a parameter has changed."""
    return _kept(network, _pack_residual)


def _kept(module: ModuleT, pack: Callable[[ModuleT], PackedT]) -> PackedT:
    key = tuple(_fingerprint(parameter) for parameter in module.parameters())
    entry = _cache.get(module)
    if entry is None or entry[0] != key:
        entry = (key, pack(module))
        _cache[module] = entry
    kept: PackedT = entry[1]
    return kept


def _fingerprint(parameter: Tensor) -> Hashable:
    """Memory, version and some values of a tensor: the version alone misses changes through ``.data``."""
    flat = parameter.detach().reshape(-1)
    some = flat[:: max(1, flat.numel() // 64)].numpy().tobytes()
    version = None if parameter.is_inference() else parameter._version  # noqa: SLF001 - documented by torch, public nowhere
    return parameter.data_ptr(), version, parameter.dtype, parameter.shape, some


def _pack(made: MADE) -> Packed:
    orders = [torch.argsort(degrees, stable=True) for degrees in made.unit_degrees]
    weights, biases, layers, stops = [], [], [], []
    inputs: Tensor | None = None
    weight_at = unit_at = 0
    for layer, degrees, order in zip(made.layers, made.unit_degrees, orders, strict=True):
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
    block = max(1, _BLOCK_ROWS // made.multiplier)
    output, panels = _panels(made.output.weight.detach()[:, orders[-1]], stops[-1], made, block)
    bias = torch.cat(biases)
    context = bias.new_zeros(len(orders[0]), 0) if made.context is None else made.context.weight.detach()[orders[0]]
    return Packed(
        hidden=torch.cat(weights).numpy(),
        layers=np.array(layers, dtype=np.int64),
        bias=bias.numpy(),
        stops=torch.stack(stops).numpy().astype(np.int64),
        context=context.contiguous().numpy(),
        output=output,
        panels=panels,
        output_bias=made.output.bias.detach().clone().numpy(),
        block=block,
    )


def _panels(weight: Tensor, stops: Tensor, made: MADE, block: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Rows of each block of dimensions, cut behind the last column that they reach."""
    parts, panels, at = [], [], 0
    for start in range(0, made.features, block):
        stop = min(start + block, made.features)
        reach = int(stops[stop - 1])
        parts.append(weight[start * made.multiplier : stop * made.multiplier, :reach].reshape(-1))
        panels.append([at, reach])
        at += parts[-1].numel()
    return torch.cat(parts).numpy(), np.array(panels, dtype=np.int64)


def _pack_residual(network: ResidualMLP) -> PackedResidual:
    layers = [layer for layer in network.blocks.modules() if isinstance(layer, nn.Linear)]
    width = network.entry.out_features
    none = network.entry.weight.new_zeros(0, width)

    def stacked(values: list[Tensor], empty: Tensor) -> NDArray[Any]:
        return (torch.stack(values) if values else empty).numpy()

    return PackedResidual(
        entry=_copy(network.entry.weight),
        entry_bias=_copy(network.entry.bias),
        inner=stacked([layer.weight.detach() for layer in layers], none.new_zeros(0, width, width)),
        inner_bias=stacked([layer.bias.detach() for layer in layers], none),
        out=_copy(network.exit.weight),
        out_bias=_copy(network.exit.bias),
    )


def _copy(parameter: Tensor) -> NDArray[Any]:
    return parameter.detach().clone(memory_format=torch.contiguous_format).numpy()
