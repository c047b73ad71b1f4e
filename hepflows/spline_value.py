"""Values of one-dimensional batches of rational-quadratic splines in few operators.

`splines.rational_quadratic` is written for large arrays and portable graphs, about 80 operators a call. Where splines
are solved one dimension after the other on a GPU, the number of operators is what a call costs, so here bins are
gathered instead of summed, and the log-derivative is left to one call for many dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812 - torch's own customary name

from hepflows.plain import is_exported
from hepflows.splines import identity_slope

if TYPE_CHECKING:
    from torch import Tensor

    from hepflows.splines import SplineSettings


@dataclass(frozen=True)
class SplineValue:
    """The map (x, raw parameters) to y of `splines.rational_quadratic`, without the log-derivative.

    Attributes:
        spline: shape of the splines.
        inverse: evaluate the inverse function.
        matrix: shape (6 K, 3 K - 1), from the shares of widths and heights and the raw slopes to K widths, left edges,
            heights, lower edges, left and right slopes before softplus.
        offset: shape (6 K,), their parts that depend on nothing.
    """

    spline: SplineSettings
    inverse: bool
    matrix: Tensor
    offset: Tensor

    @staticmethod
    def of(spline: SplineSettings, like: Tensor, *, inverse: bool) -> SplineValue:
        """Prepare the constants in the type and on the device of a tensor."""
        bins, span = spline.bins, 2 * spline.bound
        numbers = torch.arange(bins, dtype=torch.float64)
        share, below = torch.eye(bins), torch.ones(bins, bins).tril(-1)
        parts, offsets = [], []
        for minimum in (spline.min_width, spline.min_height):
            parts.append(torch.cat([share, below]).double() * (span * (1 - bins * minimum)))
            offsets += [torch.full_like(numbers, span * minimum), numbers * (span * minimum) - spline.bound]
        # The outer knots have no raw slope: theirs is 0, that is derivative 1.
        parts.append(torch.cat([share[:, 1:], share[:, :-1]]).double())
        offsets.append(torch.full((2 * bins,), identity_slope(spline), dtype=torch.float64))
        matrix, offset = (part.to(like, non_blocking=True) for part in (torch.block_diag(*parts), torch.cat(offsets)))
        return SplineValue(spline, inverse, matrix, offset)

    def __call__(self, x: Tensor, inner: Tensor, outside: Tensor, raw: Tensor) -> Tensor:
        """Values of shape (N,).

        Args:
            x: arguments, shape (N,).
            inner: the arguments moved into [-bound, bound].
            outside: where the arguments lie in the tails.
            raw: raw parameters, shape (N, 3 K - 1).
        """
        bins = self.spline.bins
        shares = raw[:, : 2 * bins].unflatten(1, (2, bins)).softmax(-1).flatten(1)
        knots = F.linear(torch.cat([shares, raw[:, 2 * bins :]], dim=1), self.matrix, self.offset)
        knots = knots.unflatten(1, (6, bins))
        edges = knots[:, 3 if self.inverse else 1, 1:]
        passed = inner[:, None] >= edges
        if is_exported():  # portable graphs have no gathering by data
            steps = torch.eye(bins, dtype=raw.dtype)[:, 1:] - torch.eye(bins, dtype=raw.dtype)[:, :-1]
            in_bin = F.linear(passed.to(raw.dtype), steps, torch.eye(bins, dtype=raw.dtype)[0])
            here = (knots * in_bin[:, None, :]).sum(2)
        else:
            here = knots.gather(2, passed.sum(1)[:, None, None].expand(-1, 6, 1))[:, :, 0]
        width, left, height, bottom = here[:, :4].unbind(1)
        d0, d1 = (F.softplus(here[:, 4:]) + self.spline.min_derivative).unbind(1)
        delta = height / width
        curvature = torch.sub(d0 + d1, delta, alpha=2)
        if self.inverse:
            above = inner - bottom
            bent = above * curvature
            a = torch.addcmul(bent, height, delta - d0)
            minus_b = torch.addcmul(bent, height, d0, value=-1)
            minus_c = delta * above
            root = torch.addcmul(minus_b * minus_b, a, minus_c, value=4).clamp_min(1e-30).sqrt()
            half_theta = (minus_c / (root - minus_b)).clamp(0.0, 0.5)
            y = torch.addcmul(left, half_theta, width, value=2)
        else:
            theta = ((inner - left) / width).clamp(0.0, 1.0)
            rest = 1 - theta
            rise = theta * torch.addcmul(d0 * rest, delta, theta)
            y = torch.addcdiv(bottom, height * rise, torch.addcmul(delta, curvature, theta * rest))
        return torch.where(outside, x, y)
