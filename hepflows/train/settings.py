"""Settings of a training, as they stand in configuration files."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from hepflows.config import StrictConfig


class TrainingConfig(StrictConfig):
    """How one model is trained.

    Attributes:
        epochs: passes over the training events.
        batch_size: events a step.
        optimizer: Adam (arXiv:1412.6980) or AdamW (arXiv:1711.05101).
        learning_rate: largest learning rate.
        schedule: `one-cycle` rises over the first 30 % of the steps and falls to zero (arXiv:1708.07120),
            `cosine` only falls, `constant` stays.
        weight_decay: decay of AdamW.
        gradient_clip: largest norm of the gradient.
        matmul_precision: `bfloat16` rounds the factors of matrix products in the networks of a likelihood training and
            in velocity fields; weights, sums and splines stay in float32. Faster on GPUs, and on processors that
            multiply bfloat16.
        patience: stop after this many epochs without a better validation loss; 0 never stops early.
    """

    epochs: int = Field(default=50, ge=1)
    batch_size: int = Field(default=250, ge=1)
    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rate: float = Field(default=1e-3, gt=0)
    schedule: Literal["one-cycle", "cosine", "constant"] = "one-cycle"
    weight_decay: float = Field(default=0.0, ge=0)
    gradient_clip: float = Field(default=5.0, gt=0)
    matmul_precision: Literal["float32", "bfloat16"] = "float32"
    patience: int = Field(default=0, ge=0)


def learning_rate(settings: TrainingConfig, step: int, total: int) -> float:
    """Learning rate of step 0 ... total - 1: a function of the step, so that it needs no state to resume."""
    peak = settings.learning_rate
    if settings.schedule == "constant":
        return peak
    if settings.schedule == "cosine":
        return peak * _fall(step / total)
    rising = 0.3 * total
    if step < rising:
        return peak * (0.04 + 0.96 * (1 - _fall(step / rising)))
    return peak * _fall((step - rising) / (total - rising))


def _fall(fraction: float) -> float:
    """Half a cosine from 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * min(max(fraction, 0.0), 1.0)))
