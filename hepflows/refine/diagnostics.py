"""Do Markov chains mix? Split R-hat and the effective number of draws.

Vehtari et al., "Rank-normalization, folding, and localization: an improved R-hat", arXiv 1903.08008, sections 2 and 3
(without the rank normalisation: latents have tails like those of a normal distribution).
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np

from hepflows.errors import RefinementError, RefinementWarning

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def split_r_hat(draws: NDArray[np.floating]) -> Floats:
    """Potential scale reduction of each coordinate, every chain split into halves; 1 if they agree, else larger.

    Args:
        draws: shape (T, C, D): T draws of C chains, four draws at least.

    Returns:
        Shape (D,); infinite where no chain has moved.
    """
    halves = _halves(draws)
    n = len(halves)
    within = halves.var(axis=0, ddof=1).mean(axis=0)
    between = n * halves.mean(axis=0).var(axis=0, ddof=1)
    pooled = (n - 1) / n * within + between / n
    # a variance of mere rounding is that of a chain that has not moved
    ratio = np.divide(pooled, within, out=np.full_like(pooled, np.inf), where=within > 1e-12 * pooled)
    return np.asarray(np.sqrt(ratio), np.float64)


def effective_draws(draws: NDArray[np.floating]) -> Floats:
    """Number of independent draws that would know each coordinate's mean as well, shape (D,).

    Autocorrelations are summed up to where their pairs turn negative, pairs made falling (Geyer, Statistical Science 7
    (1992) 473).

    Args:
        draws: shape (T, C, D), four draws at least.
    """
    halves = _halves(draws)
    n, chains, _ = halves.shape
    centred = halves - halves.mean(axis=0)
    size = 2 ** math.ceil(math.log2(2 * n))
    spectrum = np.fft.rfft(centred, size, axis=0)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2, size, axis=0)[:n] / n
    within = covariance[0].mean(axis=0) * n / (n - 1)
    pooled = (n - 1) / n * within + halves.mean(axis=0).var(axis=0, ddof=1)
    moved = pooled > 0
    rho = 1 - (within - covariance.mean(axis=1) * n / (n - 1)) / np.where(moved, pooled, 1.0)
    rho[0] = 1.0
    pairs = rho[: n // 2 * 2].reshape(n // 2, 2, -1).sum(axis=1)
    positive = np.cumprod(pairs > 0, axis=0)
    falling = np.minimum.accumulate(np.where(positive, pairs, 0.0), axis=0)
    time = np.maximum(-1 + 2 * falling.sum(axis=0), 1 / math.log10(max(10, n * chains)))
    return np.asarray(np.where(moved, n * chains / time, 0.0), np.float64)


def judge_chains(
    r_hat: Floats,
    effective: Floats,
    acceptance: float,
    *,
    warn_r_hat: float,
    largest_r_hat: float,
    least_ess: float,
) -> None:
    """Warn of chains that mix badly, refuse those that do not.

    Raises:
        RefinementError: R-hat above `largest_r_hat`, or fewer than `least_ess` effective draws.
    """
    worst, fewest = float(r_hat.max()), float(effective.min())
    words = f"largest R-hat {worst:.3g}, {fewest:.3g} effective draws at least, acceptance {acceptance:.2f}"
    if not (worst <= largest_r_hat and fewest >= least_ess):
        raise RefinementError(
            "the chains do not mix",
            where="hmc",
            expected=f"R-hat up to {largest_r_hat:g} and {least_ess:g} effective draws of every coordinate",
            found=words,
            remedy="set hmc.adapt=true, or raise hmc.draws, hmc.burn_in or hmc.leapfrog; lower hmc.step if few moves "
            "are accepted",
        )
    if worst > warn_r_hat:
        warnings.warn(f"the chains mix slowly: {words}", RefinementWarning, stacklevel=3)


def _halves(draws: NDArray[np.floating]) -> Floats:
    n = len(draws) // 2
    return np.concatenate([draws[:n], draws[len(draws) - n :]], axis=1).astype(np.float64)
