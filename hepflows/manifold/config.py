"""Configuration of an M-flow."""

from __future__ import annotations

from pydantic import Field

from hepflows.autoregressive_flow import LEAST_BIN, MOST_BINS, NetworkConfig
from hepflows.config import StrictConfig
from hepflows.splines import SplineSettings
from hepflows.train.settings import TrainingConfig


class OuterConfig(StrictConfig):
    """The coupling flow between observables and manifold coordinates.

    Attributes:
        blocks: coupling blocks.
        width: units of the conditioners' layers.
        residual_blocks: residual blocks of each conditioner.
        bins: bins of the splines.
        bound: the splines act on [-bound, bound].
    """

    blocks: int = Field(default=6, ge=2)
    width: int = Field(default=64, ge=1)
    residual_blocks: int = Field(default=2, ge=1)
    bins: int = Field(default=10, ge=2, le=MOST_BINS)
    bound: float = Field(default=6.0, gt=0)

    def spline(self) -> SplineSettings:
        """Shape of the splines."""
        return SplineSettings(
            bins=self.bins, bound=self.bound, min_width=LEAST_BIN, min_height=LEAST_BIN, min_derivative=LEAST_BIN
        )


class ManifoldConfig(StrictConfig):
    """How a manifold and the density on it are learned.

    Attributes:
        dimensions: of the manifold, less than the number of observables.
        outer: from observables to coordinates.
        inner: density of the coordinates, given the conditions.
        manifold_training: schedule of the outer flow, by reconstruction error.
        density_training: schedule of the inner flow, by likelihood.
        evenness: weight, beside the squared error of the projection, of how unevenly the coordinates measure lengths
            (`ManifoldModel.unevenness`). The projection alone leaves them free, and a density in rough coordinates
            is hard to learn.
        least_spread: observables are divided by their standard deviation (of the logarithm where one is taken), but not
            by less than this, so that a cell that hardly ever lights up does not outweigh the others.
        validation_fraction: part of the events that chooses the best epoch, and that new events are compared with.
        seed: of weights, split and batches.
    """

    dimensions: int = Field(ge=1)
    outer: OuterConfig = OuterConfig()
    inner: NetworkConfig = NetworkConfig(blocks=4, hidden=(64, 64))
    manifold_training: TrainingConfig = TrainingConfig(epochs=50, batch_size=128, learning_rate=1e-3, schedule="cosine")
    density_training: TrainingConfig = TrainingConfig(epochs=50, batch_size=128, learning_rate=1e-3, schedule="cosine")
    evenness: float = Field(default=0.01, ge=0)
    least_spread: float = Field(default=0.0, ge=0)
    validation_fraction: float = Field(default=0.1, gt=0, lt=1)
    seed: int = Field(default=1, ge=0, lt=2**63)
