"""Trainings that test_distributed.py starts under torchrun, and runs itself in one process to compare."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hepflows.draws import Dropout, integers, normal_like
from hepflows.errors import Interrupted, LostProcessError
from hepflows.train import distributed
from hepflows.train.loop import fit
from hepflows.train.objectives import in_chunks
from hepflows.train.settings import TrainingConfig

N_TRAIN = 201  # of batches of 50 the last one has a single event: one process has none of it


class Regression:
    """Least squares with noise, dropout and a random choice; faults in the calls that are named."""

    def __init__(self, model: nn.Module, *, poison: int = 0, lack: int = 0, stop: int = 0, kill: int = 0) -> None:
        device = next(model.parameters()).device
        self.x = torch.randn(260, 3, generator=torch.Generator().manual_seed(0)).to(device)
        self.model, self.calls, self.steps = model, 0, 0
        self.poison, self.lack, self.stop, self.kill = poison, lack, stop, kill

    def training_loss(self, index: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls == self.stop:
            os.kill(os.getpid(), signal.SIGTERM)
        if self.calls == self.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.lack and len(index) > self.lack:
            raise MemoryError
        x = self.x[index.to(self.x.device)]
        sign = integers(2, len(x), device=x.device)[:, None] * 2.0 - 1
        loss = (self.model(x + 0.1 * normal_like(x)) - x.sum(1, keepdim=True) - 0.01 * sign).square().mean()
        return loss * math.nan if self.calls == self.poison else loss

    def count_step(self) -> None:
        self.steps += 1

    def validation_loss(self) -> float:
        chunks = distributed.own(in_chunks((self.x[N_TRAIN:], None), 7))
        return distributed.mean([(self.model(x) - x.sum(1, keepdim=True)).square() for x, _ in chunks])


def network(*, normed: bool = False) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        norm = [nn.BatchNorm1d(16)] if normed else []
        return nn.Sequential(nn.Linear(3, 16), *norm, nn.ReLU(), Dropout(0.1), nn.Linear(16, 1))


def train(
    directory: Path | None = None,
    *,
    resume: bool = False,
    normed: bool = False,
    device: str = "cpu",
    **faults: int,
) -> dict[str, Any]:
    """Losses, weights and what became of a training."""
    model = network(normed=normed).to(device)
    objective = Regression(model, **faults)
    # a single event has no moments
    settings = TrainingConfig(epochs=4, batch_size=67 if normed else 50, learning_rate=0.02)
    stopped = ""
    history: list[dict[str, float]] = []
    try:
        history = fit(model, objective, N_TRAIN, settings, seed=9, directory=directory, resume=resume).history
    except Interrupted as error:
        stopped = str(error)
    return {
        "losses": [[entry["train_loss"], entry["validation_loss"], entry["skipped"]] for entry in history],
        "weights": [value.tolist() for value in model.state_dict().values()],
        "steps": objective.steps,
        "calls": objective.calls,
        "stopped": stopped,
    }


def main(out: Path, case: str) -> None:
    with distributed.setup("cuda" if case == "cuda" else "cpu") as device:
        processes = distributed.current()
        last = processes.rank == 1
        if case == "killed":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's, which may come before the last line is written
            try:
                told = train(out / "killed", kill=8 if last else 0)["stopped"]
            except LostProcessError as error:
                told = str(error)
            (out / "told").write_text(told)
            raise SystemExit(2)
        if case == "cuda":
            (out / f"{processes.rank}.json").write_text(json.dumps(train(device=device)))
            return
        results = {
            "device": device,
            "rank": processes.rank,
            "plain": train(out / "plain"),
            "poisoned": train(poison=3 if last else 0),
            "lacking": train(lack=9 if last else 0),
            "stopped": train(out / "stopped", stop=7 if last else 0),
            "normed": train(normed=True),
            "resumed": train(out / "one_process", resume=True),
        }
        (out / f"{processes.rank}.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
    distributed.leave(0)
