"""The training loop: one for all models.

Everything random in step s follows from (seed, s), and the learning rate is a function of s. So a training that was
stopped anywhere continues bit-identically from its checkpoint, which holds no generator state. Several processes may
share the work, see `hepflows.train.distributed`: all take the same steps, and the first one writes.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import torch

from hepflows.errors import Interrupted, LostProcessError, TrainingError
from hepflows.train import distributed
from hepflows.train.checkpoint import copied_state
from hepflows.train.gradients import BatchGradient, Evaluated
from hepflows.train.objectives import CountsSteps
from hepflows.train.progress import Reporter, SilentReporter
from hepflows.train.seeding import generator_of, seed_of
from hepflows.train.settings import TrainingConfig, learning_rate
from hepflows.train.signals import Stopped, StopRequest, stop_signals
from hepflows.train.state import TrainingState

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor, nn

    from hepflows.train.objectives import Objective
    from hepflows.train.progress import Stage

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
    order: Callable[[int], Tensor] | None = None,
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
        order: gives the training events of an epoch (from 0) in the order in which they are used, each once; by
            default all are shuffled.

    Raises:
        TrainingError: no training events, gradients that stay infinite, a batch of one event that does not fit into
            memory, or a checkpoint of another training.
        Interrupted: SIGINT or SIGTERM arrived; the state is saved if there is a directory.
        LostProcessError: another process of the training is gone; the state is saved likewise.
    """
    if n_train < 1:
        raise TrainingError("there are no training events", remedy="use more data or a smaller validation part")
    reporter = reporter or SilentReporter()
    trainer = _Trainer(
        model, objective, n_train, settings, seed=seed, directory=directory, identity=identity, order=order
    )
    trainer.state.start(resume=resume)
    with torch.random.fork_rng(devices=_gpus(trainer.processes)), stop_signals() as stop:
        trainer.run(title, reporter if trainer.processes.is_first else SilentReporter(), stop)
    progress = trainer.state.progress
    model.load_state_dict(trainer.state.best)
    model.eval()
    return FitResult(progress.history, progress.best_epoch, progress.best_loss)


def _gpus(processes: distributed.Processes) -> list[int]:
    """GPUs whose random state a training changes: all, but only its own beside other processes."""
    if not torch.cuda.is_available():
        return []
    return list(range(torch.cuda.device_count())) if processes.size == 1 else [torch.cuda.current_device()]


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
        order: Callable[[int], Tensor] | None,
    ) -> None:
        self.model, self.objective, self.settings = model, objective, settings
        self.n_train, self.seed = n_train, seed
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
        self.processes = distributed.current()
        self.state = TrainingState(
            model,
            self.optimizer,
            directory=directory,
            processes=self.processes,
            identity={"settings": settings.model_dump(), "seed": seed, "n_train": n_train, "identity": identity},
        )
        self.order = order or self._shuffled
        self.stop = StopRequest()
        self.reporter: Reporter = SilentReporter()
        self.gradient = BatchGradient(objective, self.parameters, self.processes, settings.matmul_precision)

    def run(self, title: str, reporter: Reporter, stop: StopRequest) -> None:
        progress = self.state.progress
        if progress.finished:
            reporter.message(f"{title}: already finished, epoch {progress.best_epoch} is the best")
            return
        self.stop, self.reporter = stop, reporter
        with reporter.stage(title, total=self.total, done=progress.step) as stage:
            try:
                self._epochs(stage)
            except Stopped:
                self._interrupt(title)
            except LostProcessError:
                self.state.save()
                if stop.is_set():
                    self._interrupt(title)
                raise

    def _epochs(self, stage: Stage) -> None:
        """Take steps until the training is finished; `Stopped` leaves it between two of them."""
        progress, size = self.state.progress, self.settings.batch_size
        began = time.monotonic()
        order = torch.empty(0)
        while not progress.finished:
            epoch, batch = divmod(progress.step, self.steps_per_epoch)
            if epoch > len(progress.history):
                stage.advance(0, **self._close_epoch(epoch))
                began = time.monotonic()
                continue
            if batch == 0 or len(order) == 0:
                order = self.order(epoch)
            loss, stop = self._step(order[batch * size : (batch + 1) * size])
            stage.advance(loss=loss)
            if stop or batch + 1 == self.steps_per_epoch:
                progress.seconds += time.monotonic() - began
            if stop:
                self._average_statistics()
                self.processes.on_first(self.state.save)
                raise Stopped

    def _step(self, rows: Tensor) -> Evaluated:
        """Take a step, or skip it if its gradient is not finite."""
        progress = self.state.progress
        rate = learning_rate(self.settings, progress.step, self.total)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        seed = seed_of(self.seed, "step", progress.step)
        found = self.gradient.evaluate(rows, seed=seed, stop=self.stop.is_set)
        if isinstance(self.objective, CountsSteps):
            self.objective.count_step()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.gradient_clip)
        if math.isfinite(found.loss) and bool(torch.isfinite(norm)):
            self.optimizer.step()
            progress.loss_sum += found.loss
            progress.skipped_in_row = 0
        else:
            self._skip(found.loss)
        progress.step += 1
        return found

    def _skip(self, loss: float) -> None:
        progress = self.state.progress
        progress.skipped += 1
        progress.skipped_in_row += 1
        if progress.skipped == 1:
            epoch = progress.step // self.steps_per_epoch + 1
            self.reporter.message(f"step {progress.step}: no finite gradient, skipped (loss {loss:g}, epoch {epoch})")
        if progress.skipped_in_row < min(_MAX_SKIPPED, self.steps_per_epoch):
            return
        raise TrainingError(
            "too many steps in a row had no finite gradient",
            where=f"step {progress.step}",
            found=f"{progress.skipped_in_row} skipped steps, last loss {loss}",
            remedy="lower the learning rate or the gradient clip, or look for outliers in the data",
        )

    def _close_epoch(self, epoch: int) -> dict[str, float]:
        progress, settings = self.state.progress, self.settings
        validation = self._validation()
        if progress.skipped:
            self.reporter.message(f"epoch {epoch}: {progress.skipped} of {self.steps_per_epoch} steps were skipped")
        entry = {
            "epoch": epoch,
            "train_loss": progress.loss_sum / (self.steps_per_epoch - progress.skipped),
            "validation_loss": validation,
            "learning_rate": learning_rate(settings, progress.step - 1, self.total),
            "seconds": round(progress.seconds, 3),
            "skipped": progress.skipped,
        }
        progress.history.append(entry)
        if validation < progress.best_loss:
            progress.best_loss, progress.best_epoch = validation, epoch
            self.state.best = copied_state(self.model)
        if epoch == 1 and not math.isfinite(validation):
            raise TrainingError("the validation loss is not a number after the first epoch", found=validation)
        patient = settings.patience == 0 or epoch - progress.best_epoch < settings.patience
        progress.finished = epoch == settings.epochs or not patient
        progress.loss_sum, progress.skipped, progress.seconds = 0.0, 0, 0.0
        self.state.save()
        return {"train": entry["train_loss"], "validation": validation}

    def _validation(self) -> float:
        """Loss on the held-out events, the first process' on all."""
        self._average_statistics()
        self.model.eval()
        torch.manual_seed(seed_of(self.seed, "validation", 0))
        try:
            with self.stop.at_once(), torch.no_grad():
                validation = self.objective.validation_loss()
                return self.processes.from_first(lambda: validation)
        except Stopped:
            self.state.save()  # validation changes nothing, and may take longer than a batch system waits
            raise

    def _average_statistics(self) -> None:
        """Give all processes the means of the running statistics that each has taken of its own events."""
        if self.processes.size == 1:
            return
        norms = [module for module in self.model.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]  # noqa: SLF001 - the public classes' common base
        values = [value for norm in norms for value in (norm.running_mean, norm.running_var) if value is not None]
        self.processes.sum_tensors(values)
        for value in values:
            value.div_(self.processes.size)

    def _shuffled(self, epoch: int) -> Tensor:
        return torch.randperm(self.n_train, generator=generator_of(self.seed, "epoch", epoch))

    def _interrupt(self, title: str) -> NoReturn:
        done = f"step {self.state.progress.step} of {self.total}"
        kept = "the state was not saved: no directory was given"
        if self.state.directory is not None:
            kept = f"the same command with --resume continues from {self.state.directory}"
        raise Interrupted(f"{title} was stopped", found=done, remedy=kept)
