"""One training of the jet table: a variant on the jets of a file, within a budget of processor time.

What is trained, and on how many epochs, is fixed before the first step and kept in the cell's directory, so that a cell
that was stopped goes on as it began.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import jetgen as jg
from hepflows.config import build, config_to_dict, with_overrides
from hepflows.errors import ConfigError
from hepflows.files import atomic_file
from hepflows.train.progress import SilentReporter
from jetgen.config import JetFlowConfig
from jetgen.dataset import make_tensors
from jetgen.generator import JetGenerator
from jetgen.jetflow import JetFlowModel
from jetgen.training import JetObjective, Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hepflows.train.progress import Reporter

TRAINED_PART = (0.0, 0.8)
"""Jets for training and for choosing the epoch; the rest of each file is for the table alone."""
_WARM_UP_STEPS = 10
_TIMED_STEPS = 30


def data_file(kind: str) -> Path:
    """File of the jets of a class, ``g``, ``q`` or ``t``, under HEPFLOWS_DATA."""
    if "HEPFLOWS_DATA" not in os.environ:
        raise ConfigError("HEPFLOWS_DATA is not set", expected="a directory with jets/g.hdf5, q.hdf5, t.hdf5")
    return Path(os.environ["HEPFLOWS_DATA"]) / "jets" / f"{kind}.hdf5"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A class of jets and a variant.

    Attributes:
        kind: class of jets.
        variant: preset.
        directory: of everything that belongs to the cell.
    """

    kind: str
    variant: str
    directory: Path

    @property
    def artefact(self) -> Path:
        """The trained generator."""
        return self.directory / "generator"

    @property
    def plan(self) -> Path:
        """Configuration, number of epochs, processor time."""
        return self.directory / "plan.json"


def train(
    cell: Cell,
    *,
    minutes: float,
    settings: Sequence[str] = (),
    particles: int | None = None,
    first: int | None = None,
    reporter: Reporter | None,
) -> dict[str, Any]:
    """Train a cell, or go on, or do nothing if it is trained; gives its plan.

    Args:
        cell: what to train.
        minutes: processor time of one core for all steps.
        settings: entries of the configuration as ``key=value``.
        particles: keep so many constituents, the hardest.
        first: train on so many jets, the first ones.
        reporter: where progress goes.
    """
    raw = with_overrides({"task": "jetgen", "preset": cell.variant}, settings)
    config = build(JetFlowConfig, raw, where="configuration")
    if config.trained_as != cell.variant:
        source = Cell(kind=cell.kind, variant=config.trained_as, directory=cell.directory.parent / config.trained_as)
        plan = train(source, minutes=minutes, settings=settings, particles=particles, first=first, reporter=reporter)
        return _made_exact(cell, source, plan)
    jets = jg.read_jets(data_file(cell.kind), part=TRAINED_PART, particles=particles, first=first)
    if cell.plan.exists():
        plan = json.loads(cell.plan.read_text(encoding="utf-8"))
    else:
        seconds = seconds_per_epoch(config, jets)
        epochs = max(1, round(60 * minutes / seconds))
        raw.setdefault("training", {})["epochs"] = epochs
        config = build(JetFlowConfig, raw, where="configuration")
        plan = {"minutes": minutes, "config": config_to_dict(config), "expected_epoch_s": round(seconds, 2)}
        _write(cell.plan, plan)
    config = build(JetFlowConfig, plan["config"], where=str(cell.plan))
    if not cell.artefact.exists():
        before = _processor_s()
        run = Run(directory=cell.directory / "training", resume=True, reporter=reporter or SilentReporter())
        generator = jg.fit(jg.JetFlow(config=config), jets, run=run)
        plan |= _summary(generator, cpu_s=_processor_s() - before)
        _write(cell.plan, plan)
        generator.save(cell.artefact)
    return plan


def _made_exact(cell: Cell, source: Cell, plan: dict[str, Any]) -> dict[str, Any]:
    """Make a variant that is another one's network with its masses exact, so that they differ in nothing else."""
    plan = plan | {"network_of": source.variant}
    if not cell.artefact.exists():
        _write(cell.plan, plan)
        load(source).with_exact_mass().save(cell.artefact)
    return plan


def seconds_per_epoch(config: JetFlowConfig, jets: jg.Jets) -> float:
    """Processor time of an epoch: the median step of each phase, once warm, times their number."""
    data = make_tensors(jets, config, "cpu")
    model = JetFlowModel(jets.n_slots, config)
    model.fit_preprocessing(data.batch(data.train)[0], data.mass[data.train], data.valid)
    objective = JetObjective(model, data, config).train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=1e-5, fused=True)
    steps = -(-len(data.train) // config.training.batch_size)
    with_loss = 1 - config.mass_loss.start if config.constraint == "loss" else 0.0
    total = 0.0
    for share, step in ((1 - with_loss, 0), (with_loss, 10**9)):
        if share:
            objective.step.fill_(step)
            batch = min(config.training.batch_size, len(data.train))
            laps = [_step(objective, optimizer, batch) for _ in range(_WARM_UP_STEPS + _TIMED_STEPS)][_WARM_UP_STEPS:]
            total += share * statistics.median(laps)
    return steps * total


def load(cell: Cell) -> JetGenerator:
    """The trained generator of a cell."""
    return JetGenerator.load(cell.artefact)


def _step(objective: JetObjective, optimizer: torch.optim.Optimizer, batch: int) -> float:
    began = time.process_time()
    optimizer.zero_grad(set_to_none=True)
    objective.training_loss(torch.arange(batch)).backward()
    objective.count_step()
    optimizer.step()
    return time.process_time() - began


def _summary(generator: JetGenerator, *, cpu_s: float) -> dict[str, Any]:
    training = generator.document["training"]
    return {
        "cpu_minutes_of_last_process": round(cpu_s / 60, 2),
        "epochs": len(training["history"]),
        "n_train": training["n_train"],
        "best_epoch": training["best_epoch"],
        "seconds": round(sum(entry["seconds"] for entry in training["history"]), 1),
        "parameters": sum(p.numel() for p in generator.model.network.parameters()),
    }


def _processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path, force=True) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
