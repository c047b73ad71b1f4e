"""Noise for sets of exchangeable points: each point of the data gets the noise that suits it best.

A flow matching field learns paths from noise to data. Where points may be permuted, noise and data can be paired such
that the summed squared length of a set's paths is least (an assignment problem): the paths cross less, so that the
field is easier to learn and needs fewer steps (Klein, Kraemer and Noe, "Equivariant flow matching", arXiv:2306.15030).
A set of independent normal points is the same whatever their order, so nothing that an equivariant field sees of the
noise alone has changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor


@torch.no_grad()
def paired_noise(noise: Tensor, points: Tensor, n_filled: Tensor) -> Tensor:
    """Permute the noise of each set so that the summed squared distance to the points is least.

    The assignments are found by scipy on the CPU, about 20 microseconds a set of 30 points.

    Args:
        noise: shape (N, P, F).
        points: likewise.
        n_filled: number of points of each set, shape (N,); they stand in front, and the noise behind them stays.

    Returns:
        The noise in its new order, shape (N, P, F).
    """
    from scipy.optimize import linear_sum_assignment

    # |a - b|^2 but for terms that do not depend on the pairing
    cost = -(points @ noise.transpose(1, 2)).double().cpu().numpy()
    order = np.tile(np.arange(noise.shape[1]), (len(noise), 1))
    for row, n in enumerate(n_filled.tolist()):
        order[row, :n] = linear_sum_assignment(cost[row, :n, :n])[1]
    index = torch.from_numpy(order).to(noise.device).unsqueeze(2).expand_as(noise)
    return noise.gather(1, index)
