"""What the pictures of a detector's response show, from all events of all samples."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from validation.detector_metrics import Chosen, energy_ranges, layers_over_truth
from validation.layer_matrix import correlation_matrix
from validation.mean_profile import MeanProfile, mean_profile
from validation.response import Curve, Fit, fit_linearity, fit_resolution, response_edges

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from hepflows.observable import Response

    Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RangeView:
    """Profiles and correlations of layers in one range of the true energy.

    Attributes:
        title: the range.
        profiles: per profile and sample, the mean content of its parts.
        correlations: per sample, the matrix of the layers (L, L).
    """

    title: str
    profiles: tuple[Mapping[str, MeanProfile], ...]
    correlations: Mapping[str, Floats]


@dataclass(frozen=True, kw_only=True)
class DetectorView:
    """Response of all samples, the reference first.

    Attributes:
        truth_label: label of the true energy with its unit.
        ratio_label: label of the measured over the true energy.
        unit: unit of the energies.
        curves: per sample, response and resolution in bins.
        linearity: per sample, slope and offset.
        resolution: per sample, sampling and constant term.
        edges: per profile, the edges of its parts.
        labels: per profile, the labels of direction and density.
        ranges: ranges of the true energy.
    """

    truth_label: str
    ratio_label: str
    unit: str
    curves: Mapping[str, Curve]
    linearity: Mapping[str, Fit]
    resolution: Mapping[str, Fit]
    edges: tuple[Floats, ...]
    labels: tuple[tuple[str, str], ...]
    ranges: tuple[RangeView, ...]


def detector_view(responses: Mapping[str, Response], weights: Mapping[str, Floats | None]) -> DetectorView | None:
    """The view of these samples, the reference first; None if there are none."""
    if not responses:
        return None
    first = next(iter(responses.values()))
    edges = response_edges(first.truth)
    chosen = {
        name: Chosen(response=response, index=np.arange(len(response.truth)), weights=weights[name])
        for name, response in responses.items()
    }
    curves = {name: sample.curve(edges) for name, sample in chosen.items()}
    unit = f" [{first.unit}]" if first.unit else ""
    return DetectorView(
        truth_label=first.truth_label + unit,
        ratio_label=f"{first.signal_label} / {first.truth_label}",
        unit=first.unit,
        curves=curves,
        linearity={name: fit_linearity(curve) for name, curve in curves.items()},
        resolution={name: fit_resolution(curve) for name, curve in curves.items()},
        edges=tuple(profile.edges for profile in first.profiles),
        labels=tuple((profile.label, profile.value_label) for profile in first.profiles),
        ranges=tuple(_range(chosen, low, high, first.unit) for low, high in pairwise(energy_ranges(first.truth))),
    )


def _range(chosen: Mapping[str, Chosen], low: float, high: float, unit: str) -> RangeView:
    """Profiles and correlations of the events in one range; samples without two events in it are left out."""
    profiles: tuple[dict[str, MeanProfile], ...] = tuple({} for _ in next(iter(chosen.values())).response.profiles)
    correlations = {}
    for name, sample in chosen.items():
        inside = (sample.truth >= low) & (sample.truth < high)
        weights = None if sample.weights is None else sample.weights[inside]
        if np.count_nonzero(inside) < 2 or (weights is not None and weights.sum() <= 0):
            continue
        for means, profile in zip(profiles, sample.response.profiles, strict=True):
            means[name] = mean_profile(profile.values[inside], weights)
        correlations[name] = correlation_matrix(layers_over_truth(sample)[inside], weights)
    title = f"{low:.3g} ... {high:.3g} {unit}".strip()
    return RangeView(title=title, profiles=profiles, correlations=correlations)
