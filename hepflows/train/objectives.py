"""What is minimised: the interface of objectives, and the one shared by all flows, maximum likelihood."""

from __future__ import annotations

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
    """

    def __init__(
        self,
        flow: ConditionalFlow,
        training: Callable[[Tensor], Batch],
        validation: Callable[[], Batch],
        *,
        chunk: int = 1000,
    ) -> None:
        self._flow, self._training, self._validation, self._chunk = flow, training, validation, chunk

    def training_loss(self, index: Tensor) -> Tensor:
        """Negative log-likelihood of a batch, averaged over events."""
        x, context = self._training(index)
        return -self._flow.log_prob(x, context).mean()

    def validation_loss(self) -> float:
        """Negative log-likelihood of the validation events, averaged over events."""
        chunks = distributed.own(in_chunks(self._validation(), self._chunk))
        return -distributed.mean([self._flow.log_prob(x, context) for x, context in chunks])


def in_chunks(batch: Batch, size: int) -> Iterator[Batch]:
    """Yield a batch in pieces of at most `size` events."""
    x, context = batch
    for start in range(0, len(x), size):
        rows = slice(start, start + size)
        yield x[rows], None if context is None else context[rows]
