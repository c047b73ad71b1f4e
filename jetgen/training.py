"""Training of JetFlow: likelihood (with or without the mass loss), or flow matching."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from hepflows.config import build, did_you_mean
from hepflows.draws import normal, whole_batch
from hepflows.errors import ConfigError, DataError
from hepflows.flow_matching import ContinuousFlow
from hepflows.train.checkpoint import identity
from hepflows.train.loop import fit as run_training
from hepflows.train.run import Run
from hepflows.train.seeding import seeded
from jetgen.config import JetFlowConfig
from jetgen.dataset import make_tensors
from jetgen.generator import JetGenerator
from jetgen.generator_document import make_document
from jetgen.jetflow import JetFlowModel
from jetgen.kinematics import mass_rel
from jetgen.presets import PRESETS
from jetgen.streamed import StreamedJets, make_streamed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from jetgen.dataset import JetTensors
    from jetgen.jets import Jets
    from jetgen.presets import MassConstraint
    from jetgen.streamed import StreamedTensors

__all__ = ["JetFlow", "JetObjective", "Run", "fit"]

_CHUNK = 1000  # validation jets evaluated at once


class JetFlow:
    """An untrained generator.

    Example:
        >>> JetFlow("ccnf_m").config.conditions
        ('mass',)
        >>> JetFlow(condition=("mass", "multiplicity"), mass_constraint="exact").config.preset
        'exact'

    Args:
        preset: see `jetgen.presets`; without it, the one that `condition` and `mass_constraint` describe.
        condition: `()`, `("mass",)` or `("mass", "multiplicity")`; by default the preset's.
        mass_constraint: `none`, `loss` or `exact`; by default the preset's.
        config: a complete configuration instead of all other arguments.
        **settings: further entries of `JetFlowConfig`, tables as dictionaries.

    Raises:
        ConfigError: a name or value is not known, or two contradict each other.
    """

    config: JetFlowConfig

    def __init__(
        self,
        preset: str | None = None,
        *,
        condition: Sequence[str] | None = None,
        mass_constraint: MassConstraint | None = None,
        config: JetFlowConfig | None = None,
        **settings: Any,
    ) -> None:
        entries = {"task": "jetgen", "preset": preset, "mass_constraint": mass_constraint, **settings}
        if condition is not None:
            entries["condition"] = list(condition)
        entries = {name: value for name, value in entries.items() if value is not None}
        if config is not None:
            if len(entries) > 1:
                raise ConfigError("give either config or single settings", found=", ".join(entries))
            self.config = config
            return
        if preset is None:
            entries["preset"] = _fitting_preset(condition, mass_constraint)
        elif preset not in PRESETS:
            raise ConfigError(
                f"unknown preset{did_you_mean(preset, PRESETS)}",
                where="preset",
                expected=", ".join(PRESETS),
                found=preset,
            )
        self.config = build(JetFlowConfig, entries, where="JetFlow")


def _fitting_preset(condition: Sequence[str] | None, mass_constraint: MassConstraint | None) -> str:
    """Name of the coupling flow with these conditions and this constraint, else of the nearest one."""
    wanted = None if condition is None else tuple(condition)
    for name, preset in PRESETS.items():
        fits = wanted in (None, preset.condition) and mass_constraint in (None, preset.mass_constraint)
        if fits and (wanted is not None or mass_constraint is not None):
            return name
    return "exact"


class JetObjective(torch.nn.Module):
    """Loss of a JetFlow on its data; a module, so that its step count is part of the checkpoint.

    Args:
        model: what is trained.
        data: training and validation jets.
        config: settings of the mass loss and of the training.
    """

    step: Tensor

    def __init__(self, model: JetFlowModel, data: JetTensors | StreamedTensors, config: JetFlowConfig) -> None:
        super().__init__()
        self.model = model
        self._data, self._config = data, config
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        per_epoch = -(-len(data.train) // config.training.batch_size)
        self._first_mass_step = round(config.mass_loss.start * config.training.epochs * per_epoch)
        self._mass_variance = float(data.mass[data.train].var().clamp_min(1e-8))

    def training_loss(self, index: Tensor) -> Tensor:
        """Loss of a batch of training jets."""
        jets, conditions = self._data.training_batch(index)
        features, context = self.model.prepare(jets, conditions, augment=True)
        loss = self.model.loss(features, context, mean_filled=self._mean_filled(index))
        loss = loss + self.model.sum_loss(jets, conditions)
        if self.model.constraint == "loss" and int(self.step) >= self._first_mass_step:
            loss = loss + self._config.mass_loss.weight * self.mass_loss(conditions)
        return loss

    def count_step(self) -> None:
        """Let the averaged weights follow, and count the step."""
        if isinstance(self.model.network, ContinuousFlow):
            self.model.network.update_average()
        self.step += 1

    def _mean_filled(self, index: Tensor) -> Tensor | None:
        """Mean multiplicity of the batch that these jets are a part of; None if they are all of it."""
        batch = whole_batch(index)
        return None if batch is index else self._data.multiplicity(batch).double().mean()

    def mass_loss(self, conditions: Tensor) -> Tensor:
        """Mean of |m(f(z | m)) - m|^2 over the variance of the mass; through the sampling direction of the flow."""
        noise = normal((len(conditions), self.model.noise_dim), device=conditions.device)
        jets = self.model.sample(noise, conditions)
        miss = mass_rel(jets.eta, jets.phi, jets.pt) - conditions[:, 0]
        # a single jet far out would drown the batch
        return ((miss * miss) / self._mass_variance).clamp_max(25.0).mean()

    def validation_loss(self) -> float:
        """Loss of the held-out jets without the mass loss, which has no noise to hold fixed."""
        total, n = 0.0, len(self._data.validation)
        for index in torch.arange(n).split(_CHUNK):
            jets, conditions = self._data.validation_batch(index)
            features, context = self.model.prepare(jets, conditions, augment=False)
            loss = self.model.loss(features, context) + self.model.sum_loss(jets, conditions)
            total += float(loss) * len(index)
        return total / n


def fit(flow: JetFlow, jets: Jets | StreamedJets, *, run: Run | None = None) -> JetGenerator:
    """Train a generator.

    Args:
        flow: what to train.
        jets: training and validation jets, in memory or in their file (`jetgen.streamed.stream_jets`); the
            configuration says how many are held out.
        run: checkpoint, device, progress.

    Raises:
        DataError: too few jets.
        Interrupted: the training was stopped; it can be resumed if `run` has a directory.
    """
    run = run or Run()
    config = flow.config
    data = _tensors(jets, config, run.device)
    with seeded(config.seed):
        model = JetFlowModel(jets.n_slots, config).to(run.device)
        if config.architecture == "equivariant" and int(data.multiplicities[data.train].max()) < 2:
            raise DataError("jets of single constituents have nothing to learn")
        model.fit_preprocessing(*data.fitting_sample(), data.valid)
    objective = JetObjective(model, data, config)
    result = run_training(
        objective,
        objective,
        len(data.train),
        config.training,
        seed=config.seed,
        title=f"JetFlow {config.preset}",
        directory=run.directory,
        resume=run.resume,
        reporter=run.reporter,
        order=data.order,
        identity=_identity(jets, config),
    )
    model.keep_trained()
    training = {**result.summary(), "n_train": len(data.train)}
    model = model.to("cpu").eval()
    provenance = {"kind": jets.kind, "n_jets": len(jets), **jets.provenance, **(run.provenance or {})}
    document = make_document(model, config, provenance=provenance, training=training)
    return JetGenerator(model, config, document)


def _tensors(jets: Jets | StreamedJets, config: JetFlowConfig, device: str) -> JetTensors | StreamedTensors:
    return make_streamed(jets, config, device) if isinstance(jets, StreamedJets) else make_tensors(jets, config, device)


def _identity(jets: Jets | StreamedJets, config: JetFlowConfig) -> str:
    """Hash of what a training builds on: the jets and the settings."""
    if isinstance(jets, StreamedJets):
        arrays: tuple[Any, ...] = (jets.identity(), jets.mass_rel, jets.multiplicity)
    else:
        arrays = (jets.eta_rel, jets.phi_rel, jets.pt_rel, jets.mask)
    # the jets stand for what the two entries of [data] do
    settings = config.model_dump_json(exclude={"training": True, "data": {"stream", "buffer"}})
    return identity(settings, *arrays)
