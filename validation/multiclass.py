"""Which of several generators is closest to the reference? One classifier that knows them all.

Pairs of two-class tests with AUC near 1 cannot rank generators. A classifier trained on the generated samples of all
of them, asked about *reference* events, can: the generator that it most often takes for the author of a reference
event is the closest one (arXiv 2211.11765; used in arXiv 2410.21611). Here the second half of the
reference is one more class, so that the same numbers say what a perfect generator would reach.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from hepflows.classifier_presets import preset_named
from hepflows.classifier_training import Data, balanced_weights, fit
from hepflows.errors import DataError
from hepflows.splitting import PARTS, split_groups
from validation.classifier_result import over_trainings
from validation.measure import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hepflows.classifier_presets import ClassifierPreset

    Floats = NDArray[np.float64]
    Features = NDArray[np.float32]


def log_posteriors(
    reference: Features,
    samples: Sequence[Features],
    preset: ClassifierPreset | str = "quick",
    *,
    groups: Sequence[NDArray[np.int64]] | None = None,
    weights: Sequence[Floats | None] | None = None,
    mirrors: tuple[NDArray[np.int64], ...] = (),
    trainings: int = 2,
    seed: int = 0,
    device: str = "cpu",
) -> tuple[Estimate, ...]:
    """Mean ln p(sample k | x) over reference events x, for each of K samples; all priors are equal.

    60 % of each sample train, 20 % choose the epoch (least cross entropy) and fit a temperature (arXiv 1706.04599,
    eq. 9) that makes the posteriors probabilities; the reference events are in none of the samples. Samples that are
    alike get -ln K. Trainings differ by more than the statistics of the reference events: take two or more.

    Args:
        reference: features (N, F) of events in none of the samples.
        samples: features (M_k, F) of each sample.
        preset: architecture and training.
        groups: group number of each event of each sample; a group is never divided between parts.
        weights: event weights of the reference and of each sample (K + 1 arrays).
        mirrors: column permutations under which the physics is invariant, as in `two_sample_test`.
        trainings: independent trainings.
        seed: seed of splits and initialisations; training t uses seed + t.
        device: torch device.

    Raises:
        DataError: fewer than two samples, or an empty one.
    """
    preset = preset_named(preset) if isinstance(preset, str) else preset
    if len(samples) < 2 or min(len(s) for s in (reference, *samples)) == 0:
        raise DataError("a classifier of many classes needs two samples with events", found=[len(s) for s in samples])
    everything = (reference, *samples)
    weights = (None,) * len(everything) if weights is None else weights
    if groups is None:
        borders = np.cumsum([0, *(len(s) for s in samples)])
        groups = [start + np.arange(len(s)) for start, s in zip(borders, samples, strict=False)]
    n = len(reference)
    data = Data(
        x=torch.from_numpy(np.concatenate(everything).astype(np.float32)).to(device),
        label=np.concatenate([np.full(len(s), max(0, k - 1), np.float64) for k, s in enumerate(everything)]),
        weight=np.concatenate([
            np.ones(len(s)) if w is None else np.asarray(w, np.float64)
            for s, w in zip(everything, weights, strict=True)
        ]),
        part=np.full(sum(len(s) for s in everything), -1),
        classes=len(samples),
    )  # fmt: skip
    means, errors = [], []
    for training in range(trainings):
        part = np.concatenate([np.full(n, -1), *split_groups(tuple(groups), seed=seed + training)])
        if any(len(np.unique(data.label[part == p])) < len(samples) for p in range(len(PARTS))):
            raise DataError("a part of the classifier split lacks a sample", remedy="use more events")
        logs = _log_posteriors(dataclasses.replace(data, part=part), preset, mirrors, seed=seed + training)[:n]
        w = data.weight[:n] / data.weight[:n].sum()
        means.append(w @ logs)
        errors.append(np.sqrt(w**2 @ (logs - means[-1]) ** 2))
    found = []
    for values, statistical in zip(np.array(means).T, np.mean(errors, axis=0), strict=True):
        value, error, _ = over_trainings(values, float(statistical))
        found.append(Estimate(value=value, error=error))
    return tuple(found)


def _log_posteriors(
    data: Data, preset: ClassifierPreset, mirrors: tuple[NDArray[np.int64], ...], *, seed: int
) -> Floats:
    """Calibrated ln p(k | x) of all events (N, K)."""
    from scipy.optimize import minimize_scalar

    data = dataclasses.replace(data, weight=balanced_weights(data.label, data.weight, data.part))
    logits, _ = fit(data.standardised() if preset.standardise else data, preset, mirrors, seed=seed, by_loss=True)
    if data.classes == 2:
        logits = np.stack([np.zeros(len(logits)), logits], axis=1)
    held = np.flatnonzero(data.part == 1)
    truth, weight = data.label[held].astype(np.int64), data.weight[held]

    def cross_entropy(log_temperature: float) -> float:
        logs = _log_softmax(logits[held] * math.exp(-log_temperature))
        return -float(np.average(logs[np.arange(len(held)), truth], weights=weight))

    best = minimize_scalar(cross_entropy, bounds=(-3.0, 6.0), method="bounded")
    return _log_softmax(logits * math.exp(-float(best.x)))


def _log_softmax(logits: Floats) -> Floats:
    from scipy.special import log_softmax

    return np.asarray(log_softmax(logits, axis=1), np.float64)
