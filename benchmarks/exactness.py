"""The one-pass inverse against the plain loop of D passes, in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own customary name

from benchmarks.peers import autoregressive_blocks
from hepflows.autoregressive import MaskedAutoregressive
from hepflows.incremental import solve_by_passes

if TYPE_CHECKING:
    from torch import Tensor

    from hepflows.flow import ConditionalFlow
    from hepflows.made import MADE


class _Dense(nn.Module):
    """A masked network with its masks applied once and for all, as D passes would else apply them D times."""

    def __init__(self, made: MADE) -> None:
        super().__init__()
        self.features, self.multiplier, self.context = made.features, made.multiplier, made.context
        self.maps = [(layer.masked_weight(), layer.bias) for layer in [*made.layers, made.output]]

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        for index, (weight, bias) in enumerate(self.maps):
            x = F.linear(F.relu(x) if index else x, weight, bias)
            if index == 0 and self.context is not None:
                x = x + self.context(context)
        raw: Tensor = x.unflatten(-1, (self.features, self.multiplier))
        return raw


@torch.no_grad()
def errors_in_float64(teacher: ConditionalFlow, noise: Tensor, context: Tensor | None) -> dict[str, Any]:
    """Largest differences between the one-pass inverse and the plain loop, over a whole teacher.

    The teacher is left in float64.

    Args:
        teacher: flow of masked autoregressive blocks.
        noise: shape (N, D).
        context: shape (N, C) or None.

    Returns:
        Absolute and relative (to max(1, |x|)) error of the samples, absolute error of the log-determinants.
    """
    teacher.double()
    noise, context = noise.double(), None if context is None else context.double()
    fast, fast_log_det = teacher.inverse(noise, context)
    slow, slow_log_det = by_passes(teacher, noise, context)
    difference = (fast - slow).abs()
    return {
        "max_abs_error_float64": float(difference.max()),
        "max_rel_error_float64": float((difference / slow.abs().clamp_min(1)).max()),
        "max_log_det_error_float64": float((fast_log_det - slow_log_det).abs().max()),
        "events_float64": len(noise),
        "blocks_float64": len(autoregressive_blocks(teacher)),
    }


@torch.no_grad()
def by_passes(flow: ConditionalFlow, given: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """The direction of a flow in which dimensions follow one another, by D passes a block: the plain definition.

    Args:
        flow: teacher, which is sampled, or student, whose latent points are found.
        given: noise of a teacher, data of a student; shape (N, D).
        context: shape (N, C) or None.

    Returns:
        Data or latent points (N, D), and the log-determinants (N,).
    """
    blocks = autoregressive_blocks(flow)
    inverse = isinstance(blocks[0], MaskedAutoregressive)
    v, total = given, given.new_zeros(len(given))
    for transform in reversed(list(flow.transforms)) if inverse else flow.transforms:
        if transform in blocks:
            made = cast("MADE", _Dense(transform.made))
            v, log_det = solve_by_passes(made, v, context, transform.spline, inverse=inverse)
        else:
            v, log_det = transform.inverse(v, context) if inverse else transform(v, context)  # type: ignore[operator]
        total = total + log_det
    return v, total
