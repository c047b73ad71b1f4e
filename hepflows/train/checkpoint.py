"""Checkpoints: one safetensors file with tensors and, in its header, the scalars as JSON. No pickle."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from hepflows.errors import TrainingError
from hepflows.files import atomic_file, save_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch
    from numpy.typing import NDArray
    from torch import Tensor

CHECKPOINT: Final = "checkpoint.safetensors"
LOG: Final = "log.jsonl"
KEPT: Final = (CHECKPOINT, LOG)
"""Files of a training's directory."""
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


def identity(*parts: str | NDArray[Any]) -> str:
    """Hash of what a training builds on, configurations as JSON and arrays for example; see `fit`."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part.tobytes())
    return digest.hexdigest()


def copied_state(model: torch.nn.Module) -> dict[str, Tensor]:
    """State of a model that later steps do not change."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def training_tensors(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, best: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """State of the model, that of its best epoch, and moments and step counts of Adam, named after the parameters."""
    tensors = {f"model/{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"best/{name}": value for name, value in best.items()}
    for name, parameter in model.named_parameters():
        if parameter in optimizer.state:
            tensors |= {f"{kind}/{name}": optimizer.state[parameter][kind] for kind in _ADAM_STATE}
    return tensors


def restore_tensors(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Put back what `training_tensors` gave, and return the state of the best epoch."""
    model.load_state_dict(_under("model/", tensors))
    for name, parameter in model.named_parameters():
        if f"step/{name}" in tensors:
            optimizer.state[parameter] = {kind: tensors[f"{kind}/{name}"].to(parameter.device) for kind in _ADAM_STATE}
    return _under("best/", tensors)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
