"""What is minimised: the interface of objectives, and the one shared by all flows, maximum likelihood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from hepflows.flow import ConditionalFlow

Batch = tuple["Tensor", "Tensor"]


class Objective(Protocol):
    """What is minimised."""

    def training_loss(self, index: Tensor) -> Tensor:
        """Scalar loss of the training events with these indices, with gradient."""
        ...

    def validation_loss(self) -> float:
        """Loss on the held-out events; called in evaluation mode, without gradients, always seeded alike."""
        ...


class MaximumLikelihood:
    """Mean negative log-likelihood of a flow.

    Args:
        flow: the flow that is trained.
        training: gives features (N, D) and context (N, C) of the training events with these indices; called anew
            at every step, so that it may add noise or mirror events.
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
        x, context = self._validation()
        parts = zip(x.split(self._chunk), context.split(self._chunk), strict=True)
        return -float(torch.cat([self._flow.log_prob(a, b) for a, b in parts]).double().mean())
