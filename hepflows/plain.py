"""Whether tensors are ordinary CPU memory that hand-written kernels may read."""

from __future__ import annotations

import torch

_DTYPES = (torch.float32, torch.float64)


def is_recorded() -> bool:
    """Whether a graph is recorded: ONNX export, ``torch.export``, ``torch.compile`` or ``torch.jit.trace``."""
    return is_exported() or torch.compiler.is_compiling()


def is_exported() -> bool:
    """Whether a graph is recorded operator by operator, for an ONNX file."""
    tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    return tracing


def is_eager(*tensors: torch.Tensor) -> bool:
    """Whether operators on these tensors are simply carried out, at most recorded by autograd.

    False while a graph is recorded, under `torch.func` transforms, in vectorised Jacobians, under autocast and for
    subclasses of tensors.
    """
    if is_recorded():
        return False
    inside = torch._C  # noqa: SLF001 - torch has no public question for these
    if inside._are_functorch_transforms_active() or autocasts(tensors[0].device.type):  # noqa: SLF001
        return False
    legacy_batched = inside._functorch.is_legacy_batchedtensor  # noqa: SLF001
    return all(type(tensor) in (torch.Tensor, torch.nn.Parameter) and not legacy_batched(tensor) for tensor in tensors)


def autocasts(device: str) -> bool:
    """Whether operators on a type of device choose their precision themselves."""
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def is_plain(*tensors: torch.Tensor) -> bool:
    """Whether all tensors are float32 or float64 in CPU memory, of one type, and eager as `is_eager` says."""
    dtype = tensors[0].dtype
    return (
        dtype in _DTYPES
        and all(tensor.device.type == "cpu" and tensor.dtype == dtype for tensor in tensors)
        and is_eager(*tensors)
    )


def is_inference(module: torch.nn.Module, *tensors: torch.Tensor) -> bool:
    """Whether kernels without gradients may evaluate `module` on these tensors: all plain, no gradient wanted."""
    everything = [*tensors, *module.parameters()]
    differentiable = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in everything)
    return not differentiable and is_plain(*everything)
