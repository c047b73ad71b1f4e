"""A velocity field that treats the constituents of a jet alike: permuting them permutes its values.

Transformer blocks (attention among the constituents, then a network for each) whose normalised inputs are scaled
and shifted by what time and conditions say (Peebles and Xie, arXiv:2212.09748); without positions, so that nothing
tells the slots apart. Made of operators that exported graphs may contain.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own customary name

from hepflows.plain import is_recorded
from hepflows.precision import rounded
from jetgen.portable import slot_numbers

if TYPE_CHECKING:
    from torch import Tensor

_FREQUENCIES = 8
_EPSILON = 1e-6  # of normalisations
_MASKED = -1e4  # added to the scores of empty slots; its exponential is 0


class EquivariantVelocity(nn.Module):
    """Velocity of 3 coordinates for each of P slots.

    Args:
        n_slots: P.
        context_features: context inputs; the last is the multiplicity in [-1, 1], see `ConditionInputs`.
        width: features of a constituent.
        blocks: transformer blocks.
        heads: attention heads.
        expansion: hidden units of a constituent's network over `width`.
    """

    frequencies: Tensor

    def __init__(
        self, n_slots: int, context_features: int, *, width: int, blocks: int, heads: int, expansion: int = 2
    ) -> None:
        super().__init__()
        self.n_slots = n_slots
        inputs = 2 * _FREQUENCIES + context_features
        self.register_buffer("frequencies", math.pi * torch.arange(1, _FREQUENCIES + 1), persistent=False)
        self.condition = nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.entry = nn.Linear(3, width)
        self.place = nn.Linear(width, width)
        self.blocks = nn.ModuleList(_Block(width, heads, expansion) for _ in range(blocks))
        self.last = nn.Linear(width, 2 * width)
        self.exit = nn.Linear(width, 3)
        nn.init.zeros_(self.exit.weight)
        nn.init.zeros_(self.exit.bias)

    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        """Coordinates (N, 3 P), time (N, 1), context (N, C) to (N, 3 P); zero in empty slots."""
        return rounded(lambda: self._velocity(x, time, context), x)

    def _velocity(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        mask = slots_filled(context, self.n_slots, x.dtype)
        angle = time * self.frequencies
        c = self.condition(torch.cat([angle.sin(), angle.cos(), context], dim=1))
        coordinates = x.reshape(-1, self.n_slots, 3)
        h = self.entry(coordinates) + self.place(c).unsqueeze(1)
        closed = ((1 - mask) * _MASKED)[:, None, None, :]
        for block in self.blocks:
            h = block(h, c, closed)
        scale, shift = self.last(c).unsqueeze(1).chunk(2, dim=2)
        out: Tensor = self.exit(torch.addcmul(shift, _normalised(h), 1 + scale))
        return (out * mask.unsqueeze(2)).flatten(1)


class _Block(nn.Module):
    """Attention, then a network for each constituent; both steered by the condition and starting as nothing."""

    def __init__(self, width: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.steer = nn.Linear(width, 6 * width)
        self.project = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.up = nn.Linear(width, expansion * width)
        self.down = nn.Linear(expansion * width, width)
        nn.init.zeros_(self.steer.weight)
        nn.init.zeros_(self.steer.bias)

    def forward(self, h: Tensor, c: Tensor, closed: Tensor) -> Tensor:
        """Features (N, P, W), condition (N, W), additive mask (N, 1, 1, P) to (N, P, W)."""
        scale, shift, gate, scale_2, shift_2, gate_2 = self.steer(c).unsqueeze(1).chunk(6, dim=2)
        attended = self._attend(torch.addcmul(shift, _normalised(h), 1 + scale), closed)
        h = torch.addcmul(h, gate, attended)
        inner = F.silu(self.up(torch.addcmul(shift_2, _normalised(h), 1 + scale_2)))
        return torch.addcmul(h, gate_2, self.down(inner))

    def _attend(self, h: Tensor, closed: Tensor) -> Tensor:
        p, width = h.shape[1:]
        # -1 for the batch: a number would be a constant of the graph
        q, k, v = self.project(h).reshape(-1, p, 3 * self.heads, self.size).transpose(1, 2).chunk(3, dim=1)
        # for so few constituents faster than torch's own attention
        scores = (q * (self.size**-0.5)) @ k.transpose(2, 3) + closed
        mixed = torch.softmax(scores, dim=3) @ v
        out: Tensor = self.merge(mixed.transpose(1, 2).reshape(-1, p, width))
        return out


def slots_filled(context: Tensor, n_slots: int, dtype: torch.dtype) -> Tensor:
    """1 for filled slots, 0 for empty ones, shape (N, P), from the multiplicity in the context's last column."""
    multiplicity = 0.5 * n_slots * (context[:, -1:] + 1)
    slots = slot_numbers(n_slots, context).to(dtype)
    return ((slots < multiplicity - 0.5) | (slots < 0.5)).to(dtype)


def _normalised(h: Tensor) -> Tensor:
    """Each constituent's features with mean 0 and variance 1; spelt out where a graph is recorded."""
    if not is_recorded():
        return F.layer_norm(h, h.shape[-1:], eps=_EPSILON)
    h = h - h.mean(-1, keepdim=True)
    return h / ((h * h).mean(-1, keepdim=True) + _EPSILON).sqrt()
