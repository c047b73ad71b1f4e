"""nflows: the library that CaloFlow used, https://github.com/bayesiains/nflows, with our weights."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own customary name

from benchmarks.peers import PeerFlow, copy_conditioner, copy_made
from hepflows.autoregressive import InverseAutoregressive, MaskedAutoregressive
from hepflows.coupling import SplineCoupling
from hepflows.errors import ConfigError
from hepflows.permutations import Permutation

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from benchmarks.architecture import Autoregressive, Coupling, Kind
    from hepflows.flow import ConditionalFlow
    from hepflows.splines import SplineSettings

DISTRIBUTION = "nflows"


def autoregressive(ours: ConditionalFlow, shape: Autoregressive, kind: Kind) -> PeerFlow:
    """A masked autoregressive flow, or the inverse one with its splines' direction exchanged as CaloFlow does."""
    transforms = import_module("nflows.transforms")
    chain: list[Any] = []
    for transform in ours.transforms:
        if isinstance(transform, Permutation):
            chain.append(transforms.Permutation(transform.index))
            continue
        block = _block(transforms, shape)
        if isinstance(transform, MaskedAutoregressive | InverseAutoregressive) and shape.degrees == "sequential":
            copy_made(transform.made, block.autoregressive_net, shape.spline)
        if kind == "student":
            exchange_directions(block)
            block = transforms.InverseTransform(block)
        chain.append(block)
    first = chain[0] if kind == "teacher" else chain[0]._transform  # noqa: SLF001 - no public way to it
    flow = _flow(chain, shape.features)
    return PeerFlow(
        module=flow,
        same_weights=shape.degrees == "sequential",
        log_prob=flow.log_prob,
        sample=_sampler(flow),
        passes=lambda values, context, passes: naive_passes(first, values, context, passes),
    )


def coupling(ours: ConditionalFlow, shape: Coupling) -> PeerFlow:
    """A coupling flow; nflows' residual network gets the ReLU before its last layer that ours has."""
    transforms, nets = import_module("nflows.transforms"), import_module("nflows.nn.nets")
    spline = shape.spline
    mask = torch.arange(shape.features) >= shape.features // 2

    def network(inputs: int, outputs: int) -> Any:
        net = nets.ResidualNet(inputs, outputs, shape.width, num_blocks=shape.depth)
        net.final_layer = nn.Sequential(nn.ReLU(), net.final_layer)
        return net

    chain: list[Any] = []
    for transform in ours.transforms:
        if isinstance(transform, SplineCoupling):
            block = transforms.PiecewiseRationalQuadraticCouplingTransform(
                mask.long(), network, num_bins=spline.bins, tails="linear", tail_bound=spline.bound, **minima(spline)
            )
            copy_conditioner(transform.conditioner, block.transform_net, spline)
            chain.append(block)
        elif isinstance(transform, Permutation):
            chain.append(transforms.Permutation(transform.index))
    flow = _flow(chain, shape.features)
    return PeerFlow(module=flow, same_weights=True, log_prob=flow.log_prob, sample=_sampler(flow))


def spline(settings: SplineSettings) -> Callable[[Tensor, Tensor, bool], tuple[Tensor, Tensor]]:
    """The library's unconstrained rational-quadratic spline."""
    function = import_module("nflows.transforms.splines").unconstrained_rational_quadratic_spline
    return as_spline(function, settings)


def as_spline(function: Any, settings: SplineSettings) -> Callable[[Tensor, Tensor, bool], tuple[Tensor, Tensor]]:
    """Call nflows' (or normflows') spline with raw parameters in one tensor."""
    bins, options = settings.bins, {"tails": "linear", "tail_bound": settings.bound, **minima(settings)}

    def call(x: Tensor, raw: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        y, log_derivative = function(
            x, raw[..., :bins], raw[..., bins : 2 * bins], raw[..., 2 * bins :], inverse=inverse, **options
        )
        return y, log_derivative

    return call


def minima(settings: SplineSettings) -> dict[str, float]:
    """The smallest sizes under nflows' names."""
    return {
        "min_bin_width": settings.min_width,
        "min_bin_height": settings.min_height,
        "min_derivative": settings.min_derivative,
    }


def naive_passes(block: Any, values: Tensor, context: Tensor | None, passes: int) -> Tensor:
    """The loop of nflows' inverse, of which `passes` = D is the whole."""
    outputs = torch.zeros_like(values)
    for _ in range(passes):
        parameters = block.autoregressive_net(outputs, context)
        outputs, _ = block._elementwise_inverse(values, parameters)  # noqa: SLF001 - the loop calls it so
    return outputs


def exchange_directions(block: Any) -> None:
    """Let the fast direction evaluate the inverse spline, as the published student does."""
    forward, inverse = block._elementwise_forward, block._elementwise_inverse  # noqa: SLF001 - no public way
    block._elementwise_forward, block._elementwise_inverse = inverse, forward  # noqa: SLF001


def _block(transforms: Any, shape: Autoregressive) -> Any:
    settings = shape.spline
    if len(set(shape.hidden)) > 1:
        raise ConfigError("nflows' hidden layers have one width", where="--hidden", found=shape.hidden)
    return transforms.MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
        shape.features,
        shape.hidden[0],
        context_features=shape.context or None,
        num_bins=settings.bins,
        tails="linear",
        tail_bound=settings.bound,
        num_blocks=len(shape.hidden) - 1,
        use_residual_blocks=False,
        activation=F.relu,
        **minima(settings),
    )


def _flow(chain: list[Any], features: int) -> Any:
    flows = import_module("nflows.flows")
    distributions = import_module("nflows.distributions.normal")
    transforms = import_module("nflows.transforms")
    return flows.Flow(transforms.CompositeTransform(chain), distributions.StandardNormal([features])).eval()


def _sampler(flow: Any) -> Callable[[Tensor, Tensor | None], Tensor]:
    def sample(noise: Tensor, context: Tensor | None) -> Tensor:
        events, _ = flow._transform.inverse(noise, context)  # noqa: SLF001 - flow.sample draws its own noise
        found: Tensor = events
        return found

    return sample
