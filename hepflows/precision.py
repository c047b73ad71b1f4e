"""The precision of matrix products in training: float32, or bfloat16 with sums and weights in float32.

A product of two bfloat16 numbers has no rounding error in float32, so what is lost is the rounding of the factors to
eight bits. Processors with AVX512-BF16 or AMX do twice or more of such products in the same time.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

MatmulPrecision = Literal["float32", "bfloat16"]

_current: ContextVar[MatmulPrecision] = ContextVar("matmul_precision", default="float32")


@contextmanager
def matmul_precision(precision: MatmulPrecision) -> Iterator[None]:
    """Within the block, fused training on the CPU multiplies in this precision, forward and backward.

    It applies to what `hepflows.fused_conditioner` evaluates, flows in float32 whose gradients are recorded. Values
    without gradients, such as a validation loss, are always computed in float32.

    Example:
        >>> with matmul_precision("bfloat16"):
        ...     current_precision()
        'bfloat16'
    """
    token = _current.set(precision)
    try:
        yield
    finally:
        _current.reset(token)


def current_precision() -> MatmulPrecision:
    """What `matmul_precision` has set, else float32."""
    return _current.get()
