"""Latent space refinement (LaSeR): Winterhalder, Bellagente and Nachman, arXiv 2106.00792."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import torch

from hepflows.errors import ConfigError
from hepflows.philox import normal_noise
from hepflows.refine.adapter import require_latents
from hepflows.refine.artefact import refined_document
from hepflows.refine.event_ratio import EventWeights, fit_event_ratio, require_gradient
from hepflows.refine.flow_refiner import train_flow
from hepflows.refine.gan_refiner import train_gan
from hepflows.refine.generator import LatentRefinedGenerator
from hepflows.refine.hmc import run_chains
from hepflows.refine.latent import pull_back
from hepflows.refine.refiner import NetworkRefiner, refined_density
from hepflows.refine.samplers import HmcRefiner, RejectionRefiner
from hepflows.refine.samples import condition_columns, innermost, make_samples
from hepflows.train.progress import Reporter, SilentReporter
from hepflows.train.seeding import seed_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

    from hepflows.generator import AnyGenerator
    from hepflows.refine.adapter import Adapter
    from hepflows.refine.config import HmcConfig, RefineConfig
    from hepflows.refine.refiner import LatentWeights, Refiner
    from hepflows.refine.samples import Samples

_TARGETS, _CHAINS_A_TARGET = 5, 4
_PROBED = 200  # events that show whether latents have a gradient
LatentMethod: TypeAlias = Literal["laser-flow", "laser-gan", "hmc", "rejection"]


def laser(
    generator: AnyGenerator,
    events: Any,
    config: RefineConfig,
    method: LatentMethod,
    *,
    adapter: Adapter,
    device: str = "cpu",
    directory: Path | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> LatentRefinedGenerator:
    """Make a generator with refined latents, once or, by `config.rounds`, on top of the result again.

    Args:
        generator: what is refined.
        events: reference events, a container of the generator's task.
        config: all settings.
        method: how refined latents are drawn.
        adapter: of the generator's task.
        device: torch device of the trainings.
        directory: for checkpoints of second flows.
        resume: continue from the checkpoints there.
        reporter: where progress goes.
        provenance: what the artefact says of the reference.

    Raises:
        ConfigError: the latents of the generator cannot be refined, or not in several rounds.
        DataError: the reference events cannot be used.
        RefinementError: a classifier separates its samples, weights explode, or chains do not mix.
    """
    if config.rounds > 1 and method in ("hmc", "rejection"):
        raise ConfigError(
            f"the latents of a sampler ({method}) cannot be refined again",
            where="rounds",
            expected="1",
            found=config.rounds,
            remedy="use laser-flow or laser-gan for several rounds",
        )
    reporter, found = reporter or SilentReporter(), generator
    for number in range(config.rounds):
        base = require_latents(found, method=method)
        sampler, features = None, adapter.features(innermost(found)).eval()
        if config.pull.source == "events" or _is_reverse(config, method):
            sampler = _require_sampler(found, config)
        if sampler is not None and (method == "hmc" or _is_reverse(config, method)):
            where = "pull.source = events" if method == "hmc" else "flow.objective = reverse"
            cond = torch.from_numpy(condition_columns(adapter, found, events)[:_PROBED])
            few = torch.from_numpy(normal_noise(config.seed, 0, len(cond), base.noise_dim))
            require_gradient(sampler, features, few, cond, where=where)
        seed = seed_of(config.seed, method, number)
        samples = make_samples(found, events, adapter, copies=config.copies, seed=seed, reporter=reporter)
        weights, figures, share = _weights(
            samples, config, sampler, features, seed=seed, device=device, reporter=reporter
        )
        auc = figures["events"][-1]["auc"]
        reporter.message(
            f"round {number + 1}: AUC of the classifier {auc:.3f}, effective sample size of the latents "
            f"{100 * share:.3g} %"
        )
        conditions = torch.from_numpy(samples.conditions).to(device)
        folder = None if directory is None else directory / f"round_{number + 1}"
        refiner, more = _refiner(
            weights, conditions, config, method, seed=seed, directory=folder, resume=resume, reporter=reporter
        )
        sizes: dict[str, float] = {
            "latents": base.noise_dim,
            "conditions": samples.conditions.shape[1],
            "features": samples.generated.shape[1],
        }
        if isinstance(refiner, HmcRefiner):
            sizes["step"] = refiner.step
        document = refined_document(found, method, config, sizes, {**figures, **more}, provenance or {})
        refiner.network.to("cpu")
        weights.to("cpu")
        found = LatentRefinedGenerator(found, adapter, refiner, document)
    return cast("LatentRefinedGenerator", found)


def _is_reverse(config: RefineConfig, method: LatentMethod) -> bool:
    return method == "laser-flow" and config.flow.objective == "reverse"


def _weights(
    samples: Samples,
    config: RefineConfig,
    sampler: nn.Module | None,
    features: nn.Module,
    *,
    seed: int,
    device: str,
    reporter: Reporter,
) -> tuple[LatentWeights, dict[str, Any], float]:
    """Log weights of latents, figures of their fits, and the effective share that they leave of the events.

    They are pulled back or, with a sampler, those of the events that it makes of the latents.
    """
    if sampler is None:
        pulled = pull_back(samples, config.classifier, config.pull, seed=seed, device=device, reporter=reporter)
        return pulled.ratio, pulled.summary(), pulled.latents[-1].effective_share
    fit = fit_event_ratio(samples, config.classifier, seed=seed, device=device, reporter=reporter)
    weights = EventWeights(sampler, features, fit.model, latent_dim=samples.latents.shape[1]).to(device).eval()
    return weights, {"events": [fit.summary()]}, fit.effective_share


def _require_sampler(generator: AnyGenerator, config: RefineConfig) -> nn.Module:
    """A copy of the generator's module, to be frozen; generators whose latents do not tell their events are refused."""
    if config.pull.iterations > 1:
        raise ConfigError(
            "weights of events at their latents need latents that tell all of an event, and OmniFold's iterations are "
            "for others",
            where="pull.iterations",
            expected="1 with flow.objective = reverse or pull.source = events",
            found=config.pull.iterations,
            remedy="use flow.objective = weights and pull.source = latents",
        )
    module = getattr(generator, "sampling_module", None)
    if module is None:
        raise ConfigError(
            "weights of events at their latents need a generator that is a torch module",
            where="flow.objective or pull.source",
            expected="a generator with sampling_module()",
            found=type(generator).__name__,
            remedy="use flow.objective = weights and pull.source = latents",
        )
    return cast("nn.Module", copy.deepcopy(module()).cpu())


def _refiner(
    weights: LatentWeights,
    conditions: torch.Tensor,
    config: RefineConfig,
    method: LatentMethod,
    *,
    seed: int,
    directory: Path | None,
    resume: bool,
    reporter: Reporter,
) -> tuple[Refiner, dict[str, Any]]:
    """The trained or adapted refiner, and figures of it."""
    if method == "laser-flow":
        flow, result = train_flow(
            weights, conditions, config.flow, seed=seed, directory=directory, resume=resume, reporter=reporter
        )
        return NetworkRefiner(flow, weights.latent_dim), {"flow": result.summary()}
    if method == "laser-gan":
        gan = train_gan(weights, conditions, config.gan, seed=seed, reporter=reporter)
        return NetworkRefiner(gan, gan.noise_dim), {}
    if method == "rejection":
        return RejectionRefiner(weights, config.rejection), {}
    return _hmc(weights, conditions, config.hmc, seed=seed, reporter=reporter)


def _hmc(
    weights: LatentWeights, conditions: torch.Tensor, config: HmcConfig, *, seed: int, reporter: Reporter
) -> tuple[HmcRefiner, dict[str, Any]]:
    """Run long chains to find the step and to see whether they mix, under a few conditions of the reference."""
    random = torch.Generator().manual_seed(seed)
    groups = min(_TARGETS, config.chains // _CHAINS_A_TARGET) if conditions.shape[1] else 1
    few = conditions[torch.randint(len(conditions), (max(1, groups),), generator=random)]
    chosen = few.repeat(-(-config.chains // len(few)), 1)[: config.chains]
    start = torch.randn(config.chains, weights.latent_dim, generator=random).to(conditions.device)
    density = refined_density(weights.to(conditions.device).requires_grad_(requires_grad=False), chosen)
    chains = run_chains(density, start, config, seed=seed, groups=len(few), reporter=reporter)
    reporter.message(f"chains: {chains}")
    return HmcRefiner(weights, config, step=chains.step), {"hmc": chains.summary()}
