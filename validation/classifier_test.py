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

from hepflows.calibration import calibrate
from hepflows.classifier_presets import ClassifierPreset, preset_named
from hepflows.classifier_training import Data, balanced_weights, fit
from hepflows.errors import ConfigError, DataError
from hepflows.splitting import PARTS, fold_parts, split_groups, thin_training
from validation.classifier_result import ClassifierResult, HeldOut, auc_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hepflows.classifier_training import Progress


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
    folds: int | None = None,
    train_share: float = 1.0,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> ClassifierResult:
    """Train classifiers between two samples and measure AUC and JSD on events they have not seen.

    60 % of the events train, 20 % choose the epoch and calibrate (isotonic regression), 20 % test. With k folds
    every event is tested once: fold t tests, the next one calibrates, the others train, for t = 1 ... k.

    Args:
        reference: features (N, F), label 1.
        generated: features (M, F), label 0.
        preset: a `ClassifierPreset` or the name of one.
        groups: group number of each event; a group is never divided between parts (see
            `hepflows.splitting`).
        weights: event weights of the two samples.
        mirrors: column permutations (F,); each training event is mirrored at random by any subset of them.
        standardise: overrides the preset's choice.
        folds: k of a k-fold test, at least 3, instead of the preset's number of independent splits.
        train_share: share of the training part that trains; the parts that calibrate and test stay whole.
        seed: seed of splits, initialisations and batches; training t uses seed + t.
        device: torch device (``cpu``, ``cuda``) or ``auto``.
        progress: called with (epochs done, epochs in all).

    Raises:
        ConfigError: unknown preset, fewer than 3 folds, or a share outside (0, 1].
        DataError: too few events, different numbers of features, NaN.
    """
    preset = preset_named(preset) if isinstance(preset, str) else preset
    if standardise is not None:
        preset = dataclasses.replace(preset, standardise=standardise)
    if folds is not None:
        preset = dataclasses.replace(preset, trainings=folds)
    _check_split(folds, train_share)
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
            part = _parts(groups, training, folds=folds, share=train_share, seed=seed)
            if any(len(np.unique(label[part == p])) < 2 for p in range(len(PARTS))):
                raise DataError("a part of the classifier split holds one class only", remedy="use more events")
            report = None if progress is None else _shifted(progress, training * preset.epochs, preset)
            data = Data(x=x, label=label, weight=balanced_weights(label, weight, part), part=part)
            runs.append(_train_once(data, preset, mirrors, seed=seed + training, progress=report))
    finally:
        torch.set_num_threads(threads)
    per_class = min(len(reference), len(generated))
    independent = 1 if folds is None else folds  # repeated splits share their events, folds do not
    tested = [
        np.concatenate([getattr(r.held_out, what) for r in runs[-independent:]]) for what in ("labels", "weights")
    ]
    share = PARTS[0] if folds is None else (folds - 2) / folds
    return ClassifierResult(
        auc=tuple(r.auc for r in runs),
        auc_raw=tuple(r.auc_raw for r in runs),
        jsd=tuple(r.jsd for r in runs),
        best_epoch=tuple(r.best_epoch for r in runs),
        auc_test_error=auc_error(float(np.mean([r.auc for r in runs])), *tested),
        jsd_test_error=float(np.mean([r.jsd_error for r in runs])) / math.sqrt(independent),
        n_per_class=per_class,
        n_train_per_class=round(share * train_share * per_class),
        mirrored=bool(mirrors),
        preset=preset,
        folds=folds,
        tests=tuple(r.held_out for r in runs),
    )


@dataclass(frozen=True, kw_only=True)
class _Run:
    auc: float
    auc_raw: float
    jsd: float
    jsd_error: float
    best_epoch: int
    held_out: HeldOut


def _train_once(
    data: Data,
    preset: ClassifierPreset,
    mirrors: tuple[NDArray[np.int64], ...],
    *,
    seed: int,
    progress: Progress | None,
) -> _Run:
    """Train on part 0, keep the best epoch on part 1 and calibrate there, test on part 2."""
    from sklearn.metrics import roc_auc_score

    choose, test = (np.flatnonzero(data.part == p) for p in (1, 2))
    if preset.standardise:
        data = data.standardised()
    logits, best_epoch = fit(data, preset, mirrors, seed=seed, progress=progress)
    label, weight = data.label, data.weight
    calibration = calibrate(logits[choose], label[choose], weight[choose], kind="isotonic")
    score = calibration(logits[test])
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
        held_out=HeldOut(scores=score, labels=truth, weights=weight[test], events=test),
    )


def _parts(
    groups: tuple[NDArray[np.int64], NDArray[np.int64]], training: int, *, folds: int | None, share: float, seed: int
) -> NDArray[np.int64]:
    """Part number of every event of both samples in this training."""
    if folds is None:
        dealt = split_groups(groups, seed=seed + training)
    else:
        dealt = fold_parts(groups, folds=folds, test=training, seed=seed)
    return thin_training(np.concatenate(dealt), np.concatenate(groups), share=share, seed=seed + training)


def _check_split(folds: int | None, share: float) -> None:
    if folds is not None and folds < 3:
        raise ConfigError(
            "too few folds for training, calibration and test", where="folds", expected="3 or more", found=folds
        )
    if not 0 < share <= 1:
        raise ConfigError(
            "not a share of the training part", where="train_share", expected="above 0, at most 1", found=share
        )


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
