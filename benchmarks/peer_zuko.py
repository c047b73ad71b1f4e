"""zuko, https://github.com/probabilists/zuko: the same architecture with weights of its own.

Its splines squash raw parameters in their own way, so weights cannot be taken over; the arithmetic is the same. Its
coupling networks have no skip connections: they get as many layers of the same width.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.peers import PeerFlow

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from benchmarks.architecture import Autoregressive, Coupling, Kind
    from hepflows.flow import ConditionalFlow
    from hepflows.splines import SplineSettings

DISTRIBUTION = "zuko"


def autoregressive(ours: ConditionalFlow, shape: Autoregressive, kind: Kind) -> PeerFlow:  # noqa: ARG001 - one interface
    """A neural spline flow; the student is made of lazy inverses."""
    flows, lazy = import_module("zuko.flows"), import_module("zuko.lazy")
    maf = flows.MAF(
        shape.features, shape.context, transforms=shape.blocks, hidden_features=shape.hidden, **_splines(shape.spline)
    )
    blocks = list(maf.transform.transforms)
    transforms = blocks if kind == "teacher" else [lazy.LazyInverse(block) for block in blocks]
    flow = lazy.Flow(transforms, maf.base).eval()
    first = blocks[0]

    def passes(values: Tensor, context: Tensor | None, passes: int) -> Tensor:
        whole, first.passes = first.passes, passes
        try:
            found: Tensor = first(context).inv(values)
        finally:
            first.passes = whole
        return found

    return PeerFlow(module=flow, same_weights=False, log_prob=_log_prob(flow), sample=_sampler(flow), passes=passes)


def coupling(ours: ConditionalFlow, shape: Coupling) -> PeerFlow:  # noqa: ARG001 - one interface
    """Coupling transformations that exchange the halves."""
    lazy, flows = import_module("zuko.lazy"), import_module("zuko.flows")
    distributions, couplings = import_module("zuko.distributions"), import_module("zuko.flows.coupling")
    low = torch.arange(shape.features) < shape.features // 2
    hidden = [shape.width] * (1 + 2 * shape.depth)
    transforms = [
        couplings.GeneralCouplingTransform(
            shape.features, 0, mask=low if block % 2 == 0 else ~low, hidden_features=hidden, **_splines(shape.spline)
        )
        for block in range(shape.blocks)
    ]
    zeros = torch.zeros(shape.features)
    base = flows.UnconditionalDistribution(distributions.DiagNormal, loc=zeros, scale=zeros + 1, buffer=True)
    flow = lazy.Flow(transforms, base).eval()
    return PeerFlow(module=flow, same_weights=False, log_prob=_log_prob(flow), sample=_sampler(flow))


def spline(settings: SplineSettings) -> Callable[[Tensor, Tensor, bool], tuple[Tensor, Tensor]]:
    """The library's spline with value and log-derivative; the inverse's is that of the forward spline, negated."""
    transform, bins = import_module("zuko.transforms").MonotonicRQSTransform, settings.bins

    def call(x: Tensor, raw: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        found = transform(raw[..., :bins], raw[..., bins : 2 * bins], raw[..., 2 * bins :], bound=settings.bound)
        pair: tuple[Tensor, Tensor] = (found.inv if inverse else found).call_and_ladj(x)
        return pair

    return call


def _splines(settings: SplineSettings) -> dict[str, Any]:
    transforms, bins = import_module("zuko.transforms"), settings.bins
    return {
        "univariate": partial(transforms.MonotonicRQSTransform, bound=settings.bound),
        "shapes": [(bins,), (bins,), (bins - 1,)],
    }


def _log_prob(flow: Any) -> Callable[[Tensor, Tensor | None], Tensor]:
    def log_prob(x: Tensor, context: Tensor | None) -> Tensor:
        found: Tensor = flow(context).log_prob(x)
        return found

    return log_prob


def _sampler(flow: Any) -> Callable[[Tensor, Tensor | None], Tensor]:
    def sample(noise: Tensor, context: Tensor | None) -> Tensor:
        found: Tensor = flow(context).transform.inv(noise)
        return found

    return sample
