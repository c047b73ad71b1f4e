"""A flow of masked autoregressive spline blocks, from a few settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from hepflows.autoregressive import MaskedAutoregressive
from hepflows.config import HiddenUnits, StrictConfig
from hepflows.flow import ConditionalFlow
from hepflows.permutations import Permutation, reverse
from hepflows.splines import SplineSettings

if TYPE_CHECKING:
    from torch import nn

LEAST_BIN = 1e-3
"""Least width, height and derivative of splines that are inverted with gradients in float32."""
MOST_BINS = 500
"""Half of what bins of the least width would fill."""


class NetworkConfig(StrictConfig):
    """A masked autoregressive spline flow.

    Attributes:
        blocks: masked networks, with the order of the features reversed between them.
        hidden: widths of the hidden layers of each.
        bins: bins of the splines.
        bound: the splines act on [-bound, bound], in standard deviations; outside they are the identity.
    """

    blocks: int = Field(default=4, ge=1)
    hidden: HiddenUnits = (128, 128)
    bins: int = Field(default=8, ge=2, le=MOST_BINS)
    bound: float = Field(default=5.0, gt=0)

    def spline(self) -> SplineSettings:
        """Shape of the splines."""
        return SplineSettings(
            bins=self.bins, bound=self.bound, min_width=LEAST_BIN, min_height=LEAST_BIN, min_derivative=LEAST_BIN
        )


def autoregressive_flow(features: int, contexts: int, network: NetworkConfig) -> ConditionalFlow:
    """Masked autoregressive blocks with reversed order between them, features in their own order at both ends.

    Args:
        features: number of features D.
        contexts: number of context inputs C, 0 for none.
        network: sizes.
    """
    transforms: list[nn.Module] = []
    for block in range(network.blocks):
        if block and features > 1:
            transforms.append(Permutation(reverse(features)))
        transforms.append(MaskedAutoregressive(features, contexts, network.hidden, network.spline()))
    if features > 1 and network.blocks % 2 == 0:
        transforms.append(Permutation(reverse(features)))
    return ConditionalFlow(transforms)
