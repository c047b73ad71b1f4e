"""What a transport between two sets minimises (arXiv:2211.02487, section 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from hepflows.train.objectives import in_chunks, weighted_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from hepflows.flow import ConditionalFlow
    from hepflows.morphing.model import MorphingModel
    from hepflows.train.objectives import Batch

_CHUNK = 2000  # validation events evaluated at once


class TransportObjective:
    """Negative log-likelihood of the source under the transported target density, and the other way round.

    Source events x have the density p_T(f(x)) |df/dx|, target events y the density p_S(f^-1(y)) |df^-1/dy|. The
    densities p_S and p_T are trained before and stay as they are.

    Args:
        model: its transport is trained.
        source: gives scaled training events and contexts of the source, of the events with these indices.
        target: gives as many target events, drawn at random.
        held_out: scaled validation events and contexts of source and target.
        both: train both directions; else the source alone.
        penalty: weight of the mean L1 distance moved.
        weights: weights of source events, with a mean of 1, for their indices; None where all count the same. Those of
            target events count in how they are drawn.
        held_out_weights: of source and target.
    """

    def __init__(
        self,
        model: MorphingModel,
        source: Callable[[Tensor], Batch],
        target: Callable[[int], Batch],
        held_out: tuple[Batch, Batch],
        *,
        both: bool,
        penalty: float,
        weights: Callable[[Tensor], Tensor] | None = None,
        held_out_weights: tuple[Tensor | None, Tensor | None] = (None, None),
    ) -> None:
        if model.transport is None:
            raise TypeError("base transfer has no transport to train")
        self._model, self._transport = model, model.transport
        self._source, self._target, self._held_out = source, target, held_out
        self._both, self._penalty = both, penalty
        self._weights, self._held_out_weights = weights, held_out_weights

    def training_loss(self, index: Tensor) -> Tensor:
        """Loss of a batch of source events and, in both directions, of as many target events."""
        weights = None if self._weights is None else self._weights(index)
        forward = weighted_mean(self._loss(*self._source(index), back=False), weights)
        if not self._both:
            return forward
        return 0.5 * (forward + self._loss(*self._target(len(index)), back=True).mean())

    def validation_loss(self) -> float:
        """The same of the held-out events."""
        means = []
        for events, weights, back in zip(self._held_out, self._held_out_weights, (False, True), strict=True):
            if back and not self._both:
                break
            parts = [self._loss(y, context, back=back) for y, context in in_chunks(events, _CHUNK)]
            means.append(float(weighted_mean(torch.cat(parts).double(), weights)))
        return sum(means) / len(means)

    def _loss(self, y: Tensor, context: Tensor | None, *, back: bool) -> Tensor:
        base: ConditionalFlow = self._model.source if back else self._model.target
        moved, log_det = (self._transport.inverse if back else self._transport)(y, context)
        loss = -base.log_prob(moved, context) - log_det
        return loss + self._penalty * (moved - y).abs().mean(-1) if self._penalty else loss
