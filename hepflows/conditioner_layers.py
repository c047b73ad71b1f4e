"""Conditioner networks as lists of layers, the form in which `fused_conditioner` trains them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import nn

from hepflows.draws import whole_size
from hepflows.layer_plan import Layer, LayerForm, LayerPlan, plan_layer
from hepflows.plain import is_plain

if TYPE_CHECKING:
    from torch import Tensor

    from hepflows.conditioner import ResidualMLP
    from hepflows.made import MADE

FUSED_FROM = 32
"""Events from which fused training is faster than torch's own operators."""

_plans: WeakKeyDictionary[nn.Module, list[LayerPlan]] = WeakKeyDictionary()


def can_fuse(network: nn.Module, *tensors: Tensor) -> bool:
    """Whether gradients are recorded for ordinary tensors in CPU memory, and there are enough events."""
    everything = [*tensors, *network.parameters()]
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in everything)
    return wanted and tensors[0].ndim == 2 and whole_size(len(tensors[0])) >= FUSED_FROM and is_plain(*everything)


def made_layers(made: MADE) -> list[Layer]:
    """Layers of a masked network; the input of the first is the context, if there is one, followed by x."""
    modules = [*made.layers, made.output]
    weights: list[Tensor] = [module.weight for module in modules]
    masks = [module.mask for module in modules]
    if made.context is not None:
        weights[0] = torch.cat([made.context.weight, weights[0]], dim=1)
        masks[0] = torch.cat([masks[0].new_ones(len(masks[0]), made.context_features), masks[0]], dim=1)
    if made not in _plans:
        hidden = [plan_layer(_shape(mask), mask) for mask in masks[:-1]]
        _plans[made] = [*hidden, plan_layer(_shape(masks[-1]), masks[-1], unit=made.multiplier)]
    dropout = made.dropout.p if made.training else 0.0
    drops = [0.0, *[dropout] * (len(modules) - 2), 0.0]
    return [
        Layer(weight, module.bias, LayerForm(plan, mask, dropout=drop))
        for weight, module, plan, mask, drop in zip(weights, modules, _plans[made], masks, drops, strict=True)
    ]


def residual_layers(network: ResidualMLP, *, outputs_a_feature: int) -> list[Layer]:
    """Layers of a residual network; the second of each block is added to the sums from in front of the block."""
    inner = [module for module in network.blocks.modules() if isinstance(module, nn.Linear)]
    modules = [network.entry, *inner, network.exit]
    if network not in _plans:
        last = len(modules) - 1
        _plans[network] = [
            plan_layer(_shape(module.weight), None, unit=outputs_a_feature if number == last else 0)
            for number, module in enumerate(modules)
        ]
    plans = _plans[network]
    drops = [module.p if module.training else 0.0 for module in network.modules() if isinstance(module, nn.Dropout)]
    forms = [LayerForm(plans[0])]
    for drop in drops:
        number = len(forms)
        forms += [LayerForm(plans[number], dropout=drop), LayerForm(plans[number + 1], earlier=number - 1)]
    forms.append(LayerForm(plans[-1]))
    return [Layer(module.weight, module.bias, form) for module, form in zip(modules, forms, strict=True)]


def _shape(matrix: Tensor) -> tuple[int, int]:
    rows, columns = matrix.shape
    return rows, columns
