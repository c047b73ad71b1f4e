"""What is minimised: the interface of objectives, and the one shared by all flows, maximum likelihood."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from hepflows.train import distributed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from hepflows.flow import ConditionalFlow

Batch = tuple["Tensor", "Tensor | None"]
"""Features (N, D), and context (N, C) or None."""


class Objective(Protocol):
    """What is minimised."""

    def training_loss(self, index: Tensor) -> Tensor:
        """Scalar loss of the training events with these indices, a mean over them, with gradient.

        Called with a batch, or with parts of it one after the other: so it changes nothing, and draws random numbers
        by `hepflows.draws`.
        """
        ...

    def validation_loss(self) -> float:
        """Loss on the held-out events; called in evaluation mode, without gradients, always seeded alike."""
        ...


@runtime_checkable
class CountsSteps(Protocol):
    """An objective that changes from step to step."""

    def count_step(self) -> None:
        """Called once a step, behind all calls of `training_loss` and before the weights change."""
        ...


class MaximumLikelihood:
    """Mean negative log-likelihood of a flow.

    Args:
        flow: the flow that is trained.
        training: gives features (N, D) and context (N, C), or None, of the training events with these indices; called
            anew at every step, so that it may add noise or mirror events.
        validation: the same for all validation events.
        chunk: validation events evaluated at once.
        weights: weights of training events, with a mean of 1, for their indices; None where all count the same.
        validation_weights: those of all validation events.
    """

    def __init__(
        self,
        flow: ConditionalFlow,
        training: Callable[[Tensor], Batch],
        validation: Callable[[], Batch],
        *,
        chunk: int = 1000,
        weights: Callable[[Tensor], Tensor] | None = None,
        validation_weights: Tensor | None = None,
    ) -> None:
        self._flow, self._training, self._validation, self._chunk = flow, training, validation, chunk
        self._weights, self._validation_weights = weights, validation_weights

    def training_loss(self, index: Tensor) -> Tensor:
        """Negative log-likelihood of a batch, averaged over events."""
        x, context = self._training(index)
        weights = None if self._weights is None else self._weights(index)
        return -weighted_mean(self._flow.log_prob(x, context), weights)

    def validation_loss(self) -> float:
        """Negative log-likelihood of the validation events, averaged over events."""
        batch, weights = self._validation(), self._validation_weights
        counts = repeat(None) if weights is None else weights.split(self._chunk)
        parts = distributed.own(zip(in_chunks(batch, self._chunk), counts, strict=False))
        found = [(self._flow.log_prob(x, context), weight) for (x, context), weight in parts]
        return -distributed.mean([value if w is None else value.double() * w.to(value.device) for value, w in found])


def weighted_mean(values: Tensor, weights: Tensor | None) -> Tensor:
    """Mean over events, the first axis, of values; weights (N,) have a mean of 1 over the whole sample."""
    if weights is None:
        return values.mean()
    return (values * weights.to(values).reshape(-1, *[1] * (values.ndim - 1))).mean()


def in_chunks(batch: Batch, size: int) -> Iterator[Batch]:
    """Yield a batch in pieces of at most `size` events."""
    x, context = batch
    for start in range(0, len(x), size):
        rows = slice(start, start + size)
        yield x[rows], None if context is None else context[rows]
