"""Exact inverse of an autoregressive transformation in torch operators: for GPUs, gradients and recorded graphs.

Dimensions are taken in blocks. What the network gives to a block from everything known before it is one matrix product
a layer. Inside of a block each new value, and each new unit, is added at once to what the rest of the block needs of
it: L + 1 small products, L activations and one spline a dimension. Nothing is written in place and nothing is read
back, so that the same code runs on any device without waiting for it, is recorded into graphs, and can be transformed
by `torch.func`.

Without gradients memory grows as N (D + H): all known values, all units, and a block's spline parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812 - torch's own customary name

from hepflows.plain import autocasts, is_eager, is_plain
from hepflows.sorted_network import context_share, sorted_network
from hepflows.spline_value import SplineValue
from hepflows.splines import rational_quadratic

if TYPE_CHECKING:
    from torch import Tensor

    from hepflows.made import MADE
    from hepflows.sorted_network import SortedNetwork
    from hepflows.splines import SplineSettings

_BLOCK = 16
"""Dimensions of a block: their spline parameters take about as much memory as the units."""


@dataclass(frozen=True)
class Problem:
    """Find v with v_d = spline(y_d; network(v_<d, context)).

    Attributes:
        network: sorted network.
        share: what the context adds to the units of the first layer, shape (N, H_0), or None.
        y: shape (N, D).
        spline: shape of the splines.
        inverse: apply the inverse spline or the forward one.
    """

    network: SortedNetwork
    share: Tensor | None
    y: Tensor
    spline: SplineSettings
    inverse: bool

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Everything that may carry a gradient: y, the context's share if there is one, weights, biases."""
        return (self.y, *([] if self.share is None else [self.share]), *self.network.tensors)

    def with_tensors(self, tensors: tuple[Tensor, ...]) -> Problem:
        """The same problem with other tensors, in the order of `tensors`."""
        first = 1 if self.share is None else 2
        share = None if self.share is None else tensors[1]
        return Problem(self.network.with_tensors(tensors[first:]), share, tensors[0], self.spline, self.inverse)


def solve_with_torch(
    made: MADE, y: Tensor, context: Tensor | None, spline: SplineSettings, *, inverse: bool
) -> tuple[Tensor, Tensor]:
    """`incremental.solve` in torch operators, with gradients to y, context and parameters; exact under autocast too.

    First-order gradients do not pass through the loop: the solution is found without recording, and its gradient by one
    evaluation of the network there, see `hepflows.incremental_gradients`. Higher orders, vectorised Jacobians and
    `torch.func` differentiate the loop itself.

    Args:
        made: network; dropout is not applied.
        y: shape (N, D).
        context: shape (N, C) or None.
        spline: shape of the splines.
        inverse: apply the inverse spline or the forward one.

    Returns:
        v of shape (N, D) and the summed log |dv/dy| of shape (N,).
    """
    if autocasts(y.device.type):
        # Errors of a low precision would grow from dimension to dimension.
        dtype = made.output.weight.dtype
        with torch.autocast(y.device.type, enabled=False):
            context = None if context is None else context.to(dtype)
            return solve_with_torch(made, y.to(dtype), context, spline, inverse=inverse)
    problem = Problem(sorted_network(made), context_share(made, context), y, spline, inverse)
    tensors = problem.tensors
    differentiated = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    if not (differentiated and is_eager(*tensors)):
        return solve_in_blocks(problem)
    from hepflows.incremental_gradients import solve_implicitly

    if not is_plain(*tensors, *([] if context is None else [context])):
        return solve_implicitly(problem, solve_in_blocks)
    from hepflows.incremental_numba import solve as solve_with_numba

    return solve_implicitly(problem, lambda _: solve_with_numba(made, y, context, spline, inverse=inverse))


def solve_in_blocks(problem: Problem) -> tuple[Tensor, Tensor]:
    """Solve in operators that autograd and tracers can record; v of shape (N, D) and log |dv/dy| of shape (N,)."""
    y, spline = problem.y, problem.spline
    quick = SplineValue.of(spline, y, inverse=problem.inverse)
    inner = y.clamp(-spline.bound, spline.bound)
    outside = y.abs() >= spline.bound
    units = _units_without_inputs(problem)
    known: Tensor | None = None
    log_det = y.new_zeros(y.shape[0])
    for start in range(0, y.shape[1], _BLOCK):
        block = range(start, min(start + _BLOCK, y.shape[1]))
        pending = _from_before(problem, block, known, units)
        fresh: list[list[Tensor]] = [[] if before is None else [before] for before in units]
        values, parameters = [], []
        for d in block:
            raw, pending[-1] = _split(pending[-1], problem.network.multiplier)
            value = quick(y[:, d], inner[:, d], outside[:, d], raw)
            values.append(value)
            parameters.append(raw)
            _add_inside(problem.network, d, block.stop, value, pending, fresh)
        raw = torch.stack(parameters, dim=1)
        arguments = y[:, block.start : block.stop]
        log_det = log_det + rational_quadratic(arguments, raw, spline, inverse=problem.inverse)[1].sum(-1)
        known = torch.stack(values, dim=1) if known is None else torch.cat([known, *(v[:, None] for v in values)], 1)
        units = [torch.cat(parts, dim=1) if len(parts) > 1 else next(iter(parts), None) for parts in fresh]
    return (y.clone() if known is None else known), log_det


def _units_without_inputs(problem: Problem) -> list[Tensor | None]:
    """Units of degree 0, which see the context at most; None for layers without any."""
    units: list[Tensor | None] = []
    source: Tensor | None = None
    for level in range(problem.network.depth):
        count = problem.network.stops[level][0]
        if count == 0:
            units.append(None)
        else:
            reach = 0 if level == 0 else problem.network.stops[level - 1][0]
            source = F.relu(_rows(problem, level, slice(0, count), reach, source))
            units.append(source)
    return units


def _from_before(problem: Problem, block: range, known: Tensor | None, units: list[Tensor | None]) -> list[Tensor]:
    """What is known before a block gives to the layers' units of degrees start + 1 ... stop, and to the outputs."""
    network, start, stop = problem.network, block.start, block.stop
    sources, reaches = [known, *units], [start, *(stops[start] for stops in network.stops)]
    rows = [slice(stops[start], stops[stop]) for stops in network.stops]
    rows.append(slice(start * network.multiplier, stop * network.multiplier))
    return [
        _rows(problem, level, part, reach, source)
        for level, (part, reach, source) in enumerate(zip(rows, reaches, sources, strict=True))
    ]


def _rows(problem: Problem, level: int, rows: slice, reach: int, source: Tensor | None) -> Tensor:
    """Rows of a layer before activation, shape (N, rows), from the first `reach` columns of its input."""
    network = problem.network
    bias = network.biases[level][rows]
    if level == 0 and problem.share is not None:
        bias = bias + problem.share[:, rows]
    if reach == 0 or source is None or rows.stop == rows.start:
        return bias + torch.zeros_like(problem.y[:, :1])  # in exported graphs a sum is simpler than an expansion
    return torch.addmm(bias, source, network.weights[level][rows, :reach].T)


def _add_inside(
    network: SortedNetwork, d: int, stop: int, value: Tensor, pending: list[Tensor], fresh: list[list[Tensor]]
) -> None:
    """Add a new value to the units of the block that it reaches, and those that are complete with it to the next layer.

    Args:
        network: sorted network.
        d: dimension of the value.
        stop: one past the last dimension of the block.
        value: shape (N,).
        pending: for each layer its units of degrees d + 1 ... stop before activation, then the outputs of dimensions
            d + 1 ... stop - 1; replaced by sums and rests.
        fresh: for each layer its units that are complete; those of degree d + 1 are appended.
    """
    source: Tensor | None = value[:, None]
    columns = slice(d, d + 1)
    for level, stops in enumerate(network.stops):
        if source is not None and stops[stop] > stops[d]:
            weight = network.weights[level][stops[d] : stops[stop], columns]
            pending[level] = torch.addmm(pending[level], source, weight.T)
        columns, source = slice(stops[d], stops[d + 1]), None
        if columns.stop > columns.start:
            ready, pending[level] = _split(pending[level], columns.stop - columns.start)
            source = F.relu(ready)
            fresh[level].append(source)
    if source is not None and d + 1 < stop:
        rows = slice((d + 1) * network.multiplier, stop * network.multiplier)
        pending[-1] = torch.addmm(pending[-1], source, network.weights[-1][rows, columns].T)


def _split(rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    return rows[:, :count], rows[:, count:]
