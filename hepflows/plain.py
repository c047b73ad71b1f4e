"""Whether tensors are ordinary CPU memory that hand-written kernels may read."""

from __future__ import annotations

import torch

_DTYPES = (torch.float32, torch.float64)


def is_plain(*tensors: torch.Tensor) -> bool:
    """Whether all tensors are float32 or float64 in CPU memory, of one type, and nothing records operators.

    False while a graph is recorded (ONNX export, ``torch.export``, ``torch.compile``, ``torch.jit.trace``), under
    `torch.func` transforms, in vectorised Jacobians, under autocast and for subclasses of tensors.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]
        return False
    inside = torch._C  # noqa: SLF001 - torch has no public question for these
    if inside._are_functorch_transforms_active() or torch.is_autocast_enabled("cpu"):  # noqa: SLF001
        return False
    legacy_batched = inside._functorch.is_legacy_batchedtensor  # noqa: SLF001
    dtype = tensors[0].dtype
    return dtype in _DTYPES and all(
        type(tensor) in (torch.Tensor, torch.nn.Parameter)
        and tensor.device.type == "cpu"
        and tensor.dtype == dtype
        and not legacy_batched(tensor)
        for tensor in tensors
    )
