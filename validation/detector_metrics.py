"""Metrics of a detector: response and resolution, profiles, correlations of layers, against the reference.

Ratios and differences of two fitted numbers state both in their details, with errors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from validation.layer_matrix import correlation_difference
from validation.mean_profile import MeanProfile, containment, mean_profile, profile_distance, profile_maximum
from validation.measure import Estimate, ratio
from validation.response import Curve, fit_linearity, fit_resolution, response_curve, response_edges
from validation.sample_metrics import Judgement

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from hepflows.observable import Profile, Response
    from validation.metric import JsonValue

    Floats = NDArray[np.float64]
    Index = NDArray[np.int64]
    Judged = dict[str, tuple[Estimate, Judgement]]

RANGES = 3
"""Ranges of the true energy in which layers are correlated."""
_PER_RANGE = 100  # with fewer events a range, all energies make one


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Some events of a sample, by position, with their weights."""

    response: Response
    index: Index
    weights: Floats | None

    @property
    def truth(self) -> Floats:
        """True energies."""
        return self.response.truth[self.index]

    def curve(self, edges: Floats) -> Curve:
        """Response and resolution in bins."""
        return response_curve(self.truth, self.response.signal[self.index], edges, self.weights)


def detector_metrics(reference: Chosen, generated: Chosen, *, replicas: int, seed: int) -> Judged:
    """All metrics of this module by name, each with the way in which it is judged.

    Args:
        reference: the events whose energies define the bins.
        generated: the events that are compared with them.
        replicas: bootstrap replicas for profiles and correlations.
        seed: of the bootstrap.
    """
    edges = response_edges(reference.truth)
    curves = reference.curve(edges), generated.curve(edges)
    found = {**_fits(*curves, unit=reference.response.unit), **_bins(*curves)}
    for k, (r, g) in enumerate(zip(reference.response.profiles, generated.response.profiles, strict=True)):
        means = (
            mean_profile(r.values[reference.index], reference.weights, replicas=replicas, seed=seed),
            mean_profile(g.values[generated.index], generated.weights, replicas=replicas, seed=seed + 1),
        )
        found |= _profile(r, *means, with_maximum=k == 0)
    if reference.response.profiles[0].values.shape[1] > 1:
        found |= _correlations(reference, generated, replicas=replicas, seed=seed)
    return found


def energy_ranges(truth: Floats) -> Floats:
    """Edges of three ranges of equal content, of one range if there are few events or one energy."""
    count = RANGES if len(truth) >= RANGES * _PER_RANGE else 1
    edges = np.unique(np.quantile(truth, np.linspace(0, 1, count + 1)))
    if len(edges) < 2:
        edges = np.array([edges[0] * (1 - 1e-6), edges[0]])
    edges[-1] *= 1 + 1e-6  # the largest energy belongs to the last range
    return edges


def layers_over_truth(chosen: Chosen) -> Floats:
    """Layer signals over the true energy (N, L): what is correlated is not the energy itself."""
    return np.asarray(chosen.response.profiles[0].values[chosen.index] / chosen.truth[:, None])


def _fits(reference: Curve, generated: Curve, *, unit: str) -> Judged:
    """``response_slope``, ``response_offset``, ``resolution_sampling``, ``resolution_constant``."""
    found: Judged = {}
    root = f"sqrt({unit})" if unit else ""
    for fit, names, meaning in (
        (
            fit_linearity,
            (("response_slope", "ratio", ""), ("response_offset", "difference", unit)),
            "Straight line through the mean signal against the true energy in bins",
        ),
        (
            fit_resolution,
            (("resolution_sampling", "ratio", root), ("resolution_constant", "difference", "")),
            "Fit of the resolution, a / sqrt(E) and b added in quadrature",
        ),
    ):
        r, g = fit(reference), fit(generated)
        for k, (name, how, of) in enumerate(names):
            pairs = (g.values[k], g.errors[k]), (r.values[k], r.errors[k])
            details: dict[str, JsonValue] = {"unit": of, **_both(*pairs)}
            found[name] = _compared(how, *pairs, details, meaning)
    return found


def _bins(reference: Curve, generated: Curve) -> Judged:
    """``response_bin_<k>`` and ``resolution_bin_<k>``: ratios in the bins of the true energy."""
    found: Judged = {}
    for k, (low, high) in enumerate(pairwise(reference.edges)):
        for name in ("response", "resolution"):
            pairs = [(getattr(c, name)[k], getattr(c, f"{name}_error")[k]) for c in (generated, reference)]
            g, r = ((float(value), float(error)) for value, error in pairs)
            details: dict[str, JsonValue] = {"low": round(float(low), 6), "high": round(float(high), 6)}
            meaning = f"{name} in a bin of the true energy"
            found[f"{name}_bin_{k}"] = _compared("ratio", g, r, details, meaning, chief=False)
    return found


def _profile(profile: Profile, reference: MeanProfile, generated: MeanProfile, *, with_maximum: bool) -> Judged:
    """``<profile>_w1``, ``<profile>_contained_90``, ``<profile>_maximum``."""
    edges, name = profile.edges, profile.name
    unit: dict[str, JsonValue] = {"unit": profile.unit}
    distance = Estimate(
        value=float(profile_distance(edges, generated.mean, reference.mean)),
        error=_spread(profile_distance(edges, generated.replicas, reference.replicas)),
        details=unit,
    )
    meaning = f"Wasserstein-1 distance of the mean {name} profiles, normalised"
    found: Judged = {f"{name}_w1": (distance, Judgement(target=0.0, rising=False, meaning=meaning, chief=False))}
    places: dict[str, tuple[Callable[[Floats, Floats], Floats], str]] = {
        "contained_90": (containment, "where 90 % of the mean profile are contained")
    }
    if with_maximum:
        places["maximum"] = profile_maximum, "maximum of the mean profile"
    for which, (place, text) in places.items():
        r, g = ((float(place(edges, p.mean)), _spread(place(edges, p.replicas))) for p in (reference, generated))
        found[f"{name}_{which}"] = _compared(
            "difference", g, r, {**unit, **_both(g, r)}, f"{name}: {text}", chief=False
        )
    return found


def _correlations(reference: Chosen, generated: Chosen, *, replicas: int, seed: int) -> Judged:
    """``layer_correlations_bin_<k>`` in ranges of the true energy and ``layer_correlations``, their quadratic mean."""
    meaning = "Root mean square difference of the linear correlations of all pairs of layers, signals over true energy"
    judgement = Judgement(target=0.0, rising=False, meaning=meaning, chief=False)
    found: Judged = {}
    for k, (low, high) in enumerate(pairwise(energy_ranges(reference.truth))):
        samples = []
        for chosen in (reference, generated):
            inside = (chosen.truth >= low) & (chosen.truth < high)
            samples.append(
                (layers_over_truth(chosen)[inside], None if chosen.weights is None else chosen.weights[inside])
            )
        value, error = correlation_difference(samples[0], samples[1], replicas=replicas, seed=seed)
        details: dict[str, JsonValue] = {"low": round(float(low), 6), "high": round(float(high), 6)}
        found[f"layer_correlations_bin_{k}"] = Estimate(value=value, error=error, details=details), judgement
    numbers = np.array([(e.value, e.error) for e, _ in found.values()])
    whole = math.sqrt(float((numbers[:, 0] ** 2).mean()))
    error = math.sqrt(float((numbers.prod(1) ** 2).sum())) / (len(numbers) * whole) if whole else 0.0
    found["layer_correlations"] = (
        Estimate(value=whole, error=error),
        Judgement(target=0.0, rising=False, meaning=f"{meaning}, over all ranges of the true energy"),
    )
    return found


def _both(generated: tuple[float, float], reference: tuple[float, float]) -> dict[str, JsonValue]:
    """The two numbers and their errors, as details; JSON has no NaN."""
    facts = zip(("sample", "sample_error", "reference", "reference_error"), (*generated, *reference), strict=True)
    return {key: float(number) if math.isfinite(number) else None for key, number in facts}


def _compared(
    how: str,
    generated: tuple[float, float],
    reference: tuple[float, float],
    details: dict[str, JsonValue],
    meaning: str,
    *,
    chief: bool = True,
) -> tuple[Estimate, Judgement]:
    """Ratio or difference of two independent numbers with errors."""
    if how == "ratio":
        quotient = ratio(generated[0], reference[0], generated[1], reference[1])
        value, error, target, text = quotient.value, quotient.error, 1.0, "divided by the reference's"
    else:
        value, error = generated[0] - reference[0], math.hypot(generated[1], reference[1])
        target, text = 0.0, "minus the reference's"
    estimate = Estimate(value=value, error=error, details=details)
    return estimate, Judgement(target=target, rising=False, meaning=f"{meaning}, {text}", two_sided=True, chief=chief)


def _spread(replicas: Floats) -> float:
    defined = replicas[np.isfinite(replicas)]
    return float(defined.std(ddof=1)) if defined.size > 1 else math.nan
