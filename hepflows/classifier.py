"""A calibrated classifier as a ratio of densities: w = f / (1 - f) = p_reference / p_generated.

Cranmer, Pavez and Louppe, arXiv 1506.02169: of a classifier f between two samples that count the same, f / (1 - f) is
the ratio of their densities, however f was found, if f is calibrated on events it has not seen. The same engine
serves reweighting (DCTR, arXiv 1907.08209), refinement in latent space (arXiv 2106.00792), inference and the classifier
test of the validation. Label 1 is the reference; the ratio of inference, r(theta_0 / theta_1) = (1 - s) / s, is 1 / w.

Weights above W, the setting `max_weight`, are set to W; how many were is part of the result. Small weights stay: what
the reference does not have may vanish. Weights are normalised so that held-out generated events have the mean 1.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from pydantic import Field
from torch import nn

from hepflows.calibration import CalibrationKind, calibrate
from hepflows.classifier_presets import ClassifierPreset
from hepflows.classifier_training import Data, balanced_weights, logits_of, train
from hepflows.config import HiddenUnits, StrictConfig
from hepflows.density_ratio import DensityRatio
from hepflows.errors import DataError, RefinementError, RefinementWarning
from hepflows.splitting import PARTS, split_groups
from hepflows.weights import effective_sample_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hepflows.classifier_training import Progress

    Features = NDArray[np.float32]
    Floats = NDArray[np.float64]
    Groups = tuple[NDArray[np.int64], NDArray[np.int64]]

MIN_EVENTS: Final = 100
_LEAST_EVENTS: Final = 3  # effective ones of the test part: a share of few events says little
_WORST_LOSS: Final = 10.0  # cross entropy in nats, log 2 is that of a classifier that knows nothing


class ClassifierConfig(StrictConfig):
    """The classifier whose scores become weights.

    Attributes:
        hidden: units of the hidden layers.
        learning_rate: of Adam, falling to zero over the epochs.
        batch_size: events a step, both classes together.
        epochs: passes over the training part; the epoch with the least cross entropy on held-out events is kept.
        calibration: `isotonic`, `histogram` or `affine`, see `hepflows.calibration`.
        max_weight: larger weights are clipped to it.
        warn_ess: warn if weights leave a smaller share of the events as effective sample size.
        least_ess: give up below this share and, if it is not 0, below three effective events of the test part.
        largest_auc: give up if held-out events are told apart with a larger AUC.
        warn_norm: warn if the mean weight of generated events, before it is made 1, is off by more than this factor.
        largest_norm: give up above this factor.
    """

    hidden: HiddenUnits = (128, 128)
    learning_rate: float = Field(default=1e-3, gt=0)
    batch_size: int = Field(default=500, ge=1)
    epochs: int = Field(default=30, ge=1)
    calibration: CalibrationKind = "isotonic"
    max_weight: float = Field(default=50.0, gt=1)
    warn_ess: float = Field(default=0.1, ge=0, le=1)
    least_ess: float = Field(default=0.01, ge=0, le=1)
    largest_auc: float = Field(default=0.999, gt=0.5, le=1)
    warn_norm: float = Field(default=1.5, ge=1)
    largest_norm: float = Field(default=5.0, ge=1)

    def preset(self) -> ClassifierPreset:
        """The same as the training loop takes it."""
        return ClassifierPreset(
            name="refinement",
            hidden=self.hidden,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            epochs=self.epochs,
            trainings=1,
            decay=True,
            standardise=True,
        )


@dataclass(frozen=True, kw_only=True)
class RatioFit:
    """A fitted ratio and how well it was found.

    Attributes:
        model: the ratio.
        auc: area under the ROC curve on the test part, no event of which was used otherwise.
        effective_share: effective sample size of the generated test events over their number.
        clipped: share of them whose weight was clipped.
        norm: mean weight of held-out generated events before it was made 1. It is 1 where the samples overlap, and
            small where reference events lie beyond all generated ones.
        best_epoch: epoch kept, from 1.
        n_train: events of both classes that trained.
        n_test: generated events of the test part.
    """

    model: DensityRatio
    auc: float
    effective_share: float
    clipped: float
    norm: float
    best_epoch: int
    n_train: int
    n_test: int

    def summary(self) -> dict[str, Any]:
        """JSON-able figures."""
        return {
            "auc": self.auc,
            "effective_share": self.effective_share,
            "clipped": self.clipped,
            "norm": self.norm,
            "best_epoch": self.best_epoch,
            "n_train": self.n_train,
            "n_test": self.n_test,
        }


def fit_ratio(
    reference: Features,
    generated: Features,
    settings: ClassifierConfig,
    *,
    weights: tuple[Floats | None, Floats | None] = (None, None),
    groups: Groups | None = None,
    emphasis: Features | None = None,
    seed: int = 0,
    device: str = "cpu",
    what: str = "reference and generated events",
    progress: Progress | None = None,
) -> RatioFit:
    """Train, calibrate and check a classifier between two samples.

    60 % of the events train, 20 % choose the epoch and calibrate, 20 % test.

    Args:
        reference: features (N, F), label 1.
        generated: features (M, F), label 0.
        settings: network, calibration and limits.
        weights: event weights of the two samples, not negative.
        groups: group number of each event; a group is never divided between parts (see `hepflows.splitting`).
        emphasis: positive factors (F,) of the inputs after they are standardised, 1 if None. As each weight of a
            network moves by about as much in a step of Adam, an input with a small factor is learnt late: so many
            noisy inputs do not drown a few telling ones.
        seed: of split, initialisation and batches.
        device: torch device.
        what: what the samples are, for messages.
        progress: called with (epochs done, epochs in all).

    Raises:
        DataError: too few events, different numbers of features, values that are not finite.
        RefinementError: the classifier learns nothing or separates the samples, or the weights leave too few effective
            events.
        TrainingError: its training diverges.
    """
    _check(reference, generated, weights)
    x = torch.from_numpy(np.concatenate([reference, generated])).to(device)
    label = np.concatenate([np.ones(len(reference)), np.zeros(len(generated))])
    given = [np.ones(len(s)) if w is None else w for s, w in zip((reference, generated), weights, strict=True)]
    if groups is None:
        groups = (np.arange(len(reference)), len(reference) + np.arange(len(generated)))
    part = np.concatenate(split_groups(groups, seed=seed, parts=PARTS))
    data = Data(
        x=x,
        label=label,
        weight=balanced_weights(label, np.concatenate(given), part),
        part=part,
        emphasis=None if emphasis is None else torch.from_numpy(emphasis).to(device),
    )
    network, epoch = train(data.standardised(), settings.preset(), seed=seed, by_loss=True, progress=progress)
    model = DensityRatio(x.shape[1], settings.hidden, negative_slope=settings.preset().negative_slope).to(device)
    _take_network(model, network, data)

    held, test = np.flatnonzero(part == 1), np.flatnonzero(part == 2)
    logits = logits_of(network, data.standardised().x).cpu().double().numpy()
    _require_learnt(logits[held], label[held], data.weight[held], what)
    calibration = calibrate(logits[held], label[held], data.weight[held], kind=settings.calibration)
    model.take_calibration(calibration, logits[held], max_weight=settings.max_weight)
    unseen = np.flatnonzero((part != 0) & (label == 0))
    norm = float(np.average(model.weights(x[unseen]), weights=data.weight[unseen]))
    model.normalise(x[unseen], data.weight[unseen])
    fit = _measured(model, data, logits, test, epoch=epoch, norm=norm)
    _judge(fit, settings, what)
    return fit


def _measured(
    model: DensityRatio, data: Data, logits: Floats, test: NDArray[np.int64], *, epoch: int, norm: float
) -> RatioFit:
    from sklearn.metrics import roc_auc_score

    fakes = test[data.label[test] == 0]
    weights = model.weights(data.x[fakes])
    size, _ = effective_sample_size(weights * data.weight[fakes])
    before, _ = effective_sample_size(data.weight[fakes])
    limit = math.exp(float(model.log_limit)) * (1 - 1e-5)
    return RatioFit(
        model=model.eval(),
        auc=float(roc_auc_score(data.label[test], logits[test], sample_weight=data.weight[test])),
        effective_share=size / before,
        clipped=float(np.mean(weights >= limit)),
        norm=norm,
        best_epoch=epoch,
        n_train=int(np.count_nonzero(data.part == 0)),
        n_test=len(fakes),
    )


def _require_learnt(logits: Floats, label: Floats, weight: Floats, what: str) -> None:
    loss = float(np.average(np.logaddexp(0.0, np.where(label > 0, -logits, logits)), weights=weight))
    if loss > _WORST_LOSS:
        raise RefinementError(
            f"the classifier between {what} has learnt nothing",
            where="classifier",
            expected=f"a cross entropy of held-out events near {math.log(2):.2f} or less",
            found=f"{loss:.3g}",
            remedy="lower its learning_rate, or raise its epochs",
        )


def _judge(fit: RatioFit, settings: ClassifierConfig, what: str) -> None:
    if fit.auc > settings.largest_auc:
        raise RefinementError(
            f"a classifier tells {what} apart almost perfectly: where one is found the other is not, and no weight "
            "can mend that",
            where="classifier",
            expected=f"AUC up to {settings.largest_auc:g} on events it has not seen",
            found=f"AUC {fit.auc:.5f}",
            remedy="check that units, thresholds and conditions of both agree; else train the generator further",
        )
    factor = max(fit.norm, 1 / fit.norm)
    if factor > settings.warn_norm:
        words = f"mean weight {fit.norm:.3g} before it was made 1, AUC {fit.auc:.4f}"
        if factor > settings.largest_norm:
            raise RefinementError(
                f"the weights between {what} have no norm: many reference events lie where none are generated",
                where="classifier",
                expected=f"a mean weight of 1 within a factor of {settings.largest_norm:g}",
                found=words,
                remedy="check units, thresholds and conditions; raise classifier.max_weight if many weights are "
                "clipped; else train the generator further",
            )
        warnings.warn(f"{what} overlap badly: {words}", RefinementWarning, stacklevel=3)
    words = f"effective sample size {100 * fit.effective_share:.2g} % of the events, {100 * fit.clipped:.2g} % clipped"
    least = max(settings.least_ess, _LEAST_EVENTS / fit.n_test) if settings.least_ess else 0.0
    if fit.effective_share < least:
        raise RefinementError(
            f"the weights between {what} explode",
            where="classifier",
            expected=f"an effective sample size of {100 * least:.3g} % of the events or more",
            found=words,
            remedy="lower classifier.max_weight, use more events, or train the generator further",
        )
    if fit.effective_share < settings.warn_ess:
        warnings.warn(f"few events carry most of the weight between {what}: {words}", RefinementWarning, stacklevel=3)


@torch.no_grad()
def _take_network(model: DensityRatio, network: nn.Sequential, data: Data) -> None:
    trained = [layer for layer in network if isinstance(layer, nn.Linear)]
    for own, layer in zip(model.layers, trained, strict=True):
        own.load_state_dict(layer.state_dict())
    mean, scale = data.scaling()
    model.mean.copy_(mean)
    model.scale.copy_(scale)


def _check(reference: Features, generated: Features, weights: tuple[Floats | None, Floats | None]) -> None:
    for name, sample, weight in zip(("reference", "generated"), (reference, generated), weights, strict=True):
        if sample.ndim != 2 or len(sample) < MIN_EVENTS:
            raise DataError(
                "too few events for a classifier",
                where=name,
                expected=f"(N, F) with N of {MIN_EVENTS} or more",
                found=sample.shape,
                remedy="use a larger file",
            )
        if not np.isfinite(sample).all():
            raise DataError("classifier inputs are not finite", where=name, remedy="look for NaN in the file")
        if weight is not None and not (np.isfinite(weight).all() and (weight >= 0).all() and weight.sum() > 0):
            raise DataError("weights of a density must be positive", where=name, found=f"smallest {weight.min():g}")
    if reference.shape[1] != generated.shape[1]:
        raise DataError(
            "different numbers of features", expected=reference.shape[1], found=generated.shape[1], where="classifier"
        )


__all__ = ["ClassifierConfig", "RatioFit", "fit_ratio"]
