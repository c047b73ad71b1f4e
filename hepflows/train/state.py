"""What a training is in the middle of, and its way to a checkpoint and back."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hepflows.errors import TrainingError
from hepflows.files import atomic_file, remove_leftovers
from hepflows.train.checkpoint import (
    CHECKPOINT,
    LOG,
    copied_state,
    load_checkpoint,
    restore_tensors,
    save_checkpoint,
    training_tensors,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch
    from torch import nn

    from hepflows.train.distributed import Processes


@dataclass
class Progress:
    """Where a training stands; with the tensors all that a checkpoint needs.

    Attributes:
        step: steps taken.
        loss_sum: sum of the losses of this epoch's steps.
        skipped: steps of this epoch that had no finite gradient.
        skipped_in_row: such steps since the last good one.
        seconds: time spent in steps of this epoch.
        best_loss: lowest validation loss.
        best_epoch: its epoch, from 1.
        finished: whether nothing is left to do.
        history: one entry an epoch.
    """

    step: int = 0
    loss_sum: float = 0.0
    skipped: int = 0
    skipped_in_row: int = 0
    seconds: float = 0.0
    best_loss: float = math.inf
    best_epoch: int = 0
    finished: bool = False
    history: list[dict[str, float]] = field(default_factory=list)


class TrainingState:
    """Model, optimiser, best weights and progress of a training.

    Args:
        model: what is trained.
        optimizer: Adam or AdamW of its parameters.
        directory: for the checkpoint and the log; None keeps nothing.
        processes: that train together; the first one writes and reads.
        identity: what must be the same when a training is resumed, and on all processes.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        directory: Path | None,
        processes: Processes,
        identity: Mapping[str, Any],
    ) -> None:
        self.model, self.optimizer, self.directory, self.processes = model, optimizer, directory, processes
        self.progress, self.best = Progress(), copied_state(model)
        shapes = {name: list(value.shape) for name, value in model.state_dict().items()}
        what = {**identity, "shapes": shapes}
        self._fingerprint = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()

    def save(self) -> None:
        """Write checkpoint and log, each complete or not at all."""
        if self.directory is None or not self.processes.is_first:
            return
        tensors = training_tensors(self.model, self.optimizer, self.best)
        state = {**vars(self.progress), "fingerprint": self._fingerprint}
        save_checkpoint(self.directory / CHECKPOINT, tensors, state)
        with atomic_file(self.directory / LOG, force=True) as temporary:
            temporary.write_text("".join(json.dumps(entry) + "\n" for entry in self.progress.history))

    def start(self, *, resume: bool) -> None:
        """Begin as the first process does: anew, or, to resume, from the checkpoint if there is one.

        Raises:
            TrainingError: the checkpoint belongs to another training, or the processes do not train the same.
        """
        if resume and self.processes.is_first:
            self._restore()
        if self.processes.size > 1:
            self._follow()

    def _restore(self) -> None:
        if self.directory is None:
            return
        remove_leftovers(self.directory)
        path = self.directory / CHECKPOINT
        if not path.exists():
            return
        tensors, state = load_checkpoint(path)
        if state.pop("fingerprint", None) != self._fingerprint:
            raise TrainingError(
                "the checkpoint belongs to another training",
                where=path,
                expected="the same model, data, seed and training settings",
                remedy="restore the configuration, or train without --resume (with --force)",
            )
        self.best = restore_tensors(self.model, self.optimizer, tensors)
        self.progress = Progress(**state)

    def _follow(self) -> None:
        """Take over the state of the first process; it may read files that the others do not see."""

        def of_first() -> tuple[str, dict[str, torch.Tensor], dict[str, Any]]:
            tensors = training_tensors(self.model, self.optimizer, self.best)
            return self._fingerprint, {name: value.cpu() for name, value in tensors.items()}, vars(self.progress)

        fingerprint, tensors, state = self.processes.from_first(of_first)
        if fingerprint != self._fingerprint:
            raise TrainingError(
                "the processes do not train the same",
                where=f"process {self.processes.rank} of {self.processes.size}",
                expected="the same data, configuration and version of hepflows everywhere",
                remedy="check that all machines see the same files",
            )
        if not self.processes.is_first:
            self.best = restore_tensors(self.model, self.optimizer, tensors)
            self.progress = Progress(**state)
