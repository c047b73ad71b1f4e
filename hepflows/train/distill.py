"""Distillation of a fast-sampling student (IAF) from a trained teacher (MAF), "fully guided".

CaloFlow II, arXiv:2110.11377, section 3: the student is matched to the frozen teacher at the end points, behind
every block and in every raw spline parameter, on data (L_x) and on noise (L_z). Differences to the published code:
each term is a mean over its own elements with its own weight, the end points are not counted among the interior
states, and the teacher's pass in L_x records no gradients (in L_z they flow *through* the frozen teacher into the
student's output).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from pydantic import Field

from hepflows.config import StrictConfig
from hepflows.draws import normal
from hepflows.train import distributed

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from hepflows.flow import ConditionalFlow, Trace

Batch = tuple["Tensor", "Tensor"]


class DistillationConfig(StrictConfig):
    """Weights of the distillation loss (1 - beta) L_z + beta L_x.

    Attributes:
        beta: share of the loss on data.
        end_point: weight of the mean squared difference of the final states.
        states: weight of the mean squared difference of the interior states.
        parameters: weight of the mean squared difference of the raw spline parameters.
    """

    beta: float = Field(default=0.5, ge=0, le=1)
    end_point: float = Field(default=1.0, ge=0)
    states: float = Field(default=1.0, ge=0)
    parameters: float = Field(default=1.0, ge=0)


@dataclass(frozen=True)
class MatchTerms:
    """Mean squared differences between two traces, each a scalar tensor."""

    end_point: Tensor
    states: Tensor
    parameters: Tensor

    def total(self, weights: DistillationConfig) -> Tensor:
        """Weighted sum of the three terms."""
        return weights.end_point * self.end_point + weights.states * self.states + weights.parameters * self.parameters


def match(student: Trace, teacher: Trace, *, end: int) -> MatchTerms:
    """Compare two traces; `end` (0 or -1) names the state that both computed last, the other end is their input."""
    interior = list(zip(student.states[1:-1], teacher.states[1:-1], strict=True))
    parameters = zip(student.parameters, teacher.parameters, strict=True)
    zero = student.states[0].new_zeros(())
    return MatchTerms(
        end_point=_mse(student.states[end], teacher.states[end]),
        states=sum((_mse(a, b) for a, b in interior), zero) / max(len(interior), 1),
        parameters=sum((_mse(a, b) for a, b in parameters), zero) / max(len(student.parameters), 1),
    )


def data_terms(student: ConditionalFlow, teacher: ConditionalFlow, x: Tensor, context: Tensor) -> MatchTerms:
    """L_x: x -> teacher -> z -> student -> x', the teacher without gradients."""
    with torch.no_grad():
        guide = teacher.trace_forward(x, context)
    return match(student.trace_inverse(guide.states[-1], context), guide, end=0)


def noise_terms(student: ConditionalFlow, teacher: ConditionalFlow, z: Tensor, context: Tensor) -> MatchTerms:
    """L_z: z -> student -> x -> teacher -> z', gradients flowing through the frozen teacher."""
    made = student.trace_inverse(z, context)
    guide = teacher.trace_forward(made.states[0], context)
    return match(made, guide, end=-1)


class Distillation:
    """Objective of the distillation.

    Args:
        student: flow that is trained.
        teacher: trained flow; it is frozen and put in evaluation mode.
        weights: weights of the terms.
        training: features and context of the training events with these indices, called anew at every step.
        validation: the same for the held-out events.
        contexts: `contexts(n)` draws n contexts for L_z from torch's generator; `contexts(None)` gives the fixed
            ones for the validation.
    """

    def __init__(
        self,
        student: ConditionalFlow,
        teacher: ConditionalFlow,
        weights: DistillationConfig,
        *,
        training: Callable[[Tensor], Batch],
        validation: Callable[[], Batch],
        contexts: Callable[[int | None], Tensor],
    ) -> None:
        self._student, self._weights = student, weights
        self._teacher = teacher.requires_grad_(False).eval()
        self._training, self._validation, self._contexts = training, validation, contexts

    def training_loss(self, index: Tensor) -> Tensor:
        """(1 - beta) L_z + beta L_x of a batch."""
        x, context = self._training(index)
        return self._loss(x, context, self._contexts(len(x)))

    def validation_loss(self) -> float:
        """The same on held-out events and held-out contexts, in chunks."""
        x, context = self._validation()
        free = self._contexts(None)
        processes = distributed.current()
        total, count = 0.0, 0
        for number, (a, b, c) in enumerate(zip(x.split(500), context.split(500), free.split(500), strict=True)):
            if number % processes.size == processes.rank:
                total += float(self._loss(a, b, c)) * len(a)
                count += len(a)
            elif self._weights.beta < 1:
                _noise(a, c)  # so that the next ones are the same on all processes
        total, counted = processes.sums([total, count])
        return total / max(counted, 1)

    def _loss(self, x: Tensor, context: Tensor, free: Tensor) -> Tensor:
        beta = self._weights.beta
        loss = x.new_zeros(())
        if beta > 0:
            loss = loss + beta * data_terms(self._student, self._teacher, x, context).total(self._weights)
        if beta < 1:
            z = _noise(x, free)
            loss = loss + (1 - beta) * noise_terms(self._student, self._teacher, z, free).total(self._weights)
        return loss


def _noise(x: Tensor, free: Tensor) -> Tensor:
    return normal((len(free), x.shape[1]), dtype=x.dtype, device=x.device)


def _mse(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().mean()
