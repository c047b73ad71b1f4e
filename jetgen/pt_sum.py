"""The sum of the constituents' pT, given the conditions: drawn first, and then exact by construction.

A jet keeps its hardest P constituents, so the sum of their pT_rel has a sharp upper end at one, and is one within a
per mille where all constituents are kept. A network that draws P transverse momenta one beside the other misses
such an edge: its sums scatter by more than the edge is wide, and a few lie far beyond. So the sum is drawn from
p(sum | mass, multiplicity), one conditional spline flow (arXiv:1906.04032) in one dimension, the network is told it,
and its transverse momenta are scaled to it. In training they are multiplied by a random scale, as the angles are for
the exact mass, so that the density of what the network learns has a bound.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from hepflows.conditioner import ResidualMLP
from hepflows.splines import SplineSettings, rational_quadratic
from hepflows.train.split import chosen_rows
from jetgen.portable import sinh

if TYPE_CHECKING:
    from torch import Tensor

_SPLINE = SplineSettings(bins=16, bound=6.0, min_width=1e-4, min_height=1e-4, min_derivative=1e-4)
_WIDTH = 64
_MOST = 2**24  # numbers of which torch takes quantiles
_LEAST_SCALE = 1e-5


class PtSum(nn.Module):
    """Density and sampler of the sum of pT.

    y = asinh((sum - centre) / scale), with a centre and a scale for jets with empty slots and others for full ones, is
    what the spline turns into a normal number.

    Args:
        context_features: number of context inputs C; the last is the multiplicity if there are two.
        n_slots: largest multiplicity P.
    """

    centre: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, context_features: int, n_slots: int) -> None:
        super().__init__()
        self.n_slots, self.multiplicity_known = n_slots, context_features > 1
        inputs = context_features + int(self.multiplicity_known)
        self.network = ResidualMLP(inputs, _SPLINE.n_parameters, width=_WIDTH, blocks=1)
        for name, value in {"centre": 1.0, "scale": 0.1, "low": 0.0, "high": 2.0}.items():
            self.register_buffer(name, torch.full((2,), value))
        self.register_buffer("mean", torch.ones(()))
        self.register_buffer("deviation", torch.ones(()))

    @torch.no_grad()
    def fit(self, pt_sum: Tensor, context: Tensor) -> None:
        """Learn centres, scales and ends from sums (N,) and context (N, C) of the training jets."""
        self.mean.copy_(pt_sum.mean())
        self.deviation.copy_(pt_sum.double().std(unbiased=False).clamp_min(_LEAST_SCALE))
        full = self._is_full(context).squeeze(1) > 0
        for row, chosen in enumerate((pt_sum[~full], pt_sum[full])):
            values = chosen.double() if len(chosen) > 1 else pt_sum.double()
            if len(values) > _MOST:
                values = values[torch.from_numpy(chosen_rows(len(values), _MOST, seed=0)).to(values.device)]
            below, middle, above = torch.quantile(values, values.new_tensor([0.16, 0.5, 0.84]))
            self.centre[row] = middle
            self.scale[row] = (0.5 * (above - below)).clamp_min(_LEAST_SCALE)
            self.low[row], self.high[row] = values.min(), values.max()

    def log_prob(self, pt_sum: Tensor, context: Tensor) -> Tensor:
        """Log density of sums (N, 1) given context (N, C), shape (N,)."""
        centre, scale = self._of_class(self.centre, context), self._of_class(self.scale, context)
        standard = (pt_sum - centre) / scale
        z, log_slope = rational_quadratic(torch.asinh(standard), self._spline(context), _SPLINE)
        log_slope = log_slope - 0.5 * torch.log1p(standard * standard) - scale.log()
        return (log_slope - 0.5 * z * z - 0.5 * math.log(2 * math.pi)).squeeze(1)

    def sample(self, noise: Tensor, context: Tensor) -> Tensor:
        """Sums (N, 1) from standard normal noise (N, 1) and context (N, C), within the range of the training jets."""
        y, _ = rational_quadratic(noise, self._spline(context), _SPLINE, inverse=True)
        centre, scale = self._of_class(self.centre, context), self._of_class(self.scale, context)
        pt_sum = centre + scale * sinh(y)
        low, high = self._of_class(self.low, context), self._of_class(self.high, context)
        return torch.minimum(torch.maximum(pt_sum, low), high)

    def as_context(self, pt_sum: Tensor) -> Tensor:
        """Sums (N, 1) as an input for networks: standardised over all training jets."""
        return ((pt_sum - self.mean) / self.deviation).clamp(-6.0, 6.0)

    def _spline(self, context: Tensor) -> Tensor:
        if self.multiplicity_known:
            context = torch.cat([context, 2 * self._is_full(context) - 1], dim=1)
        return self.network(context).unsqueeze(1)  # type: ignore[no-any-return]

    def _is_full(self, context: Tensor) -> Tensor:
        """1 for jets that fill all slots, else 0; (N, C) to (N, 1). Without a multiplicity all count as full."""
        if not self.multiplicity_known:
            return torch.ones_like(context[:, :1])
        # the multiplicity lies in [-1, 1], see `ConditionInputs`
        return (context[:, -1:] > 1 - 1 / self.n_slots).to(context.dtype)

    def _of_class(self, values: Tensor, context: Tensor) -> Tensor:
        full = self._is_full(context)
        return values[0] + full * (values[1] - values[0])
