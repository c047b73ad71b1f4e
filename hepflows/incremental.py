"""Exact inverse of an autoregressive transformation, each hidden unit computed once.

In a masked network a hidden unit of degree m depends on inputs of degree <= m. When the inputs become known one
after the other, every hidden unit and output row therefore needs computing once, as soon as its inputs are there:
the inverse of all D dimensions costs the arithmetic of one forward pass instead of D passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from hepflows.conditioner_layers import can_fuse, made_layers
from hepflows.long_inverses import place
from hepflows.plain import is_inference
from hepflows.precision import rounded_on_accelerator
from hepflows.splines import SplineSettings, rational_quadratic

if TYPE_CHECKING:
    from torch import Tensor

    from hepflows.made import MADE


def solve_by_passes(
    made: MADE, y: Tensor, context: Tensor | None, spline: SplineSettings, *, inverse: bool
) -> tuple[Tensor, Tensor]:
    """Find v with v_d = spline(y_d; made(v_<d)) by D full passes: the plain definition, kept as the test oracle."""
    v, log_det = torch.zeros_like(y), torch.zeros_like(y)
    for _ in range(y.shape[1]):
        v, log_det = rational_quadratic(y, made(v, context), spline, inverse=inverse)
    return v, log_det.sum(-1)


def solve(
    made: MADE, y: Tensor, context: Tensor | None, spline: SplineSettings, *, inverse: bool
) -> tuple[Tensor, Tensor]:
    """Find v with v_d = spline(y_d; made(v_<d)), every unit once.

    On the CPU and without gradients this is `incremental_numba.solve`, else `incremental_torch.solve_with_torch`; an
    exporter may have a placeholder put in its place, see `hepflows.long_inverses`.

    Args:
        made: network in evaluation mode (dropout is not applied).
        y: shape (N, D).
        context: shape (N, C) or None.
        spline: shape of the splines.
        inverse: apply the inverse spline (sampling a MAF) or the forward one (density of an IAF).

    Returns:
        v of shape (N, D) and the summed log |dv/dy| of shape (N,).
    """
    placed = place(made, y, context, spline, inverse=inverse)
    if placed is not None:
        return placed
    if not is_inference(made, *_given(y, context)):
        from hepflows.incremental_torch import solve_with_torch

        return solve_with_torch(made, y, context, spline, inverse=inverse)
    from hepflows.incremental_numba import solve as solve_with_numba

    return solve_with_numba(made, y, context, spline, inverse=inverse)


def transform(
    made: MADE, y: Tensor, context: Tensor | None, spline: SplineSettings, *, inverse: bool
) -> tuple[Tensor, Tensor]:
    """v_d = spline(y_d; made(y_<d)), the direction in which all inputs are known.

    On the CPU and without gradients through the same packed kernels as `solve`: a sample's result does not depend on
    the batch. With gradients on the CPU through `fused_conditioner`. Arguments and results as in `solve`.
    """
    if not is_separable(made, y, context):
        if can_fuse(made, *_given(y, context)):
            from hepflows.fused_conditioner import conditioned_spline

            inputs = y if context is None or made.context is None else torch.cat([context, y], dim=1)
            return conditioned_spline(made_layers(made), inputs, y, spline, inverse=inverse)
        raw = rounded_on_accelerator(lambda: made(y, context), y)
        v, log_det = rational_quadratic(y, raw, spline, inverse=inverse)
        return v, log_det.sum(-1)
    from hepflows.incremental_numba import transform as transform_with_numba

    return transform_with_numba(made, y, context, spline, inverse=inverse)


def is_separable(made: MADE, y: Tensor, context: Tensor | None) -> bool:
    """Whether `solve` and `transform` evaluate each sample as if it were alone, by the CPU kernels."""
    dropout = made.training and made.dropout.p > 0
    return not dropout and is_inference(made, *_given(y, context))


def _given(y: Tensor, context: Tensor | None) -> list[Tensor]:
    return [y] if context is None else [y, context]
