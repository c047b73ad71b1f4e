"""From weighted to unweighted events by rejection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hepflows.errors import DataError
from hepflows.philox import uniform_noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STREAM = 0x55  # apart from the streams of noise and conditions


@dataclass(frozen=True, kw_only=True)
class Unweighted:
    """Which events are kept.

    Attributes:
        kept: positions of the kept events, rising.
        efficiency: their share.
        bound: weight that is kept for certain.
        above: share of events with a larger weight: they are kept once and so count too little.
    """

    kept: NDArray[np.int64]
    efficiency: float
    bound: float
    above: float


def unweight(
    weights: NDArray[np.floating], *, seed: int, first_event: int = 0, bound: float | None = None
) -> Unweighted:
    """Keep event i with probability w_i / bound; the kept events follow the weighted distribution.

    Whether an event is kept follows from seed and index, as the event itself does, so that shards agree.

    Args:
        weights: event weights (N,), not negative.
        seed: of the counter-based random numbers.
        first_event: index of the first event.
        bound: the largest weight, if not of these events then of all that belong to the sample; a smaller bound keeps
            more events and clips the weights above it.

    Raises:
        DataError: negative weights, none positive, or a bound that is not positive.
    """
    w = np.asarray(weights, np.float64)
    if w.ndim != 1 or not np.isfinite(w).all() or (w < 0).any() or not (w > 0).any():
        raise DataError(
            "weights cannot be undone by rejection",
            expected="(N,) finite weights, none negative and one positive at least",
            found=f"shape {w.shape}, smallest {w.min() if w.size else 'none'}",
        )
    limit = float(w.max()) if bound is None else bound
    if not limit > 0:
        raise DataError("the bound of a rejection must be positive", where="bound", found=bound)
    uniform = uniform_noise(seed, first_event, len(w), 1, stream=_STREAM)[:, 0]
    kept = np.flatnonzero(uniform * limit < w)
    return Unweighted(kept=kept, efficiency=len(kept) / len(w), bound=limit, above=float(np.mean(w > limit)))
