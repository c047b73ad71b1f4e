"""The networks of a morphing: densities of two sets, and a transport between them (arXiv:2211.02487)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from hepflows.autoregressive import MaskedAutoregressive
from hepflows.autoregressive_flow import autoregressive_flow
from hepflows.scaling import Scaling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from hepflows.flow import ConditionalFlow
    from hepflows.morphing.config import MorphingConfig


def start_as_identity(flow: ConditionalFlow) -> None:
    """Make the flow exactly the identity: zero outputs are identity splines, and the reversals cancel."""
    with torch.no_grad():
        for output in _outputs(flow):
            output.weight.zero_()
            output.bias.zero_()


def start_at_random(flow: ConditionalFlow) -> None:
    """Draw the last layers as torch draws linear layers: some map that is not quite the identity."""
    for output in _outputs(flow):
        output.reset_parameters()


def _outputs(flow: ConditionalFlow) -> list[nn.Linear]:
    return [block.made.output for block in flow.transforms if isinstance(block, MaskedAutoregressive)]


class MorphingModel(nn.Module):
    """Maps physical observables of the source set to those of the target set.

    Args:
        log: which observables take the logarithm, D entries.
        log_conditions: the same for the conditions, C entries, none for unconditional sets.
        config: method and networks.
    """

    def __init__(self, log: Sequence[bool], log_conditions: Sequence[bool], config: MorphingConfig) -> None:
        super().__init__()
        features, contexts = len(log), len(log_conditions)
        self.contexts = contexts
        # one scaling for both sets: the identity of scaled numbers is the identity of physical ones
        self.scaling, self.condition_scaling = Scaling(log), Scaling(log_conditions)
        self.source = autoregressive_flow(features, contexts, config.base)
        self.target = autoregressive_flow(features, contexts, config.base)
        self.transport: ConditionalFlow | None = None
        if config.method != "base_transfer":
            self.transport = autoregressive_flow(features, contexts, config.transport)
            (start_as_identity if config.method == "identity" else start_at_random)(self.transport)

    def context(self, conditions: Tensor) -> Tensor | None:
        """Physical conditions (N, C) to network inputs; None for C = 0."""
        if not self.contexts:
            return None
        scaled, _ = self.condition_scaling(conditions)
        return torch.as_tensor(scaled)

    def move(self, y: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Scaled source to scaled target: (N, D) to (N, D) and log |dy'/dy| of shape (N,)."""
        if self.transport is not None:
            moved: tuple[Tensor, Tensor] = self.transport(y, context)
            return moved
        return _through_base(self.source, self.target, y, context)

    def move_back(self, y: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Undo `move`."""
        if self.transport is not None:
            return self.transport.inverse(y, context)
        return _through_base(self.target, self.source, y, context)

    def forward(self, x: Tensor, conditions: Tensor) -> tuple[Tensor, Tensor]:
        """Physical source (N, D), conditions (N, C), to physical target (N, D) and log |dx'/dx| of shape (N,)."""
        y, log_in = self.scaling(x)
        moved, log_det = self.move(y, self.context(conditions))
        out = self.scaling.inverse(moved)
        _, log_out = self.scaling(out)
        return out, log_in + log_det - log_out

    def inverse(self, x: Tensor, conditions: Tensor) -> Tensor:
        """Physical target (N, D) to physical source (N, D)."""
        y, _ = self.scaling(x)
        moved, _ = self.move_back(y, self.context(conditions))
        return torch.as_tensor(self.scaling.inverse(moved))

    def morphed_log_prob(self, x: Tensor, conditions: Tensor) -> Tensor:
        """Log density (N,) of morphed source events at physical x (N, D), from the learned source density."""
        y, log_in = self.scaling(x)
        context = self.context(conditions)
        origin, log_det = self.move_back(y, context)
        return self.source.log_prob(origin, context) + log_det + torch.as_tensor(log_in)


def _through_base(
    start: ConditionalFlow, end: ConditionalFlow, y: Tensor, context: Tensor | None
) -> tuple[Tensor, Tensor]:
    """From one set to the normal base of its flow, and from there to the other set."""
    z, log_in = start(y, context)
    out, log_out = end.inverse(z, context)
    return out, log_in + log_out
