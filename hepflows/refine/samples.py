"""Generated events beside reference events under the same conditions, with the latents they were made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from hepflows.classifier import MIN_EVENTS
from hepflows.errors import ConditionError, DataError
from hepflows.philox import normal_noise
from hepflows.refine.adapter import takes_latents
from hepflows.train.progress import Reporter, SilentReporter
from hepflows.weights import training_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import nn

    from hepflows.generator import AnyGenerator
    from hepflows.refine.adapter import Adapter

    Floats = NDArray[np.float64]

_BATCH: Final = 4096  # a multiple of 256, so that events are those of any other batch
_CHUNK: Final = 4096
_LEAST_EFFECTIVE: Final = 50  # reference events that weights must leave


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Reference and generated events as numbers.

    Attributes:
        reference: inputs of the classifier (N, F).
        generated: the same of generated events (M, F).
        conditions: conditions of the generated events (M, C).
        latents: what they were made from (M, Z); empty (M, 0) if the generator does not tell.
        groups: numbers (N,) and (M,) that events with a common condition share.
        reference_weights: weights of the reference events, or None.
        emphasis: factors of the standardised inputs of the classifier (F,), or None.
        latent_emphasis: the same of the latents (Z,), or None.
    """

    reference: NDArray[np.float32]
    generated: NDArray[np.float32]
    conditions: NDArray[np.float32]
    latents: NDArray[np.float32]
    groups: tuple[NDArray[np.int64], NDArray[np.int64]]
    reference_weights: Floats | None
    emphasis: NDArray[np.float32] | None = None
    latent_emphasis: NDArray[np.float32] | None = None


def make_samples(
    generator: AnyGenerator,
    events: Any,
    adapter: Adapter,
    *,
    copies: int,
    seed: int,
    reporter: Reporter | None = None,
) -> Samples:
    """Generate `copies` events for each reference event, under its conditions.

    Raises:
        ConditionError: the generator does not make events under the conditions of some.
        DataError: too few reference events, a condition of the generator is missing, or their weights are negative or
            leave too few effective events.
    """
    n = len(events)
    if n < MIN_EVENTS:
        raise DataError(
            "too few reference events",
            where="--data",
            expected=f"{MIN_EVENTS} or more",
            found=n,
            remedy="use a larger file, or a wider --read part",
        )
    available = adapter.conditions(events)
    _require_conditions(generator, available)
    given = {name: np.tile(available[name], copies) for name in generator.condition_names}
    features = adapter.features(innermost(generator)).eval()
    total, parts = copies * n, []
    with (reporter or SilentReporter()).stage("generating", total=total, unit="events") as stage:
        for start in range(0, total, _BATCH):
            stop = min(total, start + _BATCH)
            part = {name: values[start:stop] for name, values in given.items()}
            try:
                made = generator.sample(part, n=stop - start, seed=seed, first_event=start)
            except ConditionError as error:
                raise ConditionError(
                    f"reference events: {error.what}",
                    where=error.where,
                    expected=error.expected,
                    found=error.found,
                    remedy="choose reference events under its conditions (on the command line by --read)",
                ) from error
            parts.append(inputs_of(features, adapter, generator, made))
            stage.advance(stop - start)
    latents, latent_emphasis = np.empty((total, 0), np.float32), None
    if takes_latents(generator):
        latents = normal_noise(seed, 0, total, generator.noise_dim)
        if innermost(generator) is generator:  # the latents of a refined one are others, which the task does not know
            latent_emphasis = adapter.latent_emphasis(generator)
    conditions = np.stack([given[name] for name in generator.condition_names], axis=1) if given else None
    order = np.arange(n)
    # without conditions generated events have no partner in the reference
    own = np.tile(order, copies) if given else n + np.arange(total)
    return Samples(
        reference=inputs_of(features, adapter, generator, events),
        generated=np.concatenate(parts),
        conditions=np.empty((total, 0), np.float32) if conditions is None else conditions.astype(np.float32),
        latents=latents,
        groups=(order, own),
        reference_weights=_weights(events),
        emphasis=None if (factors := getattr(features, "emphasis", None)) is None else factors.numpy(),
        latent_emphasis=latent_emphasis,
    )


def inputs_of(features: nn.Module, adapter: Adapter, generator: AnyGenerator, events: Any) -> NDArray[np.float32]:
    """Inputs (N, F) of the classifier for events, in chunks."""
    x = torch.from_numpy(np.ascontiguousarray(adapter.numbers(innermost(generator), events)))
    cond = torch.from_numpy(condition_columns(adapter, generator, events))
    with torch.no_grad():
        parts = [features(a, b) for a, b in zip(x.split(_CHUNK), cond.split(_CHUNK), strict=True)]
    return np.asarray(torch.cat(parts).numpy(), np.float32)


def condition_columns(adapter: Adapter, generator: AnyGenerator, events: Any) -> NDArray[np.float32]:
    """Conditions (N, C) of events, in the generator's order."""
    available = adapter.conditions(events)
    _require_conditions(generator, available)
    columns = [np.asarray(available[name], np.float32) for name in generator.condition_names]
    return np.stack(columns, axis=1) if columns else np.empty((len(events), 0), np.float32)


def _require_conditions(generator: AnyGenerator, available: Mapping[str, Any]) -> None:
    if missing := [name for name in generator.condition_names if name not in available]:
        raise DataError(
            "a condition of the generator is missing in the reference events",
            expected=", ".join(missing),
            found=", ".join(available) or "none",
        )


def innermost(generator: Any) -> Any:
    """The generator of the task that stands inside of all refinements."""
    while hasattr(generator, "base"):
        generator = generator.base
    return generator


def _weights(events: Any) -> Floats | None:
    return training_weights(
        getattr(events, "weights", None), at_least=_LEAST_EFFECTIVE, where="weights of the reference events"
    )
