"""Rational-quadratic splines on the CPU, fused into one numba kernel forward and one backward.

The same numbers as `splines.portable_rational_quadratic` up to rounding, several times faster: nothing but the
arguments and raw parameters is kept for the backward pass, and gradients are analytic.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hepflows import spline_kernels as kernels
from hepflows.plain import is_plain
from hepflows.spline_gradients import backward
from hepflows.spline_kernels import forward
from hepflows.splines import identity_slope, portable_rational_quadratic
from hepflows.threads import in_parts

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from hepflows.splines import SplineSettings

_TILES_A_PART = 64
"""Smallest work worth a thread: about 0.2 ms."""


def fused_rational_quadratic(
    x: Tensor, parameters: Tensor, settings: SplineSettings, *, inverse: bool = False
) -> tuple[Tensor, Tensor]:
    """Apply one spline an element, on the CPU.

    Args:
        x: shape (...), arguments, float32 or float64.
        parameters: shape (..., 3 K - 1), raw parameters of the same type.
        settings: shape of the splines.
        inverse: evaluate the inverse function.

    Returns:
        y and log |dy/dx|, both of shape (...).
    """
    if torch.is_grad_enabled() and (x.requires_grad or parameters.requires_grad):
        y, log_derivative = _FusedSpline.apply(x, parameters, settings, inverse)  # type: ignore[no-untyped-call]
        return y, log_derivative
    return _forward(x, parameters, settings, inverse)


class _FusedSpline(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, parameters: Tensor, settings: SplineSettings, inverse: bool) -> Any:
        ctx.save_for_backward(x, parameters)
        ctx.settings, ctx.inverse = settings, inverse
        return _forward(x, parameters, settings, inverse)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, parameters = ctx.saved_tensors
        grad_y, grad_log = gradients
        if torch.is_grad_enabled() or not is_plain(grad_y, grad_log):
            # Gradients of gradients (create_graph) and vectorised Jacobians go through the portable code.
            with torch.enable_grad():
                outputs = portable_rational_quadratic(x, parameters, ctx.settings, inverse=ctx.inverse)
            wanted = [t for t, needed in zip((x, parameters), ctx.needs_input_grad, strict=False) if needed]
            found = iter(torch.autograd.grad(outputs, wanted, (grad_y, grad_log), create_graph=torch.is_grad_enabled()))
            return *(next(found) if needed else None for needed in ctx.needs_input_grad[:2]), None, None
        grad_x = torch.empty(x.shape, dtype=x.dtype)
        grad_parameters = torch.empty(parameters.shape, dtype=x.dtype)
        arrays = [_flat(t) for t in (x, parameters, grad_y, grad_log, grad_x, grad_parameters)]
        _run(backward, arrays, ctx.settings, ctx.inverse)
        return grad_x, grad_parameters, None, None


def _forward(x: Tensor, parameters: Tensor, settings: SplineSettings, inverse: bool) -> tuple[Tensor, Tensor]:
    y = torch.empty(x.shape, dtype=x.dtype)
    log_derivative = torch.empty(x.shape, dtype=x.dtype)
    _run(forward, [_flat(t) for t in (x, parameters, y, log_derivative)], settings, inverse)
    return y, log_derivative


def _flat(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().contiguous().numpy().reshape(-1)
    return array


def _run(kernel: Any, arrays: list[NDArray[Any]], settings: SplineSettings, inverse: bool) -> None:
    constants = kernel_constants(settings, arrays[0].dtype)
    bins = (0,) * settings.bins
    tiles = -(-arrays[0].size // kernels.TILE)
    in_parts(
        lambda first, last: kernel(*arrays, constants, bins, inverse, first, last),
        tiles,
        at_least=_TILES_A_PART,
    )


@lru_cache(maxsize=64)
def kernel_constants(settings: SplineSettings, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The settings as the kernels want them, in the order of the names in `spline_kernels`."""
    span, bins = 2 * settings.bound, settings.bins
    constants = np.empty(7, dtype)
    constants[kernels.BOUND] = settings.bound
    constants[kernels.FREE_W] = span * (1 - bins * settings.min_width)
    constants[kernels.MIN_W] = span * settings.min_width
    constants[kernels.FREE_H] = span * (1 - bins * settings.min_height)
    constants[kernels.MIN_H] = span * settings.min_height
    constants[kernels.MIN_D] = settings.min_derivative
    constants[kernels.OFFSET] = identity_slope(settings)
    return constants
