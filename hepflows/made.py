"""Masked multilayer perceptron: output row d depends on inputs of lower degree only.

Germain et al., "MADE", arXiv:1502.03509; with context as in nflows (one unmasked linear map into the first layer).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own customary name

from hepflows.draws import Dropout
from hepflows.errors import ConfigError
from hepflows.panels import grouped_linear, masked_linear, panels_of
from hepflows.plain import is_exported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

Degrees = Literal["even", "sequential"]


def hidden_degrees(features: int, width: int, kind: Degrees) -> Tensor:
    """Degrees of a hidden layer's units, shape (width,), values 1 ... features - 1 (0 if there is one feature).

    A unit of degree m sees inputs 1 ... m and feeds outputs m + 1 ... features.

    * ``even`` spreads the degrees evenly over 1 ... features - 1, in ascending order, so that every input
      conditions something also when the layer is narrower than the data.
    * ``sequential`` counts 1, 2, 3, ... and starts again after features - 1 (cyclic), as nflows does: a layer of
      378 units for 504 features leaves inputs 379 ... 504 without effect.
    """
    top = max(1, features - 1)
    if features == 1:
        return torch.zeros(width, dtype=torch.long)
    if kind == "sequential":
        return torch.arange(width) % top + 1
    return torch.div(torch.arange(width) * top, width, rounding_mode="floor") + 1


class MaskedLinear(nn.Linear):
    """Linear layer whose weight is multiplied by a constant 0/1 mask of shape (out, in).

    Large layers are evaluated in panels that skip what is always masked, see `hepflows.panels`.
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask.to(torch.get_default_dtype()), persistent=False)
        self.panels = panels_of(mask)

    def masked_weight(self) -> Tensor:
        """The weight that is in force, shape (out, in)."""
        return self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:
        """Shape (N, in) to (N, out)."""
        return masked_linear(x, self.weight, self.bias, self.mask, self.panels)


class MADE(nn.Module):
    """Masked network that gives `multiplier` outputs a feature.

    Args:
        features: number of inputs D; input d has degree d + 1.
        context_features: number of context inputs, 0 for none.
        hidden: widths of the hidden layers, at least one.
        multiplier: outputs a feature; outputs of feature d stand at d * multiplier ... (d + 1) * multiplier - 1.
        degrees: how hidden degrees are laid out, see `hidden_degrees`.
        dropout: probability of dropping a unit of any hidden layer but the first, as nflows does.
    """

    def __init__(
        self,
        features: int,
        context_features: int,
        hidden: Sequence[int],
        multiplier: int,
        *,
        degrees: Degrees = "even",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if features < 1 or not hidden or min(hidden) < 1:
            raise ConfigError(
                "a masked network needs features and at least one hidden unit a layer",
                found=f"features={features}, hidden={list(hidden)}",
            )
        self.features, self.context_features, self.multiplier = features, context_features, multiplier
        self.unit_degrees = [hidden_degrees(features, width, degrees) for width in hidden]
        inputs = torch.arange(1, features + 1)
        layers, previous = [], inputs
        for unit in self.unit_degrees:
            layers.append(MaskedLinear((unit[:, None] >= previous[None, :]).float()))
            previous = unit
        self.hidden = nn.ModuleList(layers)
        rows = inputs.repeat_interleave(multiplier)
        self.output = MaskedLinear((rows[:, None] > previous[None, :]).float())
        self.context = nn.Linear(context_features, hidden[0], bias=False) if context_features else None
        self.dropout = Dropout(dropout)
        # Near-zero outputs make a new spline nearly the identity, whatever the width of the network.
        nn.init.uniform_(self.output.weight, -1e-2, 1e-2)
        nn.init.zeros_(self.output.bias)

    @property
    def layers(self) -> list[MaskedLinear]:
        """The hidden layers."""
        return [layer for layer in self.hidden if isinstance(layer, MaskedLinear)]

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Shape (N, D) and (N, C) to (N, D, multiplier)."""
        h = self.hidden[0](x)
        if self.context is not None:
            h = h + self.context(context)
        h = F.relu(h)
        for layer in list(self.hidden)[1:]:
            h = self.dropout(F.relu(layer(h)))
        if is_exported() and x.ndim == 2:
            layer = self.output
            return grouped_linear(h, layer.weight, layer.bias, self.features, mask=layer.mask)
        out: Tensor = self.output(h)
        return out.view(-1, self.features, self.multiplier)
