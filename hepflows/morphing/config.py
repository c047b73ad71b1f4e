"""Configuration of a morphing; the defaults are the networks and schedules of arXiv:2211.02487."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from hepflows.autoregressive_flow import NetworkConfig
from hepflows.config import StrictConfig
from hepflows.train.settings import TrainingConfig

Method = Literal["base_transfer", "unidirectional", "flows_for_flows", "movement_penalty", "identity"]
METHODS: tuple[Method, ...] = get_args(Method)


def _schedule(epochs: int) -> TrainingConfig:
    return TrainingConfig(epochs=epochs, batch_size=128, learning_rate=1e-4, schedule="cosine", gradient_clip=5.0)


class MorphingConfig(StrictConfig):
    """How one set is morphed into another.

    Attributes:
        method: `base_transfer` goes through the normal base of both sets' own flows; the others train a transport:
            `unidirectional` on the source alone, `flows_for_flows` in both directions, `movement_penalty` besides with
            the mean L1 distance moved, `identity` in both directions from a transport that starts as the identity.
        penalty: weight of the distance in `movement_penalty`; large ones keep events from arriving.
        base: networks of the densities of the two sets.
        transport: network of the transport.
        base_training: schedule of the densities.
        transport_training: schedule of the transport.
        validation_fraction: part of each set that chooses the best epoch.
        seed: of weights, split and batches.
    """

    method: Method = "identity"
    penalty: float = Field(default=0.1, ge=0)
    base: NetworkConfig = NetworkConfig()
    transport: NetworkConfig = NetworkConfig(blocks=8, hidden=(128, 128, 128))
    base_training: TrainingConfig = _schedule(60)
    transport_training: TrainingConfig = _schedule(64)
    validation_fraction: float = Field(default=0.1, gt=0, lt=1)
    seed: int = Field(default=1, ge=0, lt=2**63)
