"""The training loop: one for all models.

Everything random in step s follows from (seed, s), and the learning rate is a function of s. So a training that was
stopped anywhere continues bit-identically from its checkpoint, which holds no generator state.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from hepflows.errors import Interrupted, TrainingError
from hepflows.files import atomic_file, remove_leftovers
from hepflows.precision import matmul_precision
from hepflows.train.checkpoint import copied_state, load_checkpoint, restore_tensors, save_checkpoint, training_tensors
from hepflows.train.progress import Reporter, SilentReporter
from hepflows.train.seeding import generator_of, seed_of
from hepflows.train.settings import TrainingConfig, learning_rate
from hepflows.train.signals import stop_signals

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from torch import Tensor, nn

    from hepflows.train.objectives import Objective

_MAX_SKIPPED = 20  # steps in a row without a finite gradient before the training gives up


@dataclass(frozen=True)
class FitResult:
    """What a training gave.

    Attributes:
        history: one entry an epoch: epoch, train_loss, validation_loss, learning_rate, seconds, skipped.
        best_epoch: epoch (from 1) whose weights the model now has.
        best_loss: its validation loss.
    """

    history: list[dict[str, float]]
    best_epoch: int
    best_loss: float

    def summary(self) -> dict[str, Any]:
        """What the artefact tells of the training, JSON-able."""
        return {"best_epoch": self.best_epoch, "best_loss": self.best_loss, "history": self.history}


@dataclass
class _Progress:
    """Where a training stands; with the tensors all that a checkpoint needs."""

    step: int = 0
    loss_sum: float = 0.0
    skipped: int = 0
    seconds: float = 0.0
    best_loss: float = math.inf
    best_epoch: int = 0
    finished: bool = False
    history: list[dict[str, float]] = field(default_factory=list)


def fit(
    model: nn.Module,
    objective: Objective,
    n_train: int,
    settings: TrainingConfig,
    *,
    seed: int,
    title: str = "training",
    directory: Path | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
    identity: str = "",
) -> FitResult:
    """Train `model` in place and leave it in evaluation mode with the weights of its best epoch.

    Args:
        model: its parameters that require gradients are trained.
        objective: gives the losses.
        n_train: number of training events that `objective` knows.
        settings: epochs, schedule and so on.
        seed: of shuffling, dropout and noise.
        title: shown with the progress.
        directory: gets ``checkpoint.safetensors`` and ``log.jsonl`` every epoch; None keeps nothing.
        resume: continue from the checkpoint in `directory` if there is one.
        reporter: where progress goes.
        identity: hash of whatever else the result depends on (data, preprocessing); a checkpoint of another
            identity is refused.

    Raises:
        TrainingError: no training events, gradients that stay infinite, or a checkpoint of another training.
        Interrupted: SIGINT or SIGTERM arrived; the state is saved if there is a directory.
    """
    if n_train < 1:
        raise TrainingError("there are no training events", remedy="use more data or a smaller validation part")
    reporter = reporter or SilentReporter()
    trainer = _Trainer(model, objective, n_train, settings, seed=seed, directory=directory, identity=identity)
    if resume:
        trainer.restore()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices), stop_signals() as stop:
        trainer.run(title, reporter, stop)
    progress = trainer.progress
    model.load_state_dict(trainer.best)
    model.eval()
    return FitResult(progress.history, progress.best_epoch, progress.best_loss)


class _Trainer:
    """State of one call of `fit`."""

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        n_train: int,
        settings: TrainingConfig,
        *,
        seed: int,
        directory: Path | None,
        identity: str,
    ) -> None:
        self.model, self.objective, self.settings = model, objective, settings
        self.n_train, self.seed, self.directory, self.identity = n_train, seed, directory, identity
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
        self.optimizer = optimizer(
            self.parameters,
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=all(p.device.type in ("cpu", "cuda") for p in self.parameters),
        )
        self.steps_per_epoch = math.ceil(n_train / settings.batch_size)
        self.total = settings.epochs * self.steps_per_epoch
        self.progress = _Progress()
        self.best = copied_state(model)

    def run(self, title: str, reporter: Reporter, stop: threading.Event) -> None:
        progress, shown = self.progress, {}
        if progress.finished:
            reporter.message(f"{title}: already finished, epoch {progress.best_epoch} is the best")
            return
        with reporter.stage(title, total=self.total, done=progress.step) as stage:
            began = time.monotonic()
            order = torch.empty(0)
            while not progress.finished:
                epoch, batch = divmod(progress.step, self.steps_per_epoch)
                if batch == 0 or len(order) == 0:
                    order = torch.randperm(self.n_train, generator=generator_of(self.seed, "epoch", epoch))
                rows = order[batch * self.settings.batch_size : (batch + 1) * self.settings.batch_size]
                loss = self._step(rows)
                if batch + 1 == self.steps_per_epoch:
                    progress.seconds += time.monotonic() - began
                    began = time.monotonic()
                    shown = self._close_epoch(epoch + 1)
                stage.advance(loss=loss, **shown)
                if stop.is_set() and not progress.finished:
                    progress.seconds += time.monotonic() - began
                    self._interrupt(title)

    def _step(self, rows: Tensor) -> float:
        progress = self.progress
        rate = learning_rate(self.settings, progress.step, self.total)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(seed_of(self.seed, "step", progress.step))
        self.model.train()
        with matmul_precision(self.settings.matmul_precision):
            loss = self.objective.training_loss(rows)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.gradient_clip)
        value = float(loss.detach())
        if math.isfinite(value) and bool(torch.isfinite(norm)):
            self.optimizer.step()
            progress.loss_sum += value
        else:
            progress.skipped += 1
            if progress.skipped >= min(_MAX_SKIPPED, self.steps_per_epoch):
                raise TrainingError(
                    "too many steps of this epoch had no finite gradient",
                    where=f"step {progress.step}",
                    found=f"{progress.skipped} skipped steps, last loss {value}",
                    remedy="lower the learning rate or the gradient clip, or look for outliers in the data",
                )
        progress.step += 1
        return value

    def _close_epoch(self, epoch: int) -> dict[str, float]:
        progress, settings = self.progress, self.settings
        self.model.eval()
        torch.manual_seed(seed_of(self.seed, "validation", 0))
        with torch.no_grad():
            validation = self.objective.validation_loss()
        taken = self.steps_per_epoch - progress.skipped
        entry = {
            "epoch": epoch,
            "train_loss": progress.loss_sum / taken,
            "validation_loss": validation,
            "learning_rate": learning_rate(settings, progress.step - 1, self.total),
            "seconds": round(progress.seconds, 3),
            "skipped": progress.skipped,
        }
        progress.history.append(entry)
        if validation < progress.best_loss:
            progress.best_loss, progress.best_epoch = validation, epoch
            self.best = copied_state(self.model)
        if epoch == 1 and not math.isfinite(validation):
            raise TrainingError("the validation loss is not a number after the first epoch", found=validation)
        patient = settings.patience == 0 or epoch - progress.best_epoch < settings.patience
        progress.finished = epoch == settings.epochs or not patient
        progress.loss_sum, progress.skipped, progress.seconds = 0.0, 0, 0.0
        self.save()
        return {"train": entry["train_loss"], "validation": validation}

    def _interrupt(self, title: str) -> None:
        self.save()
        done = f"step {self.progress.step} of {self.total}"
        kept = "the state was not saved: no directory was given"
        if self.directory is not None:
            kept = f"the same command with --resume continues from {self.directory}"
        raise Interrupted(f"{title} was stopped", found=done, remedy=kept)

    def save(self) -> None:
        """Write checkpoint and log, each complete or not at all."""
        if self.directory is None:
            return
        tensors = training_tensors(self.model, self.optimizer, self.best)
        state = {**vars(self.progress), "fingerprint": self._fingerprint()}
        save_checkpoint(self.directory / "checkpoint.safetensors", tensors, state)
        with atomic_file(self.directory / "log.jsonl", force=True) as temporary:
            temporary.write_text("".join(json.dumps(entry) + "\n" for entry in self.progress.history))

    def restore(self) -> None:
        """Read the checkpoint, if there is one."""
        if self.directory is None:
            return
        remove_leftovers(self.directory)
        path = self.directory / "checkpoint.safetensors"
        if not path.exists():
            return
        tensors, state = load_checkpoint(path)
        if state.pop("fingerprint", None) != self._fingerprint():
            raise TrainingError(
                "the checkpoint belongs to another training",
                where=path,
                expected="the same model, data, seed and training settings",
                remedy="restore the configuration, or train without --resume (with --force)",
            )
        self.best = restore_tensors(self.model, self.optimizer, tensors)
        self.progress = _Progress(**state)

    def _fingerprint(self) -> str:
        """Hash of what must not change between stop and resume."""
        shapes = {name: list(value.shape) for name, value in self.model.state_dict().items()}
        what: dict[str, Any] = {
            "settings": self.settings.model_dump(),
            "seed": self.seed,
            "n_train": self.n_train,
            "shapes": shapes,
            "identity": self.identity,
        }
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
