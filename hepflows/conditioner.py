"""Residual multilayer perceptron, the conditioner of coupling blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own customary name

from hepflows.draws import Dropout
from hepflows.panels import grouped_linear
from hepflows.plain import is_exported

if TYPE_CHECKING:
    from torch import Tensor


class ResidualMLP(nn.Module):
    """Pre-activation residual network (He et al., arXiv:1603.05027): (N, inputs) to (N, outputs).

    Its last layer starts near zero, so that a new spline coupling is nearly the identity. Batch normalisation
    (arXiv:1502.03167) in front of each activation inside the blocks is an option that the fused kernels do not know.
    """

    def __init__(
        self, inputs: int, outputs: int, *, width: int, blocks: int, dropout: float = 0.0, batch_norm: bool = False
    ) -> None:
        super().__init__()
        self.batch_norm = batch_norm
        self.entry = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(_block(width, dropout, batch_norm=batch_norm) for _ in range(blocks))
        self.exit = nn.Linear(width, outputs)
        nn.init.uniform_(self.exit.weight, -1e-2, 1e-2)
        nn.init.zeros_(self.exit.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (N, inputs) to (N, outputs)."""
        out: Tensor = self.exit(self._hidden(x))
        return out

    def grouped(self, x: Tensor, groups: int) -> Tensor:
        """`forward` with the outputs as (N, groups, outputs / groups)."""
        if is_exported():
            return grouped_linear(self._hidden(x), self.exit.weight, self.exit.bias, groups)
        out: Tensor = self(x)
        return out.reshape(-1, groups, self.exit.out_features // groups)

    def _hidden(self, x: Tensor) -> Tensor:
        h = self.entry(x)
        for block in self.blocks:
            h = h + block(h)
        return F.relu(h)


def _block(width: int, dropout: float, *, batch_norm: bool) -> nn.Sequential:
    def activated() -> list[nn.Module]:
        return [nn.BatchNorm1d(width, eps=1e-3), nn.ReLU()] if batch_norm else [nn.ReLU()]

    return nn.Sequential(*activated(), nn.Linear(width, width), *activated(), Dropout(dropout), nn.Linear(width, width))
