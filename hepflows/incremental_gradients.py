"""Gradients of the exact inverse by the implicit function theorem: one pass at the solution and a back-substitution.

The solution v of v_d = s(y_d; p_d), p = network(v, context), changes by

    dv = s_y dy + s_p dp,    dp = A dv + (the network's own parameters and the context),

where A is strictly lower triangular: p_d depends on v_<d. With the upstream gradients g of v and h of
sum_d log |ds/dy|, let l = h log |ds/dy|. What arrives at p is

    u_d = l_p,d + s_p,d lambda_d,    lambda = g + A^T u,

a triangular system, solved from the last dimension to the first; like the values themselves, every unit's signal is
needed once. The gradients are s_y lambda + l_y for y, and those of the network at v with the upstream gradient u.

Beside arguments and results memory is bounded: samples are taken in parts with `_VALUES` spline parameters, about
five arrays of that size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F  # noqa: N812 - torch's own customary name

from hepflows.incremental_torch import Problem, solve_in_blocks
from hepflows.plain import is_eager
from hepflows.splines import rational_quadratic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from hepflows.sorted_network import SortedNetwork

_BLOCK = 32
"""Dimensions whose signals are mixed one by one; what they get from all later ones is one matrix product a layer."""

_PANEL = 64
"""Dimensions whose output rows are multiplied together, without the columns that none of them reaches."""

_VALUES = {"cpu": 1 << 22}
_VALUES_ELSEWHERE = 1 << 26


def solve_implicitly(problem: Problem, solver: Callable[[Problem], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Solve a problem with `solver`, which nothing records, and attach the gradients.

    Args:
        problem: the problem; gradients go to its tensors.
        solver: gives v of shape (N, D) and log |dv/dy| of shape (N,).
    """
    v, log_det = _Implicit.apply(problem, solver, *problem.tensors)  # type: ignore[no-untyped-call]
    return v, log_det


class _Implicit(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, problem: Problem, solver: Callable[[Problem], Any], *tensors: Tensor) -> Any:
        v, log_det = solver(problem)
        # The graph keeps what is saved in its own way; the shape of the problem comes without tensors.
        ctx.shape = problem.with_tensors(tuple(tensor.new_empty(0) for tensor in tensors))
        ctx.save_for_backward(*tensors, v)
        return v, log_det

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        *tensors, v = ctx.saved_tensors
        problem = ctx.shape.with_tensors(tuple(tensors))
        needed = ctx.needs_input_grad[2:]
        if torch.is_grad_enabled() or not is_eager(*upstream):
            # Gradients of gradients and vectorised Jacobians: through the loop, which torch can differentiate.
            with torch.enable_grad():
                outputs = solve_in_blocks(problem)
            wanted = [tensor for tensor, want in zip(tensors, needed, strict=True) if want]
            create = torch.is_grad_enabled()
            found = iter(torch.autograd.grad(outputs, wanted, upstream, create_graph=create, allow_unused=True))
            return None, None, *(next(found) if want else None for want in needed)
        return None, None, *_gradients(problem, v, *upstream, needed=needed)


def _gradients(
    problem: Problem, v: Tensor, grad_v: Tensor, grad_log: Tensor, *, needed: Sequence[bool]
) -> list[Tensor | None]:
    """Gradients of the problem's tensors, those that are needed, in their order."""
    per_sample = 1 if problem.share is None else 2
    tensors = problem.tensors
    results = [
        (torch.empty_like(tensor) if place < per_sample else torch.zeros_like(tensor)) if want else None
        for place, (tensor, want) in enumerate(zip(tensors, needed, strict=True))
    ]
    network = problem.network
    cut = per_sample + network.depth + 1
    grad_weights, grad_biases = results[per_sample:cut], results[cut:]
    for rows in _parts(problem):
        share = None if problem.share is None else problem.share[rows]
        part = Problem(network, share, problem.y[rows], problem.spline, problem.inverse)
        units = _units(part, v[rows])
        slopes = _slopes(part, units[-1], grad_log[rows])
        arriving, signals = _substitute(network, slopes, units, grad_v[rows])
        if (grad_y := results[0]) is not None:
            grad_y[rows] = slopes.value_y * arriving + slopes.log_y
        if per_sample == 2 and (grad_share := results[1]) is not None:
            grad_share[rows] = signals[0]
        outputs = slopes.log_p.flatten(1)
        for level, (signal, source) in enumerate(zip(signals, [v[rows], *units[:-1]], strict=True)):
            if (grad_weight := grad_weights[level]) is not None:
                grad_weight.addmm_(signal.T, source)
            if (grad_bias := grad_biases[level]) is not None:
                grad_bias += signal.sum(0)
        if (grad_weight := grad_weights[-1]) is not None:
            for panel, reach in _panels(network):
                grad_weight[panel, :reach].addmm_(outputs[:, panel].T, units[-1][:, :reach])
        if (grad_bias := grad_biases[-1]) is not None:
            grad_bias += outputs.sum(0)
    return results


def _parts(problem: Problem) -> Iterator[slice]:
    count, features = problem.y.shape
    values = _VALUES.get(problem.y.device.type, _VALUES_ELSEWHERE)
    size = max(1, values // (features * problem.network.multiplier))
    yield from (slice(start, min(start + size, count)) for start in range(0, count, size))


def _panels(network: SortedNetwork) -> Iterator[tuple[slice, int]]:
    """Rows of the output layer, and how many units they reach."""
    features = len(network.stops[-1]) - 1
    for start in range(0, features, _PANEL):
        stop = min(start + _PANEL, features)
        yield slice(start * network.multiplier, stop * network.multiplier), network.stops[-1][stop - 1]


def _units(problem: Problem, v: Tensor) -> list[Tensor]:
    """Hidden units of all layers at the solution."""
    units: list[Tensor] = []
    for level in range(problem.network.depth):
        bias = problem.network.biases[level]
        if level == 0 and problem.share is not None:
            bias = bias + problem.share
        source = v if level == 0 else units[-1]
        units.append(F.relu(torch.addmm(bias, source, problem.network.weights[level].T)))
    return units


@dataclass(frozen=True)
class _Slopes:
    """Derivatives of the splines, by argument y (N, D) and by raw parameters p (N, D, P).

    Attributes:
        value_y: of the value.
        value_p: of the value.
        log_y: of the log-derivative, times its upstream gradient.
        log_p: of the log-derivative, times its upstream gradient; becomes the gradient that arrives at p.
    """

    value_y: Tensor
    value_p: Tensor
    log_y: Tensor
    log_p: Tensor


def _slopes(problem: Problem, units: Tensor, grad_log: Tensor) -> _Slopes:
    network, (count, features) = problem.network, problem.y.shape
    raw = units.new_empty(count, features * network.multiplier)
    for panel, reach in _panels(network):
        weight = network.weights[-1][panel, :reach]
        torch.addmm(network.biases[-1][panel], units[:, :reach], weight.T, out=raw[:, panel])
    with torch.enable_grad():
        y = problem.y.detach().requires_grad_()
        p = raw.view(count, features, network.multiplier).requires_grad_()
        value, log = rational_quadratic(y, p, problem.spline, inverse=problem.inverse)
    upstream = grad_log[:, None].expand_as(log)
    value_y, value_p = torch.autograd.grad(value, (y, p), torch.ones_like(value), retain_graph=True)
    log_y, log_p = torch.autograd.grad(log, (y, p), upstream)
    # what arrives at p is written through a flat view of it
    return _Slopes(value_y, value_p, log_y, log_p.contiguous())


def _substitute(
    network: SortedNetwork, slopes: _Slopes, units: list[Tensor], grad_v: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Solve the triangular system.

    Returns:
        lambda of shape (N, D), and the signals before the activation of each hidden layer's units, (N, H_l).
    """
    features, multiplier, stops = grad_v.shape[1], network.multiplier, network.stops
    arriving = grad_v.clone()
    outputs = slopes.log_p.flatten(1)
    signals = [torch.zeros_like(layer) for layer in units]
    for stop in range(features, 0, -_BLOCK):
        start = max(0, stop - _BLOCK)
        # From behind the block to its own units, which have degrees start ... stop - 1, and to its dimensions.
        ends = [layer[stop - 1] for layer in stops]
        above, first = outputs, stop * multiplier
        for level in reversed(range(network.depth)):
            columns = slice(stops[level][start - 1] if start else 0, ends[level])
            signals[level][:, columns] = above[:, first:] @ network.weights[level + 1][first:, columns]
            above, first = signals[level], ends[level]
        arriving[:, start:stop].addmm_(above[:, first:], network.weights[0][first:, start:stop])
        for d in range(stop - 1, start - 1, -1):
            rows = slice(stops[0][d], ends[0])
            if rows.stop > rows.start:
                arriving[:, d].addmv_(signals[0][:, rows], network.weights[0][rows, d])
            slopes.log_p[:, d].addcmul_(slopes.value_p[:, d], arriving[:, d : d + 1])
            above, rows = outputs, slice(d * multiplier, stop * multiplier)
            for level in reversed(range(network.depth)):
                columns = slice(stops[level][d - 1] if d else 0, stops[level][d])
                if columns.stop > columns.start:
                    fresh = signals[level][:, columns]
                    fresh += above[:, rows] @ network.weights[level + 1][rows, columns]
                    fresh *= units[level][:, columns] > 0
                above, rows = signals[level], slice(columns.start, ends[level])
    return arriving, signals
