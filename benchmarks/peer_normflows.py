"""normflows, https://github.com/VincentStimper/normalizing-flows: coupling flows with our weights, masked flows alike.

Its blocks are chained by this project's `ConditionalFlow`, which only loops over them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own customary name

from benchmarks.peer_nflows import as_spline, exchange_directions, minima, naive_passes
from benchmarks.peers import PeerFlow, copy_conditioner
from hepflows.coupling import SplineCoupling
from hepflows.flow import ConditionalFlow, StandardNormal
from hepflows.permutations import Permutation

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from benchmarks.architecture import Autoregressive, Coupling, Kind
    from hepflows.splines import SplineSettings

DISTRIBUTION = "normflows"


class _Reversed(nn.Module):
    """A block whose fast direction is towards the data."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor, context: Tensor | None = None) -> Any:
        return self.block.inverse(x, context)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Any:
        return self.block(z, context)


def autoregressive(ours: ConditionalFlow, shape: Autoregressive, kind: Kind) -> PeerFlow:
    """The nearest it has: its feed-forward masked networks take no context and lack the first activation."""
    module = import_module("normflows.flows.neural_spline.autoregressive")
    chain: list[nn.Module] = []
    for transform in ours.transforms:
        if isinstance(transform, Permutation):
            chain.append(transform)
            continue
        block = module.MaskedPiecewiseRationalQuadraticAutoregressive(
            shape.features,
            shape.hidden[0],
            num_bins=shape.bins,
            tails="linear",
            tail_bound=shape.bound,
            num_blocks=len(shape.hidden) - 1,
            use_residual_blocks=False,
            activation=F.relu,
            init_identity=False,
            **minima(shape.spline),
        )
        if kind == "student":
            exchange_directions(block)
        chain.append(block if kind == "teacher" else _Reversed(block))
    flow = ConditionalFlow(chain, StandardNormal()).eval()
    first: Any = chain[0] if kind == "teacher" else chain[0].block
    return PeerFlow(
        module=flow,
        same_weights=False,
        log_prob=lambda x, _: flow.log_prob(x),
        sample=lambda noise, _: flow.sample(noise),
        passes=lambda values, _, passes: naive_passes(first, values, None, passes),
    )


def coupling(ours: ConditionalFlow, shape: Coupling) -> PeerFlow:
    """Coupling blocks; the residual network gets the ReLU before its last layer that ours has."""
    module, nets = (
        import_module("normflows.flows.neural_spline.coupling"),
        import_module("normflows.nets.resnet"),
    )
    mask = (torch.arange(shape.features) >= shape.features // 2).long()

    def network(inputs: int, outputs: int) -> Any:
        net = nets.ResidualNet(inputs, outputs, shape.width, num_blocks=shape.depth)
        net.final_layer = nn.Sequential(nn.ReLU(), net.final_layer)
        return net

    chain: list[nn.Module] = []
    for transform in ours.transforms:
        if isinstance(transform, SplineCoupling):
            block = module.PiecewiseRationalQuadraticCoupling(
                mask, network, num_bins=shape.bins, tails="linear", tail_bound=shape.bound, **minima(shape.spline)
            )
            copy_conditioner(transform.conditioner, block.transform_net, shape.spline)
            chain.append(block)
        elif isinstance(transform, Permutation):
            chain.append(transform)
    flow = ConditionalFlow(chain, StandardNormal()).eval()
    return PeerFlow(module=flow, same_weights=True, log_prob=flow.log_prob, sample=flow.sample)


def spline(settings: SplineSettings) -> Callable[[Tensor, Tensor, bool], tuple[Tensor, Tensor]]:
    """The library's unconstrained rational-quadratic spline."""
    return as_spline(import_module("normflows.utils.splines").unconstrained_rational_quadratic_spline, settings)
