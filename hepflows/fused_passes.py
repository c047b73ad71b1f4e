"""Forward and backward pass of `fused_conditioner`: which kernel gets which array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hepflows.fused_arrays import Pass
from hepflows.layer_kernels import input_gradient, layer_forward, rectified_gradient, weight_gradient
from hepflows.output_kernels import KEPT_STATE, output_backward, output_forward
from hepflows.spline_kernels import TILE
from hepflows.threads import in_parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from hepflows.fused_arrays import Forms

    Array = NDArray[Any]


def forward_pass(
    forms: Forms, inputs: Tensor, x: Tensor, local: Tensor, tensors: Sequence[Tensor], alive: Sequence[Tensor]
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Values of `conditioned_spline`, and what the backward pass wants to find again.

    Args:
        forms: the network and its splines.
        inputs: shape (N, I).
        x: shape (N, D).
        local: shape (D, P, J), what the neighbours of `forms` add to the raw parameters; of size 0 without any.
        tensors: weights, then biases.
        alive: for each hidden layer which units dropout keeps, shape (strips, H, strip), of size 0 for all.

    Returns:
        y, log-determinant, and a list for `backward_pass`.
    """
    run = Pass(forms, tensors, len(x))
    values, sums = [run.to_strips(inputs)], {}
    wanted = {form.earlier for form in forms.layers}
    for number, (form, kept) in enumerate(zip(forms.layers[:-1], alive, strict=True)):
        shape = (run.strips, len(run.biases[number]), run.strip)
        sums[number] = run.empty(*shape) if number in wanted else run.nothing(3)
        values.append(run.empty(*shape))
        arguments = (
            run.packed_weight(number, across=True),
            run.biases[number],
            form.plan.rows,
            run.per,
            run.packed_units(values[-2]),
            run.nothing(3) if form.earlier is None else sums[form.earlier],
            kept.numpy(),
            run.real.type(1 / (1 - form.dropout)),
            sums[number],
            values[-1],
        )
        _in_parts(layer_forward, arguments, run.strips)
    panels, bins = forms.layers[-1].plan.rows, forms.spline.bins
    units, rows = run.packed_units(values[-1]), run.to_rows(x)
    y, logs = run.empty(*rows.shape), run.empty(len(panels), rows.shape[1], dtype=np.dtype(np.float64))
    kept_splines = run.empty(len(rows), run.tiles, 2 * bins * TILE + KEPT_STATE)
    beside = run.to_rows(inputs) if run.has_neighbours else run.nothing(2)
    layer = (run.weights[-1], run.biases[-1], run.mask(-1))
    given = (run.per, units, run.near, local.detach().contiguous().numpy(), beside, rows, run.constants, run.bins)

    def output(first: int, last: int) -> None:
        kernel: Any = output_forward
        kernel(*layer, panels[first:last], *given, forms.inverse, y, logs[first:last], kept_splines)

    in_parts(output, len(panels))
    # what stands behind the last event is arbitrary
    log_det = torch.from_numpy(logs[:, : run.events].sum(0).astype(run.real))
    return run.from_rows(y), log_det, [torch.from_numpy(array) for array in (rows, kept_splines, beside, *values)]


def _in_parts(kernel: Any, given: tuple[Any, ...], count: int) -> None:
    """Call a kernel on parts of a range, which are its last two arguments."""
    in_parts(lambda first, last: kernel(*given, first, last), count)


def _in_panels(kernel: Any, panels: Array, given: tuple[Any, ...]) -> None:
    """Call a kernel on parts of the panels, which are its first argument."""
    in_parts(lambda first, last: kernel(panels[first:last], *given), len(panels))


def backward_pass(
    forms: Forms,
    local: Tensor,
    tensors: Sequence[Tensor],
    memory: Sequence[Tensor],
    gradients: Sequence[Tensor],
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients of inputs, x, the neighbours' weights, weights and biases, None where not needed.

    Args:
        forms: the network and its splines.
        local: as in `forward_pass`.
        tensors: weights, then biases.
        memory: from `forward_pass`.
        gradients: of y, shape (N, D), and of the log-determinant, shape (N,).
        needed: of which of inputs, x, the neighbours' weights, weights and biases gradients are wanted.
    """
    run, count = Pass(forms, tensors, len(gradients[0])), len(forms.layers)
    rows, kept_splines, beside, *values = (tensor.numpy() for tensor in memory)
    need_weights, need_biases = needed[3 : 3 + count], needed[3 + count :]
    near = (run.near, local.detach().transpose(1, 2).contiguous().numpy(), beside)
    grad_local = run.empty(*local.flatten(0, 1).shape) if needed[2] else run.nothing(2)
    # whether what is below a layer wants the gradient of the layer's input
    below = [needed[0] or any(need_weights[:layer]) or any(need_biases[:layer]) for layer in range(count)]
    grad_weights = [
        run.empty(*weight.shape) if need else run.nothing(2)
        for weight, need in zip(run.weights, need_weights, strict=True)
    ]
    grad_biases = [
        np.empty_like(bias if need else run.nothing(1)) for bias, need in zip(run.biases, need_biases, strict=True)
    ]
    written = (grad_weights[-1], grad_biases[-1], grad_local)
    grad_rows, upstream, grad_beside = _output_backward(
        run, rows, kept_splines, values[-1], near, gradients, (below[-1], needed[0]), written
    )
    sums: dict[int, Array] = {}
    for number in range(count - 2, -1, -1):
        if not below[number + 1]:
            break
        form = forms.layers[number]
        later = [sums[other] for other in sums if forms.layers[other].earlier == number]
        arguments = (
            upstream,
            values[number + 1],
            run.real.type(1 / (1 - form.dropout)),
            later[0] if later else run.nothing(3),
        )
        _in_parts(rectified_gradient, arguments, run.strips)
        sums[number] = upstream
        fixed = (
            upstream,
            run.packed_events(values[number]),
            run.mask(number),
            grad_weights[number],
            grad_biases[number],
        )
        panels = form.plan.rows
        _in_panels(weight_gradient, panels, fixed)
        if below[number]:
            found = run.empty(run.strips, run.weights[number].shape[1], run.strip)
            packed = (
                run.packed_weight(number, across=False),
                form.plan.columns,
                run.per,
                run.packed_units(upstream),
                found,
            )
            _in_parts(input_gradient, packed, run.strips)
            upstream = found
    grad_inputs = run.from_strips(upstream) if needed[0] else None
    if grad_inputs is not None and grad_beside.size:
        grad_inputs += run.from_rows(grad_beside)
    results = [grad_inputs, run.from_rows(grad_rows) if needed[1] else None]
    results.append(torch.from_numpy(grad_local).view_as(local) if needed[2] else None)
    results += [
        torch.from_numpy(gradient) if need else None
        for gradient, need in zip(grad_weights + grad_biases, needed[3:], strict=True)
    ]
    return results


def _output_backward(
    run: Pass,
    rows: Array,
    kept_splines: Array,
    values: Array,
    near: tuple[Array, Array, Array],
    gradients: Sequence[Tensor],
    below: tuple[bool, bool],
    written: tuple[Array, Array, Array],
) -> tuple[Array, Array, Array]:
    """Gradients of x, of the last hidden layer's values, and of the inputs by way of the neighbours.

    Their shapes are (D, tiles * TILE), (strips, H, strip) and (I, tiles * TILE); those of weight, bias and the
    neighbours' weights are written. `below` tells whether the second and the third are wanted.
    """
    form = run.forms.layers[-1]
    groups = form.plan.groups
    grad_rows, grad_log = run.empty(*rows.shape), np.zeros(rows.shape[1], run.real)
    grad_log[: run.events] = gradients[1].numpy()
    shares = run.empty(len(groups), *(values.shape if below[0] else (0, 0, 0)))
    beside = run.empty(len(groups), *(near[2].shape if below[1] else (0, 0)))
    fixed = (run.packed_events(values), run.strips, *near, rows, run.to_rows(gradients[0]), grad_log, kept_splines)

    def output(first: int, last: int) -> None:
        for group in range(first, last):
            output_backward(
                run.weights[-1],
                run.mask(-1),
                groups[group],
                *fixed,
                run.constants,
                run.bins,
                run.forms.inverse,
                grad_rows,
                shares[group],
                *written,
                beside[group],
            )

    in_parts(output, len(groups))
    return grad_rows, shares.sum(0), beside.sum(0)
