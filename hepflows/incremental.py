"""Exact inverse of an autoregressive transformation, each hidden unit computed once.

In a masked network a hidden unit of degree m depends on inputs of degree <= m. When the inputs become known one
after the other, every hidden unit and output row therefore needs computing once, as soon as its inputs are there:
the inverse of all D dimensions costs the arithmetic of one forward pass instead of D passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812 - torch's own customary name

from hepflows.plain import is_plain
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


@dataclass(frozen=True)
class _Panel:
    """One masked layer with its rows in ascending order of degree and its columns in the order of its input."""

    weight: Tensor
    bias: Tensor
    row_stop: list[int]  # row_stop[m]: number of rows of degree <= m


def solve(
    made: MADE, y: Tensor, context: Tensor | None, spline: SplineSettings, *, inverse: bool
) -> tuple[Tensor, Tensor]:
    """Find v with v_d = spline(y_d; made(v_<d)), every unit once.

    On the CPU and without gradients this is `incremental_numba.solve`, else `solve_with_torch`.

    Args:
        made: network in evaluation mode (dropout is not applied).
        y: shape (N, D).
        context: shape (N, C) or None.
        spline: shape of the splines.
        inverse: apply the inverse spline (sampling a MAF) or the forward one (density of an IAF).

    Returns:
        v of shape (N, D) and the summed log |dv/dy| of shape (N,).
    """
    if not _use_numba(made, y, context):
        return solve_with_torch(made, y, context, spline, inverse=inverse)
    from hepflows.incremental_numba import solve as solve_with_numba

    return solve_with_numba(made, y, context, spline, inverse=inverse)


def transform(
    made: MADE, y: Tensor, context: Tensor | None, spline: SplineSettings, *, inverse: bool
) -> tuple[Tensor, Tensor]:
    """v_d = spline(y_d; made(y_<d)), the direction in which all inputs are known.

    On the CPU and without gradients through the same packed kernels as `solve`: a sample's result does not depend on
    the batch. Arguments and results as in `solve`.
    """
    dropout = made.training and made.dropout.p > 0
    if dropout or not _use_numba(made, y, context):
        v, log_det = rational_quadratic(y, made(y, context), spline, inverse=inverse)
        return v, log_det.sum(-1)
    from hepflows.incremental_numba import transform as transform_with_numba

    return transform_with_numba(made, y, context, spline, inverse=inverse)


def _use_numba(made: MADE, y: Tensor, context: Tensor | None) -> bool:
    """Whether no gradient is wanted and all tensors are ordinary CPU memory."""
    tensors = [y, *made.parameters()] if context is None else [y, context, *made.parameters()]
    differentiable = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return not differentiable and is_plain(*tensors)


def solve_with_torch(
    made: MADE, y: Tensor, context: Tensor | None, spline: SplineSettings, *, inverse: bool
) -> tuple[Tensor, Tensor]:
    """`solve` in torch operators, for gradients and GPUs. Arguments and results as there."""
    features, count = made.features, y.shape[0]
    panels = _panels(made)
    output_weight, output_bias = _output(made)
    first = made.context(context) if made.context is not None else y.new_zeros(count, len(panels[0].bias))
    first = first[:, torch.argsort(made.unit_degrees[0], stable=True).to(y.device)] + panels[0].bias
    values: list[Tensor] = []
    log_det = y.new_zeros(count)
    # Units are stored transposed, one row a unit, so that "all units of degree <= m" is a contiguous block.
    known = y.new_zeros(features, count)
    units = [y.new_zeros(len(panel.bias), count) for panel in panels]
    for d in range(features):
        for level, panel in enumerate(panels):
            start, stop = (panel.row_stop[d - 1] if d else 0), panel.row_stop[d]
            if stop == start:
                continue
            rows = panel.weight[start:stop]
            if level == 0:
                fresh = first[:, start:stop].T + rows[:, :d] @ known[:d]
            else:
                reach = panels[level - 1].row_stop[d]
                fresh = panel.bias[start:stop, None] + rows[:, :reach] @ units[level - 1][:reach]
            units[level] = _with_rows(units[level], start, F.relu(fresh))
        reach = panels[-1].row_stop[d]
        raw = output_bias[d][:, None] + output_weight[d, :, :reach] @ units[-1][:reach]
        value, log_derivative = rational_quadratic(y[:, d], raw.T, spline, inverse=inverse)
        values.append(value)
        log_det = log_det + log_derivative
        known = _with_rows(known, d, value[None])
    return torch.stack(values, dim=1), log_det


def _with_rows(matrix: Tensor, start: int, rows: Tensor) -> Tensor:
    """Write rows in place where no gradient is recorded, else into a copy."""
    # a graph has no writing in place
    if rows.requires_grad or torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]
        return torch.cat([matrix[:start], rows, matrix[start + rows.shape[0] :]])
    matrix[start : start + rows.shape[0]] = rows
    return matrix


def _panels(made: MADE) -> list[_Panel]:
    """Hidden layers with units sorted by degree; row_stop is indexed by degree 0 ... D - 1."""
    panels: list[_Panel] = []
    previous: Tensor | None = None
    for layer, degrees in zip(made.layers, made.unit_degrees, strict=True):
        order = torch.argsort(degrees, stable=True)
        weight = layer.masked_weight()[order]
        if previous is not None:
            weight = weight[:, previous]
        stops = torch.searchsorted(degrees[order], torch.arange(made.features), right=True)
        panels.append(_Panel(weight, layer.bias[order], stops.tolist()))
        previous = order
    return panels


def _output(made: MADE) -> tuple[Tensor, Tensor]:
    """Weights (D, multiplier, H) and biases (D, multiplier) of the last layer, columns sorted by degree."""
    order = torch.argsort(made.unit_degrees[-1], stable=True)
    weight = made.output.masked_weight()[:, order]
    shape = (made.features, made.multiplier)
    return weight.unflatten(0, shape), made.output.bias.unflatten(0, shape)
