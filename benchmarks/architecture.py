"""The reference flows: this project's side, with random weights that other libraries can take over.

Contexts are drawn from [0, 1] and their weights are positive, because nflows sends the context through a ReLU of its
own: so it is the identity, and both sides compute the same function.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import torch

from hepflows.autoregressive import InverseAutoregressive, MaskedAutoregressive
from hepflows.coupling import SplineCoupling, coupling_blocks
from hepflows.flow import ConditionalFlow
from hepflows.permutations import Permutation, reverse, shuffle
from hepflows.splines import SplineSettings

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hepflows.made import MADE, Degrees

Kind = Literal["teacher", "student"]
_OUTPUT_SPREAD = 0.5
"""Standard deviation of the raw spline parameters: bins clearly differ, as after a training."""


@dataclass(frozen=True, kw_only=True)
class Autoregressive:
    """A MAF (teacher) or IAF (student); the defaults are CaloFlow's Flow II for 504 voxels, without its dropout.

    Attributes:
        features: dimensions D.
        blocks: masked networks, with permutations between them.
        hidden: widths of the hidden layers.
        context: context features.
        bins: spline bins.
        bound: the splines act on [-bound, bound].
        degrees: layout of the hidden degrees; nflows has ``sequential``, and only then are weights equal.
    """

    features: int = 504
    blocks: int = 8
    hidden: tuple[int, ...] = (378, 378)
    context: int = 4
    bins: int = 8
    bound: float = 14.0
    degrees: Degrees = "sequential"

    @property
    def spline(self) -> SplineSettings:
        """Shape of the splines."""
        return SplineSettings(bins=self.bins, bound=self.bound)


@dataclass(frozen=True, kw_only=True)
class Coupling:
    """A coupling flow; the defaults are those of the jet flows: 90 dimensions, 437 thousand parameters a conditioner.

    Attributes:
        features: dimensions D.
        blocks: coupling blocks, with permutations between them.
        width: units of the conditioner's layers.
        depth: residual blocks of a conditioner, two layers each.
        bins: spline bins.
        bound: the splines act on [-bound, bound].
    """

    features: int = 90
    blocks: int = 15
    width: int = 222
    depth: int = 2
    bins: int = 8
    bound: float = 14.0

    @property
    def spline(self) -> SplineSettings:
        """Shape of the splines."""
        return SplineSettings(bins=self.bins, bound=self.bound)


def autoregressive_flow(shape: Autoregressive, kind: Kind, *, seed: int) -> ConditionalFlow:
    """A flow with random weights, in evaluation mode, permutations alternately reversing and shuffling."""
    generator = torch.Generator().manual_seed(seed)
    cls: type[MaskedAutoregressive | InverseAutoregressive]
    cls = MaskedAutoregressive if kind == "teacher" else InverseAutoregressive
    transforms: list[nn.Module] = []
    for block in range(shape.blocks):
        transform = cls(shape.features, shape.context, shape.hidden, shape.spline, degrees=shape.degrees)
        randomise(transform.made, generator)
        transforms.append(transform)
        if block < shape.blocks - 1:
            index = shuffle(shape.features, generator) if block % 2 else reverse(shape.features)
            transforms.append(Permutation(index))
    return ConditionalFlow(transforms).eval()


def coupling_flow(shape: Coupling, *, seed: int) -> ConditionalFlow:
    """A coupling flow without context and with random weights, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    make = partial(SplineCoupling, shape.features, 0, shape.spline, width=shape.width, blocks=shape.depth)
    transforms = coupling_blocks(shape.features, make, blocks=shape.blocks, generator=generator)
    for transform in transforms:
        if isinstance(transform, SplineCoupling):
            spread(transform.conditioner.exit.weight, generator)
    return ConditionalFlow(transforms).eval()


def inputs(features: int, context: int, batch: int, *, seed: int) -> tuple[Tensor, Tensor | None]:
    """Standard normal numbers (N, D) and contexts in [0, 1] of shape (N, C), None if there is no context."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(batch, features, generator=generator)
    return noise, torch.rand(batch, context, generator=generator) if context else None


def first_block(flow: ConditionalFlow) -> ConditionalFlow:
    """The flow's first block alone, sharing its weights."""
    return ConditionalFlow([flow.transforms[0]]).eval()


@torch.no_grad()
def randomise(made: MADE, generator: torch.Generator) -> None:
    for layer in made.layers:
        reach = layer.mask.sum(1, keepdim=True).clamp_min(1)
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) / reach.sqrt())
        layer.bias.copy_(0.1 * torch.randn(layer.bias.shape, generator=generator))
    if made.context is not None:
        made.context.weight.copy_(0.3 * torch.rand(made.context.weight.shape, generator=generator))
    spread(made.output.weight, generator)


@torch.no_grad()
def spread(weight: Tensor, generator: torch.Generator) -> None:
    weight.copy_(_OUTPUT_SPREAD * torch.randn(weight.shape, generator=generator) / weight.shape[1] ** 0.5)
