"""DiscFlow: a flow's likelihood with the weights of a classifier (Butter et al., arXiv 2110.13632, section 3).

Training events count with w^alpha, w = p_reference / p_generated estimated anew in every round: what the generator
makes too seldom counts more. The result is a generator of the same kind, without weights and with its density.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from hepflows.config import config_to_dict
from hepflows.refine.event_ratio import fit_event_ratio
from hepflows.refine.samples import make_samples
from hepflows.train.checkpoint import identity
from hepflows.train.loop import fit
from hepflows.train.progress import Reporter, SilentReporter
from hepflows.train.seeding import seed_of
from hepflows.weights import effective_sample_size

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from hepflows.generator import AnyGenerator
    from hepflows.refine.adapter import Adapter, FineTuning
    from hepflows.refine.config import RefineConfig
    from hepflows.refine.samples import Samples

_CHUNK = 1000


class _WeightedLikelihood:
    """Mean of w^alpha times the negative log-likelihood, the weights' mean being 1."""

    def __init__(self, tuning: FineTuning, weights: NDArray[np.float64]) -> None:
        self._tuning = tuning
        self._weights = torch.from_numpy(weights).float()

    def training_loss(self, index: Tensor) -> Tensor:
        """Loss of a batch of training events."""
        return self._mean(self._tuning.training_events[index.cpu().numpy()], training=True)

    def validation_loss(self) -> float:
        """Loss of the held-out events."""
        held = self._tuning.validation_events
        parts = [held[start : start + _CHUNK] for start in range(0, len(held), _CHUNK)]
        return sum(float(self._mean(part, training=False)) * len(part) for part in parts) / len(held)

    def _mean(self, events: NDArray[np.int64], *, training: bool) -> Tensor:
        losses = self._tuning.losses(events, training=training)
        return (self._weights[torch.from_numpy(events)].to(losses.device) * losses).mean()


def discflow(
    generator: AnyGenerator,
    events: Any,
    config: RefineConfig,
    *,
    adapter: Adapter,
    device: str = "cpu",
    directory: Path | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> AnyGenerator:
    """Fine-tune a copy of a generator.

    Args:
        generator: what training gave, not refined otherwise.
        events: reference events, those of the training or others.
        config: seed, copies, classifier and discflow.
        adapter: of the generator's task.
        device: torch device.
        directory: for checkpoints, one folder a round.
        resume: continue from the checkpoints there.
        reporter: where progress goes.
        provenance: what the artefact says of the reference.

    Raises:
        ConfigError: the generator has no likelihood.
        RefinementError: a classifier separates both, or weights explode.
        TrainingError: the checkpoints are those of other events, settings or another generator.
        Interrupted: the training was stopped.
    """
    reporter = reporter or SilentReporter()
    tuning = adapter.fine_tuning(generator, events, device=device)
    begins = [tensor.cpu().numpy().copy() for tensor in tuning.module.state_dict().values()]
    settings, rounds = config.discflow, []
    for number in range(settings.rounds):
        seed = seed_of(config.seed, "discflow", number)
        samples = make_samples(tuning.generator(), events, adapter, copies=config.copies, seed=seed, reporter=reporter)
        given = () if samples.reference_weights is None else (samples.reference_weights,)
        weights, figures = _event_weights(samples, config, seed=seed, device=device, reporter=reporter)
        reporter.message(f"round {number + 1}: AUC of the classifier {figures['auc']:.3f}")
        result = fit(
            tuning.module,
            _WeightedLikelihood(tuning, weights),
            len(tuning.training_events),
            settings.training,
            seed=seed,
            title=f"DiscFlow, round {number + 1} of {settings.rounds}",
            directory=None if directory is None else directory / f"round_{number + 1}",
            resume=resume,
            reporter=reporter,
            identity=identity(config.model_dump_json(), samples.reference, *given, *begins),
        )
        rounds.append({**figures, **result.summary()})
    return tuning.generator(
        {"discflow": {"rounds": rounds, "config": config_to_dict(config)}},
        {"refined_with_discflow": dict(provenance or {})},
    )


def _event_weights(
    samples: Samples, config: RefineConfig, *, seed: int, device: str, reporter: Reporter
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """w^alpha of the reference events, normalised to a mean of 1, and figures of the classifier."""
    found = fit_event_ratio(samples, config.classifier, seed=seed, device=device, reporter=reporter)
    weights = found.model.weights(torch.from_numpy(samples.reference).to(device)) ** config.discflow.alpha
    if samples.reference_weights is not None:
        weights = weights * samples.reference_weights
    weights = weights / weights.mean()
    size, _ = effective_sample_size(weights)
    return weights, {**found.summary(), "effective_reference": size}
