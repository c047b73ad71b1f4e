"""The precision of matrix products in training: float32, or bfloat16 with sums and weights in float32.

A product of two bfloat16 numbers has no rounding error in float32, so what is lost is the rounding of the factors to
eight bits. Processors with AVX512-BF16 or AMX do twice or more of such products in the same time, GPUs with tensor
cores many more. On the CPU the fused kernels round; elsewhere torch's autocast does, in the networks alone: splines,
log-determinants and losses are computed in float32. bfloat16 has the range of float32, so losses need no scaling.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

MatmulPrecision = Literal["float32", "bfloat16"]

_KERNELS_ROUND = frozenset({"cpu"})  # devices on which the fused kernels see to the precision

_current: ContextVar[MatmulPrecision] = ContextVar("matmul_precision", default="float32")


@contextmanager
def matmul_precision(precision: MatmulPrecision) -> Iterator[None]:
    """Within the block, training multiplies in this precision, forward and backward.

    It applies to flows in float32 whose gradients are recorded: on the CPU to what `hepflows.fused_conditioner`
    evaluates, on other devices to all conditioner networks. Values without gradients, such as a validation loss, are
    always computed in float32.

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


def rounded(evaluate: Callable[[], Tensor], like: Tensor) -> Tensor:
    """What a network gives, its products in the current precision by torch's autocast; in the type of `like`."""
    import torch

    if current_precision() == "float32" or like.dtype != torch.float32 or not torch.is_grad_enabled():
        return evaluate()
    with torch.autocast(like.device.type, torch.bfloat16):
        found = evaluate()
    return found.to(like.dtype)


def rounded_on_accelerator(evaluate: Callable[[], Tensor], like: Tensor) -> Tensor:
    """`rounded` but on the CPU, where fused kernels do it and torch's operators serve what has to be exact."""
    return evaluate() if like.device.type in _KERNELS_ROUND else rounded(evaluate, like)
