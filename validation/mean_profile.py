"""Mean profiles, such as the energy by depth: maximum, containment and distance, with bootstrap errors.

A profile is the mean content of consecutive intervals, the parts; within a part the density is taken constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from validation.histograms import Resampler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64] | NDArray[np.float32]
    Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class MeanProfile:
    """Mean content of K parts over the events of a sample.

    Attributes:
        mean: (K,).
        error: standard error of each (K,).
        replicas: bootstrap replicas of the mean (R, K).
    """

    mean: Floats
    error: Floats
    replicas: Floats


def mean_profile(values: Values, weights: Values | None = None, *, replicas: int = 0, seed: int = 0) -> MeanProfile:
    """Mean profile of events (N, K) with weights (N,); errors from the scatter of events, not of their counts."""
    w = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
    total = w.sum()
    x = np.asarray(values, np.float64)
    mean = w @ x / total
    error = np.sqrt((w**2) @ (x - mean) ** 2) / total
    drawn = np.empty((0, len(mean)))
    if replicas:
        sampler = Resampler(len(x), replicas=replicas, seed=seed)
        sums = np.zeros((sampler.n_blocks, x.shape[1] + 1))
        np.add.at(sums, sampler.blocks, np.column_stack([w[:, None] * x, w]))
        blocks = sampler.draws @ sums
        drawn = blocks[:, :-1] / blocks[:, -1:]
    return MeanProfile(mean=mean, error=error, replicas=drawn)


def profile_maximum(edges: Floats, content: Floats) -> Floats:
    """Where the density is largest: vertex of the parabola through the highest part and its neighbours.

    Args:
        edges: (K + 1,).
        content: (..., K).

    Returns:
        (...,), within the three parts; the middle of the part if it is the first or the last one.
    """
    centres, density = 0.5 * (edges[1:] + edges[:-1]), content / np.diff(edges)
    top = density.argmax(-1)
    found = centres[top]
    inner = (top > 0) & (top < len(centres) - 1)
    if not np.any(inner):
        return np.asarray(found)
    middle = np.where(inner, top, 1)
    (x0, y0), (x1, y1), (x2, y2) = (
        (centres[k], np.take_along_axis(density, k[..., None], -1)[..., 0]) for k in (middle - 1, middle, middle + 1)
    )
    left, right = (y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1)
    curvature = (right - left) / (x2 - x0)
    # the derivative of Newton's form y0 + left (x - x0) + curvature (x - x0)(x - x1) vanishes at the vertex
    flat = curvature >= 0
    vertex = 0.5 * (x0 + x1) - left / (2 * np.where(flat, -1.0, curvature))
    return np.asarray(np.where(inner & ~flat, np.clip(vertex, x0, x2), found))


def containment(edges: Floats, content: Floats, share: float = 0.9) -> Floats:
    """Position below which `share` of the content (..., K) lies, (...,); NaN where there is none."""
    heights = np.cumsum(content, axis=-1)
    total = heights[..., -1:]
    wanted = share * total
    part = (heights < wanted).sum(-1, keepdims=True).clip(max=content.shape[-1] - 1)
    inside = np.take_along_axis(content, part, -1)
    below = np.take_along_axis(heights, part, -1) - inside
    fraction = np.divide(wanted - below, inside, out=np.full(inside.shape, np.nan), where=(inside > 0) & (total > 0))
    return np.asarray((edges[part] + fraction * np.diff(edges)[part])[..., 0])


def profile_distance(edges: Floats, first: Floats, second: Floats) -> Floats:
    """Wasserstein-1 distance (...,) between two profiles (..., K), each normalised to one, exact.

    The distribution functions are straight within a part, so the integral of their difference is known, even where
    they cross. NaN where a profile is empty.
    """
    cumulative = []
    for content in (first, second):
        total = content.sum(-1, keepdims=True)
        heights = np.cumsum(content, axis=-1) / np.where(total > 0, total, np.nan)
        cumulative.append(np.concatenate([np.zeros_like(total), heights], axis=-1))
    difference = cumulative[0] - cumulative[1]
    left, right = difference[..., :-1], difference[..., 1:]
    size = np.abs(left) + np.abs(right)
    crossing = left * right < 0
    area = np.where(crossing, (left**2 + right**2) / (2 * np.where(size > 0, size, 1.0)), 0.5 * size)
    return np.asarray((area * np.diff(edges)).sum(-1))
