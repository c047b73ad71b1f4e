"""Residual multilayer perceptron, the conditioner of coupling blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own customary name

if TYPE_CHECKING:
    from torch import Tensor


class ResidualMLP(nn.Module):
    """Pre-activation residual network (He et al., arXiv:1603.05027): (N, inputs) to (N, outputs).

    Its last layer starts near zero, so that a new spline coupling is nearly the identity.
    """

    def __init__(self, inputs: int, outputs: int, *, width: int, blocks: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.entry = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width))
            for _ in range(blocks)
        )
        self.exit = nn.Linear(width, outputs)
        nn.init.uniform_(self.exit.weight, -1e-2, 1e-2)
        nn.init.zeros_(self.exit.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (N, inputs) to (N, outputs)."""
        h = self.entry(x)
        for block in self.blocks:
            h = h + block(h)
        out: Tensor = self.exit(F.relu(h))
        return out
