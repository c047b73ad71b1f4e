"""A conditioner network and the splines that it parametrises, as one step of training on the CPU.

The raw parameters of a batch, N x D x P numbers, are the largest array of a training step, and their gradient is
another of the same size. Here neither exists as a whole: panels of features and tiles of events go from the matrix
product of the last layer through the splines while they are in the cache, and backward from the splines' gradients into
the gradients of weights and hidden units. What is kept for the backward pass are the exponentials of the softmax, so
that they are computed once. Parts of the weights that a mask sets to zero are skipped, and activation, dropout, biases
and residual sums are taken along with the products.

Results do not depend on the number of threads: every sum has one order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F  # noqa: N812 - torch's own customary name

from hepflows.draws import of_whole_batch, whole_size
from hepflows.fused_arrays import Forms
from hepflows.fused_passes import backward_pass, forward_pass
from hepflows.local import local_terms
from hepflows.plain import is_plain
from hepflows.precision import current_precision
from hepflows.splines import portable_rational_quadratic
from hepflows.strip_products import STRIP_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from hepflows.layer_plan import Layer, LayerForm
    from hepflows.local import LocalTerms
    from hepflows.splines import SplineSettings


def conditioned_spline(
    layers: Sequence[Layer],
    inputs: Tensor,
    x: Tensor,
    spline: SplineSettings,
    *,
    inverse: bool,
    local: LocalTerms | None = None,
) -> tuple[Tensor, Tensor]:
    """Splines of x whose raw parameters a network computes from the inputs.

    For what `conditioner_layers.can_fuse` accepts. Gradients of gradients are those of torch operators.

    Args:
        layers: at least one hidden layer, then the output layer of D (3 K - 1) rows.
        inputs: shape (N, I).
        x: shape (N, D), arguments.
        spline: shape of the splines.
        inverse: evaluate the inverse functions.
        local: what neighbours among the inputs add to the network's raw parameters.

    Returns:
        y of shape (N, D) and the sum of log |dy/dx| over features, shape (N,).
    """
    half = current_precision() == "bfloat16" and x.dtype == torch.float32
    near = None if local is None else local.index
    forms = Forms(tuple(layer.form for layer in layers), spline, inverse, half, near)
    tensors = [*(layer.weight for layer in layers), *(layer.bias for layer in layers)]
    weight = x.new_empty(0, 0, 0) if local is None else local.weight
    y, log_det = _ConditionedSpline.apply(forms, inputs, x, weight, *tensors)  # type: ignore[no-untyped-call]
    return y, log_det


class _ConditionedSpline(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, forms: Forms, inputs: Tensor, x: Tensor, local: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, Tensor]:
        alive = [
            _alive(form, len(bias), x)
            for form, bias in zip(forms.layers[:-1], tensors[len(forms.layers) :], strict=False)
        ]
        y, log_det, memory = forward_pass(forms, inputs, x, local, tensors, alive)
        # As saved tensors they are freed by the backward pass, not only with the graph.
        ctx.save_for_backward(inputs, x, local, *tensors, *alive, *memory)
        ctx.forms = forms
        return y, log_det

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        forms: Forms = ctx.forms
        inputs, x, local, *saved = ctx.saved_tensors
        count, hidden = 2 * len(forms.layers), len(forms.layers) - 1
        tensors, alive, memory = saved[:count], saved[count : count + hidden], saved[count + hidden :]
        if torch.is_grad_enabled() or not is_plain(*gradients):
            # Gradients of gradients and vectorised Jacobians: the same in differentiable operators.
            with torch.enable_grad():
                # Inputs and x may be one tensor: each use gets its own gradient.
                given = [tensor.view_as(tensor) for tensor in (inputs, x, local, *tensors)]
                outputs = plain_conditioned_spline(forms, given[0], given[1], given[2], given[3:], alive)
            needed = ctx.needs_input_grad[1:]
            wanted = [tensor for tensor, need in zip(given, needed, strict=True) if need]
            found = iter(torch.autograd.grad(outputs, wanted, gradients, create_graph=torch.is_grad_enabled()))
            return None, *(next(found) if need else None for need in needed)
        return None, *backward_pass(forms, local, tensors, memory, gradients, ctx.needs_input_grad[1:])


def _alive(form: LayerForm, units: int, x: Tensor) -> Tensor:
    """Which units dropout keeps, shape (strips, units, strip), from torch's generator; of size 0 without dropout."""
    if not form.dropout:
        return torch.empty(0, 0, 0, dtype=torch.bool)
    strip = STRIP_BYTES // x.element_size()

    def draw(events: int) -> Tensor:
        return torch.empty(-(-events // strip), units, strip, dtype=torch.bool).bernoulli_(1 - form.dropout)

    if whole_size(len(x)) == len(x):
        return draw(len(x))
    # The strips of a part of a batch hold other events than those of the whole.
    rows = of_whole_batch(len(x), lambda n: draw(n).transpose(1, 2).flatten(0, 1)[:n])
    return F.pad(rows, (0, 0, 0, -len(x) % strip)).reshape(-1, strip, units).transpose(1, 2).contiguous()


def plain_conditioned_spline(
    forms: Forms, inputs: Tensor, x: Tensor, local: Tensor, tensors: Sequence[Tensor], alive: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """`conditioned_spline` in torch operators; arguments as in `fused_passes.forward_pass`."""
    count = len(forms.layers)
    sums: list[Tensor] = []
    values = inputs
    for form, weight, bias in zip(forms.layers, tensors[:count], tensors[count:], strict=True):
        total = F.linear(values, weight if form.mask is None else weight * form.mask, bias)
        if form.earlier is not None:
            total = total + sums[form.earlier]
        sums.append(total)
        values = F.relu(total)
        if form.dropout:
            kept = alive[len(sums) - 1].transpose(1, 2).flatten(0, 1)[: len(x)]
            values = values * (kept.to(values.dtype) / (1 - form.dropout))
    raw = sums[-1].unflatten(-1, (x.shape[1], forms.spline.n_parameters))
    if forms.near is not None:
        raw = raw + local_terms(inputs, forms.near, local)
    y, log_derivative = portable_rational_quadratic(x, raw, forms.spline, inverse=forms.inverse)
    return y, log_derivative.sum(-1)
