"""Checkpoints: one safetensors file with tensors and, in its header, the scalars as JSON. No pickle."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hepflows.errors import TrainingError
from hepflows.files import atomic_file, save_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch
    from torch import Tensor

_ADAM_STATE = ("exp_avg", "exp_avg_sq", "step")


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write a checkpoint so that a reader finds the old one or the new one, never a part of it."""
    with atomic_file(path, force=True) as temporary:
        flat = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        save_tensors(temporary, flat, metadata={"state": json.dumps(state)})


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_checkpoint` wrote.

    Raises:
        TrainingError: the file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as handle:
            state = json.loads((handle.metadata() or {})["state"])
            return {name: handle.get_tensor(name) for name in handle.keys()}, state  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise TrainingError(
            "the checkpoint cannot be read",
            where=path,
            found=str(error),
            remedy="delete it and start this training again",
        ) from error


def optimizer_tensors(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Moments and step counts of Adam, named after the parameters."""
    return {
        f"{kind}/{name}": optimizer.state[parameter][kind]
        for name, parameter in model.named_parameters()
        if parameter in optimizer.state
        for kind in _ADAM_STATE
    }


def restore_optimizer(model: torch.nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave."""
    for name, parameter in model.named_parameters():
        if f"step/{name}" in tensors:
            optimizer.state[parameter] = {kind: tensors[f"{kind}/{name}"].to(parameter.device) for kind in _ADAM_STATE}
