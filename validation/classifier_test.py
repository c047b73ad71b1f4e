"""The classifier two-sample test: can a neural network tell generated events from reference events?

Label 1 is the reference, so that w = f / (1 - f) estimates p_reference / p_generated. The presets
`caloflow` (arXiv 2106.05285) and `calochallenge` (arXiv 2410.21611) are the published classifiers; `quick`
is for demonstrations. A weak classifier flatters: sizes, inputs and preset belong beside every AUC.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from hepflows.errors import DataError
from validation.classifier_result import ClassifierResult, auc_error
from validation.presets import ClassifierPreset, preset_named
from validation.splitting import PARTS, split_groups

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Progress = Callable[[int, int], None]


MIN_EVENTS = 50
_SMALL = 256  # networks up to this width train faster on one thread than threads can be woken


def two_sample_test(
    reference: NDArray[np.float32],
    generated: NDArray[np.float32],
    preset: ClassifierPreset | str = "quick",
    *,
    groups: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
    weights: tuple[NDArray[np.float64] | None, NDArray[np.float64] | None] = (None, None),
    mirrors: tuple[NDArray[np.int64], ...] = (),
    standardise: bool | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> ClassifierResult:
    """Train classifiers between two samples and measure AUC and JSD on events they have not seen.

    60 % of the events train, 20 % choose the epoch and calibrate (isotonic regression), 20 % test.

    Args:
        reference: features (N, F), label 1.
        generated: features (M, F), label 0.
        preset: a `ClassifierPreset` or the name of one.
        groups: group number of each event; a group is never divided between parts (see
            `validation.splitting`).
        weights: event weights of the two samples.
        mirrors: column permutations (F,); each training event is mirrored at random by any subset of them.
        standardise: overrides the preset's choice.
        seed: seed of splits, initialisations and batches; training t uses seed + t.
        device: torch device (``cpu``, ``cuda``) or ``auto``.
        progress: called with (epochs done, epochs in all).

    Raises:
        ConfigError: unknown preset.
        DataError: too few events, different numbers of features, NaN.
    """
    preset = preset_named(preset) if isinstance(preset, str) else preset
    if standardise is not None:
        preset = dataclasses.replace(preset, standardise=standardise)
    _check(reference, generated)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    x = torch.from_numpy(np.concatenate([reference, generated]).astype(np.float32)).to(device)
    label = np.concatenate([np.ones(len(reference)), np.zeros(len(generated))])
    weight = np.concatenate([
        np.ones(len(s)) if w is None else np.asarray(w, np.float64)
        for s, w in zip((reference, generated), weights, strict=True)
    ])  # fmt: skip
    if groups is None:
        groups = (np.arange(len(reference)), len(reference) + np.arange(len(generated)))
    runs = []
    threads = torch.get_num_threads()
    if max(preset.hidden) <= _SMALL:
        torch.set_num_threads(1)
    try:
        for training in range(preset.trainings):
            part = np.concatenate(split_groups(groups, seed=seed + training))
            if any(len(np.unique(label[part == p])) < 2 for p in range(len(PARTS))):
                raise DataError("a part of the classifier split holds one class only", remedy="use more events")
            report = None if progress is None else _shifted(progress, training * preset.epochs, preset)
            data = _Data(x=x, label=label, weight=_balanced(label, weight, part), part=part)
            runs.append(_train_once(data, preset, mirrors, seed=seed + training, progress=report))
    finally:
        torch.set_num_threads(threads)
    score, tested = runs[-1].score, runs[-1].label
    per_class = min(len(reference), len(generated))
    return ClassifierResult(
        auc=tuple(r.auc for r in runs),
        auc_raw=tuple(r.auc_raw for r in runs),
        jsd=tuple(r.jsd for r in runs),
        best_epoch=tuple(r.best_epoch for r in runs),
        auc_test_error=auc_error(float(np.mean([r.auc for r in runs])), tested),
        jsd_test_error=float(np.mean([r.jsd_error for r in runs])),
        n_per_class=per_class,
        n_train_per_class=round(PARTS[0] * per_class),
        mirrored=bool(mirrors),
        preset=preset,
        scores=score,
        labels=tested,
    )


@dataclass(frozen=True, kw_only=True)
class _Run:
    auc: float
    auc_raw: float
    jsd: float
    jsd_error: float
    best_epoch: int
    score: NDArray[np.float64]
    label: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class _Data:
    """Both samples together: features, labels, weights, and the part each event belongs to."""

    x: torch.Tensor
    label: NDArray[np.float64]
    weight: NDArray[np.float64]
    part: NDArray[np.int64]


def _train_once(
    data: _Data,
    preset: ClassifierPreset,
    mirrors: tuple[NDArray[np.int64], ...],
    *,
    seed: int,
    progress: Progress | None,
) -> _Run:
    """Train on part 0, keep the best epoch on part 1 and calibrate there, test on part 2."""
    from sklearn.isotonic import IsotonicRegression
    from sklearn.metrics import roc_auc_score

    train, choose, test = (np.flatnonzero(data.part == p) for p in range(len(PARTS)))
    if preset.standardise:
        deviation, mean = torch.std_mean(data.x[train], dim=0)
        scale = torch.where(deviation > 1e-6 * (1 + mean.abs()), deviation, 1.0)
        data = dataclasses.replace(data, x=(data.x - mean) / scale)
    logits, best_epoch = _fit(data, preset, mirrors, seed=seed, progress=progress)
    label, weight = data.label, data.weight
    # never certain: with n calibration events no probability beyond 1/n can be known, and BCE stays finite
    edge = 1.0 / (len(choose) + 2)
    calibrate = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip")
    calibrate.fit(logits[choose], label[choose], sample_weight=weight[choose])
    score = np.asarray(calibrate.predict(logits[test]), np.float64)
    truth = label[test]
    loss = -np.log(np.where(truth == 1, score, 1 - score))
    mean_loss = float(np.average(loss, weights=weight[test]))
    spread = float(np.sqrt(np.sum((weight[test] * (loss - mean_loss)) ** 2)) / weight[test].sum())
    return _Run(
        auc=float(roc_auc_score(truth, score, sample_weight=weight[test])),
        auc_raw=float(roc_auc_score(truth, logits[test], sample_weight=weight[test])),
        jsd=1 - mean_loss / math.log(2),
        jsd_error=spread / math.log(2),
        best_epoch=best_epoch,
        score=score,
        label=truth,
    )


def _fit(
    data: _Data,
    preset: ClassifierPreset,
    mirrors: tuple[NDArray[np.int64], ...],
    *,
    seed: int,
    progress: Progress | None,
) -> tuple[NDArray[np.float64], int]:
    """The training loop; returns logits of all events at the best epoch, and that epoch."""
    x, device = data.x, data.x.device
    y, w = (torch.from_numpy(a.astype(np.float32)).to(device) for a in (data.label, data.weight))
    rows, held = (torch.from_numpy(np.flatnonzero(data.part == p)).to(device) for p in (0, 1))
    flips = [torch.from_numpy(m).to(device) for m in mirrors]
    random = torch.Generator().manual_seed(seed)
    network = _network(x.shape[1], preset, seed).to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=preset.learning_rate)
    best, best_accuracy, best_epoch = network.state_dict(), -1.0, 0
    for epoch in range(1, preset.epochs + 1):
        network.train()
        shuffled = rows[torch.randperm(len(rows), generator=random).to(device)]
        for batch in torch.split(shuffled, preset.batch_size):
            features = x[batch]
            for flip in flips:
                chosen = (torch.rand(len(batch), 1, generator=random) < 0.5).to(device)
                features = torch.where(chosen, features[:, flip], features)
            loss = nn.functional.binary_cross_entropy_with_logits(
                network(features).squeeze(1), y[batch], weight=w[batch]
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        right = ((_logits(network, x[held]) > 0) == (y[held] > 0.5)).float()
        accuracy = float((right * w[held]).sum() / w[held].sum())
        if accuracy > best_accuracy:
            best = {name: tensor.clone() for name, tensor in network.state_dict().items()}
            best_accuracy, best_epoch = accuracy, epoch
        if progress is not None:
            progress(epoch, preset.epochs)
        if best_accuracy >= 1.0:
            break
    network.load_state_dict(best)
    return _logits(network, x).cpu().double().numpy(), best_epoch


def _logits(network: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
    network.eval()
    with torch.no_grad():
        return torch.cat([network(chunk).squeeze(1) for chunk in torch.split(x, 10_000)])


def _network(n_features: int, preset: ClassifierPreset, seed: int) -> nn.Sequential:
    """Multi-layer perceptron with one logit, initialised without touching the global random state."""
    layers: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for width_in, width_out in zip((n_features, *preset.hidden[:-1]), preset.hidden, strict=True):
            layers += [nn.Linear(width_in, width_out), nn.LeakyReLU(preset.negative_slope)]
        layers.append(nn.Linear(preset.hidden[-1], 1))
    return nn.Sequential(*layers)


def _balanced(label: NDArray[np.float64], weight: NDArray[np.float64], part: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weights with which the classes count the same in each part, and an average event counts one."""
    balanced = weight.copy()
    for p in range(len(PARTS)):
        for value in (0.0, 1.0):
            mask = (part == p) & (label == value)
            balanced[mask] *= 0.5 * np.count_nonzero(part == p) / balanced[mask].sum()
    return balanced


def _shifted(progress: Progress, done: int, preset: ClassifierPreset) -> Progress:
    return lambda epoch, _epochs: progress(done + epoch, preset.trainings * preset.epochs)


def _check(reference: NDArray[np.float32], generated: NDArray[np.float32]) -> None:
    for name, sample in (("reference", reference), ("generated", generated)):
        if sample.ndim != 2:
            raise DataError("features must be a matrix", where=name, expected="(N, F)", found=sample.shape)
        if len(sample) < MIN_EVENTS:
            raise DataError(
                "too few events for a classifier test",
                where=name,
                expected=f"at least {MIN_EVENTS}",
                found=len(sample),
                remedy="generate more events or leave the classifier out",
            )
        if not np.isfinite(sample).all():
            raise DataError("classifier inputs are not finite", where=name, remedy="look for NaN in the file")
    if reference.shape[1] != generated.shape[1]:
        raise DataError(
            "different numbers of features",
            where="classifier test",
            expected=reference.shape[1],
            found=generated.shape[1],
        )


__all__ = ["MIN_EVENTS", "ClassifierResult", "auc_error", "two_sample_test"]
